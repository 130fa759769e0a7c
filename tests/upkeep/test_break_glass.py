"""Break-glass: what it bypasses and what it never does, and how it is marked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from builders import append, attempt_of
from lockgate import wiring
from lockgate.domain.release import Quarantine, Settlement
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, LockgateError, Refused, StaleGeneration, UsageMistake
from lockgate.loop.gate import gaps
from lockgate.loop.promote import Promoted, damaged_files
from lockgate.upkeep.break_glass import Glass, break_glass, look
from lockgate.upkeep.hold import hold
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import settle
from tests.loop.world import PRODUCTION, STAGING, SYSTEM, World

BREAKER, SECOND = "on-call", "support-lead"


def seen(world: World, version: Version, environment: str = "production") -> Glass:
    """Look at what breaking the glass would bypass."""
    target = world.policy.environment(environment)
    return look(world.registry, version, target, world.policy, actor=BREAKER)


def broken(world: World, version: Version, environment: str = "production", **how: str) -> Promoted:
    """Break the glass."""
    words = {"ticket": "OPS-1", "reason": "users are locked out", "actor": BREAKER} | how
    target = world.policy.environment(environment)
    place = wiring.target(world.root, SYSTEM, target)
    glass = seen(world, version, environment)
    return break_glass(world.registry, glass, target, target=place, **words)


@pytest.fixture
def behind(world: World) -> World:
    """Production behind staging and a reviewer, v1 live in both, v2 registered and nothing more."""
    world.apply_policy(PRODUCTION)
    world.make_live(14, ("staging", "production"))
    world.version(15, prompt="Sort the ticket, and be kind.\n")
    return world


def named(world: World, label: str) -> Version:
    """Return a version by its label."""
    return world.registry.versions.named(SYSTEM, label)


class TestItBypasses:
    """Everything that the gate, reviewers, a freeze or a hold say."""

    def test_everything_at_once(self, behind: World) -> None:
        """A version that was never evaluated, in a held environment: live, and marked."""
        hold(behind.registry, SYSTEM, "production", reason="careful", actor="ml-lead")
        v2 = named(behind, "v2")
        done = broken(behind, v2)
        assert (done.generation, done.before and done.before.label) == (2, "v1")
        live = behind.registry.releases.live(SYSTEM, "production")
        assert live is not None and live.is_ungated
        attempt = live.attempt
        assert (attempt.version, attempt.decision) == (v2.id, None)
        assert (attempt.ticket, attempt.reason) == ("OPS-1", "users are locked out")
        assert attempt.actor == BREAKER

    def test_and_says_each_of_them(self, behind: World) -> None:
        """What would have refused a promotion is told before anything happens."""
        hold(behind.registry, SYSTEM, "production", reason="careful", actor="ml-lead")
        before = behind.head()
        told = [(one.rule, one.outcome) for one in seen(behind, named(behind, "v2")).bypasses]
        assert told == [("gate", "fail"), ("approval", "waiting"), ("not held", "fail")]
        behind.evaluate(named(behind, "v2"))
        told = [(one.rule, one.outcome) for one in seen(behind, named(behind, "v2")).bypasses]
        assert told == [("staging", "fail"), ("approval", "waiting"), ("not held", "fail")]
        assert behind.head() > before
        assert (
            behind.registry.releases.newest_decision(named(behind, "v2").id, "production") is None
        )

    def test_a_reviewers_no(self, behind: World) -> None:
        """A decision that stands but was said no to is one of the reasons."""
        v2 = named(behind, "v2")
        behind.evaluate(v2)
        behind.promote(v2, decision=behind.decide(v2))
        behind.say(behind.decide(v2, "production"), "no")
        (only,) = seen(behind, v2).bypasses
        assert (only.rule, only.outcome, only.reason) == ("approval", "fail", "ml-lead said no")
        assert broken(behind, v2).is_new

    def test_a_freeze(self, world: World) -> None:
        """A frozen environment is no obstacle, and the freeze is named."""
        freeze = 'freeze = [{ from = "mon 00:00", until = "sun 23:59", tz = "UTC", reason = "year end" }]'
        world.apply_policy(STAGING.replace('stakes = "low"', f'stakes = "low"\n{freeze}'))
        version = world.evaluated(16)
        (only,) = seen(world, version, "staging").bypasses
        assert only.rule == "no freeze" and "year end" in only.reason
        assert broken(world, version, "staging").generation == 1

    def test_an_earlier_one_that_is_open(self, behind: World) -> None:
        """A second one in the same night goes through; both stay open."""
        broken(behind, named(behind, "v2"))
        v3 = behind.version(17)
        rules = [finding.rule for finding in seen(behind, v3).bypasses]
        assert "break-glass closed" in rules
        broken(behind, v3)
        unclosed = behind.registry.upkeep.unclosed(SYSTEM, "production")
        assert [one.attempt.generation for one in unclosed] == [3, 2]

    def test_nothing_where_nothing_is_in_the_way(self, world: World) -> None:
        """A version that would be promoted is not made live ungated."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        with pytest.raises(Refused, match="no glass to break") as refused:
            seen(world, version, "staging")
        assert refused.value.hint == f"`lockgate promote v1 --to staging -s {SYSTEM}`"
        world.promote(version, decision=world.decide(version))
        with pytest.raises(Refused, match="v1 is live in staging already"):
            seen(world, version, "staging")


class TestItNeverBypasses:
    """What no reason is good enough for; nothing is recorded."""

    def refused(self, world: World, version: Version, **how: str) -> LockgateError:
        """Break the glass in vain."""
        before = world.head()
        with pytest.raises(LockgateError) as refused:
            broken(world, version, **how)
        assert world.head() == before
        return refused.value

    @pytest.mark.parametrize(
        ("words", "missing"),
        [
            ({"ticket": " "}, "a ticket is needed"),
            ({"reason": "\n"}, "a reason is needed"),
            ({"ticket": "", "reason": ""}, "a ticket is needed and a reason is needed"),
            ({"ticket": "OPS-1\nOPS-2"}, "a ticket is one line of at most 200 characters"),
            ({"ticket": "x" * 201}, "a ticket is one line of at most 200 characters"),
            ({"ticket": "OPS\x1b[2J"}, "a ticket is one line of at most 200 characters"),
        ],
    )
    def test_ticket_and_reason(self, behind: World, words: dict[str, str], missing: str) -> None:
        """Without either, or with something else, it is refused."""
        error = self.refused(behind, named(behind, "v2"), **words)
        assert isinstance(error, UsageMistake)
        assert error.what == missing
        assert "--ticket" in error.hint or "-m REASON" in error.hint

    def test_the_track(self, behind: World) -> None:
        """An experiment reaches no environment, whatever the hurry."""
        behind.write(18)
        x1 = behind.register(track="experiment")
        error = self.refused(behind, x1)
        assert error.problems == (
            "track: x1 is of track experiment; only a release reaches production",
        )
        assert "lockgate register --from x1" in error.hint

    def test_a_quarantine(self, behind: World) -> None:
        """What hurt users once does not come back this way."""
        v2 = named(behind, "v2")
        append(behind.registry, Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", "ml-lead"))
        error = self.refused(behind, v2)
        assert error.problems == ("not quarantined: quarantined by ml-lead: it leaks",)
        assert error.hint == "`lockgate lift v2 -m REASON` if that was wrong"

    def test_damaged_bytes(self, behind: World) -> None:
        """What was registered is what runs, also at night."""
        v2 = named(behind, "v2")
        lose(behind, v2, but=named(behind, "v1"))
        error = self.refused(behind, v2)
        assert isinstance(error, IntegrityBroken)
        assert error.problems == tuple(
            f"contents: {one}" for one in damaged_files(behind.registry, v2)
        )
        assert len(error.problems) == 1

    def test_the_way_back(self, behind: World) -> None:
        """Where the version before could not be restored, nothing takes its place."""
        v1, v2 = named(behind, "v1"), named(behind, "v2")
        lose(behind, v1, but=v2)
        error = self.refused(behind, v2)
        assert isinstance(error, IntegrityBroken)
        assert error.problems[0].startswith("way back: v1 could not be restored")

    def test_an_open_attempt(self, behind: World) -> None:
        """Nobody knows what runs: settle or roll back first."""
        v2 = named(behind, "v2")
        append(
            behind.registry,
            attempt_of(behind.registry, v2, kind="break_glass", ticket="T", reason="r"),
        )
        error = self.refused(behind, v2)
        assert "generation 2 is not settled" in error.problems[0]
        assert "`lockgate settle production" in error.hint
        assert "`lockgate rollback production" in error.hint

    def test_all_of_them_are_told_at_once(self, behind: World) -> None:
        """A refusal names everything."""
        v2 = named(behind, "v2")
        append(behind.registry, Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", "ml-lead"))
        lose(behind, v2, but=named(behind, "v1"))
        error = self.refused(behind, v2)
        assert not isinstance(error, IntegrityBroken)
        assert [problem.partition(":")[0] for problem in error.problems] == [
            "not quarantined",
            "contents",
        ]

    def test_a_race(self, behind: World) -> None:
        """Who is overtaken between looking and acting is told by whom, and nothing is recorded."""
        v2, v3 = named(behind, "v2"), behind.version(18)
        target = behind.policy.environment("production")
        words = {"ticket": "OPS-1", "reason": "now", "actor": BREAKER}
        glass = seen(behind, v3)

        def overtake(*_: object) -> list[object]:
            broken(behind, v2, actor="second-on-call")
            return []

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lockgate.upkeep.break_glass.check_environment", once(overtake))
            with pytest.raises(StaleGeneration) as stale:
                break_glass(behind.registry, glass, target, **words)
        assert "second-on-call took generation 2 of production first, with v2" in stale.value.what


def once(action: Callable[..., object]) -> Callable[..., object]:
    """Return what acts the first time it is called, and then no more."""
    calls: list[object] = []

    def call(*words: object) -> object:
        calls.append(words)
        return action(*words) if len(calls) == 1 else None

    return call


def lose(world: World, version: Version, *, but: Version) -> None:
    """Damage a file of a version, and none of another one's."""
    versions = world.registry.versions
    files = set(versions.definition(version.definition).files().values())
    files -= set(versions.definition(but.definition).files().values())
    assert len(files) == 1
    with closing(sqlite3.connect(world.root / ".lockgate" / "registry.db")) as raw:
        for trigger in [
            name
            for (name,) in raw.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'content'"
            )
        ]:
            raw.execute(f'DROP TRIGGER "{trigger}"')
        for digest in files:
            raw.execute("UPDATE content SET bytes = X'00' WHERE digest = ?", (digest,))
        raw.commit()


class TestAfterwards:
    """What a broken glass leaves behind."""

    def test_stops_promotions_until_it_is_closed(self, behind: World) -> None:
        """Nothing else is promoted there; the refusal names who may end it, and how."""
        broken(behind, named(behind, "v2"))
        behind.evaluate(named(behind, "v2"))
        v3 = behind.evaluated(18)
        behind.promote(v3, decision=behind.decide(v3))
        decision = behind.decide(v3, "production")
        behind.say(decision)
        with pytest.raises(Refused) as refused:
            behind.promote(v3, "production", decision)
        (problem,) = refused.value.problems
        assert problem.startswith(
            "break-glass closed: on-call made v2 live ungated as generation 2, "
        )
        assert problem.endswith("ticket OPS-1")
        assert refused.value.hint == (
            "somebody else than on-call runs `lockgate close production -m REASON`"
        )

    def test_rollback_leaves_it_like_anything_else(self, behind: World) -> None:
        """It goes to what a gate promoted; what is left is quarantined and the environment held."""
        v2 = named(behind, "v2")
        broken(behind, v2)
        found = find_way_back(behind.registry, SYSTEM, "production")
        assert (found.to.label, found.kind) == ("v1", "rollback")
        for _ in roll_back(behind.registry, found, actor=BREAKER):
            pass
        assert behind.live("production") == named(behind, "v1").id
        assert behind.registry.releases.quarantines(SYSTEM, definition=v2.definition)
        assert behind.registry.releases.holds(SYSTEM, "production")

    def test_is_never_where_a_rollback_goes(self, behind: World) -> None:
        """From a second one the way leads past the first, to what the gate let in."""
        broken(behind, named(behind, "v2"))
        broken(behind, behind.version(17))
        assert find_way_back(behind.registry, SYSTEM, "production").to.label == "v1"
        with pytest.raises(Refused, match="v2 was never promoted to production"):
            find_way_back(behind.registry, SYSTEM, "production", to=named(behind, "v2"))

    def test_is_never_the_way_back_that_is_published(self, world: World) -> None:
        """What is kept beside the receipt is what the gate let in last."""
        world.apply_policy(
            PRODUCTION.replace('stakes = "high"', 'stakes = "high"\npublish = "out"')
        )
        v1 = world.evaluated(14)
        place = wiring.target(world.root, SYSTEM, world.policy.environment("production"))
        world.promote(v1, decision=world.decide(v1))
        decision = world.decide(v1, "production")
        world.say(decision)
        world.promote(v1, "production", decision, target=place)
        broken(world, world.version(15))
        broken(world, world.version(17))
        live, back = place.current(SYSTEM), place.way_back(SYSTEM)
        assert live is not None and back is not None
        assert (live.label, live.kind, live.ungated) == ("v3", "break_glass", True)
        assert (back.label, back.kind, back.ungated) == ("v1", "promote", False)

    def test_cut_off_before_it_was_published_settle_keeps_the_way_back(self, world: World) -> None:
        """Its receipt is written after all, ungated, beside that of what the gate let in."""
        world.apply_policy(STAGING.replace('stakes = "low"', 'stakes = "low"\npublish = "out"'))
        place = wiring.target(world.root, SYSTEM, world.policy.environment("staging"))
        v1 = world.evaluated(14)
        world.promote(v1, decision=world.decide(v1), target=place)
        v2 = world.version(15)
        attempt = attempt_of(
            world.registry, v2, kind="break_glass", environment="staging", ticket="T", reason="r"
        )
        live = Settlement(SYSTEM, "staging", 2, "live", None, BREAKER)
        append(world.registry, attempt, live)
        for _ in settle(world.registry, SYSTEM, "staging", place, actor=BREAKER):
            pass
        current, back = place.current(SYSTEM), place.way_back(SYSTEM)
        assert current is not None and back is not None
        assert (current.label, current.ungated) == ("v2", True)
        assert (back.label, back.ungated) == ("v1", False)

    def test_does_not_count_where_another_environment_requires_it(self, behind: World) -> None:
        """Broken in staging, it is not promoted there by a passing gate."""
        v2 = behind.evaluated(3)
        broken(behind, v2, "staging")
        assert behind.registry.releases.promoted(SYSTEM, "staging", v2.definition) is None
        decision = behind.decide(v2, "production")
        assert [f.outcome for f in decision.findings if f.rule == "staging"] == ["fail"]

    def test_is_judged_by_what_it_has_to_reach_not_by_a_drop_against_itself(
        self, behind: World
    ) -> None:
        """The gate's later word about what is live compares it with no one."""
        v2 = named(behind, "v2")
        broken(behind, v2, "staging")
        assert [
            gap.version.label for gap in gaps(behind.registry, v2, "staging", behind.policy)
        ] == ["v2"]
        behind.evaluate(v2)
        decision = behind.decide(v2, "staging")
        told = {f.rule: (f.outcome, f.reason) for f in decision.findings}
        assert told["contains live"] == ("pass", "same definition as v2, which is live")
        assert told["triage accuracy"][0] == "pass"
        assert told["triage accuracy drop"] == (
            "pass",
            "same definition as v2, which is live",
        )
        assert decision.promotable

    def test_a_failed_hook_leaves_nothing_to_close(self, world: World) -> None:
        """What never went live stops nobody."""
        world.apply_policy(STAGING.replace('stakes = "low"', 'stakes = "low"\ndeploy = ["false"]'))
        version = world.evaluated(2)
        with pytest.raises(LockgateError, match="the deploy hook of generation 1"):
            broken(world, version, "staging")
        newest = world.registry.releases.newest(SYSTEM, "staging")
        assert newest is not None and newest.outcome == "failed"
        assert world.registry.upkeep.unclosed(SYSTEM, "staging") == []


def test_raw_records_cannot_skip_the_ticket(behind: World, tmp_path: Path) -> None:
    """The registry itself refuses a break-glass without a ticket."""
    attempt = attempt_of(behind.registry, named(behind, "v2"), kind="break_glass", reason="r")
    settled = Settlement(SYSTEM, "production", attempt.generation, "live", None, BREAKER)
    with pytest.raises(Refused):
        append(behind.registry, attempt, settled)
