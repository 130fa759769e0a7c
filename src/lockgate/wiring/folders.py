"""A system's folder: what it holds, which version it is, and what is written there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lockgate.errors import LockgateError, UsageMistake

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.policy import Policy
    from lockgate.domain.version import Version
    from lockgate.ports import Draft, Registry
    from lockgate.upkeep.handoff import Workplace
from lockgate.wiring.places import FOLDER, system_folder


def workplace(root: Path, registry: Registry, system: str, policy: Policy | None) -> Workplace:
    """Return what only this machine knows of a system: its folder, and whose keys lie here."""
    from lockgate.upkeep.handoff import Workplace

    keys = dict(_keys_here(root, registry, policy))
    try:
        folder = system_folder(root, system, None).resolve().relative_to(root.resolve())
    except (UsageMistake, ValueError):
        return Workplace(keys=keys)
    names_owner = _names_owner(root / folder)
    return Workplace(
        folder.as_posix(), names_owner, keys, lambda path: (root / folder / path).is_file()
    )


def _names_owner(folder: Path) -> bool:
    import tomllib

    try:
        told = tomllib.loads((folder / "lockgate.toml").read_text(encoding="utf-8"))
        return bool(told.get("system", {}).get("owner"))
    except (OSError, ValueError, AttributeError):
        return True


def _keys_here(root: Path, registry: Registry, policy: Policy | None) -> Iterator[tuple[str, str]]:
    """Give the reviewers whose private keys lie in the registry's folder, as in a practice copy."""
    from lockgate.domain.approval import fingerprint, parse_signers

    for environment in policy.environments.values() if policy else ():
        if environment.signers_digest is None:
            continue
        try:
            signers = parse_signers(registry.objects.read(environment.signers_digest))
        except (LookupError, ValueError, LockgateError):
            continue
        for signer in signers:
            path = root / "keys" / signer.name
            with contextlib.suppress(OSError, ValueError):
                public = path.with_name(f"{signer.name}.pub").read_text(encoding="ascii")
                if path.is_file() and fingerprint(public) == signer.fingerprint:
                    yield signer.name, f"keys/{signer.name}"


def write_file(path: Path, data: bytes) -> None:
    """Replace a file whole: whoever reads it finds the old bytes or the new ones."""
    from lockgate.deploy.files import replace_file

    replace_file(str(path), data)


def read_draft(root: Path, folder: Path) -> Draft:
    """Read a system's folder as it is now."""
    from lockgate.workspace.folder import read_folder
    from lockgate.workspace.hashing import HashCache

    cache = HashCache(root / FOLDER / "hashes.json")
    draft = read_folder(folder, cache=cache)
    with contextlib.suppress(OSError):
        cache.save()
    return draft


def find_secrets(path: str, stream: BinaryIO) -> Sequence[str]:
    """Return a line for each thing in a file's bytes that looks like a secret."""
    from lockgate.workspace.secrets import secrets_in

    return [
        f"{found.path}:{found.line} {found.rule}: {found.excerpt}"
        for found in secrets_in(path, stream)
    ]


def write_lock(folder: Path, registry: Registry, version: Version) -> None:
    """Note in a folder which version it is; a note that says so already is left alone."""
    from lockgate.workspace.lock import Lock, read_lock
    from lockgate.workspace.lock import write_lock as write

    definition = registry.versions.definition(version.definition)
    lock = Lock(
        version.system, version.id, version.label, definition.digest, definition.component_digests
    )
    with contextlib.suppress(LockgateError):
        if read_lock(folder) == lock:
            return
    write(folder, lock)


def locked_version(root: Path, system: str) -> str | None:
    """Return the version id that the lock of a system's folder names, if that folder is found."""
    from lockgate.workspace.lock import read_lock

    try:
        folder = system_folder(root, system, None)
    except UsageMistake:
        return None
    lock = read_lock(folder)
    return lock.version if lock is not None and lock.system == system else None


def materialise(registry: Registry, definition: Definition, target: Path) -> None:
    """Write a definition's files from the registry into a folder, every byte hashed again."""
    from lockgate.workspace.materialise import materialise as write

    write(definition, registry.objects.open, target)
