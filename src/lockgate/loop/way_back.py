"""What may be gone back to, and whether all of it is still here.

- A target is what a passing gate made live there, is not quarantined, was never itself left by a
  rollback, and is intact.
- Up to `FULLY_CHECKED_BYTES` are hashed whenever somebody asks. Of what is larger every file is
  looked for, and the note of the last full check says of the rest when it was hashed and how it went.
"""

from __future__ import annotations

from collections.abc import Iterator

from lockgate.domain.release import Deployment
from lockgate.domain.upkeep import FullCheck
from lockgate.domain.version import Version
from lockgate.ports import Registry

FULLY_CHECKED_BYTES = 64 << 20
"""Definitions up to this size are hashed whole whenever it is asked whether they are intact."""
_PAGE = 100


def promotions(
    registry: Registry, system: str, environment: str, before: int
) -> Iterator[Deployment]:
    """Give what a passing gate made live before a generation, newest first."""
    while True:
        page = registry.releases.deployments(system, environment, before=before, limit=_PAGE)
        for deployment in page:
            if deployment.outcome == "live" and deployment.attempt.kind == "promote":
                yield deployment
        if len(page) < _PAGE:
            return
        before = page[-1].attempt.generation


def why_no_target(
    registry: Registry, version: Version, environment: str, *, is_explicit: bool = False
) -> str | None:
    """Say why nobody goes back to a version, whole or not; `None` when one may.

    Args:
        registry: Knows what was left and what is quarantined.
        version: What was promoted there once.
        environment: Where.
        is_explicit: Whether somebody named it, knowing that it was left.
    """
    if registry.releases.quarantines(version.system, definition=version.definition):
        return "its definition is quarantined"
    if not is_explicit and version.definition in registry.releases.left(
        version.system, environment
    ):
        return "it was itself left by a rollback"
    return None


def size_bytes(registry: Registry, definition: str) -> int:
    """Return how many bytes the files of a definition have, as recorded."""
    digests = registry.versions.definition(definition).files().values()
    return sum(registry.objects.size(digest) or 0 for digest in digests)


def is_large(registry: Registry, definition: str) -> bool:
    """Tell whether a definition is too large to be hashed whenever somebody asks."""
    return size_bytes(registry, definition) > FULLY_CHECKED_BYTES


def damaged_files(registry: Registry, version: Version) -> list[str]:
    """Return the files of a version whose stored bytes are missing or wrong.

    Every file is looked for, and has to have the size that was recorded. Up to
    `FULLY_CHECKED_BYTES` in all are hashed as well; beyond that, what the last full check found
    counts, and wrong bytes of the right length are found when the version is materialised.
    """
    budget = FULLY_CHECKED_BYTES
    damaged, is_whole = [], True
    for path, digest in sorted(registry.versions.definition(version.definition).files().items()):
        size = registry.objects.size(digest)
        if size is None:
            damaged.append(f"{path}: not in the registry")
        elif not registry.objects.has(digest):
            damaged.append(f"{path}: its {size} bytes are missing or cut short")
        elif size <= budget:
            budget -= size
            if not registry.objects.is_intact(digest):
                damaged.append(f"{path}: its bytes are not what was registered")
        else:
            is_whole = False
    if not damaged and not is_whole:
        noted = registry.upkeep.full_check(version.definition)
        if noted is not None and noted.problem is not None:
            damaged.append(f"{noted.problem}, when all of it was last hashed")
    return damaged


def full_check(registry: Registry, version: Version) -> FullCheck:
    """Hash every byte of a version as the registry holds it, and note how that went.

    Returns:
        The note, as `registry.upkeep.full_check` gives it from now on.
    """
    files = registry.versions.definition(version.definition).files()
    problem = None
    for path, digest in sorted(files.items()):
        if not registry.objects.is_intact(digest):
            gone = "" if registry.objects.has(digest) else "missing or "
            problem = f"{path}: its bytes are {gone}not what was registered"
            break
    return note_whole(registry, version.definition, problem)


def note_whole(registry: Registry, definition: str, problem: str | None = None) -> FullCheck:
    """Note that every byte of a definition was hashed just now.

    Args:
        registry: Where it is noted.
        definition: Its digest.
        problem: The first thing that was wrong; `None` when all was well.
    """
    check = FullCheck(definition, registry.now(), size_bytes(registry, definition), problem)
    with registry.write(durable=False) as writing:
        writing.note_full_check(check)
    return check
