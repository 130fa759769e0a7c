"""What the commands people call most do not import: that is what keeps them quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders import FixedClock, add_version, make_registry
from look.stories import evaluated, released, set_up

HEAVY = (
    "pydantic",
    "rich",
    "sqlite_utils",
    "textual",
    "jsonschema",
    "httpx",
    "tomli_w",
    "lockgate.evals",
    "lockgate.runners",
    "lockgate.workspace",
)
SCRIPT = """
import sys
from lockgate.cli.exits import run
code = run(sys.argv[1:])
print(code, *sorted(sys.modules), file=sys.stderr)
"""


def imported(root: Path, *arguments: str) -> set[str]:
    """Return the modules that a command imported, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(modules)


def heavy(modules: set[str]) -> list[str]:
    """Return those of the modules that are heavy, or below one that is."""
    return sorted(name for name in modules if name.startswith(HEAVY))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry in which everything that `status` tells has something to tell."""
    registry = make_registry(tmp_path, FixedClock())
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    released(registry, suite, "two", parent=first)
    evaluated(registry, add_version(registry, "three", parent=first), suite)
    registry.close()
    return tmp_path


def test_status_imports_nothing_heavy(root: Path) -> None:
    """`lockgate status` needs no validation, no statistics, no screens and no network."""
    modules = imported(root, "status")
    assert "lockgate.look.status" in modules
    assert heavy(modules) == []


def test_a_bare_lockgate_imports_nothing_heavy(root: Path) -> None:
    """What a bare `lockgate` prints costs no more than `lockgate status`."""
    assert heavy(imported(root)) == []


def test_help_imports_no_command(tmp_path: Path) -> None:
    """`lockgate --help` imports neither commands nor the registry, nor canonical JSON."""
    modules = imported(tmp_path, "--help")
    assert heavy(modules) == []
    assert not modules & {"sqlite3", "rfc8785", "lockgate.cli.status", "lockgate.wiring"}


def test_log_imports_nothing_heavy(root: Path) -> None:
    """`lockgate log` is as light as `lockgate status`, and reads no definition at all."""
    modules = imported(root, "log")
    assert heavy(modules) == []
    assert "rfc8785" not in modules
