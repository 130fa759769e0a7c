"""The signed statement of a bundle: an in-toto statement that vouches for every other file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockgate.canonical import canonical_json, digest_bytes, instant
from lockgate.domain.release import Decision
from lockgate.upkeep.evidence import Collected
from lockgate.upkeep.members import Member, file_of

if TYPE_CHECKING:
    from lockgate.ports import Registry

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:lockgate:evidence:1"
STATEMENT, SIGNATURE, SUMS = "statement.json", "statement.json.sig", "SHA256SUMS"


def sums(found: Collected) -> bytes:
    """Return the bytes of SHA256SUMS: every file of the bundle but those that vouch for it."""
    return "".join(f"{member.digest}  ./{member.path}\n" for member in found.members).encode()


def statement(registry: Registry, found: Collected) -> bytes:
    """Return the in-toto statement that is signed: what it is about, and what is claimed of it."""
    version = found.version
    subjects = [{"name": "definition.json", "digest": {"sha256": version.definition}}]
    subjects += [
        {"name": path, "digest": {"sha256": digest}}
        for path, digest in sorted(found.definition.files().items())
    ]
    predicate = {
        "registry": registry.id,
        "epoch": registry.epoch,
        "system": version.system,
        "label": version.label,
        "version": version.id,
        "definition": version.definition,
        "parent": version.parent,
        "track": version.track,
        "owner": version.owner,
        "registrar": version.registrar,
        "reason": version.reason,
        "at": instant(version.at),
        "decided": bool(found.decisions),
        "decisions": [_claim(registry, decision) for decision in found.decisions],
        "live": list(found.live),
        "missing": list(found.missing),
        "sums": digest_bytes(sums(found)),
    }
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )


def sealed(
    registry: Registry, found: Collected, sign: Callable[[bytes], str] | None
) -> tuple[Member, ...]:
    """Return every file of the bundle, signed where there is a key to sign with."""
    claimed = statement(registry, found)
    members = [*found.members, file_of(SUMS, sums(found)), file_of(STATEMENT, claimed)]
    if sign is not None:
        members.append(file_of(SIGNATURE, sign(claimed).encode("ascii")))
    return tuple(sorted(members, key=lambda member: member.path))


def _claim(registry: Registry, decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "environment": decision.environment,
        "outcome": decision.outcome,
        "promotable": decision.promotable,
        "approvals_needed": decision.approvals_needed,
        "at": instant(decision.at),
        "approvals": [
            {"signer": said.signer, "word": said.word, "key": said.key}
            for said in registry.releases.approvals(decision.id)
        ],
    }
