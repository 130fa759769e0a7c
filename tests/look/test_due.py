"""What is due: how long after the last time, and which command deals with it."""

from __future__ import annotations

import sqlite3

from builders import FixedClock, append, settle, take
from lockgate.domain.policy import Policy
from lockgate.domain.release import Finding
from lockgate.domain.upkeep import Review
from lockgate.domain.version import Version
from lockgate.look.status import status
from lockgate.storage.registry import Registry
from look.stories import released, set_up

SYSTEM = "support-desk"


def told(registry: Registry, policy: Policy | None) -> list[tuple[str, str]]:
    """Return what is due, with its command."""
    return [(one.what, one.command) for one in status(registry, SYSTEM, policy).due]


def reviewed(registry: Registry) -> None:
    """Record a review."""
    finding = Finding("ledger", "pass", "all hold", numbers={"question": "gate"})
    append(registry, Review(SYSTEM, "clean", (finding,), "ml-lead"))


def rehearsing(registry: Registry, version: Version) -> None:
    """Make a worse version live in staging, as a rehearsal does."""
    from builders import add_version

    worse = add_version(registry, "worse", parent=version, track="rehearsal")
    attempt = take(registry, worse, kind="rehearsal", environment="staging")
    settle(registry, attempt)


def test_nothing_is_due_at_first(registry: Registry, clock: FixedClock) -> None:
    """Not before something is live, and then not before the cadence is over."""
    policy, suite = set_up(registry)
    assert told(registry, policy) == []
    released(registry, suite, "one")
    clock.move(days=7)
    assert told(registry, policy) == []


def test_a_review_is_overdue(registry: Registry, clock: FixedClock) -> None:
    """Counted from the last review; before the first from when something went live."""
    policy, suite = set_up(registry)
    released(registry, suite, "one")
    clock.move(days=7, seconds=1)
    never = ("review: never reviewed, every 7 days", "lockgate review -s support-desk")
    assert told(registry, policy) == [never]
    reviewed(registry)
    assert told(registry, policy) == []
    clock.move(days=8)
    assert told(registry, policy) == [
        ("review: the last was 8 days ago, every 7 days", "lockgate review -s support-desk")
    ]
    assert told(registry, None) == []


def test_a_rehearsal_is_overdue(registry: Registry, clock: FixedClock) -> None:
    """Where rehearsals are taken, as often as the policy says."""
    policy, suite = set_up(registry)
    released(registry, suite, "one")
    clock.move(days=31)
    reviewed(registry)
    assert told(registry, policy) == [
        (
            "rehearsal of staging: never rehearsed, every 30 days",
            "lockgate rehearse staging -s support-desk",
        )
    ]


def test_a_rehearsal_that_was_left_live(registry: Registry, clock: FixedClock) -> None:
    """Users of staging get a version that is worse on purpose."""
    policy, suite = set_up(registry)
    rehearsing(registry, released(registry, suite, "one"))
    clock.move(minutes=26)
    assert told(registry, policy) == [
        (
            "a rehearsal is live in staging for 26 min: nobody took it back",
            "lockgate rehearse staging -s support-desk",
        )
    ]


def test_an_open_attempt(registry: Registry) -> None:
    """It comes first, with the command that finds out."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    take(registry, first, kind="break_glass", environment="production", ticket="T", reason="r")
    assert told(registry, policy) == [
        (
            "generation 2 of production is open: nobody knows how it ended",
            "lockgate settle production -s support-desk",
        )
    ]


def test_what_is_looked_up_is_found_by_an_index(registry: Registry) -> None:
    """However many reviews and rehearsals there are, one of each is read."""
    connection: sqlite3.Connection = registry._connection
    for sql in (
        "SELECT * FROM review WHERE system = 'a' ORDER BY seq DESC LIMIT 1",
        "SELECT * FROM rehearsal WHERE system = 'a' AND environment = 'b' "
        "ORDER BY generation DESC LIMIT 1",
    ):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        assert len(plan) == 1 and "USING INDEX" in plan[0], plan
