"""A rehearsal: a worse version goes live on purpose, is refused, and what was live comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.domain.receipt import Receipt
from lockgate.domain.upkeep import Rehearsal
from lockgate.errors import (
    Busy,
    InfrastructureFailed,
    IntegrityBroken,
    Interrupted,
    LockgateError,
    Refused,
    StaleGeneration,
    UsageMistake,
)
from lockgate.loop.gate import gaps
from lockgate.ports import CaseFailed, Question, Target
from lockgate.upkeep.hold import hold
from lockgate.upkeep.operators import OPERATORS
from lockgate.upkeep.rehearse import (
    Asked,
    Plan,
    Rehearsed,
    Step,
    ask_the_gate,
    is_about_a_score,
    plan_rehearsal,
    rehearse,
    told_by,
)
from lockgate.upkeep.restore import Restored, Unfinished, restore, unfinished
from lockgate.upkeep.rollback import find_way_back, roll_back
from tests.loop.world import DEV, SYSTEM, World, settled_answer
from tests.upkeep.test_rollback import damage, script

ON_CALL = "on-call"
HOT = "raise-temperature"

REHEARSED = """\
[environments.staging]
stakes = "low"
rehearsal = true
protects = "production"
publish = "published/staging"

[environments.staging.systems.support-desk]
rules = [{ suite = "triage", metric = "accuracy", min = 0.10 }]

[environments.production]
stakes = "low"

[environments.production.systems.support-desk]
rules = [{ suite = "triage", metric = "accuracy", min = 0.50, max_drop = 0.05 }]
"""
HOOKED = REHEARSED.replace(
    'publish = "published/staging"', 'publish = "published/staging"\ndeploy = ["./deploy.sh"]'
)


def heated(question: Question, settings: Mapping[str, Any]) -> Any:
    """Answer as the settings say, and wrongly from the third case on when it is too hot."""
    if settings["generation"].get("temperature", 0) > 1 and question.input["n"] > 2:
        return "other"
    return settled_answer(question, settings)


def target(world: World, environment: str = "staging") -> Target:
    """Return where the environment's versions go."""
    return wiring.target(world.root, SYSTEM, world.policy.environment(environment))


def go_live(world: World, right: int = 16, **other: Any) -> Any:
    """Take a version through the loop into staging, published."""
    version = world.evaluated(right, temperature=0, **other)
    world.promote(version, "staging", world.decide(version), target=target(world))
    return version


@pytest.fixture
def desk(world: World) -> World:
    """Two versions went live in a staging for rehearsals; the second one is."""
    wiring.make_host_key(world.root)
    world.answers = heated
    world.apply_policy(REHEARSED)
    for right in (15, 16):
        go_live(world, right)
    return world


@pytest.fixture
def hooked(desk: World) -> World:
    """The same, with a hook that tells what it deploys."""
    script(desk, "deploy.sh", 'echo "$LOCKGATE_GENERATION" >> deployed.txt')
    desk.apply_policy(HOOKED)
    return desk


def plan(world: World, operator: str | None = HOT) -> Plan:
    """Look at what a rehearsal would do."""
    return plan_rehearsal(world.registry, SYSTEM, "staging", world.policy, operator=operator)


def rehearsing(world: World, operator: str | None = HOT, **how: Any) -> Generator[Step, None, None]:
    """Begin a rehearsal, for a test that walks it."""
    opener = how.pop("open_runner", None) or world.quick()
    steps = rehearse(
        world.registry,
        how.pop("plan", None) or plan(world, operator),
        world.policy,
        opener,
        target(world),
        actor=ON_CALL,
    )
    assert isinstance(steps, Generator)
    return steps


def rehearsed(world: World, operator: str | None = HOT) -> Rehearsed:
    """Rehearse to the end."""
    *_, last = rehearsing(world, operator)
    assert isinstance(last.result, Rehearsed)
    return last.result


def until(steps: Generator[Step, None, None], name: str, kind: str | None = None) -> Step:
    """Walk a rehearsal to a step, as far as a process got that was killed there."""
    for step in steps:
        if step.name == name and (kind is None or step.result.kind == kind):
            return step
    raise AssertionError(f"there was no {name}")


def records(world: World) -> list[Rehearsal]:
    """Return what was recorded, newest first."""
    return world.registry.upkeep.rehearsals(SYSTEM, "staging")


def receipt(world: World) -> Receipt:
    """Return what the serving side sees."""
    found = target(world).current(SYSTEM)
    assert found is not None
    return found


def is_as_before(world: World, label: str = "v2") -> bool:
    """Tell whether a version is live and published, every byte of it, and nothing is open."""
    version = world.registry.versions.named(SYSTEM, label)
    newest = world.registry.releases.newest(SYSTEM, "staging")
    published = receipt(world)
    return (
        world.live() == version.id == published.version
        and newest is not None
        and not newest.is_open
        and published.definition == version.definition
        and target(world).problems(published) == []
        and target(world).staged(SYSTEM) is None
        and not world.registry.releases.quarantines(SYSTEM)
        and not world.registry.releases.holds(SYSTEM, "staging")
    )


class TestDetected:
    """The gate refuses the worse version."""

    def test_what_was_live_is_live_again_to_the_byte(self, desk: World) -> None:
        """Nothing is quarantined or held, and the way back is the one there was."""
        before, way_back = receipt(desk), target(desk).way_back(SYSTEM)
        done = rehearsed(desk)
        assert done.is_detected
        assert is_as_before(desk)
        after = receipt(desk)
        assert (after.kind, after.generation, after.label) == ("revert", 4, "v2")
        assert (after.files, after.components) == (before.files, before.components)
        assert way_back is not None
        assert target(desk).way_back(SYSTEM) == way_back
        assert done.restored.problems == []
        assert done.restored.files == len(before.files)

    def test_it_is_recorded_as_it_went(self, desk: World) -> None:
        """Operator, generations, decision, times, and the rules that refused it."""
        done = rehearsed(desk)
        (record,) = records(desk)
        assert record == done.record
        assert (record.operator, record.generation, record.reverted) == (HOT, 3, 4)
        assert (record.outcome, record.decision) == ("detected", done.decision.id)
        assert record.detect_ms is not None and record.restore_ms is not None
        rules = [finding.rule for finding in record.findings if finding.outcome == "fail"]
        assert rules == ["triage accuracy", "triage accuracy drop"]
        assert [f.rule for f in record.findings if f.outcome == "pass"] == ["live", "published"]

    def test_the_worse_version_was_really_live(self, hooked: World) -> None:
        """It was deployed by the hook and published, as what it is; then what was live was."""
        steps = rehearsing(hooked)
        until(steps, "deployed", "published")
        live = receipt(hooked)
        assert (live.kind, live.label, live.generation, live.decision) == (
            "rehearsal",
            "r1",
            3,
            None,
        )
        *_, last = steps
        assert last.name == "done"
        assert (hooked.root / "deployed.txt").read_text() == "3\n4\n"
        assert is_as_before(hooked)

    def test_the_rules_are_those_of_the_protected_environment(self, desk: World) -> None:
        """Staging alone would have let it through."""
        decision = rehearsed(desk).decision
        accuracy = next(f for f in decision.findings if f.rule == "triage accuracy")
        assert "at least .500" in accuracy.reason

    def test_once_more_it_is_the_same_version_evaluated_again(self, desk: World) -> None:
        """Its identity is its definition's; each rehearsal asks every case anew."""
        first, second = rehearsed(desk), rehearsed(desk)
        assert first.version == second.version
        runs = desk.registry.runs.of_version(first.version.id)
        assert [record.is_completed for record in runs] == [True, True]
        assert [record.generation for record in records(desk)] == [5, 3]
        assert is_as_before(desk)

    def test_contents_that_expired_come_back(self, desk: World) -> None:
        """What made it worse is made again, byte for byte."""
        worse = rehearsed(desk, "truncate-prompt").version
        files = desk.registry.versions.definition(worse.definition).files()
        with desk.registry.write() as writing:
            writing.remove_content(files["prompts/system.md"], "expire", "old", ON_CALL)
        assert rehearsed(desk, "truncate-prompt").version == worse
        assert desk.registry.objects.is_intact(files["prompts/system.md"])

    def test_after_a_rollback_it_is_compared_with_what_is_live(self, desk: World) -> None:
        """What is live by a rollback is made worse and comes back, not what was left."""
        found = find_way_back(desk.registry, SYSTEM, "staging")
        for _ in roll_back(desk.registry, found, actor=ON_CALL, target=target(desk)):
            pass
        from lockgate.upkeep.hold import lift_hold

        lift_hold(desk.registry, SYSTEM, "staging", reason="mended", actor=ON_CALL)
        done = rehearsed(desk)
        v1 = desk.registry.versions.named(SYSTEM, "v1")
        assert done.decision.baseline_version == v1.id == desk.live()
        assert receipt(desk).label == "v1"
        assert target(desk).way_back(SYSTEM) is None

    def test_secrets_that_were_kept_on_purpose_do_not_stop_it(self, desk: World) -> None:
        """What the live version may hold, a worse one of it may hold too."""
        desk.write(17, temperature=0, prompt='api_key = "sk-live-51HabcdefGHIJKLMNOPQRSTUV"\n')
        with pytest.raises(Refused, match="possible secret"):
            desk.register()
        version = desk.register(keep_secrets="an example for the model")
        desk.evaluate(version)
        desk.promote(version, "staging", desk.decide(version), target=target(desk))
        assert rehearsed(desk).is_detected
        assert is_as_before(desk, "v3")

    def test_what_is_live_is_evaluated_first_where_it_lacks_a_run(self, desk: World) -> None:
        """The comparison needs it, and nothing is deployed before."""
        desk.apply_suite(cases=25)
        steps = rehearsing(desk)
        evaluated = until(steps, "evaluated")
        assert evaluated.result[0].label == "v2"
        assert receipt(desk).label == "v2"
        *_, last = steps
        assert last.result.is_detected


class TestMissed:
    """A worse version that the gate lets through is a failed rehearsal."""

    def test_is_taken_back_all_the_same(self, desk: World) -> None:
        """The record keeps the rules that saw nothing, with their numbers."""
        done = rehearsed(desk, "blank-prompt")
        assert not done.is_detected
        assert is_as_before(desk)
        (record,) = records(desk)
        assert record.outcome == "missed"
        blind = [f for f in record.findings if f.numbers is not None]
        assert [(f.rule, f.outcome) for f in blind] == [
            ("triage accuracy", "pass"),
            ("triage accuracy drop", "pass"),
        ]

    def test_so_is_one_that_only_a_reviewer_would_stop(self, desk: World) -> None:
        """The gate did not say no: a person would have been asked."""
        desk.apply_policy(
            REHEARSED.replace(
                "max_drop = 0.05 }",
                'max_drop = 0.05, confidence = 0.95, on_inconclusive = "review" }',
            )
            .replace("min = 0.50, ", "")
            .replace(
                '[environments.production]\nstakes = "low"',
                '[environments.production]\nstakes = "high"\nreviewers = ["ml-lead"]\n'
                "accept_claimed = true",
            )
        )
        done = rehearsed(desk, "blank-prompt")
        assert (done.decision.outcome, done.record.outcome) == ("inconclusive", "missed")
        assert is_as_before(desk)


class TestWhatNoticedIt:
    """Scores say that answers got worse; a latency has reasons of its own."""

    def test_scores_are_told_before_latencies(self, desk: World) -> None:
        """Whichever rule the policy names first."""
        slow = '{ suite = "triage", metric = "p95_ms", max = 1 }'
        desk.apply_policy(
            REHEARSED.replace(
                'rules = [{ suite = "triage", metric = "accuracy", min = 0.50',
                f'rules = [{slow}, {{ suite = "triage", metric = "accuracy", min = 0.50',
            )
        )
        told = [finding.rule for finding in told_by(rehearsed(desk).decision)]
        assert told == ["triage accuracy", "triage accuracy drop", "triage p95_ms"]

    def test_a_latency_alone_is_told_as_that(self, desk: World) -> None:
        """It was refused, but no score noticed."""
        slow = 'rules = [{ suite = "triage", metric = "p95_ms", max = 1 }, '
        desk.apply_policy(
            REHEARSED.replace(
                'rules = [{ suite = "triage", metric = "accuracy", min = 0.50',
                slow + '{ suite = "triage", metric = "accuracy", min = 0.50',
            )
        )
        done = rehearsed(desk, "blank-prompt")
        assert done.is_detected
        assert not any(is_about_a_score(finding) for finding in told_by(done.decision))


class TestWhichOperator:
    """Successive rehearsals try different ones."""

    def test_never_tried_ones_come_first_then_the_oldest(self, desk: World) -> None:
        """Whatever does not apply is passed over, with the reason."""
        tried = []
        for _ in range(4):
            looked = plan(desk, None)
            tried.append(looked.operator.name)
            rehearsed(desk, None)
        assert tried == ["blank-prompt", HOT, "truncate-prompt", "blank-prompt"]
        assert ("lower-top-k", "there is no `top_k` under [retrieval]") in plan(desk, None).skipped

    def test_an_unknown_one_is_refused(self, desk: World) -> None:
        """With the one that was probably meant."""
        with pytest.raises(UsageMistake, match="no operator `blank`") as caught:
            plan(desk, "blank")
        assert "blank-prompt" in caught.value.hint

    def test_one_that_does_not_apply_is_refused(self, desk: World) -> None:
        """It says why, and what shows the others."""
        with pytest.raises(Refused, match="v2 cannot be made worse by `break-tools`") as caught:
            plan(desk, "break-tools")
        assert caught.value.problems == ("break-tools: no tool has a schema with properties",)
        assert "--gate-only" in caught.value.hint

    def test_names_are_told_apart(self) -> None:
        """Each operator has a name of its own and says what it does."""
        assert len({operator.name for operator in OPERATORS}) == len(OPERATORS)
        assert all(operator.words for operator in OPERATORS)


class TestRefused:
    """Where something else is going on nothing is deployed."""

    def refused(self, world: World, words: str, hint: str) -> Sequence[str]:
        """Expect a refusal that changed nothing."""
        before = world.head()
        with pytest.raises(LockgateError, match=words) as caught:
            plan(world)
        assert hint in caught.value.hint
        assert world.head() == before
        return caught.value.problems

    def test_where_no_rehearsal_may_go(self, desk: World) -> None:
        """The hint names the environment that takes them."""
        with pytest.raises(Refused, match="production takes no rehearsals") as caught:
            plan_rehearsal(desk.registry, SYSTEM, "production", desk.policy)
        assert "lockgate rehearse staging" in caught.value.hint

    def test_where_nothing_is_live(self, world: World) -> None:
        """There is nothing to make worse."""
        world.apply_policy(REHEARSED)
        world.evaluated(16)
        self.refused(world, "nothing of support-desk is live", "lockgate ship --to staging")

    def test_while_an_attempt_is_open(self, hooked: World) -> None:
        """Settle finds out first."""
        from tests.upkeep.test_rollback import promoting

        version = hooked.evaluated(17, temperature=0)
        events = promoting(hooked, version, hooked.decide(version))
        next(events)
        self.refused(hooked, "generation 3 of staging is not settled", "lockgate settle staging")
        events.close()

    def test_while_it_is_held(self, desk: World) -> None:
        """The hold's reason is told."""
        hold(desk.registry, SYSTEM, "staging", reason="release week", actor=ON_CALL)
        problems = self.refused(desk, "staging takes no rehearsal now", "lockgate lift staging")
        assert [problem.partition(" since")[0] for problem in problems] == [
            "not held: held by on-call"
        ]

    def test_while_what_is_live_is_quarantined(self, desk: World) -> None:
        """It should be left, not rehearsed with."""
        from lockgate.domain.release import Quarantine

        v2 = desk.registry.versions.named(SYSTEM, "v2")
        with desk.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v2.definition, v2.id, "hurt users", ON_CALL))
        self.refused(desk, "v2, .*is quarantined: hurt users", "lockgate rollback staging")

    def test_while_it_is_frozen(self, desk: World) -> None:
        """A freeze is for rehearsals as for promotions."""
        frozen = (
            'freeze = [{ from = "fri 08:00", until = "mon 08:00", tz = "UTC", reason = "fair" }]'
        )
        desk.apply_policy(REHEARSED.replace("publish =", f"{frozen}\npublish ="))
        self.refused(desk, "staging takes no rehearsal now", "run it again after that")

    def test_where_nothing_would_judge_it(self, desk: World) -> None:
        """An environment that asks nothing of the scores notices nothing."""
        desk.apply_policy(REHEARSED.partition("[environments.production.systems")[0])
        self.refused(desk, "production asks nothing of the scores", "lockgate policy apply")

    def test_where_a_suite_is_not_applied(self, desk: World) -> None:
        """The rule's suite is named."""
        desk.apply_policy(
            REHEARSED.replace(
                '"triage", metric = "accuracy", min = 0.50',
                '"other", metric = "accuracy", min = 0.50',
            )
        )
        self.refused(desk, "asks for `other`, which is not applied", "lockgate suite apply")

    def test_where_what_is_live_could_not_be_put_back(self, desk: World) -> None:
        """A damaged object is found before anything is touched."""
        v2 = desk.registry.versions.named(SYSTEM, "v2")
        files = desk.registry.versions.definition(v2.definition).files()
        damage(desk, files["prompts/system.md"], "")
        with pytest.raises(IntegrityBroken, match="v2 could not be put back"):
            plan(desk)

    def test_when_the_worse_version_is_quarantined(self, desk: World) -> None:
        """What once hurt is not deployed again, not even on purpose."""
        from lockgate.domain.release import Quarantine

        worse = rehearsed(desk).version
        with desk.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, worse.definition, worse.id, "hurt", ON_CALL))
        with pytest.raises(Refused, match="what r1 would deploy is quarantined") as caught:
            list(rehearsing(desk))
        assert "--operator" in caught.value.hint
        assert receipt(desk).generation == 4


class TestMeanwhile:
    """While a rehearsal is live nothing else goes there."""

    def test_no_promotion(self, desk: World) -> None:
        """The refusal names the rehearsal and what ends it."""
        version = desk.evaluated(17, temperature=0)
        decision = desk.decide(version)
        steps = rehearsing(desk)
        until(steps, "deployed", "published")
        with pytest.raises(Refused, match="the rehearsal r1 is live in staging, by on-call") as one:
            desk.promote(version, "staging", decision, target=target(desk))
        assert "`lockgate rehearse staging -s support-desk`" in one.value.hint
        with pytest.raises(Refused, match="the rehearsal r1 is live in staging"):
            desk.decide(version, again=True)
        with pytest.raises(Refused, match="the rehearsal r1 is live in staging"):
            gaps(desk.registry, version, "staging", desk.policy)
        *_, last = steps
        assert last.result.is_detected
        desk.decide(version)
        assert desk.promote(version, target=target(desk)).is_new

    def test_no_second_rehearsal(self, desk: World) -> None:
        """The process that is at it is named; here it looks like a process on another host."""
        steps = rehearsing(desk)
        until(steps, "deployed", "published")
        somebody_elses(desk)
        found = unfinished(desk.registry, SYSTEM, "staging", target(desk))
        assert found is not None
        with pytest.raises(Busy, match="is being worked on by on-call"):
            list(restore(desk.registry, found, target(desk), actor=DEV))
        *_, last = steps
        assert last.result.is_detected

    def test_a_rehearsal_is_never_promoted(self, desk: World) -> None:
        """Whatever the gate said of it."""
        done = rehearsed(desk, "blank-prompt")
        assert done.decision.promotable
        with pytest.raises(Refused, match="r1 is a rehearsal: it is never promoted") as caught:
            desk.promote(done.version, "staging", done.decision)
        assert "lockgate rehearse staging" in caught.value.hint

    def test_a_rollback_has_the_last_word(self, desk: World) -> None:
        """It ends the rehearsal as a revert, and the rehearsal stops without a result."""
        steps = rehearsing(desk)
        until(steps, "deployed", "published")
        found = find_way_back(desk.registry, SYSTEM, "staging")
        assert (found.kind, found.leaving.label, found.to.label) == ("revert", "r1", "v2")
        for _ in roll_back(desk.registry, found, actor=DEV, target=target(desk)):
            pass
        with pytest.raises(StaleGeneration, match="support-dev took generation 4 of staging"):
            list(steps)
        assert is_as_before(desk)
        assert receipt(desk).generation == 4

    def test_who_was_faster_is_named(self, desk: World) -> None:
        """Something else went live between looking and deploying: nothing is deployed."""
        looked = plan(desk)
        go_live(desk, 17)
        with pytest.raises(StaleGeneration, match="ci took generation 3 of staging first, with v3"):
            list(rehearsing(desk, plan=looked))
        assert is_as_before(desk, "v3")
        assert records(desk) == []


def somebody_elses(world: World) -> None:
    """Make the leases look like those of a living process on another host."""
    import sqlite3

    connection = sqlite3.connect(world.root / ".lockgate" / "registry.db")
    connection.execute("UPDATE lease SET host = 'elsewhere'")
    connection.commit()
    connection.close()


PLACES = [
    ("deployed", "taken"),
    ("deployed", "rebuilt"),
    ("deployed", "hook"),
    ("deployed", "settled"),
    ("deployed", "published"),
    ("evaluated", None),
    ("judged", None),
    ("reverted", "taken"),
    ("reverted", "rebuilt"),
    ("reverted", "hook"),
    ("reverted", "settled"),
    ("reverted", "published"),
    ("verified", None),
]
"""Every step between the first touch and the record."""


class TestBrokenOff:
    """However a rehearsal ends, what was live is live again."""

    @pytest.mark.parametrize(("name", "kind"), PLACES)
    def test_ctrl_c_puts_it_back_before_leaving(
        self, hooked: World, name: str, kind: str | None
    ) -> None:
        """Whoever stops it is told that what was live is live again."""
        steps = rehearsing(hooked)
        until(steps, name, kind)
        with pytest.raises(Interrupted, match="stopped: v2 is live in staging again") as caught:
            steps.throw(KeyboardInterrupt())
        assert "lockgate rehearse staging" in caught.value.hint
        assert is_as_before(hooked)
        self.is_told(hooked)

    @pytest.mark.parametrize(("name", "kind"), PLACES[3::3])
    def test_whoever_stops_looking_leaves_it_restored(
        self, hooked: World, name: str, kind: str | None
    ) -> None:
        """A closed pipe ends the walk: what was live is put back without a word."""
        steps = rehearsing(hooked)
        until(steps, name, kind)
        steps.close()
        assert is_as_before(hooked)
        self.is_told(hooked)

    def is_told(self, world: World) -> None:
        """Check that a rehearsal that was live has its record, and can be followed by another."""
        went_live = [
            one
            for one in world.registry.releases.deployments(SYSTEM, "staging")
            if one.attempt.kind == "rehearsal" and one.outcome == "live"
        ]
        assert len(records(world)) == len(went_live)
        assert all(record.outcome == "broken off" for record in records(world))
        assert unfinished(world.registry, SYSTEM, "staging", target(world)) is None
        assert world.registry.runs.open(SYSTEM) == []
        assert plan(world).version.label == "v2"

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "kind"), PLACES)
    def test_one_that_was_killed_is_taken_back_by_the_next(
        self, hooked: World, name: str, kind: str | None
    ) -> None:
        """Its process is killed: the next command finds it, restores and records it."""
        self.is_restored_after_a_kill(hooked, name, kind)

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "kind"), [place for place in PLACES if "hook" not in place])
    def test_so_is_one_without_a_hook(self, desk: World, name: str, kind: str | None) -> None:
        """Only the receipt and the folder have to come back."""
        self.is_restored_after_a_kill(desk, name, kind)

    def is_restored_after_a_kill(self, world: World, name: str, kind: str | None) -> None:
        """Have a process rehearse and be killed, then restore."""
        killed(world, name, kind)
        found = unfinished(world.registry, SYSTEM, "staging", target(world))
        assert found is not None and found.to.label == "v2"
        restored = self.restored(world, found)
        assert restored.problems == []
        assert is_as_before(world)
        self.is_told(world)

    @staticmethod
    def restored(world: World, found: Unfinished) -> Restored:
        """Take back what was cut off."""
        *_, last = restore(world.registry, found, target(world), actor=ON_CALL)
        assert isinstance(last, Restored)
        return last

    def test_a_version_that_cannot_be_asked_is_no_result(self, desk: World) -> None:
        """It is an infrastructure error, not a score, and what was live is back."""

        def broken(question: Question, settings: Mapping[str, Any]) -> Any:
            if settings["generation"].get("temperature"):
                raise CaseFailed("temperature must be at most 1")
            return settled_answer(question, settings)

        desk.answers = broken
        with pytest.raises(InfrastructureFailed, match="broke off: .*; v2 is live") as caught:
            list(rehearsing(desk))
        assert "temperature must be at most 1" in str(caught.value)
        assert "--operator" in caught.value.hint
        assert is_as_before(desk)
        (record,) = records(desk)
        assert (record.outcome, record.decision) == ("broken off", None)
        assert plan(desk, None).operator.name != HOT

    def test_a_hook_that_refuses_the_worse_version(self, hooked: World) -> None:
        """Nobody knows what a failed hook left, so what was live is deployed once more."""
        script(
            hooked,
            "deploy.sh",
            'echo "$LOCKGATE_GENERATION" >> deployed.txt; [ "$LOCKGATE_GENERATION" != 3 ]',
        )
        with pytest.raises(InfrastructureFailed, match="broke off: the deploy hook .*v2 is live"):
            list(rehearsing(hooked))
        assert (hooked.root / "deployed.txt").read_text() == "3\n4\n"
        assert is_as_before(hooked)
        assert records(hooked) == []  # it never was live

    def test_a_hook_that_does_not_put_it_back(self, hooked: World) -> None:
        """The error says so; once the hook works, the next rehearsal takes it back first."""
        script(hooked, "deploy.sh", '[ "$LOCKGATE_GENERATION" = 3 ]')
        with pytest.raises(InfrastructureFailed, match="v2 is not verified to be live") as caught:
            list(rehearsing(hooked))
        assert "`lockgate rehearse staging -s support-desk` takes it back" in caught.value.hint
        assert receipt(hooked).label == "r1"
        script(hooked, "deploy.sh", "exit 0")
        found = unfinished(hooked.registry, SYSTEM, "staging", target(hooked))
        assert found is not None
        self.restored(hooked, found)
        assert is_as_before(hooked)
        (record,) = records(hooked)
        assert record.outcome == "broken off"

    def test_what_is_damaged_afterwards_is_told(self, desk: World) -> None:
        """Verified means every byte: a changed file in the published folder is found."""
        steps = rehearsing(desk)
        until(steps, "reverted", "published")
        folder = desk.root / "published/staging" / SYSTEM / receipt(desk).folder
        path = folder / "prompts/system.md"
        path.chmod(0o644)
        path.write_text("something else\n")
        with pytest.raises(IntegrityBroken, match="not everything is as it was") as caught:
            list(steps)
        assert "prompts/system.md" in caught.value.problems[0]
        (record,) = records(desk)
        assert record.outcome == "detected"
        assert any(f.rule == "published" and f.outcome == "fail" for f in record.findings)

    def test_a_quarantined_version_comes_back_from_a_rehearsal(self, desk: World) -> None:
        """What the rehearsal took the place of was live, whatever was said of it since."""
        from lockgate.domain.release import Quarantine

        steps = rehearsing(desk)
        until(steps, "deployed", "published")
        v2 = desk.registry.versions.named(SYSTEM, "v2")
        with desk.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v2.definition, v2.id, "hurt users", ON_CALL))
        assert find_way_back(desk.registry, SYSTEM, "staging").to.label == "v2"
        steps.close()
        assert desk.live() == v2.id


def killed(world: World, name: str, kind: str | None) -> None:
    """Have a process rehearse and be killed at a step."""
    folder = Path(__file__).parent
    words = [str(folder / "dying.py"), str(world.root), name, *([kind] if kind else [])]
    paths = os.pathsep.join(str(path) for path in (folder.parent, folder.parent.parent))
    died = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


class TestInstances:
    """Where running instances can be asked, they have to report what was put back."""

    def observed(self, desk: World, answer: str) -> None:
        """Give staging an observe command."""
        script(desk, "observe.sh", answer)
        desk.apply_policy(
            REHEARSED.replace("publish =", 'observe = ["./observe.sh"]\npublish =', 1)
        )

    def test_all_report_it(self, desk: World) -> None:
        """The finding counts them."""
        v2 = desk.registry.versions.named(SYSTEM, "v2")
        self.observed(desk, f'echo "web-1 {v2.id}"; echo "web-2 {v2.id}"')
        findings = rehearsed(desk).restored.findings
        assert findings[-1].reason == "2 running instances report it"

    def test_one_that_does_not(self, desk: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is named, and the environment is not as it was."""
        monkeypatch.setattr("lockgate.upkeep.restore.PATIENCE_S", 0.0)
        self.observed(desk, f'echo "web-1 {"ab" * 32}"')
        with pytest.raises(IntegrityBroken) as caught:
            list(rehearsing(desk))
        assert caught.value.problems == ("running: 1 of 1 instances run something else: web-1",)


class TestGateOnly:
    """Every operator is tried on the gate, and nothing is deployed."""

    def asked(self, world: World, **how: Any) -> list[Asked]:
        """Ask, and return what was said of each operator."""
        steps = ask_the_gate(
            world.registry, SYSTEM, "staging", world.policy, world.quick(), actor=DEV, **how
        )
        return [step.result for step in steps if step.name == "asked"]

    def test_says_of_each_whether_it_is_caught(self, desk: World) -> None:
        """Those that do not apply are skipped with the reason."""
        states = {one.operator.name: one.state for one in self.asked(desk)}
        assert states == {
            "drop-examples": "skipped",
            "shuffle-index": "skipped",
            "blank-prompt": "missed",
            "break-tools": "skipped",
            HOT: "caught",
            "lower-top-k": "skipped",
            "truncate-prompt": "missed",
        }

    def test_deploys_and_records_no_rehearsal(self, desk: World) -> None:
        """The decisions are records; generations and receipts stay."""
        before = receipt(desk)
        self.asked(desk)
        assert receipt(desk) == before
        assert records(desk) == []
        assert len(desk.registry.releases.decisions(SYSTEM)) == 2 + 3

    def test_goes_on_where_it_was_stopped(self, desk: World) -> None:
        """A run that was cut short is resumed, not begun anew."""
        stopped = after(7)

        def answers(question: Question, settings: Mapping[str, Any]) -> Any:
            stopped()
            return heated(question, settings)

        desk.answers = answers
        with pytest.raises(Interrupted, match="7/20 answers"):
            self.asked(desk, operator=HOT)
        desk.answers = heated
        (one,) = self.asked(desk, operator=HOT)
        assert one.state == "caught" and one.version is not None
        assert len(desk.registry.runs.of_version(one.version.id)) == 1

    def test_one_that_cannot_be_asked_counts_for_nothing(self, desk: World) -> None:
        """It is no score: neither caught nor missed."""

        def broken(question: Question, settings: Mapping[str, Any]) -> Any:
            raise CaseFailed("no such model")

        desk.answers = broken
        (one,) = self.asked(desk, operator=HOT)
        assert one.state == "skipped"
        assert "no score" in one.words
        assert desk.registry.runs.open(SYSTEM) == []


def after(count: int) -> Callable[[], None]:
    """Return something that is stopped by a person at the call after a number of calls."""
    calls = iter(range(count))

    def call() -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    return call


def test_the_sample_of_places_is_whole() -> None:
    """Every kind of event a deployment gives is among the places where it is cut off."""
    source = Path(wiring.__file__).parents[1] / "loop" / "deployment.py"
    kinds = {"taken", "rebuilt", "hook", "settled", "published"}
    assert all(f'DeployEvent("{kind}"' in source.read_text() for kind in kinds)
    assert {kind for name, kind in PLACES if name == "deployed"} == kinds
