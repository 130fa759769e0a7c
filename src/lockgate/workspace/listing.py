"""Walk a folder without following anything out of it.

- Hidden files, caches and editors' backups are not there; neither is Lockgate's own bookkeeping.
- A folder with a `lockgate.toml` of its own is another system and is not entered.
- A folder more than 64 folders deep is reported, never read.
- Symbolic links, FIFOs, devices and sockets are reported, never opened.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lockgate.workspace.hashing import folder_below
from lockgate.workspace.lock import LOCK_FILE
from lockgate.workspace.settings import SETTINGS_FILE

MAX_DEPTH = 64
_HIDDEN = (".", "#", "__pycache__")
_LEFTOVERS = ("~", ".pyc", ".pyo", ".swp", ".swo")
_REGISTRY_ONLY = frozenset({"policy.toml", "where.toml", "suites", "published"})
"""What lies beside a `.lockgate` folder belongs to the registry, not to the system there."""


@dataclass(slots=True)
class Listed:
    """One folder: what lies directly in it."""

    names: tuple[str, ...]
    """The names that lead to it, as the disk spells them."""
    path: str
    """The same as one path in Unicode normal form C; the root is the empty text."""
    files: list[str] = field(default_factory=list)
    """Names of ordinary files, sorted, as the disk spells them."""
    folders: list[str] = field(default_factory=list)
    odd: list[tuple[str, bool]] = field(default_factory=list)
    """Names of links, FIFOs, devices and sockets, and whether each leads to a folder."""
    problem: OSError | None = None
    """Why it could not be read."""


def normal(path: str) -> str:
    """Return a path in Unicode normal form C."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def joined(folder: str, name: str) -> str:
    """Return the path of a name in a folder, in Unicode normal form C."""
    return normal(f"{folder}/{name}" if folder else name)


def walk(root: int, enter: Callable[[str], bool]) -> Iterator[Listed]:
    """Give every folder below a descriptor, outer ones first, in the order of their names.

    Args:
        root: The folder's descriptor.
        enter: Asked with the path of each folder before it is read.
    """
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        names = waiting.pop()
        path = normal("/".join(names))
        if names and not enter(path):
            continue
        if len(names) > MAX_DEPTH:
            yield Listed(names, path, problem=OSError(errno.ELOOP, "too many folders deep"))
            continue
        listed = _list(root, names, path)
        if names and SETTINGS_FILE in listed.files:
            continue
        yield listed
        waiting.extend((*names, name) for name in reversed(listed.folders))


def _list(root: int, names: tuple[str, ...], path: str) -> Listed:
    listed = Listed(names, path)
    try:
        with folder_below(root, names) as folder, os.scandir(folder) as entries:
            found = list(entries)
            never = _own_files(found) if not names else frozenset()
            for entry in found:
                name = entry.name
                if name.startswith(_HIDDEN) or name.endswith(_LEFTOVERS) or name in never:
                    continue
                if entry.is_file(follow_symlinks=False):
                    listed.files.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    listed.folders.append(name)
                else:
                    listed.odd.append((name, entry.is_dir()))
    except OSError as error:
        listed.problem = error
    listed.files.sort()
    listed.folders.sort()
    listed.odd.sort()
    return listed


def _own_files(entries: list[os.DirEntry[str]]) -> frozenset[str]:
    own = frozenset({SETTINGS_FILE, LOCK_FILE})
    return own | _REGISTRY_ONLY if any(entry.name == ".lockgate" for entry in entries) else own
