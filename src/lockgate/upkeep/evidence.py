"""Evidence: everything that is recorded about one version, in one bundle that checks itself.

- It holds what anybody needs to say yes or no without the registry: the definition, every completed
  run with its answers, every decision with its numbers, the approvals with the texts that were
  signed, the policy, and the receipt of what is live.
- A version that the gate never decided about has a bundle, too, and it says so: that nobody let it
  in is what an auditor came to see.
- What the version answered, and its files, are named by digest; their texts only when asked for,
  for they may hold what is not for everybody.
- What has expired or was redacted is named as missing.
- The same records give the same bytes: nothing in it tells when it was written.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lockgate.canonical import canonical_json, digest_bytes, instant
from lockgate.domain.approval import decision_text, signer_line
from lockgate.domain.components import Definition
from lockgate.domain.evidence import Answer, RunRecord
from lockgate.domain.policy import Policy
from lockgate.domain.release import Approval, Decision, Deployment
from lockgate.domain.version import VERSION_FORMAT, Version
from lockgate.errors import LockgateError
from lockgate.upkeep.evidence_texts import README, UNSIGNED, VERIFY

if TYPE_CHECKING:
    from lockgate.ports import Registry

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:lockgate:evidence:1"
STATEMENT, SIGNATURE, SUMS = "statement.json", "statement.json.sig", "SHA256SUMS"
_MOST_DECISIONS = 10_000
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle."""

    path: str
    data: bytes | None
    """`None` where the content is an object of the registry."""
    digest: str
    """SHA-256 of its bytes."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LiveReceipt:
    """The receipt of an environment where the version is live."""

    environment: str
    data: bytes
    """The file as the serving side reads it."""
    payload: str
    signature: str | None


@dataclass(frozen=True, slots=True)
class Collected:
    """A bundle without its statement: what is in it, and what should be and is not."""

    version: Version
    definition: Definition
    members: tuple[Member, ...]
    decisions: tuple[Decision, ...]
    live: tuple[str, ...]
    """Environments where it is live."""
    missing: tuple[str, ...]
    """What has expired, was redacted or does not count, one line each."""

    @property
    def name(self) -> str:
        """The folder that everything in the bundle stands in."""
        return f"evidence-{self.version.system}-{self.version.label}"


def collect(
    registry: Registry,
    version: Version,
    policy: Policy | None,
    receipts: Sequence[LiveReceipt] = (),
    *,
    with_files: bool = False,
    with_outputs: bool = False,
    host_key: str | None = None,
    doubts: Sequence[str] = (),
) -> Collected:
    """Return everything that is recorded about a version.

    Args:
        registry: Where it is recorded.
        version: Which one.
        policy: As applied; says whose keys count for what was decided under it.
        receipts: Of the environments where it is live.
        with_files: Whether the definition's files come along.
        with_outputs: Whether the texts of answers and errors do.
        host_key: The public key the bundle and receipts are signed with; `None` without one.
        doubts: Receipts that are not there or do not count, a line each.

    Raises:
        IntegrityBroken: The definition's record is damaged.
    """
    definition = registry.versions.definition(version.definition)
    missing = list(doubts)
    members = [_file("definition.json", canonical_json(definition.body()))]
    members.append(_file("version.json", canonical_json(_identity(version))))
    members.append(_json("record.json", _body(version)))
    members += _contents(registry, definition, missing, with_files=with_files)
    decisions = registry.releases.decisions(
        version.system, version_id=version.id, limit=_MOST_DECISIONS
    )
    members += _runs(registry, version, decisions, missing, with_outputs=with_outputs)
    for decision in decisions:
        members += _decision(registry, version, decision, policy, missing)
    deployments = list(_deployments(registry, version))
    members.append(_json("deployments.json", [_deployment(registry, d) for d in deployments]))
    members.append(
        _json(
            "quarantines.json",
            [
                _body(kept)
                for kept in registry.releases.quarantines(
                    version.system, definition=version.definition
                )
            ],
        )
    )
    members += _policies(registry, policy, decisions, missing)
    for receipt in receipts:
        members += _receipt(receipt)
    signed = host_key is not None
    if host_key is not None:
        line = f'lockgate-host namespaces="lockgate" {host_key}\n'
        members.append(_file("host_signers", line.encode()))
    members.append(_file("verify.sh", VERIFY.encode()))
    told = README.format(label=version.label, system=version.system, id=version.id)
    members.append(_file("README.txt", (told + ("" if signed else UNSIGNED)).encode()))
    live = registry.releases.where_live(version.system).get(version.id, [])
    return Collected(
        version,
        definition,
        tuple(sorted(members, key=lambda member: member.path)),
        tuple(decisions),
        tuple(sorted(live)),
        tuple(missing),
    )


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
    members = [*found.members, _file(SUMS, sums(found)), _file(STATEMENT, claimed)]
    if sign is not None:
        members.append(_file(SIGNATURE, sign(claimed).encode("ascii")))
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


def _identity(version: Version) -> dict[str, Any]:
    """Return the JSON value whose digest is the version id."""
    return {
        "format": VERSION_FORMAT,
        "system": version.system,
        "definition": version.definition,
        "parent": version.parent,
        "track": version.track,
    }


def _deployments(registry: Registry, version: Version) -> Iterator[Deployment]:
    """Give every attempt to make the version live, an environment after the other."""
    for environment in registry.releases.environments(version.system):
        below: int | None = None
        while True:
            found = registry.releases.deployments(
                version.system, environment, before=below, limit=_PAGE
            )
            yield from (one for one in found if one.attempt.version == version.id)
            if len(found) < _PAGE:
                break
            below = found[-1].attempt.generation


def _deployment(registry: Registry, found: Deployment) -> dict[str, Any]:
    attempt = found.attempt
    place = (attempt.system, attempt.environment, attempt.generation)
    return {
        **_body(found),
        "is_ungated": attempt.kind == "break_glass",
        "closing": _body(registry.upkeep.closing(*place)),
        "notes": _body(registry.upkeep.notes(*place)),
    }


def _contents(
    registry: Registry, definition: Definition, missing: list[str], *, with_files: bool
) -> Iterator[Member]:
    for path, digest in sorted(definition.files().items()):
        size = registry.objects.size(digest) if registry.objects.has(digest) else None
        if size is None:
            missing.append(f"file {path} ({digest[:12]}): {_gone(registry, digest)}")
        elif with_files and registry.objects.is_intact(digest):
            yield Member(f"files/{path}", None, digest, size)
        elif with_files:
            missing.append(f"file {path} ({digest[:12]}): its content is damaged")


def _runs(
    registry: Registry,
    version: Version,
    decisions: Sequence[Decision],
    missing: list[str],
    *,
    with_outputs: bool,
) -> Iterator[Member]:
    """Give every run of the version, and those of what it was compared with."""
    used = {run.run for decision in decisions for run in decision.runs}
    records = {record.run.id: record for record in registry.runs.of_version(version.id)}
    records |= {run: registry.runs.get(run) for run in used - records.keys()}
    for record in records.values():
        run = record.run
        suite = registry.applied.suite_name(run.suite)
        yield _json(f"runs/{run.id}.json", _run_body(record, suite))
        if record.end is None:
            continue
        answers = list(registry.runs.raw_answers(run.id))
        lines = b"".join(canonical_json(answer.body()) + b"\n" for answer in answers)
        yield _file(f"runs/{run.id}.answers.jsonl", lines)
        if with_outputs:
            texts = list(_texts(registry, answers, missing))
            data = b"".join(canonical_json(text) + b"\n" for text in texts)
            yield _file(f"runs/{run.id}.outputs.jsonl", data)
    for digest in sorted({record.run.suite for record in records.values()}):
        try:
            suite_body = registry.applied.suite(digest).spec_body()
        except (LookupError, LockgateError):
            name = registry.applied.suite_name(digest)
            missing.append(f"suite {name} ({digest[:12]}): {_gone(registry, digest)}")
            continue
        yield _json(f"suites/{digest}.json", suite_body)


def _texts(
    registry: Registry, answers: list[Answer], missing: list[str]
) -> Iterator[dict[str, Any]]:
    for answer in answers:
        for kind, digest in (("output", answer.output), ("error", answer.error)):
            if digest is None:
                continue
            try:
                text = registry.objects.read(digest).decode("utf-8", "replace")
            except LookupError:
                gone = _gone(registry, digest)
                missing.append(f"{kind} of case {answer.case} in run {answer.run}: {gone}")
                continue
            yield {
                "case": answer.case,
                "repeat": answer.repeat,
                "asking": answer.asking,
                "kind": kind,
                "sha256": digest,
                "text": text,
            }


def _run_body(record: RunRecord, suite: str) -> dict[str, Any]:
    return {"suite_name": suite, "run": _body(record.run), "end": _body(record.end)}


def _decision(
    registry: Registry,
    version: Version,
    decision: Decision,
    policy: Policy | None,
    missing: list[str],
) -> Iterator[Member]:
    folder = f"decisions/{decision.id}"
    yield _json(f"{folder}/decision.json", _body(decision))
    yield _file(
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
        yield _file(f"{folder}/{name}", text)
        if said.signature is not None:
            yield _file(f"{folder}/{name}.sig", said.signature.encode())
            lines.append(f"{said.signer} {name} {_stamp(said.at)}\n")
            signers.append(said)
        else:
            lines.append(f"{said.signer} {name} claimed\n")
        if said.note:
            yield _file(f"{folder}/{said.signer}.{said.word}.note", f"{said.note}\n".encode())
    yield _file(f"{folder}/approvals.txt", "".join(lines).encode())
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
                gone = _gone(registry, environment.signers_digest)
                missing.append(f"the signers file of decision {decision.id}: {gone}")
                return
            yield _file(f"{folder}/signers", data)
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
    yield _file(f"{folder}/signers", (note + "".join(lines)).encode())


def public_key_in(armored: str) -> str:
    """Return the public key that an SSH signature carries, as type and base64.

    Raises:
        ValueError: It is no SSH signature.
    """
    import base64

    lines = armored.strip().splitlines()
    blob = base64.b64decode("".join(lines[1:-1]), validate=True)
    length = int.from_bytes(blob[10:14], "big")
    key = blob[14 : 14 + length]
    kind = key[4 : 4 + int.from_bytes(key[:4], "big")]
    if blob[:6] != b"SSHSIG" or len(key) != length or not kind:
        raise ValueError("it is no SSH signature")
    return f"{kind.decode('ascii')} {base64.b64encode(key).decode()}"


def _policies(
    registry: Registry, policy: Policy | None, decisions: Sequence[Decision], missing: list[str]
) -> Iterator[Member]:
    if policy is not None:
        yield _json("policy/applied-now.json", policy.body())
    for digest in sorted({decision.policy for decision in decisions if decision.policy}):
        try:
            yield _file(f"policy/{digest}.toml", registry.objects.read(digest))
        except LookupError:
            missing.append(f"policy {digest[:12]}: {_gone(registry, digest)}")


def _receipt(receipt: LiveReceipt) -> Iterator[Member]:
    path = f"receipts/{receipt.environment}"
    yield _file(f"{path}.json", receipt.data)
    yield _file(f"{path}.payload.json", receipt.payload.encode())
    if receipt.signature is not None:
        yield _file(f"{path}.payload.json.sig", receipt.signature.encode())


def _gone(registry: Registry, digest: str) -> str:
    """Say why an object's content is not here."""
    removal = registry.upkeep.removal(digest)
    if removal is None:
        return "its content is not here, and no record says why"
    how = {"expire": "expired", "redact": "redacted"}.get(removal.kind, removal.kind)
    return f"{how} {instant(removal.at)[:10]} by {removal.actor}: {removal.reason}"


def _stamp(at: datetime) -> str:
    """Write a time as `ssh-keygen -O verify-time` reads it under `TZ=UTC`."""
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def _file(path: str, data: bytes) -> Member:
    return Member(path, data, digest_bytes(data), len(data))


def _json(path: str, value: Any) -> Member:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return _file(path, f"{text}\n".encode())


def _body(record: Any) -> Any:
    """Return a record as a JSON value, without the place of its row."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {
            field.name: _body(getattr(record, field.name))
            for field in dataclasses.fields(record)
            if field.name != "seq"
        }
    if isinstance(record, datetime):
        return instant(record)
    if isinstance(record, list | tuple):
        return [_body(part) for part in record]
    if isinstance(record, dict):
        return {str(key): _body(value) for key, value in record.items()}
    return record
