"""A copy of the sample in which versions go live quickly, and its serving example as a process."""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockgate import wiring
from lockgate.deploy.observe import Observed
from lockgate.domain.policy import Environment
from lockgate.domain.version import Version
from lockgate.loop.apply import apply_policy, apply_suite
from lockgate.loop.evaluate import Limits, evaluate
from lockgate.loop.gate import decide
from lockgate.loop.promote import promote
from lockgate.loop.register import register
from lockgate.ports import Registry
from lockgate.story.sample import copy_sample
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import settle
from lockgate.workspace.policies import read_policy
from lockgate.workspace.suites import read_suite

SYSTEM, ENVIRONMENT = "support-desk", "production"
WHO = "support-ml"
TICKET = {"ticket": "I was charged twice, please refund 20 euros"}
PATIENCE_S = 30.0
GREETINGS = {"v1": "Hello,", "v2": "Good day,", "v3": "Dear customer,"}
"""How the letters of each version begin."""

POLICY = """\
[environments.production]
stakes = "low"
publish = "published/production"
"""


class Sample:
    """The sample, with a suite of few cases and one environment of low stakes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.registry: Registry = wiring.open_registry(root)

    @classmethod
    def make(cls, root: Path) -> Sample:
        """Copy the sample; v1 to v3 may go live, and v1 is."""
        copy_sample(root)
        (root / "policy.toml").write_text(POLICY)
        cases = root / "suites" / "triage.jsonl"
        cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:6]))
        wiring.create_registry(root, actor=WHO).close()
        made = cls(root)
        policy, suite = read_policy(root), read_suite(root, "triage")
        apply_policy(made.registry, policy.policy, policy.data, policy.signers, actor=WHO)
        apply_suite(made.registry, suite.suite, suite.scorer_files, actor=WHO)
        for greeting in GREETINGS.values():
            made._begin_letters(greeting)
            made.register(f"Begin letters with: {greeting}")
        made.promote("v1")
        return made

    def copied(self, root: Path) -> Sample:
        """Return a copy of the whole registry, published folder included."""
        shutil.copytree(self.root, root)
        return Sample(root)

    def _begin_letters(self, greeting: str) -> None:
        reply = self.root / "systems" / SYSTEM / "prompts" / "reply.md"
        head, letter, tail = reply.read_text(encoding="utf-8").partition("## letter\n\n")
        reply.write_text(head + letter + greeting + tail[tail.index("\n") :], encoding="utf-8")

    def register(self, reason: str) -> None:
        """Register the folder as it is now, and evaluate it."""
        folder = self.root / "systems" / SYSTEM
        done = register(
            self.registry,
            wiring.read_draft(self.root, folder),
            reason=reason,
            actor=WHO,
            find_secrets=wiring.find_secrets,
        )
        wiring.write_lock(folder, self.registry, done.version)
        suite = self.registry.applied.suites(SYSTEM)["triage"].digest
        opener = wiring.runner_opener(self.root, self.registry, 1)
        run = evaluate(self.registry, done.version, suite, opener, actor=WHO, limits=Limits())
        assert deque(run, maxlen=1).pop().end.outcome == "completed"

    def version(self, label: str) -> Version:
        return self.registry.versions.named(SYSTEM, label)

    @property
    def environment(self) -> Environment:
        return wiring.applied_policy(self.registry).environment(ENVIRONMENT)

    @property
    def published(self) -> Path:
        """What is published of the system."""
        return self.root / "published" / "production" / SYSTEM

    @property
    def receipt(self) -> Path:
        return self.published / "receipt.json"

    def folder(self, generation: int) -> Path:
        return self.published / "generations" / f"{generation:08d}"

    def promote(self, label: str) -> None:
        version, policy = self.version(label), wiring.applied_policy(self.registry)
        decision = decide(self.registry, version, ENVIRONMENT, policy, actor=WHO)
        place = wiring.target(self.root, SYSTEM, self.environment)
        promote(self.registry, version, self.environment, decision, actor=WHO, target=place)

    def roll_back(self) -> None:
        found = find_way_back(self.registry, SYSTEM, ENVIRONMENT)
        place = wiring.target(self.root, SYSTEM, self.environment)
        deque(roll_back(self.registry, found, actor=WHO, target=place), maxlen=0)

    def settle(self) -> None:
        place = wiring.target(self.root, SYSTEM, self.environment)
        deque(settle(self.registry, SYSTEM, ENVIRONMENT, place, actor=WHO), maxlen=0)

    def observed(self, *addresses: str) -> list[tuple[str, str]]:
        """Ask instances as a promotion does, through the script that ships with the sample."""
        words = (sys.executable, "serve/observe.py", *addresses)
        place = wiring.target(self.root, SYSTEM, replace(self.environment, observe=words))
        deployments = self.registry.releases.deployments(SYSTEM, ENVIRONMENT)
        receipted = [one.attempt.version for one in deployments if one.attempt.version]
        live = self.registry.releases.live(SYSTEM, ENVIRONMENT)
        told: Sequence[Observed] = place.observe(live and live.attempt.version, receipted)
        return [(one.name, one.state) for one in told]


class Serving:
    """`serve.py` of a sample, as a process of its own on a free port."""

    def __init__(self, sample: Sample, *, verify_every_s: float = 3600.0) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "serve/serve.py", "--port", "0", "--state", "state.json"),
                *("--verify-every", str(verify_every_s)),
            ],
            cwd=sample.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: text for name, text in os.environ.items() if "LOCKGATE" not in name},
        )
        self.told: dict[str, Any] = {}
        self._unread = b""
        self.until(lambda _: True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().decode().strip()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, is_so: Any) -> dict[str, Any]:
        """Read what it tells until something is so; return what it told then."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self.told = json.loads(self._line(deadline))
            if is_so(self.told):
                return self.told

    def until_serving(self, label: str) -> dict[str, Any]:
        return self.until(lambda told: (told["label"], told["state"]) == (label, "ok"))

    def until_holding(self) -> dict[str, Any]:
        return self.until(lambda told: told["state"] == "holding")

    def _line(self, deadline: float) -> bytes:
        assert self._process.stderr is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._process.stderr], [], [], deadline - time.monotonic())
            assert ready, f"nothing more was told after {self.told}"
            data = os.read(self._process.stderr.fileno(), 65_536)
            assert data, f"it ended: {self._unread.decode()}"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        assert line.startswith(b"{"), (line + self._unread).decode()
        return line

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address.partition("//")[2], timeout=PATIENCE_S)
        with closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())

    def version(self) -> dict[str, Any]:
        status, said = self.ask("GET", "/version")
        assert (status == 200) == (said["version"] is not None)
        return dict(said)

    def reply(self) -> str:
        """Return the first line of the letter that answers a ticket."""
        status, said = self.ask("POST", "/answer", TICKET)
        assert status == 200, said
        return str(said["output"]["reply"]).splitlines()[0]
