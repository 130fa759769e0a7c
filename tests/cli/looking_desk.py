"""Running a looking command in this process, on a registry whose clock stands still."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import FixedClock
from lockgate.cli.exits import run


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


Lockgate = Callable[..., Said]


def runner(
    root: Path,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Lockgate:
    """Return what runs a command in a folder, as `oncall`, on a screen of 80 columns."""
    monkeypatch.setattr("lockgate.storage.registry.SystemClock", lambda: clock)
    monkeypatch.setenv("LOCKGATE_ACTOR", "oncall")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("LOCKGATE_REGISTRY", raising=False)
    monkeypatch.chdir(root)

    def lockgate(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return lockgate
