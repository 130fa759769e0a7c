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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.canonical import canonical_json
from lockgate.domain.components import Definition
from lockgate.domain.evidence import Answer, RunRecord
from lockgate.domain.policy import Policy
from lockgate.domain.release import Decision, Deployment
from lockgate.domain.version import VERSION_FORMAT, Version
from lockgate.errors import LockgateError
from lockgate.upkeep.evidence_decisions import about_decision, policies_of
from lockgate.upkeep.evidence_texts import README, UNSIGNED, VERIFY
from lockgate.upkeep.members import Member, body_of, file_of, gone, json_file

if TYPE_CHECKING:
    from lockgate.ports import Registry

_MOST_DECISIONS = 10_000
_PAGE = 100


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
    members = [file_of("definition.json", canonical_json(definition.body()))]
    members.append(file_of("version.json", canonical_json(_identity(version))))
    members.append(json_file("record.json", body_of(version)))
    members += _contents(registry, definition, missing, with_files=with_files)
    decisions = registry.releases.decisions(
        version.system, version_id=version.id, limit=_MOST_DECISIONS
    )
    members += _runs(registry, version, decisions, missing, with_outputs=with_outputs)
    for decision in decisions:
        members += about_decision(registry, version, decision, policy, missing)
    deployments = list(_deployments(registry, version))
    members.append(json_file("deployments.json", [_deployment(registry, d) for d in deployments]))
    members.append(
        json_file(
            "quarantines.json",
            [
                body_of(kept)
                for kept in registry.releases.quarantines(
                    version.system, definition=version.definition
                )
            ],
        )
    )
    members += policies_of(registry, policy, decisions, missing)
    for receipt in receipts:
        members += _receipt(receipt)
    signed = host_key is not None
    if host_key is not None:
        line = f'lockgate-host namespaces="lockgate" {host_key}\n'
        members.append(file_of("host_signers", line.encode()))
    members.append(file_of("verify.sh", VERIFY.encode()))
    told = README.format(label=version.label, system=version.system, id=version.id)
    members.append(file_of("README.txt", (told + ("" if signed else UNSIGNED)).encode()))
    live = registry.releases.where_live(version.system).get(version.id, [])
    return Collected(
        version,
        definition,
        tuple(sorted(members, key=lambda member: member.path)),
        tuple(decisions),
        tuple(sorted(live)),
        tuple(missing),
    )


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
        **body_of(found),
        "is_ungated": found.is_ungated,
        "closing": body_of(registry.upkeep.closing(*place)),
        "notes": body_of(registry.upkeep.notes(*place)),
    }


def _contents(
    registry: Registry, definition: Definition, missing: list[str], *, with_files: bool
) -> Iterator[Member]:
    for path, digest in sorted(definition.files().items()):
        size = registry.objects.size(digest) if registry.objects.has(digest) else None
        if size is None:
            missing.append(f"file {path} ({digest[:12]}): {gone(registry, digest)}")
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
        yield json_file(f"runs/{run.id}.json", _run_body(record, suite))
        if record.end is None:
            continue
        answers = list(registry.runs.raw_answers(run.id))
        lines = b"".join(canonical_json(answer.body()) + b"\n" for answer in answers)
        yield file_of(f"runs/{run.id}.answers.jsonl", lines)
        if with_outputs:
            texts = list(_texts(registry, answers, missing))
            data = b"".join(canonical_json(text) + b"\n" for text in texts)
            yield file_of(f"runs/{run.id}.outputs.jsonl", data)
    for digest in sorted({record.run.suite for record in records.values()}):
        try:
            suite_body = registry.applied.suite(digest).spec_body()
        except (LookupError, LockgateError):
            name = registry.applied.suite_name(digest)
            missing.append(f"suite {name} ({digest[:12]}): {gone(registry, digest)}")
            continue
        yield json_file(f"suites/{digest}.json", suite_body)


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
                why = gone(registry, digest)
                missing.append(f"{kind} of case {answer.case} in run {answer.run}: {why}")
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
    return {"suite_name": suite, "run": body_of(record.run), "end": body_of(record.end)}


def _receipt(receipt: LiveReceipt) -> Iterator[Member]:
    path = f"receipts/{receipt.environment}"
    yield file_of(f"{path}.json", receipt.data)
    yield file_of(f"{path}.payload.json", receipt.payload.encode())
    if receipt.signature is not None:
        yield file_of(f"{path}.payload.json.sig", receipt.signature.encode())
