"""Step 1, change: see what differs between a folder and the version it came from.

- Looking changes nothing.
- A file that no component claims is listed: that is how a definition drifts.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockgate.domain.difference import Difference, difference
from lockgate.domain.version import Version
from lockgate.ports import Draft, Registry


@dataclass(frozen=True, slots=True)
class Change:
    """A folder held against the version it came from."""

    system: str
    definition: str
    """Digest of the definition as the folder has it now."""
    parent: Version | None
    """`None` when nothing of this system was registered yet."""
    difference: Difference
    unclaimed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the folder is exactly its parent."""
        return self.difference.is_empty


def parent_of(registry: Registry, draft: Draft) -> Version | None:
    """Return the version a folder is or comes from: as its lock says, or as its bytes say.

    A lock from another registry names a version that is not here. Then only a folder that is
    exactly a registered release says what it is; guessing a parent could silently revert what
    others made meanwhile.
    """
    if draft.locked_version is not None:
        locked = registry.versions.get(draft.locked_version)
        if locked is not None and locked.system == draft.system:
            return locked
    same = registry.versions.with_definition(draft.system, draft.definition.digest)
    releases = [version for version in same if version.track == "release"]
    return releases[-1] if releases else None


def change(registry: Registry, draft: Draft, *, parent: Version | None = None) -> Change:
    """Return how a folder differs from its parent.

    Args:
        registry: Where the parent is.
        draft: The folder as it was just read.
        parent: Compare with this version instead of the lock's. Without either, the newest
            release is looked at; registering does not take it for the parent.
    """
    parent = parent or parent_of(registry, draft) or _newest_release(registry, draft.system)
    before = registry.versions.definition(parent.definition) if parent else None
    return Change(
        draft.system,
        draft.definition.digest,
        parent,
        difference(before, draft.definition),
        draft.unclaimed,
    )


def _newest_release(registry: Registry, system: str) -> Version | None:
    newest = registry.versions.page(system, limit=1, track="release")
    return newest[0] if newest else None
