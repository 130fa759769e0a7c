"""The story's steps around the loop: the way back, rehearsal, review and clearing away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate import wiring
from lockgate.domain.policy import Policy
from lockgate.domain.version import Version
from lockgate.ports import Registry, Target
from lockgate.story.script import Cue, Scene
from lockgate.upkeep import retention
from lockgate.upkeep.hold import lift_hold, lift_quarantine
from lockgate.upkeep.note import note
from lockgate.upkeep.rehearse import plan_rehearsal, rehearse
from lockgate.upkeep.review import Reviewed, review
from lockgate.upkeep.rollback import WayBack, find_way_back, roll_back

Told = Iterator[tuple[str, Any, Any]]
"""For each thing that happened: the step, what it returned, and what is told beside it."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Where a rollback led, and as which generation."""

    way_back: WayBack
    generation: int


@dataclass
class Around:
    """What happens around the loop in a copied sample."""

    root: Path
    registry: Registry
    newest: dict[str, Version] = field(default_factory=dict)
    """System to the version registered last."""

    def _policy(self) -> Policy:
        return wiring.applied_policy(self.registry)

    def _version(self, scene: Scene, cue: Cue) -> Version:
        if cue.version:
            return self.registry.versions.named(scene.system, cue.version)
        return self.newest[scene.system]

    def _target(self, scene: Scene, cue: Cue) -> Target:
        return wiring.target(self.root, scene.system, self._policy().environment(str(cue.to)))

    def _rollback(self, scene: Scene, cue: Cue) -> Told:
        way_back = find_way_back(self.registry, scene.system, str(cue.to))
        events = roll_back(
            self.registry,
            way_back,
            actor=cue.by,
            target=self._target(scene, cue),
            reason=cue.reason or None,
            incident=cue.incident,
        )
        generations = [event.generation for event in events]
        yield "rollback", RolledBack(way_back, generations[-1]), None

    def _note(self, scene: Scene, cue: Cue) -> Told:
        yield (
            "note",
            note(
                self.registry,
                scene.system,
                int(cue.generation or 0),
                text=cue.reason,
                actor=cue.by,
                environment=cue.to,
            ),
            None,
        )

    def _lift(self, scene: Scene, cue: Cue) -> Told:
        how = {"reason": cue.reason, "actor": cue.by}
        if cue.version:
            yield "lift", lift_quarantine(self.registry, self._version(scene, cue), **how), None
        else:
            yield "lift", lift_hold(self.registry, scene.system, str(cue.to), **how), None

    def _rehearse(self, scene: Scene, cue: Cue) -> Told:
        policy, name = self._policy(), str(cue.to)
        plan = plan_rehearsal(self.registry, scene.system, name, policy, operator=cue.operator)
        steps = rehearse(
            self.registry,
            plan,
            policy,
            wiring.runner_opener(self.root, self.registry),
            self._target(scene, cue),
            actor=cue.by,
        )
        done = [step.result for step in steps if step.name == "done"]
        yield "rehearse", done[-1], plan

    def _expire(self, scene: Scene, cue: Cue) -> Told:
        keep = self._policy().experiments_keep
        named = [self._version(scene, cue)]
        found = retention.plan(self.registry, scene.system, keep, named=named)
        yield (
            "expire",
            retention.expire(self.registry, found, actor=cue.by, reason=cue.reason),
            None,
        )

    def _review(self, scene: Scene, cue: Cue) -> Told:
        policy = self._policy()
        around = wiring.surroundings(self.root, self.registry, scene.system, policy, None)
        for step in review(self.registry, scene.system, policy, around, actor=cue.by):
            if isinstance(step, Reviewed):
                yield "review", step, None
