"""Objects: bytes under their digest, kept once, checked whenever they are read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from lockgate.canonical import digest_bytes
from lockgate.errors import IntegrityBroken, RegistryTrouble
from lockgate.storage.objects import LARGE_BYTES, Missing
from lockgate.storage.registry import FOLDER, Registry

SMALL = b"Sort the ticket into a queue."
LARGE = b"weights " * LARGE_BYTES


def put(registry: Registry, data: bytes) -> str:
    with registry.write() as writing:
        return writing.put(data)


def put_file(registry: Registry, data: bytes, digest: str, size: int | None = None) -> None:
    with registry.write() as writing:
        writing.put_file(lambda: io.BytesIO(data), digest, len(data) if size is None else size)


def files(registry: Registry) -> list[Path]:
    folder = registry.root / FOLDER / "objects"
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("way", ["put", "put_file"])
def test_what_is_put_is_read_again(registry: Registry, data: bytes, way: str) -> None:
    """Bytes of any size come back as they were, under their SHA-256."""
    digest = digest_bytes(data)
    if way == "put":
        assert put(registry, data) == digest
    else:
        put_file(registry, data, digest)
    assert registry.objects.read(digest) == data
    assert registry.objects.size(digest) == len(data)
    assert registry.objects.has(digest)
    assert registry.objects.is_intact(digest)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_the_same_bytes_are_kept_once(registry: Registry, data: bytes) -> None:
    """Putting the same bytes again adds no row and no file."""
    digest = put(registry, data)
    kept = files(registry)
    put(registry, data)
    put_file(registry, data, digest)
    count = registry._connection.execute("SELECT count(*) FROM content").fetchone()
    assert count == (1,)
    assert files(registry) == kept


def test_large_objects_are_files_for_their_owner(registry: Registry) -> None:
    """A large object is one file under its digest, and nothing else lies around."""
    digest = put(registry, LARGE)
    (path,) = files(registry)
    assert path.relative_to(registry.root).as_posix() == (
        f".lockgate/objects/{digest[:2]}/{digest}"
    )
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_file_that_changed_meanwhile_is_refused(registry: Registry, data: bytes) -> None:
    """A file whose bytes are no longer those of its digest is not kept, in no part."""
    changed = data[:-1] + b"!"
    with pytest.raises(IntegrityBroken, match="changed while it was stored") as refusal:
        put_file(registry, changed, digest_bytes(data))
    assert refusal.value.hint == "run it again"
    assert files(registry) == []
    assert registry._connection.execute("SELECT count(*) FROM object").fetchone() == (0,)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_file_that_grew_meanwhile_is_refused(registry: Registry, data: bytes) -> None:
    """A file that is longer than when it was hashed is not kept, either."""
    with pytest.raises(IntegrityBroken):
        put_file(registry, data + b"more", digest_bytes(data), len(data))


def test_a_damaged_row_is_not_returned(registry: Registry) -> None:
    """A small object whose bytes were changed in the file is found when it is read."""
    digest = put(registry, SMALL)
    registry._connection.execute('DROP TRIGGER "content_never_updated"')
    registry._connection.execute("UPDATE content SET bytes = ?", (SMALL + b"?",))
    assert not registry.objects.is_intact(digest)
    with pytest.raises(IntegrityBroken, match=f"object {digest[:12]} is damaged") as refusal:
        registry.objects.read(digest)
    assert "restore it from a backup" in refusal.value.hint


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_it_off(path: Path) -> None:
    os.truncate(path, 1000)


@pytest.mark.parametrize("damage", [flip_a_byte, cut_it_off])
def test_a_damaged_file_is_not_returned(registry: Registry, damage: Callable[[Path], None]) -> None:
    """One changed byte of a large object, or a lost end, is found when it is read."""
    digest = put(registry, LARGE)
    damage(files(registry)[0])
    assert not registry.objects.is_intact(digest)
    with pytest.raises(IntegrityBroken, match="is damaged"):
        registry.objects.read(digest)


def test_a_lost_file_is_missing_and_can_be_put_again(registry: Registry) -> None:
    """A large object whose file is gone is missing; the same bytes bring it back."""
    digest = put(registry, LARGE)
    files(registry)[0].unlink()
    assert not registry.objects.is_intact(digest)
    with pytest.raises(Missing, match="has lost its file"):
        registry.objects.read(digest)
    put(registry, LARGE)
    assert registry.objects.read(digest) == LARGE


def test_what_was_never_stored_is_missing(registry: Registry) -> None:
    """An unknown digest is missing: not damaged, and not here."""
    with pytest.raises(Missing, match="has no content here"):
        registry.objects.read("0" * 64)
    assert not registry.objects.has("0" * 64)
    assert registry.objects.size("0" * 64) is None
    assert not registry.objects.is_intact("0" * 64)


def test_a_path_in_the_way_is_told(registry: Registry) -> None:
    """When an object's folder cannot be made the message names the size and what to check."""
    (registry.root / FOLDER / "objects").write_text("in the way")
    with pytest.raises(RegistryTrouble, match=f"object of {len(LARGE)} bytes") as refusal:
        put(registry, LARGE)
    assert "`df -h`" in refusal.value.hint


def test_what_is_rolled_back_is_not_there(registry: Registry) -> None:
    """An object put in a write that failed does not count, and can be put again."""
    with pytest.raises(RuntimeError), registry.write() as writing:
        digest = writing.put(LARGE)
        raise RuntimeError
    assert not registry.objects.has(digest)
    assert put(registry, LARGE) == digest
    assert registry.objects.read(digest) == LARGE


def test_a_staged_file_counts_only_when_it_is_put(registry: Registry) -> None:
    """Large bytes can be put in place before a write; the write then copies nothing."""
    digest = digest_bytes(LARGE)
    registry.objects.stage_file(lambda: io.BytesIO(LARGE), digest, len(LARGE))
    assert not registry.objects.has(digest)

    def not_again() -> BinaryIO:
        raise AssertionError("the file is read a second time")

    with registry.write() as writing:
        writing.put_file(not_again, digest, len(LARGE))
    assert registry.objects.read(digest) == LARGE


def test_a_staged_file_that_changed_is_refused(registry: Registry) -> None:
    """Staging checks the bytes as putting does."""
    with pytest.raises(IntegrityBroken):
        registry.objects.stage_file(
            lambda: io.BytesIO(LARGE + b"!"), digest_bytes(LARGE), len(LARGE)
        )
    assert files(registry) == []


def test_small_files_are_not_staged(registry: Registry) -> None:
    """Staging leaves small files to the write itself."""
    registry.objects.stage_file(lambda: io.BytesIO(SMALL), digest_bytes(SMALL), len(SMALL))
    assert files(registry) == []
    put_file(registry, SMALL, digest_bytes(SMALL))
    assert registry.objects.read(digest_bytes(SMALL)) == SMALL


@pytest.mark.parametrize("damage", [Path.unlink, cut_it_off])
def test_a_large_object_is_here_only_in_full_length(
    registry: Registry, damage: Callable[[Path], None]
) -> None:
    """What only a row says is not here: the file is looked at, whatever its size."""
    digest = put(registry, LARGE)
    assert registry.objects.has(digest)
    damage(files(registry)[0])
    assert not registry.objects.has(digest)
    assert registry.objects.size(digest) == len(LARGE)
