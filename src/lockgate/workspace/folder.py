"""Read a system's folder: settings, files by component, and the definition they make.

- Every file belongs to at most one component, and every pattern claims something.
- Nothing outside the folder is ever read.
- Tools are JSON Schema; a model's digest agrees with its file; what is run is part of the version.
- Everything that is wrong with the folder's files is told at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lockgate.canonical import digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.errors import UsageMistake
from lockgate.shown import shown
from lockgate.workspace.claims import Claims, claim_files
from lockgate.workspace.hashing import (
    FileTrouble,
    HashCache,
    Source,
    folder_below,
    hash_groups,
    open_below,
    trouble_of,
)
from lockgate.workspace.lock import LOCK_FILE, Lock, read_lock
from lockgate.workspace.settings import SETTINGS_FILE, Settings, read_settings
from lockgate.workspace.tomlfile import Mistake, complain
from lockgate.workspace.toolfiles import MAX_TOOL_BYTES, tool_mistakes


@dataclass(frozen=True)
class Draft:
    """A folder as it is now: what registering it would register."""

    root: Path
    settings: Settings
    definition: Definition
    sources: Mapping[str, Source]
    """By the path inside the folder."""
    unclaimed: tuple[str, ...]
    """Files that no component claims and no `[ignore]` pattern names, safe to print."""
    lock: Lock | None
    """Which version the folder says it is."""
    is_unclaimed_complete: bool = True
    """False when there are more unclaimed files than the 10,000 named."""

    @property
    def system(self) -> str:
        """The system's name, as lockgate.toml says."""
        return self.settings.system

    @property
    def owner(self) -> str | None:
        """The owner lockgate.toml names."""
        return self.settings.owner

    @property
    def locked_version(self) -> str | None:
        """The version id that lockgate.lock says this folder is, of this very system."""
        is_ours = self.lock is not None and self.lock.system == self.system
        return self.lock.version if is_ours and self.lock is not None else None

    def size_bytes(self, path: str) -> int:
        """Return the size of one of the definition's files, as it was hashed."""
        return self.sources[path].size

    def open(self, path: str) -> BinaryIO:
        """Open a file of the definition for copying, below the folder and following no link.

        The bytes may have changed since; whoever copies them hashes them again.

        Raises:
            UsageMistake: It is gone, has become something else, or cannot be read.
        """
        relative = os.path.relpath(self.sources[path].path, self.root)
        *names, name = relative.split("/")
        root = _open_root(self.root)
        try:
            with folder_below(root, names) as folder:
                return os.fdopen(open_below(folder, name)[0], "rb")
        except OSError as error:
            trouble = trouble_of(error)
        except FileTrouble as found:
            trouble = found
        finally:
            os.close(root)
        hint = trouble.hint.replace("{path}", shown(path))
        raise UsageMistake(f"`{shown(path)}` {trouble.what}", hint=hint)


def read_folder(root: Path, *, cache: HashCache | None = None) -> Draft:
    """Return a folder as it is now, every claimed byte hashed.

    Args:
        root: The folder that holds `lockgate.toml`.
        cache: Digests of large files from earlier; brought up to date and saved.

    Raises:
        UsageMistake: The settings, the lock or the files have mistakes; those of the first of the
            three that has any are all named.
    """
    root = root.absolute()
    settings = read_settings(root)
    lock = _own_lock(root, settings)
    descriptor = _open_root(root)
    try:
        claims = claim_files(descriptor, root, settings)
        claims.mistakes += _run_mistakes(settings, claims)
        complain(root, claims.mistakes)
        hashed, mistakes = hash_groups(descriptor, claims.groups, base=str(root), cache=cache)
        if cache is not None:
            cache.save()
        mistakes += _content_mistakes(descriptor, settings, claims, hashed)
        complain(root, mistakes)
    finally:
        os.close(descriptor)
    return Draft(
        root=root,
        settings=settings,
        definition=_definition(settings, claims.owners, hashed),
        sources=hashed,
        unclaimed=tuple(sorted(claims.unclaimed)),
        lock=lock,
        is_unclaimed_complete=claims.is_complete,
    )


def _own_lock(root: Path, settings: Settings) -> Lock | None:
    lock = read_lock(root)
    if lock is not None and lock.system != settings.system:
        raise UsageMistake(
            f"`{LOCK_FILE}` is of system `{lock.system}`, `{SETTINGS_FILE}` of `{settings.system}`",
            hint=f"to start a history of `{settings.system}` from here: `rm {LOCK_FILE}`",
        )
    return lock


def _open_root(root: Path) -> int:
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageMistake(
            f"{shown(root)} cannot be read: {(error.strerror or 'unknown error').lower()}",
            hint=f"check the folder: `ls -ld {shown(root)}`",
        ) from error


def _definition(
    settings: Settings, owners: Mapping[str, str], hashed: Mapping[str, Source]
) -> Definition:
    files: dict[str, dict[str, str]] = {name: {} for name in settings.components}
    executables: dict[str, dict[str, str]] = {name: {} for name in settings.components}
    for path in sorted(owners):
        found = hashed[path]
        (executables if found.is_executable else files)[owners[path]][path] = found.digest
    return Definition(
        {
            name: Component(dict(part.settings), files[name], executables[name])
            for name, part in settings.components.items()
        }
    )


def _run_mistakes(settings: Settings, claims: Claims) -> Iterator[Mistake]:
    """Find out whether what is run is part of the version; nothing else is there when it runs."""
    if settings.run["kind"] == "python":
        module = settings.run["target"].partition(":")[0]
        path = module.replace(".", "/")
        if not {f"{path}.py", f"{path}/__init__.py"} & claims.owners.keys():
            yield Mistake(
                f"`[run] target`: module `{module}` is in no file of a component",
                f'add "{path}.py" to `files` in `[code]`',
            )
    elif settings.run["kind"] == "command":
        program, *arguments = settings.run["command"]
        words = [word for word in arguments if os.path.normpath(word) in claims.unclaimed]
        if not program.startswith("/") and "/" in program:
            words.insert(0, program)
        for word in dict.fromkeys(words):
            path = os.path.normpath(word)
            if path not in claims.owners:
                yield Mistake(
                    f"`[run] command`: `{shown(word)}` is in no file of a component",
                    f'add "{shown(path)}" to `files` in `[code]`',
                )


def _content_mistakes(
    root: int, settings: Settings, claims: Claims, hashed: Mapping[str, Source]
) -> Iterator[Mistake]:
    yield from _digest_mistakes(settings, claims, hashed)
    for group in claims.groups if "tools" in settings.components else ():
        tools = [
            (name, path)
            for name, path in zip(group.names, group.paths, strict=True)
            if claims.owners[path] == "tools" and path in hashed
        ]
        for name, path in tools:
            with folder_below(root, group.folder) as folder:
                data = _read_again(folder, name, hashed[path])
            if data is None:
                what = f"`{shown(path)}` changed while it was hashed"
                yield Mistake(what, "run the command again when nothing writes it")
            else:
                yield from tool_mistakes(path, data)
    if settings.run["kind"] == "command":
        path = os.path.normpath(settings.run["command"][0])
        if path in hashed and not hashed[path].is_executable:
            yield Mistake(
                f"`[run] command`: `{shown(path)}` is not executable",
                f"make it executable: `chmod u+x {shown(path)}`",
            )


def _read_again(folder: int, name: str, hashed: Source) -> bytes | None:
    """Return the bytes that were hashed, or `None` when they are no longer there."""
    try:
        with os.fdopen(open_below(folder, name)[0], "rb") as file:
            data = file.read(MAX_TOOL_BYTES + 1)
    except (OSError, FileTrouble):
        return None
    is_same = len(data) > MAX_TOOL_BYTES or digest_bytes(data) == hashed.digest
    return data if is_same else None


def _digest_mistakes(
    settings: Settings, claims: Claims, hashed: Mapping[str, Source]
) -> Iterator[Mistake]:
    said = settings.components["model"].settings.get("digest")
    paths = [path for path, owner in claims.owners.items() if owner == "model"]
    if said is None or not paths:
        return
    if len(paths) > 1:
        yield Mistake(
            f"`[model] digest` is of one file, but {len(paths)} belong to `[model]`",
            "remove `digest`: every file's own digest is part of the version anyway",
        )
    elif paths[0] in hashed and said != f"sha256:{hashed[paths[0]].digest}":
        yield Mistake(
            f"`[model] digest` is `{said}`, but `{shown(paths[0])}` "
            f"is `sha256:{hashed[paths[0]].digest}`",
            "fetch the file again, or write the digest that it has",
        )
