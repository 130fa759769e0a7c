"""The way back: where it leads, what it leaves behind, and what never blocks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate import wiring
from lockgate.errors import (
    Inconclusive,
    InfrastructureFailed,
    Refused,
    StaleGeneration,
    UsageMistake,
)
from lockgate.loop.deployment import DeployEvent
from lockgate.upkeep.hold import hold, lift_hold, lift_quarantine
from lockgate.upkeep.rollback import WayBack, find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle
from tests.loop.world import PRODUCTION, STAGING, SYSTEM, World

ON_CALL = "on-call"


def back(world: World, environment: str = "staging", **how: object) -> WayBack:
    """Roll back to where the rules say, and return what was found."""
    found = find_way_back(world.registry, SYSTEM, environment, **how)  # type: ignore[arg-type]
    for _ in roll_back(world.registry, found, actor=ON_CALL, target=target(world, environment)):
        pass
    return found


def target(world: World, environment: str = "staging"):  # type: ignore[no-untyped-def]
    """Return where the environment's versions go."""
    return wiring.target(world.root, SYSTEM, world.policy.environment(environment))


@pytest.fixture
def three(world: World) -> World:
    """Give a staging where three versions went live, one after the other."""
    world.apply_policy(STAGING)
    for right in (14, 15, 16):
        world.make_live(right)
    return world


class TestTheTarget:
    """The newest version that a passing gate promoted before what is live now."""

    def test_is_the_promotion_before(self, three: World) -> None:
        """From v3 it leads to v2."""
        assert back(three).to.label == "v2"
        assert three.live() == three.registry.versions.named(SYSTEM, "v2").id

    def test_is_never_one_that_a_rollback_left(self, three: World) -> None:
        """v3 was left, lifted, and v4 went live on top of it: from v4 it leads past v3."""
        back(three)
        v2, v3 = (three.registry.versions.named(SYSTEM, label) for label in ("v2", "v3"))
        lift_quarantine(three.registry, v3, reason="looked at", actor=ON_CALL)
        lift_hold(three.registry, SYSTEM, "staging", reason="mended", actor=ON_CALL)
        three.make_live(17, parent=v2)
        found = find_way_back(three.registry, SYSTEM, "staging")
        assert (found.to.label, found.skipped) == (
            "v2",
            (("v3", "it was itself left by a rollback"),),
        )
        explicit = find_way_back(three.registry, SYSTEM, "staging", to=v3)
        assert explicit.to.label == "v3"

    def test_skips_what_is_quarantined_and_says_so(self, three: World) -> None:
        """A quarantined version is passed over, with the reason."""
        from lockgate.domain.release import Quarantine

        v2 = three.registry.versions.named(SYSTEM, "v2")
        with three.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", ON_CALL))
        found = find_way_back(three.registry, SYSTEM, "staging")
        assert found.to.label == "v1"
        assert found.skipped == (("v2", "its definition is quarantined"),)

    def test_is_intact_or_it_is_no_target(self, three: World) -> None:
        """A version whose bytes are damaged is passed over, with the file's name."""
        v2 = three.registry.versions.named(SYSTEM, "v2")
        definition = three.registry.versions.definition(v2.definition)
        damage(three, definition.files()["prompts/system.md"], unless="v2")
        with pytest.raises(Refused) as caught:
            find_way_back(three.registry, SYSTEM, "staging")
        assert all("it is not intact" in problem for problem in caught.value.problems)

    def test_of_the_first_release_does_not_exist(self, world: World) -> None:
        """With one promotion there is no way back, and the refusal says what to do."""
        world.apply_policy(STAGING)
        world.make_live(16)
        with pytest.raises(Refused, match="there is no way back from v1") as caught:
            find_way_back(world.registry, SYSTEM, "staging")
        assert "ship a mended version" in caught.value.hint

    def test_needs_something_live(self, world: World) -> None:
        """Nothing live, nothing to leave."""
        world.apply_policy(STAGING)
        world.evaluated(16)
        with pytest.raises(Refused, match="nothing is live in staging"):
            find_way_back(world.registry, SYSTEM, "staging")


def damage(world: World, digest: str, unless: str) -> None:
    """Change an object's stored bytes behind the registry's back."""
    import sqlite3

    connection = sqlite3.connect(world.root / ".lockgate" / "registry.db")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'content'"
    ).fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("UPDATE content SET bytes = x'00' WHERE digest = ?", (digest,))
    connection.commit()
    connection.close()


class TestWhatItLeaves:
    """Leaving a promoted version quarantines its definition and holds the environment."""

    def test_is_quarantined_and_the_environment_held(self, three: World) -> None:
        """Both stand with the rollback's words."""
        back(three)
        (quarantine,) = three.registry.releases.quarantines(SYSTEM)
        (held,) = three.registry.releases.holds(SYSTEM, "staging")
        assert quarantine.reason == held.reason == "rolled back from v3 to v2 in staging"

    def test_cannot_be_promoted_again(self, three: World) -> None:
        """The gate refuses the quarantined definition."""
        v3 = three.registry.versions.named(SYSTEM, "v3")
        back(three)
        decision = three.decide(v3)
        assert [f.rule for f in decision.obstacles()] == ["not quarantined"]

    def test_stops_other_promotions_until_lifted(self, three: World) -> None:
        """A good new version waits for the hold to be lifted, then goes live."""
        back(three)
        better = three.evaluated(17, parent=three.registry.versions.named(SYSTEM, "v2"))
        three.decide(better)
        with pytest.raises(Refused, match="cannot be promoted") as caught:
            three.promote(better)
        assert "lockgate lift staging" in caught.value.hint
        lift_hold(three.registry, SYSTEM, "staging", reason="mended", actor=ON_CALL)
        assert three.promote(better).is_new

    def test_stands_though_somebody_lifts_it_at_that_moment(
        self, three: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What stands already is looked at when the generation is taken, not before."""
        from lockgate.domain.release import Quarantine
        from lockgate.upkeep import rollback as module

        v3 = three.registry.versions.named(SYSTEM, "v3")
        with three.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v3.definition, v3.id, "it leaks", ON_CALL))
        hold(three.registry, SYSTEM, "staging", reason="release week", actor=ON_CALL)
        carry_out = module.carry_out

        def after_both_were_lifted(*values: object, **more: object) -> object:
            lift_hold(three.registry, SYSTEM, "staging", reason="over", actor="lead")
            lift_quarantine(three.registry, v3, reason="mended", actor="lead")
            return carry_out(*values, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "carry_out", after_both_were_lifted)
        back(three)
        assert len(three.registry.releases.quarantines(SYSTEM, definition=v3.definition)) == 1
        assert len(three.registry.releases.holds(SYSTEM, "staging")) == 1

    def test_makes_a_second_rollback_name_its_target(self, three: World) -> None:
        """While the hold stands nobody goes further back by accident."""
        back(three)
        with pytest.raises(Refused, match="was rolled back already and is held") as caught:
            back(three)
        assert "--to v1" in caught.value.hint
        assert back(three, to=three.registry.versions.named(SYSTEM, "v1")).to.label == "v1"


class TestWhatNeverBlocksIt:
    """Freeze, hold, expiry and missing reviewers are for promotions."""

    def test_a_hold(self, three: World) -> None:
        """An environment that was held by hand is rolled back all the same."""
        hold(three.registry, SYSTEM, "staging", reason="release week", actor=ON_CALL)
        assert back(three).to.label == "v2"

    def test_age_and_reviewers(self, world: World) -> None:
        """A month later, with nobody to approve, production goes back."""
        world.apply_policy(PRODUCTION)
        for right in (15, 16):
            world.make_live(right, ("staging", "production"))
        world.clock.move(days=30)
        assert back(world, "production").to.label == "v1"


def test_a_rollback_that_was_looked_at_before_something_moved_is_refused(three: World) -> None:
    """What is live moved under an open confirmation: nothing is changed, and it is said."""
    found = find_way_back(three.registry, SYSTEM, "staging")
    three.make_live(17)
    with pytest.raises(StaleGeneration, match="what is live has changed"):
        list(roll_back(three.registry, found, actor=ON_CALL))
    assert three.registry.releases.newest(SYSTEM, "staging").attempt.generation == 4  # type: ignore[union-attr]


def script(world: World, name: str, text: str) -> None:
    """Write an executable hook."""
    path = world.root / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


HOOKED = STAGING.replace(
    'stakes = "low"',
    'stakes = "low"\npublish = "published/staging"\ndeploy = ["./deploy.sh"]\ndeploy_timeout = "20s"',
)


class TestWithAHook:
    """A real hook in a process of its own, and real receipts."""

    @pytest.fixture
    def hooked(self, world: World) -> World:
        """Give a staging with a hook that works, and two versions that went live."""
        wiring.make_host_key(world.root)
        script(world, "deploy.sh", 'echo "generation $LOCKGATE_GENERATION"')
        world.apply_policy(HOOKED)
        for right in (15, 16):
            self.live(world, right)
        return world

    @staticmethod
    def live(world: World, right: int) -> None:
        """Take a version through the loop, published and hooked."""
        version = world.evaluated(right)
        world.promote(version, "staging", world.decide(version), target=target(world))

    def test_is_published_and_read_back(self, hooked: World) -> None:
        """The receipt of the rollback is the one the serving side sees."""
        back(hooked)
        receipt = target(hooked).current(SYSTEM)
        assert receipt is not None
        assert (receipt.label, receipt.generation, receipt.kind) == ("v1", 3, "rollback")

    def test_a_hook_that_fails_leaves_the_old_receipt(self, hooked: World) -> None:
        """The attempt is settled as failed, and what was published stays."""
        script(hooked, "deploy.sh", "echo broken pipe; exit 3")
        version = hooked.evaluated(17)
        decision = hooked.decide(version)
        with pytest.raises(InfrastructureFailed, match="exit code 3"):
            hooked.promote(version, "staging", decision, target=target(hooked))
        receipt = target(hooked).current(SYSTEM)
        newest = hooked.registry.releases.newest(SYSTEM, "staging")
        assert receipt is not None and receipt.label == "v2"
        assert newest is not None and newest.outcome == "failed"
        assert target(hooked).staged(SYSTEM) is None

    def test_beats_a_promotion_whose_hook_hangs(self, hooked: World) -> None:
        """The hook is stopped, the attempt abandoned, and the way back taken."""
        script(hooked, "deploy.sh", '[ "$LOCKGATE_GENERATION" = 3 ] && sleep 30; exit 0')
        version = hooked.evaluated(17)
        decision = hooked.decide(version)
        events = promoting(hooked, version, decision)
        wait_for_hook(hooked, events)
        found = back(hooked)
        assert found.open_attempt is not None
        assert found.to.label == "v1"
        abandoned = hooked.registry.releases.deployment(SYSTEM, "staging", 3)
        assert abandoned is not None and abandoned.outcome == "abandoned"
        receipt = target(hooked).current(SYSTEM)
        assert receipt is not None and receipt.generation == 4

    def test_settle_finishes_what_was_cut_off(self, hooked: World) -> None:
        """A promotion whose process went away while the hook ran is settled by what the hook did."""
        version = hooked.evaluated(17)
        decision = hooked.decide(version)
        events = promoting(hooked, version, decision)
        wait_for_hook(hooked, events)
        found = [*settle(hooked.registry, SYSTEM, "staging", target(hooked), actor=ON_CALL)][-1]
        assert isinstance(found, Settled)
        assert found.outcome == "live"
        receipt = target(hooked).current(SYSTEM)
        assert receipt is not None and receipt.label == "v3"
        again = [*settle(hooked.registry, SYSTEM, "staging", target(hooked), actor=ON_CALL)][-1]
        assert isinstance(again, Settled) and again.outcome == "nothing"

    def test_settle_publishes_what_was_settled_but_not_published(self, hooked: World) -> None:
        """Cut off between settlement and receipt, the receipt is written later."""
        place = Path(hooked.root / "published/staging" / SYSTEM)
        (place / "receipt.json").unlink()
        found = [*settle(hooked.registry, SYSTEM, "staging", target(hooked), actor=ON_CALL)][-1]
        assert isinstance(found, Settled)
        assert (found.outcome, found.label) == ("published", "v2")
        receipt = target(hooked).current(SYSTEM)
        assert receipt is not None and receipt.generation == 2

    def test_settle_says_when_nobody_can_tell(self, hooked: World) -> None:
        """A hook whose runner was killed out of sight is unknown, with the way to certainty."""
        import os
        import signal

        script(hooked, "deploy.sh", "sleep 30")
        version = hooked.evaluated(17)
        events = promoting(hooked, version, hooked.decide(version))
        wait_for_hook(hooked, events)
        status = target(hooked).hook_status(SYSTEM, 3)
        assert status.pid is not None
        runner = os.getpgid(status.pid)
        for pid in runners_of(status.pid):
            os.kill(pid, signal.SIGKILL)
        os.killpg(runner, signal.SIGKILL)
        with pytest.raises(Inconclusive, match="unknown: the hook for generation 3") as caught:
            list(settle(hooked.registry, SYSTEM, "staging", target(hooked), actor=ON_CALL))
        assert "lockgate rollback staging" in caught.value.hint


def runners_of(pid: int) -> list[int]:
    """Return the parent of a hook's process: the runner that watches it."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()
    return [int(stat[1])]


def promoting(world: World, version, decision):  # type: ignore[no-untyped-def]
    """Begin a promotion and give its events; whoever stops walking leaves it open."""
    from lockgate.domain.release import Attempt
    from lockgate.loop.deployment import carry_out

    place = target(world)
    newest = world.registry.releases.newest(SYSTEM, "staging")
    assert newest is not None
    attempt = Attempt(
        SYSTEM,
        "staging",
        newest.attempt.generation + 1,
        "promote",
        version.id,
        decision.id,
        place.hook_digest(),
        None,
        None,
        "ci",
    )
    return carry_out(world.registry, place, attempt, version, actor="ci")


def wait_for_hook(world: World, events) -> None:  # type: ignore[no-untyped-def]
    """Walk a promotion until its hook is under way, then leave as a killed process would."""
    for event in events:
        assert isinstance(event, DeployEvent)
        if event.kind == "hook":
            break
    events.close()


class TestHold:
    """A hold stops promotions, with a reason, once."""

    def test_needs_a_reason(self, three: World) -> None:
        """Nobody has to guess why."""
        with pytest.raises(UsageMistake, match="a reason is needed"):
            hold(three.registry, SYSTEM, "staging", reason=" ", actor=ON_CALL)

    def test_stands_once(self, three: World) -> None:
        """A second one is refused with the first one's reason."""
        hold(three.registry, SYSTEM, "staging", reason="release week", actor=ON_CALL)
        with pytest.raises(Refused, match="held already: release week"):
            hold(three.registry, SYSTEM, "staging", reason="again", actor=ON_CALL)

    def test_is_lifted_only_where_it_stands(self, three: World) -> None:
        """Lifting nothing is refused."""
        with pytest.raises(Refused, match="staging is not held"):
            lift_hold(three.registry, SYSTEM, "staging", reason="x", actor=ON_CALL)
