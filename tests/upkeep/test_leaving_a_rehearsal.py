"""A rollback while a rehearsal is live: back to what it took the place of, and nowhere by accident."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lockgate import wiring
from lockgate.domain.version import Version
from lockgate.errors import LockgateError, Refused
from lockgate.upkeep.offline import find_offline
from lockgate.upkeep.restore import restore, unfinished
from lockgate.upkeep.rollback import WayBack, find_way_back, roll_back
from tests.loop.world import SYSTEM, World
from tests.upkeep.test_rehearse import (
    ON_CALL,
    desk,  # noqa: F401 - a fixture
    go_live,
    is_as_before,
    rehearsing,
    target,
    until,
)
from tests.upkeep.test_rollback import damage


@pytest.fixture
def rehearsed(desk: World) -> Iterator[World]:  # noqa: F811 - the fixture
    """r1 is live in the place of v3; v1 and v2 were live before."""
    go_live(desk, 17, prompt="Sort with care.\n")
    steps = rehearsing(desk)
    until(steps, "deployed", "published")
    yield desk
    with suppress(LockgateError):  # it was overtaken, or cannot be put back
        steps.close()


def version(world: World, label: str) -> Version:
    """Return a version by its label."""
    return world.registry.versions.named(SYSTEM, label)


def back(world: World, to: str | None = None) -> WayBack:
    """Roll back, to what is named or to where the rules say."""
    found = find_way_back(world.registry, SYSTEM, "staging", to=version(world, to) if to else None)
    deque(roll_back(world.registry, found, actor=ON_CALL, target=target(world)), maxlen=0)
    return found


def stops(world: World) -> tuple[list[str], int]:
    """Return the ids that are quarantined, and how many holds stand."""
    releases = world.registry.releases
    quarantined = [one.version for one in releases.quarantines(SYSTEM)]
    return quarantined, len(releases.holds(SYSTEM, "staging"))


@pytest.mark.parametrize("to", [None, "v3"])
def test_is_a_revert_to_what_it_took_the_place_of(rehearsed: World, to: str | None) -> None:
    """Named or not: nothing is quarantined or held."""
    assert back(rehearsed, to).kind == "revert"
    assert is_as_before(rehearsed, "v3")


@pytest.mark.parametrize("to", ["v1", "v2"])
def test_to_another_one_is_refused(rehearsed: World, to: str) -> None:
    """v3 would be left without a record: it is put back first, and the hint does that."""
    with pytest.raises(Refused, match="a rehearsal is live in staging, in the place of v3") as told:
        find_way_back(rehearsed.registry, SYSTEM, "staging", to=version(rehearsed, to))
    assert told.value.hint == f"take it back first: `lockgate rollback staging -s {SYSTEM}`"
    back(rehearsed)
    assert back(rehearsed, to).kind == "rollback"
    assert stops(rehearsed) == ([version(rehearsed, "v3").id], 1)


def test_never_goes_past_what_is_damaged(rehearsed: World) -> None:
    """What cannot be put back is not left in silence; the copy that is published is left."""
    files = rehearsed.registry.versions.definition(version(rehearsed, "v3").definition).files()
    damage(rehearsed, files["prompts/system.md"], unless="v3")
    with pytest.raises(Refused, match="v3 cannot be put back in staging") as told:
        find_way_back(rehearsed.registry, SYSTEM, "staging")
    assert "v3: it is not intact: prompts/system.md" in told.value.problems[0]
    assert f"`lockgate rollback staging -s {SYSTEM} --offline`" in told.value.hint
    place = wiring.target(rehearsed.root, SYSTEM, rehearsed.policy.environment("staging"))
    assert find_offline(place, SYSTEM, "staging").to.label == "v3"


def test_says_why_and_by_which_incident(rehearsed: World) -> None:
    """The revert keeps both."""
    found = unfinished(rehearsed.registry, SYSTEM, "staging", target(rehearsed))
    assert found is not None
    ended = restore(
        rehearsed.registry,
        found,
        target(rehearsed),
        actor=ON_CALL,
        forced=True,
        reason="customers see it",
        incident="INC-9",
    )
    deque(ended, maxlen=0)
    live = rehearsed.registry.releases.live(SYSTEM, "staging")
    assert live is not None
    assert (live.attempt.kind, live.attempt.reason, live.attempt.ticket) == (
        "revert",
        "customers see it",
        "INC-9",
    )
