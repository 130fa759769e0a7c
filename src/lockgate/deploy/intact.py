"""Hold a folder against the digests a receipt names for it: every file, and none besides.

Standard library only and cheap to import, for the serving side uses it too. No link is followed.
"""

# ruff: noqa: PTH123
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import hashlib
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PROBLEMS = 50
_CHUNK_BYTES = 1 << 20


def folder_problems(
    folder: str,
    files: Mapping[str, str],
    executables: Mapping[str, str],
    *,
    budget_bytes: int | None = None,
) -> list[str]:
    """Return what is wrong with a published folder, file by file, by path; empty when intact.

    Args:
        folder: Where the definition stands.
        files: Relative path to SHA-256, of the files that are not executable.
        executables: The same of those that are.
        budget_bytes: The most bytes to hash, smallest files first; the others are only checked to
            be there. `None` hashes all.

    Returns:
        One line for each file that was changed, is missing or should not be there, safe to show;
        at most `MAX_PROBLEMS` and how many more there are.
    """
    found: dict[str, os.stat_result] = {}
    problems: list[tuple[str, str]] = []
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return [f"`{_safe(folder)}` is a link or a file, not a folder"]
        found.update(_entries(folder, ""))
    except FileNotFoundError:
        return [f"the folder `{_safe(folder)}` is missing"]
    except OSError as error:
        return [f"`{_safe(error.filename)}` cannot be read: {error.strerror}"]
    wanted = {**files, **executables}
    problems += [(path, "is missing") for path in wanted.keys() - found.keys()]
    problems += [
        (path, _not_wanted(path))
        for path in found.keys() - wanted.keys()
        if not (stat.S_ISDIR(found[path].st_mode) and _is_above(path, wanted))
    ]
    rest = budget_bytes
    for path in sorted(wanted.keys() & found.keys(), key=lambda path: found[path].st_size):
        state = found[path]
        trouble = _mode_trouble(state.st_mode, path in executables)
        if trouble is None and (rest is None or state.st_size <= rest):
            rest = None if rest is None else rest - state.st_size
            trouble = _bytes_trouble(f"{folder}/{path}", wanted[path])
        if trouble is not None:
            problems.append((path, trouble))
    lines = [f"`{_safe(path)}` {trouble}" for path, trouble in sorted(problems)]
    more = len(lines) - MAX_PROBLEMS
    return lines if more <= 0 else [*lines[:MAX_PROBLEMS], f"and {more} more"]


def _entries(folder: str, above: str) -> Iterator[tuple[str, os.stat_result]]:
    """Give everything below a folder that is not itself a folder with something in it."""
    with os.scandir(folder) as listing:
        for entry in listing:
            state = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(state.st_mode):
                yield above + entry.name, state
                continue
            below = list(_entries(entry.path, f"{above}{entry.name}/"))
            yield from below
            if not below:
                yield above + entry.name, state


def _is_above(path: str, wanted: Mapping[str, str]) -> bool:
    """Tell whether an empty folder belongs there: it is its missing files that are told."""
    return any(name.startswith(f"{path}/") for name in wanted)


def _not_wanted(path: str) -> str:
    if "__pycache__" in path.split("/"):
        return "should not be there: import from the folder with PYTHONDONTWRITEBYTECODE=1"
    return "should not be there"


def _mode_trouble(mode: int, is_executable: bool) -> str | None:
    if not stat.S_ISREG(mode):
        return "is a link, a folder or a device, not a file"
    if bool(mode & stat.S_IXUSR) != is_executable:
        return "should be executable" if is_executable else "should not be executable"
    return None


def _bytes_trouble(path: str, digest: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        found = hashlib.sha256()
        with open(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if found.hexdigest() == digest else "was changed"


def _safe(text: object) -> str:
    from lockgate.shown import shown  # only when something is wrong

    return shown(text, limit=300)
