"""Short ways to bring a registry into a state, for every test that needs one.

Each function writes what the step of its name would write and returns the record. The defaults
make the shortest story that ends with a version live in `production`:

    registry = make_registry(tmp_path, clock)
    suite = add_suite(registry)
    policy = apply_policy(registry)
    version = add_version(registry)
    run = complete_run(registry, version, suite)
    decision = pass_decision(registry, version, [run])
    promote(registry, version, decision)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lockgate.canonical import canonical_json, digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.domain.evidence import Answer, MetricSummary, Run, RunRecord
from lockgate.domain.policy import Environment, Policy
from lockgate.domain.release import (
    Approval,
    Attempt,
    Decision,
    DecisionRun,
    Deployment,
    Finding,
    Hold,
    Lift,
    PolicyApplied,
    Proposal,
    Quarantine,
    Settlement,
    SuiteApplied,
)
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.domain.version import Version, version_id
from lockgate.storage.registry import Registry, create_registry

NOW = datetime(2026, 8, 21, 9, 0, 0, tzinfo=UTC)
"""A Friday morning: when every story begins unless a test says otherwise."""

SYSTEM = "support-desk"
REGISTRAR = "support-dev"
REVIEWER = "ml-lead"
POLICY = Policy(
    environments={
        environment.name: environment
        for environment in (
            Environment("practice", "low", rehearsal=True, protects="production"),
            Environment("drill", "low", rehearsal=True, protects="production"),
            Environment("staging", "low"),
            Environment("guarded", "high", reviewers=(REVIEWER, "support-lead"), approvals=1),
            *(
                Environment(name, "low", reviewers=(REVIEWER, "support-lead"), accept_claimed=True)
                for name in ("reviewed", "production")
            ),
        )
    }
)
"""What `apply_policy` applies: reviewers are asked only in `guarded`, and there with a key."""


class FixedClock:
    """A clock that stands still until a test moves it, in either direction."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def move(self, **how_far: float) -> datetime:
        """Move by the arguments of a `timedelta`, for example `hours=2` or `days=-1`."""
        self.at += timedelta(**how_far)
        return self.at


def make_registry(root: Path, clock: FixedClock | None = None) -> Registry:
    """Make a registry; whoever makes it closes it."""
    return create_registry(root, actor=REGISTRAR, clock=clock or FixedClock())


def definition_of(prompt: str = "Sort the ticket into a queue.", **settings: Any) -> Definition:
    """Return a definition with one prompt file and settings of `generation`."""
    files = {"prompts/system.md": digest_bytes(prompt.encode())}
    return Definition(
        {
            "prompt": Component(files=files),
            "generation": Component(settings={"temperature": 0, **settings}),
        }
    )


def add_version(
    registry: Registry,
    prompt: str = "Sort the ticket into a queue.",
    *,
    parent: Version | None = None,
    track: str = "release",
    system: str = SYSTEM,
    owner: str = "support-ml",
    registrar: str = REGISTRAR,
    reason: str = "better queues",
) -> Version:
    """Register a version whose only file is its prompt; another prompt is another definition."""
    definition = definition_of(prompt)
    parent_id = parent.id if parent else None
    with registry.write() as writing:
        writing.ensure_system(system, registrar)
        writing.put(prompt.encode())
        writing.add_definition(definition)
        version = Version(
            version_id(system, definition.digest, parent_id, track),
            system,
            definition.digest,
            parent_id,
            track,
            writing.next_label(system, track),
            owner,
            registrar,
            reason,
        )
        return writing.add_version(version, prompt)


def suite_of(cases: int = 2, *, name: str = "triage", system: str = SYSTEM) -> Suite:
    """Return a suite of small tickets, scored by `accuracy`."""
    return Suite(
        system=system,
        name=name,
        description="which queue a ticket belongs to",
        scorers=(ScorerSpec("accuracy", "exact"),),
        repeats=1,
        seed=7,
        timeout_s=5.0,
        cases=tuple(
            Case(f"t{number:04d}", {"text": f"ticket {number}"}, "billing")
            for number in range(1, cases + 1)
        ),
    )


def add_suite(
    registry: Registry,
    cases: int = 2,
    *,
    name: str = "triage",
    system: str = SYSTEM,
    is_applied: bool = True,
) -> Suite:
    """Register a suite and, unless told otherwise, apply it."""
    suite = suite_of(cases, name=name, system=system)
    with registry.write() as writing:
        writing.ensure_system(system, REGISTRAR)
        writing.add_suite(suite, {})
        if is_applied:
            writing.append(SuiteApplied(system, name, suite.digest, None, REGISTRAR))
    return suite


def apply_policy(registry: Registry, rules: Any = None) -> PolicyApplied:
    """Apply a policy, `POLICY` unless told otherwise; another JSON value is another policy."""
    body = canonical_json(rules if rules is not None else POLICY.body())
    with registry.write() as writing:
        digest = writing.put(body)
        return writing.append(PolicyApplied(digest, digest, None, REGISTRAR))


def start_run(registry: Registry, version: Version, suite: Suite, *, repeats: int = 1) -> Run:
    """Begin a run; it stays open until it is ended."""
    run = Run(
        secrets.token_hex(8),
        version.system,
        version.id,
        suite.digest,
        repeats,
        {"runtime": "test"},
        REGISTRAR,
    )
    with registry.write() as writing:
        return writing.append(run)


def answer_of(run: Run, case: str, *, score: float | None = 1.0, **other: Any) -> Answer:
    """Return one answer; `score=None` makes it an infrastructure error."""
    answer = Answer(
        run=run.id,
        case=case,
        repeat=1,
        asking=1,
        scores={"accuracy": score} if score is not None else None,
        error=None if score is not None else "no answer within 5 s",
        output="billing" if score is not None else None,
        latency_ms=12.5,
    )
    return replace(answer, **other)


def answers_of(run: Run, suite: Suite, *, score: float | None = 1.0) -> list[Answer]:
    """Return an answer to every case in every repeat."""
    return [
        answer_of(run, case.id, score=score, repeat=repeat)
        for repeat in range(1, run.repeats + 1)
        for case in suite.cases
    ]


def complete_run(
    registry: Registry,
    version: Version,
    suite: Suite,
    *,
    score: float | None = 1.0,
    repeats: int = 1,
) -> RunRecord:
    """Run a suite against a version to the end."""
    run = start_run(registry, version, suite, repeats=repeats)
    with registry.write(durable=False) as writing:
        writing.add_answers(answers_of(run, suite, score=score))
    summary = (MetricSummary("accuracy", score or 0.0, None, None, len(suite.cases)),)
    with registry.write() as writing:
        return RunRecord(run, writing.end_run(run, "completed", summary, REGISTRAR))


def _approvals_asked(registry: Registry, environment: str) -> int:
    rules = registry.applied.rules() or {}
    named = rules.get("environments", [])
    asked = [one["approvals"] for one in named if one and one["name"] == environment]
    return int(asked[0]) if asked else 0


def decision_of(
    registry: Registry,
    version: Version,
    runs: Sequence[RunRecord],
    *,
    environment: str = "production",
    approvals_needed: int | None = None,
    max_age: timedelta = timedelta(days=7),
    outcome: str = "pass",
    promotable: bool = True,
    baseline: int | None = None,
) -> Decision:
    """Return a decision as the gate would make it now; `runs` may include the live version's.

    It compares with what is live unless `baseline` names an earlier generation.

    It asks for as many approvals as the applied policy does, unless told otherwise.
    """
    live = (
        registry.releases.live(version.system, environment)
        if baseline is None
        else registry.releases.deployment(version.system, environment, baseline)
    )
    policy = registry.applied.policy()
    return Decision(
        id=secrets.token_hex(8),
        system=version.system,
        version=version.id,
        environment=environment,
        policy=policy.policy if policy else "",
        baseline_generation=live.attempt.generation if live else 0,
        baseline_version=live.attempt.version if live else None,
        outcome=outcome,
        promotable=promotable,
        approvals_needed=(
            _approvals_asked(registry, environment)
            if approvals_needed is None
            else approvals_needed
        ),
        findings=(Finding("accuracy >= 0.80", outcome, "2 of 2 right"),),
        runs=tuple(
            DecisionRun(
                record.run.id,
                record.run.version,
                "candidate" if record.run.version == version.id else "baseline",
            )
            for record in runs
        ),
        actor=REGISTRAR,
        expires_at=registry.clock.now() + max_age,
    )


def pass_decision(
    registry: Registry, version: Version, runs: Sequence[RunRecord], **other: Any
) -> Decision:
    """Record a decision that passes; the keyword arguments are those of `decision_of`.

    Without `approvals_needed` it has the approvals that the policy asks for, too.
    """
    with registry.write() as writing:
        decision = writing.append(decision_of(registry, version, runs, **other))
    if other.get("approvals_needed") is None and decision.promotable:
        for signer in (REVIEWER, "support-lead")[: decision.approvals_needed]:
            approve(registry, decision, signer=signer, key=f"SHA256:{signer}")
    return decision


def approve(
    registry: Registry,
    subject: Decision | Proposal,
    *,
    signer: str = REVIEWER,
    word: str = "yes",
    key: str | None = None,
) -> Approval:
    """Record a reviewer's word; without a key the name is only claimed."""
    signature = f"signed with {key}" if key else None
    approval = Approval(subject.id, signer, word, key, signature, "looks right", REGISTRAR)
    with registry.write() as writing:
        return writing.append(approval)


def origin_of(system: str = SYSTEM, environment: str = "production") -> tuple[Any, ...]:
    """Return the two records that stand before the first generation of an environment."""
    return (
        Attempt(system, environment, 0, "origin", None, None, None, None, None, REGISTRAR),
        Settlement(system, environment, 0, "empty", None, REGISTRAR),
    )


def attempt_of(
    registry: Registry,
    version: Version,
    *,
    kind: str = "promote",
    decision: Decision | None = None,
    environment: str = "production",
    generation: int | None = None,
    actor: str = "promoter",
    ticket: str | None = None,
    reason: str | None = None,
) -> Attempt:
    """Return an attempt to take the next generation, or the one that is named."""
    if generation is None:
        newest = registry.releases.newest(version.system, environment)
        generation = newest.attempt.generation + 1 if newest else 1
    return Attempt(
        version.system,
        environment,
        generation,
        kind,
        version.id,
        decision.id if decision else None,
        None,
        ticket,
        reason,
        actor,
    )


def take(
    registry: Registry, version: Version, decision: Decision | None = None, **other: Any
) -> Attempt:
    """Take a generation and leave it open; the keyword arguments are those of `attempt_of`.

    A rollback quarantines what is live and holds the environment, unless that is so already.
    """
    attempt = attempt_of(registry, version, decision=decision, **other)
    stops = _stops(registry, attempt) if attempt.kind == "rollback" else []
    with registry.write() as writing:
        if attempt.generation == 1:
            for record in origin_of(attempt.system, attempt.environment):
                writing.append(record)
        taken = writing.append(attempt)
        for record in stops:
            writing.append(record)
        return taken


def _stops(registry: Registry, attempt: Attempt) -> list[Quarantine | Hold]:
    live = registry.releases.live(attempt.system, attempt.environment)
    left = registry.versions.get(live.attempt.version or "") if live else None
    if left is None:
        return []
    words, actor = attempt.reason or "rolled back", attempt.actor
    stops: list[Quarantine | Hold] = []
    if not registry.releases.quarantines(left.system, definition=left.definition):
        stops.append(Quarantine(left.system, left.definition, left.id, words, actor))
    if not registry.releases.holds(attempt.system, attempt.environment):
        stops.append(Hold(attempt.system, attempt.environment, words, actor))
    return stops


def settle(registry: Registry, attempt: Attempt, outcome: str = "live") -> Settlement:
    """Say how an attempt ended."""
    settlement = Settlement(
        attempt.system, attempt.environment, attempt.generation, outcome, None, attempt.actor
    )
    with registry.write() as writing:
        return writing.append(settlement)


def promote(
    registry: Registry, version: Version, decision: Decision | None = None, **other: Any
) -> Deployment:
    """Take a generation and settle it live."""
    attempt = take(registry, version, decision, **other)
    settlement = settle(registry, attempt)
    return Deployment(attempt, settlement.outcome, settlement.at)


def make_live(
    registry: Registry,
    prompt: str = "Sort the ticket into a queue.",
    *,
    environment: str = "production",
    **other: Any,
) -> tuple[Version, Deployment]:
    """Bring a new version through all five steps; the arguments are those of `add_version`."""
    if registry.applied.policy() is None:
        apply_policy(registry)
    suites = registry.applied.suites(other.get("system", SYSTEM))
    suite = (
        registry.applied.suite(next(iter(suites.values())).digest)
        if suites
        else add_suite(registry, system=other.get("system", SYSTEM))
    )
    version = add_version(registry, prompt, **other)
    run = complete_run(registry, version, suite)
    decision = pass_decision(registry, version, [run], environment=environment)
    return version, promote(registry, version, decision, environment=environment)


def quarantine(registry: Registry, version: Version, reason: str = "it hurt users") -> Quarantine:
    """Quarantine a version's definition."""
    with registry.write() as writing:
        return writing.append(
            Quarantine(version.system, version.definition, version.id, reason, "on-call")
        )


def hold(registry: Registry, environment: str = "production", system: str = SYSTEM) -> Hold:
    """Stop promotions to an environment."""
    with registry.write() as writing:
        return writing.append(Hold(system, environment, "under investigation", "on-call"))


def lift(registry: Registry, ended: Quarantine | Hold) -> Lift:
    """End a quarantine or a hold."""
    with registry.write() as writing:
        return writing.append(Lift(ended.seq, "found and mended", "ml-lead"))


def propose(
    registry: Registry, kind: str, before: str, after: str, *, name: str | None = None
) -> Proposal:
    """Propose another policy or suite."""
    is_suite = kind == "suite"
    proposal = Proposal(
        secrets.token_hex(8),
        kind,
        SYSTEM if is_suite else None,
        name or ("triage" if is_suite else "policy"),
        before,
        after,
        REGISTRAR,
    )
    with registry.write() as writing:
        return writing.append(proposal)


def append(registry: Registry, *records: Any) -> list[Any]:
    """Append records in one transaction, exactly as they are."""
    with registry.write() as writing:
        return [writing.append(record) for record in records]


def labels(versions: Iterable[Version]) -> list[str]:
    """Return the labels of some versions, in their order."""
    return [version.label for version in versions]
