"""Replay the story through the real loop: every score, decision and signature is made here.

- A scene calls the steps that the commands call; nothing is recorded that did not happen.
- A refusal is part of the story and is told with its reason.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate import wiring
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.loop.apply import apply_policy, apply_suite
from lockgate.loop.approve import Word, approve_decision
from lockgate.loop.change import change
from lockgate.loop.evaluate import Limits, evaluate, missing_suites
from lockgate.loop.gate import decide, gaps
from lockgate.loop.promote import promote, standing
from lockgate.loop.register import register, register_from
from lockgate.loop.ship import fill_gap
from lockgate.story.around import Around, Told
from lockgate.story.sample import KEYS
from lockgate.story.script import Cue, Scene, read_script


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the story."""

    scene: int
    """From 1."""
    title: str
    command: str
    """What one would type for it."""
    by: str
    kind: str
    """The step's name, or `refused`."""
    result: Any
    """What the step returned, or the error when it was refused."""
    expect: str | None
    label: str
    """Label of the version it is about."""
    more: Any = None
    """Findings that stand beside a decision."""


@dataclass
class Stage(Around):
    """A copied sample, while its story is replayed."""

    def play(self) -> Iterator[Event]:
        """Apply policy and suites, then play every scene in order."""
        self._apply()
        for number, scene in enumerate(read_script(self.root), 1):
            for cue in scene.steps:
                yield from self._cue(number, scene, cue)

    def _apply(self) -> None:
        from lockgate.workspace.policies import read_policy
        from lockgate.workspace.suites import read_suite

        for name in wiring.suite_files(self.root):
            suite = read_suite(self.root, name)
            apply_suite(self.registry, suite.suite, suite.scorer_files, actor="ml-lead")
        file = read_policy(self.root)
        apply_policy(self.registry, file.policy, file.data, file.signers, actor="ml-lead")

    def _cue(self, number: int, scene: Scene, cue: Cue) -> Iterator[Event]:
        play = getattr(self, f"_{cue.do}")
        command = _command(scene, cue, self._label(scene, cue))
        try:
            for kind, result, more in play(scene, cue):
                label = self._label(scene, cue)
                yield Event(
                    number, scene.title, command, cue.by, kind, result, cue.expect, label, more
                )
                command = ""
        except LockgateError as error:
            label = self._label(scene, cue)
            yield Event(number, scene.title, command, cue.by, "refused", error, cue.expect, label)

    def _label(self, scene: Scene, cue: Cue) -> str:
        if cue.version:
            return cue.version
        newest = self.newest.get(scene.system)
        return newest.label if newest else "v1"

    def _folder(self, scene: Scene) -> Path:
        return self.root / "systems" / scene.system

    def _change(self, scene: Scene, cue: Cue) -> Told:
        folder = self._folder(scene)
        self._copy(cue, folder)
        yield "change", change(self.registry, wiring.read_draft(self.root, folder)), None

    def _copy(self, cue: Cue, folder: Path) -> None:
        if cue.files:
            shutil.copytree(self.root / "story" / cue.files, folder, dirs_exist_ok=True)

    def _register(self, scene: Scene, cue: Cue) -> Told:
        folder = self._folder(scene)
        parent = self.registry.versions.named(scene.system, cue.parent) if cue.parent else None
        done = register(
            self.registry,
            wiring.read_draft(self.root, folder),
            reason=cue.reason,
            actor=cue.by,
            parent=parent,
            track=cue.track,
            find_secrets=wiring.find_secrets,
        )
        wiring.write_lock(folder, self.registry, done.version)
        self.newest[scene.system] = done.version
        yield "register", done, None

    def _register_from(self, scene: Scene, cue: Cue) -> Told:
        source = self._version(scene, cue)
        done = register_from(self.registry, source, reason=cue.reason, actor=cue.by)
        folder = self._folder(scene)
        self._copy(cue, folder)
        wiring.write_lock(folder, self.registry, done.version)
        self.newest[scene.system] = done.version
        yield "register", done, None

    def _evaluate(self, scene: Scene, cue: Cue) -> Told:
        version = self._version(scene, cue)
        for suite in missing_suites(self.registry, version):
            live = self._live(scene.system)
            run = evaluate(
                self.registry,
                version,
                suite.digest,
                wiring.runner_opener(self.root, self.registry),
                actor=cue.by,
                limits=Limits(),
                baseline=live,
            )
            yield "evaluate", deque(run, maxlen=1).pop(), live

    def _live(self, system: str) -> Version | None:
        for name in reversed(list(self._policy().environments)):
            live = self.registry.releases.live(system, name)
            if live is not None and live.attempt.version is not None:
                return self.registry.versions.get(live.attempt.version)
        return None

    def _gate(self, scene: Scene, cue: Cue) -> Told:
        version, policy, to = self._version(scene, cue), self._policy(), str(cue.to)
        for gap in gaps(self.registry, version, to, policy):
            if gap.is_live:
                opener = wiring.runner_opener(self.root, self.registry)
                for _ in fill_gap(self.registry, gap, policy, opener, cue.by):
                    pass
        decision = decide(self.registry, version, to, policy, actor=cue.by, reverting=cue.reverting)
        extra = standing(self.registry, decision, policy.environment(to), promoter="ci")
        yield "gate", decision, extra

    def _approve(self, scene: Scene, cue: Cue) -> Told:
        version, to = self._version(scene, cue), str(cue.to)
        environment = self._policy().environment(to)
        decision = self.registry.releases.newest_decision(version.id, to)
        assert decision is not None  # the script gates before it approves
        key = self.root / KEYS / cue.by
        said = Word(
            "yes" if cue.do == "approve" else "no",
            cue.reason,
            cue.by,
            key if key.exists() else None,
        )
        yield (
            "approve",
            approve_decision(
                self.registry,
                decision,
                version,
                environment,
                said,
                signing=wiring.signing(),
                actor=cue.by,
            ),
            None,
        )

    _reject = _approve

    def _promote(self, scene: Scene, cue: Cue) -> Told:
        version, policy, to = self._version(scene, cue), self._policy(), str(cue.to)
        decision = decide(self.registry, version, to, policy, actor=cue.by, reverting=cue.reverting)
        environment = policy.environment(to)
        done = promote(
            self.registry,
            version,
            environment,
            decision,
            actor=cue.by,
            signing=wiring.signing(),
            target=self._target(scene, cue),
        )
        yield "promote", done, None


def _command(scene: Scene, cue: Cue, label: str) -> str:
    system = f" -s {scene.system}"
    reason = f' -m "{cue.reason}"' if cue.reason else ""
    reverting = f" --reverting {cue.reverting}" if cue.reverting else ""
    version = cue.version or ""
    return {
        "change": f"lockgate change{system}",
        "register": f"lockgate register{system}"
        f"{' --experiment' if cue.track == 'experiment' else ''}"
        f"{f' --parent {cue.parent}' if cue.parent else ''}{reason}",
        "register_from": f"lockgate register --from {version}{system}{reason}",
        "evaluate": f"lockgate evaluate {label}{system}",
        "gate": f"lockgate gate {label} --to {cue.to}{system}{reverting}",
        "approve": f"lockgate approve {label} --to {cue.to}{system} --key {KEYS}/{cue.by}{reason}",
        "reject": f"lockgate reject {label} --to {cue.to}{system} --key {KEYS}/{cue.by}{reason}",
        "promote": f"lockgate promote {label} --to {cue.to}{system}{reverting}",
        "rollback": f"lockgate rollback {cue.to}{system} --yes"
        f"{f' --incident {cue.incident}' if cue.incident else ''}{reason}",
        "note": f"lockgate note {cue.generation} -e {cue.to}{system}{reason}",
        "lift": f"lockgate lift {version or cue.to}{system}{reason}",
        "expire": f"lockgate expire {version}{system} --yes{reason}",
        "rehearse": f"lockgate rehearse {cue.to}{system} --yes"
        f"{f' --operator {cue.operator}' if cue.operator else ''}",
        "review": f"lockgate review{system}",
    }[cue.do]
