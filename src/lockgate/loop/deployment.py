"""What every way to make a version live has in common, in the only order there is.

    attempt (takes the generation) → rebuilt and staged → hook → settlement → published → observed

- The generation is taken before anything is touched.
- A hook that fails settles `failed`: the receipt that was there stays.
- Nobody knows the end of an attempt that was cut off: it stays open until `settle` finds out.
- A hook whose end nobody saw is neither well nor failed: its attempt stays open as well.
- Who was overtaken is refused at the settlement, and publishes nothing.
- While a rollback that was made without the registry is not recorded, nothing is begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, TypeVar

from lockgate.domain.components import Definition
from lockgate.domain.offline import OfflineNote
from lockgate.domain.policy import Environment
from lockgate.domain.receipt import BACK, Origin, Previous, Receipt, receipt_for, settled
from lockgate.domain.release import Attempt, Deployment, Settlement
from lockgate.domain.version import Version
from lockgate.errors import (
    Inconclusive,
    InfrastructureFailed,
    Interrupted,
    LockgateError,
    StaleGeneration,
)
from lockgate.loop.unrecorded import refuse_unrecorded, valid
from lockgate.loop.way_back import is_large, note_whole, promotions, why_no_target
from lockgate.ports import HookLines, HookTold, InstanceTold, Registry, Target, Writing

Event = TypeVar("Event")


PATIENCE_S = 3.0
"""How long the running instances are asked again until all of them report what went live."""
_ASK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class DeployEvent:
    """Something that just happened on the way to live."""

    kind: str
    """`taken`, `rebuilt`, `hook`, `settled`, `published` or `observed`."""
    generation: int
    detail: Any = None
    """For `hook` what it wrote, for `observed` the instances, for `rebuilt` a count of files."""


class Nowhere:
    """The target of an environment that publishes nothing and runs no hook: records are all."""

    publishes = has_hook = observes = False

    def hook_digest(self) -> str | None:
        """There is no hook."""
        return None

    def current(self, system: str) -> Receipt | None:
        """Nothing is published."""
        return None

    way_back = staged = current

    def newest_generation(self, system: str) -> int:
        """Nothing is published."""
        return 0

    def problems(self, receipt: Receipt, *, budget_bytes: int | None = None) -> Sequence[str]:
        """Nothing is published, so nothing is wrong."""
        return ()

    def key_problem(self) -> str | None:
        """Nothing is published."""
        return None

    def prepare(
        self,
        receipt: Receipt,
        definition: Definition,
        open_content: Callable[[str], BinaryIO],
        *,
        hash_all: bool = False,
    ) -> None:
        """Nothing is written."""

    def stage(self, receipt: Receipt) -> None:
        """Nothing is written."""

    def publish(self, receipt: Receipt, way_back: Receipt | None) -> None:
        """Nothing is written."""

    def unstage(self, system: str, generation: int) -> None:
        """Nothing was written."""

    def offline_notes(self, system: str) -> Sequence[OfflineNote]:
        """Nobody went back without the registry: there was nothing to go back to."""
        return ()

    def strays(self, system: str) -> Sequence[str]:
        """There are none."""
        return ()

    def set_aside_notes(self, system: str, *, all_of_them: bool = False) -> Sequence[str]:
        """There are none."""
        return ()

    def drop_offline_note(self, system: str, generation: int) -> None:
        """There is none."""

    def elsewhere(self, environment: Environment) -> Target:
        """Nobody knows where that would be."""
        return self

    def alone_offline(self, system: str) -> AbstractContextManager[None]:
        """Nobody else is at it."""
        return nullcontext()

    def start_hook(self, receipt: Receipt, previous: Receipt | None) -> None:
        """There is no hook."""

    def follow_hook(self, system: str, generation: int) -> Iterator[HookLines]:
        """There is no hook."""
        return iter(())

    def hook_status(self, system: str, generation: int) -> HookTold:
        """There is no hook."""
        raise LookupError("an environment without a hook has no hook status")

    stop_hook = hook_status

    def observe(self, live: str | None, receipted: Iterable[str]) -> Sequence[InstanceTold]:
        """Nobody can be asked."""
        return ()


NOWHERE: Target = Nowhere()


def lease_of(system: str, environment: str, generation: int) -> str:
    """Return the name under which a process holds an attempt."""
    return f"attempt {system}/{environment}/{generation}"


def origin_records(system: str, environment: str, actor: str) -> tuple[Attempt, Settlement]:
    """Return the empty origin that the first attempt of an environment stands on."""
    return (
        Attempt(system, environment, 0, "origin", None, None, None, None, None, actor),
        Settlement(system, environment, 0, "empty", None, actor),
    )


def carry_out(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    version: Version,
    *,
    actor: str,
    first: Sequence[Any] = (),
    beside: Callable[[], Sequence[Any]] = tuple,
    way_back: Receipt | None = None,
) -> Iterator[DeployEvent]:
    """Take an attempt to its end; the caller walks what happens.

    Args:
        registry: Where it is recorded.
        target: Where the environment's versions go.
        attempt: The generation to take.
        version: What becomes live.
        actor: Who does it.
        first: Records that belong before the attempt, in the same transaction.
        beside: Gives the records that belong right after it; asked in the same transaction, so
            that nothing they depend on can change in between.
        way_back: The receipt to keep as the way back, once the new one is published.

    Raises:
        Refused: Somebody went back without the registry, and that is not recorded yet.
        InfrastructureFailed: The hook failed; the attempt is settled `failed`.
        Inconclusive: Nobody saw how the hook ended; the attempt stays open.
        Interrupted: A person left; a hook goes on, and `settle` takes it from there.
        StaleGeneration: Somebody was faster; nothing was published.
        LockgateError: The version could not be rebuilt; the attempt is settled `failed`.
    """
    refuse_unrecorded(registry, target, attempt)
    subject = lease_of(attempt.system, attempt.environment, attempt.generation)
    is_bare = not (target.publishes or target.has_hook)
    settlement = Settlement(
        attempt.system, attempt.environment, attempt.generation, "live", None, actor
    )
    with registry.write() as writing:
        append_first(registry, writing, first)
        taken = writing.append(attempt)
        for record in beside():
            writing.append(record)
        if is_bare:
            writing.append(settlement)
        else:
            writing.take_lease(subject, actor)
    yield DeployEvent("taken", attempt.generation)
    if is_bare:
        yield DeployEvent("settled", attempt.generation)
        return
    try:
        receipt = _rebuilt(registry, target, taken, version)
        yield DeployEvent("rebuilt", attempt.generation, len(receipt.files))
        if target.has_hook:
            yield from _hooked(registry, target, taken, version, receipt)
        yield from finish(registry, target, taken, receipt, way_back, actor=actor)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"generation {attempt.generation} of {attempt.environment} is not settled yet; "
            "what was begun goes on",
            hint=f"`lockgate settle {attempt.environment} -s {attempt.system}` takes it from here",
        ) from error
    except (Inconclusive, InfrastructureFailed, StaleGeneration):
        raise
    except LockgateError as error:
        _settle(registry, taken, "failed", error.what, actor)
        target.unstage(attempt.system, attempt.generation)
        raise
    finally:
        with registry.write(durable=False) as writing:
            writing.drop_lease(subject)


def append_first(registry: Registry, writing: Writing, records: Iterable[Any]) -> None:
    """Add what belongs before an attempt; what somebody settled meanwhile stays as they settled it.

    Raises:
        StaleGeneration: What was to be abandoned went live meanwhile.
    """
    for record in records:
        if isinstance(record, Settlement):
            found = registry.releases.deployment(
                record.system, record.environment, record.generation
            )
            if found is not None and found.outcome == "live":
                raise _overtaken(found)
            if found is not None and not found.is_open:
                continue
        writing.append(record)


def tell_each(
    events: Iterator[Event], tell: Callable[[Event], None], first: Sequence[Event] = ()
) -> None:
    """Walk what happens to its end and tell each of it, after what happened `first`.

    Whoever leaves while something is told leaves what happens as well, at once and in order: the
    lease is dropped while the registry is still open, and a person hears how it goes on.
    """
    try:
        for event in chain(first, events):
            tell(event)
    except KeyboardInterrupt as stopped:
        if isinstance(events, Generator):
            events.throw(stopped)
        raise
    finally:
        if isinstance(events, Generator):
            events.close()


def staged_receipt(
    registry: Registry, attempt: Attempt, version: Version, *, folder: str | None = None
) -> Receipt:
    """Return the staged receipt of an attempt, the same whenever it is asked for.

    Args:
        registry: Knows what was live before.
        attempt: The attempt.
        version: What it makes live.
        folder: Where the definition stands already; `None` names the generation's own folder.
    """
    live = registry.releases.live_before(attempt.system, attempt.environment, attempt.generation)
    previous = None
    if live is not None and live.attempt.version is not None:
        previous = Previous(live.attempt.generation, live.attempt.version)
    return receipt_for(
        version,
        registry.versions.definition(version.definition),
        Origin(registry.id, registry.epoch, attempt.environment),
        generation=attempt.generation,
        kind=attempt.kind,
        decision=attempt.decision,
        previous=previous,
        at=attempt.at,
        folder=folder,
        is_ungated=_is_ungated(registry, attempt),
    )


def _is_ungated(registry: Registry, attempt: Attempt) -> bool:
    """Tell whether somebody broke the glass for what an attempt makes live."""
    recorded = registry.releases.deployment(attempt.system, attempt.environment, attempt.generation)
    return (recorded or Deployment(attempt, None, None)).is_ungated


def kept_way_back(
    registry: Registry, target: Target, live: Deployment | None, *, besides: Version | None = None
) -> Receipt | None:
    """Return the receipt to keep as the way back from what comes next, with its folder whole.

    It is that of the version that a rollback would go to: what is live, unless no gate let that in
    or it was left by a rollback before; then the newest one before it.

    Args:
        registry: Knows what was live.
        target: Where the environment's versions go.
        live: What is live before what comes next.
        besides: What comes next, when it was live before.

    Raises:
        IntegrityBroken: Its bytes are gone from the registry: there would be no way back.
    """
    back = gated_way_back(registry, live, besides=besides)
    version = registry.versions.get(back.attempt.version or "") if back else None
    if back is None or version is None or not target.publishes:
        return None
    receipt = _at_hand(registry, target, version, back.attempt.environment)
    if receipt is None or receipt.version != version.id:
        staged = staged_receipt(registry, back.attempt, version)
        receipt = settled(staged, back.settled_at or back.attempt.at)
    definition = registry.versions.definition(version.definition)
    target.prepare(receipt, definition, registry.objects.open, hash_all=True)
    return receipt


def gated_way_back(
    registry: Registry, live: Deployment | None, *, besides: Version | None = None
) -> Deployment | None:
    """Return the promotion to go back to from whatever takes the place of what is live.

    That is what is live, unless somebody broke the glass for it, it rehearses, is quarantined or
    was left by a rollback before: then it is the newest one before it that is none of these.
    """
    if live is None:
        return None
    place = (live.attempt.system, live.attempt.environment)
    for deployment in promotions(registry, *place, live.attempt.generation + 1):
        version = registry.versions.get(deployment.attempt.version or "")
        if version is None or why_no_target(registry, version, live.attempt.environment):
            continue
        if besides is None or besides.definition != version.definition:
            return deployment
    return None


def _at_hand(
    registry: Registry, target: Target, version: Version, environment: str
) -> Receipt | None:
    """Return a published receipt of a version's definition: its folder stands already."""
    origin = Origin(registry.id, registry.epoch, environment)
    for read in (target.current, target.way_back):
        receipt = valid(read, version.system)
        if receipt and (receipt.origin, receipt.definition) == (origin, version.definition):
            return receipt
    return None


def standing_receipt(
    registry: Registry, target: Target, attempt: Attempt, version: Version
) -> Receipt:
    """Return the staged receipt of an attempt, in the folder that stands for it if one does.

    What is gone back to was published before: its folder is used as it is, however large it is.
    """
    folder = None
    staged = valid(target.staged, attempt.system)
    if staged is not None and staged.generation == attempt.generation:
        folder = staged.folder if staged.definition == version.definition else None
    elif attempt.kind in BACK and target.publishes:
        kept = _at_hand(registry, target, version, attempt.environment)
        folder = kept.folder if kept else None
    return staged_receipt(registry, attempt, version, folder=folder)


def _rebuilt(registry: Registry, target: Target, attempt: Attempt, version: Version) -> Receipt:
    receipt = standing_receipt(registry, target, attempt, version)
    if target.publishes:
        definition = registry.versions.definition(version.definition)
        is_new = attempt.kind not in BACK
        target.prepare(receipt, definition, registry.objects.open, hash_all=is_new)
        if is_new and is_large(registry, version.definition):
            note_whole(registry, version.definition)
        target.stage(receipt)
    return receipt


def _hooked(
    registry: Registry, target: Target, attempt: Attempt, version: Version, receipt: Receipt
) -> Iterator[DeployEvent]:
    previous = valid(target.current, attempt.system)
    try:
        target.start_hook(receipt, previous)
        for told in target.follow_hook(attempt.system, attempt.generation):
            yield DeployEvent("hook", attempt.generation, told)
        status = target.hook_status(attempt.system, attempt.generation)
        if status.is_success:
            return
        if status.ending == "lost":
            raise unknown(registry, target, attempt, version)
        words = status.words()
    except InfrastructureFailed as error:
        # Its runner may have gone before it could say that the hook was started.
        if target.hook_status(attempt.system, attempt.generation).ending == "lost":
            raise unknown(registry, target, attempt, version) from error
        words = error.what
    _settle(registry, attempt, "failed", f"the hook {words}", attempt.actor)
    target.unstage(attempt.system, attempt.generation)
    raise InfrastructureFailed(
        f"the deploy hook of generation {attempt.generation} {words}; "
        f"what was live in {attempt.environment} before still is",
        hint=f"mend what it complains about, then run it again; its output is in "
        f"`.lockgate/hooks/{attempt.system}.{attempt.environment}.{attempt.generation:08d}.log`",
    )


def unknown(registry: Registry, target: Target, attempt: Attempt, version: Version) -> Inconclusive:
    """Return the error that nobody saw how a hook ended, with every way to certainty."""
    place = f"{attempt.environment} -s {attempt.system}"
    live = registry.releases.live_before(attempt.system, attempt.environment, attempt.generation)
    before = registry.versions.get(live.attempt.version or "") if live else None
    still = f"still run {before.label}" if before else "run nothing, as before"
    what = (
        f"unknown: the hook for generation {attempt.generation} did not finish in sight; instances "
        f"may run {version.label}, or {still}"
    )
    if attempt.kind in ("rehearsal", "revert"):
        return Inconclusive(what, hint=f"`lockgate settle {place}` takes the rehearsal back")
    hint = "look at the instances"
    if target.observes:
        hint += f", or have `lockgate settle {place}` ask them"
    hint += (
        f"; if they run {version.label}: `lockgate settle {place} --as live -m REASON`; if they "
        f"{still}: `lockgate settle {place} --as failed -m REASON`"
    )
    if before:
        hint += (
            f"; `lockgate rollback {place}` gives generation {attempt.generation} up and leaves "
            f"{before.label} as well"
        )
    return Inconclusive(what, hint=hint)


def finish(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    receipt: Receipt,
    way_back: Receipt | None,
    *,
    actor: str,
    reason: str | None = None,
) -> Iterator[DeployEvent]:
    """Settle an attempt whose hook went well, publish it, and ask what is running.

    Args:
        registry: Where it is recorded.
        target: Where the environment's versions go.
        attempt: The attempt, still open.
        receipt: As it was staged.
        way_back: The receipt to keep beside it.
        actor: Who settles it.
        reason: How it is known to have gone well, where nobody saw it.

    Raises:
        StaleGeneration: Somebody abandoned it meanwhile; nothing was published.
    """
    _settle(registry, attempt, "live", reason, actor)
    yield DeployEvent("settled", attempt.generation)
    yield from announce(registry, target, attempt, receipt, way_back)


def announce(
    registry: Registry,
    target: Target,
    attempt: Attempt,
    receipt: Receipt,
    way_back: Receipt | None,
) -> Iterator[DeployEvent]:
    """Publish a deployment that is settled live, and ask what is running; safe to repeat."""
    if target.publishes:
        target.publish(settled(receipt, registry.now()), way_back)
        target.unstage(attempt.system, attempt.generation)
        yield DeployEvent("published", attempt.generation)
    if target.observes:
        for told in watched(registry, target, attempt, PATIENCE_S):
            yield DeployEvent("observed", attempt.generation, told)


def watched(
    registry: Registry, target: Target, attempt: Attempt, patience_s: float
) -> Iterator[Sequence[InstanceTold]]:
    """Give what the running instances say, and again once all report it or patience is over."""
    until = time.monotonic() + patience_s
    told = seen(registry, target, attempt)
    yield told
    is_late = False
    while not is_late and any(instance.state != "match" for instance in told):
        time.sleep(_ASK_EVERY_S)
        is_late = time.monotonic() >= until
        told = seen(registry, target, attempt)
        if is_late or all(instance.state == "match" for instance in told):
            yield told


def seen(registry: Registry, target: Target, attempt: Attempt) -> Sequence[InstanceTold]:
    """Return the running instances and what each one's answer means."""
    known = registry.releases.ever_live(attempt.system, attempt.environment)
    return target.observe(attempt.version, known)


def _settle(
    registry: Registry, attempt: Attempt, outcome: str, reason: str | None, actor: str
) -> None:
    record = Settlement(
        attempt.system, attempt.environment, attempt.generation, outcome, reason, actor
    )
    try:
        with registry.write() as writing:
            writing.append(record)
    except LockgateError as error:
        overtaken = registry.releases.deployment(
            attempt.system, attempt.environment, attempt.generation
        )
        if overtaken is None or overtaken.is_open:
            raise
        raise _overtaken(overtaken) from error


def _overtaken(deployment: Deployment) -> StaleGeneration:
    attempt = deployment.attempt
    return StaleGeneration(
        f"generation {attempt.generation} of {attempt.environment} was settled "
        f"`{deployment.outcome}` meanwhile; nothing more was done",
        hint="`lockgate status` shows what is live now",
    )
