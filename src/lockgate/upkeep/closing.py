"""Close: a second person's end of a break-glass promotion.

- Whoever broke the glass never closes it.
- While its version is live it takes what it never had: a decision of the gate about that version
  and environment, made since, that stands, with the approvals it needs. Who broke the glass
  counts as its promoter.
- Once its version is no longer live, a second person's word is enough.
- Everything that is missing is told at once, each with its command.
- Of two who close, one does, and the other is told who.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lockgate.domain.policy import Environment
from lockgate.domain.release import Attempt, Decision, Deployment, Finding
from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import Closing
from lockgate.domain.version import Version
from lockgate.errors import LockgateError, Refused, WaitingForPerson
from lockgate.loop.promote import approved, not_quarantined, stands
from lockgate.ports import Registry, Signing
from lockgate.upkeep.words import checked_reason


@dataclass(frozen=True, slots=True)
class Remaining:
    """A break-glass promotion that cannot be closed yet."""

    deployment: Deployment
    label: str
    missing: tuple[Finding, ...]

    @property
    def only_waits(self) -> bool:
        """Whether nothing but a reviewer's yes is missing."""
        return all(finding.outcome == "waiting" for finding in self.missing)


@dataclass(frozen=True, slots=True)
class Closed:
    """What closing came to."""

    environment: str
    closings: tuple[Closing, ...]
    remaining: tuple[Remaining, ...]

    def trouble(self) -> Refused | WaitingForPerson | None:
        """Return the refusal that the remaining ones amount to; `None` when there are none."""
        if not self.remaining:
            return None
        missing = [(one, finding) for one in self.remaining for finding in one.missing]
        kind = WaitingForPerson if all(one.only_waits for one in self.remaining) else Refused
        named = " and ".join(
            f"generation {one.deployment.attempt.generation} ({one.label})"
            for one in self.remaining
        )
        return kind(
            f"{named} of {self.environment} cannot be closed yet",
            problems=[
                f"{one.label} {finding.rule}: {finding.reason}"
                + (f"; {finding.hint}" if finding.hint else "")
                for one, finding in missing
            ],
            hint=next(finding.hint for _, finding in missing),
        )


def close(
    registry: Registry,
    system: str,
    environment: Environment,
    *,
    reason: str,
    actor: str,
    signing: Signing | None = None,
) -> Closed:
    """Close every break-glass promotion of an environment that can be closed.

    Args:
        registry: Where they are recorded.
        system: The system.
        environment: From the applied policy.
        reason: What came of it.
        actor: Who closes; somebody else than who broke the glass.
        signing: Checks every reviewer's signature again.

    Raises:
        UsageMistake: The reason is missing.
        Refused: None is open there, or somebody else was faster; nothing was changed.
    """
    reason = checked_reason(reason)
    broken = registry.upkeep.unclosed(system, environment.name)
    if not broken:
        raise Refused(
            f"no break-glass promotion of {environment.name} is open",
            hint=f"`lockgate status -s {system}` shows what is",
        )
    closings: list[Closing] = []
    remaining: list[Remaining] = []
    for deployment in broken:
        attempt = deployment.attempt
        version = registry.versions.get(attempt.version or "")
        assert version is not None  # a key of the registry
        decision, missing = lacking(registry, attempt, version, environment, actor, signing)
        if missing:
            remaining.append(Remaining(deployment, version.label, tuple(missing)))
            continue
        record = Closing(
            system,
            environment.name,
            attempt.generation,
            decision.id if decision else None,
            reason,
            actor,
        )
        closings.append(_append(registry, record))
    return Closed(environment.name, tuple(closings), tuple(remaining))


def open_glass(
    registry: Registry, system: str, environment: str, version_id: str
) -> Deployment | None:
    """Return the break-glass by which a version is live, while nobody has closed it."""
    live = registry.releases.live(system, environment)
    if live is None or live.attempt.version != version_id or not live.is_ungated:
        return None
    closing = registry.upkeep.closing(system, environment, live.attempt.generation)
    return live if closing is None else None


def lacking(
    registry: Registry,
    attempt: Attempt,
    version: Version,
    environment: Environment,
    actor: str,
    signing: Signing | None = None,
) -> tuple[Decision | None, list[Finding]]:
    """Return the decision that a closing rests on, if it needs one, and everything it lacks."""
    missing = []
    if actor == attempt.actor:
        missing.append(
            Finding(
                "second person",
                "fail",
                f"{actor} broke the glass and does not close it",
                f"somebody else runs `lockgate close {environment.name} -m REASON`",
            )
        )
    live = registry.releases.live(attempt.system, environment.name)
    if live is None or live.attempt.version != attempt.version:
        return None, missing
    decision = registry.releases.newest_decision(version.id, environment.name)
    found = retro(registry, attempt, version, decision, environment, signing)
    return decision, missing + [one for one in found if one.outcome not in ("pass", "skipped")]


def retro(
    registry: Registry,
    attempt: Attempt,
    version: Version,
    decision: Decision | None,
    environment: Environment,
    signing: Signing | None = None,
) -> list[Finding]:
    """Return what has to hold of the decision that makes up for a break-glass promotion."""
    at = f"{version.label} --to {environment.name} -s {version.system}"
    again = f"`lockgate evaluate {version.label} -s {version.system}`, then `lockgate gate {at}`"
    if decision is None or decision.seq < attempt.seq:
        return [
            Finding(
                "decision",
                "fail",
                f"{version.label} is live, and the gate has not judged it since",
                again,
            )
        ]
    if not decision.promotable:
        words = ", ".join(finding.rule for finding in decision.obstacles())
        return [
            Finding(
                "decision",
                "fail",
                f"the gate said {decision.outcome} since, to {words}",
                f"`lockgate show {version.label} -s {version.system}` has its reasons; "
                f"`lockgate rollback {environment.name} -s {version.system}` leaves it, and then "
                "a second person's word is enough",
            )
        ]
    return [
        replace(stands(registry, decision), hint=f"`lockgate gate {at}`"),
        approved(registry, decision, environment, {attempt.actor: "broke the glass"}, signing),
        *not_quarantined(registry, version),
    ]


def _append(registry: Registry, record: Closing) -> Closing:
    try:
        with registry.write() as writing:
            return writing.append(record)
    except LockgateError as error:
        winner = registry.upkeep.closing(record.system, record.environment, record.generation)
        if winner is None:
            raise
        raise Refused(
            f"{winner.actor} closed generation {winner.generation} of {winner.environment} first, "
            f"at {shown_time(winner.at)}; nothing was changed",
            hint=f"`lockgate status -s {record.system}`",
        ) from error
