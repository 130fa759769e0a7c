"""Note: a word about a deployment, which belongs to one generation and stays."""

from __future__ import annotations

import pytest

from lockgate.domain.upkeep import Note
from lockgate.errors import UsageMistake
from lockgate.upkeep.note import note
from lockgate.upkeep.words import MAX_CHARACTERS
from tests.loop.world import PRODUCTION, STAGING, SYSTEM, World

ON_CALL = "on-call"


@pytest.fixture
def two(world: World) -> World:
    """v1 live in staging and production, v2 in staging alone."""
    world.apply_policy(PRODUCTION)
    world.make_live(14, ("staging", "production"))
    world.make_live(15)
    return world


def noted(world: World, generation: int, text: str = "seen", **how: str) -> Note:
    """Note something."""
    return note(world.registry, SYSTEM, generation, text=text, actor=ON_CALL, **how)


def test_it_takes_the_one_environment_that_has_the_generation(two: World) -> None:
    """Only staging has a second one."""
    record = noted(two, 2, "  answers were slow\n")
    assert (record.environment, record.generation, record.text) == (
        "staging",
        2,
        "answers were slow",
    )
    assert record.actor == ON_CALL and record.seq == two.head()
    assert two.registry.upkeep.notes(SYSTEM, "staging", 2) == [record]


def test_of_several_it_guesses_none(two: World) -> None:
    """Both have a first one: refused, with both, and a hint that works."""
    before = two.head()
    with pytest.raises(UsageMistake) as refused:
        noted(two, 1)
    assert refused.value.what == "generation 1 of support-desk is one of several environments"
    assert refused.value.problems == (
        "production: promote of v1 by ci",
        "staging: promote of v1 by ci",
    )
    assert refused.value.hint == (
        "say which: `lockgate note 1 -s support-desk -e production -m TEXT`"
    )
    assert two.head() == before
    assert noted(two, 1, environment="production").environment == "production"


@pytest.mark.parametrize(
    ("generation", "environment", "what", "hint"),
    [
        (
            9,
            None,
            "there is no generation 9 of support-desk",
            "production up to 1, staging up to 2",
        ),
        (2, "production", "there is no generation 2 of production", "production up to 1"),
        (0, "staging", "there is no generation 0 of staging", "staging up to 2"),
        (1, "moon", "nothing of support-desk was ever promoted to `moon`", "production, staging"),
    ],
)
def test_of_nothing_it_is_refused(
    two: World, generation: int, environment: str | None, what: str, hint: str
) -> None:
    """What is there is told."""
    with pytest.raises(UsageMistake, match=what) as refused:
        note(two.registry, SYSTEM, generation, text="x", actor=ON_CALL, environment=environment)
    assert hint in refused.value.hint


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u2060"])
def test_an_empty_one_is_refused(two: World, text: str) -> None:
    """A note that says nothing is none; neither is one that only looks like nothing."""
    with pytest.raises(UsageMistake, match="a note is needed"):
        noted(two, 2, text)


def test_a_huge_one_is_refused(two: World) -> None:
    """What is longer belongs elsewhere; up to the limit it is kept whole."""
    with pytest.raises(UsageMistake, match=f"at most {MAX_CHARACTERS} characters") as refused:
        noted(two, 2, "x" * (MAX_CHARACTERS + 1))
    assert refused.value.hint == "keep the long version in a document, and name that here"
    assert noted(two, 2, "x" * MAX_CHARACTERS).text == "x" * MAX_CHARACTERS


def test_several_stay_in_their_order(world: World) -> None:
    """A second one does not change the first."""
    world.apply_policy(STAGING)
    world.make_live(15)
    noted(world, 1, "first")
    noted(world, 1, "second")
    assert [one.text for one in world.registry.upkeep.notes(SYSTEM, "staging", 1)] == [
        "first",
        "second",
    ]
