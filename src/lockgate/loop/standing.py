"""Whether what a step was handed still counts: the one place that says so.

- A decision stands until it expires or until anything it rests on moves.
- While a rehearsal is live somewhere, nothing is decided or promoted there.
- A policy counts only as it is applied; one that was read before it changed does not.
- An approval counts when its signer is a reviewer of the applied policy, is not barred, and either
  signed with a key that the applied signers file holds, or may claim a name.
- Barred is who registered or owns the version, or anything between it and what is live: all of
  that goes live with it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from lockgate.domain.policy import Environment, Policy, policy_from
from lockgate.domain.release import Approval, Decision
from lockgate.domain.times import shown_time
from lockgate.errors import LockgateError, Refused

if TYPE_CHECKING:
    from lockgate.domain.version import Version
    from lockgate.ports import Registry, Signing

NOBODY_LEFT = "add a reviewer to policy.toml and the signers file, then `lockgate policy apply`"
"""What helps where nobody may say yes."""


def applied_policy(registry: Registry) -> Policy | None:
    """Return the policy that counts; `None` before the first."""
    rules = registry.applied.rules()
    return None if rules is None else policy_from(rules)


def check_policy(registry: Registry, policy: Policy) -> None:
    """Refuse a policy that is not the one that counts now.

    Raises:
        Refused: None is applied, or another one was applied since this one was read.
    """
    applied = applied_policy(registry)
    if applied is None:
        raise Refused("no policy is applied yet", hint="`lockgate policy apply`")
    if applied != policy:
        raise Refused(
            "another policy was applied meanwhile; nothing was decided",
            hint="run it again: it then follows the policy that counts now",
        )


def check_environment(registry: Registry, environment: Environment) -> None:
    """Refuse an environment's rules that are not those that count now.

    Raises:
        Refused: Another policy was applied since they were read.
    """
    applied = applied_policy(registry)
    if applied is None or applied.environments.get(environment.name) != environment:
        raise Refused(
            f"the policy of {environment.name} changed meanwhile; nothing was done",
            hint=f"`lockgate gate VERSION --to {environment.name}` decides by what counts now",
        )


def check_no_rehearsal(registry: Registry, system: str, environment_name: str) -> None:
    """Refuse while a rehearsal is live or under way, or is being taken back.

    Raises:
        Refused: It names the rehearsal, and what ends it.
    """
    live = registry.releases.live(system, environment_name)
    newest = registry.releases.newest(system, environment_name)
    found = live if live is not None and live.attempt.kind == "rehearsal" else None
    if found is None and newest is not None and newest.is_open:
        found = newest if newest.attempt.kind in ("rehearsal", "revert") else None
    if found is None:
        return
    version = registry.versions.get(found.attempt.version or "")
    label = version.label if version else "a version"
    what = f"the rehearsal {label} is" if found.attempt.kind == "rehearsal" else "a rehearsal is"
    state = "live in" if found is live else "under way in"
    if found.attempt.kind == "revert":
        state = "being taken back from"
    raise Refused(
        f"{what} {state} {environment_name}, by {found.attempt.actor} since "
        f"{shown_time(found.attempt.at)}; nothing else goes there meanwhile",
        hint=f"wait for it; if it was cut off, `lockgate rehearse {environment_name} -s {system}` "
        "takes it back first",
    )


def is_expired(registry: Registry, decision: Decision) -> bool:
    """Tell whether a decision is older than its policy allows."""
    return registry.now() > decision.expires_at


def what_moved(registry: Registry, decision: Decision) -> str | None:
    """Say what a decision rests on has moved, with who moved what is live; `None` when nothing."""
    moved = registry.releases.is_void(decision)
    return None if moved is None else f"{moved}{_since(registry, decision)}"


def _since(registry: Registry, decision: Decision) -> str:
    """Name what became live after a decision was made, and by whom; empty when nothing did."""
    live = registry.releases.live(decision.system, decision.environment)
    if live is None or live.attempt.generation == decision.baseline_generation:
        return ""
    version = registry.versions.get(live.attempt.version or "")
    return (
        f": {version.label if version else 'another version'} as generation "
        f"{live.attempt.generation}, by {live.attempt.actor} at {shown_time(live.attempt.at)}"
    )


def why_not_standing(registry: Registry, decision: Decision) -> str | None:
    """Say why a decision no longer stands, or `None` while it does."""
    return "it expired" if is_expired(registry, decision) else what_moved(registry, decision)


def barred_reviewers(registry: Registry, version: Version, environment_name: str) -> dict[str, str]:
    """Return who may not review a version for an environment, each with what they did.

    Where the version descends from what is live, everything on the way up to that is part of what
    would go live; elsewhere everything up to a definition that was promoted there before.
    """
    found = {version.registrar: f"registered {version.label}"}
    found.setdefault(version.owner, f"owns {version.label}")
    live = registry.releases.live(version.system, environment_name)
    live_id = live.attempt.version if live else None
    is_ahead = live_id is not None and registry.versions.descends(version.id, live_id)
    for relative in registry.versions.ancestors(version.id):
        part = registry.versions.get(relative.version)
        if part is None or part.id == live_id:
            break
        if part.id == version.id:
            continue
        if not is_ahead and registry.releases.promoted(
            version.system, environment_name, part.definition
        ):
            break
        found.setdefault(part.registrar, f"registered {part.label}, which is part of this")
        found.setdefault(part.owner, f"owns {part.label}, which is part of this")
    return found


def counting(
    registry: Registry,
    approvals: Collection[Approval],
    environment: Environment,
    text: bytes,
    *,
    barred: Collection[str],
    signing: Signing | None,
) -> list[Approval]:
    """Return the approvals that count as a yes.

    Args:
        registry: Holds the applied signers files.
        approvals: What was recorded.
        environment: Whose reviewers are asked.
        text: What they had to sign to say yes.
        barred: Names that may not review this.
        signing: Checks every signature again; without it a recorded key is believed.
    """
    return [
        approval
        for approval in approvals
        if approval.word == "yes"
        and approval.signer in environment.reviewers
        and approval.signer not in barred
        and _is_genuine(registry, approval, environment, text, signing)
    ]


def _is_genuine(
    registry: Registry,
    approval: Approval,
    environment: Environment,
    text: bytes,
    signing: Signing | None,
) -> bool:
    if approval.key is None or approval.signature is None:
        return environment.accept_claimed
    if signing is None:
        return True
    if environment.signers_digest is None:
        return False
    allowed = registry.objects.read(environment.signers_digest)
    try:
        key = signing.verify(text, approval.signature, allowed, approval.signer, at=approval.at)
    except LockgateError:
        return False
    return key == approval.key
