"""Published folders: have one stand whole, repair it without a gap, and remove it in one step.

- A new folder appears whole, under its name, in one rename.
- A folder that was changed is repaired file by file, so that it is never missing while it is live.
- A folder that goes loses its name first, so that no half of it is ever taken for the whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from lockgate.deploy.files import sync_folder
from lockgate.deploy.intact import folder_problems
from lockgate.domain.components import Definition
from lockgate.errors import IntegrityBroken, LockgateError
from lockgate.shown import shown

Write = Callable[[Path], None]
"""Writes a definition's files, re-hashed and durable, into a folder that appears whole."""


def definition_problems(
    folder: Path, definition: Definition, budget_bytes: int | None
) -> list[str]:
    """Return what of a folder is not the definition's; see `intact.folder_problems`."""
    parts = definition.components.values()
    files = {path: digest for part in parts for path, digest in part.files.items()}
    executables = {path: digest for part in parts for path, digest in part.executables.items()}
    return folder_problems(str(folder), files, executables, budget_bytes=budget_bytes)


def stand_whole(
    folder: Path, definition: Definition, write: Write, budget_bytes: int | None
) -> None:
    """Have a definition stand whole in a folder; safe to repeat.

    Args:
        folder: Where.
        definition: What.
        write: Writes it into a folder that does not exist.
        budget_bytes: Of a folder that is there already, the most bytes to hash again; `None`
            hashes all.

    Raises:
        IntegrityBroken: Somebody else keeps changing the folder.
        OSError: The disk refuses.
    """
    if not os.path.lexists(folder) and _is_written(folder, definition, write):
        budget_bytes = 0
    if not definition_problems(folder, definition, budget_bytes):
        return
    _repair(folder, definition, write)
    left = definition_problems(folder, definition, None)
    if left:
        raise IntegrityBroken(
            f"{shown(folder)} could not be repaired",
            problems=left,
            hint=f"see who else writes there: ls -l {shown(folder)}",
        )


def _is_written(folder: Path, definition: Definition, write: Write) -> bool:
    """Write a new folder; false when another process was faster."""
    try:
        _write(folder, definition, write)
    except LockgateError:
        if not os.path.lexists(folder):
            raise
        return False
    return True


def _write(folder: Path, definition: Definition, write: Write) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    write(folder)
    for path in definition.files():
        written = folder / path
        written.chmod(stat.S_IMODE(written.stat().st_mode) & ~0o222)


def _repair(folder: Path, definition: Definition, write: Write) -> None:
    """Put every file of the definition in its place again, and take the others away."""
    scratch = folder.with_name(f".{folder.name}-{secrets.token_hex(8)}")
    try:
        _write(scratch, definition, write)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            folder.unlink()
        folder.mkdir(exist_ok=True)
        _remove_others(folder, set(definition.files()))
        for path in definition.files():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).replace(target)
            sync_folder(str(target.parent))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """Remove what no file of a definition is called, and whatever stands in a file's way."""
    above = {str(parent) for path in wanted for parent in Path(path).parents} - {"."}
    for found in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        path = found.relative_to(folder).as_posix()
        is_folder = stat.S_ISDIR(found.lstat().st_mode)
        if is_folder and path not in above:
            found.rmdir()
        elif not is_folder and path not in wanted:
            found.unlink()


def remove_folder(folder: Path) -> bool:
    """Remove a generation's folder; tell whether it is gone whole."""
    gone = folder.with_name(f".{folder.name.lstrip('.')[:8]}-{secrets.token_hex(8)}")
    try:
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError:
        return False
    return True
