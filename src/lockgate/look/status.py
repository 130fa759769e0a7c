"""The page that answers: is it all right, did anything change, what is next.

- It needs no policy and no versions; what is not there yet is what comes next.
- Scores are those that runs recorded when they ended; nothing is recomputed, so it is quick.
- Everything on it is true of one moment, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from lockgate.domain.policy import Environment, Policy
from lockgate.domain.release import Decision, Deployment, Hold
from lockgate.domain.version import Version
from lockgate.look.due import Due, due
from lockgate.look.events import Event, Labels, recent_events
from lockgate.look.facts import (
    FAR_BACK,
    Score,
    difference_lines,
    environments_of,
    recorded_at,
    score_of,
    way_back,
    yardstick,
)
from lockgate.loop.standing import barred_reviewers, why_not_standing

if TYPE_CHECKING:
    from lockgate.ports import Registry

HISTORY = 12
"""How many of the newest releases are looked at for the row of scores."""
_RECENT_DECISIONS = 20
_OPEN_RUNS = 3


class Place(NamedTuple):
    """One environment: what is live there, and how to get back."""

    environment: str
    label: str | None
    """`None` while nothing was ever live."""
    version: str | None
    generation: int
    since: datetime | None
    actor: str | None
    kind: str | None
    """How it became live: `promote`, `rollback` and so on."""
    score: Score | None
    way_back: str | None
    """The label a rollback would go to."""
    is_quarantined: bool
    open_attempt: str | None
    """Words about an attempt nobody knows the end of."""
    holds: tuple[Hold, ...]
    is_ungated: bool
    """Whether somebody broke the glass for what is live."""
    unclosed: tuple[Deployment, ...]
    """Break-glass promotions that stop all others until a second person closes them."""


class LastChange(NamedTuple):
    """The newest change of what users get."""

    environment: str
    before: str | None
    after: str
    kind: str
    at: datetime
    actor: str
    approved_by: tuple[str, ...]
    difference: tuple[str, ...]
    """A line a component; empty for the first version."""


class Step(NamedTuple):
    """One step of the loop and how far it is."""

    name: str
    mark: str
    """`pass`, `fail`, `inconclusive`, `running` or `waiting`."""
    note: str = ""


class InWork(NamedTuple):
    """The newest release, on its way to the next environment."""

    label: str
    environment: str | None
    """Where it would go next; `None` without a policy."""
    steps: tuple[Step, ...]


class Waiting(NamedTuple):
    """Something that a person has to decide."""

    what: str
    given: int
    needed: int
    reviewers: tuple[str, ...]
    command: str
    """What a reviewer runs."""


class OpenRun(NamedTuple):
    """A run that has not ended and can be resumed."""

    run: str
    label: str
    suite: str
    answered: int
    total: int | None
    """`None` when the suite is no longer the one applied."""
    at: datetime
    actor: str
    command: str | None
    """What goes on with it; `None` when the suite is no longer the one applied."""


class Point(NamedTuple):
    """One release and its score, for the row of scores."""

    label: str
    value: float


class Status(NamedTuple):
    """All that the page says about one system."""

    system: str
    position: int
    """From 1, among the registry's systems."""
    systems: int
    now: datetime
    versions: int
    places: tuple[Place, ...]
    last_change: LastChange | None
    in_work: InWork | None
    waiting: tuple[Waiting, ...]
    open_runs: tuple[OpenRun, ...]
    suite: str | None
    """What the row of scores measures."""
    scores: tuple[Point, ...]
    events: tuple[Event, ...]
    next: str | None
    """The command that goes on; `None` when nothing is pending."""
    due: tuple[Due, ...] = ()
    """What somebody should do, the most pressing first."""

    @property
    def unchanged_for(self) -> timedelta | None:
        """How long users have been getting the same; `None` before the first promotion."""
        return self.now - self.last_change.at if self.last_change else None


def status(
    registry: Registry, system: str, policy: Policy | None, apart: Sequence[str] = ()
) -> Status:
    """Return where a system stands.

    Args:
        registry: Where everything is recorded.
        system: A system that has been registered.
        policy: As applied; `None` before the first.
        apart: What of the policy's files differs from what is applied, a sentence each.
    """
    with registry.read():
        return glance(registry, system, policy, apart)


def glance(
    registry: Registry, system: str, policy: Policy | None, apart: Sequence[str] = ()
) -> Status:
    """Return where a system stands, for who holds one consistent view already; see `status`."""
    return _Look(registry, system, policy, apart).page()


class _Look:
    """One look at one system."""

    def __init__(
        self, registry: Registry, system: str, policy: Policy | None, apart: Sequence[str]
    ) -> None:
        self._apart = apart
        self._registry = registry
        self._system = system
        self._policy = policy
        self._labels = Labels(registry)
        self._quarantined = frozenset(
            found.definition for found in registry.releases.quarantines(system)
        )
        self._by = yardstick(registry, system, policy)
        systems = registry.versions.systems()
        self._position = systems.index(system) + 1
        self._of = len(systems)
        self._flag = f" -s {system}" if len(systems) > 1 else ""
        self._histories = {
            name: registry.releases.deployments(system, name, limit=FAR_BACK)
            for name in environments_of(registry, system, policy)
        }
        self._live = {name: registry.releases.live(system, name) for name in self._histories}
        self._decisions = registry.releases.decisions(system, limit=_RECENT_DECISIONS)

    def page(self) -> Status:
        registry = self._registry
        releases = registry.versions.page(self._system, limit=HISTORY, track="release")
        open_runs = tuple(self._open_runs())
        waiting = tuple(self._waiting())
        newest = releases[0] if releases else None
        target = self._target(newest) if newest else None
        in_work = self._in_work(newest, target) if newest else None
        return Status(
            self._system,
            self._position,
            self._of,
            registry.now(),
            registry.versions.count(self._system),
            tuple(self._place(name) for name in self._histories),
            self._last_change(),
            in_work,
            waiting,
            open_runs,
            self._by.suite if self._by else None,
            tuple(self._scores(releases)),
            recent_events(
                registry, self._system, self._labels, self._decisions, self._histories.values()
            ),
            self._next(newest, in_work, waiting, open_runs),
            tuple(self._due()),
        )

    def _due(self) -> Iterator[Due]:
        newest = {name: next(iter(history), None) for name, history in self._histories.items()}
        now = self._registry.now()
        yield from due(self._registry, self._system, self._policy, newest, self._live, now)
        for what in self._apart:
            yield Due(what, "lockgate policy")

    def _place(self, name: str) -> Place:
        live, history = self._live[name], self._histories[name]
        version = self._version(live)
        back = way_back(self._registry, history, live, self._quarantined)
        newest = history[0] if history else None
        return Place(
            name,
            version.label if version else None,
            version.id if version else None,
            live.attempt.generation if live else 0,
            recorded_at(live) if live and version else None,
            live.attempt.actor if live and version else None,
            live.attempt.kind if live and version else None,
            score_of(self._registry, version.id, self._by) if version else None,
            back.label if back else None,
            version is not None and version.definition in self._quarantined,
            self._open_words(newest) if newest and newest.is_open else None,
            tuple(self._registry.releases.holds(self._system, name)),
            live is not None and live.is_ungated,
            tuple(self._unclosed(name)),
        )

    def _unclosed(self, name: str) -> list[Deployment]:
        return self._registry.upkeep.unclosed(self._system, name)

    def _version(self, deployment: Deployment | None) -> Version | None:
        if deployment is None or deployment.attempt.version is None:
            return None
        return self._registry.versions.get(deployment.attempt.version)

    def _open_words(self, newest: Deployment) -> str:
        attempt = newest.attempt
        label = self._labels.of(attempt.version)
        return f"generation {attempt.generation} is open: {attempt.actor}, {attempt.kind} {label}"

    def _last_change(self) -> LastChange | None:
        newest = self._newest_change()
        if newest is None:
            return None
        attempt = newest.attempt
        after = self._version(newest)
        older = [
            found
            for found in self._histories[attempt.environment]
            if found.outcome == "live" and found.attempt.generation < attempt.generation
        ]
        before = self._version(older[0]) if older else None
        approvals = self._registry.releases.approvals(attempt.decision) if attempt.decision else []
        return LastChange(
            attempt.environment,
            before.label if before else None,
            after.label if after else "?",
            attempt.kind,
            recorded_at(newest),
            attempt.actor,
            tuple(approval.signer for approval in approvals if approval.word == "yes"),
            difference_lines(self._registry, before, after),
        )

    def _newest_change(self) -> Deployment | None:
        """Return what went live last where users are; environments for rehearsals come second."""
        live = {name: found for name, found in self._live.items() if self._version(found)}
        for_users = {name: found for name, found in live.items() if not self._is_rehearsal(name)}
        found = [deployment for deployment in (for_users or live).values() if deployment]
        return max(found, key=lambda deployment: deployment.attempt.seq, default=None)

    def _is_rehearsal(self, name: str) -> bool:
        environment = self._policy.environments.get(name) if self._policy else None
        return environment is not None and environment.rehearsal

    def _scores(self, releases: list[Version]) -> list[Point]:
        if self._by is None:
            return []
        points = []
        for version in reversed(releases):
            score = score_of(self._registry, version.id, self._by)
            if score is not None and score.digest == self._by.digest:
                points.append(Point(version.label, score.value))
        return points

    def _open_runs(self) -> list[OpenRun]:
        applied = self._registry.applied.suites(self._system)
        cases = {suite.digest: suite.cases for suite in applied.values()}
        found = []
        for record in self._registry.runs.open(self._system)[:_OPEN_RUNS]:
            run = record.run
            label = self._labels.of(run.version)
            asked = self._registry.runs.asked(run.id)
            found.append(
                OpenRun(
                    run.id,
                    label,
                    self._registry.applied.suite_name(run.suite),
                    sum(has_score for _, has_score in asked.values()),
                    cases[run.suite] * run.repeats if run.suite in cases else None,
                    run.at,
                    run.actor,
                    f"lockgate evaluate {label}{self._flag} --resume {run.id[:8]}"
                    if run.suite in cases
                    else None,
                )
            )
        return found

    def _waiting(self) -> list[Waiting]:
        seen: set[tuple[str, str]] = set()
        found: list[Waiting] = []
        for decision in self._decisions:
            key = (decision.version, decision.environment)
            if key in seen:
                continue
            seen.add(key)
            waiting = self._decision_waits(decision)
            if waiting is not None:
                found.append(waiting)
        return found + self._proposals()

    def _decision_waits(self, decision: Decision) -> Waiting | None:
        environment = self._policy.environments.get(decision.environment) if self._policy else None
        if environment is None or not decision.promotable or not decision.approvals_needed:
            return None
        approvals = self._registry.releases.approvals(decision.id)
        given = sum(approval.word == "yes" for approval in approvals)
        if given >= decision.approvals_needed or any(found.word == "no" for found in approvals):
            return None
        version = self._registry.versions.get(decision.version)
        if version is None or version.definition in self._quarantined:
            return None
        if why_not_standing(self._registry, decision):
            return None
        barred = barred_reviewers(self._registry, version, decision.environment)
        return Waiting(
            f"{version.label} to {decision.environment}: gate {decision.outcome}",
            given,
            decision.approvals_needed,
            tuple(name for name in environment.reviewers if name not in barred),
            f"lockgate approve {version.label} --to {decision.environment}{self._flag}",
        )

    def _proposals(self) -> list[Waiting]:
        proposals = self._registry.releases.proposals()
        if not proposals or self._policy is None:
            return []
        from lockgate.loop.approve import is_open_proposal, proposal_lacks, proposal_reviewers

        found = []
        for proposal in proposals:
            if proposal.system not in (None, self._system):
                continue
            if not is_open_proposal(self._registry, proposal):
                continue
            if not proposal_lacks(self._registry, self._policy, proposal):
                continue
            approvals = self._registry.releases.approvals(proposal.id)
            if any(approval.word == "no" for approval in approvals):
                continue
            asked = proposal_reviewers(self._policy)
            found.append(
                Waiting(
                    f"{proposal.kind} {proposal.name} by {proposal.actor}: "
                    f"{proposal.before[:8]} → {proposal.after[:8]}",
                    sum(approval.word == "yes" for approval in approvals),
                    max(environment.approvals for environment in asked.values()),
                    tuple(dict.fromkeys(r for e in asked.values() for r in e.reviewers)),
                    f"lockgate approve --proposal {proposal.id[:12]}",
                )
            )
        return found

    def _target(self, newest: Version) -> Environment | None:
        """Return the first environment that the newest release has not reached yet."""
        for name, environment in (self._policy.environments if self._policy else {}).items():
            live = self._live.get(name)
            if live is not None and live.attempt.version == newest.id:
                continue
            if not self._registry.releases.promoted(self._system, name, newest.definition):
                return environment
        return None

    def _in_work(self, newest: Version, target: Environment | None) -> InWork | None:
        if self._policy is not None and target is None:
            return None
        if newest.definition in self._quarantined:
            return None
        steps = [Step("register", "pass"), self._evaluated(newest)]
        if target is not None:
            decision = self._registry.releases.newest_decision(newest.id, target.name)
            gate = self._gated(decision)
            steps += [gate, self._promoted(newest, target, decision, gate)]
        else:
            steps += [Step("gate", "waiting", "no policy is applied"), Step("promote", "waiting")]
        return InWork(newest.label, target.name if target else None, tuple(steps))

    def _evaluated(self, version: Version) -> Step:
        applied = self._registry.applied.suites(self._system)
        if not applied:
            return Step("evaluate", "waiting", "no suite is applied")
        records = self._registry.runs.of_version(version.id)
        done = {record.run.suite for record in records if record.is_completed}
        missing = [name for name, suite in applied.items() if suite.digest not in done]
        if not missing:
            return Step("evaluate", "pass")
        going = any(record.end is None for record in records)
        if going or len(missing) < len(applied):
            return Step("evaluate", "running" if going else "waiting", f"{missing[0]} missing")
        return Step("evaluate", "waiting")

    def _gated(self, decision: Decision | None) -> Step:
        if decision is None:
            return Step("gate", "waiting")
        if not decision.promotable:
            mark = "fail" if decision.outcome == "fail" else "inconclusive"
            reasons = [f.rule for f in decision.findings if f.outcome == decision.outcome]
            return Step("gate", mark, ", ".join(reasons[:2]))
        moved = why_not_standing(self._registry, decision)
        if moved:
            return Step("gate", "inconclusive", f"void: {moved}")
        return Step("gate", "pass")

    def _promoted(
        self, version: Version, target: Environment, decision: Decision | None, gate: Step
    ) -> Step:
        if decision is None or gate.mark != "pass":
            return Step("promote", "waiting")
        if self._registry.releases.holds(self._system, target.name):
            return Step("promote", "fail", f"{target.name} is held")
        words = self._registry.releases.approvals(decision.id)
        given = sum(word.word == "yes" for word in words)
        if any(word.word == "no" for word in words):
            return Step("promote", "fail", "a reviewer said no")
        if given < decision.approvals_needed:
            return Step("promote", "waiting", f"{given} of {decision.approvals_needed} approvals")
        return Step("promote", "waiting")

    def _next(
        self,
        newest: Version | None,
        in_work: InWork | None,
        waiting: tuple[Waiting, ...],
        open_runs: tuple[OpenRun, ...],
    ) -> str | None:
        if newest is None:
            return "lockgate register -m REASON"
        for name in self._histories:
            if self._unclosed(name):
                return f"lockgate close {name}{self._flag} -m REASON"
        if not self._registry.applied.suites(self._system):
            return "lockgate suite apply"
        if open_runs and open_runs[0].command:
            return open_runs[0].command
        marks = {step.name: step.mark for step in in_work.steps} if in_work else {}
        label = newest.label
        if marks and marks["evaluate"] != "pass":
            return f"lockgate evaluate {label}{self._flag}"
        if self._policy is None:
            return "lockgate policy apply"
        if in_work is None:
            return waiting[0].command if waiting else None
        to = f"{label} --to {in_work.environment}{self._flag}"
        if marks["gate"] in ("fail", "inconclusive"):
            is_void = any(s.note.startswith("void") for s in in_work.steps if s.name == "gate")
            return f"lockgate gate {to}" if is_void else f"lockgate show {label}{self._flag}"
        if marks["gate"] == "waiting":
            return f"lockgate gate {to}"
        mine = [found for found in waiting if found.command.endswith(to)]
        return mine[0].command if mine else f"lockgate promote {to}"
