"""A registry with one small system, written as people write it, and each step as one call.

    world.apply_policy(STAGING)
    world.apply_suite()
    world.write(right=17)
    first = world.register()
    world.evaluate(first)
    world.decide(first, "staging")
    world.promote(first, "staging")

The system answers rightly as many of the 20 cases as its settings say, so that a test can order any
score. It is asked in this process unless a test wants real ones: `world.real()`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders import NOW, FixedClock
from lockgate import wiring
from lockgate.domain.evidence import RunEnd
from lockgate.domain.policy import Policy, allowed_errors, stop_after_errors
from lockgate.domain.release import Approval, Decision
from lockgate.domain.suite import Suite
from lockgate.domain.version import Version
from lockgate.loop.apply import Application, apply_policy, apply_suite
from lockgate.loop.approve import Word, approve_decision
from lockgate.loop.evaluate import Limits, OpenRunner, evaluate
from lockgate.loop.gate import decide
from lockgate.loop.promote import Promoted, promote
from lockgate.loop.register import Registered, register
from lockgate.ports import CaseFailed, Question, Reply, Runner
from lockgate.storage.registry import Registry, create_registry
from lockgate.workspace.policies import read_policy
from lockgate.workspace.suites import read_suite

SYSTEM = "support-desk"
DEV = "support-dev"
OWNER = "support-ml"
CI = "ci"
LEAD = "ml-lead"
OTHER_LEAD = "support-lead"
CASES = 20

ANSWER = '''\
"""Answer "billing" to as many tickets as the settings say, and break on some of them."""


def answer(input, settings):
    generation = settings["generation"]
    if input["n"] in generation.get("breaks", []):
        raise ValueError(f"ticket {input['n']} is too much")
    is_right = input["n"] <= generation["right"] and input["n"] not in generation.get("wrong", [])
    return "billing" if is_right else "other"
'''

STAGING = """\
[environments.staging]
stakes = "low"

[environments.staging.systems.support-desk]
rules = [{ suite = "triage", metric = "accuracy", min = 0.60, max_drop = 0.10 }]
"""
"""One environment of low stakes: a pass promotes at once."""

PRODUCTION = (
    STAGING
    + """
[environments.production]
stakes = "high"
requires = ["staging"]
signers = "signers"
reviewers = ["ml-lead", "support-lead"]
approvals = 1

[environments.production.systems.support-desk]
rules = [{ suite = "triage", metric = "accuracy", min = 0.70, max_drop = 0.05 }]
"""
)
"""Staging, and behind it production, where a reviewer says yes with a key."""

CLAIMED = """\
[environments.production]
stakes = "high"
reviewers = ["ml-lead", "support-lead"]
accept_claimed = true
"""
"""One environment of high stakes where a reviewer's name needs no key."""


def rules_text(*rules: str, environment: str = "staging", stakes: str = "low", **keys: str) -> str:
    """Return a policy of one environment with some rules, each an inline table's inside."""
    lines = [f"[environments.{environment}]", f'stakes = "{stakes}"']
    lines += [f"{key} = {value}" for key, value in keys.items()]
    lines += [f"[environments.{environment}.systems.{SYSTEM}]"]
    lines += [f"rules = [{', '.join('{ ' + rule + ' }' for rule in rules)}]"]
    return "\n".join(lines) + "\n"


Answers = Callable[[Question, Mapping[str, Any]], Any]


def settled_answer(question: Question, settings: Mapping[str, Any]) -> Any:
    """Answer as `answer.py` does."""
    generation = settings["generation"]
    n = question.input["n"]
    if n in generation.get("breaks", []):
        raise CaseFailed(f"ticket {n} is too much")
    is_right = n <= generation["right"] and n not in generation.get("wrong", [])
    return "billing" if is_right else "other"


@dataclass
class QuickRunner:
    """Answers from a version's settings inside this process; see `ports.Runner`."""

    settings: Mapping[str, Any]
    answers: Answers
    asked: list[Question]
    facts: Mapping[str, Any]
    concurrency: int = 1

    async def start(self) -> Mapping[str, Any]:
        return self.facts

    async def ask(self, question: Question) -> Reply:
        self.asked.append(question)
        return Reply(self.answers(question, self.settings), 10.0 + question.input["n"])

    async def close(self) -> None:
        return None


@dataclass
class World:
    """A registry's folder with its people, and what they do."""

    root: Path
    registry: Registry
    clock: FixedClock
    keys: Path
    """Folder of private keys: `ml-lead`, `support-lead` and `stranger`."""
    answers: Answers = settled_answer
    facts: dict[str, Any] = field(default_factory=lambda: {"runner": "quick"})
    asked: list[Question] = field(default_factory=list)
    """Every question that reached a quick runner."""

    # What people write.

    @property
    def folder(self) -> Path:
        """The system's folder."""
        return self.root / "systems" / SYSTEM

    def write(
        self, right: int = 16, *, prompt: str = "Sort the ticket.\n", **generation: Any
    ) -> None:
        """Write the system so that it answers the first `right` cases rightly."""
        settings = {"right": right, **generation}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        text = "\n".join(
            [
                f'[system]\nname = "{SYSTEM}"\nowner = "{OWNER}"\n',
                '[model]\nname = "counter"\nrevision = "1"\n',
                '[prompt]\nfiles = ["prompts/*.md"]\n',
                "[generation]",
                *lines,
                '\n[code]\nfiles = ["answer.py"]\n',
                '[run]\nkind = "python"\ntarget = "answer:answer"\n',
            ]
        )
        (self.folder / "prompts").mkdir(parents=True, exist_ok=True)
        (self.folder / "lockgate.toml").write_text(text)
        (self.folder / "answer.py").write_text(ANSWER)
        (self.folder / "prompts" / "system.md").write_text(prompt)

    def write_suite(self, name: str = "triage", *, cases: int = CASES, extra: str = "") -> None:
        """Write a suite of tickets numbered from 1; all of them belong to billing."""
        suites = self.root / "suites"
        suites.mkdir(exist_ok=True)
        (suites / f"{name}.toml").write_text(
            f'[suite]\nsystem = "{SYSTEM}"\ncases = "{name}.jsonl"\ntimeout_s = 5.0\n{extra}\n'
            '[[scorers]]\nmetric = "accuracy"\nkind = "exact"\n'
        )
        (suites / f"{name}.jsonl").write_text(
            "".join(
                f'{{"id": "t{n:03}", "input": {{"n": {n}}}, "expected": "billing"}}\n'
                for n in range(1, cases + 1)
            )
        )

    # The loop.

    def draft(self) -> Any:
        """Read the system's folder."""
        return wiring.read_draft(self.root, self.folder)

    def register_as(self, draft: Any = None, **how: Any) -> Registered:
        """Register the folder, or a draft of it, and write the lock."""
        how = {"reason": "better queues", "actor": DEV, "find_secrets": wiring.find_secrets} | how
        done = register(self.registry, draft or self.draft(), **how)
        wiring.write_lock(self.folder, self.registry, done.version)
        return done

    def register(self, **how: Any) -> Version:
        """Register the folder and return the version."""
        return self.register_as(**how).version

    def version(self, right: int = 16, *, parent: Version | None = None, **other: Any) -> Version:
        """Write and register; the other arguments are settings of `generation`."""
        self.write(right, **other)
        return self.register(parent=parent)

    def apply_policy(self, text: str, *, actor: str = LEAD) -> Application:
        """Write policy.toml and make it count."""
        (self.root / "policy.toml").write_text(text)
        file = read_policy(self.root)
        return apply_policy(self.registry, file.policy, file.data, file.signers, actor=actor)

    def apply_suite(self, name: str = "triage", *, actor: str = LEAD, **how: Any) -> Application:
        """Write a suite and make it count; the other arguments are those of `write_suite`."""
        self.write_suite(name, **how)
        file = read_suite(self.root, name)
        return apply_suite(self.registry, file.suite, file.scorer_files, actor=actor)

    def suite(self, name: str = "triage") -> Suite:
        """Return the applied suite of a name."""
        return self.registry.applied.suite(self.registry.applied.suites(SYSTEM)[name].digest)

    @property
    def policy(self) -> Policy:
        """The applied policy."""
        return wiring.applied_policy(self.registry)

    def quick(self) -> OpenRunner:
        """Return what asks a version inside this process."""

        @contextlib.contextmanager
        def open_runner(version: Version, suite: Suite) -> Iterator[Runner]:
            settings = self.registry.versions.definition(version.definition).settings()
            yield QuickRunner(settings, self.answers, self.asked, self.facts)

        return open_runner

    def real(self, concurrency: int = 1) -> OpenRunner:
        """Return what asks a version in processes of its own, from the registry's bytes."""
        return wiring.runner_opener(self.root, self.registry, concurrency)

    def limits(self) -> Limits:
        """Return the limits of the applied policy."""
        policy = wiring.applied_policy_or_none(self.registry)
        if policy is None:
            return Limits()
        return Limits(allowed_errors(policy, SYSTEM), stop_after_errors(policy, SYSTEM))

    def evaluating(self, version: Version, suite: str = "triage", **how: Any) -> Iterator[Any]:
        """Return the progress of a run, for a test that walks it."""
        digest = self.registry.applied.suites(SYSTEM)[suite].digest
        how = {"actor": DEV, "limits": self.limits()} | how
        opener = how.pop("open_runner", None) or self.quick()
        return evaluate(self.registry, version, digest, opener, **how)

    def evaluate(self, version: Version, suite: str = "triage", **how: Any) -> RunEnd:
        """Run a suite against a version to its end."""
        last = deque(self.evaluating(version, suite, **how), maxlen=1).pop()
        assert last.end is not None
        return last.end

    def evaluated(self, right: int = 16, **other: Any) -> Version:
        """Write, register and evaluate; the arguments are those of `version`."""
        version = self.version(right, **other)
        self.evaluate(version)
        return version

    def decide(self, version: Version, environment: str = "staging", **how: Any) -> Decision:
        """Ask the gate."""
        how = {"actor": DEV} | how
        return decide(self.registry, version, environment, self.policy, **how)

    def key(self, name: str) -> Path:
        """Return a private key file."""
        return self.keys / name

    def say(self, decision: Decision, word: str = "yes", *, by: str = LEAD, **how: Any) -> Approval:
        """Record a reviewer's signed word on a decision."""
        version = self.registry.versions.get(decision.version)
        assert version is not None
        environment = how.pop("environment", None)
        actor = how.pop("actor", by)
        return approve_decision(
            self.registry,
            decision,
            version,
            environment or self.policy.environment(decision.environment),
            Word(word, **({"key": self.key(by)} | how)),
            signing=wiring.signing(),
            actor=actor,
        )

    def promote(
        self,
        version: Version,
        environment: str = "staging",
        decision: Decision | None = None,
        *,
        actor: str = CI,
        **how: Any,
    ) -> Promoted:
        """Promote on a decision, or on the newest one."""
        decision = decision or self.registry.releases.newest_decision(version.id, environment)
        assert decision is not None
        target = self.policy.environment(environment)
        return promote(self.registry, version, target, decision, actor=actor, **how)

    def make_live(
        self, right: int = 16, environments: tuple[str, ...] = ("staging",), **other: Any
    ) -> Version:
        """Take a new version through all five steps; reviewers say yes where they are asked."""
        version = self.evaluated(right, **other)
        for name in environments:
            decision = self.decide(version, name)
            if decision.approvals_needed:
                self.say(decision)
            self.promote(version, name, decision)
        return version

    def live(self, environment: str = "staging") -> str | None:
        """Return the id of the version that is live."""
        deployment = self.registry.releases.live(SYSTEM, environment)
        return deployment.attempt.version if deployment else None

    def head(self) -> int:
        """Return the number of the newest ledger entry: what was recorded so far."""
        entry = self.registry.ledger.head()
        return entry.seq if entry else 0


def new_world(root: Path, keys: Path, clock: Any = None) -> World:
    """Make a registry with an applied suite of 20 cases and keys for its reviewers; no policy."""
    clock = clock or FixedClock(NOW)
    world = World(root, create_registry(root, actor=LEAD, clock=clock), clock, keys)
    shutil.copyfile(keys / "signers", root / "signers")
    world.apply_suite()
    world.write()
    return world
