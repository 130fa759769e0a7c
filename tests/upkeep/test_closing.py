"""Close: who may end a break-glass promotion, and what it takes."""

from __future__ import annotations

import pytest

from builders import append
from lockgate import wiring
from lockgate.domain.release import Quarantine
from lockgate.domain.upkeep import Closing
from lockgate.errors import LockgateError, Refused, UsageMistake, WaitingForPerson
from lockgate.upkeep.closing import Closed, close
from lockgate.upkeep.rollback import find_way_back, roll_back
from tests.loop.world import LEAD, STAGING, SYSTEM, World
from tests.upkeep.test_break_glass import BREAKER, SECOND, behind, broken, named

__all__ = ["behind"]


def closed(world: World, environment: str = "production", *, by: str = SECOND) -> Closed:
    """Close what can be closed."""
    return close(
        world.registry,
        SYSTEM,
        world.policy.environment(environment),
        reason="looked at together",
        actor=by,
        signing=wiring.signing(),
    )


def missing(found: Closed) -> list[tuple[str, str, str]]:
    """Return everything that keeps the only remaining one open: rule, outcome and hint."""
    (one,) = found.remaining
    return [(finding.rule, finding.outcome, finding.hint) for finding in one.missing]


def left(world: World, environment: str = "production") -> None:
    """Roll back."""
    found = find_way_back(world.registry, SYSTEM, environment)
    for _ in roll_back(world.registry, found, actor=BREAKER):
        pass


def unclosed(world: World, environment: str = "production") -> list[int]:
    """Return the generations that nobody has closed."""
    found = world.registry.upkeep.unclosed(SYSTEM, environment)
    return [deployment.attempt.generation for deployment in found]


@pytest.fixture
def live(behind: World) -> World:
    """Production where somebody broke the glass for v2, which is live there."""
    broken(behind, named(behind, "v2"))
    return behind


@pytest.fixture
def judged(live: World) -> World:
    """The same, with a passing decision about v2 made since; nobody has said yes to it yet."""
    v2 = named(live, "v2")
    live.evaluate(v2)
    live.promote(v2, decision=live.decide(v2))
    assert live.decide(v2, "production").promotable
    return live


class TestWhileItIsLive:
    """It takes what it never had."""

    def test_takes_a_decision(self, live: World) -> None:
        """Without one since, the refusal names both commands that make it."""
        before = live.head()
        found = closed(live)
        assert found.closings == ()
        assert missing(found) == [
            (
                "decision",
                "fail",
                "`lockgate evaluate v2 -s support-desk`, then "
                "`lockgate gate v2 --to production -s support-desk`",
            )
        ]
        trouble = found.trouble()
        assert trouble is not None and trouble.exit_code == 1
        assert trouble.what == "generation 2 (v2) of production cannot be closed yet"
        assert live.head() == before

    def test_takes_one_that_was_made_since(self, behind: World) -> None:
        """A decision from before the glass was broken is none about what was done."""
        v2 = named(behind, "v2")
        behind.evaluate(v2)
        behind.promote(v2, decision=behind.decide(v2))
        behind.say(behind.decide(v2, "production"), "no")
        broken(behind, v2)
        assert [rule for rule, _, _ in missing(closed(behind))] == ["decision"]

    def test_takes_one_that_passes(self, behind: World) -> None:
        """Of a version that fails, its reasons are told, and the way out."""
        broken(behind, bad := behind.version(3))
        behind.evaluate(bad)
        behind.decide(bad, "production")
        (one,) = closed(behind).remaining
        (finding,) = one.missing
        assert finding.reason.startswith("the gate said fail since, to staging, triage accuracy")
        assert "`lockgate show v3 -s support-desk`" in finding.hint
        assert "`lockgate rollback production -s support-desk`" in finding.hint

    def test_takes_its_approvals(self, judged: World) -> None:
        """Only a yes is missing: it waits, with the reviewer's command."""
        found = closed(judged)
        assert missing(found) == [
            (
                "approval",
                "waiting",
                "a reviewer runs `lockgate approve v2 --to production -s support-desk`",
            )
        ]
        assert isinstance(found.trouble(), WaitingForPerson)

    def test_is_closed_on_that_decision(self, judged: World) -> None:
        """With the yes, a second person closes it, and it says on which decision."""
        decision = judged.registry.releases.newest_decision(named(judged, "v2").id, "production")
        assert decision is not None
        judged.say(decision)
        found = closed(judged)
        assert found.remaining == () and found.trouble() is None
        (closing,) = found.closings
        assert (closing.generation, closing.decision) == (2, decision.id)
        assert (closing.actor, closing.reason) == (SECOND, "looked at together")
        assert unclosed(judged) == []

    def test_never_counts_a_yes_of_who_broke_it(self, behind: World) -> None:
        """Who broke the glass counts as its promoter; the other reviewer's yes is needed."""
        v2 = named(behind, "v2")
        target = behind.policy.environment("production")
        from lockgate.upkeep.break_glass import break_glass, look

        glass = look(behind.registry, v2, target, behind.policy, actor=LEAD)
        break_glass(behind.registry, glass, target, ticket="T", reason="r", actor=LEAD)
        behind.evaluate(v2)
        behind.promote(v2, decision=behind.decide(v2))
        behind.say(behind.decide(v2, "production"), by=LEAD)
        (one,) = closed(behind).remaining
        assert [finding.reason for finding in one.missing] == [
            "0 of 1 approvals, from support-lead; ml-lead broke the glass and does not count"
        ]

    def test_takes_a_decision_that_still_stands(self, judged: World) -> None:
        """A newer run makes it void: it has to be made again; the command is told."""
        decision = judged.decide(named(judged, "v2"), "production")
        judged.say(decision)
        judged.evaluate(named(judged, "v2"))
        assert missing(closed(judged)) == [
            (
                "decision stands",
                "fail",
                "`lockgate gate v2 --to production -s support-desk`",
            ),
        ]

    def test_is_not_closed_over_a_quarantine(self, judged: World) -> None:
        """What was found to hurt users since is not made up for by an earlier pass."""
        v2 = named(judged, "v2")
        judged.say(judged.decide(v2, "production"))
        append(judged.registry, Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", LEAD))
        assert [rule for rule, _, _ in missing(closed(judged))] == ["not quarantined"]

    def test_everything_that_is_missing_is_told_at_once(self, live: World) -> None:
        """Who broke it, without a decision: both."""
        found = closed(live, by=BREAKER)
        assert [rule for rule, _, _ in missing(found)] == ["second person", "decision"]
        trouble = found.trouble()
        assert trouble is not None and trouble.exit_code == 1
        assert trouble.problems[0] == (
            "v2 second person: on-call broke the glass and does not close it; somebody else runs "
            "`lockgate close production -m REASON`"
        )

    def test_low_stakes_need_no_approval(self, world: World) -> None:
        """Where a pass is enough to promote, a pass and a second person are enough to close."""
        world.apply_policy(STAGING)
        version = world.version(16)
        broken(world, version, "staging")
        world.evaluate(version)
        world.decide(version)
        assert closed(world, "staging").remaining == ()


class TestOnceItIsLeft:
    """A second person's word is enough."""

    def test_is_closed_by_somebody_else(self, live: World) -> None:
        """After a rollback no decision is needed."""
        left(live)
        (closing,) = closed(live).closings
        assert (closing.generation, closing.decision) == (2, None)

    def test_is_not_closed_by_who_broke_it(self, live: World) -> None:
        """Not even then."""
        left(live)
        assert [rule for rule, _, _ in missing(closed(live, by=BREAKER))] == ["second person"]
        assert unclosed(live) == [2]

    def test_rollback_is_never_stopped_by_an_open_one(self, live: World) -> None:
        """The way back asks for nothing."""
        left(live)
        assert live.live("production") == named(live, "v1").id


class TestSeveral:
    """Of several open ones, those that can be closed are."""

    def test_the_older_one_is_closed_and_the_live_one_told(self, live: World) -> None:
        """v2 was replaced by v3: v2 is closed, and v3 remains with what it lacks."""
        broken(live, live.version(17))
        found = closed(live)
        assert [closing.generation for closing in found.closings] == [2]
        assert [one.label for one in found.remaining] == ["v3"]
        assert unclosed(live) == [3]

    def test_the_same_version_twice_takes_the_gate_for_both(self, live: World) -> None:
        """It is live under the newer generation: the older one is not closed by a word."""
        v2 = named(live, "v2")
        broken(live, live.version(17))
        broken(live, v2)
        found = closed(live)
        assert [closing.generation for closing in found.closings] == [3]
        assert [one.deployment.attempt.generation for one in found.remaining] == [4, 2]


class TestWords:
    """What is no closing."""

    @pytest.mark.parametrize("reason", ["", "  \n", "​"])
    def test_takes_a_reason(self, live: World, reason: str) -> None:
        """Nothing said is nothing closed."""
        target = live.policy.environment("production")
        with pytest.raises(UsageMistake, match="a reason is needed") as refused:
            close(live.registry, SYSTEM, target, reason=reason, actor=SECOND)
        assert refused.value.hint == "say why: -m REASON"

    def test_takes_an_open_one(self, behind: World) -> None:
        """Where no glass was broken there is nothing to close."""
        with pytest.raises(Refused, match="no break-glass promotion of production is open") as no:
            closed(behind)
        assert no.value.hint == "`lockgate status -s support-desk` shows what is"

    def test_is_closed_once(self, live: World) -> None:
        """Of two who close, the second is told who was first; nothing more is recorded."""
        left(live)
        real = type(live.registry.upkeep).unclosed

        def late(self: object, system: str, environment: str) -> object:
            found = real(self, system, environment)  # type: ignore[arg-type]
            append(live.registry, Closing(SYSTEM, environment, 2, None, "mine", LEAD))
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(live.registry.upkeep), "unclosed", late)
            with pytest.raises(Refused) as lost:
                closed(live)
        assert lost.value.what.startswith("ml-lead closed generation 2 of production first, at ")
        assert lost.value.what.endswith("; nothing was changed")


class TestThen:
    """What closing gives back."""

    def test_promotions_go_on(self, judged: World) -> None:
        """The next version passes the gate and goes live."""
        judged.say(judged.decide(named(judged, "v2"), "production"))
        closed(judged)
        v3 = judged.make_live(17, ("staging", "production"))
        assert judged.live("production") == v3.id
        assert find_way_back(judged.registry, SYSTEM, "production").to.label == "v1"

    def test_it_may_be_promoted_by_the_gate_after_all(self, judged: World) -> None:
        """What is live ungated takes a generation of its own by the gate, and is a way back then."""
        v2 = named(judged, "v2")
        decision = judged.decide(v2, "production")
        judged.say(decision)
        with pytest.raises(Refused, match="v2 cannot be promoted to production now"):
            judged.promote(v2, "production", decision)
        closed(judged)
        done = judged.promote(v2, "production", decision)
        assert (done.generation, done.is_new) == (3, True)
        assert not judged.promote(v2, "production", decision).is_new
        judged.make_live(17, ("staging", "production"))
        assert find_way_back(judged.registry, SYSTEM, "production").to.label == "v2"

    def test_the_registry_itself_refuses_a_closing_by_who_broke_it(self, live: World) -> None:
        """Not with a record of one's own either."""
        left(live)
        with pytest.raises(LockgateError, match="who broke the glass does not close it"):
            append(live.registry, Closing(SYSTEM, "production", 2, None, "mine", BREAKER))
