"""The report for a handover: what happened since a time, and what is open now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import (
    NOW,
    SYSTEM,
    FixedClock,
    add_version,
    append,
    approve,
    attempt_of,
    decision_of,
    hold,
    lift,
    settle,
    start_run,
    take,
)
from lockgate.domain.release import Finding, Settlement
from lockgate.domain.upkeep import Closing, Note, Recheck, Rehearsal, Review
from lockgate.errors import UsageMistake
from lockgate.look.report import Report, report
from lockgate.storage.registry import Registry
from tests.look.stories import evaluated, released, set_up


def told(registry: Registry, since: object = NOW, *systems: str) -> Report:
    """Report since a time."""
    from lockgate import wiring

    policy = wiring.applied_policy_or_none(registry)
    return report(registry, list(systems) or [SYSTEM], policy, since)  # type: ignore[arg-type]


def texts(found: Report) -> list[str]:
    """Return the events of the only system."""
    return [entry.text for entry in found.systems[0].entries]


def test_nothing_is_said_plainly(registry: Registry, clock: FixedClock) -> None:
    """After everything that was recorded, nothing happened."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    clock.move(minutes=1)
    found = told(registry, clock.at)
    assert found.is_quiet
    assert found.systems[0].entries == () and found.systems[0].counts == {}
    assert found.registry == ()


def test_what_went_well_is_told_with_who_said_yes(registry: Registry, clock: FixedClock) -> None:
    """A promotion names its reviewers; what led to it is counted."""
    _, suite = set_up(registry)
    clock.move(hours=1)
    released(registry, suite, "one")
    found = told(registry, clock.at)
    assert texts(found) == [
        "promoted v1 → staging, generation 1",
        "promoted v1 → production, generation 1, approved by ml-lead",
    ]
    assert found.systems[0].counts == {
        "version registered": 1,
        "run completed": 1,
        "decision passed": 2,
        "approval given": 1,
    }
    assert {entry.mark for entry in found.systems[0].entries} == {"pass"}


def test_since_is_inclusive_and_older_is_left_out(registry: Registry, clock: FixedClock) -> None:
    """What was recorded at that very time counts; a second before does not."""
    set_up(registry)
    clock.move(hours=1)
    hold(registry)
    at = clock.at
    assert texts(told(registry, at)) == ["held production: under investigation"]
    clock.move(hours=1)
    assert texts(told(registry, at + timedelta(microseconds=1))) == []
    assert len(told(registry, NOW - timedelta(days=900)).systems[0].entries) == 2  # and the suite


def test_a_night(registry: Registry, clock: FixedClock) -> None:
    """Refused, broken, rolled back, held, lifted, noted, rehearsed, reviewed, rechecked: all told."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    clock.move(hours=1)
    since = clock.at
    run = evaluated(registry, second, suite, wrong=range(1, 9))
    refused = decision_of(registry, second, [run], outcome="fail", promotable=False)
    append(registry, refused)
    clock.move(minutes=5)
    broken = take(
        registry, second, kind="break_glass", ticket="T-1", reason="outage", actor="night"
    )
    settle(registry, broken)
    clock.move(minutes=5)
    back = take(registry, first, kind="rollback", ticket="INC-9", reason="worse", actor="night")
    settle(registry, back)
    (held,), (bad,) = registry.releases.holds(SYSTEM), registry.releases.quarantines(SYSTEM)
    append(registry, Note(SYSTEM, "production", 2, "users saw\nempty answers", "night"))
    given_up = start_run(registry, second, suite)
    with registry.write() as writing:
        writing.end_run(given_up, "voided", (), "night")
    lift(registry, held)
    lift(registry, bad)
    append(
        registry,
        Review(SYSTEM, "findings", (Finding("cadence", "fail", "late"),), "morning"),
        Recheck(SYSTEM, "production", 3, first.id, "fell", (), "morning"),
    )
    found = told(registry, since)
    assert texts(found) == [
        "broke the glass: v2 → production, ungated, generation 2, ticket T-1: outage",
        "gate refused v2 → production: accuracy >= 0.80: 2 of 2 right",
        "quarantined v2: worse",
        "held production: worse",
        "rolled production back to v1, generation 3, incident INC-9: worse",
        "note on production 2: users saw",
        "run of v2 on triage was given up",
        "lifted the hold of production: found and mended",
        "lifted the quarantine of v2: found and mended",
        "review: findings: cadence",
        "recheck of v1 in production: fell",
    ]
    entries = found.systems[0].entries
    assert [entry.is_open for entry in entries] == [True] + [False] * 10
    assert entries[0].actor == "night"
    (only,) = [point for point in found.systems[0].open if "break-glass" in point.text]
    assert only.text == "break-glass of production 2 by night, ticket T-1"
    assert only.command == "lockgate close production -s support-desk -m REASON"


def test_a_closed_break_glass_stands_where_it_happened(
    registry: Registry, clock: FixedClock
) -> None:
    """Once a second person has closed it, it comes first no longer."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    clock.move(hours=1)
    hold(registry, "staging")
    settle(registry, take(registry, second, kind="break_glass", ticket="T", reason="r"))
    settle(registry, take(registry, first, kind="rollback"))
    append(registry, Closing(SYSTEM, "production", 2, None, "looked at", "ml-lead"))
    assert [entry.kind for entry in told(registry, clock.at).systems[0].entries] == [
        "hold",
        "break_glass",
        "quarantine",
        "hold",
        "rollback",
        "closing",
    ]
    found = told(registry, clock.at).systems[0]
    assert [point.text for point in found.open] == [
        "production is held by promoter: rolled back",
        "staging is held by on-call: under investigation",
    ]


def test_an_attempt_that_is_open_is_told_as_unknown(registry: Registry, clock: FixedClock) -> None:
    """Nobody knows how it ended; settle finds out."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first, environments=("staging",))
    clock.move(hours=1)
    append(registry, attempt_of(registry, second, kind="break_glass", ticket="T", reason="r"))
    found = told(registry, clock.at).systems[0]
    assert [(entry.mark, entry.text) for entry in found.entries] == [
        ("unknown", "broke the glass: v2 → production, ungated: not settled")
    ]
    assert found.open[0].command == "lockgate settle production -s support-desk"
    clock.move(minutes=1)
    append(registry, Settlement(SYSTEM, "production", 2, "abandoned", "it was cut off", "oncall"))
    found = told(registry, clock.at - timedelta(minutes=5)).systems[0]
    assert [entry.text for entry in found.entries] == [
        "broke the glass: v2 → production, ungated: abandoned, generation 2, ticket T: "
        "it was cut off"
    ]


def test_a_reviewers_no_is_told(registry: Registry, clock: FixedClock) -> None:
    """Who said no, to what, and why."""
    _, suite = set_up(registry)
    version = add_version(registry)
    run = evaluated(registry, version, suite)
    decision = decision_of(registry, version, [run], approvals_needed=1)
    (decision,) = append(registry, decision)
    clock.move(hours=1)
    approve(registry, decision, word="no")
    found = told(registry, clock.at)
    assert texts(found) == ["rejected v1 for production: looks right"]
    assert found.systems[0].entries[0].actor == "ml-lead"


def test_what_belongs_to_no_system_stands_apart(registry: Registry) -> None:
    """A policy is told once, whichever systems are asked for."""
    set_up(registry)
    found = told(registry, NOW - timedelta(hours=1))
    assert [entry.kind for entry in found.registry] == ["policy"]
    assert [entry.kind for entry in found.systems[0].entries] == ["suite"]


def test_the_future_has_not_happened(registry: Registry) -> None:
    """It is refused, with a hint that works."""
    with pytest.raises(UsageMistake, match="a time in the future") as refused:
        told(registry, registry.now() + timedelta(seconds=1))
    assert refused.value.hint == "`lockgate report --since 12h`"


def test_a_rehearsal_says_how_long_it_took(registry: Registry, clock: FixedClock) -> None:
    """Detected after so long, back after so long."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one", environments=("staging",))
    worse = add_version(registry, "worse", parent=first, track="rehearsal")
    clock.move(hours=1)
    settle(registry, take(registry, worse, kind="rehearsal", environment="staging"))
    run = evaluated(registry, worse, suite, wrong=range(1, 9))
    judged = decision_of(
        registry, worse, [run], environment="staging", outcome="fail", promotable=False
    )
    judged = replace(judged, baseline_generation=1, baseline_version=first.id)
    (judged,) = append(registry, judged)
    settle(registry, take(registry, first, kind="revert", environment="staging"))
    append(
        registry,
        Rehearsal(
            SYSTEM, "staging", worse.id, "drop examples", 2, 3, "detected", judged.id, 1250, 800,
            (), "ci",
        ),
    )  # fmt: skip
    assert texts(told(registry, clock.at))[-1] == (
        "rehearsal in staging, drop examples as r1: detected after 1.2 s, back in 0.8 s"
    )
