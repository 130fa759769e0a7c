"""Make policy and suite files count: applied for good, with the reviewers' consent where there are any.

- A file counts only once applied; until then it is just text.
- Where the applied policy has environments with reviewers, a change is a proposal until they agree.
- The first policy applies at once, and so does a suite under a name that no reviewed rule names.
- Applying what is applied already changes nothing.
- Rules for a misspelt system would let the right one through unasked: such a policy is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from lockgate.canonical import canonical_json, digest_bytes, digest_json
from lockgate.domain.policy import Environment, Policy, Rule
from lockgate.domain.release import PolicyApplied, Proposal, SuiteApplied
from lockgate.domain.suite import RESERVED_METRICS, Suite
from lockgate.errors import Refused, UsageMistake, WaitingForPerson
from lockgate.loop.approve import NOTHING, proposal_lacks, proposal_reviewers
from lockgate.loop.standing import applied_policy
from lockgate.ports import Registry, Signing, Writing


@dataclass(frozen=True, slots=True)
class Application:
    """What applying a file came to."""

    name: str
    digest: str
    is_new: bool
    """False when exactly this was applied already."""


def apply_policy(
    registry: Registry,
    policy: Policy,
    data: bytes,
    signers: Mapping[str, bytes],
    *,
    actor: str,
    signing: Signing | None = None,
    folders: Collection[str] = (),
) -> Application:
    """Make a policy count.

    Args:
        registry: Where it is recorded.
        policy: As read from the file.
        data: The file's bytes.
        signers: Environment to the bytes of its signers file.
        actor: Who applies it.
        signing: Checks every reviewer's signature again.
        folders: Systems that have a folder; they need not be registered yet.

    Raises:
        UsageMistake: It has rules for a system whose name is only nearly that of a known one.
        WaitingForPerson: Reviewers of the policy that counts now have not all agreed.
    """
    body = canonical_json(policy.body())
    rules = digest_bytes(body)
    current = registry.applied.policy()
    if current is not None and (current.policy, current.rules) == (digest_bytes(data), rules):
        return Application("policy", current.policy, is_new=False)
    _check_systems(registry, policy, folders)
    proposal = None
    counts_now = applied_policy(registry)
    if current is not None and counts_now is not None and proposal_reviewers(counts_now):
        proposal = _agreed(
            registry,
            counts_now,
            signing,
            _proposal("policy", None, "policy", current.rules, rules, current.seq, actor),
            [data, body, *signers.values()],
        )
    with registry.write() as writing:
        _put_all(writing, [*signers.values()])
        applied = writing.append(
            PolicyApplied(writing.put(data), writing.put(body), proposal, actor)
        )
    return Application("policy", applied.policy, is_new=True)


def _check_systems(registry: Registry, policy: Policy, folders: Collection[str]) -> None:
    known = {*registry.versions.systems(), *folders}
    slips = {
        name: meant
        for environment in policy.environments.values()
        for name in environment.systems
        if name not in known and (meant := misspelt(name, known))
    }
    if slips:
        raise UsageMistake(
            f"the policy has rules for {', '.join(f'`{name}`' for name in slips)}, "
            "which is no system here",
            hint=" ".join(f"did you mean `{meant}`?" for meant in slips.values())
            + " A new system is registered first: `lockgate register -m REASON` in its folder",
        )


def policy_doubts(registry: Registry, policy: Policy, folders: Collection[str] = ()) -> list[str]:
    """Return a line for each rule of a policy that cannot mean what it says as things are now.

    Args:
        registry: Holds the systems and the suites that count for them.
        policy: Applied, or about to be.
        folders: Systems that have a folder; they need not be registered yet.
    """
    known = {*registry.versions.systems(), *folders}
    return [
        line
        for environment in policy.environments.values()
        for system in environment.systems
        for line in _system_doubts(registry, environment, system, known)
    ]


def _system_doubts(
    registry: Registry, environment: Environment, system: str, known: Collection[str]
) -> Iterator[str]:
    if system not in known:
        meant = _near(system, known)
        yield (
            f"{environment.name}: rules for `{system}`, which is not registered"
            f"{f': did you mean `{meant}`?' if meant else ''}"
        )
        return
    for rule in environment.systems[system].rules:
        yield from _rule_doubts(registry, f"{environment.name}, {system}", system, rule)


def _rule_doubts(registry: Registry, where: str, system: str, rule: Rule) -> Iterator[str]:
    suites = registry.applied.suites(system)
    info = suites.get(rule.suite)
    if info is None:
        meant = _near(rule.suite, suites)
        yield (
            f"{where}: suite `{rule.suite}` is not applied"
            f"{f': did you mean `{meant}`?' if meant else ''}"
        )
        return
    metrics = (*registry.applied.suite(info.digest).metrics, *RESERVED_METRICS)
    if rule.metric not in metrics:
        meant = _near(rule.metric, metrics)
        says = f"did you mean `{meant}`?" if meant else f"it measures {', '.join(metrics)}"
        yield f"{where}: suite `{rule.suite}` does not measure `{rule.metric}`: {says}"


def misspelt(name: str, known: Collection[str]) -> str | None:
    """Return the known name that another one is a slip of: a letter off, or letters swapped."""
    swapped = (one for one in sorted(known) if sorted(one) == sorted(name))
    return next(swapped, None) or _near(name, known, cutoff=0.8)


def _near(word: str, allowed: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """Return the word that was probably meant, or `None`."""
    close = difflib.get_close_matches(word, sorted(allowed), n=1, cutoff=cutoff)
    return close[0] if close else None


def apply_suite(
    registry: Registry,
    suite: Suite,
    files: Mapping[str, bytes],
    *,
    actor: str,
    signing: Signing | None = None,
) -> Application:
    """Make a suite count under its name.

    Raises:
        WaitingForPerson: It changes what counts now, or what a reviewed policy asks for, and
            reviewers have not agreed yet.
    """
    current = registry.applied.suites(suite.system).get(suite.name)
    if current is not None and current.digest == suite.digest:
        return Application(suite.name, suite.digest, is_new=False)
    proposal = None
    counts_now = applied_policy(registry)
    if counts_now is not None and needs_consent(registry, counts_now, suite.system, suite.name):
        with registry.write() as writing:
            writing.ensure_system(suite.system, actor)
            writing.add_suite(suite, files)
        before = current.digest if current else NOTHING
        since = current.seq if current else 0
        proposal = _agreed(
            registry,
            counts_now,
            signing,
            _proposal("suite", suite.system, suite.name, before, suite.digest, since, actor),
            [],
        )
    with registry.write() as writing:
        writing.ensure_system(suite.system, actor)
        writing.add_suite(suite, files)
        writing.append(SuiteApplied(suite.system, suite.name, suite.digest, proposal, actor))
    return Application(suite.name, suite.digest, is_new=True)


def needs_consent(registry: Registry, policy: Policy, system: str, name: str) -> bool:
    """Tell whether reviewers have to agree before a suite file counts under a name.

    They do where it changes a suite that counts, and where a rule of theirs waits for that name:
    otherwise who writes the cases would decide what a reviewed policy means.
    """
    if not proposal_reviewers(policy):
        return False
    is_named = any(
        rule.suite == name
        for environment in policy.environments.values()
        if (rules := environment.rules_for(system)) is not None
        for rule in rules.rules
    )
    return is_named or name in registry.applied.suites(system)


def _proposal(
    kind: str, system: str | None, name: str, before: str, after: str, since: int, actor: str
) -> Proposal:
    # The application it would replace is part of the id: a consent given once is not used twice.
    identity = digest_json(
        {"kind": kind, "name": name, "system": system, "before": before, "after": after}
        | {"since": since}
    )
    return Proposal(identity, kind, system, name, before, after, actor)


def _agreed(
    registry: Registry,
    counts_now: Policy,
    signing: Signing | None,
    proposal: Proposal,
    contents: list[bytes],
) -> str:
    """Return the proposal's id once its reviewers agreed; record it when it is new."""
    known = registry.releases.proposal(proposal.id)
    if known is None:
        with registry.write() as writing:
            _put_all(writing, contents)
            known = writing.append(proposal)
    refusals = [a for a in registry.releases.approvals(known.id) if a.word == "no"]
    if refusals:
        raise Refused(
            f"{refusals[0].signer} said no to this {proposal.kind}: {refusals[0].note or 'no note'}",
            hint=f"change the {proposal.kind} file and apply that",
        )
    lacking = proposal_lacks(registry, counts_now, known, signing)
    if lacking:
        raise WaitingForPerson(
            f"the {proposal.kind} `{proposal.name}` is proposed and waits for reviewers",
            problems=lacking,
            hint=f"a reviewer runs `lockgate approve --proposal {known.id[:12]}`, "
            "then run this again",
        )
    return known.id


def _put_all(writing: Writing, contents: list[bytes]) -> None:
    for data in contents:
        writing.put(data)
