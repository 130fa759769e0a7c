"""Why something is or was live: the deployment, the decision behind it, and who said yes.

- What was live at a time is the newest deployment settled `live` by then; order is the
  generation's, never the clock's.
- A rollback rests on no decision of its own; the promotion that once let the version in is named.
- What came in past the gate rests on none: it is told as ungated, with who closed that, if anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lockgate.domain.evidence import RunRecord
from lockgate.domain.policy import Policy
from lockgate.domain.release import Approval, Decision, Deployment, Quarantine
from lockgate.domain.upkeep import Closing, Note
from lockgate.domain.version import Version
from lockgate.errors import UsageMistake
from lockgate.look.facts import difference_lines, recorded_at

if TYPE_CHECKING:
    from lockgate.ports import Registry

_PAGE = 100


@dataclass(frozen=True, slots=True)
class UsedRun:
    """One run a decision rests on."""

    run: RunRecord
    label: str
    suite: str
    role: str
    """`candidate` or `baseline`."""


@dataclass(frozen=True, slots=True)
class Why:
    """What was live in an environment at a time, and everything that let it in."""

    system: str
    environment: str
    at: datetime
    """The time that was asked about."""
    version: Version | None
    """`None` when nothing was live."""
    deployment: Deployment | None
    before: str | None
    """Label of what was live until then."""
    until: Deployment | None
    """What replaced it later; `None` while it is live."""
    until_label: str | None
    decision: Decision | None
    """For a rollback, the decision of the promotion that once let the version in."""
    decided_generation: int | None
    """Generation of the promotion that rests on the decision."""
    approvals: tuple[Approval, ...]
    runs: tuple[UsedRun, ...]
    difference: tuple[str, ...]
    """Against what was live before, a line a component."""
    in_doubt: Deployment | None
    """An attempt that nobody knew the end of at that time."""
    first: Deployment | None
    """The first deployment ever; set only when nothing was live."""
    notes: tuple[Note, ...] = ()
    """What was said about the deployment afterwards."""
    closing: Closing | None = None
    """Who ended a break-glass promotion, and why; `None` while it is open."""
    quarantines: tuple[Quarantine, ...] = ()
    """In force now, whatever was known then."""


def why(
    registry: Registry, system: str, environment: str, policy: Policy | None, at: datetime
) -> Why:
    """Return what was live at a time and why.

    Raises:
        UsageMistake: No environment of that name is in the policy or was ever used.
    """
    used = registry.releases.environments(system)
    known = [*(policy.environments if policy else ()), *used]
    if environment not in known:
        there = ", ".join(dict.fromkeys(known))
        raise UsageMistake(
            f"there is no environment `{environment}`",
            hint=f"the environments are {there}" if there else "`lockgate policy apply` names some",
        )
    found, until, in_doubt, first = _at(registry, system, environment, at)
    version = registry.versions.get(found.attempt.version or "") if found else None
    if found is None or version is None:
        return Why(
            system, environment, at, None, None, None, until, None, None, None, (), (), (), in_doubt,
            first,
        )  # fmt: skip
    before = _live_before(registry, found)
    decided = _decided_by(registry, found, version)
    decision = None
    if decided is not None and decided.attempt.decision is not None:
        decision = registry.releases.decision(decided.attempt.decision)
    replaced = registry.versions.get(until.attempt.version or "") if until else None
    return Why(
        system,
        environment,
        at,
        version,
        found,
        before.label if before else None,
        until,
        replaced.label if replaced else None,
        decision,
        decided.attempt.generation if decided and decision else None,
        tuple(registry.releases.approvals(decision.id)) if decision else (),
        tuple(_runs(registry, decision)) if decision else (),
        difference_lines(registry, before, version),
        in_doubt,
        None,
        tuple(registry.upkeep.notes(system, environment, found.attempt.generation)),
        registry.upkeep.closing(system, environment, found.attempt.generation),
        tuple(registry.releases.quarantines(system, definition=version.definition)),
    )


def _at(
    registry: Registry, system: str, environment: str, at: datetime
) -> tuple[Deployment | None, Deployment | None, Deployment | None, Deployment | None]:
    """Return what was live, what replaced it, what was open then, and the oldest seen."""
    until: Deployment | None = None
    in_doubt: Deployment | None = None
    oldest: Deployment | None = None
    below: int | None = None
    while True:
        page = registry.releases.deployments(system, environment, before=below, limit=_PAGE)
        for found in page:
            oldest = found
            if found.outcome == "live" and recorded_at(found) <= at:
                return found, until, in_doubt, None
            if found.outcome == "live":
                until = found
            if found.attempt.at <= at and (found.settled_at is None or found.settled_at > at):
                in_doubt = found
        if len(page) < _PAGE:
            return None, None, in_doubt, oldest
        below = page[-1].attempt.generation


def _live_before(registry: Registry, found: Deployment) -> Version | None:
    attempt = found.attempt
    below: int | None = attempt.generation
    while True:
        page = registry.releases.deployments(
            attempt.system, attempt.environment, before=below, limit=_PAGE
        )
        for older in page:
            if older.outcome == "live":
                return registry.versions.get(older.attempt.version or "")
        if len(page) < _PAGE:
            return None
        below = page[-1].attempt.generation


def _decided_by(registry: Registry, found: Deployment, version: Version) -> Deployment | None:
    if found.attempt.decision is not None:
        return found
    attempt = found.attempt
    if found.is_ungated:
        return None
    return registry.releases.promoted(attempt.system, attempt.environment, version.definition)


def _runs(registry: Registry, decision: Decision) -> list[UsedRun]:
    found = []
    for used in decision.runs:
        record = registry.runs.get(used.run)
        version = registry.versions.get(used.version)
        label = version.label if version else used.version[:8]
        suite = registry.applied.suite_name(record.run.suite)
        found.append(UsedRun(record, label, suite, used.role))
    return sorted(found, key=lambda used: (used.role != "candidate", used.suite))
