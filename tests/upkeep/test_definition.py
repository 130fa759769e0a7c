"""The definition page: what a version is, and what let it in."""

from __future__ import annotations

from builders import add_suite, add_version, make_live, settle, take
from lockgate.domain.policy import Environment, Policy
from lockgate.storage.registry import Registry
from lockgate.upkeep.definition import definition_page, described

SYSTEM = "support-desk"
POLICY = Policy({name: Environment(name, "low") for name in ("staging", "production")})


def test_before_anything_is_live_it_tells_of_the_newest_release(registry: Registry) -> None:
    """A version that is registered and no more has a page that claims no more."""
    add_suite(registry)
    first = add_version(registry)
    add_version(registry, "an experiment", parent=first, track="experiment")
    told = described(registry, SYSTEM, POLICY)
    assert (told.version, told.environments, told.decision) == (first, (), None)
    page = definition_page(told)
    assert "## v1, not live anywhere" in page
    assert "Nothing is live yet, so nothing approved it" in page


def test_it_tells_of_what_is_live_nearest_to_users(registry: Registry) -> None:
    """Each component stands there with settings, files and the digest of the lock file."""
    version, deployment = make_live(registry)
    add_version(registry, "newer", parent=version)
    told = described(registry, SYSTEM, POLICY)
    assert told.version is not None
    assert (told.version.label, told.environments) == ("v1", ("production",))
    assert told.decision is not None
    assert told.decision.id == deployment.attempt.decision
    digests = registry.versions.definition(version.definition).component_digests
    assert {part.name: part.digest for part in told.parts} == digests
    page = definition_page(told)
    assert "| prompt | - | 1 file<br>`prompts/system.md` | `" in page
    assert "| generation | `temperature = 0` | - | `" in page


def test_what_a_rollback_went_back_to_keeps_its_decision(registry: Registry) -> None:
    """The eval result that once let it in is the one that is told."""
    first, deployment = make_live(registry)
    make_live(registry, "two", parent=first)
    settle(registry, take(registry, first, kind="rollback", reason="worse"))
    told = described(registry, SYSTEM, POLICY)
    assert told.decision is not None
    assert (told.version, told.generation) == (first, 1)
    assert told.decision.id == deployment.attempt.decision


def test_ungated_is_said_in_bold(registry: Registry) -> None:
    """No page makes it look as if a gate had let something in that came past it."""
    first, _ = make_live(registry)
    second = add_version(registry, "two", parent=first)
    settle(registry, take(registry, second, kind="break_glass", ticket="INC-7", reason="down"))
    told = described(registry, SYSTEM, POLICY)
    assert (told.version, told.is_ungated, told.decision) == (second, True, None)
    assert "**What is live is ungated: somebody broke the glass" in definition_page(told)


def test_a_definition_that_cannot_be_read_is_told_as_damaged(registry: Registry) -> None:
    """The rest of the page stands where one record is broken."""
    make_live(registry)
    told = described(registry, SYSTEM, POLICY)
    from dataclasses import replace

    page = definition_page(replace(told, parts=(), damage="`x` has another digest"))
    assert "**Its definition cannot be read: \\`x\\` has another digest.**" in page
    assert "## The eval result that approved it" in page
