"""Write a definition's files into a folder, every byte re-hashed on the way.

- A folder that holds anything is never written into.
- A new folder appears whole or not at all: it is written under another name and renamed.
- Nothing outside the folder is touched, and no symbolic link is followed.
- Bytes that do not have their digest are refused, and nothing of that attempt stays.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lockgate.domain.components import Definition
from lockgate.errors import IntegrityBroken, RegistryTrouble, UsageMistake
from lockgate.shown import shown

_CHUNK_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RESTORE = (
    "bring its object back from a backup of `.lockgate/`; `lockgate checkout VERSION DIR` then "
    "hashes every byte of a version again"
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def materialise(
    definition: Definition,
    open_content: Callable[[str], BinaryIO],
    target: Path,
    *,
    only: Collection[str] | None = None,
    durable: bool = False,
) -> None:
    """Write a definition's files below a new or empty folder.

    Args:
        definition: Names the files and their digests.
        open_content: Opens the bytes of a digest; what it raises passes through.
        target: Must not exist, or be an empty folder; its parents are made.
        only: Paths to write; `None` writes all.
        durable: Return only when everything would survive a power cut.

    Raises:
        UsageMistake: The target holds something, is a link or a file; `only` names a file that
            the definition does not have; or two names are one on this file system.
        IntegrityBroken: Bytes are missing or do not have their digest.
        RegistryTrouble: The disk refuses.

    After any error nothing that was written stays.
    """
    files = _chosen(definition, only)
    target = target.absolute()
    _refuse_occupied(target)
    try:
        with _written_whole(target, durable) as folder:
            _Writer(folder, definition, open_content, durable).write(files)
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(target)} cannot be written: {(error.strerror or str(error)).lower()}",
            hint=f"check space and rights: `df {shown(target.parent)}`",
        ) from error


def _chosen(definition: Definition, only: Collection[str] | None) -> dict[str, str]:
    files = definition.files()
    if only is None:
        return files
    missing = sorted(set(only) - files.keys())
    if missing:
        raise UsageMistake(
            f"the version has no file `{shown(missing[0])}`"
            + (f" and {len(missing) - 1} others" if len(missing) > 1 else ""),
            hint="list its files: `lockgate show VERSION`",
        )
    return {path: files[path] for path in files if path in set(only)}


def _refuse_occupied(target: Path) -> None:
    try:
        mode = target.lstat().st_mode
        is_empty = stat.S_ISDIR(mode) and not list(target.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageMistake(
            f"{shown(target)} cannot be used: {(error.strerror or 'unknown error').lower()}",
            hint="name a folder that you may read and write",
        ) from error
    if not is_empty:
        what = "is not empty" if stat.S_ISDIR(mode) else "is not a folder"
        raise UsageMistake(
            f"{shown(target)} {what}",
            hint="name a folder that is new or empty; nothing is replaced",
        )


@contextmanager
def _written_whole(target: Path, durable: bool) -> Iterator[int]:
    """Give the descriptor of the folder to write; take everything back on an error."""
    is_new = not target.exists()
    place = target
    if is_new:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = target.with_name(f".{target.name[:200]}-{os.urandom(8).hex()}")
        place.mkdir()
    try:
        folder = os.open(place, _FOLDER)
        try:
            yield folder
        finally:
            os.close(folder)
        if is_new:
            place.rename(target)
        if durable:
            _sync(target.parent)
    except BaseException:
        _take_back(place, is_new)
        raise


def _take_back(place: Path, is_new: bool) -> None:
    if is_new:
        shutil.rmtree(place, ignore_errors=True)
        return
    with suppress(OSError):
        for entry in place.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _sync(folder: Path | str, *, below: int | None = None) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer:
    """Writes files below one folder's descriptor."""

    def __init__(
        self,
        root: int,
        definition: Definition,
        open_content: Callable[[str], BinaryIO],
        durable: bool,
    ) -> None:
        self._root = root
        self._open_content = open_content
        self._durable = durable
        self._executables = {
            path for part in definition.components.values() for path in part.executables
        }
        self._made = {""}

    def write(self, files: dict[str, str]) -> None:
        for path, digest in files.items():
            above, _, name = path.rpartition("/")
            folder = self._folder(above)
            try:
                self._copy(folder, name, path, digest)
            finally:
                os.close(folder)
        if self._durable:
            for made in self._made:
                _sync(made or ".", below=self._root)

    def _folder(self, above: str) -> int:
        """Open a folder below the root, making what is missing, following no link."""
        opened = os.dup(self._root)
        so_far = ""
        try:
            for name in above.split("/") if above else ():
                so_far = f"{so_far}/{name}" if so_far else name
                if so_far not in self._made:
                    self._make(opened, name, so_far)
                inner = os.open(name, _FOLDER, dir_fd=opened)
                os.close(opened)
                opened = inner
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _make(self, folder: int, name: str, path: str) -> None:
        try:
            os.mkdir(name, dir_fd=folder)
        except FileExistsError as error:
            raise _twice(path) from error
        self._made.add(path)

    def _copy(self, folder: int, name: str, path: str, digest: str) -> None:
        mode = 0o777 if path in self._executables else 0o666
        try:
            written = os.open(name, _NEW, mode, dir_fd=folder)
        except (FileExistsError, IsADirectoryError) as error:
            raise _twice(path) from error
        with os.fdopen(written, "wb", buffering=0) as out, self._content(path, digest) as content:
            found = hashlib.sha256()
            while chunk := content.read(_CHUNK_BYTES):
                found.update(chunk)
                _write_all(out, chunk)
            if found.hexdigest() != digest:
                raise IntegrityBroken(
                    f"the stored bytes of `{shown(path)}` are not `{digest}` "
                    f"but `{found.hexdigest()}`",
                    hint=_RESTORE,
                )
            if self._durable:
                os.fsync(written)

    def _content(self, path: str, digest: str) -> BinaryIO:
        try:
            return self._open_content(digest)
        except FileNotFoundError as error:
            raise IntegrityBroken(
                f"the bytes of `{shown(path)}`, `{digest}`, are missing",
                hint=_RESTORE,
            ) from error


def _write_all(out: BinaryIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[out.write(view) :]


def _twice(path: str) -> UsageMistake:
    return UsageMistake(
        f"`{shown(path)}` is there already: two names of the version are one on this file system",
        hint="name a folder on a file system that tells upper and lower case apart",
    )
