"""What every test may ask for: a clock that stands still, and a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import FixedClock, make_registry
from lockgate.storage.registry import Registry


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands still until the test moves it."""
    return FixedClock()


@pytest.fixture
def registry(tmp_path: Path, clock: FixedClock) -> Iterator[Registry]:
    """A new registry in the test's own folder, closed afterwards."""
    made = make_registry(tmp_path, clock)
    yield made
    made.close()
