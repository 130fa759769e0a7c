"""The command line from outside: registries to work in, and what runs a command there.

Three registries are made once per session by the real commands and copied for each test:

- `new`: what `lockgate init` writes; nothing is registered.
- `busy`: two systems. `desk` (python) has v1 live in staging and production, v2 live in staging
  and waiting for production's reviewer, x1 an experiment. `filter` (a command) has v1 live in
  staging. production asks one of ml-lead and support-lead, who have keys.
- `published`: `desk` alone, in environments that publish. v1 and then v2 went to production, which
  has a deploy hook.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.cli.exits import run

REVIEWERS = ("ml-lead", "support-lead")
ACTOR = "ml-team"
HINT = re.compile(r"^(?:hint|next): (.*)$", re.MULTILINE)
COMMAND = re.compile(r"`(?:lockgate|cd) [^`]+`")

POLICY = """\
[environments.staging]
stakes = "low"
max_age = "7d"

[environments.staging.systems.desk]
rules = [
  { suite = "desk", metric = "accuracy", min = 0.60, max_drop = 0.10, confidence = 0.95, on_inconclusive = "allow" },
]

[environments.production]
stakes = "high"
requires = ["staging"]
signers = "signers"
reviewers = ["ml-lead", "support-lead"]
approvals = 1
max_age = "7d"

[environments.production.systems.desk]
rules = [
  { suite = "desk", metric = "accuracy", min = 0.60, max_drop = 0.05 },
]
"""

PUBLISHING = """\
[environments.staging]
stakes = "low"
publish = "published/staging"

[environments.production]
stakes = "low"
publish = "published/production"
deploy = ["./deploy.sh"]
deploy_timeout = "30s"

[environments.bare]
stakes = "low"
"""

FILTER = {
    "systems/filter/lockgate.toml": """\
[system]
name = "filter"
owner = "booking-pages"

[model]
name = "word-list"
revision = "1"

[prompt]
files = ["words.txt"]

[code]
files = ["filter.py"]

[run]
kind = "command"
command = ["python3", "filter.py"]
""",
    "systems/filter/words.txt": "winner prize casino\n",
    "systems/filter/filter.py": '''\
"""Reads one question a line, and answers whether it holds a word of the list."""

import json
import sys

words = open("words.txt", encoding="utf-8").read().split()
sys.stdin.readline()
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    question = json.loads(line)
    text = question["input"]["text"]
    output = {"spam": any(word in text for word in words)}
    print(json.dumps({"id": question["id"], "output": output}), flush=True)
''',
    "suites/filter.toml": """\
[suite]
system = "filter"
cases = "filter.jsonl"

[[scorers]]
metric = "accuracy"
kind = "exact"
field = "spam"
expected = "spam"
""",
    "suites/filter.jsonl": "".join(
        json.dumps({"id": f"f-{number}", "input": {"text": text}, "expected": {"spam": spam}})
        + "\n"
        for number, (text, spam) in enumerate(
            [("you are a winner", True), ("is the room free?", False), ("a prize", True)], 1
        )
    ),
}


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)

    @property
    def hint(self) -> str:
        """The line on stderr that says how to go on."""
        found = HINT.findall(self.err)
        assert found, f"no hint in {self.err!r}"
        return str(found[-1])

    @property
    def command(self) -> str:
        """The command in that line."""
        found = COMMAND.search(self.hint)
        assert found, f"no command in {self.hint!r}"
        return found[0].strip("`")


@dataclass
class Desk:
    """A registry's folder, and a person who types commands in it."""

    root: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    cwd: Path | None = None

    def __call__(
        self,
        *arguments: str,
        actor: str | None = ACTOR,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Said:
        """Run a command in this process."""
        with self.monkeypatch.context() as patch:
            patch.chdir(cwd or self.cwd or self.root)
            if actor is not None:
                patch.setenv("LOCKGATE_ACTOR", actor)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            self.capsys.readouterr()
            code = run(list(arguments))
        captured = self.capsys.readouterr()
        return Said(code, captured.out, captured.err)

    def done(self, *arguments: str, **how: Any) -> Said:
        """Run a command that has to succeed."""
        said = self(*arguments, **how)
        assert said.code == 0, said
        return said

    def follow(self, said: Said, reason: str = "because", **how: Any) -> Said:
        """Run the command of a hint exactly as it stands, with a reason where it says REASON."""
        words = shlex.split(said.command)
        assert words[0] == "lockgate"
        return self(*[reason if word == "REASON" else word for word in words[1:]], **how)

    def outside(self, *arguments: str, **how: Any) -> Said:
        """Run a command as a process of its own; its output is decoded strictly."""
        done = process(*arguments, cwd=how.pop("cwd", None) or self.cwd or self.root, **how)
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def write(self, path: str, text: str | bytes) -> Path:
        """Write a file below the registry's folder."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
        return target

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert old in text
        self.write(path, text.replace(old, new))

    def key(self, reviewer: str) -> str:
        """Return the path of a reviewer's private key."""
        return str(self.root / "keys" / reviewer)

    def signing(self, reviewer: str) -> dict[str, Any]:
        """Return how a command is run by a reviewer at their own desk, with their own key."""
        return {"actor": reviewer, "env": {"LOCKGATE_KEY": self.key(reviewer)}}

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of the registry, to hold against a later state."""
        with closing(sqlite3.connect(self.root / ".lockgate" / "registry.db")) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%fts%'"
            ).fetchall()
            return {
                name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for (name,) in names
            }

    def labels(self, system: str = "desk") -> list[str]:
        """Return the labels of a system's versions, newest first."""
        return [
            row["label"] for row in self("log", "--all", "-s", system, "--json").json["versions"]
        ]


def environment(**changes: str | None) -> dict[str, str]:
    """Return the variables of a process that speaks UTF-8; `None` takes one away."""
    variables: dict[str, str | None] = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "LOCKGATE_ACTOR": ACTOR,
        "TERM": "xterm",
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not None}


def process(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str | None] | None = None,
    before: tuple[str, ...] = (),
    **how: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run `lockgate` as a process, `before` as words before it, such as `setpriv ...`."""
    return subprocess.run(
        [*before, sys.executable, "-m", "lockgate", *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
        **how,
    )


def normal(text: str, root: Path | None = None) -> str:
    """Return output without what differs from run to run: ids, times, latencies, folders."""
    if root is not None:
        text = text.replace(str(root), "ROOT")
    text = re.sub(r"\b(?:[a-f0-9]{16,64}|[a-f0-9]{8})\b", "ID", text)
    text = re.sub(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC", "WHEN", text)
    text = re.sub(r"\b\d+(\.\d)? ms", "N ms", text)
    text = re.sub(r"SHA256:[\w+/]+", "SHA256:KEY", text)
    return re.sub(r"\b\d:\d\d\b", "0:00", text)


def make_new(root: Path) -> None:
    """Make the registry `new`."""
    made = process("init", str(root), "-s", "desk", cwd=root.parent)
    assert made.returncode == 0, made.stderr


def make_busy(root: Path) -> None:
    """Make the registry `busy`, by commands alone."""

    def lockgate(*arguments: str, code: int = 0, actor: str = ACTOR) -> None:
        done = process(*arguments, cwd=root, env={"LOCKGATE_ACTOR": actor})
        assert done.returncode == code, (arguments, done.stdout, done.stderr)

    make_new(root)
    lockgate("ship", "--to", "production", "-m", "First version")
    for path, text in FILTER.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    signers = []
    (root / "keys").mkdir(mode=0o700)
    for name in REVIEWERS:
        key = root / "keys" / name
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True
        )
        public = key.with_suffix(".pub").read_text(encoding="utf-8").split()
        signers.append(f'{name} namespaces="lockgate" {public[0]} {public[1]}\n')
    (root / "signers").write_text("".join(signers), encoding="utf-8")
    (root / "policy.toml").write_text(POLICY, encoding="utf-8")
    lockgate("policy", "apply")
    lockgate("ship", "-s", "filter", "--to", "staging", "-m", "Words that spam uses")
    prompt = root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "best\n", encoding="utf-8")
    lockgate("register", "-s", "desk", "--experiment", "-m", "Try one more word")
    lockgate("register", "-s", "desk", "--from", "x1", "-m", "One more word of praise")
    lockgate("ship", "-s", "desk", "--to", "production", code=7)


def make_published(root: Path) -> None:
    """Make the registry `published` of a copy of `new`."""

    def lockgate(*arguments: str) -> None:
        done = process(*arguments, cwd=root)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)

    (root / "policy.toml").write_text(PUBLISHING, encoding="utf-8")
    (root / "deploy.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (root / "deploy.sh").chmod(0o755)
    lockgate("policy", "apply")
    lockgate("ship", "--to", "staging", "-m", "First version")
    lockgate("ship", "--to", "production", "-m", "First version")
    prompt = root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "best\n", encoding="utf-8")
    lockgate("ship", "--to", "production", "-m", "One more word of praise")


def copied(source: Path, target: Path) -> Path:
    """Return a copy of a registry's folder."""
    shutil.copytree(source, target, symlinks=True)
    return target


MakeDesk = Callable[[str], Desk]
