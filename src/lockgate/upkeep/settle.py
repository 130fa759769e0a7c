"""Settle: find out how an attempt that was cut off ended, and finish it; safe to repeat.

what is found                               what it means      what is done
------------------------------------------  -----------------  -----------------------------
the attempt's process lives                 it is under way    nothing; it is told
no hook was started, or there is none       nothing touched    settled `abandoned`
the hook runs                               it is under way    it is followed to its end
the hook ended well                         it is deployed     settled `live`, published
the hook ended badly                        it is not          settled `failed`
nobody saw how the hook ended               unknown            the running instances decide
settled `live`, other receipt published     cut off at the end published again
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lockgate.domain.release import Attempt, Settlement
from lockgate.domain.version import Version
from lockgate.errors import Inconclusive, IntegrityBroken, Refused
from lockgate.loop.deployment import (
    DeployEvent,
    announce,
    finish,
    lease_of,
    seen,
    staged_receipt,
)
from lockgate.ports import Registry, Target


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling found and did."""

    generation: int
    label: str
    outcome: str
    """`live`, `failed`, `abandoned`, `published` or `nothing`."""
    words: str


def settle(
    registry: Registry, system: str, environment: str, target: Target, *, actor: str
) -> Iterator[DeployEvent | Settled]:
    """Finish what was cut off in an environment; the last thing given is what was found.

    Raises:
        Busy: The process that made the attempt is still at work.
        Inconclusive: Nobody can tell how the hook ended; the message says how to decide.
    """
    newest = registry.releases.newest(system, environment)
    if newest is None:
        yield Settled(0, "-", "nothing", f"nothing was ever promoted to {environment}")
        return
    attempt = newest.attempt
    version = registry.versions.get(attempt.version or "")
    if version is None:
        raise IntegrityBroken(
            f"generation {attempt.generation} names a version that is not registered",
            hint="restore a backup",
        )
    with registry.write() as writing:
        writing.take_lease(lease_of(system, environment, attempt.generation), actor)
    try:
        if newest.is_open:
            yield from _open(registry, target, attempt, version, actor)
        else:
            yield from _published(registry, system, environment, target)
    finally:
        with registry.write(durable=False) as writing:
            writing.drop_lease(lease_of(system, environment, attempt.generation))


def _open(
    registry: Registry, target: Target, attempt: Attempt, version: Version, actor: str
) -> Iterator[DeployEvent | Settled]:
    if not target.has_hook:
        yield _give_up(registry, target, attempt, version, actor, "it was cut off", "abandoned")
        return
    if target.hook_status(attempt.system, attempt.generation).state == "running":
        for told in target.follow_hook(attempt.system, attempt.generation):
            yield DeployEvent("hook", attempt.generation, told)
    status = target.hook_status(attempt.system, attempt.generation)
    if status.state == "absent":
        target.stop_hook(attempt.system, attempt.generation)
        words = "it was cut off before its hook was started"
        yield _give_up(registry, target, attempt, version, actor, words, "abandoned")
    elif status.is_success or (
        status.ending == "lost" and _all_run(registry, target, attempt, version)
    ):
        receipt = staged_receipt(registry, attempt, version)
        target.prepare(
            receipt, registry.versions.definition(version.definition), registry.objects.open
        )
        way_back = target.current(attempt.system) if attempt.kind == "promote" else None
        yield from finish(registry, target, attempt, receipt, way_back, actor=actor)
        words = f"its hook {status.words()}"
        yield Settled(attempt.generation, version.label, "live", words)
    elif status.ending != "lost":
        words = f"its hook {status.words()}"
        yield _give_up(registry, target, attempt, version, actor, words, "failed")
    else:
        raise _unknown(attempt, version)


def _all_run(registry: Registry, target: Target, attempt: Attempt, version: Version) -> bool:
    """Tell whether every running instance reports the version of an attempt."""
    if not target.observes:
        return False
    instances = list(seen(registry, target, attempt))
    return bool(instances) and all(instance.state == "match" for instance in instances)


def _unknown(attempt: Attempt, version: Version) -> Inconclusive:
    return Inconclusive(
        f"unknown: the hook for generation {attempt.generation} did not finish in sight; instances "
        f"may run {version.label} or what was live before",
        hint=f"look at the instances; `lockgate rollback {attempt.environment} "
        f"-s {attempt.system}` takes the next generation and makes it certain",
    )


def _give_up(
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
    registry: Registry, system: str, environment: str, target: Target
) -> Iterator[DeployEvent | Settled]:
    live = registry.releases.live(system, environment)
    version = registry.versions.get(live.attempt.version or "") if live else None
    if live is None or version is None:
        yield Settled(0, "-", "nothing", f"nothing is live in {environment}")
        return
    generation = live.attempt.generation
    if not target.publishes:
        yield Settled(generation, version.label, "nothing", "everything is settled")
        return
    try:
        current = target.current(system)
    except IntegrityBroken:
        current = None
    if current is not None and current.generation > generation:
        raise Refused(
            f"generation {current.generation} was published without the registry, which knows "
            f"only {generation}",
            hint=f"`lockgate rollback {environment} -s {system} --to {current.label}` records it",
        )
    receipt = staged_receipt(registry, live.attempt, version)
    definition = registry.versions.definition(version.definition)
    target.prepare(receipt, definition, registry.objects.open)
    if current is not None and current.generation == generation:
        target.unstage(system, generation)
        yield Settled(generation, version.label, "nothing", "everything is settled and published")
        return
    way_back = current if live.attempt.kind == "promote" else None
    yield from announce(registry, target, live.attempt, receipt, way_back)
    yield Settled(generation, version.label, "published", "its receipt had not been written")
