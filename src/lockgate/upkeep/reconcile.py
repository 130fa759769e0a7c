"""Take into the registry what was done without it: a rollback made from the receipts alone.

what files say                              what is recorded
------------------------------------------  ---------------------------------------------------
generation p > n published, by a rollback   n, if open, abandoned; p settled `live`; what it left
                                            quarantined and the environment held
generations between n and p                 taken without the registry: `abandoned`, or `failed`
                                            when the note says so; nothing was ever published
generation s > n staged, not published      s taken and left open: `settle` finds out how its
                                            hook ended, as for every attempt that was cut off
p <= n published, n says something else     n + 1, to the version that is published
p = n published, n says the same, is open   n settled `live`, with the words of its note
p > n published, not by a rollback, or      nothing: this registry is older than its receipts
what it left is not in the registry

(n is the newest generation that the registry knows.)

- All of it is one transaction; the notes beside the receipts go after it. Cut off in between, and
  repeated, it comes to the same.
- Who records it is the actor; who did it, why and when are taken from the note, as claimed.
- What a note says is in the registry before the note is removed: as the reason of its generation,
  or beside it.
- Only what was really left is quarantined, and what the registry takes for live.
- A note that counts for nothing stops nobody: it is set aside, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lockgate.domain.offline import OfflineNote
from lockgate.domain.receipt import BACK, Receipt
from lockgate.domain.release import Attempt, Deployment, Hold, Quarantine, Settlement
from lockgate.domain.upkeep import Note
from lockgate.domain.version import Version
from lockgate.errors import Refused
from lockgate.loop.deployment import append_first
from lockgate.loop.unrecorded import Unrecorded, unrecorded, valid
from lockgate.ports import Registry, Target
from lockgate.upkeep.kept import leave_no_quarantined

MOST_GAPS = 1000
"""How many generations may lie between what is recorded and what is published."""

_PAGE = 200

Record = Attempt | Settlement | Quarantine | Hold


@dataclass(frozen=True, slots=True)
class Recorded:
    """A rollback that was made without the registry, and is recorded now."""

    generation: int
    """As which it is recorded."""
    label: str
    actor: str
    """Who made it, as claimed."""
    is_live: bool
    """False when it was cut off before it was published."""


def reconcile(
    registry: Registry, target: Target, system: str, environment: str, *, actor: str
) -> Recorded | None:
    """Record what was done without the registry; `None` when it knows everything. Safe to repeat.

    Raises:
        Busy: Somebody goes back without the registry right now.
        Refused: The registry is older than what is published, the version it goes back to is
            quarantined, or too many generations lie in between; nothing was recorded.
    """
    found = unrecorded(registry, target, system, environment)
    if found is None and not target.offline_notes(system):
        return None
    with target.alone_offline(system):
        found = unrecorded(registry, target, system, environment)
        done = _recorded(registry, target, system, environment, found, actor) if found else None
        same = _keep_words(registry, target, system, environment, actor)
        _drop_notes(registry, target, system, environment)
    return done or same


def set_aside(registry: Registry, target: Target, system: str, environment: str) -> Sequence[str]:
    """Set notes aside that count for nothing; return their names.

    Where nothing is live and nothing is published, nobody can have gone back to anything: then no
    note counts.
    """
    is_nothing = registry.releases.live(system, environment) is None and (
        valid(target.current, system) is None
    )
    return target.set_aside_notes(system, all_of_them=is_nothing)


def _recorded(
    registry: Registry,
    target: Target,
    system: str,
    environment: str,
    found: Unrecorded,
    actor: str,
) -> Recorded | None:
    receipt = found.published or found.staged
    check_gaps(found, system, environment)
    newest = registry.releases.newest(system, environment)
    if receipt is None:
        return _never_published(registry, target, system, environment, found, newest, actor)
    to = _version(registry, receipt)
    _check_left_is_known(registry, receipt)
    notes = {note.generation: note for note in found.notes}
    made_by = notes.get(receipt.generation) or _note(target, receipt)
    records: list[Record] = []
    if newest is not None and newest.is_open:
        records.append(given_up(newest, target, actor, receipt.generation))
    generation = max(receipt.generation, found.newest + 1)
    records += gap_records(found, system, environment, to, generation, actor, target)
    reason = made_by.words() if made_by else "made offline; nobody noted who did it"
    records.append(
        Attempt(
            system,
            environment,
            generation,
            receipt.kind,
            to.id,
            None,
            target.hook_digest(),
            made_by.incident if made_by else None,
            reason,
            actor,
        )
    )
    left = _left(registry, receipt, to)
    records += consequences(registry, left, to, environment, reason, actor)
    is_live = receipt is found.published
    if is_live:
        words = f"{actor} recorded it from the published receipt"
        records.append(Settlement(system, environment, generation, "live", words, actor))
    with registry.write() as writing:
        append_first(registry, writing, records)
    leave_no_quarantined(registry, target, system, environment)
    return Recorded(generation, to.label, made_by.actor if made_by else "somebody", is_live)


def check_gaps(found: Unrecorded, system: str, environment: str) -> None:
    """Refuse to record more generations than anybody can have taken.

    Raises:
        Refused: Too many lie between what is recorded and what files speak of.
    """
    if found.top - found.newest > MOST_GAPS:
        raise Refused(
            f"generation {found.top} of {environment} lies {found.top - found.newest} above "
            f"generation {found.newest}, the newest that the registry knows; at most {MOST_GAPS} "
            "are recorded at once",
            hint="this registry is much older than what it published: restore a newer backup; "
            f"`lockgate status -s {system}` shows what it knows",
        )


def _version(registry: Registry, receipt: Receipt) -> Version:
    """Return the version that an unrecorded receipt went back to.

    Raises:
        Refused: It cannot be recorded.
    """
    place = f"{receipt.environment} -s {receipt.system}"
    version = registry.versions.get(receipt.version)
    if (
        version is None
        or receipt.kind not in BACK
        or not _was_live(registry, version, receipt.environment)
    ):
        raise Refused(
            f"this registry is older than what it published: generation {receipt.generation} of "
            f"{receipt.environment}, {receipt.label} by {receipt.kind}, is not in it",
            hint="restore a newer backup of it, or make certain what is live: "
            f"`lockgate rollback {place}` takes the generation above",
        )
    quarantined = registry.releases.quarantines(receipt.system, definition=version.definition)
    if quarantined:
        raise Refused(
            f"{version.label}, which is live in {receipt.environment} as generation "
            f"{receipt.generation} without the registry, is quarantined: "
            f"{quarantined[0].reason.splitlines()[0]}",
            hint=f"leave it: `lockgate rollback {place}`; or, if the quarantine was wrong: "
            f"`lockgate lift {version.label} -s {receipt.system} -m REASON`",
        )
    return version


def _check_left_is_known(registry: Registry, receipt: Receipt) -> None:
    """Refuse to record that something was left which it was not: then nobody would learn what was.

    Raises:
        Refused: The registry does not know the generation that was left, nor is its version live.
    """
    left, place = receipt.previous, (receipt.system, receipt.environment)
    if left is None:
        return
    newest = registry.releases.newest(*place)
    if newest is not None and left.generation <= newest.attempt.generation:
        return
    live = (registry.releases.live(*place), registry.releases.live_release(*place))
    if left.version in [one.attempt.version for one in live if one]:
        return
    version = registry.versions.get(left.version)
    what = version.label if version else f"`{left.version[:8]}`"
    where = f"{receipt.environment} -s {receipt.system}"
    raise Refused(
        f"this registry is older than what it published: generation {receipt.generation} of "
        f"{receipt.environment} left generation {left.generation}, {what}, which is not in it; "
        "nothing was recorded",
        hint="restore a newer backup of it; without one `lockgate rollback "
        f"{where}` takes a generation above, and `lockgate note` says what was left",
    )


def _note(target: Target, receipt: Receipt) -> OfflineNote | None:
    for note in target.offline_notes(receipt.system):
        if (note.generation, note.version) == (receipt.generation, receipt.version):
            return note
    return None


def given_up(newest: Deployment, target: Target, actor: str, generation: int) -> Settlement:
    """Stop an open attempt that was overtaken without the registry, and say so."""
    attempt = newest.attempt
    if target.has_hook:
        target.stop_hook(attempt.system, attempt.generation)
    return Settlement(
        attempt.system,
        attempt.environment,
        attempt.generation,
        "abandoned",
        f"generation {generation} was taken without the registry meanwhile",
        actor,
    )


def gap_records(
    found: Unrecorded,
    system: str,
    environment: str,
    to: Version,
    before: int,
    actor: str,
    target: Target,
) -> Iterator[Record]:
    """Give an attempt and its end for each generation that was taken and never published.

    Args:
        found: Says what is recorded, and what is noted.
        system: The system.
        environment: The environment.
        to: The version that is gone back to in the end.
        before: The generation after the gap.
        actor: Who records it.
        target: Knows the digest of the hook.
    """
    notes = {note.generation: note for note in found.notes}
    for generation in range(found.newest + 1, before):
        note = notes.get(generation)
        yield Attempt(
            system,
            environment,
            generation,
            "rollback",
            to.id,
            None,
            target.hook_digest(),
            note.incident if note else None,
            note.words() if note else "this generation was taken without the registry",
            actor,
        )
        failed = note.failed if note else None
        yield Settlement(
            system,
            environment,
            generation,
            "failed" if failed else "abandoned",
            failed or "this generation was taken without the registry, and never published",
            actor,
        )


def _left(registry: Registry, receipt: Receipt, to: Version) -> list[Version]:
    """Return what a rollback left: what the registry takes for live, and what its receipt names."""
    live = registry.releases.live(receipt.system, receipt.environment)
    ids = [live.attempt.version if live else None]
    ids.append(receipt.previous.version if receipt.previous else None)
    found = [registry.versions.get(one) for one in dict.fromkeys(ids) if one]
    return [one for one in found if one is not None and one.definition != to.definition]


def consequences(
    registry: Registry,
    left: Sequence[Version],
    to: Version,
    environment: str,
    reason: str | None,
    actor: str,
) -> list[Quarantine | Hold]:
    """Return what leaving releases by a rollback brings: quarantine, and a hold; each stands once."""
    found: list[Quarantine | Hold] = []
    for version in left:
        if version.track == "rehearsal":
            continue
        words = f"rolled back from {version.label} to {to.label} in {environment}"
        words += f": {reason}" if reason else ""
        if not registry.releases.quarantines(version.system, definition=version.definition):
            found.append(Quarantine(version.system, version.definition, version.id, words, actor))
        is_held = registry.releases.holds(version.system, environment) or any(
            isinstance(one, Hold) for one in found
        )
        if not is_held:
            found.append(Hold(version.system, environment, words, actor))
    return found


def _never_published(
    registry: Registry,
    target: Target,
    system: str,
    environment: str,
    found: Unrecorded,
    newest: Deployment | None,
    actor: str,
) -> Recorded | None:
    """Record generations of which only notes are left: nothing was published, nothing is under way.

    What is live stays live, so its own version is what the records name.
    """
    live = registry.releases.live(system, environment)
    version = registry.versions.get(live.attempt.version or "") if live else None
    if version is None or newest is None:
        raise _not_recorded(found, system, environment, "nothing is live there")
    named = registry.versions.get(found.notes[-1].version)
    to = named if named and _may_be_named(registry, named, environment) else version
    if not _may_be_named(registry, to, environment):
        why = f"{to.label}, which is live there, may not be gone back to"
        raise _not_recorded(found, system, environment, why)
    records: list[Record] = []
    if newest.is_open:
        records.append(given_up(newest, target, actor, found.top))
    records += gap_records(found, system, environment, to, found.top + 1, actor, target)
    with registry.write() as writing:
        append_first(registry, writing, records)
    last = found.notes[-1]
    return Recorded(last.generation, to.label, last.actor, is_live=False)


def _not_recorded(found: Unrecorded, system: str, environment: str, why: str) -> Refused:
    return Refused(
        f"generation {found.top} of {environment} was taken without the registry and cannot be "
        f"recorded: {why}",
        hint=f"`lockgate rollback {environment} -s {system}` goes over it",
    )


def _may_be_named(registry: Registry, version: Version, environment: str) -> bool:
    """Tell whether a record of going back may name a version: it was live, and is no quarantined."""
    if version.track != "release":
        return False
    if registry.releases.quarantines(version.system, definition=version.definition):
        return False
    return _was_live(registry, version, environment)


def _was_live(registry: Registry, version: Version, environment: str) -> bool:
    """Tell whether a version was ever live in an environment, as far as the registry knows."""
    before: int | None = None
    while True:
        page = registry.releases.deployments(
            version.system, environment, before=before, limit=_PAGE
        )
        for one in page:
            if one.outcome == "live" and one.attempt.version == version.id:
                return True
        if len(page) < _PAGE:
            return False
        before = page[-1].attempt.generation


def _keep_words(
    registry: Registry, target: Target, system: str, environment: str, actor: str
) -> Recorded | None:
    """Take over what notes say of generations that are recorded, before the notes are removed.

    Returns:
        The newest generation, when it was open and is what somebody published without the registry.
    """
    newest = registry.releases.newest(system, environment)
    if newest is None:
        return None
    found: Recorded | None = None
    records: list[Record | Note] = []
    for note in target.offline_notes(system):
        if note.generation > newest.attempt.generation or _has_words(registry, note):
            continue
        words = _whole_words(note)
        records.append(Note(system, environment, note.generation, words, actor))
        version = registry.versions.get(note.version)
        if version and newest.is_open and _is_published(target, newest.attempt, note):
            reason = f"its receipt is published, {words}"
            records.append(Settlement(system, environment, note.generation, "live", reason, actor))
            found = Recorded(note.generation, version.label, note.actor, is_live=True)
    if records:
        with registry.write() as writing:
            append_first(registry, writing, records)
    if found is not None:
        target.unstage(system, found.generation)
    return found


def _whole_words(note: OfflineNote) -> str:
    words = note.words()
    if note.incident:
        words += f" (incident {note.incident})"
    return f"{words}; it failed: {note.failed}" if note.failed else words


def _has_words(registry: Registry, note: OfflineNote) -> bool:
    """Tell whether the registry says what a note does: of its generation, or of one above."""
    place, words = (note.system, note.environment), note.words()
    if any(
        one.text == _whole_words(note) for one in registry.upkeep.notes(*place, note.generation)
    ):
        return True
    above = (registry.releases.deployment(*place, note.generation + more) for more in (0, 1))
    return any(one is not None and one.attempt.reason == words for one in above)


def _is_published(target: Target, attempt: Attempt, note: OfflineNote) -> bool:
    receipt = valid(target.current, attempt.system)
    named = (attempt.generation, attempt.version)
    return (
        receipt is not None
        and (receipt.generation, receipt.version) == named == (note.generation, note.version)
        and receipt.kind == attempt.kind
    )


def _drop_notes(registry: Registry, target: Target, system: str, environment: str) -> None:
    """Remove the notes of generations that are recorded by now."""
    newest = registry.releases.newest(system, environment)
    known = newest.attempt.generation if newest else 0
    for note in target.offline_notes(system):
        if note.generation <= known:
            target.drop_offline_note(system, note.generation)
