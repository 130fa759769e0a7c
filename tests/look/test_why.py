"""Why something is or was live."""

from __future__ import annotations

import pytest

from builders import (
    FixedClock,
    add_version,
    approve,
    pass_decision,
    promote,
    quarantine,
    settle,
    take,
)
from lockgate.errors import UsageMistake
from lockgate.look.why import why
from lockgate.storage.registry import Registry
from look.stories import evaluated, released, set_up

SYSTEM = "support-desk"


def test_what_is_live_names_its_decision_and_who_said_yes(registry: Registry) -> None:
    """The answer holds the decision, the approvals, the runs and what changed."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    answer = why(registry, SYSTEM, "production", policy, registry.clock.now())
    assert answer.version == second
    assert answer.deployment is not None
    assert answer.decision is not None
    assert (answer.before, answer.deployment.attempt.generation) == ("v1", 2)
    assert answer.decision.id == answer.deployment.attempt.decision
    assert [(word.signer, word.word, word.key) for word in answer.approvals] == [
        ("ml-lead", "yes", "SHA256:lead")
    ]
    assert [(used.label, used.suite, used.role) for used in answer.runs] == [
        ("v2", "triage", "candidate")
    ]
    assert answer.difference == ("prompt: prompts/system.md edited",)
    assert answer.until is None


def test_a_time_in_the_past_has_the_answer_of_that_time(
    registry: Registry, clock: FixedClock
) -> None:
    """What was live at a time is what had been settled by then, with what replaced it."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    clock.move(hours=2)
    between = clock.now()
    clock.move(hours=2)
    released(registry, suite, "two", parent=first)
    answer = why(registry, SYSTEM, "production", policy, between)
    assert answer.version == first
    assert answer.until_label == "v2"
    assert answer.until is not None
    assert answer.until.attempt.generation == 2


def test_before_the_first_promotion_nothing_was_live(registry: Registry, clock: FixedClock) -> None:
    """Before anything was live the answer says so, and when the first came."""
    policy, suite = set_up(registry)
    early = clock.now()
    clock.move(hours=1)
    released(registry, suite, "one")
    answer = why(registry, SYSTEM, "production", policy, early)
    assert (answer.version, answer.decision) == (None, None)
    assert answer.first is not None
    assert answer.first.attempt.generation == 1


def test_a_rollback_names_the_promotion_it_went_back_to(
    registry: Registry, clock: FixedClock
) -> None:
    """A rollback has no decision of its own; the one that once let the version in is given."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    released(registry, suite, "two", parent=first)
    clock.move(minutes=5)
    settle(registry, take(registry, first, kind="rollback", reason="worse answers"))
    answer = why(registry, SYSTEM, "production", policy, clock.now())
    assert answer.deployment is not None
    assert answer.decision is not None
    assert (answer.deployment.attempt.kind, answer.before) == ("rollback", "v2")
    assert (answer.decision.version, answer.decided_generation) == (first.id, 1)


def test_what_came_in_past_the_gate_has_no_decision(registry: Registry, clock: FixedClock) -> None:
    """Ungated stays ungated, also where the same definition had passed the gate before."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    released(registry, suite, "two", parent=first)
    taken = take(registry, first, kind="break_glass", ticket="INC-7", reason="two is broken")
    settle(registry, taken)
    answer = why(registry, SYSTEM, "production", policy, clock.now())
    assert answer.deployment is not None
    assert (answer.version, answer.deployment.attempt.ticket) == (first, "INC-7")
    assert (answer.decision, answer.approvals, answer.closing) == (None, (), None)


def test_a_quarantine_since_then_is_told(registry: Registry, clock: FixedClock) -> None:
    """Who asks about the past learns at once what has become known of it."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    assert why(registry, SYSTEM, "production", policy, clock.now()).quarantines == ()
    quarantine(registry, first)
    (kept,) = why(registry, SYSTEM, "production", policy, clock.now()).quarantines
    assert kept.reason == "it hurt users"


def test_an_open_attempt_leaves_a_doubt(registry: Registry, clock: FixedClock) -> None:
    """While an attempt was open nobody knows what users got, and the answer says so."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    run = evaluated(registry, second, suite)
    decision = pass_decision(registry, second, [run])
    attempt = take(registry, second, decision)
    clock.move(minutes=3)
    during = clock.now()
    clock.move(minutes=3)
    settle(registry, attempt)
    answer = why(registry, SYSTEM, "production", policy, during)
    assert answer.version == first
    assert answer.in_doubt is not None
    assert answer.in_doubt.attempt.generation == 2
    assert why(registry, SYSTEM, "production", policy, clock.now()).in_doubt is None


def test_a_long_history_is_walked_to_its_beginning(registry: Registry, clock: FixedClock) -> None:
    """A time hundreds of generations ago is answered too."""
    policy, suite = set_up(registry)
    version = released(registry, suite, "one", environments=["production"])
    other = released(registry, suite, "two", parent=version, environments=["production"])
    clock.move(hours=1)
    early = clock.now()
    for number in range(104):
        clock.move(minutes=1)
        target = (version, other)[number % 2]
        settle(
            registry,
            take(registry, target, kind="break_glass", ticket="T", reason="back and forth"),
        )
    answer = why(registry, SYSTEM, "production", policy, early)
    assert answer.version == other
    assert answer.until is not None
    assert answer.until.attempt.generation == 3


def test_an_unknown_environment_is_refused_with_those_there_are(registry: Registry) -> None:
    """A misspelt environment is a usage mistake that lists the right ones."""
    policy, suite = set_up(registry)
    released(registry, suite, "one")
    with pytest.raises(UsageMistake, match="there is no environment `prod`") as caught:
        why(registry, SYSTEM, "prod", policy, registry.clock.now())
    assert caught.value.hint == "the environments are staging, production"


def test_a_claimed_name_has_no_key(registry: Registry) -> None:
    """An approval that was only claimed is told apart by its missing key."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    decision = pass_decision(registry, version, [run], approvals_needed=1)
    approve(registry, decision, key=None)
    promote(registry, version, decision)
    (word,) = why(registry, SYSTEM, "production", policy, registry.clock.now()).approvals
    assert (word.signer, word.key) == ("ml-lead", None)
