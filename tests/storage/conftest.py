"""A registry with one of everything, told once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storage.raw_story import Raw, Story, tell


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The story as it was first told; tests look at copies."""
    return tell(tmp_path_factory.mktemp("story"))


@pytest.fixture
def story(told: Story, tmp_path: Path) -> Story:
    """A copy of the story, for one test to do with as it likes."""
    root = tmp_path / "story"
    shutil.copytree(told.root, root)
    return replace(told, root=root)


@pytest.fixture
def raw(story: Story) -> Iterator[Raw]:
    """A plain connection to the story's registry."""
    connection = Raw(story)
    yield connection
    connection.close()
