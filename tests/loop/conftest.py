"""What tests of the loop may ask for: a world of their own, and keys that are made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.domain.approval import signer_line
from lockgate.signing import ssh
from loop.world import LEAD, OTHER_LEAD, World, new_world


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Private keys of two reviewers and of a stranger, and the signers file of the two."""
    folder = tmp_path_factory.mktemp("keys")
    lines = [signer_line(name, ssh.make_key(folder / name, name)) for name in (LEAD, OTHER_LEAD)]
    ssh.make_key(folder / "stranger", "stranger")
    (folder / "signers").write_text("".join(lines))
    return folder


@pytest.fixture
def world(tmp_path: Path, keys: Path) -> Iterator[World]:
    """A registry with an applied suite and a written system; nothing is registered yet."""
    made = new_world(tmp_path, keys)
    yield made
    made.registry.close()
