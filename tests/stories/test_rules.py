"""The rules of the loop, tried by thousands of steps in orders nobody would think of."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from builders import hold, lift, quarantine, settle, take
from lockgate import wiring
from lockgate.domain.release import Decision, Proposal
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.loop.approve import Word, approve_proposal
from lockgate.loop.evaluate import Limits
from lockgate.ports import CaseFailed, Question
from loop.invariants import all_problems, identities, requirement_problems
from loop.world import CI, DEV, LEAD, OTHER_LEAD, SYSTEM, World, new_world, settled_answer

PEOPLE = (DEV, CI, LEAD, OTHER_LEAD, "passer-by")
PLACES = ("staging", "production")
MEANWHILE = ("hold", "quarantine", "run", "suite", "other", "time")
"""What may come between a decision and the promotion that rests on it."""


def policy(minimum: float, *, approvals: int, max_age: str, extra: str = "") -> str:
    """Return a policy; in all of them production requires staging."""
    return f"""\
[environments.staging]
stakes = "low"
max_age = "{max_age}"
[environments.staging.systems.{SYSTEM}]
rules = [{{ suite = "triage", metric = "accuracy", min = {minimum}, max_drop = 0.3 }}]
max_errors = 1

[environments.production]
stakes = "high"
requires = ["staging"]
reviewers = ["ml-lead", "support-lead"]
accept_claimed = true
approvals = {approvals}
max_age = "{max_age}"
[environments.production.systems.{SYSTEM}]
rules = [{{ suite = "triage", metric = "accuracy", min = {minimum}{extra} }}]
"""


POLICIES = (
    policy(0.5, approvals=1, max_age="7d"),
    policy(0.6, approvals=2, max_age="1d"),
    policy(0.5, approvals=1, max_age="7d", extra=', confidence = 0.95, on_inconclusive = "review"'),
)


class Loop(RuleBasedStateMachine):
    """People, several at once, doing anything at any time."""

    reached: ClassVar[Counter[str]] = Counter()
    """How often each step went well, and how often it was refused, over all examples."""

    world: World

    @initialize(is_live=st.booleans())
    def begin(self, is_live: bool) -> None:
        """Make a registry with a policy and one version that passed staging, or is live there."""
        self.folder = Path(tempfile.mkdtemp(prefix="lockgate-rules-"))
        (self.folder / "keys").mkdir()
        (self.folder / "keys" / "signers").write_text("")
        self.world = new_world(self.folder / "registry", self.folder / "keys")
        self.world.apply_policy(POLICIES[0])
        first = self.world.make_live(14) if is_live else self.world.evaluated(14)
        self.versions: list[Version] = [first]
        self.decisions: list[Decision] = [self.world.decide(first)]
        self.stops: list[Any] = []
        self.known = identities(self.world.root)
        self.newest_time = ""

    def teardown(self) -> None:
        """Look at everything that was ever recorded."""
        if not hasattr(self, "world"):
            return
        try:
            root = self.world.root
            assert all_problems(root) == []
            assert list(requirement_problems(root, {"production": ["staging"]})) == []
            assert self.known.items() <= identities(root).items()
        finally:
            self.world.registry.close()
            shutil.rmtree(self.folder)

    def attempted(self, step: str, act: Callable[[], Any]) -> Any:
        """Do something that may be refused; anything but a refusal is a fault of the product."""
        try:
            done = act()
        except LockgateError as error:
            assert error.what
            self.reached[f"{step} refused"] += 1
            return None
        self.reached[step] += 1
        return done

    def some(self, things: list[Any], choice: int) -> Any:
        """Pick one of the newest eight; 0 is the newest."""
        newest = things[-8:]
        return newest[-1 - choice % len(newest)]

    # The steps.

    @rule(
        right=st.sampled_from([8, 13, 16, 19]),
        wording=st.integers(0, 1),
        track=st.sampled_from(["release", "release", "release", "experiment"]),
        parent=st.none() | st.integers(0, 7),
        actor=st.sampled_from([DEV, DEV, CI, LEAD]),
        owner=st.sampled_from([DEV, DEV, DEV, OTHER_LEAD]),
    )
    def register(
        self, right: int, wording: int, track: str, parent: int | None, actor: str, owner: str
    ) -> None:
        """Write the folder and register it, on top of its lock or of any version."""
        self.world.write(right, prompt=f"Wording {wording}.\n")
        above = None if parent is None else self.some(self.versions, parent)
        version = self.attempted(
            "register",
            lambda: self.world.register(parent=above, track=track, actor=actor, owner=owner),
        )
        if version is not None:
            self.versions.append(version)
            self.known[version.id] = identities(self.world.root)[version.id]

    @rule(which=st.integers(0, 7), broken=st.integers(0, 3), again=st.booleans())
    def evaluate(self, which: int, broken: int, again: bool) -> None:
        """Run the suite, with the first cases failing; go on with an open run or begin anew."""
        version = self.some(self.versions, which)
        self.world.answers = _breaking(broken)
        digest = self.world.suite().digest
        records = self.world.registry.runs.of_version(version.id, digest)
        resume = next((record for record in records if record.end is None), None)
        self.attempted(
            "evaluate",
            lambda: self.world.evaluate(
                version, limits=Limits(1, 3), resume=None if again else resume
            ),
        )
        self.world.answers = settled_answer

    @rule(
        which=st.integers(0, 7),
        place=st.sampled_from(PLACES),
        states=st.booleans(),
        again=st.booleans(),
    )
    def gate(self, which: int, place: str, states: bool, again: bool) -> None:
        """Decide about any version, stating that it reverts what is live, or not."""
        version = self.some(self.versions, which)
        self._decided(version, place, states, again=again)

    def _decided(
        self, version: Version, place: str, states: bool, *, again: bool = False
    ) -> Decision | None:
        live = self.world.registry.versions.get(self.world.live(place) or "")
        reverting = live.label if live and states else None
        decision: Decision | None = self.attempted(
            "gate", lambda: self.world.decide(version, place, reverting=reverting, again=again)
        )
        if decision is not None:
            self.decisions.append(decision)
        return decision

    @rule(
        which=st.integers(0, 7),
        signer=st.sampled_from(PEOPLE),
        word=st.sampled_from(["yes", "yes", "yes", "no"]),
    )
    def say(self, which: int, signer: str, word: str) -> None:
        """Say yes or no to any decision, as anybody."""
        decision = self.some(self.decisions, which)
        self.attempted("say", lambda: self.world.say(decision, word, key=None, by=signer))

    @rule(
        which=st.integers(0, 7),
        on=st.integers(0, 7),
        fits=st.booleans(),
        place=st.sampled_from(PLACES),
        actor=st.sampled_from(PEOPLE),
    )
    def promote(self, which: int, on: int, fits: bool, place: str, actor: str) -> None:
        """Promote any version on any decision, its own or somebody else's."""
        decision = self.some(self.decisions, on)
        version = self.some(self.versions, which)
        if fits:
            found = self.world.registry.versions.get(decision.version)
            assert found is not None
            version, place = found, decision.environment
        self._promoted(version, place, decision, actor)

    def _promoted(self, version: Version, place: str, decision: Decision, actor: str) -> None:
        head = self.world.head()
        done = self.attempted(
            f"promote {place}",
            lambda: self.world.promote(version, place, decision, actor=actor),
        )
        if done is None or not done.is_new:
            assert self.world.head() == head
        else:
            assert self.world.live(place) == version.id

    @rule(
        which=st.integers(0, 7),
        places=st.sampled_from([PLACES, PLACES[1:], PLACES, PLACES[:1]]),
        signers=st.sampled_from([(LEAD, OTHER_LEAD), (LEAD,), (OTHER_LEAD,), ()]),
        promoter=st.sampled_from([CI, CI, LEAD]),
        meanwhile=st.sampled_from([None, None, *MEANWHILE]),
    )
    def travel(
        self,
        which: int,
        places: tuple[str, ...],
        signers: tuple[str, ...],
        promoter: str,
        meanwhile: str | None,
    ) -> None:
        """Take a version through everything, as `ship` would; something may come in between."""
        version = self.some(self.versions, which)
        self.attempted("evaluate", lambda: self.world.evaluate(version))
        for place in places:
            decision = self._decided(version, place, states=True)
            if decision is None:
                return
            for signer in signers if decision.approvals_needed else ():
                self.attempted("say", partial(self.world.say, decision, key=None, by=signer))
            if meanwhile is not None and place == places[-1]:
                self._happens(meanwhile, version, place)
            self._promoted(version, place, decision, promoter)

    @rule()
    def leap(self) -> None:
        """Take a version that nobody has seen straight to production, with everybody's yes."""
        self.world.write(20, prompt=f"Wording of {self.world.head()}.\n")
        version = self.attempted("register", self.world.register)
        if version is None:
            return
        self.versions.append(version)
        self.attempted("evaluate", lambda: self.world.evaluate(version))
        decision = self._decided(version, "production", states=True)
        if decision is not None:
            for signer in (LEAD, OTHER_LEAD):
                self.attempted("say", partial(self.world.say, decision, key=None, by=signer))
            self._promoted(version, "production", decision, CI)

    def _happens(self, what: str, version: Version, place: str) -> None:
        """Let something come between a decision and its promotion."""
        if what == "hold":
            self.hold(place)
        elif what == "quarantine":
            self.stops.append(quarantine(self.world.registry, version))
        elif what == "run":
            self.attempted("evaluate", lambda: self.world.evaluate(version))
        elif what == "suite":
            self.attempted("apply suite", lambda: self.world.apply_suite("tone", cases=3))
        elif what == "other":
            live = self.world.registry.versions.get(self.world.live(place) or "")
            if live is not None:
                self.attempted("evaluate", lambda: self.world.evaluate(live))
        else:
            self.world.clock.move(days=8)

    @rule(
        on=st.integers(0, 7),
        anew=st.booleans(),
        outcome=st.sampled_from(["failed", "abandoned", "live"]),
    )
    def deploy_by_hand(self, on: int, anew: bool, outcome: str) -> None:
        """Take a generation past the steps, on any decision, and settle it somehow."""
        decision = self.some(self.decisions, on)
        if anew:
            version = self.some(self.versions, on)
            decision = self._decided(version, "staging", states=True) or decision
        version = self.world.registry.versions.get(decision.version)
        assert version is not None
        registry, place = self.world.registry, decision.environment
        attempt = self.attempted(
            "take",
            lambda: take(registry, version, decision, environment=place, actor="by-hand"),
        )
        if attempt is not None:
            settle(registry, attempt, outcome)

    # What is asked.

    @rule(which=st.integers(0, 2), actor=st.sampled_from(PEOPLE))
    def apply_policy(self, which: int, actor: str) -> None:
        """Apply another policy, or propose it."""
        self.attempted(
            "apply policy", lambda: self.world.apply_policy(POLICIES[which], actor=actor)
        )

    @rule(cases=st.integers(19, 21), actor=st.sampled_from(PEOPLE))
    def apply_suite(self, cases: int, actor: str) -> None:
        """Apply another suite, or propose it."""
        self.attempted("apply suite", lambda: self.world.apply_suite(cases=cases, actor=actor))

    @precondition(lambda self: self.world.registry.releases.proposals())
    @rule(which=st.integers(0, 7), signer=st.sampled_from(PEOPLE))
    def agree(self, which: int, signer: str) -> None:
        """Say yes to any proposal, as anybody."""
        proposal: Proposal = self.some(self.world.registry.releases.proposals(), which)
        self.attempted(
            "agree",
            lambda: approve_proposal(
                self.world.registry,
                proposal,
                self.world.policy,
                Word("yes", signer=signer),
                signing=wiring.signing(),
                actor=signer,
            ),
        )

    # What stops promotions.

    @rule(place=st.sampled_from(PLACES))
    def hold(self, place: str) -> None:
        """Stop promotions to a place."""
        self.stops.append(hold(self.world.registry, place))

    @rule(which=st.integers(0, 7))
    def quarantine(self, which: int) -> None:
        """Stop a definition everywhere."""
        self.stops.append(quarantine(self.world.registry, self.some(self.versions, which)))

    @precondition(lambda self: self.stops)
    @rule(which=st.integers(0, 7))
    def lift(self, which: int) -> None:
        """End a hold or a quarantine."""
        stop = self.some(self.stops, which)
        self.stops.remove(stop)
        lift(self.world.registry, stop)

    @rule(hours=st.integers(-240, 240))
    def clock_jumps(self, hours: int) -> None:
        """Set the clock forward or back."""
        self.world.clock.move(hours=hours)

    @invariant()
    def recorded_time_never_goes_back(self) -> None:
        """Whatever the clock says, the newest record is not older than the one before."""
        if hasattr(self, "world"):
            entry = self.world.registry.ledger.head()
            assert entry is not None
            assert entry.at >= self.newest_time
            self.newest_time = entry.at


def _breaking(count: int) -> Any:
    def answers(question: Question, given: Any) -> Any:
        if question.input["n"] <= count:
            raise CaseFailed("the endpoint is down")
        return settled_answer(question, given)

    return answers


@pytest.mark.slow
def test_no_order_of_steps_breaks_a_rule() -> None:
    """Thousands of steps by several people, clock jumps included, leave every registry sound."""
    Loop.reached.clear()
    run_state_machine_as_test(
        Loop,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    both_ways = ("evaluate", "gate", "say", "promote staging", "promote production", "agree")
    for step in (*both_ways, "take", "apply policy", "apply suite"):
        assert Loop.reached[step] > 0, Loop.reached
        assert Loop.reached[f"{step} refused"] > 0, Loop.reached
    assert Loop.reached["promote staging"] >= 50, Loop.reached
    assert Loop.reached["promote production"] >= 5, Loop.reached
