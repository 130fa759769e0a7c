"""Nobody gets around the order with raw SQL, whatever settings their connection has.

- A row of an append-only table is never updated, deleted or replaced.
- A record needs a ledger row of its own, the newest one.
- Every rule of the order is refused by exactly one trigger: without it, the same row goes in.
- Checks hold for connections that switched checks off.
- Content goes only after a recorded removal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lockgate.storage import order_rules, tables
from tests.storage.raw_story import APPEND_ONLY, NOWHERE, Raw

RECORDS = tuple(tables.RECORD_KEYS)
KEYS = [
    (table, key)
    for table, keys in (
        *tables.RECORD_KEYS.items(),
        *tables.PART_KEYS.items(),
        ("content", tables.CONTENT_KEYS),
    )
    for key in keys
]


def refused(raw: Raw, act: Callable[[], object], says: str) -> None:
    """See that an act is refused with some words and leaves everything as it was."""
    before = raw.contents()
    with pytest.raises(sqlite3.IntegrityError) as refusal, raw.transaction():
        act()
    assert str(refusal.value) == f"lockgate: {says}"
    assert raw.contents() == before


@pytest.mark.parametrize("table", [t for t in APPEND_ONLY if t not in ("ledger", "lineage")])
def test_the_rows_that_break_rules_below_are_valid_otherwise(raw: Raw, table: str) -> None:
    """What each test changes to break a rule would be accepted without that change."""
    with raw.transaction():
        raw.prepare(table)
        raw.insert(table)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {table} SET {column} = {column}",
        "UPDATE OR REPLACE {table} SET {column} = {column}",
        "DELETE FROM {table}",
        "DELETE FROM {table} WHERE {column} IN (SELECT {column} FROM {table} LIMIT 1)",
    ],
)
def test_rows_are_never_updated_or_deleted(raw: Raw, table: str, sql: str) -> None:
    """A row of an append-only table is never updated or deleted."""
    column = tables.RECORD_KEYS.get(table, tables.PART_KEYS.get(table, ()))[0][0]
    statement = sql.format(table=f'"{table}"', column=f'"{column}"')
    refused(raw, lambda: raw.execute(statement), f"{table} is append-only")
    event = "updated" if sql.startswith("UPDATE") else "deleted"
    raw.drop(f"{table}_never_{event}")
    raw.execute(statement)


def colliding(raw: Raw, table: str, key: tuple[str, ...]) -> dict[str, object]:
    """Return a stored row with one of its keys as it is, and everything else changed."""
    names = [row[1] for row in raw.execute(f'PRAGMA table_info("{table}")')]
    (stored,) = raw.execute(
        f'SELECT * FROM "{table}" WHERE "{key[-1]}" IS NOT NULL ORDER BY 1 LIMIT 1'
    )
    return {
        name: value if name in key else _other(value)
        for name, value in zip(names, stored, strict=True)
    }


def _other(value: object) -> object:
    if isinstance(value, bytes):
        return value + b"0"
    return value + 1000 if isinstance(value, (int, float)) else f"{value}0"


@pytest.mark.parametrize(("table", "key"), KEYS, ids=[f"{t}-{'-'.join(k)}" for t, k in KEYS])
@pytest.mark.parametrize("how", ["INSERT OR REPLACE", "REPLACE"])
def test_rows_are_never_replaced(raw: Raw, table: str, key: tuple[str, ...], how: str) -> None:
    """An insert over any unique key is refused, so that no row is replaced."""
    row = colliding(raw, table, key)
    names = ", ".join(f'"{name}"' for name in row)
    sql = f'{how} INTO "{table}" ({names}) VALUES ({", ".join("?" * len(row))})'
    raw.execute("PRAGMA ignore_check_constraints = ON")
    before = raw.contents()
    with pytest.raises(sqlite3.IntegrityError, match="^lockgate: "):
        raw.execute(sql, tuple(row.values()))
    guard = f"{table}_{'_'.join(key)}_once"
    raw.drop(*(name for name in raw.triggers(table) if name != guard))
    with pytest.raises(sqlite3.IntegrityError) as refusal:
        raw.execute(sql, tuple(row.values()))
    assert str(refusal.value) == f"lockgate: {table} {' and '.join(key)} exists already"
    assert raw.contents() == before
    raw.drop(guard)
    raw.execute(sql, tuple(row.values()))
    assert len(raw.contents()[table]) == len(before[table])  # without the guard it is replaced
    assert raw.contents()[table] != before[table]


def test_upsert_updates_nothing(raw: Raw) -> None:
    """ON CONFLICT DO UPDATE is refused before it comes to that."""
    sql = (
        "INSERT INTO system (seq, name, actor, at) VALUES (9, 'support-desk', 'intruder', '') "
        "ON CONFLICT DO UPDATE SET actor = 'intruder'"
    )
    refused(raw, lambda: raw.execute(sql), "system name exists already")


@pytest.mark.parametrize("table", RECORDS)
def test_a_record_needs_a_ledger_row_of_its_own(raw: Raw, table: str) -> None:
    """A record without its ledger row, or next to one of another kind or time, is refused."""
    says = f"{table} has no ledger row of its own"

    def with_seq(make: Callable[[], int]) -> Callable[[], None]:
        def act() -> None:
            raw.prepare(table)
            raw.insert(table, seq=make())

        return act

    cases = [
        with_seq(lambda: 100_000),
        with_seq(lambda: raw.entry("another kind")),
        with_seq(lambda: raw.entry(table, "2030-01-01T00:00:00.000000Z")),
    ]
    for act in cases:
        refused(raw, act, says)
    raw.drop(f"{table}_in_ledger")
    for act in cases:
        with raw.transaction(keep=False):
            act()


@pytest.mark.parametrize("table", RECORDS)
def test_a_record_is_not_slipped_in_later(raw: Raw, table: str) -> None:
    """A ledger row that was left without its record cannot be filled when others came after."""

    def act() -> None:
        raw.prepare(table)
        seq = raw.entry(table)
        raw.entry("another kind")
        raw.insert(table, seq=seq)

    refused(raw, act, f"{table} has no ledger row of its own")


@dataclass(frozen=True)
class Breach:
    """A way to break one rule of the order."""

    rule: str
    """Table and rule, as the trigger is called."""
    act: Callable[[Raw], None]
    name: str


BREACHES: list[Breach] = []


def breaks(rule: str) -> Callable[[Callable[[Raw], None]], Callable[[Raw], None]]:
    """Note that a function breaks one rule and no other."""

    def note(act: Callable[[Raw], None]) -> Callable[[Raw], None]:
        BREACHES.append(Breach(rule, act, f"{rule}-{act.__name__}"))
        return act

    return note


@breaks("ledger_is_dense")
def leave_a_number_out(raw: Raw) -> None:
    ((seq,),) = raw.execute("SELECT max(seq) FROM ledger")
    raw.execute("INSERT INTO ledger VALUES (?, 'x', 'hold', 'x', ?)", (seq + 2, raw.story.at))


@breaks("ledger_time_never_goes_back")
def date_it_back(raw: Raw) -> None:
    raw.entry("hold", "2026-01-01T00:00:00.000000Z")


@breaks("definition_entry_is_frozen")
def add_to_a_definition(raw: Raw) -> None:
    raw.insert("definition_entry", definition=raw.story.versions["v5"].definition, key="top_p")


@breaks("suite_case_is_frozen")
def add_to_a_suite(raw: Raw) -> None:
    raw.insert("suite_case", suite=raw.story.suite.digest)


@breaks("suite_has_its_cases")
def leave_a_case_out(raw: Raw) -> None:
    raw.insert("suite_case")
    raw.insert("suite", cases=2)


@breaks("decision_run_is_frozen")
def add_to_a_decision(raw: Raw) -> None:
    raw.insert("decision_run", decision=raw.story.decisions["v2"].id)


@breaks("decision_run_rests_on_completed_run")
def rest_on_an_open_run(raw: Raw) -> None:
    raw.insert("decision_run", run=raw.story.runs["full"], version=raw.story.version("v6"))


@breaks("decision_run_rests_on_completed_run")
def rest_on_a_voided_run(raw: Raw) -> None:
    raw.insert("decision_run", run=raw.story.runs["voided"], version=raw.story.version("v6"))


@breaks("decision_run_rests_on_completed_run")
def call_a_foreign_run_ones_own(raw: Raw) -> None:
    raw.insert("decision_run", run=raw.story.runs["v2"])


@breaks("version_has_definition")
def register_no_definition(raw: Raw) -> None:
    raw.insert("version", definition=NOWHERE)


@breaks("version_has_system")
def register_in_no_system(raw: Raw) -> None:
    raw.insert("version", system="ghost", parent=None)


@breaks("version_has_parent")
def descend_from_nothing(raw: Raw) -> None:
    raw.insert("version", parent=NOWHERE)


@breaks("version_has_parent")
def descend_from_another_system(raw: Raw) -> None:
    raw.insert("system")
    raw.insert("version", system="another")


@breaks("version_changes_something")
def change_nothing(raw: Raw) -> None:
    raw.insert("version", parent=raw.story.version("v5"))


@breaks("lineage_says_what_its_version_says")
def invent_a_line(raw: Raw) -> None:
    raw.execute("INSERT INTO lineage VALUES (100000, 1, 'a', 'v1')")


@breaks("policy_applied_is_what_was_proposed")
def apply_what_was_not_proposed(raw: Raw) -> None:
    raw.insert("policy_applied", proposal=raw.story.proposal.id)


@breaks("policy_applied_is_what_was_proposed")
def apply_a_refused_policy(raw: Raw) -> None:
    raw.insert("policy_applied", proposal=raw.story.refused_proposal.id)


@breaks("policy_applied_is_what_was_proposed")
def apply_a_suite_as_policy(raw: Raw) -> None:
    raw.insert(
        "policy_applied",
        proposal=raw.story.suite_proposal.id,
        policy=raw.story.suite_proposal.after,
    )


@breaks("suite_applied_needs_registered_suite")
def apply_no_suite(raw: Raw) -> None:
    raw.insert("suite_applied", suite=NOWHERE)


@breaks("suite_applied_needs_registered_suite")
def apply_a_suite_under_another_name(raw: Raw) -> None:
    raw.insert("suite_applied", name="spare")


@breaks("suite_applied_is_what_was_proposed")
def apply_another_suite_than_proposed(raw: Raw) -> None:
    raw.insert("suite_applied", proposal=raw.story.suite_proposal.id)


@breaks("run_needs_registered_version")
def evaluate_what_is_not_registered(raw: Raw) -> None:
    raw.insert("run", version=NOWHERE)


@breaks("run_needs_registered_suite")
def run_no_suite(raw: Raw) -> None:
    raw.insert("run", suite=NOWHERE)


@breaks("answer_needs_open_run")
def answer_after_the_end(raw: Raw) -> None:
    raw.insert("answer", run=raw.story.runs["voided"])


@breaks("answer_is_to_a_case")
def answer_no_case(raw: Raw) -> None:
    raw.insert("answer", case_id="t9999")


@breaks("answer_is_to_a_case")
def answer_once_too_often(raw: Raw) -> None:
    raw.insert("answer", repeat=2)


@breaks("answer_is_not_asked_again")
def ask_again_until_it_fits(raw: Raw) -> None:
    raw.insert("answer", case_id="t0001", asking=2)


@breaks("answer_is_not_asked_again")
def hide_an_asking(raw: Raw) -> None:
    raw.insert("answer", asking=2)


@breaks("run_end_needs_run")
def end_no_run(raw: Raw) -> None:
    raw.insert("run_end", run="ghost", answers=0)


@breaks("run_end_is_complete")
def complete_a_short_run(raw: Raw) -> None:
    raw.insert("run_end", outcome="completed")


@breaks("run_end_counts_errors")
def miscount_errors(raw: Raw) -> None:
    raw.insert("run_end", run=raw.story.runs["full"], outcome="completed", answers=2, errors=1)


@breaks("run_end_counts_answers")
def miscount_answers(raw: Raw) -> None:
    raw.insert("run_end", run=raw.story.runs["full"], outcome="completed", answers=3)


@breaks("decision_needs_registered_version")
def decide_on_nothing(raw: Raw) -> None:
    raw.insert("decision", version=NOWHERE)


@breaks("decision_needs_evidence")
def pass_without_a_run(raw: Raw) -> None:
    raw.insert("decision", outcome="pass", promotable=1)


@breaks("decision_needs_evidence")
def pass_on_the_runs_of_what_is_live(raw: Raw) -> None:
    v2 = raw.story.version("v2")
    raw.insert("decision_run", run=raw.story.runs["v2"], version=v2, role="baseline")
    raw.insert("decision", outcome="pass", promotable=1)


@breaks("decision_rests_on_its_own_runs")
def borrow_a_run(raw: Raw) -> None:
    raw.insert("decision_run", run=raw.story.runs["v2"], version=raw.story.version("v2"))
    raw.insert("decision")


@breaks("decision_rests_on_its_own_runs")
def compare_with_what_is_not_live(raw: Raw) -> None:
    v1 = raw.story.version("v1")
    raw.insert("decision_run", run=raw.story.runs["v1"], version=v1, role="baseline")
    raw.insert("decision")


@breaks("decision_rests_on_applied_suites")
def rest_on_a_suite_that_is_not_applied(raw: Raw) -> None:
    v6 = raw.story.version("v6")
    raw.insert("decision_run", run=raw.story.runs["v6 spare"], version=v6)
    raw.insert("decision", version=v6, outcome="pass", promotable=1)


@breaks("decision_pools_all_runs")
def pick_the_best_run(raw: Raw) -> None:
    raw.insert("decision_run", run=raw.story.runs["v5 again"])
    raw.insert("decision", outcome="pass", promotable=1)


@breaks("decision_compares_with_live")
def compare_with_an_earlier_generation(raw: Raw) -> None:
    raw.insert("decision", baseline_generation=1, baseline_version=raw.story.version("v1"))


@breaks("decision_compares_with_live")
def claim_that_nothing_is_live(raw: Raw) -> None:
    raw.insert("decision", baseline_generation=0, baseline_version=None)


@breaks("decision_compares_with_live")
def claim_that_another_version_is_live(raw: Raw) -> None:
    raw.insert("decision", baseline_version=raw.story.version("v1"))


@breaks("decision_asks_enough_reviewers")
def ask_no_reviewer(raw: Raw) -> None:
    for run in ("v5", "v5 again"):
        raw.insert("decision_run", run=raw.story.runs[run])
    raw.insert(
        "decision",
        environment="guarded",
        baseline_generation=0,
        baseline_version=None,
        outcome="pass",
        promotable=1,
    )


@breaks("decision_follows_applied_policy")
def follow_an_older_policy(raw: Raw) -> None:
    raw.insert("decision", policy=raw.story.old_policy)


@breaks("approval_has_subject")
def approve_nothing(raw: Raw) -> None:
    raw.insert("approval", subject="ghost")


@breaks("attempt_follows_settlement")
def skip_a_generation(raw: Raw) -> None:
    raw.insert("attempt", generation=4, previous=3)


@breaks("attempt_follows_settlement")
def go_on_before_it_is_settled(raw: Raw) -> None:
    raw.insert("attempt")
    raw.insert("attempt", generation=4, previous=3)


@breaks("attempt_follows_settlement")
def begin_at_one(raw: Raw) -> None:
    raw.insert(
        "attempt",
        environment="elsewhere",
        generation=1,
        previous=0,
        kind="break_glass",
        ticket="INC-1",
        reason=raw.story.policy,
        decision=None,
        promotable=None,
    )


@breaks("attempt_has_registered_system")
def open_an_environment_of_no_system(raw: Raw) -> None:
    raw.insert(
        "attempt",
        system="ghost",
        generation=0,
        previous=None,
        kind="origin",
        version=None,
        decision=None,
        promotable=None,
    )


def break_glass(raw: Raw, version: str, **changes: object) -> None:
    raw.insert(
        "attempt",
        kind="break_glass",
        version=version,
        ticket="INC-1",
        reason=raw.story.policy,
        decision=None,
        promotable=None,
        **changes,
    )


@breaks("attempt_has_registered_version")
def break_glass_for_nothing(raw: Raw) -> None:
    break_glass(raw, NOWHERE)


@breaks("attempt_fits_its_track")
def break_glass_for_an_experiment(raw: Raw) -> None:
    break_glass(raw, raw.story.version("x1"))


@breaks("attempt_fits_its_track")
def break_glass_for_a_rehearsal(raw: Raw) -> None:
    break_glass(raw, raw.story.version("r1"))


def in_practice(raw: Raw, kind: str, label: str, generation: int = 3) -> None:
    """Take a generation of `practice`, where v2 is live as generation 2."""
    raw.insert(
        "attempt",
        environment="practice",
        generation=generation,
        previous=generation - 1,
        kind=kind,
        version=raw.story.version(label),
        decision=None,
        promotable=None,
    )


def rehearse(raw: Raw) -> None:
    in_practice(raw, "rehearsal", "r1")
    raw.insert("settlement", environment="practice")


@breaks("attempt_fits_its_track")
def rehearse_a_release(raw: Raw) -> None:
    in_practice(raw, "rehearsal", "v5")


@breaks("attempt_rehearses_where_it_may")
def rehearse_in_production(raw: Raw) -> None:
    none = {"decision": None, "promotable": None}
    raw.insert("attempt", kind="rehearsal", version=raw.story.version("r1"), **none)


@breaks("attempt_is_not_quarantined")
def break_glass_for_a_quarantined_version(raw: Raw) -> None:
    break_glass(raw, raw.story.version("v4"))


def first_in(raw: Raw, environment: str) -> None:
    """Promote v5 where nothing was ever live, on the decision about it there."""
    decision = raw.story.decisions[f"v5 {environment}"].id
    raw.insert("attempt", environment=environment, generation=1, previous=0, decision=decision)


@breaks("attempt_needs_promotable_decision")
def promote_on_a_failed_decision(raw: Raw) -> None:
    first_in(raw, "failed")


@breaks("attempt_needs_promotable_decision")
def promote_on_the_decision_of_another_version(raw: Raw) -> None:
    raw.insert("attempt", decision=raw.story.decisions["v2 again"].id)


@breaks("attempt_needs_promotable_decision")
def promote_on_no_decision_at_all(raw: Raw) -> None:
    raw.insert("attempt", decision="ghost")


@breaks("attempt_needs_promotable_decision")
def promote_on_the_decision_of_another_environment(raw: Raw) -> None:
    raw.insert(
        "attempt",
        environment="staging",
        generation=1,
        previous=0,
        decision=raw.story.decisions["v5 canary"].id,
    )


@breaks("attempt_decision_is_about_live")
def promote_against_what_was_live_before(raw: Raw) -> None:
    story = raw.story
    raw.insert("attempt", version=story.version("v3"), decision=story.decisions["v3"].id)


@breaks("attempt_decision_is_fresh")
def promote_on_an_expired_decision(raw: Raw) -> None:
    raw.insert("attempt", at="2026-12-24T00:00:00.000000Z")


@breaks("attempt_decision_is_not_void")
def promote_after_the_policy_moved(raw: Raw) -> None:
    raw.insert("policy_applied")
    raw.insert("attempt")


@breaks("attempt_decision_is_not_void")
def promote_after_a_suite_moved(raw: Raw) -> None:
    raw.insert("suite_applied")
    raw.insert("attempt")


@breaks("attempt_decision_is_not_void")
def promote_after_another_run(raw: Raw) -> None:
    raw.insert("run")
    for case in ("t0001", "t0002"):
        raw.insert("answer", run="another", case_id=case)
    raw.insert("run_end", run="another", outcome="completed", answers=2)
    raw.insert("attempt")


@breaks("attempt_decision_is_not_void")
def promote_after_another_run_of_what_is_live(raw: Raw) -> None:
    raw.insert("run", version=raw.story.version("v2"))
    for case in ("t0001", "t0002"):
        raw.insert("answer", run="another", case_id=case)
    raw.insert("run_end", run="another", outcome="completed", answers=2)
    raw.insert("attempt")


@breaks("attempt_decision_has_approvals")
def promote_before_the_reviewer(raw: Raw) -> None:
    first_in(raw, "reviewed")


@breaks("attempt_decision_has_approvals")
def review_what_one_registered(raw: Raw) -> None:
    raw.insert("approval", signer="support-dev")
    promote_before_the_reviewer(raw)


@breaks("attempt_decision_has_approvals")
def review_what_one_owns(raw: Raw) -> None:
    raw.insert("approval", signer="support-ml")
    promote_before_the_reviewer(raw)


@breaks("attempt_decision_has_approvals")
def review_what_one_promotes(raw: Raw) -> None:
    raw.insert("approval", signer="intruder")
    promote_before_the_reviewer(raw)


@breaks("attempt_decision_has_approvals")
def review_without_being_asked(raw: Raw) -> None:
    raw.insert("approval", signer="stranger")
    promote_before_the_reviewer(raw)


@breaks("attempt_decision_has_approvals")
def review_under_a_name_without_a_key(raw: Raw) -> None:
    raw.insert("approval", subject=raw.story.decisions["v5 guarded"].id)
    first_in(raw, "guarded")


@breaks("attempt_decision_has_approvals")
def promote_over_a_no(raw: Raw) -> None:
    first_in(raw, "refused")


@breaks("attempt_environment_is_not_held")
def promote_into_a_hold(raw: Raw) -> None:
    raw.insert("hold")
    raw.insert("attempt")


def roll_back(raw: Raw, label: str, environment: str = "production") -> None:
    nothing = {"decision": None, "promotable": None}
    version = raw.story.version(label)
    raw.insert("attempt", kind="rollback", version=version, environment=environment, **nothing)


@breaks("attempt_goes_back_to_what_passed")
def roll_back_to_what_was_never_there(raw: Raw) -> None:
    roll_back(raw, "v5")


@breaks("attempt_goes_back_to_what_passed")
def roll_back_to_what_broke_the_glass(raw: Raw) -> None:
    roll_back(raw, "v1", "practice")


@breaks("attempt_goes_back_to_what_passed")
def roll_back_to_what_is_live(raw: Raw) -> None:
    roll_back(raw, "v2")


@breaks("attempt_goes_back_to_what_was_live")
def revert_to_what_was_live_long_ago(raw: Raw) -> None:
    rehearse(raw)
    in_practice(raw, "revert", "v1", 4)


@breaks("settlement_of_a_rollback_stops_what_it_left")
def roll_back_and_leave_everything_open(raw: Raw) -> None:
    roll_back(raw, "v1")
    raw.insert("settlement")


@breaks("settlement_of_a_rollback_stops_what_it_left")
def roll_back_and_only_hold(raw: Raw) -> None:
    roll_back(raw, "v1")
    raw.insert("hold")
    raw.insert("settlement")


@breaks("settlement_of_a_rollback_stops_what_it_left")
def roll_back_and_quarantine_something_else(raw: Raw) -> None:
    roll_back(raw, "v1")
    raw.insert("hold")
    raw.insert("quarantine")
    raw.insert("settlement")


@breaks("attempt_reverts_a_rehearsal")
def revert_without_a_rehearsal(raw: Raw) -> None:
    in_practice(raw, "revert", "v2")


@breaks("attempt_reverts_a_rehearsal")
def revert_twice(raw: Raw) -> None:
    rehearse(raw)
    in_practice(raw, "revert", "v2", 4)
    raw.insert("settlement", environment="practice", generation=4)
    in_practice(raw, "revert", "v2", 5)


@breaks("settlement_settles_newest_attempt")
def settle_what_was_not_attempted(raw: Raw) -> None:
    raw.insert("settlement")


@breaks("quarantine_is_of_a_version")
def quarantine_nothing(raw: Raw) -> None:
    raw.insert("quarantine", definition=NOWHERE)


@breaks("hold_has_system")
def hold_nothing(raw: Raw) -> None:
    raw.insert("hold", system="ghost")


@breaks("lift_ends_something")
def lift_nothing(raw: Raw) -> None:
    raw.insert("lift", lifts=1)


@breaks("attempt_decision_is_not_void")
def promote_on_an_older_decision(raw: Raw) -> None:
    raw.insert("decision")
    raw.insert("attempt")


@breaks("attempt_break_glass_is_closed")
def promote_over_a_broken_glass(raw: Raw) -> None:
    break_glass(raw, raw.story.version("v2"))
    raw.insert("settlement")
    lines = {"baseline_generation": 3, "approvals_needed": 0}
    for run in ("v5", "v5 again"):
        raw.insert("decision_run", run=raw.story.runs[run])
    raw.insert("decision", outcome="pass", promotable=1, **lines)
    raw.insert("attempt", generation=4, previous=3, decision="another")


@breaks("note_is_about_a_deployment")
def note_on_no_deployment(raw: Raw) -> None:
    raw.insert("note", generation=9)


@breaks("closing_ends_a_break_glass")
def close_a_promotion(raw: Raw) -> None:
    raw.insert("closing", environment="production", generation=1, decision=None)


@breaks("closing_is_by_somebody_else")
def close_what_one_broke(raw: Raw) -> None:
    raw.insert("closing", actor="promoter")


@breaks("closing_comes_after_it")
def close_what_is_live_without_a_decision(raw: Raw) -> None:
    raw.insert("closing", decision=None)


@breaks("closing_rests_on_its_own_decision")
def close_on_the_decision_of_another_version(raw: Raw) -> None:
    raw.insert("closing", decision=raw.story.decisions["v5"].id)


@breaks("closing_rests_on_its_own_decision")
def close_on_a_failed_decision(raw: Raw) -> None:
    in_practice = {"environment": "practice", "version": raw.story.version("v2")}
    raw.insert("decision", **in_practice)
    raw.insert("closing", decision="another")


@breaks("closing_rests_on_its_own_decision")
def close_over_a_no(raw: Raw) -> None:
    raw.insert("approval", subject=raw.story.decisions["v2 in practice"].id, word="no")
    raw.insert("closing")


@breaks("rehearsal_was_live")
def record_a_rehearsal_of_another_version(raw: Raw) -> None:
    raw.insert("rehearsal", version=raw.story.version("v5"), outcome="broken off", decision=None)


@breaks("rehearsal_was_taken_back")
def record_a_rehearsal_that_stays(raw: Raw) -> None:
    raw.insert("rehearsal", reverted=9)


@breaks("rehearsal_says_what_the_gate_said")
def call_a_detected_rehearsal_missed(raw: Raw) -> None:
    raw.insert("rehearsal", outcome="missed")


@breaks("rehearsal_says_what_the_gate_said")
def rest_a_rehearsal_on_another_decision(raw: Raw) -> None:
    raw.insert("rehearsal", decision=raw.story.decisions["v5 failed"].id)


@breaks("review_has_system")
def review_nothing(raw: Raw) -> None:
    raw.insert("review", system="ghost")


@breaks("recheck_is_of_what_is_live")
def recheck_what_was_live_before(raw: Raw) -> None:
    raw.insert("recheck", generation=1, version=raw.story.version("v1"))


@breaks("recheck_is_of_what_is_live")
def recheck_another_version(raw: Raw) -> None:
    raw.insert("recheck", version=raw.story.version("v5"))


@breaks("removal_spares_releases")
def expire_a_file_of_a_release(raw: Raw) -> None:
    ((digest,),) = raw.execute(
        "SELECT e.object FROM definition_entry e WHERE e.definition = ? AND e.kind = 'file' LIMIT 1",
        (raw.story.versions["v2"].definition,),
    )
    raw.insert("removal", digest=digest)


@breaks("content_was_not_redacted")
def bring_back_what_was_redacted(raw: Raw) -> None:
    removed = raw.story.policy
    raw.insert("removal", digest=removed, kind="redact")
    raw.execute("DELETE FROM content WHERE digest = ?", (removed,))
    raw.insert("content", digest=removed)


RULES = {f"{table}_{rule}": says for table, rule, _, says in order_rules.ORDER_RULES}


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_each_rule_is_refused_by_its_own_trigger(raw: Raw, breach: Breach) -> None:
    """A broken rule is refused in its own words; without its trigger the same row goes in."""
    refused(raw, lambda: breach.act(raw), RULES[breach.rule])
    raw.drop(breach.rule)
    with raw.transaction():
        breach.act(raw)


def test_every_rule_is_broken_here() -> None:
    """No rule of the order is without a test that breaks it."""
    assert {breach.rule for breach in BREACHES} == set(RULES)


WITHOUT_CHECKS = {
    "attempt of an unknown kind": ("attempt", {"kind": "promoted", "decision": None}),
    "promotion without decision": ("attempt", {"decision": None}),
    "promotion of nothing": ("attempt", {"version": None, "kind": "origin", "decision": None}),
    "gap before an attempt": ("attempt", {"previous": 1}),
    "break-glass without ticket": (
        "attempt",
        {"kind": "break_glass", "decision": None, "promotable": None},
    ),
    "promotable failure": ("decision", {"promotable": 1}),
    "promotable doubt": ("decision", {"promotable": 1, "outcome": "inconclusive"}),
    "unknown outcome": ("settlement", {"outcome": "perhaps"}),
    "second origin": ("settlement", {"outcome": "empty"}),
    "answer with score and error": ("answer", {"error": NOWHERE}),
    "answer without score and error": ("answer", {"scores": None, "output": None}),
    "half a run": ("run_end", {"outcome": "nearly"}),
    "open run as evidence": ("decision_run", {"outcome": "open"}),
    "label of another track": ("version", {"label": "x99"}),
    "label with more in it": ("version", {"label": "v99\x1b[31m"}),
    "approval with a maybe": ("approval", {"word": "maybe"}),
    "key without signature": ("approval", {"key": "SHA256:a"}),
    "suite without cases": ("suite", {"cases": 0}),
    "content outside the objects": ("content", {"bytes": None, "path": "../../secrets"}),
}


@pytest.mark.parametrize("name", WITHOUT_CHECKS)
def test_checks_hold_when_checks_are_off(raw: Raw, name: str) -> None:
    """What a CHECK refuses is refused on a connection that ignores CHECKs, too."""
    table, changes = WITHOUT_CHECKS[name]
    raw.execute("PRAGMA ignore_check_constraints = ON")
    before = raw.contents()

    def act() -> None:
        raw.prepare(table)
        raw.insert(table, **changes)

    with pytest.raises(sqlite3.IntegrityError, match="^lockgate: "), raw.transaction():
        act()
    assert raw.contents() == before
    raw.drop(*(rule for rule in raw.triggers(table) if rule != f"{table}_in_shape"))
    says = f"^lockgate: {table} needs "
    with pytest.raises(sqlite3.IntegrityError, match=says), raw.transaction():
        act()
    raw.drop(f"{table}_in_shape")
    with raw.transaction():
        act()


def test_content_goes_only_right_after_its_removal(raw: Raw) -> None:
    """Content cannot be deleted before its removal is recorded, nor later; its object stays."""
    removed, kept = raw.story.old_policy, raw.story.policy
    delete = "DELETE FROM content WHERE digest = ?"
    says = "content goes only right after its recorded removal"
    raw.insert("removal", digest=removed)
    refused(raw, lambda: raw.execute(delete, (kept,)), says)
    refused(raw, lambda: raw.execute("DELETE FROM content"), says)
    raw.insert("hold")
    refused(raw, lambda: raw.execute(delete, (removed,)), says)
    raw.insert("removal", digest=removed)
    raw.execute(delete, (removed,))
    assert raw.execute("SELECT count(*) FROM object WHERE digest = ?", (removed,)) == [(1,)]


def test_content_never_changes(raw: Raw) -> None:
    """Content is never updated, not even to itself."""
    sql = "UPDATE content SET bytes = bytes"
    refused(raw, lambda: raw.execute(sql), "content never changes")


@pytest.mark.parametrize("setting", ["foreign_keys = ON", "recursive_triggers = ON"])
def test_settings_only_add_to_the_refusals(raw: Raw, setting: str) -> None:
    """The rules hold whichever way a connection has its settings."""
    raw.execute(f"PRAGMA {setting}")
    refused(raw, lambda: skip_a_generation(raw), RULES["attempt_follows_settlement"])
    refused(raw, lambda: raw.execute("DELETE FROM ledger"), "ledger is append-only")
