"""What goes into a bundle of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import LockgateError, Refused

if TYPE_CHECKING:
    from lockgate.domain.policy import Policy
    from lockgate.domain.version import Version
    from lockgate.ports import Registry
    from lockgate.upkeep.evidence import Collected, LiveReceipt
from lockgate.wiring.deploying import host_key, target


@dataclass(frozen=True, slots=True)
class WrittenEvidence:
    """A bundle of evidence that was written."""

    collected: Collected
    files: int
    size_bytes: int
    is_signed: bool


def write_evidence(
    root: Path,
    registry: Registry,
    version: Version,
    policy: Policy | None,
    file: Path,
    *,
    with_files: bool,
    with_outputs: bool,
    unsigned: bool,
) -> WrittenEvidence:
    """Write a version's evidence, signed with this host's key.

    Raises:
        Refused: There is no key and nobody said that it may be unsigned, or it cannot be used.
        IntegrityBroken: Something that belongs into it is damaged.
        OSError: The file cannot be written; none is left behind.
    """
    from lockgate.deploy.bundle import write_bundle
    from lockgate.upkeep.evidence import collect
    from lockgate.upkeep.statement import sealed

    key = host_key(root)
    if not key.exists() and not unsigned:
        raise Refused(
            "this host has no key to sign with, so nobody would vouch for the evidence",
            hint="bring `.lockgate/host_key` back, or write it unsigned: --unsigned",
        )
    receipts, doubts = _live_receipts(root, registry, version, policy)
    found = collect(
        registry,
        version,
        policy,
        receipts,
        with_files=with_files,
        with_outputs=with_outputs,
        host_key=key.public() if key.exists() else None,
        doubts=doubts,
    )
    members = sealed(registry, found, key.sign if key.exists() else None)
    size = write_bundle(file, found.name, members, registry.objects.open, version.at)
    return WrittenEvidence(found, len(members), size, key.exists())


def _live_receipts(
    root: Path, registry: Registry, version: Version, policy: Policy | None
) -> tuple[list[LiveReceipt], list[str]]:
    """Return the receipts of where a version is live, and which of them do not count."""
    from lockgate.domain.payload import opened
    from lockgate.upkeep.evidence import LiveReceipt

    receipts, doubts = [], []
    for name in sorted(registry.releases.where_live(version.system).get(version.id, [])):
        environment = policy.environments.get(name) if policy else None
        place = target(root, version.system, environment).publisher if environment else None
        if place is None:
            continue
        try:
            found = place.current_as_signed(version.system)
        except LockgateError as error:
            doubts.append(f"receipt of {name}: {error.what}")
            continue
        if found is None or found[0].version != version.id:
            doubts.append(f"receipt of {name}: {'none' if found is None else 'of another one'}")
            continue
        data = found[1]
        receipts.append(LiveReceipt(name, data, *opened(data)))
    return receipts, doubts
