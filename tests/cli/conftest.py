"""Registries made once by the real commands, a copy for each test, and a terminal that speaks UTF-8."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.desks import Desk, copied, make_busy, make_new


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person's own terminal says must not change what the tests see."""
    for name in ("NO_COLOR", "PYTHONIOENCODING", "LOCKGATE_REGISTRY", "LOCKGATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="session")
def new_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the registry `new`; not to be written to."""
    root = tmp_path_factory.mktemp("new") / "desk"
    make_new(root)
    return root


@pytest.fixture(scope="session")
def busy_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the registry `busy`; not to be written to."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("reviewers sign with ssh-keygen")
    root = tmp_path_factory.mktemp("busy") / "desk"
    make_busy(root)
    return root


@pytest.fixture
def new(
    new_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A copy of the registry `new`."""
    return Desk(copied(new_registry, tmp_path / "new"), capsys, monkeypatch)


@pytest.fixture
def busy(
    busy_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A copy of the registry `busy`."""
    return Desk(copied(busy_registry, tmp_path / "busy"), capsys, monkeypatch)
