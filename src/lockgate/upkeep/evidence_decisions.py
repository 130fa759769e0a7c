"""What a bundle holds about one decision: numbers, signed words, and whose keys counted.

- Under the policy that is applied, signatures are checked against its signers file; of an older
  one, against the keys that the registry recorded, and the file says so.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lockgate.canonical import canonical_json
from lockgate.domain.approval import decision_text, signer_line
from lockgate.domain.policy import Policy
from lockgate.domain.release import Approval, Decision
from lockgate.domain.version import Version
from lockgate.upkeep.members import Member, body_of, file_of, gone, json_file

if TYPE_CHECKING:
    from lockgate.ports import Registry


def about_decision(
    registry: Registry,
    version: Version,
    decision: Decision,
    policy: Policy | None,
    missing: list[str],
) -> Iterator[Member]:
    """Give the files about one decision; what is not here any more is added to `missing`."""
    folder = f"decisions/{decision.id}"
    yield json_file(f"{folder}/decision.json", body_of(decision))
    yield file_of(
        f"{folder}/findings.json",
        canonical_json([finding.body() for finding in decision.findings]),
    )
    approvals = registry.releases.approvals(decision.id)
    if not approvals:
        return
    lines, signers = [], []
    for said in approvals:
        text = decision_text(decision, registry_id=registry.id, label=version.label, word=said.word)
        name = f"{said.signer}.{said.word}.txt"
        yield file_of(f"{folder}/{name}", text)
        if said.signature is not None:
            yield file_of(f"{folder}/{name}.sig", said.signature.encode())
            lines.append(f"{said.signer} {name} {_stamp(said.at)}\n")
            signers.append(said)
        else:
            lines.append(f"{said.signer} {name} claimed\n")
        if said.note:
            yield file_of(f"{folder}/{said.signer}.{said.word}.note", f"{said.note}\n".encode())
    yield file_of(f"{folder}/approvals.txt", "".join(lines).encode())
    if signers:
        yield from _signers(registry, folder, decision, policy, signers, missing)


def _signers(
    registry: Registry,
    folder: str,
    decision: Decision,
    policy: Policy | None,
    approvals: list[Approval],
    missing: list[str],
) -> Iterator[Member]:
    """Give the signers file that counted; of an older policy, the keys that were recorded."""
    applied = registry.applied.policy()
    if applied is not None and policy is not None and applied.policy == decision.policy:
        environment = policy.environments.get(decision.environment)
        if environment is not None and environment.signers_digest is not None:
            try:
                data = registry.objects.read(environment.signers_digest)
            except LookupError:
                why = gone(registry, environment.signers_digest)
                missing.append(f"the signers file of decision {decision.id}: {why}")
                return
            yield file_of(f"{folder}/signers", data)
            return
    lines = []
    for said in approvals:
        try:
            lines.append(signer_line(said.signer, public_key_in(said.signature or "")))
        except ValueError:
            missing.append(f"the key of {said.signer} for decision {decision.id}: not readable")
    note = (
        "# Another policy is applied by now. These are the keys as the registry recorded them\n"
        "# when it took the signatures, by fingerprint, and not the signers file of that policy.\n"
    )
    yield file_of(f"{folder}/signers", (note + "".join(lines)).encode())


def public_key_in(armored: str) -> str:
    """Return the public key that an SSH signature carries, as type and base64.

    Raises:
        ValueError: It is no SSH signature.
    """
    lines = armored.strip().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    length = int.from_bytes(blob[10:14], "big")
    key = blob[14 : 14 + length]
    kind = key[4 : 4 + int.from_bytes(key[:4], "big")]
    if blob[:6] != b"SSHSIG" or len(key) != length or not kind:
        raise ValueError("it is no SSH signature")
    return f"{kind.decode('ascii')} {base64.b64encode(key).decode()}"


def policies_of(
    registry: Registry, policy: Policy | None, decisions: Sequence[Decision], missing: list[str]
) -> Iterator[Member]:
    """Give the policy that is applied, and those that decisions followed."""
    if policy is not None:
        yield json_file("policy/applied-now.json", policy.body())
    for digest in sorted({decision.policy for decision in decisions if decision.policy}):
        try:
            yield file_of(f"policy/{digest}.toml", registry.objects.read(digest))
        except LookupError:
            missing.append(f"policy {digest[:12]}: {gone(registry, digest)}")


def _stamp(at: datetime) -> str:
    """Write a time as `ssh-keygen -O verify-time` reads it under `TZ=UTC`."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S")
