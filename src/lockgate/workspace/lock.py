"""`lockgate.lock`: which version a folder is, so that drift shows in a git diff.

- It is written all or nothing, by `register` and `checkout` only.
- A lock that is broken is refused, never guessed at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.canonical import is_digest
from lockgate.domain.components import COMPONENTS
from lockgate.domain.version import LABEL_PATTERN, system_name_problem
from lockgate.errors import RegistryTrouble, UsageMistake
from lockgate.shown import shown
from lockgate.workspace.tomlfile import Mistake, complain, read_toml

LOCK_FILE = "lockgate.lock"
LOCK_FORMAT = 1
_HEAD = (
    "# Which version this folder is. Written by `lockgate register` and `lockgate checkout`.\n\n"
)
_HINT = (
    f"bring it back with `lockgate checkout VERSION DIR`, or delete `{LOCK_FILE}` "
    "and name the parent: `lockgate register --parent VERSION`"
)
_KEYS = ("format", "system", "version", "label", "definition", "components")


@dataclass(frozen=True, slots=True)
class Lock:
    """The version that a folder was, when it was last registered or checked out."""

    system: str
    version: str
    """The whole version id."""
    label: str
    definition: str
    """The definition digest."""
    components: Mapping[str, str] = field(default_factory=dict)
    """Component to digest, as `Definition.component_digests`."""


def read_lock(root: Path) -> Lock | None:
    """Return a folder's lock, or `None` when it has none.

    Raises:
        UsageMistake: The lock is broken, or a newer Lockgate wrote it.
    """
    path = root / LOCK_FILE
    try:
        document = read_toml(path)
    except UsageMistake as mistake:
        raise UsageMistake(mistake.what, hint=_HINT) from mistake
    if document is None:
        return None
    form = document.get("format")
    if type(form) is int and form > LOCK_FORMAT:
        raise UsageMistake(
            f"{shown(path)} has format {form}, this Lockgate knows up to {LOCK_FORMAT}",
            hint=f"upgrade Lockgate: `pip install --upgrade lockgate`; or {_HINT}",
        )
    problems = [*_problems(document)]
    if problems:
        complain(path, [Mistake("; ".join(problems), _HINT)])
    return Lock(
        system=document["system"],
        version=document["version"],
        label=document["label"],
        definition=document["definition"],
        components=dict(document["components"]),
    )


def _problems(document: dict[str, Any]) -> list[str]:
    checks: dict[str, Callable[[Any], object]] = {
        "format": lambda value: type(value) is int and value == LOCK_FORMAT,
        "system": lambda value: isinstance(value, str) and not system_name_problem(value),
        "version": _is_digest,
        "label": lambda value: isinstance(value, str) and LABEL_PATTERN.fullmatch(value),
        "definition": _is_digest,
        "components": lambda value: (
            isinstance(value, dict)
            and all(name in COMPONENTS and _is_digest(digest) for name, digest in value.items())
        ),
    }
    problems = [
        f"`{key}` is missing" if key not in document else f"`{key}` is not what Lockgate writes"
        for key, check in checks.items()
        if not check(document.get(key))
    ]
    return problems + [f"unknown key `{shown(key)}`" for key in document if key not in _KEYS]


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and is_digest(value)


def write_lock(root: Path, lock: Lock) -> None:
    """Write a folder's lock, all or nothing; an existing one is replaced.

    Raises:
        RegistryTrouble: The folder cannot be written; the old lock stands.
    """
    import tomli_w

    body = {
        "format": LOCK_FORMAT,
        "system": lock.system,
        "version": lock.version,
        "label": lock.label,
        "definition": lock.definition,
        "components": {
            name: lock.components[name] for name in COMPONENTS if name in lock.components
        },
    }
    write_whole(root / LOCK_FILE, (_HEAD + tomli_w.dumps(body)).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file all or nothing: temporary name, sync, rename.

    Raises:
        RegistryTrouble: The disk refuses; what was there stands.
    """
    temporary = path.with_name(f".{path.name}-{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(path)} cannot be written: {(error.strerror or 'unknown error').lower()}",
            hint=f"check space and rights: `df {shown(path.parent)}`, `ls -ld {shown(path.parent)}`",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
