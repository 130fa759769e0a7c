"""The page that answers: is it all right, did anything change, what is next."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

from builders import (
    FixedClock,
    add_suite,
    add_version,
    answers_of,
    append,
    approve,
    attempt_of,
    complete_run,
    hold,
    pass_decision,
    propose,
    quarantine,
    settle,
    start_run,
    take,
)
from lockgate.domain.upkeep import Closing
from lockgate.look.show import show
from lockgate.look.status import Status, status
from lockgate.storage.registry import Registry
from look.stories import evaluated, go_live, released, set_up, two_places

SYSTEM = "support-desk"


def marks(page: Status) -> dict[str, str]:
    """Return step to mark of what is in work."""
    return {step.name: step.mark for step in page.in_work.steps} if page.in_work else {}


def test_a_system_without_policy_or_suites_says_what_comes_first(registry: Registry) -> None:
    """The page works before there is a policy or a suite, and names the first thing to do."""
    add_version(registry)
    page = status(registry, SYSTEM, None)
    assert (page.places, page.last_change, page.scores) == ((), None, ())
    assert page.in_work is not None
    assert page.in_work.environment is None
    assert page.in_work.steps[2].note == "no policy is applied"
    assert page.next == "lockgate suite apply"


def test_nothing_registered_asks_for_the_first_version(registry: Registry) -> None:
    """A system with suites but without versions asks to register one."""
    policy, _ = set_up(registry)
    page = status(registry, SYSTEM, policy)
    assert (page.versions, page.in_work) == (0, None)
    assert [(place.environment, place.label) for place in page.places] == [
        ("production", None),
        ("staging", None),
    ]
    assert page.next == "lockgate register -m REASON"


def test_places_name_what_is_live_and_the_way_back(registry: Registry, clock: FixedClock) -> None:
    """Each environment says what is live, since when, by whom, its score and where back leads."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=range(1, 5))
    clock.move(days=1)
    second = released(registry, suite, "two", wrong=range(1, 3), parent=first)
    clock.move(minutes=26)
    page = status(registry, SYSTEM, policy)
    production, staging = page.places
    assert (production.environment, staging.environment) == ("production", "staging")
    assert (production.label, production.way_back) == (second.label, first.label)
    assert (production.actor, production.generation) == ("ci", 2)
    assert production.since == page.now - timedelta(minutes=26)
    assert production.score is not None
    assert production.score.value == 0.9
    assert page.next is None
    assert page.in_work is None


def test_the_last_change_is_where_users_are(registry: Registry, clock: FixedClock) -> None:
    """A promotion to a place for rehearsals is not the last change of what users get."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    clock.move(days=3)
    released(registry, suite, "three", parent=second, environments=["staging"])
    page = status(registry, SYSTEM, policy)
    change = page.last_change
    assert change is not None
    assert (change.environment, change.before, change.after) == ("production", "v1", "v2")
    assert (change.actor, change.approved_by) == ("ci", ("ml-lead",))
    assert change.difference == ("prompt: prompts/system.md edited",)
    assert page.unchanged_for == timedelta(days=3)


def test_a_rollback_target_was_promoted_and_is_not_quarantined(registry: Registry) -> None:
    """The way back passes over quarantined versions and over the definition that is live."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    released(registry, suite, "three", parent=second)
    quarantine(registry, second)
    assert status(registry, SYSTEM, policy).places[0].way_back == first.label


def test_what_a_rollback_left_is_no_way_back(registry: Registry) -> None:
    """A version that was left by a rollback is not offered again, even once it is lifted."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    third = released(registry, suite, "three", parent=second)
    attempt = take(registry, second, kind="rollback", reason="worse answers")
    settle(registry, attempt)
    place = status(registry, SYSTEM, policy).places[0]
    assert (place.label, place.kind) == (second.label, "rollback")
    assert place.way_back == first.label
    assert third.label == "v3"


def test_an_attempt_nobody_knows_the_end_of_is_shown(registry: Registry) -> None:
    """While an attempt is open the page says whose it is, and what is live stays what it was."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    run = evaluated(registry, second, suite)
    go_live(registry, second, run, "staging")
    decision = pass_decision(registry, second, [run])
    take(registry, second, decision, actor="pipeline")
    place = status(registry, SYSTEM, policy).places[0]
    assert place.label == first.label
    assert place.open_attempt == "generation 2 is open: pipeline, promote v2"


def test_a_hold_stands_at_its_place(registry: Registry) -> None:
    """A held environment names who holds it and why."""
    policy, suite = set_up(registry)
    released(registry, suite, "one")
    hold(registry)
    production, staging = status(registry, SYSTEM, policy).places
    assert [(found.actor, found.reason) for found in production.holds] == [
        ("on-call", "under investigation")
    ]
    assert staging.holds == ()


def test_the_newest_release_walks_through_the_steps(registry: Registry) -> None:
    """What is in work is the newest release, and the command for its next step is named."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    page = status(registry, SYSTEM, policy)
    assert marks(page) == {
        "register": "pass",
        "evaluate": "waiting",
        "gate": "waiting",
        "promote": "waiting",
    }
    assert page.next == "lockgate evaluate v1"

    run = evaluated(registry, version, suite)
    page = status(registry, SYSTEM, policy)
    assert (marks(page)["evaluate"], page.next) == ("pass", "lockgate gate v1 --to staging")

    decision = pass_decision(registry, version, [run], environment="staging")
    page = status(registry, SYSTEM, policy)
    assert (marks(page)["gate"], page.next) == ("pass", "lockgate promote v1 --to staging")

    attempt = take(registry, version, decision, environment="staging")
    settle(registry, attempt)
    page = status(registry, SYSTEM, policy)
    assert page.in_work is not None
    assert page.in_work.environment == "production"
    assert page.next == "lockgate gate v1 --to production"


def test_a_decision_that_waits_names_who_may_answer(registry: Registry) -> None:
    """A decision without its approvals waits for reviewers, of whom the owner is none."""
    policy, suite = set_up(registry)
    version = add_version(registry, owner="ml-lead")
    run = evaluated(registry, version, suite)
    go_live(registry, version, run, "staging")
    decision = pass_decision(registry, version, [run], approvals_needed=1)
    page = status(registry, SYSTEM, policy)
    (waiting,) = page.waiting
    assert waiting.what == "v1 to production: gate pass"
    assert (waiting.given, waiting.needed, waiting.reviewers) == (0, 1, ("support-lead",))
    assert waiting.command == page.next == "lockgate approve v1 --to production"

    approve(registry, decision, signer="support-lead")
    page = status(registry, SYSTEM, policy)
    assert (page.waiting, page.next) == ((), "lockgate promote v1 --to production")


def test_a_void_decision_waits_for_nobody(registry: Registry, clock: FixedClock) -> None:
    """A decision that expired asks no reviewer; the gate has to decide again."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    go_live(registry, version, run, "staging")
    pass_decision(registry, version, [run], approvals_needed=1)
    clock.move(days=8)
    page = status(registry, SYSTEM, policy)
    assert page.waiting == ()
    assert page.in_work is not None
    assert page.in_work.steps[2].note == "void: it expired"
    assert page.next == "lockgate gate v1 --to production"


def test_a_clock_that_was_set_back_revives_no_decision(
    registry: Registry, clock: FixedClock
) -> None:
    """Looking judges by the time the gate judges by: never before what is recorded already."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    go_live(registry, version, run, "staging")
    decision = pass_decision(registry, version, [run], approvals_needed=1)
    clock.move(days=8)
    hold(registry, "staging")
    clock.move(days=-8)
    page = status(registry, SYSTEM, policy)
    assert (page.waiting, page.next) == ((), "lockgate gate v1 --to production")
    assert page.now > decision.expires_at
    assert show(registry, version).decisions[0].moved == "it expired"


def test_a_refused_version_points_at_the_reasons(registry: Registry) -> None:
    """After a refusal the next thing is to look at why."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite, wrong=range(1, 15))
    pass_decision(registry, version, [run], environment="staging", outcome="fail", promotable=False)
    page = status(registry, SYSTEM, policy)
    assert (marks(page)["gate"], page.next) == ("fail", "lockgate show v1")


def test_an_open_run_says_how_far_it_came(registry: Registry) -> None:
    """A run without an end says how many answers it has and how to go on."""
    policy, suite = set_up(registry)
    run = start_run(registry, add_version(registry), suite)
    with registry.write(durable=False) as writing:
        writing.add_answers(answers_of(run, suite)[:8])
    page = status(registry, SYSTEM, policy)
    (found,) = page.open_runs
    assert (found.label, found.suite, found.answered, found.total) == ("v1", "triage", 8, 20)
    assert page.next == f"lockgate evaluate v1 --resume {run.id[:8]}"
    assert marks(page)["evaluate"] == "running"


def test_the_row_of_scores_is_on_the_suite_that_is_applied(registry: Registry) -> None:
    """Scores stand oldest first, on one suite digest, experiments left out."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=range(1, 11))
    evaluated(registry, add_version(registry, "try", parent=first, track="experiment"), suite)
    released(registry, suite, "two", wrong=range(1, 6), parent=first)
    page = status(registry, SYSTEM, policy)
    assert page.suite == "triage"
    assert [(point.label, point.value) for point in page.scores] == [("v1", 0.5), ("v2", 0.75)]


def test_events_read_as_sentences_newest_first(registry: Registry) -> None:
    """What happened last stands on top, in the ledger's order even when the clock stands still."""
    policy, suite = set_up(registry)
    released(registry, suite, "one", reason="first words\nand more of them")
    page = status(registry, SYSTEM, policy)
    assert [(event.text, event.actor) for event in page.events] == [
        ("promoted v1 → production", "ci"),
        ("approved v1 for production", "ml-lead"),
        ("gate passed v1 → production", "support-dev"),
        ("promoted v1 → staging", "ci"),
        ("gate passed v1 → staging", "support-dev"),
    ]


def test_a_proposal_waits_for_reviewers(registry: Registry) -> None:
    """A change of policy that reviewers have to agree to is part of what waits."""
    policy, _ = set_up(registry)
    add_version(registry)
    applied = registry.applied.policy()
    assert applied is not None
    proposal = propose(registry, "policy", applied.rules, "b" * 64)
    (waiting,) = status(registry, SYSTEM, policy).waiting
    assert waiting.what.startswith("policy policy by support-dev: ")
    assert waiting.reviewers == ("ml-lead", "support-lead")
    assert waiting.command == f"lockgate approve --proposal {proposal.id[:12]}"


def test_commands_name_the_system_where_there_are_several(registry: Registry) -> None:
    """With several systems every command says which one it is about."""
    policy, _ = set_up(registry)
    add_version(registry)
    add_version(registry, "other", system="order-extract")
    page = status(registry, SYSTEM, policy)
    assert (page.position, page.systems) == (1, 2)
    assert page.next == "lockgate evaluate v1 -s support-desk"


def test_an_environment_that_left_the_policy_is_still_shown(registry: Registry) -> None:
    """Where something is live it is shown, whether the policy still names the place or not."""
    _, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    decision = pass_decision(registry, version, [run], environment="beta")
    attempt = take(registry, version, decision, environment="beta")
    settle(registry, attempt)
    page = status(registry, SYSTEM, two_places())
    assert [place.environment for place in page.places] == ["production", "staging", "beta"]
    assert page.places[2].label == "v1"


def test_a_failed_attempt_changes_nothing(registry: Registry) -> None:
    """An attempt that failed is an event, and what was live before is live."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    run = evaluated(registry, second, suite)
    decision = pass_decision(registry, second, [run])
    attempt = attempt_of(registry, second, decision=decision)
    append(registry, attempt)
    settle(registry, attempt, "failed")
    page = status(registry, SYSTEM, policy)
    assert page.places[0].label == first.label
    assert page.places[0].open_attempt is None
    assert page.events[0].text == "promoted v2 → production: failed"


def test_what_came_past_the_gate_is_no_way_back(registry: Registry) -> None:
    """A version that went live by breaking the glass is never what a rollback goes to."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    hasty = add_version(registry, "hasty", parent=first)
    settle(registry, take(registry, hasty, kind="break_glass", ticket="T-1", reason="outage"))
    afterwards = pass_decision(registry, hasty, [complete_run(registry, hasty, suite)])
    append(registry, Closing(SYSTEM, "production", 2, afterwards.id, "fine", "ml-lead"))
    released(registry, suite, "two", parent=hasty)
    place = status(registry, SYSTEM, policy).places[0]
    assert (place.label, place.way_back) == ("v3", first.label)


def test_the_same_definition_is_no_way_back(registry: Registry) -> None:
    """Going back to another version with the very same components would change nothing."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    trial = add_version(registry, "one", parent=first, track="experiment")
    released(registry, suite, "one", parent=trial)
    place = status(registry, SYSTEM, policy).places[0]
    assert (place.label, place.way_back) == ("v2", None)


def test_the_row_of_scores_leaves_out_earlier_suites(registry: Registry) -> None:
    """A release that was only measured on a suite that was replaced is not in the row."""
    policy, old = set_up(registry)
    first = released(registry, old, "one")
    new = add_suite(registry, 30)
    released(registry, new, "two", parent=first, wrong=[1, 2, 3])
    page = status(registry, SYSTEM, policy)
    assert [(point.label, point.value) for point in page.scores] == [("v2", 0.9)]


def test_a_damaged_definition_does_not_hide_the_page(registry: Registry) -> None:
    """At night the rest of the page counts: what cannot be read is said to be so, in its line."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    connection = sqlite3.connect(registry.root / ".lockgate" / "registry.db")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("UPDATE definition_entry SET value = '1' WHERE kind = 'setting'")
    connection.commit()
    connection.close()
    page = status(registry, SYSTEM, policy)
    assert page.last_change is not None
    (line,) = page.last_change.difference
    assert line.startswith("what differs cannot be read: definition ")
    assert page.places[0].label == second.label
