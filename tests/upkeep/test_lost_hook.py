"""A hook whose end nobody saw: what it means is never guessed, and a person who looked decides."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from lockgate import wiring
from lockgate.deploy.target import EnvironmentTarget
from lockgate.domain.release import Settlement
from lockgate.errors import Busy, Inconclusive, Refused, UsageMistake
from lockgate.loop.deployment import DeployEvent, lease_of
from lockgate.upkeep.settle import Settled, settle, settle_as
from tests.loop.world import SYSTEM, World
from tests.upkeep.test_rehearse import HOOKED as REHEARSED_HOOKED
from tests.upkeep.test_rehearse import (
    desk,  # noqa: F401 - a fixture
    is_as_before,
    rehearsing,
    somebody_elses,
    until,
)
from tests.upkeep.test_rollback import (
    HOOKED,
    back,
    promoting,
    runners_of,
    script,
    wait_for_hook,
)

AS_LIVE = f"`lockgate settle staging -s {SYSTEM} --as live -m REASON`"
AS_FAILED = f"`lockgate settle staging -s {SYSTEM} --as failed -m REASON`"
ROLLBACK = f"`lockgate rollback staging -s {SYSTEM}`"
LOOKED = "/version says so on all three"
KILLS_ITS_RUNNER = "echo begun; while [ ! -e go ]; do sleep 0.01; done; kill -9 $PPID; exit 0"


def target(world: World) -> EnvironmentTarget:
    """Return where staging's versions go."""
    return wiring.target(world.root, SYSTEM, world.policy.environment("staging"))


@pytest.fixture
def first(world: World) -> World:
    """Give a staging with a hook, where nothing is live yet."""
    wiring.make_host_key(world.root)
    script(world, "deploy.sh", 'echo "generation $LOCKGATE_GENERATION"')
    world.apply_policy(HOOKED)
    return world


@pytest.fixture
def hooked(first: World) -> World:
    """Give a staging with a hook, where v1 is live."""
    go_live(first, 15)
    return first


def go_live(world: World, right: int) -> None:
    """Take a version through the loop."""
    version = world.evaluated(right)
    world.promote(version, "staging", world.decide(version), target=target(world))


def lose(world: World, right: int = 16) -> None:
    """Kill the runner of a promotion's hook, and the hook, after the promotion was cut off."""
    script(world, "deploy.sh", "echo begun; exec sleep 30")
    version = world.evaluated(right)
    wait_for_hook(world, promoting(world, version, world.decide(version)))
    newest = world.registry.releases.newest(SYSTEM, "staging")
    assert newest is not None
    status = target(world).hook_status(SYSTEM, newest.attempt.generation)
    assert status.pid is not None
    for pid in runners_of(status.pid):
        os.kill(pid, signal.SIGKILL)
    os.killpg(os.getpgid(status.pid), signal.SIGKILL)
    while target(world).hook_status(SYSTEM, newest.attempt.generation).state == "running":
        pass
    script(world, "deploy.sh", 'echo "generation $LOCKGATE_GENERATION"')


def watched(world: World, events: Iterator[DeployEvent]) -> None:
    """Watch a promotion whose hook goes on once it was heard of."""
    for event in events:
        if event.kind == "hook":
            (world.root / "go").touch()


def last(walk: Iterator[DeployEvent | Settled]) -> Settled:
    """Walk to what was found."""
    found = [*walk][-1]
    assert isinstance(found, Settled)
    return found


def settled(world: World) -> Settled:
    """Find out by machine alone."""
    return last(settle(world.registry, SYSTEM, "staging", target(world), actor="lead"))


def looked(world: World, outcome: str, reason: str = LOOKED) -> Settled:
    """Settle as somebody saw the instances."""
    return last(
        settle_as(
            world.registry,
            SYSTEM,
            "staging",
            target(world),
            outcome=outcome,
            reason=reason,
            actor="lead",
        )
    )


def history(world: World) -> list[tuple[int, str, str | None]]:
    """Return generation, kind and outcome of every attempt, oldest first."""
    rows = world.registry.releases.deployments(SYSTEM, "staging")
    return [(r.attempt.generation, r.attempt.kind, r.outcome) for r in reversed(rows)]


def reason_of(world: World, generation: int) -> str | None:
    """Return what the settlement of a generation says."""
    from datetime import timedelta

    since = world.registry.now() - timedelta(days=365)
    (found,) = [
        record
        for record in world.registry.upkeep.since(since)
        if isinstance(record, Settlement) and record.generation == generation
    ]
    return found.reason


class TestUnknown:
    """Neither well nor failed: the attempt stays open, and the message says what each word means."""

    def test_names_every_way_to_certainty(self, hooked: World) -> None:
        """Which version each command stands for, and that a rollback leaves more."""
        lose(hooked)
        with pytest.raises(Inconclusive, match="may run v2, or still run v1") as caught:
            settled(hooked)
        assert caught.value.hint == (
            f"look at the instances; if they run v2: {AS_LIVE}; if they still run v1: {AS_FAILED}; "
            f"{ROLLBACK} gives generation 2 up and leaves v1 as well"
        )
        assert history(hooked)[-1] == (2, "promote", None)

    def test_of_the_first_release_names_no_rollback(self, first: World) -> None:
        """There is nothing to go back to."""
        lose_first(first)
        with pytest.raises(Inconclusive, match="may run v1, or run nothing, as before") as caught:
            settled(first)
        assert AS_LIVE in caught.value.hint and AS_FAILED in caught.value.hint
        assert "rollback" not in caught.value.hint

    def test_is_what_a_promotion_says_that_watched(self, hooked: World) -> None:
        """The runner is killed while we look: nothing is settled, in the words `settle` uses."""
        script(hooked, "deploy.sh", KILLS_ITS_RUNNER)
        version = hooked.evaluated(16)
        with pytest.raises(Inconclusive) as caught:
            watched(hooked, promoting(hooked, version, hooked.decide(version)))
        assert history(hooked)[-1] == (2, "promote", None)
        with pytest.raises(Inconclusive) as again:
            settled(hooked)
        assert str(again.value) == str(caught.value)
        current = target(hooked).current(SYSTEM)
        assert current is not None and current.label == "v1"

    def test_is_what_a_promotion_says_whose_hook_was_faster_than_its_runner(
        self, hooked: World
    ) -> None:
        """The runner is gone before it could say that the hook was started: it was."""
        script(hooked, "deploy.sh", "kill -9 $PPID; exit 0")
        version = hooked.evaluated(16)
        with pytest.raises(Inconclusive, match="may run v2, or still run v1"):
            hooked.promote(version, "staging", hooked.decide(version), target=target(hooked))

    def test_is_decided_by_the_instances_where_they_can_be_asked(self, hooked: World) -> None:
        """All report it, so it is live; nobody has to look."""
        hooked.apply_policy(
            HOOKED.replace("deploy_timeout", 'observe = ["./observe.sh"]\ndeploy_timeout')
        )
        lose(hooked)
        script(hooked, "observe.sh", 'echo "web-1 unknown"')
        with pytest.raises(Inconclusive) as caught:
            settled(hooked)
        assert f"or have `lockgate settle staging -s {SYSTEM}` ask them" in caught.value.hint
        v2 = hooked.registry.versions.named(SYSTEM, "v2")
        script(hooked, "observe.sh", f'echo "web-1 {v2.id}"')
        with pytest.raises(Refused, match="settled `live` without it: its hook was cut off"):
            looked(hooked, "failed")
        assert settled(hooked).outcome == "live"


def lose_first(world: World) -> None:
    """Lose the hook of the first promotion there is."""
    from lockgate.domain.release import Attempt
    from lockgate.loop.deployment import carry_out, origin_records

    script(world, "deploy.sh", KILLS_ITS_RUNNER)
    version = world.evaluated(15)
    decision = world.decide(version)
    place = target(world)
    digest = place.hook_digest()
    attempt = Attempt(
        SYSTEM, "staging", 1, "promote", version.id, decision.id, digest, None, None, "ci"
    )
    origin = origin_records(SYSTEM, "staging", "ci")
    with pytest.raises(Inconclusive):
        watched(world, carry_out(world.registry, place, attempt, version, actor="ci", first=origin))


class TestRehearsing:
    """What a rehearsal loses sight of is taken back at once: nobody has to look."""

    def lost(self, world: World, generation: int) -> str:
        """Rehearse with a hook that kills its runner at a generation; return what is said."""
        script(world, "deploy.sh", f"[ $LOCKGATE_GENERATION = {generation} ] && kill -9 $PPID; :")
        world.apply_policy(REHEARSED_HOOKED)
        with pytest.raises(Inconclusive, match="the rehearsal broke off: unknown") as caught:
            list(rehearsing(world))
        assert is_as_before(world)
        assert "--operator NAME" in caught.value.hint
        assert "--as live" not in caught.value.hint
        return caught.value.what

    def test_of_the_worse_version(self, desk: World) -> None:  # noqa: F811 - the fixture
        """The attempt is abandoned and what was live is deployed again."""
        assert self.lost(desk, 3).endswith("v2 is live in staging again, verified")
        assert history(desk)[2:] == [(3, "rehearsal", "abandoned"), (4, "revert", "live")]

    def test_of_the_revert(self, desk: World) -> None:  # noqa: F811 - the fixture
        """It is deployed once more."""
        self.lost(desk, 4)
        assert history(desk)[3:] == [(4, "revert", "abandoned"), (5, "revert", "live")]

    def test_is_no_matter_for_anybodys_word(self, desk: World) -> None:  # noqa: F811 - the fixture
        """`settle` takes it back."""
        steps = rehearsing(desk)
        until(steps, "deployed", "taken")
        with pytest.raises(Refused, match="generation 3 is of a rehearsal, which is taken back"):
            looked(desk, "live")
        steps.close()


class TestSomebodyLooked:
    """The word of a person settles it, with their name and what they saw."""

    def test_live_publishes(self, hooked: World) -> None:
        """The version of the attempt is live, with v1 as the way back."""
        lose(hooked)
        found = looked(hooked, "live")
        assert (found.generation, found.label, found.outcome) == (2, "v2", "live")
        assert found.words == reason_of(hooked, 2) == f"lead looked: {LOOKED}"
        current, kept = target(hooked).current(SYSTEM), target(hooked).way_back(SYSTEM)
        assert current is not None and (current.label, current.generation) == ("v2", 2)
        assert kept is not None and kept.label == "v1"
        assert settled(hooked).outcome == "nothing"
        assert back(hooked).to.label == "v1"

    def test_failed_leaves_what_was_live(self, hooked: World) -> None:
        """Nothing is published, and the environment takes the next promotion."""
        lose(hooked)
        found = looked(hooked, "failed")
        assert (found.generation, found.outcome) == (2, "failed")
        assert reason_of(hooked, 2) == f"lead looked: {LOOKED}"
        current = target(hooked).current(SYSTEM)
        assert current is not None and current.label == "v1"
        assert target(hooked).staged(SYSTEM) is None
        go_live(hooked, 17)
        assert history(hooked)[-1] == (3, "promote", "live")

    @pytest.mark.parametrize("outcome", ["live", "failed"])
    def test_frees_an_environment_whose_first_release_was_lost(
        self, first: World, outcome: str
    ) -> None:
        """No rollback leads out of that, and no promotion: this does."""
        lose_first(first)
        with pytest.raises(Refused, match="nothing is live in staging"):
            back(first)
        looked(first, outcome)
        script(first, "deploy.sh", "exit 0")
        go_live(first, 17)
        assert history(first)[-1] == (2, "promote", "live")


class TestNobodysWordIsNeeded:
    """It is refused wherever it can be found out, with what `settle` would do; nothing changes."""

    def refused(self, world: World, words: str) -> None:
        """Both words are refused, and the hint finds out."""
        before = history(world)
        for outcome in ("live", "failed"):
            with pytest.raises(Refused, match=words) as caught:
                looked(world, outcome)
            assert caught.value.hint == f"`lockgate settle staging -s {SYSTEM}`"
        assert history(world) == before

    def test_when_nothing_is_open(self, hooked: World) -> None:
        """All is settled."""
        self.refused(hooked, "nobody's word is needed in staging: nothing is open there")

    def test_when_nothing_was_ever_promoted(self, first: World) -> None:
        """There is no attempt at all."""
        with pytest.raises(Refused, match="nothing is open there"):
            looked(first, "live")

    @pytest.mark.parametrize(
        ("hook", "words"),
        [
            ("echo begun", "settled `live` without it: its hook ended with exit code 0"),
            ("echo begun; exit 3", "settled `failed` without it: its hook ended with exit code 3"),
        ],
    )
    def test_when_the_hooks_end_was_seen(self, hooked: World, hook: str, words: str) -> None:
        """Its exit code says more than anybody's eyes."""
        script(hooked, "deploy.sh", hook)
        version = hooked.evaluated(16)
        wait_for_hook(hooked, promoting(hooked, version, hooked.decide(version)))
        list(target(hooked).follow_hook(SYSTEM, 2))
        self.refused(hooked, words)

    def test_while_the_hook_runs(self, hooked: World) -> None:
        """It is followed to its end by `settle`."""
        script(hooked, "deploy.sh", "echo begun; exec sleep 30")
        version = hooked.evaluated(16)
        wait_for_hook(hooked, promoting(hooked, version, hooked.decide(version)))
        self.refused(hooked, "the hook of generation 2 still runs")
        target(hooked).stop_hook(SYSTEM, 2)

    def test_when_no_hook_was_started(self, hooked: World) -> None:
        """Nothing was touched: it is abandoned."""
        version = hooked.evaluated(16)
        events = promoting(hooked, version, hooked.decide(version))
        next(events)
        events.close()
        self.refused(hooked, "settled `abandoned` without it: it was cut off before its hook")

    def test_while_the_process_lives(self, hooked: World) -> None:
        """Whoever is at work will see the end."""
        lose(hooked)
        with hooked.registry.write() as writing:
            writing.take_lease(lease_of(SYSTEM, "staging", 2), "ci")
        somebody_elses(hooked)
        with pytest.raises(Busy, match="is being worked on by ci"):
            looked(hooked, "live")

    @pytest.mark.parametrize("reason", ["", " \n"])
    def test_without_a_reason(self, hooked: World, reason: str) -> None:
        """Somebody will ask what was looked at."""
        lose(hooked)
        with pytest.raises(UsageMistake, match="a reason is needed") as caught:
            looked(hooked, "live", reason)
        assert caught.value.hint == "say why: -m REASON"
        assert history(hooked)[-1] == (2, "promote", None)
