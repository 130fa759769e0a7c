"""A registry's folder of each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.world import World


@pytest.fixture(autouse=True)
def plain_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no agent and no settings of whoever runs the tests."""
    for variable in ("SSH_AUTH_SOCK", "LOCKGATE_KEY", "LOCKGATE_TRUST", "LOCKGATE_PUBLISHED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("LOCKGATE_HOOK_VARIABLES", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "registry")
