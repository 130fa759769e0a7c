"""Hash the files of a folder: fast, and only bytes that are surely inside it.

- A file is opened below its folder's own descriptor; no symbolic link is ever followed.
- Only ordinary files are read; FIFOs, devices and sockets are refused without being waited for.
- A file that changed while it was hashed is refused.
- Small files are read in a plain loop; files of 1 MiB and more are hashed by two threads.
- The stat cache knows files of 1 MiB and more only, and never one that was touched lately.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

from lockgate.canonical import is_digest
from lockgate.shown import shown
from lockgate.workspace.tomlfile import Mistake

LARGE_BYTES = 1 << 20
"""From this size on a file is hashed by a thread and may be remembered."""

THREADS = 2
YOUNG_NS = 2_000_000_000
"""A file touched within this time could change again without its times showing it."""

CLOCK_STEP_NS = 50_000_000
"""Longer than the steps in which any file system's clock moves."""

CACHE_FORMAT = 1
CACHE_ENTRIES = 10_000

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


class Source(NamedTuple):
    """Where the bytes of one file of a definition lie, and what they were when hashed."""

    path: str
    """Absolute, as the disk spells it."""
    size: int
    """In bytes."""
    mtime_ns: int
    digest: str
    is_executable: bool
    """Whether its owner may execute it."""


class Group(NamedTuple):
    """Files of one folder that are to be hashed together."""

    folder: tuple[str, ...]
    """The names that lead to it, as the disk spells them."""
    names: Sequence[str]
    """Names inside it, as the disk spells them."""
    paths: Sequence[str]
    """For each name, the path people know it by."""


class FileTrouble(Exception):  # noqa: N818 - named for what happened
    """A file cannot be part of a version; says why and what helps."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class HashCache:
    """Digests of large files that have not changed since they were hashed.

    Losing or damaging the file costs time and nothing else.
    """

    def __init__(self, path: Path) -> None:
        """Remember digests in a file.

        Args:
            path: Where; its folder has to exist for anything to be kept.
        """
        self._path = path
        self._known: dict[str, tuple[int, int, int, int, int, str]] | None = None
        self._is_changed = False
        self._lock = Lock()

    def get(self, path: str, found: os.stat_result) -> str | None:
        """Return the digest of a file whose every mark is as it was, or `None`."""
        with self._lock:
            entry = self._entries().get(path)
        return entry[5] if entry is not None and entry[:5] == _marks(found) else None

    def put(self, path: str, found: os.stat_result, digest: str, *, hashed_at_ns: int) -> None:
        """Remember a digest, unless the file was touched within two seconds of its hashing.

        Args:
            path: The file's absolute path.
            found: What `stat` said before and after hashing.
            digest: The SHA-256 of its bytes.
            hashed_at_ns: When hashing began, in nanoseconds since 1970.
        """
        if max(found.st_mtime_ns, found.st_ctime_ns) > hashed_at_ns - YOUNG_NS:
            return
        with self._lock:
            known = self._entries()
            known.pop(path, None)
            known[path] = (*_marks(found), digest)
            while len(known) > CACHE_ENTRIES:
                del known[next(iter(known))]
            self._is_changed = True

    def save(self) -> None:
        """Write what is new, all or nothing; a disk that refuses is no reason to stop."""
        if not self._is_changed:
            return
        body = {"format": CACHE_FORMAT, "files": self._entries()}
        with suppress(OSError):
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".hashes-")
            try:
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    json.dump(body, file)
                Path(temporary).replace(self._path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        self._is_changed = False

    def _entries(self) -> dict[str, tuple[int, int, int, int, int, str]]:
        if self._known is None:
            self._known = _read_cache(self._path)
        return self._known


def _marks(found: os.stat_result) -> tuple[int, int, int, int, int]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _read_cache(path: Path) -> dict[str, tuple[int, int, int, int, int, str]]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    files = body.get("files") if isinstance(body, dict) else None
    if not isinstance(files, dict) or body.get("format") != CACHE_FORMAT:
        return {}
    return {name: tuple(entry) for name, entry in files.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 6
        and all(type(mark) is int for mark in entry[:5])
        and isinstance(entry[5], str)
        and is_digest(entry[5])
    )


@contextmanager
def folder_below(root: int, names: Sequence[str]) -> Iterator[int]:
    """Open a folder by name after name below a descriptor, following no link.

    Raises:
        OSError: A part is missing, a link, not a folder or not readable.
    """
    opened = os.dup(root)
    try:
        for name in names:
            inner = os.open(name, _FOLDER, dir_fd=opened)
            os.close(opened)
            opened = inner
        yield opened
    finally:
        os.close(opened)


def open_below(folder: int, name: str) -> tuple[int, os.stat_result]:
    """Open an ordinary file inside a folder's descriptor, following no link.

    Raises:
        FileTrouble: It is something else.
        OSError: It is missing or not readable.
    """
    descriptor = os.open(name, _READ, dir_fd=folder)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise not_a_file(found.st_mode)
    return descriptor, found


def not_a_file(mode: int) -> FileTrouble:
    """Return the trouble with something that is neither a file nor a folder."""
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return FileTrouble(f"is {kind}, not a file", "replace it by an ordinary file, or ignore it")


def trouble_of(error: OSError) -> FileTrouble:
    """Return what an error of the operating system means for a file of a version."""
    import errno

    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return FileTrouble("is a symbolic link", "copy the file it leads to into the folder")
    if error.errno == errno.ENOENT:
        return FileTrouble("disappeared while the folder was read", "run the command again")
    if error.errno == errno.EISDIR:
        return not_a_file(stat.S_IFDIR)
    if error.errno == errno.EAGAIN:
        return not_a_file(stat.S_IFIFO)
    if error.errno in (errno.ENXIO, errno.ENODEV):
        return FileTrouble("is a socket or device, not a file", "replace it by an ordinary file")
    hint = (
        "make it readable: `chmod u+r {path}`" if error.errno == errno.EACCES else "check the disk"
    )
    return FileTrouble(f"cannot be read: {(error.strerror or 'unknown error').lower()}", hint)


def hash_groups(
    root: int, groups: Sequence[Group], *, base: str, cache: HashCache | None = None
) -> tuple[dict[str, Source], list[Mistake]]:
    """Hash files below a folder.

    Args:
        root: The descriptor of the folder.
        groups: What to hash, folder by folder.
        base: The absolute path of the folder, under which the cache knows its files.
        cache: Digests of large files from earlier; new ones are added.

    Returns:
        What each file was, by path, and what is wrong with the ones that could not be hashed.
    """
    work = _Work(root, base, cache)
    for group in groups:
        try:
            with folder_below(root, group.folder) as folder:
                work.hash_small(folder, group)
        except OSError as error:
            for path in group.paths:
                work.refuse(path, trouble_of(error))
    work.hash_large()
    return work.hashed, work.mistakes


class _Stopped(Exception):  # noqa: N818 - named for what happened
    """Another thread failed or a person interrupted: half a digest is none."""


class _Work:
    """One pass over the files of a folder."""

    def __init__(self, root: int, base: str, cache: HashCache | None) -> None:
        self.hashed: dict[str, Source] = {}
        self.mistakes: list[Mistake] = []
        self._root = root
        self._base = base
        self._cache = cache
        self._large: list[tuple[int, tuple[str, ...], str, str]] = []
        self._stop = Event()
        self._buffer = memoryview(bytearray(LARGE_BYTES))
        self._settled_ns = time.time_ns() - CLOCK_STEP_NS

    def refuse(self, path: str, trouble: FileTrouble) -> None:
        safe = shown(path)
        hint = trouble.hint.replace("{path}", safe)
        self.mistakes.append(Mistake(f"`{safe}` {trouble.what}", hint))

    def hash_small(self, folder: int, group: Group) -> None:
        """Hash the small files of one folder; put the large ones off."""
        buffer = self._buffer
        buffers = [buffer]
        hashed, settled, sha256 = self.hashed, self._settled_ns, hashlib.sha256
        open_file, read_into, fstat, close = os.open, os.readv, os.fstat, os.close
        above = "/".join((self._base, *group.folder, ""))
        for name, path in zip(group.names, group.paths, strict=True):
            try:
                descriptor = open_file(name, _READ, dir_fd=folder)
                try:
                    size = read_into(descriptor, buffers)
                    found = fstat(descriptor)
                finally:
                    close(descriptor)
                mode = found.st_mode
                # One look after reading is enough for a file that nobody touched since before.
                if (
                    size == found.st_size
                    and size < LARGE_BYTES
                    and found.st_ctime_ns < settled
                    and stat.S_ISREG(mode)
                ):
                    digest = sha256(buffer[:size]).hexdigest()
                    hashed[path] = Source(
                        above + name, size, found.st_mtime_ns, digest, mode & 0o100 != 0
                    )
                elif found.st_size >= LARGE_BYTES and stat.S_ISREG(mode):
                    self._large.append((found.st_size, group.folder, name, path))
                else:
                    hashed[path] = self._carefully(folder, above + name, buffer)
            except FileTrouble as trouble:
                self.refuse(path, trouble)
            except OSError as error:
                self.refuse(path, trouble_of(error))

    def hash_large(self) -> None:
        """Hash what was put off, largest first, in threads that stop when one of us stops."""
        if not self._large:
            return
        waiting = deque(sorted(self._large, reverse=True))
        with ThreadPoolExecutor(min(THREADS, len(waiting))) as pool:
            try:
                for done in [pool.submit(self._drain, waiting) for _ in range(THREADS)]:
                    done.result()
            except BaseException:
                self._stop.set()
                raise

    def _drain(self, waiting: deque[tuple[int, tuple[str, ...], str, str]]) -> None:
        buffer = memoryview(bytearray(LARGE_BYTES))
        while waiting and not self._stop.is_set():
            try:
                _, names, name, path = waiting.popleft()
            except IndexError:
                return
            try:
                with folder_below(self._root, names) as folder:
                    whole = "/".join((self._base, *names, name))
                    self.hashed[path] = self._carefully(folder, whole, buffer)
            except FileTrouble as trouble:
                self.refuse(path, trouble)
            except OSError as error:
                self.refuse(path, trouble_of(error))

    def _carefully(self, folder: int, whole: str, buffer: memoryview) -> Source:
        """Hash a file of any size, looking at it before and after.

        Small files come here only when they are too young to be remembered.
        """
        descriptor, before = open_below(folder, whole.rpartition("/")[2])
        try:
            digest = self._cache.get(whole, before) if self._cache else None
            if digest is None:
                began = time.time_ns()
                digest = self._digest(descriptor, buffer)
                after = os.fstat(descriptor)
                if _marks(before) != _marks(after):
                    raise FileTrouble(
                        "changed while it was hashed",
                        "run the command again when nothing writes it",
                    )
                if self._cache:
                    self._cache.put(whole, before, digest, hashed_at_ns=began)
        finally:
            os.close(descriptor)
        is_executable = before.st_mode & 0o100 != 0
        return Source(whole, before.st_size, before.st_mtime_ns, digest, is_executable)

    def _digest(self, descriptor: int, buffer: memoryview) -> str:
        digest = hashlib.sha256()
        while count := os.readv(descriptor, [buffer]):
            digest.update(buffer[:count])
            if self._stop.is_set():
                raise _Stopped
        return digest.hexdigest()
