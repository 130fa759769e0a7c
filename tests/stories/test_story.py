"""The shipped story is played through the real loop, and happens as it is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.domain.release import Decision
from lockgate.errors import Refused, WaitingForPerson
from lockgate.loop.promote import Promoted
from lockgate.ports import Registry
from lockgate.story.replay import Event, Stage
from lockgate.story.sample import copy_sample
from lockgate.story.script import read_script

pytestmark = pytest.mark.slow


@dataclass
class Played:
    """A story that was played: what happened, and the registry it left."""

    root: Path
    registry: Registry
    events: list[Event]
    had_keys: bool


def play(root: Path) -> Played:
    """Copy the sample and play its story."""
    had_keys = copy_sample(root)
    registry = wiring.create_registry(root, actor="ml-lead")
    return Played(root, registry, list(Stage(root, registry).play()), had_keys)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The story, played once for all tests of this file."""
    done = play(tmp_path_factory.mktemp("story") / "one")
    yield done
    done.registry.close()


@pytest.fixture(scope="module")
def played_again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The same story once more, somewhere else."""
    done = play(tmp_path_factory.mktemp("story") / "two")
    yield done
    done.registry.close()


def came_to(event: Event) -> str | None:
    """Say in the script's words how a step ended; `None` for a step that just went well."""
    if isinstance(event.result, WaitingForPerson):
        return "waiting"
    if isinstance(event.result, Refused):
        return "refused"
    if isinstance(event.result, Decision):
        return event.result.outcome
    if isinstance(event.result, Promoted):
        return "live" if event.result.is_new else "live already"
    return None if event.kind != "refused" else type(event.result).__name__


def test_every_step_ends_as_the_script_says(played: Played) -> None:
    """Pass, fail, live, refused, waiting: each is what really happened."""
    wrong = [
        f"{event.scene} {event.command}: {came_to(event)} instead of {event.expect}: {event.result}"
        for event in played.events
        if event.expect is not None and came_to(event) != event.expect
    ]
    assert wrong == []


def test_nothing_is_refused_that_the_script_does_not_expect(played: Played) -> None:
    """Steps without an expectation go well."""
    wrong = [
        f"{event.scene} {event.command}: {event.result}"
        for event in played.events
        if event.expect is None and came_to(event) not in (None, "pass")
    ]
    assert wrong == []


def test_every_step_of_the_script_happened(played: Played) -> None:
    """No scene is left out, and each step is told with the command one would type."""
    scenes = read_script(played.root)
    commands = [event for event in played.events if event.command]
    assert len(commands) == sum(len(scene.steps) for scene in scenes)
    assert [event.title for event in commands if event.kind == "register"]
    assert {event.scene for event in played.events} == set(range(1, len(scenes) + 1))


def test_the_story_shows_every_way_a_step_can_end(played: Played) -> None:
    """A story in which nothing is refused teaches nothing."""
    endings = {came_to(event) for event in played.events}
    assert {"pass", "fail", "live", "refused", "waiting"} <= endings


def test_what_is_live_at_the_end_is_what_was_promoted_last(played: Played) -> None:
    """The registry agrees with what was told."""
    told: dict[tuple[str, str], str] = {}
    for event in played.events:
        if isinstance(event.result, Promoted):
            told[event.result.version.system, event.result.environment] = event.result.version.id
    live = {
        (system, environment): version
        for system in played.registry.versions.systems()
        for version, environments in played.registry.releases.where_live(system).items()
        for environment in environments
    }
    assert live == told
    assert len(told) == 4


def test_reviewers_in_the_story_sign_with_keys(played: Played) -> None:
    """No approval is only claimed where this machine has ssh-keygen."""
    approvals = [event.result for event in played.events if event.kind == "approve"]
    assert len(approvals) >= 6
    assert played.had_keys == (shutil.which("ssh-keygen") is not None)
    assert {approval.key is not None for approval in approvals} == {played.had_keys}


def test_every_figure_comes_from_a_completed_run(played: Played) -> None:
    """Nothing in the story was recorded by hand: each run has all its answers."""
    for system in played.registry.versions.systems():
        for version in played.registry.versions.page(system, limit=50):
            for record in played.registry.runs.of_version(version.id):
                assert record.is_completed
                assert record.end is not None
                suite = played.registry.applied.suite(record.run.suite)
                assert record.end.answers == len(suite.cases) * record.run.repeats
                assert record.end.errors == 0


def scores_of(played: Played) -> dict[Any, Any]:
    """Return every answer's output and scores: system, version, suite, case and repeat."""
    found = {}
    for system in played.registry.versions.systems():
        for version in played.registry.versions.page(system, limit=50):
            for record in played.registry.runs.of_version(version.id):
                for answer in played.registry.runs.answers(record.run.id):
                    key = (system, version.label, record.run.suite, answer.case, answer.repeat)
                    found[key] = (answer.output, answer.scores)
    return found


def decisions_of(played: Played) -> list[Any]:
    """Return what the gate said each time, without times, ids and latencies."""
    return [
        (
            event.scene,
            event.label,
            event.result.environment,
            event.result.outcome,
            event.result.promotable,
            event.result.approvals_needed,
            [
                (finding.rule, finding.outcome, finding.reason)
                for finding in event.result.findings
                if not finding.rule.endswith("_ms")
            ],
        )
        for event in played.events
        if isinstance(event.result, Decision)
    ]


def test_played_again_every_score_is_the_same(played: Played, played_again: Played) -> None:
    """The same definitions give the same answers, case by case."""
    first, second = scores_of(played), scores_of(played_again)
    assert len(first) > 5_000
    assert first.keys() == second.keys()
    differing = [key for key, answer in first.items() if second[key] != answer]
    assert differing == []


def test_played_again_every_decision_is_the_same(played: Played, played_again: Played) -> None:
    """The gate says the same, with the same numbers, in the same order."""
    assert decisions_of(played) == decisions_of(played_again)
    assert len(decisions_of(played)) > 15


def test_played_again_every_version_has_the_same_id(played: Played, played_again: Played) -> None:
    """A version's id depends on nothing but what it is and where it comes from."""
    ids = [
        {
            (version.system, version.label): version.id
            for system in one.registry.versions.systems()
            for version in one.registry.versions.page(system, limit=50)
        }
        for one in (played, played_again)
    ]
    assert ids[0] == ids[1]
