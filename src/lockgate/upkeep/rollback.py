"""Roll back: make the version before live again, verified, in about a second of machine time.

- It goes to the newest version that was promoted there by a passing gate, before the generation
  being left, that is intact, not quarantined, and was never itself left by a rollback.
- It needs no eval and no approval; freeze, hold, expiry and missing reviewers never block it.
- Leaving a promoted version quarantines its definition and holds the environment, in the same
  transaction that takes the generation.
- While that hold stands, a further rollback needs an explicit target.
- A promotion under way is abandoned and its hook stopped; its late settlement is refused.
- Leaving a rehearsal is a revert, to what it took the place of and nowhere else: it neither
  quarantines nor holds. Whoever names another target takes the rehearsal back first.
- What is too large to be hashed at once is hashed after the switch, and told loudly if wrong.
- What was done without the registry, and cannot be recorded, is gone over: with a generation above.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from lockgate.domain.release import Attempt, Deployment, Hold, Quarantine, Settlement
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, Refused, StaleGeneration
from lockgate.loop.deployment import NOWHERE, DeployEvent, carry_out, kept_way_back
from lockgate.loop.unrecorded import unrecorded
from lockgate.loop.way_back import (
    damaged_files,
    is_large,
    note_whole,
    promotions,
    why_no_target,
)
from lockgate.ports import Registry, Target
from lockgate.upkeep.kept import leave_no_quarantined
from lockgate.upkeep.offline import check_after_switch
from lockgate.upkeep.reconcile import Record, consequences, gap_records


@dataclass(frozen=True, slots=True)
class WayBack:
    """Where a rollback would go, and what it would leave."""

    system: str
    environment: str
    leaving: Version
    leaving_deployment: Deployment
    to: Version
    to_deployment: Deployment
    """When that version was promoted there."""
    skipped: tuple[tuple[str, str], ...]
    """Labels that are nearer but not eligible, each with the reason."""
    open_attempt: Deployment | None
    """A promotion under way, which is stopped."""

    @property
    def kind(self) -> str:
        """`revert` when a rehearsal is left, for what it took the place of; else `rollback`."""
        return "revert" if self.leaving.track == "rehearsal" else "rollback"


def find_way_back(
    registry: Registry, system: str, environment: str, *, to: Version | None = None
) -> WayBack:
    """Return where a rollback would go; looking changes nothing.

    Args:
        registry: Where deployments and objects are.
        system: The system.
        environment: The environment.
        to: An explicit target; it has to be eligible too.

    Raises:
        Refused: Nothing is live, nothing is eligible, the explicit target is not, or an explicit
            target is needed because an earlier rollback's hold stands.
    """
    live = registry.releases.live(system, environment)
    leaving = registry.versions.get(live.attempt.version or "") if live else None
    if live is None or leaving is None:
        raise Refused(
            f"nothing is live in {environment}: there is nothing to roll back",
            hint=f"`lockgate status -s {system}`",
        )
    newest = registry.releases.newest(system, environment)
    open_attempt = newest if newest is not None and newest.is_open else None
    replaced = _replaced(registry, live)
    if replaced is not None and to is not None and to.id != replaced.id:
        raise Refused(
            f"a rehearsal is live in {environment}, in the place of {replaced.label}: that is put "
            f"back before anything is rolled back to {to.label}",
            hint=f"take it back first: `lockgate rollback {environment} -s {system}`",
        )
    found: tuple[Version, Deployment] | None = None
    skipped: list[tuple[str, str]] = []
    seen = {leaving.id}
    for deployment in _candidates(registry, live, to):
        version = registry.versions.get(deployment.attempt.version or "")
        if version is None or version.id in seen:
            continue
        seen.add(version.id)
        if to is not None and version.id != to.id:
            continue
        problem = _problem(registry, version, leaving, environment, is_explicit=to is not None)
        if problem is None:
            found = (version, deployment)
            break
        skipped.append((version.label, problem))
    if found is None:
        raise _no_target(system, environment, leaving, to, skipped, replaced)
    if to is None and live.attempt.kind == "rollback":
        _check_not_held(registry, system, environment, found[0])
    return WayBack(system, environment, leaving, live, *found, tuple(skipped), open_attempt)


def _replaced(registry: Registry, live: Deployment) -> Version | None:
    """Return what a rehearsal that is live took the place of; `None` when none is live."""
    attempt = live.attempt
    if attempt.kind != "rehearsal":
        return None
    before = registry.releases.live_release(attempt.system, attempt.environment)
    return registry.versions.get(before.attempt.version or "") if before else None


def _candidates(registry: Registry, live: Deployment, to: Version | None) -> Iterator[Deployment]:
    """Give where a rollback may go, nearest first: from a rehearsal, back to what it replaced."""
    attempt = live.attempt
    if attempt.kind == "rehearsal":
        before = registry.releases.live_release(attempt.system, attempt.environment)
        if before is not None:
            yield before
        return
    yield from promotions(registry, attempt.system, attempt.environment, attempt.generation)


def _problem(
    registry: Registry, version: Version, leaving: Version, environment: str, *, is_explicit: bool
) -> str | None:
    """Say why a version is no target, or `None` when it is one."""
    if version.definition == leaving.definition:
        return f"it is the same definition as {leaving.label}"
    # What a rehearsal took the place of is put back whatever was said of it.
    was_live = leaving.track == "rehearsal" and version.id == leaving.parent
    why_not = why_no_target(registry, version, environment, is_explicit=is_explicit)
    if why_not is not None and not was_live:
        return why_not
    damaged = damaged_files(registry, version)
    return f"it is not intact: {damaged[0]}" if damaged else None


def _no_target(
    system: str,
    environment: str,
    leaving: Version,
    to: Version | None,
    skipped: list[tuple[str, str]],
    replaced: Version | None,
) -> Refused:
    problems = [f"{label}: {reason}" for label, reason in skipped]
    if to is not None:
        what = (
            f"{to.label} is no way back for {environment}"
            if skipped
            else f"{to.label} was never promoted to {environment} before {leaving.label}"
        )
        return Refused(
            what,
            problems=problems,
            hint=f"`lockgate rollback {environment} -s {system}` finds a target by itself",
        )
    if replaced is not None:
        return Refused(
            f"{replaced.label} cannot be put back in {environment} in the place of its rehearsal",
            problems=problems,
            hint=f"restore its objects from a backup, or go to the copy that is published: "
            f"`lockgate rollback {environment} -s {system} --offline`",
        )
    return Refused(
        f"there is no way back from {leaving.label} in {environment}",
        problems=problems or ["no other version was ever promoted there"],
        hint="ship a mended version, or lift a quarantine that was wrong: "
        "`lockgate lift VERSION -m REASON`",
    )


def _check_not_held(registry: Registry, system: str, environment: str, found: Version) -> None:
    holds = registry.releases.holds(system, environment)
    if holds:
        raise Refused(
            f"{environment} was rolled back already and is held: {holds[0].reason.splitlines()[0]}",
            hint=f"name the target if that is what you want: "
            f"`lockgate rollback {environment} -s {system} --to {found.label}`",
        )


def roll_back(
    registry: Registry,
    way_back: WayBack,
    *,
    actor: str,
    target: Target | None = None,
    reason: str | None = None,
    incident: str | None = None,
) -> Iterator[DeployEvent]:
    """Go back; the caller walks what happens.

    Args:
        registry: Where it is recorded.
        way_back: As `find_way_back` returned it; if what is live moved since, it is refused.
        actor: Who rolls back.
        target: Where the environment's versions go.
        reason: Why; may be added later with `note`.
        incident: The incident's id.

    Raises:
        StaleGeneration: Somebody else changed what is live meanwhile; nothing was changed.
        InfrastructureFailed: The hook failed; the generation is settled `failed`.
        IntegrityBroken: The target's bytes are gone or damaged; or it is live, and what was hashed
            after the switch is not whole.
    """
    place = target or NOWHERE
    first: list[Record] = []
    generation = way_back.leaving_deployment.attempt.generation + 1
    newest = registry.releases.newest(way_back.system, way_back.environment)
    if newest is not None:
        generation = newest.attempt.generation + 1
        if newest.is_open:
            first.append(_abandoned(newest, actor))
    generation = _above_unrecorded(registry, way_back, place, generation, first, actor)
    live = registry.releases.live(way_back.system, way_back.environment)
    if live is None or live.attempt.generation != way_back.leaving_deployment.attempt.generation:
        raise StaleGeneration(
            "what is live has changed since this rollback was looked at; nothing was changed",
            hint=f"`lockgate status -s {way_back.system}`, then roll back again",
        )
    attempt = Attempt(
        way_back.system,
        way_back.environment,
        generation,
        way_back.kind,
        way_back.to.id,
        None,
        place.hook_digest(),
        incident,
        reason,
        actor,
    )
    kept = None
    if way_back.kind == "revert":
        with suppress(IntegrityBroken):  # what is live comes first
            kept = kept_way_back(registry, place, way_back.leaving_deployment, besides=way_back.to)

    def beside() -> list[Quarantine | Hold]:
        return consequences(
            registry, [way_back.leaving], way_back.to, way_back.environment, reason, actor
        )

    if newest is not None and newest.is_open and place.has_hook:
        place.stop_hook(way_back.system, newest.attempt.generation)
    yield from carry_out(
        registry,
        place,
        attempt,
        way_back.to,
        actor=actor,
        way_back=kept,
        first=first,
        beside=beside,
    )
    leave_no_quarantined(registry, place, way_back.system, way_back.environment)
    if place.publishes and is_large(registry, way_back.to.definition):
        live_now = place.current(way_back.system)
        if live_now is not None and live_now.generation == generation:
            check_after_switch(place, live_now)
            noted = note_whole(registry, way_back.to.definition)
            yield DeployEvent("hashed", generation, noted.size_bytes)


def _above_unrecorded(
    registry: Registry,
    way_back: WayBack,
    target: Target,
    generation: int,
    first: list[Record],
    actor: str,
) -> int:
    """Return the generation to take, above what was done without the registry and cannot be recorded.

    What lies in between is added to the records that come first, as taken and never published.
    """
    place = (way_back.system, way_back.environment)
    found = unrecorded(registry, target, *place)
    if found is None or found.top < generation:
        return generation
    first += gap_records(found, *place, way_back.to, found.top + 1, actor, target)
    return found.top + 1


def _abandoned(open_attempt: Deployment, actor: str) -> Settlement:
    """Return the settlement of an open attempt, which goes with the rollback."""
    attempt = open_attempt.attempt
    return Settlement(
        attempt.system,
        attempt.environment,
        attempt.generation,
        "abandoned",
        f"{actor} rolled back while it was under way",
        actor,
    )
