"""How files are hashed: safely, and large ones only when they changed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.workspace.hashing import (
    CACHE_ENTRIES,
    LARGE_BYTES,
    Group,
    HashCache,
    Source,
    folder_below,
    hash_groups,
)
from lockgate.workspace.tomlfile import Mistake

LONG_AGO_S = time.time() - 3600
BUSY = Mistake(
    "`a.bin` changed while it was hashed", "run the command again when nothing writes it"
)


def long_ago(path: Path) -> None:
    """Make a file look as if it had been written an hour ago, as far as a program can."""
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def let_three_seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the clock instead of the file: the time of a file's last change cannot be set."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3_000_000_000)


def hash_files(
    root: Path, *names: str, cache: HashCache | None = None
) -> tuple[dict[str, Source], list[Mistake]]:
    descriptor = os.open(root, os.O_RDONLY)
    try:
        return hash_groups(descriptor, [Group((), names, names)], base=str(root), cache=cache)
    finally:
        os.close(descriptor)


@pytest.fixture(params=["fresh", "settled"])
def any_age(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as they are just after writing, and as they are once nobody touches them."""
    if request.param == "settled":
        let_three_seconds_pass(monkeypatch)


@pytest.mark.usefixtures("any_age")
@pytest.mark.parametrize(
    "size",
    [0, 1, 4096, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3 * LARGE_BYTES + 7],
)
def test_the_digest_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    """Files of every size, around every boundary, have the SHA-256 of their bytes."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "a.bin").write_bytes(data)

    hashed, mistakes = hash_files(tmp_path, "a.bin")

    assert mistakes == []
    assert hashed["a.bin"] == Source(
        path=str(tmp_path / "a.bin"),
        size=size,
        mtime_ns=(tmp_path / "a.bin").stat().st_mtime_ns,
        digest=hashlib.sha256(data).hexdigest(),
        is_executable=False,
    )


@pytest.mark.usefixtures("any_age")
def test_only_the_owners_executable_bit_counts(tmp_path: Path) -> None:
    """A file is executable when its owner may execute it, large or small."""
    for name, size, mode in (("a", 1, 0o744), ("b", 1, 0o655), ("c", LARGE_BYTES, 0o700)):
        (tmp_path / name).write_bytes(bytes(size))
        (tmp_path / name).chmod(mode)

    hashed, _ = hash_files(tmp_path, "a", "b", "c")

    assert {name: found.is_executable for name, found in hashed.items()} == {
        "a": True,
        "b": False,
        "c": True,
    }


@pytest.mark.usefixtures("any_age")
@pytest.mark.parametrize("size", [10, LARGE_BYTES])
def test_what_is_no_ordinary_file_is_never_waited_for(tmp_path: Path, size: int) -> None:
    """FIFOs, folders and links are refused by name; the files beside them are hashed."""
    (tmp_path / "good").write_bytes(bytes(size))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("good")

    hashed, mistakes = hash_files(tmp_path, "fifo", "folder", "good", "gone", "link")

    assert list(hashed) == ["good"]
    assert [mistake.what for mistake in mistakes] == [
        "`fifo` is a FIFO, not a file",
        "`folder` is a folder, not a file",
        "`gone` disappeared while the folder was read",
        "`link` is a symbolic link",
    ]
    assert all(mistake.hint for mistake in mistakes)


class _Watch:
    """Notes which files are opened while it is on; Python never lets an audit hook go again."""

    def __init__(self) -> None:
        self.is_on = False
        self.opened: list[object] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event == "open":
            self.opened.append(arguments[0])


@pytest.fixture(scope="session")
def watch() -> _Watch:
    """What notes opened files, once for all tests."""
    return _Watch()


def opens(watch: _Watch, root: Path, name: str) -> int:
    """Hash a file and return how often it was opened."""
    watch.opened.clear()
    watch.is_on = True
    hash_files(root, name)
    watch.is_on = False
    return watch.opened.count(name)


def test_a_file_touched_a_moment_ago_is_looked_at_twice(
    tmp_path: Path, watch: _Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look after reading proves enough only when nothing changed since before the start."""
    (tmp_path / "a.md").write_text("x")

    fresh = opens(watch, tmp_path, "a.md")
    let_three_seconds_pass(monkeypatch)
    settled = opens(watch, tmp_path, "a.md")

    assert (fresh, settled) == (2, 1)


def test_a_folder_that_became_a_link_is_not_entered(tmp_path: Path) -> None:
    """A link in the place of a folder leads nowhere, even if it stays inside."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "docs").symlink_to("real")
    descriptor = os.open(tmp_path, os.O_RDONLY)

    groups = [Group(("docs",), ["a"], ["docs/a"])]
    hashed, mistakes = hash_groups(descriptor, groups, base=str(tmp_path))

    os.close(descriptor)
    assert hashed == {}
    assert [mistake.what for mistake in mistakes] == ["`docs/a` is a symbolic link"]


@pytest.fixture
def busy_file(tmp_path: Path) -> Iterator[Path]:
    """A file of 64 MiB that somebody appends to without a pause."""
    path = tmp_path / "a.bin"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    long_ago(path)
    done = threading.Event()
    started = threading.Event()

    def write() -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        while not done.is_set():
            os.write(descriptor, b"x")
            started.set()
        os.close(descriptor)

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    yield path
    done.set()
    writer.join()


def test_a_file_that_changes_while_it_is_hashed_is_refused(busy_file: Path) -> None:
    """A digest of bytes that never stood there together is worse than none."""
    hashed, mistakes = hash_files(busy_file.parent, busy_file.name)

    assert hashed == {}
    assert mistakes == [BUSY]


def test_a_changing_file_is_not_remembered(busy_file: Path, tmp_path: Path) -> None:
    """What was refused leaves no trace in the cache."""
    cache = HashCache(tmp_path / "hashes.json")

    hash_files(busy_file.parent, busy_file.name, cache=cache)
    cache.save()

    assert not (tmp_path / "hashes.json").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try files with somebody else's rights")
def test_a_file_that_may_not_be_read_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file without read permission is named, with the command that helps."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "open.md").write_text("x")
        (root / "closed.md").write_text("x")
        (root / "closed.md").chmod(0)
        os.seteuid(65534)
        try:
            hashed, mistakes = hash_files(root, "closed.md", "open.md")
        finally:
            os.seteuid(0)

    assert list(hashed) == ["open.md"]
    assert mistakes == [
        Mistake(
            "`closed.md` cannot be read: permission denied",
            "make it readable: `chmod u+r closed.md`",
        )
    ]


def large(root: Path, name: str = "model.gguf", byte: bytes = b"w") -> Path:
    path = root / name
    path.write_bytes(byte * LARGE_BYTES)
    long_ago(path)
    return path


def test_an_unchanged_large_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest comes from the cache: one that was falsified there comes back as it is."""
    large(tmp_path)
    let_three_seconds_pass(monkeypatch)
    cache = HashCache(tmp_path / "hashes.json")
    hash_files(tmp_path, "model.gguf", cache=cache)
    cache.save()
    body = json.loads((tmp_path / "hashes.json").read_text())
    body["files"][str(tmp_path / "model.gguf")][5] = "f" * 64
    (tmp_path / "hashes.json").write_text(json.dumps(body))

    hashed, _ = hash_files(tmp_path, "model.gguf", cache=HashCache(tmp_path / "hashes.json"))

    assert hashed["model.gguf"].digest == "f" * 64


@pytest.mark.parametrize("change", ["bytes", "size", "inode"])
def test_a_large_file_that_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Other bytes, another size or another file under the name: the cache does not apply.

    The modification time is set back each time, as `cp -p` and `rsync -t` do.
    """
    path = large(tmp_path)
    with monkeypatch.context() as patched:
        let_three_seconds_pass(patched)
        cache = HashCache(tmp_path / "hashes.json")
        before, _ = hash_files(tmp_path, "model.gguf", cache=cache)
    stamp = path.stat().st_mtime_ns
    if change == "inode":
        large(tmp_path, "new", b"v").replace(path)
    else:
        path.write_bytes(b"v" * (LARGE_BYTES + (change == "size")))
    os.utime(path, ns=(stamp, stamp))

    after, _ = hash_files(tmp_path, "model.gguf", cache=cache)

    assert after["model.gguf"].digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert after["model.gguf"].digest != before["model.gguf"].digest


def test_a_file_that_was_just_touched_is_not_remembered(tmp_path: Path) -> None:
    """Within two seconds a file could change again without its times showing it."""
    (tmp_path / "model.gguf").write_bytes(b"w" * LARGE_BYTES)
    cache = HashCache(tmp_path / "hashes.json")

    hash_files(tmp_path, "model.gguf", cache=cache)
    cache.save()

    assert not (tmp_path / "hashes.json").exists()


def test_small_files_are_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1 MiB hashing is as fast as asking, so the cache stays small."""
    (tmp_path / "a.md").write_bytes(b"x" * (LARGE_BYTES - 1))
    let_three_seconds_pass(monkeypatch)
    cache = HashCache(tmp_path / "hashes.json")

    hash_files(tmp_path, "a.md", cache=cache)
    cache.save()

    assert not (tmp_path / "hashes.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 1, "files": []}',
        '{"format": 2, "files": {"PATH": [MARKS, "DIGEST"]}}',
        '{"format": 1, "files": {"PATH": [MARKS]}}',
        '{"format": 1, "files": {"PATH": "x"}}',
        '{"format": 1, "files": {"PATH": [MARKS, "DIGEST", 1]}}',
        '{"format": 1, "files": {"PATH": [MARKS, "short"]}}',
        '{"format": 1, "files": {"PATH": [MARKS, 7]}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_cache_costs_time_and_nothing_else(tmp_path: Path, content: str) -> None:
    """Whatever stands in the cache file, the digest is that of the bytes."""
    path = large(tmp_path)
    found = path.stat()
    marks = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    content = content.replace("PATH", str(path)).replace("DIGEST", "f" * 64)
    cache_file = tmp_path / "hashes.json"
    cache_file.write_text(content.replace("MARKS", ", ".join(map(str, marks))))

    hashed, mistakes = hash_files(tmp_path, "model.gguf", cache=HashCache(cache_file))

    assert mistakes == []
    assert hashed["model.gguf"].digest == hashlib.sha256(b"w" * LARGE_BYTES).hexdigest()


def test_a_cache_that_cannot_be_written_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the cache's folder is gone, the digest is still right."""
    large(tmp_path)
    let_three_seconds_pass(monkeypatch)
    cache = HashCache(tmp_path / "gone" / "hashes.json")

    hashed, _ = hash_files(tmp_path, "model.gguf", cache=cache)
    cache.save()

    assert hashed["model.gguf"].digest == hashlib.sha256(b"w" * LARGE_BYTES).hexdigest()


def test_a_cache_keeps_the_newest_ten_thousand(tmp_path: Path) -> None:
    """A cache never grows without end: the oldest digests are forgotten first."""
    path = large(tmp_path)
    cache = HashCache(tmp_path / "hashes.json")
    later = time.time_ns() + 3_000_000_000

    for index in range(CACHE_ENTRIES + 1):
        cache.put(f"/{index}", path.stat(), "a" * 64, hashed_at_ns=later)

    assert cache.get("/0", path.stat()) is None
    assert cache.get("/1", path.stat()) == "a" * 64
    assert cache.get(f"/{CACHE_ENTRIES}", path.stat()) == "a" * 64


def test_large_files_are_all_hashed_whichever_thread_takes_them(tmp_path: Path) -> None:
    """Several large files in several folders are hashed once each."""
    groups = []
    wanted = {}
    for index in range(5):
        (tmp_path / f"p{index}").mkdir()
        path = large(tmp_path, f"p{index}/m", bytes([index]))
        wanted[f"p{index}/m"] = hashlib.sha256(path.read_bytes()).hexdigest()
        groups.append(Group((f"p{index}",), ["m"], [f"p{index}/m"]))
    descriptor = os.open(tmp_path, os.O_RDONLY)

    hashed, mistakes = hash_groups(descriptor, groups, base=str(tmp_path))

    os.close(descriptor)
    assert mistakes == []
    assert {path: found.digest for path, found in hashed.items()} == wanted


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """Reading a folder, refusals included, leaves as many descriptors as before."""
    (tmp_path / "a/b").mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo")
    large(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, names do not matter

    hash_files(tmp_path, "fifo", "gone", "model.gguf", "a")
    with folder_below(descriptor, ("a", "b")):
        pass
    with pytest.raises(FileNotFoundError), folder_below(descriptor, ("a", "gone")):
        pass

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
    os.close(descriptor)
