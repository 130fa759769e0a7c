"""Small files that several processes share: replaced whole, and changed by one at a time.

Standard library only and cheap to import, for the serving side uses it too.
"""

# ruff: noqa: PTH105, PTH108, PTH118, PTH123
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S = 0.01
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def replace_file(path: str, data: bytes) -> None:
    """Replace a file so that any reader, and a power cut, finds the old bytes or the new ones.

    Whoever calls holds the lock that guards the file: the temporary name beside it is fixed, so
    that a killed writer leaves at most one, which the next writer takes over.

    Raises:
        OSError: The disk refuses; what was there stands.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.new")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
        sync_folder(folder)
    except OSError:
        remove_file(temporary)
        raise


def remove_file(path: str) -> None:
    """Remove a file if it is there, as far as that is possible."""
    try:
        os.unlink(path)
    except OSError:
        return


def sync_folder(folder: str) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: str, most_bytes: int) -> bytes:
    """Return a regular file's bytes, at most one more than `most_bytes`.

    Raises:
        OSError: It is not there, is a link, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
    with open(descriptor, "rb") as file:
        return file.read(most_bytes + 1)


@contextmanager
def locked(path: str, patience_s: float) -> Iterator[None]:
    """Hold a lock file that only one process can hold; it is free again when the process ends.

    Raises:
        TimeoutError: Somebody else held it all the time.
        OSError: The lock file cannot be made or opened.
    """
    descriptor = open_lock(path)
    try:
        until = time.monotonic() + patience_s
        while not take_lock(descriptor):
            if time.monotonic() > until:
                raise TimeoutError(path)
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def open_lock(path: str) -> int:
    """Open a lock file, made if need be; reading rights are enough to hold it."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CREAT | _FLAGS, 0o666)
    except PermissionError:
        # Linux refuses O_CREAT on another user's file in a sticky folder.
        return os.open(path, os.O_RDONLY | _FLAGS)


def take_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Try to take the lock of an open lock file; tell whether it is held now."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
