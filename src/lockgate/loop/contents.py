"""What is left of a version whose contents expired, and how its bytes come back.

- Contents of an experiment or a rehearsal expire; its records, scores and digests never do.
- Whoever registers the same bytes again has them again.
"""

from __future__ import annotations

from functools import partial

from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import EXPIRED, Removal
from lockgate.domain.version import Version
from lockgate.errors import Refused
from lockgate.ports import Draft, Registry


def expiry_of(registry: Registry, version: Version) -> Removal | None:
    """Return how a version's files expired; `None` when they are all here, or gone otherwise."""
    gone = _expired_files(registry, version)
    return next(iter(gone.values()), None)


def check_contents(registry: Registry, version: Version) -> None:
    """Refuse to use the files of a version whose contents expired.

    Raises:
        Refused: They did; the message says when, by whom, and what helps.
    """
    removal = expiry_of(registry, version)
    if removal is None:
        return
    label = version.label
    raise Refused(
        f"contents of `{label}` expired on {shown_time(removal.at)} by {removal.actor}; its "
        "records, scores and digests are kept",
        hint=f"`lockgate show {label} -s {version.system}` still tells what it was; the same "
        "files, registered again, bring its contents back",
    )


def bring_back(registry: Registry, version: Version, draft: Draft) -> int:
    """Keep the bytes of expired files again, from a folder that holds exactly this version.

    Returns:
        How many files came back.
    """
    gone = _expired_files(registry, version)
    files = [
        (partial(draft.open, path), digest, draft.size_bytes(path))
        for path, digest in draft.definition.files().items()
        if digest in gone
    ]
    if not files:
        return 0
    for file in files:
        registry.objects.stage_file(*file)
    with registry.write() as writing:
        for file in files:
            writing.put_file(*file)
    return len(files)


def _expired_files(registry: Registry, version: Version) -> dict[str, Removal]:
    found: dict[str, Removal] = {}
    if version.track == "release":
        return found
    for digest in registry.versions.definition(version.definition).files().values():
        if registry.objects.size(digest) is None:
            removal = registry.upkeep.removal(digest)
            if removal is not None and removal.kind == EXPIRED:
                found[digest] = removal
    return found
