"""How a definition's files are written back into a folder."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from folders import PROGRAM, with_files

from lockgate.canonical import digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.errors import IntegrityBroken, RegistryTrouble, UsageMistake
from lockgate.workspace.folder import read_folder
from lockgate.workspace.materialise import materialise

FILES = {"prompts/system.md": b"Be brief.", "prompts/deep/er/a b.md": b"", "run.sh": b"#!/bin/sh\n"}


def definition(files: dict[str, bytes], *executables: str) -> Definition:
    digests = {path: digest_bytes(data) for path, data in files.items()}
    return Definition(
        {
            "prompt": Component(
                files={path: d for path, d in digests.items() if path not in executables},
                executables={path: digests[path] for path in executables},
            )
        }
    )


def store(files: dict[str, bytes]) -> Callable[[str], BinaryIO]:
    """Return what opens the bytes of a digest."""
    contents = {digest_bytes(data): data for data in files.values()}
    return lambda digest: io.BytesIO(contents[digest])


def written(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    """Return everything in a folder, hidden names too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
def test_a_new_folder_holds_exactly_the_definition(tmp_path: Path, durable: bool) -> None:
    """Every file is there with its bytes, and nothing else is, inside or beside the folder."""
    target = tmp_path / "a/b/v3"

    materialise(definition(FILES, "run.sh"), store(FILES), target, durable=durable)

    assert written(target) == FILES
    assert names(tmp_path / "a/b") == ["v3"]


def test_an_empty_folder_is_written_in_place(tmp_path: Path) -> None:
    """A folder that somebody stands in stays the same folder."""
    target = tmp_path / "v3"
    target.mkdir()
    inode = target.stat().st_ino

    materialise(definition(FILES), store(FILES), target)

    assert written(target) == FILES
    assert target.stat().st_ino == inode


def test_the_executable_bit_is_as_it_was_registered(tmp_path: Path) -> None:
    """Executables can be executed by their owner, whatever the umask; other files cannot."""
    before = os.umask(0o077)
    try:
        materialise(definition(FILES, "run.sh"), store(FILES), tmp_path / "closed")
    finally:
        os.umask(before)
    materialise(definition(FILES, "run.sh"), store(FILES), tmp_path / "usual")

    assert (tmp_path / "closed/run.sh").stat().st_mode & stat.S_IXUSR
    assert (tmp_path / "usual/run.sh").stat().st_mode & stat.S_IXUSR
    assert not (tmp_path / "usual/prompts/system.md").stat().st_mode & 0o111


def test_what_was_read_is_what_is_written(tmp_path: Path) -> None:
    """A folder read, written elsewhere and read again has the same definition."""
    settings = PROGRAM + '[prompt]\nfiles = ["**"]\n'
    files: dict[str, str | bytes] = {"caf\u00e9/\U0001f600 x.md": "a", "run.sh": "b"}
    root = with_files(tmp_path / "a", settings, files)
    (root / "run.sh").chmod(0o755)
    draft = read_folder(root)

    def opened(digest: str) -> BinaryIO:
        path = next(path for path, found in draft.sources.items() if found.digest == digest)
        return draft.open(path)

    materialise(draft.definition, opened, tmp_path / "b")
    (tmp_path / "b/lockgate.toml").write_text(settings)

    assert read_folder(tmp_path / "b").definition.digest == draft.definition.digest


def test_only_some_files_can_be_written(tmp_path: Path) -> None:
    """A choice of paths writes those and no folder for the others."""
    materialise(definition(FILES), store(FILES), tmp_path / "v3", only=["run.sh"])

    assert names(tmp_path / "v3") == ["run.sh"]


def test_a_file_that_the_version_does_not_have_is_named(tmp_path: Path) -> None:
    """Choosing a file that is not there is a mistake, and nothing is written."""
    with pytest.raises(UsageMistake) as caught:
        materialise(definition(FILES), store(FILES), tmp_path / "v3", only=["run.sh", "x", "y"])

    assert caught.value.what == "the version has no file `x` and 1 others"
    assert caught.value.hint == "list its files: `lockgate show VERSION`"
    assert names(tmp_path) == []


@pytest.mark.parametrize("is_new", [True, False])
def test_damaged_bytes_are_refused_and_nothing_stays(tmp_path: Path, is_new: bool) -> None:
    """Bytes that do not have their digest are never left lying around."""
    target = tmp_path / "v3"
    if not is_new:
        target.mkdir()
    good = store(FILES)
    digest = digest_bytes(FILES["run.sh"])

    def damaged(asked: str) -> BinaryIO:
        return io.BytesIO(b"#!/bin/zsh\n") if asked == digest else good(asked)

    with pytest.raises(IntegrityBroken) as caught:
        materialise(definition(FILES), damaged, target)

    assert caught.value.what == (
        f"the stored bytes of `run.sh` are not `{digest}` but `{digest_bytes(b'#!/bin/zsh' + bytes([10]))}`"
    )
    assert caught.value.hint.startswith("bring its object back from a backup of `.lockgate/`")
    assert names(tmp_path) == ([] if is_new else ["v3"])
    assert is_new or names(target) == []


@pytest.mark.parametrize("data", [b"#!/bin/s", b"#!/bin/sh\n\n", b""])
def test_bytes_that_are_cut_or_longer_are_refused(tmp_path: Path, data: bytes) -> None:
    """A length that is off is damage like any other."""
    with pytest.raises(IntegrityBroken, match="`run.sh`"):
        materialise(
            definition({"run.sh": FILES["run.sh"]}), lambda digest: io.BytesIO(data), tmp_path / "v"
        )


def test_missing_bytes_are_told_as_damage(tmp_path: Path) -> None:
    """An object that is gone is named by path and digest."""

    def gone(digest: str) -> BinaryIO:
        return (tmp_path / digest).open("rb")

    with pytest.raises(IntegrityBroken) as caught:
        materialise(definition({"run.sh": b"x"}), gone, tmp_path / "v3")

    assert caught.value.what == f"the bytes of `run.sh`, `{digest_bytes(b'x')}`, are missing"
    assert names(tmp_path) == []


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    """Nothing is ever replaced, not even beside a hidden file."""
    (tmp_path / ".keep").write_text("mine")

    with pytest.raises(UsageMistake) as caught:
        materialise(definition(FILES), store(FILES), tmp_path)

    assert caught.value.what == f"{tmp_path} is not empty"
    assert caught.value.hint == "name a folder that is new or empty; nothing is replaced"
    assert written(tmp_path) == {".keep": b"mine"}


@pytest.mark.parametrize("leads_to", ["folder", "file", "nowhere"])
def test_a_target_that_is_a_link_is_refused(tmp_path: Path, leads_to: str) -> None:
    """A link is not followed, wherever it leads."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "v3").symlink_to(leads_to)

    with pytest.raises(UsageMistake) as caught:
        materialise(definition(FILES), store(FILES), tmp_path / "v3")

    assert caught.value.what == f"{tmp_path / 'v3'} is not a folder"
    assert names(tmp_path / "folder") == []


def test_a_link_that_is_slipped_in_meanwhile_is_not_followed(tmp_path: Path) -> None:
    """Whoever can write into the target cannot lead the writing out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "v3"
    target.mkdir()
    files = {"a.md": b"a", "prompts/b.md": b"b"}
    contents = store(files)

    def slip(digest: str) -> BinaryIO:
        if digest == digest_bytes(b"a"):
            (target / "prompts").symlink_to(outside)
        return contents(digest)

    with pytest.raises(UsageMistake, match="`prompts` is there already"):
        materialise(definition(files), slip, target)

    assert names(outside) == []


def test_a_file_that_is_slipped_in_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """A file or link that was not there a moment ago stays what it is."""
    (tmp_path / "mine").write_text("mine")
    target = tmp_path / "v3"
    target.mkdir()
    files = {"a.md": b"a", "b.md": b"b"}
    contents = store(files)

    def slip(digest: str) -> BinaryIO:
        if digest == digest_bytes(b"a"):
            (target / "b.md").hardlink_to(tmp_path / "mine")
        return contents(digest)

    with pytest.raises(UsageMistake, match="`b.md` is there already"):
        materialise(definition(files), slip, target)

    assert (tmp_path / "mine").read_text() == "mine"


def test_two_names_that_are_one_on_this_disk_are_refused(tmp_path: Path) -> None:
    """A file that is there already is never written over.

    A definition with `a` and `a/b`, which no folder can hold, stands for a disk that does not
    tell upper from lower case.
    """
    files = {"a": b"1", "a/b": b"2"}

    with pytest.raises(UsageMistake) as caught:
        materialise(definition(files), store(files), tmp_path / "v3")

    assert caught.value.what == (
        "`a` is there already: two names of the version are one on this file system"
    )
    assert caught.value.hint == (
        "name a folder on a file system that tells upper and lower case apart"
    )
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_trouble_with_the_disk(tmp_path: Path) -> None:
    """The message names the target, the reason, and how to look."""
    (tmp_path / "file").write_text("")
    target = tmp_path / "file/inside/v3"

    with pytest.raises((RegistryTrouble, UsageMistake)) as caught:
        materialise(definition(FILES), store(FILES), target)

    assert str(target) in caught.value.what
    assert "not a directory" in caught.value.what
    assert caught.value.hint


def test_a_definition_without_files_is_an_empty_folder(tmp_path: Path) -> None:
    """A version that needs no file still gets its folder."""
    materialise(definition({}), store({}), tmp_path / "v3")

    assert names(tmp_path / "v3") == []
