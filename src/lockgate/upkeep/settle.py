"""Settle: find out how an attempt that was cut off ended, and finish it; safe to repeat.

What was done without the registry is recorded first (`upkeep.reconcile`). Then:

newest attempt  what is found                       means             what is done
--------------  ----------------------------------  ----------------  -----------------------------
open            its process lives                   under way         nothing; it is told
open            no hook was started, or none is     nothing touched   settled `abandoned`
open            the hook runs                       under way         followed to its end
open            the hook ended well                 deployed          settled `live`, published
open            the hook ended badly                not deployed      settled `failed`
open            nobody saw how the hook ended,      deployed          settled `live`, published
                all instances report it
open            nobody saw how the hook ended       unknown           nothing, until a person looked
                                                                      (`settle_as`): `live` publishes
                                                                      it, `failed` leaves what was
open            its receipt is published            deployed          settled `live`
settled `live`  its receipt is not published        cut off late      published
settled `live`  its receipt, a byte: not as signed  tampered with     written again: `repaired`
settled `live`  its way back is another one         cut off late      put right: `repaired`
settled         all as it should be                 settled           nothing

The records of an attempt, together, at every moment:

attempt   settlement   receipt            quarantine, hold    after
--------  -----------  -----------------  ------------------  -----------------------------------
none      -            the one before     -                   nothing happened
open      -            the one before     of a rollback: yes  settle, or the next rollback
n         live         the one before     of a rollback: yes  settle publishes it
n         live         n                  of a rollback: yes  done
n         failed       the one before     of a rollback: yes  the next attempt
n         abandoned    the one before     of a rollback: yes  the next attempt
none      -            n, made offline    -                   settle records attempt, settlement,
                                                              quarantine and hold at once
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lockgate.domain.receipt import Receipt
from lockgate.domain.release import Attempt, Deployment, Settlement
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, Refused, UsageMistake
from lockgate.loop.deployment import (
    DeployEvent,
    announce,
    finish,
    lease_of,
    seen,
    standing_receipt,
    unknown,
)
from lockgate.loop.unrecorded import unrecorded, valid
from lockgate.ports import Registry, Target
from lockgate.upkeep.kept import is_of, keep_right, wanted_way_back
from lockgate.upkeep.reconcile import Recorded, reconcile, set_aside
from lockgate.upkeep.words import checked_reason

_PUBLISHED = "its receipt is published"


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling found and did."""

    generation: int
    label: str
    outcome: str
    """`live`, `failed`, `abandoned`, `recorded`, `published`, `repaired` or `nothing`."""
    words: str


def settle(
    registry: Registry, system: str, environment: str, target: Target, *, actor: str
) -> Iterator[DeployEvent | Settled]:
    """Finish what was cut off in an environment; the last thing given is what was found.

    Raises:
        Busy: The process that made the attempt is still at work, or somebody goes back without
            the registry right now.
        Refused: What was done without the registry cannot be recorded; the message says why.
        Inconclusive: Nobody can tell how the hook ended; the message says how to decide.
    """
    with _held(registry, registry.releases.newest(system, environment), actor):
        ignored = set_aside(registry, target, system, environment)
        recorded = reconcile(registry, target, system, environment, actor=actor)
    if ignored:
        yield DeployEvent("ignored", 0, ignored)
    if recorded is not None:
        yield DeployEvent("recorded", recorded.generation, recorded)
    newest = registry.releases.newest(system, environment)
    if newest is None:
        yield Settled(0, "-", "nothing", f"nothing was ever promoted to {environment}")
        return
    with _held(registry, newest, actor):
        if newest.is_open:
            yield from _open(registry, target, newest, actor)
        else:
            yield from _published(registry, system, environment, target, recorded)


def settle_as(
    registry: Registry,
    system: str,
    environment: str,
    target: Target,
    *,
    outcome: str,
    reason: str,
    actor: str,
) -> Iterator[DeployEvent | Settled]:
    """Settle an attempt as somebody found the instances, where nobody saw how its hook ended.

    Args:
        registry: Where it is recorded.
        system: The system.
        environment: The environment.
        target: Where its versions go.
        outcome: `live`: the instances run the attempt's version; `failed`: what was live before.
        reason: What was looked at, and seen.
        actor: Who looked.

    Raises:
        UsageMistake: The reason is missing, or there is no such outcome.
        Busy: The process that made the attempt is still at work.
        Refused: Without anybody's word it is known how it ended, or will be; nothing was changed.
    """
    words = f"{actor} looked: {checked_reason(reason)}"
    if outcome not in ("live", "failed"):
        raise UsageMistake(f"nothing is settled as `{outcome}`", hint="--as live or --as failed")
    newest = registry.releases.newest(system, environment)
    with _held(registry, newest, actor):
        known = _known(registry, target, system, environment, newest)
        if known is not None or newest is None:
            raise Refused(
                f"nobody's word is needed in {environment}: {known}; nothing was changed",
                hint=f"`lockgate settle {environment} -s {system}`",
            )
        attempt = newest.attempt
        version = _version(registry, attempt)
        # Nothing that its runner left behind goes on after somebody has looked.
        target.stop_hook(system, attempt.generation)
        if outcome == "failed":
            yield _end(registry, target, attempt, version, actor, words, "failed")
            return
        yield from _finished(registry, target, attempt, version, actor, words)
        yield Settled(attempt.generation, version.label, "live", words)


def _known(
    registry: Registry, target: Target, system: str, environment: str, newest: Deployment | None
) -> str | None:
    """Say what is known of an environment without a person's word; `None` when that is needed."""
    if unrecorded(registry, target, system, environment) is not None:
        return "what was done without the registry is recorded first"
    if newest is None or not newest.is_open:
        return "nothing is open there"
    generation = newest.attempt.generation
    if newest.attempt.kind in ("rehearsal", "revert"):
        return f"generation {generation} is of a rehearsal, which is taken back"
    if target.has_hook and target.hook_status(system, generation).state == "running":
        return f"the hook of generation {generation} still runs"
    found = _how_it_ended(registry, target, newest.attempt)
    if found is None:
        return None
    outcome, words = found
    return f"generation {generation} is settled `{outcome}` without it: {words}"


@contextmanager
def _held(registry: Registry, newest: Deployment | None, actor: str) -> Iterator[None]:
    """Be the only one at work on an attempt."""
    if newest is None:
        yield
        return
    attempt = newest.attempt
    subject = lease_of(attempt.system, attempt.environment, attempt.generation)
    with registry.write() as writing:
        writing.take_lease(subject, actor)
    try:
        yield
    finally:
        with registry.write(durable=False) as writing:
            writing.drop_lease(subject)


def _version(registry: Registry, attempt: Attempt) -> Version:
    version = registry.versions.get(attempt.version or "")
    if version is None:
        raise IntegrityBroken(
            f"generation {attempt.generation} names a version that is not registered",
            hint="restore a backup",
        )
    return version


def _open(
    registry: Registry, target: Target, newest: Deployment, actor: str
) -> Iterator[DeployEvent | Settled]:
    attempt = newest.attempt
    version = _version(registry, attempt)
    if _is_published(registry, target, attempt):
        yield _end(registry, target, attempt, version, actor, _PUBLISHED, "live")
        return
    if target.has_hook and (
        target.hook_status(attempt.system, attempt.generation).state == "running"
    ):
        for told in target.follow_hook(attempt.system, attempt.generation):
            yield DeployEvent("hook", attempt.generation, told)
    found = _how_it_ended(registry, target, attempt)
    if found is None:
        raise unknown(registry, target, attempt, version)
    outcome, words = found
    if outcome == "live":
        yield from _finished(registry, target, attempt, version, actor)
        yield Settled(attempt.generation, version.label, "live", words)
        return
    if outcome == "abandoned" and target.has_hook:
        target.stop_hook(attempt.system, attempt.generation)
    yield _end(registry, target, attempt, version, actor, words, outcome)


def _is_published(registry: Registry, target: Target, attempt: Attempt) -> bool:
    published = valid(target.current, attempt.system)
    return published is not None and is_of(published, registry, attempt)


def _how_it_ended(registry: Registry, target: Target, attempt: Attempt) -> tuple[str, str] | None:
    """Return how an open attempt ended whose hook does not run, and how that is known.

    `None` when nobody knows.
    """
    if _is_published(registry, target, attempt):
        return "live", _PUBLISHED
    if not target.has_hook:
        return "abandoned", "it was cut off"
    status = target.hook_status(attempt.system, attempt.generation)
    words = f"its hook {status.words()}"
    if status.state == "absent":
        return "abandoned", "it was cut off before its hook was started"
    if status.is_success:
        return "live", words
    if status.ending != "lost":
        return "failed", words
    if _all_run(registry, target, attempt):
        return "live", f"{words}, and every instance reports it"
    return None


def _finished(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    version: Version,
    actor: str,
    reason: str | None = None,
) -> Iterator[DeployEvent]:
    receipt = standing_receipt(registry, target, attempt, version)
    definition = registry.versions.definition(version.definition)
    target.prepare(receipt, definition, registry.objects.open)
    way_back = wanted_way_back(registry, target, attempt)
    yield from finish(registry, target, attempt, receipt, way_back, actor=actor, reason=reason)


def _all_run(registry: Registry, target: Target, attempt: Attempt) -> bool:
    """Tell whether every running instance reports the version of an attempt."""
    if not target.observes:
        return False
    instances = list(seen(registry, target, attempt))
    return bool(instances) and all(instance.state == "match" for instance in instances)


def _end(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    version: Version,
    actor: str,
    words: str,
    outcome: str,
) -> Settled:
    record = Settlement(
        attempt.system, attempt.environment, attempt.generation, outcome, words, actor
    )
    with registry.write() as writing:
        writing.append(record)
    target.unstage(attempt.system, attempt.generation)
    return Settled(attempt.generation, version.label, outcome, words)


def _published(
    registry: Registry,
    system: str,
    environment: str,
    target: Target,
    recorded: Recorded | None,
) -> Iterator[DeployEvent | Settled]:
    live = registry.releases.live(system, environment)
    if live is None:
        yield Settled(0, "-", "nothing", f"nothing is live in {environment}")
        return
    version, generation = _version(registry, live.attempt), live.attempt.generation
    done = Settled(generation, version.label, "nothing", "everything is settled")
    if recorded is not None:
        words = f"made without the registry by {recorded.actor}, as claimed"
        outcome = "recorded" if recorded.is_live else "abandoned"
        done = Settled(recorded.generation, recorded.label, outcome, words)
    elif target.publishes:
        done = replace(done, words="everything is settled and published")
    if not target.publishes:
        yield done
        return
    try:
        current = target.current(system)
        is_damaged = False
    except IntegrityBroken:
        current, is_damaged = None, True
    if current is not None and is_of(current, registry, live.attempt):
        yield _repaired(registry, target, live.attempt, current, version, done)
        return
    _refuse_newer(registry, current, environment)
    receipt = standing_receipt(registry, target, live.attempt, version)
    target.prepare(receipt, registry.versions.definition(version.definition), registry.objects.open)
    way_back = wanted_way_back(registry, target, live.attempt)
    yield from announce(registry, target, live.attempt, receipt, way_back)
    if recorded is not None:
        yield done
    elif is_damaged:
        words = "its receipt did not count, and was written again"
        yield Settled(generation, version.label, "repaired", words)
    else:
        yield Settled(generation, version.label, "published", "its receipt had not been written")


def _refuse_newer(registry: Registry, current: Receipt | None, environment: str) -> None:
    """Leave alone what another registry, or a later life of this one, has published.

    Raises:
        Refused: It has.
    """
    if current is None or (current.registry == registry.id and current.epoch <= registry.epoch):
        return
    whose = "a later life of this registry"
    if current.registry != registry.id:
        whose = f"another registry, `{current.registry[:8]}`,"
    raise Refused(
        f"{whose} publishes {current.system} for {environment} here: {current.label} as generation "
        f"{current.generation}; nothing was changed",
        hint="bring that registry back, or give `publish` another folder in policy.toml",
    )


def _repaired(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    current: Receipt,
    version: Version,
    done: Settled,
) -> Settled:
    """Put right what is not as its receipt says, byte by byte; say so when something was."""
    target.unstage(current.system, current.generation)
    wrong = target.problems(current)
    if not wrong:
        if keep_right(registry, target, attempt, current) and done.outcome == "nothing":
            return replace(done, outcome="repaired", words="its way back was not the right one")
        return done
    definition = registry.versions.definition(version.definition)
    target.prepare(current, definition, registry.objects.open, hash_all=True)
    words = f"{wrong[0]}; it was written again from the registry"
    if len(wrong) > 1:
        words = f"{wrong[0]} and {len(wrong) - 1} more; they were written again from the registry"
    return Settled(current.generation, version.label, "repaired", words)
