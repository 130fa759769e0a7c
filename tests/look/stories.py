"""Registries in the states that people look at, and versions with scores that are really theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builders import (
    REGISTRAR,
    add_suite,
    add_version,
    answer_of,
    apply_policy,
    approve,
    pass_decision,
    promote,
    start_run,
)
from lockgate.domain.evidence import RunRecord
from lockgate.domain.policy import Environment, Policy, Rule, SystemRules
from lockgate.domain.release import Deployment
from lockgate.domain.suite import Suite
from lockgate.domain.version import Version
from lockgate.evals.metrics import summarise
from lockgate.storage.registry import Registry

CASES = 20


def two_places(*systems: str) -> Policy:
    """Return a policy with staging, and production behind it with one reviewer."""
    rule = Rule("triage", "accuracy", min=0.6, max_drop=0.05)
    rules = {name: SystemRules((rule,)) for name in systems or ("support-desk",)}
    return Policy(
        {
            "staging": Environment("staging", "low", rehearsal=True, protects="production"),
            "production": Environment(
                "production",
                "high",
                requires=("staging",),
                reviewers=("ml-lead", "support-lead"),
                approvals=1,
                accept_claimed=True,
                systems=rules,
            ),
        }
    )


def set_up(registry: Registry, cases: int = CASES) -> tuple[Policy, Suite]:
    """Apply that policy and a suite."""
    policy = two_places()
    apply_policy(registry, policy.body())
    return policy, add_suite(registry, cases)


def evaluated(
    registry: Registry, version: Version, suite: Suite, *, wrong: Iterable[int] = ()
) -> RunRecord:
    """Complete a run whose summary is what its answers say; `wrong` are places from 1."""
    missed = {f"t{place:04d}" for place in wrong}
    run = start_run(registry, version, suite)
    answers = [
        answer_of(
            run,
            case.id,
            score=0.0 if case.id in missed else 1.0,
            output="refunds" if case.id in missed else "billing",
        )
        for case in suite.cases
    ]
    with registry.write(durable=False) as writing:
        writing.add_answers(answers)
    summary = summarise(suite, registry.runs.pooled([run.id]))
    with registry.write() as writing:
        return RunRecord(run, writing.end_run(run, "completed", summary, REGISTRAR))


def go_live(
    registry: Registry, version: Version, run: RunRecord, environment: str = "production"
) -> Deployment:
    """Let a version through the gate and promote it, with an approval where there are reviewers."""
    needed = 1 if environment == "production" else 0
    decision = pass_decision(
        registry, version, [run], environment=environment, approvals_needed=needed
    )
    if needed:
        approve(registry, decision, key="SHA256:lead")
    return promote(registry, version, decision, environment=environment, actor="ci")


def released(
    registry: Registry,
    suite: Suite,
    prompt: str,
    *,
    wrong: Iterable[int] = (),
    environments: Iterable[str] = ("staging", "production"),
    **other: Any,
) -> Version:
    """Register, evaluate and promote a version everywhere."""
    version = add_version(registry, prompt, **other)
    run = evaluated(registry, version, suite, wrong=wrong)
    for environment in environments:
        go_live(registry, version, run, environment)
    return version
