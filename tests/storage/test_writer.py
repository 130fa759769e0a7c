"""The steps cannot be taken in a wrong order through the API either; what is right is kept whole."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from builders import (
    NOW,
    SYSTEM,
    FixedClock,
    add_suite,
    add_version,
    answer_of,
    answers_of,
    append,
    apply_policy,
    approve,
    attempt_of,
    complete_run,
    decision_of,
    hold,
    lift,
    make_live,
    origin_of,
    pass_decision,
    promote,
    quarantine,
    settle,
    start_run,
    take,
)
from lockgate.domain.evidence import Run
from lockgate.domain.release import (
    Approval,
    Attempt,
    DecisionRun,
    Hold,
    Lift,
    PolicyApplied,
    Quarantine,
    Settlement,
    SuiteApplied,
)
from lockgate.domain.version import System, Version
from lockgate.errors import Busy, Rejected, StaleGeneration
from lockgate.storage import writer as writer_module
from lockgate.storage.registry import Registry, open_registry
from tests.storage.raw_story import NOWHERE, Story

Act = Callable[[Registry, Story], object]


@pytest.fixture
def told_registry(story: Story) -> Iterator[Registry]:
    """The story's registry, open, at the time it was told."""
    registry = open_registry(story.root, clock=FixedClock())
    yield registry
    registry.close()


def new_version(story: Story, **changes: Any) -> Version:
    base = story.versions["v5"]
    return replace(base, id="a" * 64, label="v99", parent=story.version("v1"), **changes)


def promotion(registry: Registry, story: Story, label: str, decision: str, **other: Any) -> Attempt:
    return attempt_of(registry, story.versions[label], decision=story.decisions[decision], **other)


def add(registry: Registry, record: Any) -> object:
    return append(registry, record)


PRACTICE = {"environment": "practice"}
"""Where rehearsals are allowed; v2 is live there as generation 2."""

WRONG_ORDERS: dict[str, tuple[Act, str]] = {
    "register without definition": (
        lambda r, s: add(r, new_version(s, definition=NOWHERE)),
        "a version needs a registered definition",
    ),
    "register in no system": (
        lambda r, s: add(r, replace(new_version(s), system="ghost", parent=None)),
        "a version needs a registered system",
    ),
    "register on no parent": (
        lambda r, s: add(r, replace(new_version(s), parent=NOWHERE)),
        "the parent is not a registered version of this system",
    ),
    "register the same again": (
        lambda r, s: add(r, replace(new_version(s), parent=s.version("v5"))),
        "an empty change is no version",
    ),
    "register a taken label": (
        lambda r, s: add(r, replace(new_version(s), label="v1")),
        "version system and label exists already",
    ),
    "register a taken id": (
        lambda r, s: add(r, replace(new_version(s), id=s.version("v1"))),
        "version id exists already",
    ),
    "evaluate what is not registered": (
        lambda r, s: add(r, Run("n", SYSTEM, NOWHERE, s.suite.digest, 1, {}, "dev")),
        "only a registered version can be evaluated",
    ),
    "evaluate on no suite": (
        lambda r, s: add(r, Run("n", SYSTEM, s.version("v5"), NOWHERE, 1, {}, "dev")),
        "only a registered suite of that system can be run",
    ),
    "apply no suite": (
        lambda r, s: add(r, SuiteApplied(SYSTEM, "triage", NOWHERE, None, "dev")),
        "only a registered suite of that system and name can be applied",
    ),
    "apply a policy that was not proposed": (
        lambda r, s: add(r, PolicyApplied(s.policy, s.policy, s.proposal.id, "dev")),
        "a policy is applied as it was proposed, and never over a no",
    ),
    "decide without a run": (
        lambda r, s: pass_decision(r, s.versions["v5"], []),
        "no decision can pass without a completed run of its version",
    ),
    "decide on a borrowed run": (
        lambda r, s: pass_decision(r, s.versions["v5"], [r.runs.get(s.runs["v3"])]),
        "no decision can pass without a completed run of its version",
    ),
    "decide on a foreign run called one's own": (
        lambda r, s: add(
            r,
            replace(
                decision_of(r, s.versions["v5"], []),
                runs=(DecisionRun(s.runs["v3"], s.version("v5"), "candidate"),),
            ),
        ),
        "only a completed run of that version is evidence",
    ),
    "decide on an open run": (
        lambda r, s: pass_decision(r, s.versions["v6"], [r.runs.get(s.runs["short"])]),
        "only a completed run of that version is evidence",
    ),
    "decide on the best run alone": (
        lambda r, s: pass_decision(r, s.versions["v5"], [r.runs.get(s.runs["v5"])]),
        "a decision pools all completed runs of a version on a suite",
    ),
    "decide on a suite that is not applied": (
        lambda r, s: pass_decision(r, s.versions["v6"], [r.runs.get(s.runs["v6 spare"])]),
        "a decision rests on runs of the suites that are applied",
    ),
    "decide under an older policy": (
        lambda r, s: add(
            r,
            replace(
                decision_of(r, s.versions["v5"], [], outcome="fail", promotable=False),
                policy=s.old_policy,
            ),
        ),
        "a decision follows the applied policy",
    ),
    "decide against an earlier generation": (
        lambda r, s: add(
            r,
            replace(
                decision_of(r, s.versions["v5"], [], outcome="fail", promotable=False),
                baseline_generation=1,
                baseline_version=s.version("v1"),
            ),
        ),
        "a decision compares with what is live",
    ),
    "approve nothing": (
        lambda r, s: add(r, Approval("ghost", "ml-lead", "yes", None, None, "", "dev")),
        "there is no such decision or proposal to approve",
    ),
    "approve twice": (
        lambda r, s: [approve(r, s.decisions["v5"]), approve(r, s.decisions["v5"], word="no")],
        "approval subject and signer exists already",
    ),
    "approve with one key under two names": (
        lambda r, s: [
            approve(r, s.decisions["v5"], key="SHA256:one"),
            approve(r, s.decisions["v5"], key="SHA256:one", signer="support-lead"),
        ],
        "approval subject and key exists already",
    ),
    "promote without decision": (
        lambda r, s: add(r, attempt_of(r, s.versions["v5"])),
        "a promotion needs a passing decision about this version and environment",
    ),
    "promote on a borrowed decision": (
        lambda r, s: add(r, promotion(r, s, "v5", "v2 again")),
        "a promotion needs a passing decision about this version and environment",
    ),
    "promote on the decision of another environment": (
        lambda r, s: add(r, promotion(r, s, "v5", "v5 canary", environment="staging")),
        "a promotion needs a passing decision about this version and environment",
    ),
    "promote on a failed decision": (
        lambda r, s: add(r, promotion(r, s, "v5", "v5 failed")),
        "a promotion needs a passing decision about this version and environment",
    ),
    "promote against what was live": (
        lambda r, s: add(r, promotion(r, s, "v3", "v3")),
        "the decision compared with a version that is no longer live",
    ),
    "promote before the reviewer": (
        lambda r, s: add(r, promotion(r, s, "v5", "v5 reviewed", environment="reviewed")),
        "the decision lacks the approvals it needs, or a reviewer said no",
    ),
    "promote over a no": (
        lambda r, s: add(r, promotion(r, s, "v5", "v5 refused", environment="refused")),
        "the decision lacks the approvals it needs, or a reviewer said no",
    ),
    "promote into a hold": (
        lambda r, s: [hold(r), add(r, promotion(r, s, "v5", "v5"))],
        "the environment is held",
    ),
    "promote after the policy moved": (
        lambda r, s: [apply_policy(r, {"other": 1}), add(r, promotion(r, s, "v5", "v5"))],
        "the decision is void: the policy, a suite, a run or a decision is newer",
    ),
    "promote after another run": (
        lambda r, s: [
            complete_run(r, s.versions["v5"], s.suite),
            add(r, promotion(r, s, "v5", "v5")),
        ],
        "the decision is void: the policy, a suite, a run or a decision is newer",
    ),
    "promote a quarantined version": (
        lambda r, s: [quarantine(r, s.versions["v5"]), add(r, promotion(r, s, "v5", "v5"))],
        "the definition is quarantined",
    ),
    "break the glass for a quarantined version": (
        lambda r, s: take(r, s.versions["v4"], kind="break_glass", ticket="INC-1", reason="x"),
        "the definition is quarantined",
    ),
    "break the glass without a ticket": (
        lambda r, s: take(r, s.versions["v5"], kind="break_glass", reason="x"),
        "attempt needs kind <> 'break_glass' OR (ticket IS NOT NULL AND reason IS NOT NULL)",
    ),
    "promote an experiment": (
        lambda r, s: take(r, s.versions["x1"], kind="break_glass", ticket="INC-1", reason="x"),
        "only a release reaches an environment",
    ),
    "roll back to what was never there": (
        lambda r, s: take(r, s.versions["v5"], kind="rollback"),
        "a rollback leads to what a passing gate had let in before what is live",
    ),
    "roll back to what is quarantined": (
        lambda r, s: [quarantine(r, s.versions["v1"]), take(r, s.versions["v1"], kind="rollback")],
        "the definition is quarantined",
    ),
    "revert without a rehearsal": (
        lambda r, s: take(r, s.versions["v2"], kind="revert", **PRACTICE),
        "a revert ends a rehearsal",
    ),
    "rehearse where users are": (
        lambda r, s: take(r, s.versions["r1"], kind="rehearsal"),
        "a rehearsal reaches only an environment for rehearsals",
    ),
    "ask no reviewer where one is asked": (
        lambda r, s: pass_decision(
            r,
            s.versions["v5"],
            [r.runs.get(s.runs["v5"]), r.runs.get(s.runs["v5 again"])],
            environment="guarded",
            approvals_needed=0,
        ),
        "a decision asks for as many reviewers as the policy",
    ),
    "settle what was not attempted": (
        lambda r, s: add(r, Settlement(SYSTEM, "production", 3, "live", None, "dev")),
        "only the newest attempt can be settled",
    ),
    "settle twice": (
        lambda r, s: add(r, Settlement(SYSTEM, "production", 2, "failed", None, "dev")),
        "settlement system and environment and generation exists already",
    ),
    "quarantine nothing": (
        lambda r, s: add(r, Quarantine(SYSTEM, NOWHERE, s.version("v5"), "x", "dev")),
        "there is no such version to quarantine",
    ),
    "hold nothing": (
        lambda r, s: add(r, Hold("ghost", "production", "x", "dev")),
        "there is no such system to hold",
    ),
    "lift nothing": (
        lambda r, s: add(r, Lift(1, "x", "dev")),
        "there is no such quarantine or hold to lift",
    ),
    "lift twice": (
        lambda r, s: lift(r, s.quarantine) and lift(r, s.quarantine),
        "lift lifts exists already",
    ),
    "the same system twice": (
        lambda r, s: add(r, System(SYSTEM, "dev")),
        "system name exists already",
    ),
}


def counts(registry: Registry) -> dict[str, int]:
    tables = registry._connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '*_text*'"
    ).fetchall()
    return {
        table: registry._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        for (table,) in tables
    }


@pytest.mark.parametrize("name", WRONG_ORDERS)
def test_a_wrong_order_is_rejected(told_registry: Registry, story: Story, name: str) -> None:
    """A step out of order is refused in the rule's words, with a hint, and adds nothing."""
    act, says = WRONG_ORDERS[name]
    prepared: dict[str, int] = {}
    write = told_registry.write

    def counting(**options: Any) -> Any:
        prepared.update(counts(told_registry))
        return write(**options)

    told_registry.write = counting  # type: ignore[method-assign]
    with pytest.raises(Rejected) as refusal:
        act(told_registry, story)
    assert refusal.value.what == f"the registry refused it: {says}"
    assert refusal.value.hint == "`lockgate status` shows what is next"
    assert refusal.value.exit_code == 1
    assert counts(told_registry) == prepared  # as it was before the write that was refused


STALE: dict[str, Act] = {
    "a generation that is taken": lambda r, s: add(r, promotion(r, s, "v5", "v5", generation=2)),
    "a generation that is skipped": lambda r, s: add(r, promotion(r, s, "v5", "v5", generation=4)),
    "while another attempt is open": lambda r, s: [
        add(r, promotion(r, s, "v5", "v5")),
        add(r, promotion(r, s, "v5", "v5", generation=4)),
    ],
    "with a decision from before": lambda r, s: add(r, promotion(r, s, "v3", "v3", generation=2)),
}


@pytest.mark.parametrize("name", STALE)
def test_a_generation_that_is_not_next_is_stale(
    told_registry: Registry, story: Story, name: str
) -> None:
    """Whoever is not next hears that somebody else was first, whatever else would be wrong."""
    with pytest.raises(StaleGeneration) as refusal:
        STALE[name](told_registry, story)
    assert refusal.value.what == "somebody else took this generation first; nothing was changed"
    assert refusal.value.hint == "`lockgate status` shows what is live now"


def test_the_right_order_goes_through(told_registry: Registry, story: Story) -> None:
    """The story's next promotion, with nothing changed, is accepted."""
    (attempt,) = append(told_registry, promotion(told_registry, story, "v5", "v5"))
    settle(told_registry, attempt)
    live = told_registry.releases.live(SYSTEM, "production")
    assert live is not None
    assert live.attempt == attempt
    assert (live.attempt.generation, live.outcome, live.is_open) == (3, "live", False)


def test_an_expired_decision_is_rejected(told_registry: Registry, story: Story) -> None:
    """A promotion after the decision's time is refused; one within it is not."""
    decision = story.decisions["v5"]
    assert decision.expires_at == NOW + timedelta(days=7)
    told_registry.clock.move(days=7, seconds=1)  # type: ignore[attr-defined]
    with pytest.raises(Rejected, match="the decision has expired"):
        append(told_registry, promotion(told_registry, story, "v5", "v5"))
    told_registry.clock.move(seconds=-1)  # type: ignore[attr-defined]
    append(told_registry, promotion(told_registry, story, "v5", "v5"))


@pytest.mark.parametrize(
    ("signer", "is_enough"),
    [
        ("ml-lead", True),
        ("support-dev", False),
        ("support-ml", False),
        ("promoter", False),
        ("stranger", False),
    ],
)
def test_who_may_review(
    told_registry: Registry, story: Story, signer: str, is_enough: bool
) -> None:
    """A reviewer counts unless they registered, own or promote the version."""
    approve(told_registry, story.decisions["v5 reviewed"], signer=signer)
    attempt = promotion(
        told_registry, story, "v5", "v5 reviewed", environment="reviewed", actor="promoter"
    )
    if is_enough:
        append(told_registry, attempt)
    else:
        with pytest.raises(Rejected, match="lacks the approvals"):
            append(told_registry, attempt)


def test_a_lift_opens_the_way_again(told_registry: Registry, story: Story) -> None:
    """What a hold or a quarantine refused goes through once both are lifted."""
    held, bound = hold(told_registry), quarantine(told_registry, story.versions["v5"])
    lift(told_registry, held)
    with pytest.raises(Rejected, match="quarantined"):
        append(told_registry, promotion(told_registry, story, "v5", "v5"))
    lift(told_registry, bound)
    append(told_registry, promotion(told_registry, story, "v5", "v5"))


def test_a_rollback_asks_for_nothing(told_registry: Registry, story: Story) -> None:
    """The way back needs no decision, and a hold does not block it."""
    hold(told_registry)
    deployment = promote(told_registry, story.versions["v1"], kind="rollback")
    assert deployment.attempt.generation == 3
    live = told_registry.releases.live(SYSTEM, "production")
    assert live is not None
    assert live.attempt.version == story.version("v1")


@pytest.mark.parametrize("outcome", ["failed", "abandoned"])
def test_a_failed_attempt_leaves_what_was_live(
    told_registry: Registry, story: Story, outcome: str
) -> None:
    """An attempt that fails uses its generation up and changes nothing that is live."""
    (attempt,) = append(told_registry, promotion(told_registry, story, "v5", "v5"))
    settle(told_registry, attempt, outcome)
    live = told_registry.releases.live(SYSTEM, "production")
    newest = told_registry.releases.newest(SYSTEM, "production")
    assert live is not None
    assert newest is not None
    assert (live.attempt.generation, newest.attempt.generation) == (2, 3)
    append(told_registry, promotion(told_registry, story, "v5", "v5"))


def test_a_late_settlement_is_refused(told_registry: Registry, story: Story) -> None:
    """When an open attempt was abandoned and another took over, the first cannot settle any more."""
    (attempt,) = append(told_registry, promotion(told_registry, story, "v5", "v5"))
    settle(told_registry, attempt, "abandoned")
    promote(told_registry, story.versions["v1"], kind="rollback")
    with pytest.raises(Rejected, match="exists already"):
        settle(told_registry, attempt, "live")


def test_a_rehearsal_goes_back_to_what_was_live(told_registry: Registry, story: Story) -> None:
    """A rehearsal is reverted to what was live before it, even when that is quarantined."""
    promote(told_registry, story.versions["r1"], kind="rehearsal", **PRACTICE)
    quarantine(told_registry, story.versions["v2"])
    deployment = promote(told_registry, story.versions["v2"], kind="revert", **PRACTICE)
    assert deployment.attempt.generation == 4


def test_a_failed_revert_is_tried_again(told_registry: Registry, story: Story) -> None:
    """A revert that failed may be repeated until what was live is back, and not longer."""
    promote(told_registry, story.versions["r1"], kind="rehearsal", **PRACTICE)
    settle(
        told_registry,
        take(told_registry, story.versions["v2"], kind="revert", **PRACTICE),
        "failed",
    )
    promote(told_registry, story.versions["v2"], kind="revert", **PRACTICE)
    with pytest.raises(Rejected, match="a revert ends a rehearsal"):
        promote(told_registry, story.versions["v2"], kind="revert", **PRACTICE)


def test_a_rehearsal_that_failed_half_way_is_reverted(
    told_registry: Registry, story: Story
) -> None:
    """A rehearsal whose deployment failed may have touched something, so it can be reverted."""
    settle(
        told_registry,
        take(told_registry, story.versions["r1"], kind="rehearsal", **PRACTICE),
        "failed",
    )
    promote(told_registry, story.versions["v2"], kind="revert", **PRACTICE)


def test_an_environment_is_entered_at_generation_1(registry: Registry) -> None:
    """Before the first promotion stand the empty origin and its settlement, as generation 0."""
    apply_policy(registry)
    suite, version = add_suite(registry), add_version(registry)
    decision = pass_decision(registry, version, [complete_run(registry, version, suite)])
    with pytest.raises(StaleGeneration):
        append(registry, attempt_of(registry, version, decision=decision))
    append(registry, *origin_of(), attempt_of(registry, version, decision=decision))
    assert registry.releases.live(SYSTEM, "production") is None
    with pytest.raises(StaleGeneration):
        append(registry, *origin_of())


def test_labels_are_given_out_per_track_and_system(registry: Registry) -> None:
    """Each track of each system counts for itself, from 1, without gaps."""
    first = add_version(registry, "one")
    second = add_version(registry, "two", parent=first)
    x = add_version(registry, "two", parent=first, track="experiment")
    r = add_version(registry, "worse", parent=first, track="rehearsal")
    other = add_version(registry, "one", system="order-extract")
    assert [v.label for v in (first, second, x, r, other)] == ["v1", "v2", "x1", "r1", "v1"]
    assert registry.versions.systems() == [SYSTEM, "order-extract"]


def test_what_is_appended_is_read_again(registry: Registry) -> None:
    """Every record comes back from its queries exactly as `append` returned it."""
    version, deployment = make_live(registry)
    assert registry.versions.get(version.id) == version
    assert registry.versions.definition(version.definition).digest == version.definition
    assert registry.releases.deployment(SYSTEM, "production", 1) == deployment
    (decision,) = registry.releases.decisions(SYSTEM)
    assert registry.releases.decision(decision.id[:6]) == decision
    assert registry.releases.newest_decision(version.id, "production") == decision
    assert decision.findings[0].reason == "2 of 2 right"
    assert registry.releases.is_void(decision) == "something else is live now"
    bound, held = quarantine(registry, version), hold(registry)
    assert registry.releases.quarantines(SYSTEM) == [bound]
    assert registry.releases.holds(SYSTEM) == [held]
    approval = approve(registry, decision, key="SHA256:one")
    assert registry.releases.approvals(decision.id) == [approval]


def test_a_run_is_completed_only_with_every_answer(registry: Registry) -> None:
    """A run ends completed when each case has an answer in each repeat, never before."""
    suite, version = add_suite(registry, cases=3), add_version(registry)
    run = start_run(registry, version, suite, repeats=2)
    answers = answers_of(run, suite)
    with registry.write(durable=False) as writing:
        writing.add_answers(answers[:-1])
    with (
        pytest.raises(Rejected, match="a run that was cut short is not completed"),
        registry.write() as writing,
    ):
        writing.end_run(run, "completed", (), "support-dev")
    assert not registry.runs.get(run.id).is_completed
    with registry.write(durable=False) as writing:
        writing.add_answers(answers[-1:])
    with registry.write() as writing:
        end = writing.end_run(run, "completed", (), "support-dev")
    assert (end.answers, end.errors) == (6, 0)
    assert registry.runs.get(run.id[:6]).is_completed
    with (
        pytest.raises(Rejected, match="a run that ended takes no answer"),
        registry.write() as writing,
    ):
        writing.add_answers([answer_of(run, "t0001", asking=2)])
    with (
        pytest.raises(Rejected, match="run_end run exists already"),
        registry.write() as writing,
    ):
        writing.end_run(run, "voided", (), "support-dev")


def test_a_failed_case_may_be_asked_again_and_an_answered_one_not(registry: Registry) -> None:
    """Errors are kept beside the answer that came later; an answer is final."""
    suite, version = add_suite(registry), add_version(registry)
    run = start_run(registry, version, suite)
    with registry.write() as writing:
        writing.add_answers(
            [
                answer_of(run, "t0001", score=None),
                answer_of(run, "t0001", score=None, asking=2),
                answer_of(run, "t0001", score=0.0, asking=3, output={"queue": "ü"}),
                answer_of(run, "t0002", score=None),
            ]
        )
    assert registry.runs.asked(run.id) == {("t0001", 1): (3, True), ("t0002", 1): (1, False)}
    with (
        pytest.raises(Rejected, match="a case that was answered is not asked again"),
        registry.write() as writing,
    ):
        writing.add_answers([answer_of(run, "t0001", asking=4)])
    with registry.write() as writing:
        end = writing.end_run(run, "completed", (), "support-dev")
    assert (end.answers, end.errors) == (4, 1)
    answers = registry.runs.answers(run.id, ["t0001"])
    assert [answer.error for answer in answers] == ["no answer within 5 s"] * 2 + [None]
    assert answers[2].output == {"queue": "ü"}
    pooled = registry.runs.pooled([run.id])
    assert (pooled.scores, pooled.errors) == ({"accuracy": {"t0001": 0.0}}, 1)


@pytest.mark.parametrize(
    "changes",
    [{"case": "t9999"}, {"repeat": 2}, {"asking": 2}, {"run": "ghost"}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_answer_to_nothing_is_rejected(registry: Registry, changes: dict[str, Any]) -> None:
    """An answer belongs to a case, a repeat and an asking of an open run."""
    suite, version = add_suite(registry), add_version(registry)
    run = start_run(registry, version, suite)
    with pytest.raises(Rejected), registry.write() as writing:
        writing.add_answers([replace(answer_of(run, "t0001"), **changes)])
    assert list(registry.runs.raw_answers(run.id)) == []


def test_a_suite_comes_back_whole(registry: Registry) -> None:
    """A suite is stored once and read again with its cases in order and its scorers' files."""
    suite = add_suite(registry, cases=5)
    with registry.write() as writing:
        writing.add_suite(suite, {})
    assert registry.applied.suite(suite.digest) == suite
    info = registry.applied.suites(SYSTEM)["triage"]
    assert (info.digest, info.cases) == (suite.digest, 5)
    assert registry.applied.suite_name(suite.digest) == "triage"
    later = add_suite(registry, cases=6)
    assert registry.applied.suites(SYSTEM)["triage"].digest == later.digest
    history = registry.applied.suite_history(SYSTEM, "triage")
    assert [applied.suite for applied in history] == [later.digest, suite.digest]
    with pytest.raises(LookupError):
        registry.applied.suite(NOWHERE)


def test_texts_that_are_no_text_are_rejected(registry: Registry) -> None:
    """Half a character in a reason is refused as a whole, before anything is written."""
    with pytest.raises(Rejected, match="not text") as refusal:
        add_version(registry, reason="broken \ud800 reason")
    assert "UTF-8" in refusal.value.hint
    assert registry.versions.systems() == []


def test_one_process_at_a_time_works_on_something(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that a living process holds is refused, naming it; a dead one's is taken over."""
    parent = os.getppid()
    with registry.write() as writing:
        writing.take_lease("run 1", "support-dev")
        writing.take_lease("run 1", "support-dev")  # one's own is renewed
    monkeypatch.setattr(writer_module.os, "getpid", lambda: parent)
    with pytest.raises(Busy) as refusal, registry.write() as writing:
        writing.take_lease("run 1", "somebody else")
    monkeypatch.undo()
    assert refusal.value.what == (
        f"`run 1` is being worked on by support-dev (process {os.getpid()} on "
        f"{socket.gethostname()})"
    )
    assert "wait for it" in refusal.value.hint
    with registry.write() as writing:
        writing._connection.execute("UPDATE lease SET started = 'another time'")
    monkeypatch.setattr(writer_module.os, "getpid", lambda: parent)
    with registry.write() as writing:
        writing.take_lease("run 1", "somebody else")
        writing.drop_lease("run 1")
    assert registry._connection.execute("SELECT count(*) FROM lease").fetchone() == (0,)


@pytest.mark.parametrize(("minutes", "is_held"), [(0.5, True), (2, False)])
def test_another_hosts_lease_ends_with_its_heartbeat(
    registry: Registry, clock: FixedClock, minutes: float, is_held: bool
) -> None:
    """A lease of another host holds while it was heard of within a minute."""
    with registry.write() as writing:
        writing.take_lease("run 1", "support-dev")
        writing._connection.execute("UPDATE lease SET host = 'elsewhere'")
    clock.move(minutes=minutes)
    if is_held:
        with pytest.raises(Busy, match="on elsewhere"), registry.write() as writing:
            writing.take_lease("run 1", "support-dev")
    else:
        with registry.write() as writing:
            writing.take_lease("run 1", "support-dev")


def test_the_environment_of_a_run_comes_back(registry: Registry) -> None:
    """What could change the answers is kept as JSON, exactly."""
    suite, version = add_suite(registry), add_version(registry)
    facts = {"runtime": "llama.cpp b1", "flags": ["--seed", 7], "ü": None, "ratio": 0.25}
    run = Run("f00d", SYSTEM, version.id, suite.digest, 1, facts, "support-dev")
    append(registry, run)
    assert registry.runs.get("f00d").run.environment == facts
    stored = registry._connection.execute("SELECT environment FROM run").fetchone()[0]
    assert json.loads(stored) == facts


def test_within_the_api_foreign_keys_hold_as_well(registry: Registry) -> None:
    """What no trigger looks at, such as a text that is not stored, foreign keys refuse."""
    with (
        pytest.raises(Rejected, match="FOREIGN KEY constraint failed"),
        registry.write() as writing,
    ):
        writing._connection.execute(
            "INSERT INTO content (digest, bytes) VALUES (?, x'00')", ("e" * 64,)
        )
