"""Registries made once by the real commands, a copy for each test, and a terminal that speaks UTF-8."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.desks import Desk, copied, make_busy, make_new, make_published


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


@pytest.fixture(scope="session")
def published_registry(new_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the registry `published`; not to be written to."""
    root = copied(new_registry, tmp_path_factory.mktemp("published") / "desk")
    make_published(root)
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


@pytest.fixture
def published(
    published_registry: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A copy of the registry `published`."""
    return Desk(copied(published_registry, tmp_path / "published"), capsys, monkeypatch)


@pytest.fixture
def open_to_all(
    new_registry: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """A copy of the registry `new` that every user may reach and write; pytest's own folder is not."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-open-"))
    root = copied(new_registry, folder / "desk")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    yield Desk(root, capsys, monkeypatch)
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.fixture
def nobody() -> tuple[str, ...]:
    """The words that run a command as a user without rights of its own."""
    if os.getuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv runs a command as another user")
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
