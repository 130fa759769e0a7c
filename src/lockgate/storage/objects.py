"""Objects: bytes under their SHA-256, small ones in the database, large ones as files.

- An object is written once; the same bytes are kept once.
- A large object is complete under its name or not there at all: it is written and synced in a
  folder of the process, then renamed; what a killed process left there goes with the next store.
- What is read is hashed again; bytes that differ are never returned.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from lockgate.canonical import digest_bytes
from lockgate.errors import IntegrityBroken, RegistryTrouble
from lockgate.storage.faults import tells_faults
from lockgate.storage.scratch import Scratch, sweep

LARGE_BYTES = 256 * 1024
"""From this size on an object is a file below `objects/`."""

_CHUNK = 1 << 20
_NEW = ".new"
"""The folder below `objects/` where large ones are written before they get their names."""


class Missing(LookupError):
    """The object's content was removed or never stored here."""


@tells_faults
class Objects:
    """Reads and keeps objects over one connection; the writer holds the transaction."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        """Serve the objects of one registry.

        Args:
            connection: Of the thread that calls.
            folder: Where large objects lie; made when the first one comes.
        """
        self._connection = connection
        self._folder = folder
        self._staged: dict[str, Path] = {}
        self._scratch: Scratch | None = None
        self._is_swept = False

    def stage_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Put a large file's bytes in place before a transaction, so that nobody waits for it.

        Nothing counts before `put_file` is called for it; small files are left to that. What is
        never put goes with `close`, or with the process.

        Raises:
            IntegrityBroken: The file has other bytes now; nothing was kept.
            RegistryTrouble: The disk is full or may not be written.
        """
        if size_bytes < LARGE_BYTES or digest in self._staged or self._is_known(digest):
            return
        with source() as stream:
            self._staged[digest] = self._written(stream, digest, size_bytes)

    def put(self, data: bytes) -> str:
        """Keep some bytes and return their digest."""
        digest = digest_bytes(data)
        if not self._is_known(digest):
            if len(data) >= LARGE_BYTES:
                self._place(self._written(io.BytesIO(data), digest, len(data)), digest, len(data))
            else:
                self._insert(digest, len(data), data, None)
        return digest

    def put_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Keep the bytes of a file that should have this digest.

        Raises:
            IntegrityBroken: The file has other bytes now; nothing was kept.
        """
        if self._is_known(digest):
            return
        if size_bytes >= LARGE_BYTES:
            self.stage_file(source, digest, size_bytes)
            self._place(self._staged.pop(digest), digest, size_bytes)
            return
        with source() as stream:
            data = stream.read(size_bytes + 1)
        if digest_bytes(data) != digest:
            raise IntegrityBroken("a file changed while it was stored", hint="run it again")
        self._insert(digest, len(data), data, None)

    def read(self, digest: str) -> bytes:
        """Return an object's bytes, checked against their digest.

        Raises:
            Missing: The content is not here: removed, or never stored.
            IntegrityBroken: The stored bytes are not what the digest says.
        """
        with self.open(digest) as stream:
            data = stream.read()
        if digest_bytes(data) != digest:
            raise _damaged(digest)
        return data

    def open(self, digest: str) -> BinaryIO:
        """Open an object for reading; the caller checks the digest of what it reads.

        Raises:
            Missing: The content is not here: removed, or never stored.
            IntegrityBroken: It is not even bytes.
            RegistryTrouble: Its file may not be read.
        """
        row = self._connection.execute(
            "SELECT bytes, path FROM content WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            raise Missing(f"object {digest[:12]} has no content here")
        if row[0] is not None:
            if not isinstance(row[0], bytes):
                raise _damaged(digest)
            return io.BytesIO(row[0])
        try:
            return Path(self._folder, row[1]).open("rb")
        except FileNotFoundError as error:
            raise Missing(f"object {digest[:12]} has lost its file `{row[1]}`") from error
        except OSError as error:
            raise RegistryTrouble(
                f"object {digest[:12]} cannot be read: {error.strerror or error}",
                hint=f"check rights with `ls -l {self._folder / row[1]}`",
            ) from error

    def is_intact(self, digest: str) -> bool:
        """Tell whether an object is here and its bytes are what the digest says."""
        hashed = hashlib.sha256()
        try:
            with self.open(digest) as stream:
                while chunk := stream.read(_CHUNK):
                    hashed.update(chunk)
        except (Missing, IntegrityBroken, RegistryTrouble, OSError):
            return False
        return hashed.hexdigest() == digest

    def has(self, digest: str) -> bool:
        """Tell whether an object's content is here in full length, without reading it.

        Of a large one the file has to be there, with the size that was recorded.
        """
        row = self._connection.execute(
            "SELECT o.size, length(c.bytes), c.path FROM object o JOIN content c USING (digest) "
            "WHERE o.digest = ?",
            (digest,),
        ).fetchone()
        if row is None:
            return False
        size, length, path = row
        try:
            return bool(
                size == (length if path is None else Path(self._folder, path).stat().st_size)
            )
        except OSError:
            return False

    def size(self, digest: str) -> int | None:
        """Return an object's size in bytes as recorded; `None` when no content is recorded here."""
        row = self._connection.execute(
            "SELECT o.size FROM object o JOIN content c USING (digest) WHERE o.digest = ?",
            (digest,),
        ).fetchone()
        return int(row[0]) if row else None

    def has_file(self, digest: str) -> bool:
        """Tell whether there is a file under an object's digest, whether it counts or not."""
        return (self._folder / _name(digest)).exists()

    def drop_file(self, digest: str) -> bool:
        """Delete the file of a large object whose content was removed; says whether there was one.

        The writer holds the transaction, so nobody can be putting the same object meanwhile.
        """
        row = self._connection.execute("SELECT 1 FROM content WHERE digest = ?", (digest,))
        path = self._folder / _name(digest)
        if row.fetchone() is not None or not path.exists():
            return False
        with _told(0):
            path.unlink()
            _sync_folder(path.parent)
        return True

    def _is_known(self, digest: str) -> bool:
        row = self._connection.execute(
            "SELECT c.path FROM object o JOIN content c USING (digest) WHERE o.digest = ?",
            (digest,),
        ).fetchone()
        return row is not None and (row[0] is None or (self._folder / row[0]).exists())

    def close(self) -> None:
        """Take away what was staged and never put; safe to call twice."""
        self._staged.clear()
        if self._scratch is not None:
            self._scratch.drop()
            self._scratch = None

    def _insert(self, digest: str, size: int, data: bytes | None, path: str | None) -> None:
        if not self._is_swept:
            self._is_swept = True
            sweep(self._folder / _NEW)
        self._connection.execute(
            "INSERT INTO object (digest, size) SELECT ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM object WHERE digest = ?)",
            (digest, size, digest),
        )
        self._connection.execute(
            "INSERT INTO content (digest, bytes, path) SELECT ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM content WHERE digest = ?)",
            (digest, data, path, digest),
        )

    def _written(self, stream: BinaryIO, digest: str, size_bytes: int) -> Path:
        """Write a large object, safe on disk, where it has no name yet; return the file."""
        hashed = hashlib.sha256()
        with _told(size_bytes):
            temporary = self._own_folder() / f"{digest[:16]}-{secrets.token_hex(4)}"
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as out:
                    while chunk := stream.read(_CHUNK):
                        hashed.update(chunk)
                        out.write(chunk)
                    out.flush()
                    os.fsync(out.fileno())
                if hashed.hexdigest() != digest:
                    raise IntegrityBroken("a file changed while it was stored", hint="run it again")
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        return temporary

    def _place(self, temporary: Path, digest: str, size_bytes: int) -> None:
        """Give a written object its name, safe on disk, and record it."""
        target = self._folder / _name(digest)
        with _told(size_bytes):
            size = temporary.stat().st_size
            _make_folder(target.parent)
            temporary.rename(target)
            _sync_folder(target.parent)
        self._insert(digest, size, None, _name(digest))

    def _own_folder(self) -> Path:
        if self._scratch is None:
            _make_folder(self._folder)
            self._scratch = Scratch(self._folder / _NEW)
            weakref.finalize(self, self._scratch.drop)
        return self._scratch.path


@contextlib.contextmanager
def _told(size_bytes: int) -> Iterator[None]:
    """Turn what the disk says in the block into our error."""
    try:
        yield
    except OSError as error:
        raise RegistryTrouble(
            f"cannot store an object of {size_bytes} bytes: {error.strerror or error}",
            hint="check free space and rights with `df -h` and `ls -ld` on the registry",
        ) from error


def _name(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each safe in the one above before anything lies in it."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(digest: str) -> IntegrityBroken:
    return IntegrityBroken(
        f"object {digest[:12]} is damaged: its bytes are not what the digest says",
        hint="restore it from a backup; `lockgate status` shows what depends on it",
    )
