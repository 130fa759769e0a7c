"""Hold an environment, and lift holds and quarantines, each with a reason."""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.domain.release import Hold, Lift
from lockgate.domain.version import Version
from lockgate.errors import Refused
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
    standing = registry.releases.holds(system, environment)
    if not standing:
        raise Refused(f"{environment} is not held", hint=f"`lockgate status -s {system}`")
    reason = checked_reason(reason)
    with registry.write() as writing:
        for record in standing:
            writing.append(Lift(record.seq, reason, actor))
    return [Lifted("hold", record.reason) for record in standing]


def lift_quarantine(
    registry: Registry, version: Version, *, reason: str, actor: str
) -> list[Lifted]:
    """End every quarantine of a version's definition.

    Raises:
        UsageMistake: The reason is missing.
        Refused: It is not quarantined.
    """
    standing = registry.releases.quarantines(version.system, definition=version.definition)
    if not standing:
        raise Refused(
            f"{version.label} is not quarantined", hint=f"`lockgate show {version.label}`"
        )
    reason = checked_reason(reason)
    with registry.write() as writing:
        for record in standing:
            writing.append(Lift(record.seq, reason, actor))
    return [Lifted("quarantine", record.reason) for record in standing]
