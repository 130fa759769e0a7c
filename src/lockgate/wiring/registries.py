"""The registry, what is applied in it, and what the words of a command mean there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import Refused, UsageMistake

if TYPE_CHECKING:
    from lockgate.domain.policy import Policy
    from lockgate.domain.version import Version
    from lockgate.ports import Registry
from lockgate.wiring.deploying import make_host_key
from lockgate.wiring.places import FILE, FOLDER, folders_by_system, near_system, several_systems


def open_registry(root: Path, *, read_only: bool = False) -> Registry:
    """Open the registry of a folder."""
    from lockgate.storage.registry import open_registry as open_sqlite

    return open_sqlite(root, read_only=read_only)


def registry_identity(root: Path) -> tuple[int, int] | None:
    """Return what tells a registry's file from another under its name; `None` without one."""
    try:
        found = (root / FOLDER / FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create_registry(root: Path, *, actor: str) -> Registry:
    """Make a registry in a folder, with a key of its own to sign receipts with."""
    from lockgate.storage.registry import create_registry as create_sqlite

    registry = create_sqlite(root, actor=actor)
    make_host_key(root)
    return registry


def applied_policy(registry: Registry) -> Policy:
    """Return the policy that counts.

    Raises:
        Refused: None was ever applied.
    """
    policy = applied_policy_or_none(registry)
    if policy is None:
        raise Refused(
            "no policy is applied yet, so nothing can be gated",
            hint="write policy.toml, then `lockgate policy apply`",
        )
    return policy


def applied_policy_or_none(registry: Registry) -> Policy | None:
    """Return the policy that counts; `None` before the first."""
    from lockgate.loop.standing import applied_policy as applied

    return applied(registry)


def choose_system(registry: Registry, given: str | None) -> str:
    """Return the system a command is about: as given, the nearest folder's, or the only one.

    Raises:
        UsageMistake: The name is unknown, or several could be meant.
    """
    known = registry.versions.systems()
    if given is not None:
        if given in known:
            return given
        raise UsageMistake(
            f"there is no system `{given}` in this registry",
            hint=f"there are {', '.join(known)}"
            if known
            else "go into a system's folder and run `lockgate register -m REASON`",
        )
    named = near_system()
    if named in known:
        return str(named)
    if len(known) == 1:
        return known[0]
    if not known:
        raise UsageMistake(
            "nothing is registered here yet",
            hint="go into a system's folder and run `lockgate register -m REASON`",
        )
    raise several_systems(", ".join(known))


def page_system(root: Path, registry: Registry, given: str | None) -> str:
    """Return the system a page is about; it may be written only, with no version yet.

    Raises:
        UsageMistake: As `choose_system`.
    """
    known = registry.versions.systems()
    written = [name for name in folders_by_system(root)[0] if name and name not in known]
    if given in written:
        return str(given)
    if given is None and not known and len(written) == 1:
        return written[0]
    return choose_system(registry, given)


def choose_version(registry: Registry, system: str, text: str) -> Version:
    """Return the version that a label, an id, or an environment where it is live names.

    Raises:
        UsageMistake: There is none.
    """
    if text in registry.releases.environments(system):
        live = registry.releases.live(system, text)
        version = registry.versions.get(live.attempt.version or "") if live else None
        if version is not None:
            return version
    return registry.versions.named(system, text)
