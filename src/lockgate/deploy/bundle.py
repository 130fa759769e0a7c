"""A bundle as one tar file, the same bytes for the same content, and there whole or not at all.

- Names are sorted, owners are nobody, every time is the one that is given.
- What comes from the registry is hashed on the way; a file that differs leaves no bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import tarfile
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from lockgate.errors import IntegrityBroken
from lockgate.shown import shown


class Packed(Protocol):
    """One file of a bundle."""

    @property
    def path(self) -> str:
        """Where it stands, below the bundle's folder."""
        ...

    @property
    def data(self) -> bytes | None:
        """Its bytes; `None` where they are opened by digest."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        ...


class _Hashed:
    """A stream that is hashed while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.hash.update(data)
        return data


def write_bundle(
    target: Path,
    folder: str,
    members: Iterable[Packed],
    open_content: Callable[[str], BinaryIO],
    at: datetime,
) -> int:
    """Write a bundle and return its size in bytes; a file that is there is replaced.

    Raises:
        IntegrityBroken: A content is not what its digest says; nothing is left behind.
        OSError: The disk refuses; nothing is left behind.
    """
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for member in members:
                    _add(tar, folder, member, open_content, int(at.timestamp()))
            file.flush()
            os.fsync(file.fileno())
        size = temporary.stat().st_size
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return size


def _add(
    tar: tarfile.TarFile,
    folder: str,
    member: Packed,
    open_content: Callable[[str], BinaryIO],
    mtime: int,
) -> None:
    info = tarfile.TarInfo(f"{folder}/{member.path}")
    info.size, info.mtime = member.size_bytes, mtime
    info.mode = 0o755 if member.path.endswith(".sh") and member.data is not None else 0o644
    if member.data is not None:
        tar.addfile(info, io.BytesIO(member.data))
        return
    with open_content(member.digest) as stream:
        hashed = _Hashed(stream)
        tar.addfile(info, cast("IO[bytes]", hashed))
    if hashed.hash.hexdigest() != member.digest:
        raise IntegrityBroken(
            f"`{shown(member.path)}` is not what was registered: {member.digest[:12]} is damaged",
            hint="restore a backup of `.lockgate/`, or leave --files out",
        )
