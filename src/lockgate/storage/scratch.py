"""Folders of one process, which go with it however it ends.

- A folder is locked by the process that made it; the system lets go of the lock when the process
  ends, even by kill -9, whatever its number is in whichever container.
- A folder that nobody locks is left over; it goes when the next one is made beside it.
- Nobody sweeps between the making of a folder and its locking.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """One such folder, until it is dropped or its process ends."""

    def __init__(self, parent: Path) -> None:
        """Make it below a folder, which is made as well, and take away what is left over there.

        Raises:
            OSError: It cannot be made.
        """
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(parent)
        self.path = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._owner = os.getpid()
        with _opened(parent) as above:
            _lock(above)
            self.path.mkdir(mode=0o700)
            self._held = os.open(self.path, _FOLDER)
            _lock(self._held, at_once=True)

    def drop(self) -> None:
        """Remove the folder with all it holds; safe to call twice."""
        if self._held >= 0 and self._owner == os.getpid():  # a fork has no part in it
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = -1


def sweep(parent: Path) -> None:
    """Remove the folders below one whose processes have ended; others stay as they are."""
    if not _has_any(parent):
        return
    with contextlib.ExitStack() as locked:
        for left in _left_over(parent, locked):
            shutil.rmtree(left, ignore_errors=True)


def _has_any(folder: Path) -> bool:
    """Tell whether a folder is there and holds anything."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _left_over(parent: Path, locked: contextlib.ExitStack) -> list[Path]:
    """Return the folders whose locks nobody held; now this process does, until the stack ends."""
    found = []
    with _opened(parent) as above:
        if not _lock(above, at_once=True):
            return []  # somebody else makes one or sweeps
        for path in parent.iterdir():
            with contextlib.suppress(OSError):  # no folder, or gone meanwhile
                if _lock(locked.enter_context(_opened(path)), at_once=True):
                    found.append(path)
    return found


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, at_once: bool = False) -> bool:
    """Lock a folder against other processes; false when it is locked or cannot be."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if at_once else 0))
    except OSError:
        return False
    return True
