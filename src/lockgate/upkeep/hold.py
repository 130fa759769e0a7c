"""Hold an environment, and lift holds and quarantines, each with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lockgate.domain.release import Hold, Lift, Quarantine
from lockgate.domain.times import shown_time
from lockgate.domain.version import Version
from lockgate.errors import LockgateError, Refused
from lockgate.ports import Registry
from lockgate.upkeep.words import checked_reason


@dataclass(frozen=True, slots=True)
class Lifted:
    """What was ended."""

    what: str
    """`hold` or `quarantine`."""
    reason: str
    """The reason it had stood for."""


def hold(registry: Registry, system: str, environment: str, *, reason: str, actor: str) -> Hold:
    """Stop promotions to an environment until the hold is lifted.

    Raises:
        UsageMistake: The reason is missing.
        Refused: It is held already.
    """
    standing = registry.releases.holds(system, environment)
    if standing:
        raise Refused(
            f"{environment} is held already: {standing[0].reason.splitlines()[0]}",
            hint=f"`lockgate lift {environment} -s {system} -m REASON` ends it",
        )
    record = Hold(system, environment, checked_reason(reason), actor)
    with registry.write() as writing:
        return writing.append(record)


def lift_hold(
    registry: Registry, system: str, environment: str, *, reason: str, actor: str
) -> list[Lifted]:
    """End every hold of an environment.

    Raises:
        UsageMistake: The reason is missing.
        Refused: It is not held.
    """
    reason = checked_reason(reason)
    standing = registry.releases.holds(system, environment)
    if not standing:
        raise Refused(f"{environment} is not held", hint=f"`lockgate status -s {system}`")
    _lift(registry, standing, reason, actor, f"the hold of {environment}")
    return [Lifted("hold", record.reason) for record in standing]


def lift_quarantine(
    registry: Registry, version: Version, *, reason: str, actor: str
) -> list[Lifted]:
    """End every quarantine of a version's definition.

    Raises:
        UsageMistake: The reason is missing.
        Refused: It is not quarantined.
    """
    reason = checked_reason(reason)
    standing = registry.releases.quarantines(version.system, definition=version.definition)
    if not standing:
        raise Refused(
            f"{version.label} is not quarantined", hint=f"`lockgate show {version.label}`"
        )
    _lift(registry, standing, reason, actor, f"the quarantine of {version.label}")
    return [Lifted("quarantine", record.reason) for record in standing]


def _lift(
    registry: Registry, standing: Sequence[Hold | Quarantine], reason: str, actor: str, what: str
) -> None:
    """End some holds or quarantines; who was overtaken is told by whom."""
    try:
        with registry.write() as writing:
            for record in standing:
                writing.append(Lift(record.seq, reason, actor))
    except LockgateError as error:
        found = (registry.releases.lift_of(record.seq) for record in standing)
        winner = next((lift for lift in found if lift is not None), None)
        if winner is None:
            raise
        raise Refused(
            f"{winner.actor} ended {what} first, at {shown_time(winner.at)}; nothing was changed",
            hint="`lockgate status` shows what stands now",
        ) from error
