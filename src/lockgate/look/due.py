"""What is due: attempts nobody knows the end of, rehearsals left live, reviews and rehearsals overdue.

- Each is one line with the command that deals with it, the most pressing first.
- Only the newest review and rehearsal are looked up, each by an index.
- Nothing is due before something is live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from lockgate.domain.policy import Policy
from lockgate.domain.release import Deployment
from lockgate.domain.times import ago
from lockgate.look.facts import recorded_at

if TYPE_CHECKING:
    from lockgate.ports import Registry


class Due(NamedTuple):
    """Something that somebody should do."""

    what: str
    command: str


def due(
    registry: Registry,
    system: str,
    policy: Policy | None,
    newest: Mapping[str, Deployment | None],
    live: Mapping[str, Deployment | None],
    now: datetime,
) -> Iterator[Due]:
    """Give what is due in a system.

    Args:
        registry: Where reviews and rehearsals are.
        system: Whose.
        policy: Says how often; `None` before the first, when nothing is overdue.
        newest: Environment to its newest deployment, settled or not.
        live: Environment to what is live there.
        now: When.
    """
    flag = f" -s {system}"
    for name, deployment in newest.items():
        if deployment is not None and deployment.is_open:
            generation = deployment.attempt.generation
            what = f"generation {generation} of {name} is open: nobody knows how it ended"
            yield Due(what, f"lockgate settle {name}{flag}")
    for name, deployment in live.items():
        if deployment is not None and deployment.attempt.kind == "rehearsal":
            past = ago(now - recorded_at(deployment))
            what = f"a rehearsal is live in {name} for {past}: nobody took it back"
            yield Due(what, f"lockgate rehearse {name}{flag}")
    if policy is None:
        return
    first = _first_live(registry, system, live)
    if first is not None:
        yield from _review(registry, system, policy.review_cadence, first, now)
    for name, environment in policy.environments.items():
        begun = _first_live(registry, system, {name: live.get(name)})
        if environment.rehearsal and begun is not None:
            yield from _rehearsal(registry, system, name, policy.rehearsal_cadence, begun, now)


def _first_live(
    registry: Registry, system: str, live: Mapping[str, Deployment | None]
) -> datetime | None:
    """Return when the first generation of any of some environments where something is live came."""
    used = [name for name, deployment in live.items() if deployment and deployment.attempt.version]
    firsts = [registry.releases.deployment(system, name, 1) for name in used]
    return min((recorded_at(found) for found in firsts if found is not None), default=None)


def _review(
    registry: Registry, system: str, cadence: timedelta, first: datetime, now: datetime
) -> Iterator[Due]:
    reviews = registry.upkeep.reviews(system, limit=1)
    last = reviews[0].at if reviews else first
    if now - last > cadence:
        been = f"the last was {ago(now - last)} ago" if reviews else "never reviewed"
        yield Due(f"review: {been}, every {_days(cadence)}", f"lockgate review -s {system}")


def _rehearsal(
    registry: Registry,
    system: str,
    environment: str,
    cadence: timedelta,
    first: datetime,
    now: datetime,
) -> Iterator[Due]:
    rehearsals = registry.upkeep.rehearsals(system, environment, limit=1)
    last = rehearsals[0].at if rehearsals else first
    if now - last > cadence:
        been = f"the last was {ago(now - last)} ago" if rehearsals else "never rehearsed"
        what = f"rehearsal of {environment}: {been}, every {_days(cadence)}"
        yield Due(what, f"lockgate rehearse {environment} -s {system}")


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return "day" if days == 1 else f"{days:g} days"
