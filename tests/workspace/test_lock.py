"""`lockgate.lock`: which version a folder is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lockgate.errors import RegistryTrouble, UsageMistake
from lockgate.workspace.lock import LOCK_FILE, Lock, read_lock, write_lock

LOCK = Lock(
    system="support-desk",
    version="a1" * 32,
    label="v14",
    definition="b2" * 32,
    components={"model": "c3" * 32, "code": "d4" * 32},
)
WRITTEN = f"""\
# Which version this folder is. Written by `lockgate register` and `lockgate checkout`.

format = 1
system = "support-desk"
version = "{"a1" * 32}"
label = "v14"
definition = "{"b2" * 32}"

[components]
model = "{"c3" * 32}"
code = "{"d4" * 32}"
"""


def test_a_lock_reads_well_in_a_diff(tmp_path: Path) -> None:
    """One line for each fact and each component, components in reading order."""
    write_lock(tmp_path, replace(LOCK, components=dict(reversed(LOCK.components.items()))))

    assert (tmp_path / LOCK_FILE).read_text() == WRITTEN


def test_a_lock_that_was_written_is_read_back(tmp_path: Path) -> None:
    """Nothing is lost between writing and reading."""
    write_lock(tmp_path, LOCK)

    assert read_lock(tmp_path) == LOCK


def test_a_folder_without_a_lock_has_none(tmp_path: Path) -> None:
    """A new folder is not a mistake."""
    assert read_lock(tmp_path) is None


def test_a_lock_is_replaced_whole(tmp_path: Path) -> None:
    """The new lock takes the old one's place, and no temporary file stays."""
    write_lock(tmp_path, LOCK)
    write_lock(tmp_path, replace(LOCK, label="v15"))

    assert read_lock(tmp_path) == replace(LOCK, label="v15")
    assert os.listdir(tmp_path) == [LOCK_FILE]  # noqa: PTH208 - hidden files as well


def test_a_lock_that_is_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """Writing a lock never writes through a link."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    root = tmp_path / "system"
    root.mkdir()
    (root / LOCK_FILE).symlink_to(outside)

    write_lock(root, LOCK)

    assert outside.read_text() == "mine"
    assert read_lock(root) == LOCK


def test_a_folder_that_is_gone_is_told_as_trouble_with_the_disk(tmp_path: Path) -> None:
    """Where nothing can be written, the message names the file and how to look."""
    with pytest.raises(RegistryTrouble) as caught:
        write_lock(tmp_path / "gone", LOCK)

    assert caught.value.what == (
        f"{tmp_path / 'gone' / LOCK_FILE} cannot be written: no such file or directory"
    )
    assert caught.value.hint.startswith("check space and rights: `df ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "", "`format` is missing"),
        ("format = 1", "format = true", "`format` is not what Lockgate writes"),
        ('"support-desk"', '"Support Desk"', "`system` is not what Lockgate writes"),
        ("a1a1", "a1a", "`version` is not what Lockgate writes"),
        ('"v14"', '"14"', "`label` is not what Lockgate writes"),
        ("b2b2", "zzzz", "`definition` is not what Lockgate writes"),
        ("model =", "modle =", "`components` is not what Lockgate writes"),
        ("format = 1", "format = 1\nextra = 1", "unknown key `extra`"),
        ("format = 1", "<<<<<<< HEAD", "line 3 column 1: invalid statement"),
    ],
)
def test_a_broken_lock_is_refused_with_the_way_out(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """A lock that somebody edited is never guessed at; the hint names both ways out."""
    assert old in WRITTEN
    (tmp_path / LOCK_FILE).write_text(WRITTEN.replace(old, new, 1))

    with pytest.raises(UsageMistake) as caught:
        read_lock(tmp_path)

    assert said in caught.value.what
    assert caught.value.hint == (
        "bring it back with `lockgate checkout VERSION DIR`, or delete `lockgate.lock` "
        "and name the parent: `lockgate register --parent VERSION`"
    )


def test_a_lock_of_a_newer_format_is_not_called_broken(tmp_path: Path) -> None:
    """A folder that a newer Lockgate wrote asks for that Lockgate."""
    (tmp_path / LOCK_FILE).write_text(WRITTEN.replace("format = 1", "format = 2"))

    with pytest.raises(UsageMistake) as caught:
        read_lock(tmp_path)

    assert caught.value.what.endswith("has format 2, this Lockgate knows up to 1")
    assert caught.value.hint.startswith("upgrade Lockgate: `pip install --upgrade lockgate`")
