"""Expire: the contents of old experiments and rehearsals go, their records never.

- Contents are the files of a definition, and the outputs and errors of the answers of its runs.
- Age counts from the newest of registration and last run; a version that is named goes at once.
- Kept is what a release descends from, what is live or about to be, and what has an open run.
- An object that anything else needs stays, whatever happens to the version it came with.
- Releases never expire.
- A version loses all that goes, or nothing; files of large objects go after the records.
- After a jump of the clock nothing goes by age, unless somebody says what day it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import EXPIRED
from lockgate.domain.version import Version
from lockgate.errors import Refused, UsageMistake
from lockgate.loop.contents import expiry_of
from lockgate.ports import Registry

TRACKS = ("experiment", "rehearsal")
"""What expires."""
MOST_AT_ONCE = 5000
"""How many objects go in one transaction, unless the versions share them."""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the contents of one experiment or rehearsal."""

    version: Version
    last_used: datetime
    """The newest of its registration and its last run."""
    kept: str | None
    """Why everything is kept; `None` when something goes."""
    files: tuple[str, ...] = ()
    """Paths whose contents go."""
    answers: int = 0
    """How many different outputs and errors go."""
    shared: tuple[tuple[str, int], ...] = ()
    """Who needs files that stay, and how many."""
    objects: tuple[str, ...] = ()
    """Digests of what goes."""
    is_gone: bool = False
    """Whether its contents expired before, so that there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go and what stays, at one moment."""

    system: str
    keep: timedelta
    is_named: bool
    """Whether somebody named the versions, so that their age does not matter."""
    verdicts: tuple[Verdict, ...]
    """In the order of registration; what expired before is left out unless it was named."""

    @property
    def going(self) -> tuple[Verdict, ...]:
        """Those that lose something."""
        return tuple(verdict for verdict in self.verdicts if verdict.kept is None)


def check_clock(registry: Registry, keep: timedelta, today: date | None) -> None:
    """Refuse to judge ages by a clock that may have jumped.

    Args:
        registry: Its newest record says what time it was at least.
        keep: How long contents are kept; a larger step ahead is a jump.
        today: The day somebody says it is, in UTC.

    Raises:
        UsageMistake: The day that was said is not the clock's.
        Refused: The clock is far ahead of the newest record, or before it, and nobody said the day.
    """
    now, newest = registry.clock.now(), registry.upkeep.newest_time()
    day = now.astimezone(UTC).date()
    if today is not None:
        if today != day:
            raise UsageMistake(
                f"the clock says {day}, not {today}; nothing was removed",
                hint="set the clock right, then run it again",
            )
        return
    jump = registry.upkeep.jump(keep)
    if jump is not None:
        raise Refused(
            f"between two records the clock went from {shown_time(jump[0])} to "
            f"{shown_time(jump[1])}; by a clock that jumped, everything would be too old, and "
            "nothing was removed",
            hint=f"if it really is that day: `lockgate expire --today {day}`",
        )
    if newest - timedelta(minutes=1) <= now <= newest + keep:
        return
    where = f"{(now - newest).days} days after" if now > newest else "before"
    raise Refused(
        f"the clock says {shown_time(now)}, {where} the newest record of {shown_time(newest)}; by a "
        "clock that jumped, everything would be too old, and nothing was removed",
        hint=f"if it really is that day: `lockgate expire --today {day}`",
    )


def plan(
    registry: Registry, system: str, keep: timedelta, *, named: Sequence[Version] | None = None
) -> Plan:
    """Return what would go now; nothing is changed.

    Args:
        registry: Where the versions are.
        system: Whose contents.
        keep: How long contents are kept.
        named: Only these, whatever their age; `None` judges every one by its age.

    Raises:
        Refused: One of the named versions is a release.
    """
    for version in named or ():
        if version.track not in TRACKS:
            raise Refused(
                f"`{version.label}` is a release: its contents never expire",
                hint=f"`lockgate log --track experiment -s {system}` lists what can",
            )
    every = [*_all(registry, system)] if named is None else [*named]
    verdicts = _verdicts(registry, every, keep, is_named=named is not None)
    told = [one for one in verdicts if named is not None or not one.is_gone]
    return Plan(system, keep, named is not None, tuple(told))


def expire(registry: Registry, looked_at: Plan, *, actor: str, reason: str | None = None) -> Plan:
    """Remove what goes, each version whole or not at all.

    Versions that share what goes are one transaction; large files go in a later one, now or the
    next time.

    Args:
        registry: Where the versions are.
        looked_at: What would go, as somebody saw it; nothing else does.
        actor: Who removes it.
        reason: Why; `None` gives the age.

    Returns:
        What became of everything that was to go, as it was true when it went.
    """
    verdicts: list[Verdict] = []
    for batch in _batches(looked_at.going):
        wanted = [verdict.version for verdict in batch]
        with registry.write() as writing:
            found = _verdicts(registry, wanted, looked_at.keep, is_named=looked_at.is_named)
            gone: set[str] = set()
            for verdict in found:
                why = _reason(verdict, looked_at.keep, reason)
                for digest in verdict.objects:
                    if digest not in gone:
                        writing.remove_content(digest, EXPIRED, why, actor)
                        gone.add(digest)
        verdicts += found
    sweep(registry)
    verdicts.sort(key=lambda verdict: verdict.version.seq)
    return Plan(looked_at.system, looked_at.keep, looked_at.is_named, tuple(verdicts))


def _batches(going: Sequence[Verdict]) -> Iterator[list[Verdict]]:
    """Give what goes in transactions that keep nobody waiting for long.

    Versions that share an object stay together: the object goes with the last of them.
    """
    groups: list[tuple[set[str], list[Verdict]]] = []
    for verdict in going:
        objects, members = set(verdict.objects), [verdict]
        apart = []
        for held, others in groups:
            if held.isdisjoint(objects):
                apart.append((held, others))
            else:
                objects |= held
                members += others
        groups = [*apart, (objects, members)]
    batch: list[Verdict] = []
    size = 0
    for objects, members in groups:
        if batch and size + len(objects) > MOST_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch += members
        size += len(objects)
    if batch:
        yield batch


def _verdicts(
    registry: Registry, versions: Sequence[Version], keep: timedelta, *, is_named: bool
) -> list[Verdict]:
    now = registry.clock.now()
    kept: dict[str, str] = {}
    used: dict[str, datetime] = {}
    for version in versions:
        used[version.id] = _last_used(registry, version)
        why = _protected(registry, version)
        if why is None and not is_named:
            why = _until(used[version.id], keep, now)
        if why is not None:
            kept[version.id] = why
    losing = {version.id for version in versions} - kept.keys()
    free = _Free(registry, losing | _expired(registry)) if losing else None
    return [
        free.verdict(version, used[version.id])
        if free is not None and version.id in losing
        else Verdict(version, used[version.id], kept[version.id])
        for version in versions
    ]


def sweep(registry: Registry) -> int:
    """Delete the files of large objects whose content was removed; returns how many there were."""
    if not registry.upkeep.unswept():
        return 0
    with registry.write() as writing:
        return writing.sweep_files(registry.upkeep.unswept())


def _reason(verdict: Verdict, keep: timedelta, reason: str | None) -> str:
    version = verdict.version
    why = reason or f"last used {shown_time(verdict.last_used)}, kept {_days(keep)}"
    return f"contents of {version.label} of {version.system} expired: {why}"


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"


def _all(registry: Registry, system: str) -> Iterator[Version]:
    found: list[Version] = []
    for track in TRACKS:
        before = None
        while page := registry.versions.page(system, before=before, limit=_PAGE, track=track):
            found += page
            before = page[-1].seq
    yield from sorted(found, key=lambda version: version.seq)


def _last_used(registry: Registry, version: Version) -> datetime:
    times = [version.at]
    for record in registry.runs.of_version(version.id):
        times.append(record.end.at if record.end else record.run.at)
    return max(times)


def _until(last_used: datetime, keep: timedelta, now: datetime) -> str | None:
    end = last_used + keep
    return f"until {shown_time(end)}" if now < end else None


def _protected(registry: Registry, version: Version) -> str | None:
    """Say what protects a version at any age; `None` when nothing does."""
    release = registry.upkeep.release_from(version.id)
    if release is not None:
        return f"{release} descends from it"
    if any(record.end is None for record in registry.runs.of_version(version.id)):
        return "a run is open"
    for environment in registry.releases.environments(version.system):
        live = registry.releases.live(version.system, environment)
        if live is not None and live.attempt.version == version.id:
            return f"live in {environment}"
        newest = registry.releases.newest(version.system, environment)
        if newest is not None and newest.is_open and newest.attempt.version == version.id:
            return f"generation {newest.attempt.generation} of {environment} is open with it"
    return None


def _expired(registry: Registry) -> set[str]:
    """Return the versions whose contents expired before: they keep nothing for themselves.

    What two versions share would otherwise stay for ever, each being there for the other's sake.
    """
    return {
        version.id
        for system in registry.versions.systems()
        for version in _all(registry, system)
        if expiry_of(registry, version) is not None
    }


class _Free:
    """Which objects nothing else needs, looked up once for all versions that lose theirs."""

    def __init__(self, registry: Registry, losing: Collection[str]) -> None:
        self._registry = registry
        versions = [version for one in losing if (version := registry.versions.get(one))]
        self._definitions = {
            version.definition
            for version in versions
            if all(holder in losing for holder in registry.upkeep.holders(version.definition))
        }
        self._files = {
            version.id: registry.versions.definition(version.definition).files()
            for version in versions
        }
        self._answers = {
            version.id: registry.upkeep.answer_objects(version.id) for version in versions
        }
        every = {digest for files in self._files.values() for digest in files.values()}
        every |= {digest for answers in self._answers.values() for digest in answers}
        self._shared = registry.upkeep.shared(every, self._definitions, losing)

    def verdict(self, version: Version, last_used: datetime) -> Verdict:
        """Say what goes of one version, and who needs the rest."""
        files, size = self._files[version.id], self._registry.objects.size
        here = {path: digest for path, digest in files.items() if size(digest) is not None}
        going = {path: digest for path, digest in here.items() if digest not in self._shared}
        answers = {
            digest
            for digest in self._answers[version.id] - set(files.values())
            if digest not in self._shared and size(digest) is not None
        }
        holders: dict[str, int] = {}
        for digest in (digest for digest in here.values() if digest in self._shared):
            holder = self._holder(self._shared[digest], version)
            holders[holder] = holders.get(holder, 0) + 1
        shared = tuple(sorted(holders.items()))
        if going or answers:
            objects = tuple(sorted({*going.values(), *answers}))
            return Verdict(
                version, last_used, None, tuple(sorted(going)), len(answers), shared, objects
            )
        removal = expiry_of(self._registry, version)
        if removal is not None:
            words = f"expired {shown_time(removal.at)} by {removal.actor} already"
            return Verdict(version, last_used, words, is_gone=True)
        words = " and ".join(f"shares {_count(n, 'file')} with {who}" for who, n in shared)
        return Verdict(version, last_used, words or "it has no contents of its own")

    def _holder(self, definition: str | None, version: Version) -> str:
        """Name who has a definition, a release of this system before all others."""
        if definition is None:
            return "something recorded"
        versions = self._registry.versions
        found = [versions.get(one) for one in self._registry.upkeep.holders(definition)]
        others = [one for one in found if one is not None and one.id != version.id]
        others.sort(key=lambda one: (one.system != version.system, one.track != "release"))
        if not others:
            return "another version"
        first = others[0]
        return first.label if first.system == version.system else f"{first.label} of {first.system}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def told(verdict: Verdict, *, is_done: bool) -> str:
    """Say in one line what becomes, or became, of a version's contents."""
    label = verdict.version.label
    if verdict.kept is not None:
        return f"{label} kept: {verdict.kept}"
    parts = []
    if verdict.files:
        parts.append(_count(len(verdict.files), "file"))
    if verdict.answers:
        parts.append(_count(verdict.answers, "answer"))
    rest = "".join(
        f"; {_count(n, 'file')} stay{'s' if n == 1 else ''}: {who} has {'it' if n == 1 else 'them'}"
        for who, n in verdict.shared
    )
    verb = "expired" if is_done else "would expire"
    used = shown_time(verdict.last_used)
    return f"{label} {verb}: {' and '.join(parts)}, last used {used}{rest}"
