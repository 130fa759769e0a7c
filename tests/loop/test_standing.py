"""What a step is handed must be what counts now: policy, decision, signature, and every run."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from lockgate import wiring
from lockgate.errors import Inconclusive, Interrupted, Refused, WaitingForPerson
from lockgate.loop.gate import decide
from lockgate.loop.promote import promote
from lockgate.loop.register import register
from lockgate.ports import Question
from loop.world import (
    CI,
    DEV,
    LEAD,
    OTHER_LEAD,
    PRODUCTION,
    STAGING,
    SYSTEM,
    World,
    rules_text,
    settled_answer,
)

HIGH = rules_text(
    'suite = "triage", metric = "accuracy", min = 0.5',
    environment="production",
    stakes="high",
    signers='"signers"',
    reviewers='["ml-lead", "support-lead"]',
)


class TestAPolicyInTheHand:
    """A policy that was read before it changed decides nothing."""

    def test_does_not_decide_once_another_one_is_applied(self, world: World) -> None:
        """Whoever holds the old rules is told to look again."""
        world.apply_policy(STAGING)
        version = world.evaluated(12)
        held = world.policy
        world.apply_policy(STAGING.replace("0.60", "0.95"))
        head = world.head()
        with pytest.raises(Refused) as refused:
            decide(world.registry, version, "staging", held, actor=DEV)
        assert refused.value.what == "another policy was applied meanwhile; nothing was decided"
        assert refused.value.hint == "run it again: it then follows the policy that counts now"
        assert world.head() == head

    def test_of_one_s_own_making_does_not_promote(self, world: World) -> None:
        """An environment without its freeze or reviewers is not the one that was applied."""
        world.apply_policy(HIGH)
        version = world.evaluated(16)
        decision = world.decide(version, "production")
        lax = replace(world.policy.environment("production"), reviewers=("anybody",))
        with pytest.raises(Refused) as refused:
            promote(world.registry, version, lax, decision, actor=CI)
        assert refused.value.what == "the policy of production changed meanwhile; nothing was done"
        assert refused.value.hint == (
            "`lockgate gate VERSION --to production` decides by what counts now"
        )
        assert world.live("production") is None


class TestSignatures:
    """They are checked again when something goes live."""

    def test_that_hold_let_it_through(self, world: World) -> None:
        """The usual case: signed, checked, live."""
        version, decision = self._approved(world)
        assert self._promote(world, version, decision).is_new

    def test_that_were_changed_in_the_registry_do_not_count(self, world: World) -> None:
        """A row that says a key signed is not a signature."""
        version, decision = self._approved(world)
        self._forge(world)
        with pytest.raises(WaitingForPerson) as waiting:
            self._promote(world, version, decision)
        assert waiting.value.what == (
            "v1 waits for production: 0 of 1 approvals, from ml-lead or support-lead; "
            "what ml-lead said is not signed by a reviewer's key"
        )
        assert world.live("production") is None

    @staticmethod
    def _approved(world: World) -> tuple[Any, Any]:
        world.apply_policy(HIGH)
        version = world.evaluated(16)
        decision = world.decide(version, "production")
        world.say(decision)
        return version, decision

    @staticmethod
    def _promote(world: World, version: Any, decision: Any) -> Any:
        environment = world.policy.environment("production")
        return promote(
            world.registry, version, environment, decision, actor=CI, signing=wiring.signing()
        )

    @staticmethod
    def _forge(world: World) -> None:
        """Put another text's signature in the place of the right one, past every trigger."""
        other = world.decide(world.evaluated(17), "production")
        armored = world.say(other, by=OTHER_LEAD).signature
        connection = sqlite3.connect(world.root / ".lockgate" / "registry.db")
        name = "approval_never_updated"
        (trigger,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute(
            "UPDATE approval SET signature = (SELECT signature FROM approval WHERE signer = ?) "
            "WHERE signer = ?",
            (OTHER_LEAD, LEAD),
        )
        connection.execute(trigger)
        connection.commit()
        connection.close()
        assert armored is not None


class TestARunThatWasCutShort:
    """Its answers count too: stopping a run is no way to roll again."""

    def test_holds_the_gate_up_beside_a_completed_one(self, world: World) -> None:
        """A fresh run that looked bad and was stopped is not forgotten."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        world.answers = _stopping_at("t005")
        with pytest.raises(Interrupted):
            world.evaluate(version)
        world.answers = settled_answer
        run = world.registry.runs.open(SYSTEM)[0].run.id
        with pytest.raises(Refused) as refused:
            world.decide(version)
        assert refused.value.what == (
            f"run `{run[:8]}` of v1 on `triage` was cut short; its answers count too"
        )
        assert f"`lockgate evaluate --resume {run} -s {SYSTEM}` finishes it" in refused.value.hint

    def test_lets_it_go_on_once_it_is_finished(self, world: World) -> None:
        """The first hint helps, and both runs count."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        world.answers = _stopping_at("t005")
        with pytest.raises(Interrupted):
            world.evaluate(version)
        world.answers = settled_answer
        world.evaluate(version, resume=world.registry.runs.open(SYSTEM)[0])
        assert len(world.decide(version).runs) == 2


def test_an_open_question_has_an_exit_code_of_its_own(world: World) -> None:
    """A pipeline can tell too little evidence from a no."""
    world.apply_policy(
        rules_text('suite = "triage", metric = "accuracy", min = 0.75, confidence = 0.95')
    )
    version = world.evaluated(17)
    with pytest.raises(Inconclusive) as open_question:
        world.promote(version, "staging", world.decide(version))
    assert open_question.value.exit_code == 4
    assert open_question.value.what == "the gate did not pass v1 for staging: inconclusive"


class TestAFolderOfUnknownOrigin:
    """What a folder builds on is said, not guessed."""

    def test_is_not_registered_on_top_of_the_newest_release(self, world: World) -> None:
        """A copy without its lock could silently revert what others made."""
        world.version(12)
        world.write(14)
        (world.folder / "lockgate.lock").unlink()
        head = world.head()
        with pytest.raises(Refused) as refused:
            world.register()
        assert refused.value.what == (
            "nothing says which version of `support-desk` this folder builds on: it has no "
            "lockgate.lock of this registry"
        )
        assert refused.value.hint == (
            "say it: `lockgate register --parent v1 -s support-desk -m REASON`, "
            "or begin from a version: `lockgate checkout v1 DIR -s support-desk`"
        )
        assert world.head() == head

    def test_is_registered_once_its_parent_is_named(self, world: World) -> None:
        """The hint helps."""
        first = world.version(12)
        world.write(14)
        (world.folder / "lockgate.lock").unlink()
        assert world.register(parent=first).parent == first.id

    def test_is_known_when_it_is_exactly_a_release(self, world: World) -> None:
        """The bytes say what it is, though the lock is lost."""
        first = world.version(12)
        world.version(14)
        world.write(12)
        (world.folder / "lockgate.lock").unlink()
        done = register(
            world.registry,
            world.draft(),
            reason="again",
            actor=DEV,
            find_secrets=wiring.find_secrets,
        )
        assert (done.version, done.is_new) == (first, False)


class TestASuiteThatARuleWaitsFor:
    """Who writes the cases would decide what a reviewed policy means."""

    def test_waits_for_the_reviewers_of_that_rule(self, world: World) -> None:
        """Under a new name as well, when a reviewed policy names it."""
        world.apply_policy(PRODUCTION.replace('suite = "triage"', 'suite = "tone"'))
        with pytest.raises(WaitingForPerson) as waiting:
            world.apply_suite("tone", cases=3, actor=DEV)
        assert waiting.value.what == "the suite `tone` is proposed and waits for reviewers"
        assert "tone" not in world.registry.applied.suites(SYSTEM)

    def test_is_not_needed_where_no_rule_names_it(self, world: World) -> None:
        """A suite nobody asks about only adds to what is known."""
        world.apply_policy(PRODUCTION)
        assert world.apply_suite("tone", cases=3, actor=DEV).is_new


def test_nobody_signs_in_another_s_name_what_they_registered(world: World) -> None:
    """With another one's key at hand, the registrar still cannot be the reviewer."""
    world.apply_policy(HIGH)
    decision = world.decide(world.evaluated(16), "production")
    with pytest.raises(Refused) as refused:
        world.say(decision, actor=DEV)
    assert refused.value.what == (
        "`support-dev` registered v1: nobody signs here in another one's name"
    )
    assert refused.value.hint == (
        "a reviewer runs this as themselves, or signs the text of --ask elsewhere and you --take it"
    )
    assert world.registry.releases.approvals(decision.id) == []


def _stopping_at(case: str) -> Any:
    def answers(question: Question, settings: Any) -> Any:
        if question.case == case:
            raise KeyboardInterrupt
        return settled_answer(question, settings)

    return answers
