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
from lockgate.story.around import RolledBack
from lockgate.story.replay import Event, Stage
from lockgate.story.sample import copy_sample
from lockgate.story.script import read_script
from lockgate.upkeep.rehearse import Rehearsed
from lockgate.upkeep.review import Reviewed

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
    if isinstance(event.result, Rehearsed):
        return event.result.record.outcome
    if isinstance(event.result, Reviewed):
        return event.result.review.outcome
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


def test_what_is_live_at_the_end_is_what_was_told_last(played: Played) -> None:
    """The registry agrees with what was told."""
    told: dict[tuple[str, str], str] = {}
    for event in played.events:
        if isinstance(event.result, Promoted):
            told[event.result.version.system, event.result.environment] = event.result.version.id
        elif isinstance(event.result, RolledBack):
            back = event.result.way_back
            told[back.system, back.environment] = back.to.id
    live = {
        (system, environment): version
        for system in played.registry.versions.systems()
        for version, environments in played.registry.releases.where_live(system).items()
        for environment in environments
    }
    assert live == told
    assert len(told) == 4


def test_what_hurt_users_is_quarantined_and_nothing_is_held_any_more(played: Played) -> None:
    """The release that was rolled back stays in quarantine; the holds were lifted with a reason."""
    (quarantine,) = played.registry.releases.quarantines("support-desk")
    hurt = played.registry.versions.get(quarantine.version)
    assert hurt is not None
    assert hurt.label == "v9"
    assert "customers write again" in quarantine.reason
    assert played.registry.releases.holds("support-desk") == []
    (note,) = played.registry.upkeep.notes("support-desk", "production", 7)
    assert note.actor == "support-lead"


def test_the_losing_experiment_is_cleared_away_and_the_winner_stays(played: Played) -> None:
    """x2 lost its answers and keeps its scores; x1, which a release descends from, keeps all."""
    lost, won = (played.registry.versions.named("support-desk", name) for name in ("x2", "x1"))
    for version, is_whole in ((lost, False), (won, True)):
        records = played.registry.runs.of_version(version.id)
        assert all(record.end is not None and record.end.summary for record in records)
        outputs = {
            str(answer.output)
            for record in records
            for answer in played.registry.runs.raw_answers(record.run.id)
        }
        assert all(map(played.registry.objects.has, outputs)) is is_whole


def test_the_rehearsal_left_everything_as_it_was(played: Played) -> None:
    """It was live in staging, was noticed, and is gone; the review that follows finds nothing."""
    (rehearsal,) = played.registry.upkeep.rehearsals("support-desk")
    assert (rehearsal.outcome, rehearsal.reverted) == ("detected", rehearsal.generation + 1)
    live = played.registry.releases.live("support-desk", "staging")
    assert live is not None
    assert live.attempt.version == played.registry.versions.named("support-desk", "v8").id
    (review,) = played.registry.upkeep.reviews("support-desk")
    assert review.outcome == "clean"


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
