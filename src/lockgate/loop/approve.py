"""Step 4, for people: say yes or no to a decision or a proposal, signed with a key.

- A reviewer is who the applied policy names, with a key the applied signers file holds.
- The signed text names the decision, version, environment, generation and registry: it fits nothing else.
- A name without a key counts only where the policy accepts claims, and is shown as claimed.
- Registrar and owner do not review their own version, nor one on top of it that brings theirs
  live, under no name: who registered it can only take a signature that was made elsewhere. One
  word a reviewer, one a key.
- A decision that no longer stands cannot be approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lockgate.domain.approval import decision_text, proposal_text
from lockgate.domain.policy import Environment, Policy
from lockgate.domain.release import Approval, Decision, Proposal
from lockgate.domain.version import Version, person_problem
from lockgate.errors import Refused, Rejected, UsageMistake
from lockgate.loop.standing import (
    NOBODY_LEFT,
    barred_reviewers,
    counting,
    why_not_standing,
)
from lockgate.ports import Registry, Signing

NOTHING = "0" * 64
"""What a proposal says it replaces when there is nothing yet."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a reviewer says, and how they show who they are."""

    word: str
    """`yes` or `no`."""
    note: str = ""
    signer: str | None = None
    """The reviewer's name; found from the key when left out."""
    key: Path | None = None
    """Private key file; the usual key when left out."""
    signature: str | None = None
    """A signature made elsewhere over the text of the request."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something that waits for reviewers."""

    subject: str
    what: str
    """One line for people."""
    reviewers: tuple[str, ...]
    given: int
    needed: int
    decision: Decision | None
    proposal: Proposal | None


def requests(registry: Registry, policy: Policy, systems: list[str]) -> list[Request]:
    """Return every decision and proposal that lacks approvals, newest first."""
    found = [
        request
        for system in systems
        for decision in registry.releases.decisions(system, limit=100)
        if (request := _decision_request(registry, policy, decision)) is not None
    ]
    newest: dict[tuple[str, str], Request] = {}
    for request in found:
        if request.decision is not None:
            newest.setdefault((request.decision.version, request.decision.environment), request)
    proposals = [
        request
        for proposal in registry.releases.proposals()
        if (request := _proposal_request(registry, policy, proposal)) is not None
    ]
    return [*newest.values(), *proposals]


def _decision_request(registry: Registry, policy: Policy, decision: Decision) -> Request | None:
    environment = policy.environments.get(decision.environment)
    if environment is None or not decision.promotable or not decision.approvals_needed:
        return None
    if why_not_standing(registry, decision):
        return None
    approvals = registry.releases.approvals(decision.id)
    given = sum(approval.word == "yes" for approval in approvals)
    if given >= decision.approvals_needed or any(a.word == "no" for a in approvals):
        return None
    version = registry.versions.get(decision.version)
    if version is not None and version.track == "rehearsal":
        return None  # it is never promoted, whatever the gate says
    label = version.label if version else decision.version[:8]
    return Request(
        decision.id,
        f"{decision.system} {label} to {decision.environment}: gate {decision.outcome}",
        environment.reviewers,
        given,
        decision.approvals_needed,
        decision,
        None,
    )


def proposal_reviewers(policy: Policy) -> dict[str, Environment]:
    """Return the environments whose reviewers a change of policy or suite has to convince."""
    return {
        name: environment
        for name, environment in policy.environments.items()
        if environment.reviewers
    }


def approvals_asked(environment: Environment) -> int:
    """Return how many reviewers of an environment a change of its rules needs."""
    return max(environment.approvals, 1)


def proposal_lacks(
    registry: Registry, policy: Policy, proposal: Proposal, signing: Signing | None = None
) -> list[str]:
    """Return a line for each environment whose reviewers have not agreed yet."""
    approvals = registry.releases.approvals(proposal.id)
    text = proposal_text(proposal, registry_id=registry.id, word="yes")
    lacking = []
    for name, environment in proposal_reviewers(policy).items():
        given = len(
            counting(
                registry, approvals, environment, text, barred={proposal.actor}, signing=signing
            )
        )
        needed = approvals_asked(environment)
        if given < needed:
            names = " or ".join(r for r in environment.reviewers if r != proposal.actor)
            lacking.append(f"{name}: {given} of {needed} approvals, from {names or 'nobody left'}")
    return lacking


def _proposal_request(registry: Registry, policy: Policy, proposal: Proposal) -> Request | None:
    if not is_open_proposal(registry, proposal) or not proposal_lacks(registry, policy, proposal):
        return None
    approvals = registry.releases.approvals(proposal.id)
    if any(approval.word == "no" for approval in approvals):
        return None
    reviewers = {r: None for e in proposal_reviewers(policy).values() for r in e.reviewers}
    needed = max(map(approvals_asked, proposal_reviewers(policy).values()))
    return Request(
        proposal.id,
        f"{proposal.kind} {proposal.name}: {proposal.before[:8]} → {proposal.after[:8]}",
        tuple(reviewers),
        sum(approval.word == "yes" for approval in approvals),
        needed,
        None,
        proposal,
    )


def is_open_proposal(registry: Registry, proposal: Proposal) -> bool:
    """Tell whether nothing was applied since a proposal was made, itself included.

    What it would replace may come back later; then a proposal of its own asks anew.
    """
    if proposal.kind == "policy":
        applied = registry.applied.policy()
        return applied is not None and applied.seq < proposal.seq
    suite = registry.applied.suites(proposal.system or "").get(proposal.name)
    return suite is not None and suite.seq < proposal.seq


def request_text(
    registry: Registry, subject: Decision | Proposal, word: str, label: str = ""
) -> bytes:
    """Return the text a reviewer signs."""
    if isinstance(subject, Decision):
        return decision_text(subject, registry_id=registry.id, label=label, word=word)
    return proposal_text(subject, registry_id=registry.id, word=word)


def approve_decision(
    registry: Registry,
    decision: Decision,
    version: Version,
    environment: Environment,
    word: Word,
    *,
    signing: Signing,
    actor: str,
) -> Approval:
    """Record a reviewer's word on a decision.

    Raises:
        Refused: The decision no longer stands, the signature is nobody's, the signer is no
            reviewer, or is the version's registrar or owner.
        UsageMistake: A name is missing or not allowed.
    """
    moved = why_not_standing(registry, decision)
    again = f"`lockgate gate {version.label} --to {environment.name}` decides again"
    if moved:
        raise Refused(f"decision `{decision.id}` no longer stands: {moved}", hint=again)
    if word.word == "yes" and not decision.promotable:
        raise Refused(
            f"the gate said {decision.outcome}: there is nothing to approve",
            hint=f"`lockgate show {version.label}` gives the reasons",
        )
    text = request_text(registry, decision, word.word, version.label)
    barred = barred_reviewers(registry, version, environment.name)
    return _record(registry, decision.id, text, [environment], word, signing, actor, barred)


def approve_proposal(
    registry: Registry,
    proposal: Proposal,
    policy: Policy,
    word: Word,
    *,
    signing: Signing,
    actor: str,
) -> Approval:
    """Record a reviewer's word on a change of policy or suite, under the applied policy.

    Raises:
        Refused: It was applied or overtaken, the signature is nobody's, or the signer is no
            reviewer or made the proposal.
    """
    if not is_open_proposal(registry, proposal):
        raise Refused(
            f"proposal `{proposal.id[:12]}` was applied or overtaken", hint="`lockgate approve`"
        )
    text = request_text(registry, proposal, word.word)
    environments = list(proposal_reviewers(policy).values())
    barred = {proposal.actor: f"proposed {proposal.name}"}
    return _record(registry, proposal.id, text, environments, word, signing, actor, barred)


def _record(
    registry: Registry,
    subject: str,
    text: bytes,
    environments: list[Environment],
    word: Word,
    signing: Signing,
    actor: str,
    barred: dict[str, str],
) -> Approval:
    signer, key, signature = _identify(registry, text, environments, word, signing, actor)
    reviewers = {reviewer for environment in environments for reviewer in environment.reviewers}
    if signer not in reviewers:
        raise Refused(
            f"`{signer}` is no reviewer here: {', '.join(sorted(reviewers)) or 'there is none'}",
            hint="a reviewer runs `lockgate approve`, or `--ask` prints a text to sign elsewhere",
        )
    if signer in barred:
        left = ", ".join(sorted(reviewers - set(barred)))
        raise Refused(
            f"`{signer}` {barred[signer]} and cannot review it",
            hint=f"another reviewer says yes: {left}" if left else NOBODY_LEFT,
        )
    if key is not None and actor in barred and word.signature is None:
        raise Refused(
            f"`{actor}` {barred[actor]}: nobody signs here in another one's name",
            hint="a reviewer runs this as themselves, or signs the text of --ask elsewhere and "
            "you --take it",
        )
    approval = Approval(subject, signer, word.word, key, signature, word.note, actor)
    try:
        with registry.write() as writing:
            return writing.append(approval)
    except Rejected as error:
        if "exists already" in error.what:
            raise Refused(
                f"`{signer}`, or the same key, has answered this already",
                hint="a new decision asks anew: `lockgate gate VERSION --to ENV --again`",
            ) from error
        raise


def _identify(
    registry: Registry,
    text: bytes,
    environments: list[Environment],
    word: Word,
    signing: Signing,
    actor: str,
) -> tuple[str, str | None, str | None]:
    """Return signer, key fingerprint and signature; the last two `None` for a claimed name."""
    digests = [e.signers_digest for e in environments if e.signers_digest is not None]
    accepts_claimed = all(environment.accept_claimed for environment in environments)
    if not digests and not accepts_claimed:
        raise Refused(
            "the applied policy names no keys of reviewers",
            hint="add them to the signers file, then `lockgate policy apply`",
        )
    if digests:
        try:
            return _by_key(registry, text, digests, word, signing)
        except Refused:
            if not accepts_claimed or word.signature is not None or word.key is not None:
                raise
    name = word.signer or actor
    problem = person_problem(name)
    if problem:
        raise UsageMistake(f"name `{name}` {problem}", hint="say who: --as NAME")
    return name, None, None


def _by_key(
    registry: Registry, text: bytes, digests: list[str], word: Word, signing: Signing
) -> tuple[str, str, str]:
    allowed = b"\n".join(registry.objects.read(digest) for digest in dict.fromkeys(digests))
    armored = word.signature or signing.sign(text, key=word.key).armored
    now = registry.now()
    names = signing.principals(text, armored, allowed, at=now)
    if not names:
        raise Refused(
            "the signature fits no reviewer's key and this text",
            hint="sign the text of `lockgate approve VERSION --to ENV --ask` with a key that the "
            "signers file holds",
        )
    if word.signer is not None and word.signer not in names:
        raise Refused(
            f"the key belongs to {', '.join(names)}, not to `{word.signer}`",
            hint="leave --as out, or sign with the other key: --key FILE",
        )
    signer = word.signer or names[0]
    return signer, signing.verify(text, armored, allowed, signer, at=now), armored
