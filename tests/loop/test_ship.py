"""The whole loop in order: change, register, evaluate, gate, promote, walking what is required."""

from __future__ import annotations

from typing import Any

from lockgate import wiring
from lockgate.errors import (
    InfrastructureFailed,
    LockgateError,
    Refused,
    UsageMistake,
    WaitingForPerson,
)
from lockgate.loop.ship import ShipStep, Tools, path_to, ship
from lockgate.ports import CaseFailed, Question
from loop.world import CI, LEAD, PRODUCTION, STAGING, SYSTEM, World, rules_text, settled_answer

THREE = PRODUCTION + rules_text(
    'suite = "triage", metric = "accuracy", min = 0.5',
    environment="bank",
    requires='["production", "staging"]',
)
"""Staging, production behind it, and a bank behind both."""


def tools(world: World) -> Tools:
    """Return what shipping needs from outside, with versions asked in this process."""

    def write_lock(registered: Any) -> None:
        wiring.write_lock(world.folder, world.registry, registered.version)

    return Tools(world.quick(), wiring.find_secrets, write_lock)


def shipping(
    world: World, to: str = "staging", reason: str | None = "better queues", **how: Any
) -> tuple[list[str], LockgateError | None]:
    """Ship the folder; return what was done, and the error that stopped it if any."""
    done: list[str] = []
    how = {"actor": CI} | how
    try:
        for step in ship(
            world.registry, world.draft(), to, world.policy, tools(world), reason=reason, **how
        ):
            if step.state != "progress":
                done.append(_line(step))
    except LockgateError as error:
        return done, error
    return done, None


def _line(step: ShipStep) -> str:
    where = f" {step.environment}" if step.environment else ""
    return f"{step.step}{where}: {step.state}"


def test_takes_a_folder_to_live_in_the_order_of_the_loop(world: World) -> None:
    """Five steps, none skipped."""
    world.apply_policy(STAGING)
    done, error = shipping(world)
    assert error is None
    assert done == [
        "change: done",
        "register: done",
        "evaluate staging: done",
        "gate staging: done",
        "promote staging: done",
    ]
    live = world.registry.releases.live(SYSTEM, "staging")
    assert live is not None
    version = world.registry.versions.get(live.attempt.version or "")
    assert version is not None
    assert (version.label, version.registrar, live.attempt.actor) == ("v1", CI, CI)


def test_gives_every_step_s_own_result(world: World) -> None:
    """Whoever walks it can show each step as that step would."""
    world.apply_policy(STAGING)
    steps = list(
        ship(
            world.registry,
            world.draft(),
            "staging",
            world.policy,
            tools(world),
            reason="first",
            actor=CI,
        )
    )
    results = [type(step.result).__name__ for step in steps if step.state == "done"]
    assert results == ["Change", "Registered", "tuple", "Decision", "Promoted"]
    gap, progress = next(s.result for s in steps if (s.step, s.state) == ("evaluate", "done"))
    assert (gap.suite.name, progress.end.outcome) == ("triage", "completed")


def test_goes_through_every_required_place_first(world: World) -> None:
    """Production requires staging, so staging comes first and is promoted to."""
    world.apply_policy(PRODUCTION)
    done, error = shipping(world, "production")
    assert done == [
        "change: done",
        "register: done",
        "evaluate staging: done",
        "gate staging: done",
        "promote staging: done",
        "evaluate production: skipped",
        "gate production: done",
    ]
    assert isinstance(error, WaitingForPerson)
    assert error.exit_code == 7
    assert error.what == "v1 waits for production: 0 of 1 approvals, from ml-lead or support-lead"


def test_the_way_names_each_place_once_in_order(world: World) -> None:
    """Requirements of requirements come first."""
    world.apply_policy(THREE)
    assert path_to(world.policy, "bank") == ["staging", "production", "bank"]
    assert path_to(world.policy, "staging") == ["staging"]


def test_an_unknown_place_is_refused_before_anything_is_done(world: World) -> None:
    """Nothing is registered for a place that does not exist."""
    world.apply_policy(STAGING)
    head = world.head()
    done, error = shipping(world, "prod")
    assert isinstance(error, UsageMistake)
    assert (done, error.what) == ([], "no environment `prod` in the policy")
    assert world.head() == head


class TestRunAgain:
    """It goes on where it stopped; what is done is not done twice."""

    def test_after_a_reviewer_said_yes(self, world: World) -> None:
        """Nothing but the last step is left."""
        world.apply_policy(PRODUCTION)
        shipping(world, "production")
        version = world.registry.versions.named(SYSTEM, "v1")
        decision = world.registry.releases.newest_decision(version.id, "production")
        assert decision is not None
        world.say(decision)
        world.asked.clear()
        done, error = shipping(world, "production", reason=None)
        assert error is None
        assert done == [
            "change: done",
            "register: skipped",
            "promote staging: skipped",
            "evaluate production: skipped",
            "gate production: done",
            "promote production: done",
        ]
        assert world.asked == []
        assert world.registry.releases.newest_decision(version.id, "production") == decision

    def test_while_it_still_waits(self, world: World) -> None:
        """Asking again neither asks reviewers anew nor records anything."""
        world.apply_policy(PRODUCTION)
        shipping(world, "production")
        head = world.head()
        _, error = shipping(world, "production", reason=None)
        assert isinstance(error, WaitingForPerson)
        assert world.head() == head

    def test_when_everything_is_done(self, world: World) -> None:
        """An unchanged folder that is live needs no reason and does nothing."""
        world.apply_policy(STAGING)
        shipping(world)
        head = world.head()
        done, error = shipping(world, reason=None)
        assert error is None
        assert done == ["change: done", "register: skipped", "promote staging: skipped"]
        assert world.head() == head

    def test_after_the_run_was_cut_short(self, world: World) -> None:
        """The open run is resumed: only what has no answer is asked."""
        world.apply_policy(STAGING)
        world.answers = _down_at("t013")
        done, error = shipping(world)
        assert isinstance(error, InfrastructureFailed)
        assert done == ["change: done", "register: done"]
        world.answers = settled_answer
        world.asked.clear()
        done, error = shipping(world, reason=None)
        assert error is None
        assert [question.case for question in world.asked] == ["t013"]
        assert done[-1] == "promote staging: done"
        assert len(world.registry.runs.of_version(world.live() or "")) == 1

    def test_although_somebody_else_moved_on_in_a_required_place(self, world: World) -> None:
        """What passed there once has passed there; nobody has to take it back first."""
        world.apply_policy(PRODUCTION)
        shipping(world, "production")
        first = world.registry.versions.named(SYSTEM, "v1")
        lock = (world.folder / "lockgate.lock").read_bytes()
        world.make_live(17)
        decision = world.registry.releases.newest_decision(first.id, "production")
        assert decision is not None
        world.say(decision)
        world.write(16)
        (world.folder / "lockgate.lock").write_bytes(lock)
        done, error = shipping(world, "production", reason=None)
        assert error is None
        assert done == [
            "change: done",
            "register: skipped",
            "promote staging: skipped",
            "evaluate production: skipped",
            "gate production: done",
            "promote production: done",
        ]
        assert world.live("production") == first.id
        assert world.live("staging") != first.id


class TestItStopsAtTheFirstRefusal:
    """What was done before stays; nothing after it happens."""

    def test_without_a_reason_for_a_change(self, world: World) -> None:
        """A changed folder needs a word of why."""
        world.apply_policy(STAGING)
        done, error = shipping(world, reason=None)
        assert done == ["change: done"]
        assert isinstance(error, UsageMistake)
        assert (error.what, error.hint) == ("a version needs a reason", "say why: -m REASON")

    def test_at_a_secret(self, world: World) -> None:
        """Nothing is registered, so nothing is run."""
        world.apply_policy(STAGING)
        secret = "ghp_" + "A1b2C3d4E5f6" * 3
        (world.folder / "prompts" / "a.md").write_text(f"token = {secret}\n")
        done, error = shipping(world)
        assert done == ["change: done"]
        assert isinstance(error, Refused)
        assert error.what == "1 possible secret in the folder; nothing was stored"
        done, error = shipping(world, keep_secrets="made up for the docs")
        assert error is None

    def test_at_a_gate_that_says_no(self, world: World) -> None:
        """The decision is told, then the refusal; the next place is not tried."""
        world.apply_policy(PRODUCTION)
        world.write(11)
        done, error = shipping(world, "production")
        assert done[-1] == "gate staging: done"
        assert isinstance(error, Refused)
        assert error.what == "the gate did not pass v1 for staging: fail"
        assert world.live() is None
        assert world.registry.releases.decisions(SYSTEM)[0].environment == "staging"

    def test_at_a_version_that_would_revert_what_is_live_unless_that_is_stated(
        self, world: World
    ) -> None:
        """`--reverting` is carried through to the gate."""
        world.apply_policy(STAGING)
        world.make_live(16)
        lock = (world.folder / "lockgate.lock").read_bytes()
        world.make_live(17)
        world.write(18)
        (world.folder / "lockgate.lock").write_bytes(lock)
        _, error = shipping(world)
        assert isinstance(error, Refused)
        assert any(problem.startswith("contains live:") for problem in error.problems)
        _, error = shipping(world, reason=None, reverting="v2")
        assert error is None

    def test_where_the_shipper_is_the_only_reviewer(self, world: World) -> None:
        """Who ships registered it, so their own yes is not possible."""
        world.apply_policy(PRODUCTION)
        _, error = shipping(world, "production", actor=LEAD)
        assert isinstance(error, WaitingForPerson)
        assert error.what == "v1 waits for production: 0 of 1 approvals, from support-lead"


def test_what_is_live_is_evaluated_first_where_it_lacks_a_run(world: World) -> None:
    """With a new suite both versions are run, the live one before the candidate."""
    world.apply_policy(STAGING)
    shipping(world)
    world.apply_suite(cases=25)
    world.write(20)
    world.asked.clear()
    done, error = shipping(world)
    assert error is None
    assert done == [
        "change: done",
        "register: done",
        "evaluate staging: done",
        "evaluate staging: done",
        "gate staging: done",
        "promote staging: done",
    ]
    assert len(world.asked) == 50
    first, second = (world.registry.versions.named(SYSTEM, label) for label in ("v1", "v2"))
    newest = [world.registry.runs.of_version(v.id)[-1].end for v in (first, second)]
    assert newest[0] is not None
    assert newest[1] is not None
    assert newest[0].seq < newest[1].seq


def _down_at(case: str) -> Any:
    def answers(question: Question, settings: Any) -> Any:
        if question.case == case:
            raise CaseFailed("the endpoint is down")
        return settled_answer(question, settings)

    return answers
