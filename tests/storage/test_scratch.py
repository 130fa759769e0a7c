"""Folders and files that go with their process, even when it is killed."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

import pytest

from lockgate.canonical import digest_bytes
from lockgate.errors import RegistryTrouble
from lockgate.storage.objects import LARGE_BYTES
from lockgate.storage.registry import FOLDER, Registry, open_registry
from lockgate.storage.scratch import Scratch, sweep

LARGE = b"weights " * LARGE_BYTES
DIGEST = digest_bytes(LARGE)


class Stuck(io.BytesIO):
    """Bytes that say when half of them are read, and then never end."""

    def __init__(self, ready: Connection) -> None:
        super().__init__(LARGE)
        self.ready = ready

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            self.ready.send("half")
            signal.pause()
        return super().read(size)


def store_half(root: Path, ready: Connection) -> None:
    with open_registry(root).write() as writing:
        writing.put_file(lambda: Stuck(ready), DIGEST, len(LARGE))


def stage_whole(root: Path, ready: Connection) -> None:
    registry = open_registry(root)
    registry.objects.stage_file(lambda: io.BytesIO(LARGE), DIGEST, len(LARGE))
    ready.send("staged")
    signal.pause()


def work_in_scratch(root: Path, ready: Connection) -> None:
    with open_registry(root).scratch() as folder:
        (folder / "definition").mkdir()
        (folder / "definition" / "model.gguf").write_bytes(b"weights")
        ready.send(str(folder))
        signal.pause()


@contextmanager
def another(act: Callable[[Path, Connection], None], root: Path) -> Iterator[Callable[[], None]]:
    """Let another process come to where it waits; gives what kills it as kill -9 does."""
    ours, theirs = get_context("fork").Pipe()
    process = get_context("fork").Process(target=act, args=(root, theirs))
    process.start()

    def kill() -> None:
        process.kill()
        process.join(30)

    try:
        assert ours.poll(30)
        yield kill
    finally:
        kill()
        ours.close()
        theirs.close()


def files(root: Path, folder: str) -> list[Path]:
    return [path for path in (root / FOLDER / folder).rglob("*") if path.is_file()]


def put(registry: Registry, data: bytes) -> None:
    with registry.write() as writing:
        writing.put(data)


@pytest.mark.parametrize("act", [store_half, stage_whole])
@pytest.mark.parametrize("data", [b"small", LARGE + b"other"], ids=["small", "large"])
def test_what_a_killed_process_was_storing_goes_with_the_next_store(
    registry: Registry, act: Callable[[Path, Connection], None], data: bytes
) -> None:
    """Half a file of a process that is dead takes no room once anything else is stored."""
    with another(act, registry.root) as kill:
        kill()
        (left,) = files(registry.root, "objects")
        put(registry, data)
        assert not left.exists()
    assert not registry.objects.has(DIGEST)
    assert len(files(registry.root, "objects")) == (len(data) > LARGE_BYTES)


def test_what_a_living_process_is_storing_stays(registry: Registry) -> None:
    """Whoever stores something takes nothing from somebody who is about to."""
    with another(stage_whole, registry.root):
        (staged,) = files(registry.root, "objects")
        put(registry, LARGE + b"other")
        assert staged.read_bytes() == LARGE


def test_what_was_staged_and_never_put_goes_with_the_registry(registry: Registry) -> None:
    """Bytes that were put in place for a write which was refused are gone at the end."""
    again = open_registry(registry.root)
    again.objects.stage_file(lambda: io.BytesIO(LARGE), DIGEST, len(LARGE))
    assert len(files(registry.root, "objects")) == 1
    again.close()
    assert files(registry.root, "objects") == []


def test_a_write_that_was_undone_can_be_done_again(registry: Registry) -> None:
    """What was staged for it is staged once more, and stored then."""

    def source() -> BinaryIO:
        return io.BytesIO(LARGE)

    for is_undone in (True, False):
        registry.objects.stage_file(source, DIGEST, len(LARGE))
        try:
            with registry.write() as writing:
                writing.put_file(source, DIGEST, len(LARGE))
                if is_undone:
                    raise RuntimeError
        except RuntimeError:
            assert not registry.objects.has(DIGEST)
    assert registry.objects.read(DIGEST) == LARGE
    assert len(files(registry.root, "objects")) == 1


def test_a_scratch_folder_goes_with_its_block(registry: Registry) -> None:
    """It is empty, private and below the registry's own folder, and nothing of it stays."""
    with registry.scratch() as folder:
        assert folder.parent == registry.root / FOLDER / "tmp"
        assert folder.name.startswith(f"{os.getpid()}-")
        assert (list(folder.iterdir()), folder.stat().st_mode & 0o777) == ([], 0o700)
        (folder / "home").mkdir()
        (folder / "home" / "notes").write_text("private")
    assert list((registry.root / FOLDER / "tmp").iterdir()) == []


def test_a_killed_process_leaves_its_scratch_folder_until_the_next_one(registry: Registry) -> None:
    """A definition that was written for a dead process goes when somebody asks for a folder."""
    with another(work_in_scratch, registry.root) as kill:
        kill()
        assert len(files(registry.root, "tmp")) == 1
        with registry.scratch() as folder:
            assert list(folder.parent.iterdir()) == [folder]


def test_a_living_process_keeps_its_scratch_folder(registry: Registry) -> None:
    """Two evaluations at once are in nobody's way; nor are two in one process."""
    with another(work_in_scratch, registry.root), registry.scratch() as first:
        with registry.scratch() as second:
            assert len({first, second}) == 2
        assert first.is_dir()
        assert len(files(registry.root, "tmp")) == 1


def test_a_fork_takes_nothing_away(tmp_path: Path) -> None:
    """A process that was split off does not remove the folder of the one it came from."""
    scratch = Scratch(tmp_path / "tmp")
    process = get_context("fork").Process(target=scratch.drop)
    process.start()
    process.join(30)
    assert scratch.path.is_dir()
    scratch.drop()
    scratch.drop()
    assert not scratch.path.exists()


def test_only_folders_are_swept(tmp_path: Path) -> None:
    """A file or a link that lies there is nobody's folder and stays."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "tmp" / "notes").write_text("mine")
    (tmp_path / "tmp" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tmp" / "1-left").mkdir()
    sweep(tmp_path / "tmp")
    assert sorted(path.name for path in (tmp_path / "tmp").iterdir()) == ["link", "notes"]
    assert (tmp_path / "kept").is_dir()
    sweep(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_made_is_told(registry: Registry) -> None:
    """The message names the place and what to check."""
    (registry.root / FOLDER / "tmp").write_text("in the way")
    with (
        pytest.raises(RegistryTrouble, match="cannot make a folder in") as refusal,
        registry.scratch(),
    ):
        pass
    assert "`df -h`" in refusal.value.hint
