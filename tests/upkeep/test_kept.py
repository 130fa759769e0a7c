"""The way back that is kept beside what is live is the right one, or there is none."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest

from lockgate import wiring
from lockgate.deploy.target import EnvironmentTarget
from lockgate.domain.receipt import Receipt
from lockgate.domain.release import Finding, Quarantine
from lockgate.domain.version import Version
from lockgate.errors import Refused, RegistryTrouble
from lockgate.upkeep.hold import lift_hold
from lockgate.upkeep.offline import find_offline, roll_back_offline
from lockgate.upkeep.reconcile import reconcile
from lockgate.upkeep.review import Reviewed, review
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle
from tests.loop.world import LEAD, SYSTEM, World
from tests.upkeep.test_rehearse import ON_CALL, REHEARSED, desk, go_live, rehearsed  # noqa: F401

BOTH = REHEARSED.replace(
    '[environments.production]\nstakes = "low"',
    '[environments.production]\nstakes = "low"\npublish = "published/production"',
)


def target(world: World, environment: str) -> EnvironmentTarget:
    return wiring.target(world.root, SYSTEM, world.policy.environment(environment))


def named(world: World, label: str) -> Version:
    return world.registry.versions.named(SYSTEM, label)


def promote(world: World, version: Version, environment: str = "staging") -> None:
    decision = world.decide(version, environment)
    world.promote(version, environment, decision, target=target(world, environment))


def kept(world: World, environment: str = "staging") -> str | None:
    """Return the label of the way back that is kept there."""
    found = target(world, environment).way_back(SYSTEM)
    return found.label if found else None


def go_back(world: World, environment: str = "staging") -> None:
    found = find_way_back(world.registry, SYSTEM, environment)
    place = target(world, environment)
    deque(roll_back(world.registry, found, actor=ON_CALL, target=place), maxlen=0)


def go_back_offline(world: World, environment: str = "staging") -> Receipt:
    place = target(world, environment)
    found = find_offline(place, SYSTEM, environment)
    deque(roll_back_offline(place, found, actor=ON_CALL, now=datetime.now(UTC)), maxlen=0)
    receipt = place.current(SYSTEM)
    assert receipt is not None
    return receipt


def settled(world: World, environment: str = "staging") -> Settled:
    place = target(world, environment)
    *_, last = settle(world.registry, SYSTEM, environment, place, actor="lead")
    assert isinstance(last, Settled)
    return last


def quarantine(world: World, label: str) -> None:
    version = named(world, label)
    with world.registry.write() as writing:
        writing.append(Quarantine(SYSTEM, version.definition, version.id, "it leaks", "lead"))


@pytest.fixture
def both(desk: World) -> World:  # noqa: F811
    """v2 is live in staging; in production v3 is, over v2, over v1. Both publish."""
    desk.apply_policy(BOTH)
    for label in ("v1", "v2"):
        promote(desk, named(desk, label), "production")
    promote(desk, desk.evaluated(17, temperature=0), "production")
    assert kept(desk, "production") == "v2"
    return desk


class TestWhatIsQuarantinedElsewhere:
    """A rollback quarantines what it leaves for every environment."""

    def test_a_rollback_takes_it_away_everywhere(self, both: World) -> None:
        """Production goes back to v1 from now on, with and without the registry."""
        go_back(both)
        assert kept(both, "production") == "v1"
        assert find_way_back(both.registry, SYSTEM, "production").to.label == "v1"
        assert go_back_offline(both, "production").label == "v1"
        assert settled(both, "production").outcome == "recorded"

    def test_so_does_a_rollback_that_is_recorded_later(self, both: World) -> None:
        """Once `settle` knows of it."""
        go_back_offline(both)
        assert kept(both, "production") == "v2"
        reconcile(both.registry, target(both, "staging"), SYSTEM, "staging", actor="lead")
        assert kept(both, "production") == "v1"

    def test_where_nothing_else_is_left_none_is_kept(self, both: World) -> None:
        """A way back that must not be taken is worse than none."""
        quarantine(both, "v1")
        quarantine(both, "v2")
        assert settled(both, "production").outcome == "repaired"
        assert kept(both, "production") is None

    def test_what_cannot_be_written_fails_no_rollback(
        self, both: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`review` tells of it, and `settle` of that environment puts it right."""

        def refuse(*_: Any) -> None:
            raise RegistryTrouble("the disk is full", hint="make room")

        real = EnvironmentTarget.publish
        monkeypatch.setattr(
            EnvironmentTarget,
            "publish",
            lambda self, receipt, way_back: (
                refuse() if receipt.environment == "production" else real(self, receipt, way_back)
            ),
        )
        go_back(both)
        monkeypatch.undo()
        assert kept(both, "production") == "v2"
        found = way_back_finding(both, "production")
        assert found.outcome == "fail"
        assert found.reason == "it leads to v2, which is quarantined"
        assert found.hint == "`lockgate settle production -s support-desk`"
        assert settled(both, "production").words == "its way back was not the right one"
        assert kept(both, "production") == "v1"
        assert way_back_finding(both, "production").outcome == "pass"

    def test_beside_what_a_rehearsal_put_back(self, both: World) -> None:
        """`settle` puts that right as well."""
        rehearsed(both)
        assert kept(both) == "v1"
        quarantine(both, "v1")
        settled(both)
        assert kept(both) is None


def way_back_finding(world: World, environment: str) -> Finding:
    """Return what a review says of the kept way back."""
    around = wiring.surroundings(world.root, world.registry, SYSTEM, world.policy, None)
    *_, last = review(world.registry, SYSTEM, world.policy, around, actor=LEAD)
    assert isinstance(last, Reviewed)
    rule = f"way-back receipt {environment}"
    return next(one for one in last.review.findings if one.rule == rule)


class TestAfterARehearsal:
    """Taking a rehearsal back is no rollback."""

    def test_one_goes_back_without_the_registry(self, desk: World) -> None:  # noqa: F811
        """To the way back that was kept all the time; it is recorded like any other."""
        rehearsed(desk)
        back = go_back_offline(desk)
        assert (back.label, back.kind) == ("v1", "rollback")
        assert settled(desk).outcome == "recorded"
        assert [desk.registry.versions.get(one.version) for one in quarantines(desk)] == [
            named(desk, "v2")
        ]

    def test_but_not_twice(self, desk: World) -> None:  # noqa: F811
        """After that it was rolled back, and it is said so."""
        rehearsed(desk)
        go_back_offline(desk)
        with pytest.raises(Refused, match="staging was rolled back already, to v1"):
            go_back_offline(desk)


def quarantines(world: World) -> list[Quarantine]:
    return list(world.registry.releases.quarantines(SYSTEM))


class TestTheSameDefinition:
    """Two versions may be one definition."""

    def test_is_never_its_own_way_back(self, desk: World) -> None:  # noqa: F811
        """v4 is what v2 was: the way back from it is v1, and `settle` agrees."""
        desk.evaluated(17, temperature=0)
        again = desk.evaluated(16, temperature=0)
        assert again.definition == named(desk, "v2").definition
        promote(desk, again)
        assert kept(desk) == "v1"
        assert settled(desk).outcome == "nothing"
        assert go_back_offline(desk).label == "v1"


def test_lifting_brings_no_way_back_by_itself(both: World) -> None:
    """What was written stays until the next promotion or `settle`."""
    go_back(both)
    lift_hold(both.registry, SYSTEM, "staging", reason="mended", actor="lead")
    assert kept(both, "production") == "v1"
    go_live(both, 18)
    assert kept(both) == "v1"
