"""What SQLite says when it cannot go on, told as one of our errors, each with what helps.

- A lock, a full disk, missing rights, damage and a refused record are told apart.
- Whoever cannot get in is told who is inside.
- A programmer's mistake stays a traceback.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from lockgate.errors import Busy, LockgateError, RegistryTrouble, Rejected, StaleGeneration

T = TypeVar("T")

_SAYS = re.compile(r"lockgate: (.*)", re.DOTALL)
_STALE = ("attempt system and environment and generation exists", "an attempt takes the generation")
_MISTAKES = (sqlite3.ProgrammingError, sqlite3.NotSupportedError)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_NO_RIGHTS = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 when the error did not come from SQLite itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_lock(error: sqlite3.Error) -> bool:
    """Tell whether somebody else is in the way, so that waiting helps."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_missing_right(error: sqlite3.Error) -> bool:
    """Tell whether the file or its folder may not be written or opened."""
    return code_of(error) in _NO_RIGHTS


@contextlib.contextmanager
def told_as_ours(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into our errors.

    Args:
        path: The registry's file, for the messages.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, _MISTAKES):
            raise
        raise fault(error, path) from error


def tells_faults(queries: type[T]) -> type[T]:
    """Make every public method of a class of queries raise our errors instead of SQLite's."""
    for name, member in list(vars(queries).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(queries, name, _telling(member))
    return queries


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def give(self: Any, *args: Any, **kwargs: Any) -> Any:
            with told_as_ours(_path(self)):
                yield from method(self, *args, **kwargs)

        return give

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.DatabaseError as error:
            if isinstance(error, _MISTAKES):
                raise
            raise fault(error, _path(self)) from error

    return call


def _path(queries: Any) -> Path:
    """Return the file below some queries; SQLite answers this without reading it."""
    for _, name, path in queries._connection.execute("PRAGMA database_list"):
        if name == "main":
            return Path(path)
    return Path()


def fault(error: sqlite3.DatabaseError, path: Path) -> LockgateError:
    """Return our error for one of SQLite's."""
    if isinstance(error, sqlite3.IntegrityError):
        return _refusal(str(error))
    if is_lock(error):
        return Busy(
            f"the registry is in use by {lock_holder(path)}", hint="wait a moment and run it again"
        )
    if code_of(error) in _FULL:
        return RegistryTrouble(
            f"the disk below `{path.parent}` is full or failing ({error})",
            hint="make room, see `df -h`, then run it again: nothing half-written remains",
        )
    if is_missing_right(error):
        return RegistryTrouble(
            f"`{path}` cannot be opened or written ({error})",
            hint=f"check rights with `ls -ld {path.parent} {path}`",
        )
    return RegistryTrouble(
        f"the registry `{path}` is damaged ({error})",
        hint="keep this file aside and restore a backup of `.lockgate/`; do not write to this one",
    )


def _refusal(text: str) -> Rejected | StaleGeneration:
    match = _SAYS.search(text)
    says = match.group(1) if match else text
    if says.startswith(_STALE):
        return StaleGeneration(
            "somebody else took this generation first; nothing was changed",
            hint="`lockgate status` shows what is live now",
        )
    return Rejected(f"the registry refused it: {says}", hint="`lockgate status` shows what is next")


def lock_holder(path: Path) -> str:
    """Name the process that is writing to a registry, as far as this host can tell."""
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            parts = line.split()
            # 120 is WAL_WRITE_LOCK in SQLite's wal-index format.
            if len(parts) == 8 and parts[5].endswith(f":{inode}") and parts[6:] == ["120", "120"]:
                command = Path(f"/proc/{parts[4]}/cmdline").read_bytes().replace(b"\0", b" ")
                return f"process {parts[4]} ({command.decode(errors='replace').strip()[:80]})"
    except (OSError, ValueError):
        pass
    return "another process"
