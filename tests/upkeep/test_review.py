"""Review: what it says of rehearsals, of broken glass, and of what was there before."""

from __future__ import annotations

import pytest

from builders import append
from lockgate import wiring
from lockgate.domain.release import Finding
from lockgate.domain.upkeep import Closing
from lockgate.upkeep import review_way
from lockgate.upkeep.review import Reviewed, review
from tests.loop.world import LEAD, SYSTEM, World
from tests.upkeep.test_break_glass import SECOND, behind, broken, named
from tests.upkeep.test_rehearse import HOOKED, REHEARSED, desk, hooked, rehearsed
from tests.upkeep.test_rollback import script

__all__ = ["behind", "desk", "hooked"]

RULE = "rehearsal staging"


def reviewed(world: World) -> Reviewed:
    """Review to the end."""
    around = wiring.surroundings(world.root, world.registry, SYSTEM, world.policy, None)
    *_, last = review(world.registry, SYSTEM, world.policy, around, actor=LEAD)
    assert isinstance(last, Reviewed)
    return last


def finding(world: World, rule: str) -> Finding:
    """Return one finding of a review."""
    return next(one for one in reviewed(world).review.findings if one.rule == rule)


def recorded_as(world: World, outcome: str) -> None:
    """Rehearse, and have it recorded as something else than it was."""
    done = rehearsed(world).record
    world.registry._connection.execute("DROP TRIGGER rehearsal_never_updated")
    world.registry._connection.execute(
        "UPDATE rehearsal SET outcome = ? WHERE seq = ?", (outcome, done.seq)
    )


class TestRehearsals:
    """A rehearsal that says something about today."""

    def test_a_fresh_one(self, desk: World) -> None:
        """When, by whom, how, and how long it took to take it back."""
        rehearsed(desk)
        found = finding(desk, RULE)
        assert found.outcome == "pass"
        assert found.reason.startswith(
            "Fri 2026-08-21 09:00 UTC by on-call, `raise-temperature`: detected, taken back in "
        )

    def test_none(self, desk: World) -> None:
        """Nobody ever tried."""
        found = finding(desk, RULE)
        assert (found.outcome, found.reason) == ("fail", "never rehearsed")
        assert found.hint == "`lockgate rehearse staging -s support-desk`"

    def test_an_old_one(self, desk: World) -> None:
        """Older than the cadence of the policy."""
        rehearsed(desk)
        desk.clock.move(days=30)
        assert finding(desk, RULE).outcome == "pass"
        desk.clock.move(seconds=1)
        found = finding(desk, RULE)
        assert found.outcome == "fail"
        assert found.reason.startswith("it is 30 days old, the cadence is 30 days; the last was ")

    @pytest.mark.parametrize(
        ("outcome", "says"),
        [
            ("missed", "the gate let the worse version pass"),
            ("broken off", "it was broken off"),
        ],
    )
    def test_one_that_showed_nothing(self, desk: World, outcome: str, says: str) -> None:
        """Missed, or never finished."""
        recorded_as(desk, outcome)
        found = finding(desk, RULE)
        assert found.outcome == "fail"
        assert found.reason.startswith(f"{says}; the last was ")

    def test_before_a_policy(self, desk: World) -> None:
        """What judges has changed since."""
        rehearsed(desk)
        desk.apply_policy(REHEARSED.replace("0.50", "0.51"))
        found = finding(desk, RULE)
        assert found.reason.startswith("the policy was applied since, on Fri 2026-08-21")

    def test_before_another_hook(self, hooked: World) -> None:
        """A script whose bytes changed may not bring anything back any more."""
        rehearsed(hooked)
        assert finding(hooked, RULE).outcome == "pass"
        script(hooked, "deploy.sh", "exit 1")
        found = finding(hooked, RULE)
        assert found.reason.startswith("the deploy hook of staging changed since; ")
        hooked.apply_policy(HOOKED)

    def test_under_another_runtime(self, desk: World) -> None:
        """What is live runs on something else by now."""
        desk.facts["python"] = "3.11"
        live = desk.registry.versions.named(SYSTEM, "v2")
        desk.evaluate(live)
        rehearsed(desk)
        assert finding(desk, RULE).outcome == "pass"
        desk.facts["python"] = "3.12"
        desk.evaluate(live)
        desk.promote(live, "production", desk.decide(live, "production"))
        found = finding(desk, RULE)
        assert "the runtime changed since: `python` was '3.11', is '3.12'" in found.reason


class TestBrokenGlass:
    """What went past the gate is a finding until somebody else closed it, and evidence after."""

    RULE = "break-glass production"

    def test_open(self, behind: World) -> None:
        """Who, when, and the command that ends it."""
        broken(behind, named(behind, "v2"))
        found = finding(behind, self.RULE)
        assert found.outcome == "fail"
        assert found.reason.startswith("not closed: generation ")
        assert ", v2 by on-call on Fri 2026-08-21 09:00 UTC, OPS-1" in found.reason
        assert found.hint == (
            "somebody else ends it: `lockgate close production -m REASON -s support-desk`"
        )

    def test_closed(self, behind: World) -> None:
        """It is still told, once."""
        done = broken(behind, named(behind, "v2"))
        from lockgate.upkeep.rollback import find_way_back, roll_back

        for _ in roll_back(
            behind.registry, find_way_back(behind.registry, SYSTEM, "production"), actor=LEAD
        ):
            pass
        append(
            behind.registry,
            Closing(SYSTEM, "production", done.generation, None, "it is left", SECOND),
        )
        found = finding(behind, self.RULE)
        assert found.outcome == "pass"
        assert found.reason == (
            f"1 since the beginning, each closed: generation {done.generation} by on-call, OPS-1"
        )
        assert finding(behind, self.RULE).reason.startswith("none since the review of ")


class TestRecords:
    """What a review leaves."""

    def test_it_is_recorded_with_its_evidence(self, desk: World) -> None:
        """Every finding, dated; and when every byte of what counts was hashed."""
        done = reviewed(desk)
        (record,) = desk.registry.upkeep.reviews(SYSTEM)
        assert record == done.review
        assert (record.actor, record.outcome) == (LEAD, "findings")
        assert {one.rule for one in record.findings} >= {"ledger", "receipt staging", RULE}
        live = desk.registry.versions.named(SYSTEM, "v2")
        check = desk.registry.upkeep.full_check(live.definition)
        assert check is not None
        assert (check.at, check.problem) == (desk.clock.now(), None)
        assert reviewed(desk).previous == record

    def test_where_nothing_ever_happened(self, world: World) -> None:
        """A registry with one version and no policy has nothing to find."""
        world.version(16)
        around = wiring.surroundings(world.root, world.registry, SYSTEM, None, None)
        *_, last = review(world.registry, SYSTEM, None, around, actor=LEAD)
        assert isinstance(last, Reviewed)
        assert not last.is_broken
        bad = [one for one in last.review.findings if one.outcome not in ("pass", "skipped")]
        assert [one.rule for one in bad] == []


def test_what_a_run_notes_about_itself_is_no_runtime() -> None:
    """Seeds and targets differ from version to version."""
    assert {"seed", "suite_seed"} <= review_way._OF_THE_RUN
