"""Rule 13 holds in whatever order people and accidents come; each seed is one night."""

from __future__ import annotations

import random

import pytest

from builders import append
from lockgate.domain.upkeep import Closing
from lockgate.errors import LockgateError
from lockgate.upkeep.break_glass import break_glass, look
from lockgate.upkeep.closing import close
from lockgate.upkeep.hold import hold, lift_hold, lift_quarantine
from lockgate.upkeep.rollback import find_way_back, roll_back
from tests.loop.world import STAGING, SYSTEM, World

PEOPLE = ("anna", "ben", "cem")
STEPS = 60


class Night:
    """People who do one thing after the other, in staging."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.registry = world.registry
        self.chance = random.Random(seed)
        world.apply_policy(STAGING)
        world.make_live(13)
        world.make_live(14)
        for right in (15, 12):
            world.version(right)
        self.versions = world.registry.versions.page(SYSTEM)
        self.done: list[str] = []

    def somebody(self) -> str:
        """Return who acts."""
        return self.chance.choice(PEOPLE)

    def anything(self) -> None:
        """Do one thing; a refusal is as good as a deed, as long as it changes nothing."""
        acts = (
            self.breaks, self.breaks, self.closes, self.closes, self.goes_back, self.goes_back, self.holds,
            self.lifts, self.evaluates, self.gates, self.promotes, self.closes_behind_our_back,
        )  # fmt: skip
        act = self.chance.choice(acts)
        before = self.world.head()
        try:
            act()
        except LockgateError:
            assert self.world.head() == before, act
            return
        self.done.append(act.__name__)

    def breaks(self) -> None:
        """Break the glass."""
        target, actor = self.world.policy.environment("staging"), self.somebody()
        version = self.chance.choice(self.versions)
        glass = look(self.registry, version, target, self.world.policy, actor=actor)
        assert glass.bypasses
        break_glass(self.registry, glass, target, ticket="T", reason="r", actor=actor)

    def closes(self) -> None:
        """Close what can be closed."""
        target = self.world.policy.environment("staging")
        found = close(self.registry, SYSTEM, target, reason="r", actor=self.somebody())
        if not found.closings:
            trouble = found.trouble()
            assert trouble is not None and trouble.hint
            raise trouble

    def closes_behind_our_back(self) -> None:
        """Write a closing of one's own."""
        broken = self.registry.upkeep.unclosed(SYSTEM, "staging")
        generation = broken[-1].attempt.generation if broken else 1
        append(self.registry, Closing(SYSTEM, "staging", generation, None, "r", self.somebody()))

    def goes_back(self) -> None:
        """Roll back; nothing may stop it once there is a target."""
        found = find_way_back(self.registry, SYSTEM, "staging")
        for _ in roll_back(self.registry, found, actor=self.somebody()):
            pass

    def holds(self) -> None:
        """Hold the environment."""
        hold(self.registry, SYSTEM, "staging", reason="r", actor=self.somebody())

    def lifts(self) -> None:
        """Lift a hold, or a quarantine."""
        if self.registry.releases.holds(SYSTEM, "staging"):
            lift_hold(self.registry, SYSTEM, "staging", reason="r", actor=self.somebody())
        else:
            version = self.chance.choice(self.versions)
            lift_quarantine(self.registry, version, reason="r", actor=self.somebody())

    def evaluates(self) -> None:
        """Evaluate a version."""
        self.world.evaluate(self.chance.choice(self.versions))

    def gates(self) -> None:
        """Ask the gate."""
        self.world.decide(self.chance.choice(self.versions))

    def promotes(self) -> None:
        """Promote what the gate says now."""
        version = self.chance.choice(self.versions)
        decision = self.world.decide(version)
        before = self.world.head()
        try:
            self.world.promote(version, decision=decision)
        except LockgateError:
            assert self.world.head() == before
            self.done.append("gates")

    def check(self) -> None:
        """Hold everything that was recorded against the rule."""
        history = self.registry.releases.deployments(SYSTEM, "staging", limit=500)[::-1]
        upkeep = self.registry.upkeep
        gated: set[str] = set()
        for deployment in history:
            attempt = deployment.attempt
            closing = upkeep.closing(SYSTEM, "staging", attempt.generation)
            if deployment.is_ungated:
                assert attempt.ticket and attempt.reason and attempt.decision is None
                assert closing is None or closing.actor != attempt.actor
            else:
                assert closing is None
            if attempt.kind == "promote":
                gated.add(str(attempt.version))
                open_then = [
                    older
                    for older in history
                    if older.is_ungated
                    and older.attempt.seq < attempt.seq
                    and not self.closed_before(older.attempt.generation, attempt.seq)
                ]
                assert open_then == []
            if attempt.kind == "rollback":
                assert attempt.version in gated

    def closed_before(self, generation: int, seq: int) -> bool:
        """Tell whether a break-glass was closed by then."""
        closing = self.registry.upkeep.closing(SYSTEM, "staging", generation)
        return closing is not None and closing.seq < seq


@pytest.mark.parametrize("seed", range(6))
def test_a_night(world: World, seed: int) -> None:
    """Whatever is tried, refusals change nothing, and every record keeps the rule."""
    night = Night(world, seed)
    for _ in range(STEPS):
        night.anything()
        night.check()
    assert {"breaks", "goes_back"} <= set(night.done), night.done
    assert {"closes", "closes_behind_our_back"} & set(night.done), night.done
