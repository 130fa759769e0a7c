"""Step 5, promote: make an approved version live, and keep the one before one step away.

- A promotion rests on a decision about this version and environment that still stands.
- Reviewers count once each; neither the registrar, the owner nor the promoter reviews.
- A freeze and a hold stop promotions; so does a quarantine of the definition.
- Bytes are hashed again first, the candidate's and those of the way back.
- The generation is taken before anything is touched; of two racers one is told who won.
- A break-glass promotion stops all others there until a second person has closed it.
- What is live already stays as it is; what is live ungated may be promoted by the gate after all.
- While a rehearsal is live there, nothing is promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from lockgate.domain.approval import decision_text
from lockgate.domain.policy import Environment, freeze_at, freeze_ends, next_freeze
from lockgate.domain.release import Attempt, Decision, Deployment, Finding
from lockgate.domain.times import shown_time
from lockgate.domain.version import Version
from lockgate.errors import (
    Inconclusive,
    IntegrityBroken,
    LockgateError,
    Refused,
    StaleGeneration,
    WaitingForPerson,
)
from lockgate.loop.deployment import (
    NOWHERE,
    DeployEvent,
    carry_out,
    gated_way_back,
    kept_way_back,
    origin_records,
    tell_each,
)
from lockgate.loop.standing import (
    NOBODY_LEFT,
    barred_reviewers,
    check_environment,
    check_no_rehearsal,
    counting,
    is_expired,
    what_moved,
)
from lockgate.loop.unrecorded import refuse_unrecorded
from lockgate.loop.way_back import damaged_files
from lockgate.ports import Registry, Signing, Target


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promotion came to."""

    version: Version
    environment: str
    generation: int
    before: Version | None
    """What was live before; `None` for the first promotion."""
    is_new: bool
    """False when the version was live there already and nothing was done."""


def standing(
    registry: Registry,
    decision: Decision,
    environment: Environment,
    *,
    promoter: str,
    signing: Signing | None = None,
) -> list[Finding]:
    """Return what else has to hold at the moment of promoting, each with what repairs it.

    Args:
        registry: Where approvals, holds and objects are.
        decision: The one the promotion would rest on.
        environment: From the applied policy.
        promoter: Who would promote.
        signing: Checks every reviewer's signature again.
    """
    version = registry.versions.get(decision.version)
    return [
        stands(registry, decision),
        approved(registry, decision, environment, {promoter: "promotes it"}, signing),
        *stopped(registry, decision.system, environment),
        *(not_quarantined(registry, version) if version is not None else ()),
        way_back_intact(registry, decision.system, environment.name, besides=version),
    ]


def stopped(registry: Registry, system: str, environment: Environment) -> list[Finding]:
    """Return what stops every promotion to an environment for now, each with how it ends."""
    return [
        _not_frozen(registry, environment),
        *_not_held(registry, system, environment.name),
        *_glass_closed(registry, system, environment.name),
    ]


def promote(
    registry: Registry,
    version: Version,
    environment: Environment,
    decision: Decision,
    *,
    actor: str,
    reason: str | None = None,
    signing: Signing | None = None,
    target: Target | None = None,
    tell: Callable[[DeployEvent], None] | None = None,
) -> Promoted:
    """Make a version live in an environment.

    Args:
        registry: Where it is recorded.
        version: What becomes live.
        environment: From the applied policy.
        decision: A decision about exactly this version and environment.
        actor: Who promotes.
        reason: A word for the record; optional, the version has its own.
        signing: Checks every reviewer's signature again.
        target: Where the environment's versions are published and deployed to, if anywhere.
        tell: Hears what happens, hook output included.

    Raises:
        InfrastructureFailed: The deploy hook failed; what was live before still is.
        Refused: The decision does not allow it, or no longer; or a freeze, hold or quarantine.
        WaitingForPerson: Only approvals are missing.
        IntegrityBroken: Bytes of the version, or of the way back, are missing or damaged.
        StaleGeneration: Somebody else promoted or rolled back meanwhile; nothing was changed.
    """
    live = settled_on(registry, version, environment.name, target)
    if live is not None:
        return Promoted(version, environment.name, live.attempt.generation, version, is_new=False)
    return make_live(
        registry,
        version,
        environment,
        Manner("promote", decision.id, None, reason, actor),
        lambda: _check(registry, version, environment, decision, actor, signing),
        target=target,
        tell=tell,
    )


def settled_on(
    registry: Registry, version: Version, environment: str, target: Target | None
) -> Deployment | None:
    """Return the deployment by which a version is live already, and not ungated.

    Raises:
        Refused: Something was done there without the registry, so that it does not know.
    """
    live = registry.releases.live(version.system, environment)
    if live is None or live.attempt.version != version.id or live.is_ungated:
        return None
    if target is not None:
        refuse_unrecorded(registry, target, live.attempt)
    return live


@dataclass(frozen=True, slots=True)
class Manner:
    """How a version becomes live, and who says so."""

    kind: str
    """`promote` or `break_glass`."""
    decision: str | None
    ticket: str | None
    reason: str | None
    actor: str


def make_live(
    registry: Registry,
    version: Version,
    environment: Environment,
    manner: Manner,
    check: Callable[[], None],
    *,
    target: Target | None = None,
    tell: Callable[[DeployEvent], None] | None = None,
) -> Promoted:
    """Take the next generation of an environment for a version, and carry it out.

    Args:
        registry: Where it is recorded.
        version: What becomes live.
        environment: From the applied policy.
        manner: Of what kind it is.
        check: Refuses it; called after it was looked at which generation is the next one.
        target: Where the environment's versions are published and deployed to, if anywhere.
        tell: Hears what happens, hook output included.

    Raises:
        InfrastructureFailed: The deploy hook failed; what was live before still is.
        Refused: An attempt is open there.
        StaleGeneration: Somebody else promoted or rolled back meanwhile; nothing was changed.
    """
    live = registry.releases.live(version.system, environment.name)
    before = registry.versions.get(live.attempt.version) if live and live.attempt.version else None
    # Looked at before anything is checked: whoever comes in between takes the very generation
    # that is asked for below, and can be named.
    newest = registry.releases.newest(version.system, environment.name)
    check_no_rehearsal(registry, version.system, environment.name)
    check()
    if newest is not None and newest.is_open:
        raise Refused(
            f"generation {newest.attempt.generation} of {environment.name} is not settled: "
            f"{newest.attempt.actor} is promoting or was cut off",
            hint=f"`lockgate settle {environment.name} -s {version.system}` finds out",
        )
    generation = newest.attempt.generation + 1 if newest else 1
    attempt = Attempt(
        version.system,
        environment.name,
        generation,
        manner.kind,
        version.id,
        manner.decision,
        target.hook_digest() if target else None,
        manner.ticket,
        manner.reason,
        manner.actor,
    )
    events = carry_out(
        registry,
        target or NOWHERE,
        attempt,
        version,
        actor=manner.actor,
        first=origin_records(version.system, environment.name, manner.actor)
        if generation == 1
        else (),
        way_back=kept_way_back(registry, target, live, besides=version) if target else None,
    )
    try:
        taken = next(events)
    except LockgateError as error:
        raise _lost_race(registry, version, environment, generation, error) from error
    tell_each(events, tell or (lambda event: None), [taken])
    return Promoted(version, environment.name, generation, before, is_new=True)


def _label(registry: Registry, version_id: str | None) -> str:
    version = registry.versions.get(version_id or "")
    return version.label if version else "another version"


def _lost_race(
    registry: Registry,
    version: Version,
    environment: Environment,
    generation: int,
    error: LockgateError,
) -> LockgateError:
    """Tell a lost race, with the winner's name, from any other refusal."""
    winner = registry.releases.deployment(version.system, environment.name, generation)
    if winner is None or not isinstance(error, Refused):
        return error
    return StaleGeneration(
        f"{winner.attempt.actor} took generation {generation} of {environment.name} first, with "
        f"{_label(registry, winner.attempt.version)} at {shown_time(winner.attempt.at)}; "
        "nothing was changed",
        hint=f"`lockgate status`, then `lockgate gate {version.label} --to {environment.name}`",
    )


def _check(
    registry: Registry,
    version: Version,
    environment: Environment,
    decision: Decision,
    actor: str,
    signing: Signing | None,
) -> None:
    check_environment(registry, environment)
    if version.track == "rehearsal":
        raise Refused(
            f"{version.label} is a rehearsal: it is never promoted",
            hint=f"`lockgate rehearse {environment.name}` deploys one and takes it back",
        )
    if (decision.version, decision.environment) != (version.id, environment.name):
        raise Refused(
            f"decision `{decision.id}` is not about {version.label} and {environment.name}",
            hint=f"`lockgate gate {version.label} --to {environment.name}`",
        )
    if not decision.promotable:
        open_points = decision.obstacles()
        kind = Inconclusive if decision.outcome == "inconclusive" else Refused
        raise kind(
            f"the gate did not pass {version.label} for {environment.name}: {decision.outcome}",
            problems=[f"{finding.rule}: {finding.reason}" for finding in open_points],
            hint=next((f.hint for f in open_points if f.hint), "`lockgate status`"),
        )
    findings = standing(registry, decision, environment, promoter=actor, signing=signing)
    failed = [finding for finding in findings if finding.outcome == "fail"]
    if failed:
        broken = all(finding.rule in ("way back", "contents") for finding in failed)
        raise (IntegrityBroken if broken else Refused)(
            f"{version.label} cannot be promoted to {environment.name} now",
            problems=[f"{finding.rule}: {finding.reason}" for finding in failed],
            hint=next((finding.hint for finding in failed if finding.hint), ""),
        )
    damaged = damaged_files(registry, version)
    if damaged:
        raise IntegrityBroken(
            f"{version.label} is not intact in the registry; nothing was promoted",
            problems=damaged,
            hint="restore the objects from a backup",
        )
    waiting = [finding for finding in findings if finding.outcome == "waiting"]
    if waiting:
        raise WaitingForPerson(
            f"{version.label} waits for {environment.name}: {waiting[0].reason}",
            hint=waiting[0].hint,
        )


def stands(registry: Registry, decision: Decision) -> Finding:
    """Say whether a decision still counts."""
    again = "`lockgate gate` decides again on what is true now"
    moved = what_moved(registry, decision)
    when = shown_time(decision.expires_at)
    if moved:
        return Finding("decision stands", "fail", f"void: {moved}", again)
    if is_expired(registry, decision):
        return Finding("decision stands", "fail", f"expired {when}", again)
    return Finding("decision stands", "pass", f"until {when}")


def approved(
    registry: Registry,
    decision: Decision,
    environment: Environment,
    barred: Mapping[str, str],
    signing: Signing | None,
) -> Finding:
    """Say whether a decision has the approvals it needs, and nobody's no.

    Args:
        registry: Where the approvals are.
        decision: The one they are about.
        environment: From the applied policy; names the reviewers.
        barred: Whose word does not count besides, each with why.
        signing: Checks every signature again.
    """
    needed = decision.approvals_needed
    approvals = registry.releases.approvals(decision.id)
    version = registry.versions.get(decision.version)
    label = version.label if version else decision.version[:8]
    refusals = [approval for approval in approvals if approval.word == "no"]
    if refusals:
        note = f": {refusals[0].note}" if refusals[0].note else ""
        return Finding(
            "approval",
            "fail",
            f"{refusals[0].signer} said no{note}",
            f"change the version, or talk and ask anew: `lockgate gate {label} "
            f"--to {environment.name} --again`",
        )
    if needed == 0:
        return Finding("approval", "pass", "none needed")
    if version is not None:
        barred = {**barred, **barred_reviewers(registry, version, environment.name)}
    text = decision_text(decision, registry_id=registry.id, label=label, word="yes")
    counted = counting(registry, approvals, environment, text, barred=barred, signing=signing)
    names = ", ".join(
        approval.signer + ("" if approval.key else " (claimed)") for approval in counted
    )
    if len(counted) >= needed:
        return Finding("approval", "pass", f"{len(counted)} of {needed}: {names}")
    allowed = [reviewer for reviewer in environment.reviewers if reviewer not in barred]
    own = [approval.signer for approval in approvals if approval not in counted]
    does_not_count = _earlier_yes(
        registry, decision, set(allowed) - {approval.signer for approval in counted}
    )
    if own and own[0] in barred:
        does_not_count = f"; {own[0]} {barred[own[0]]} and does not count"
    elif own:
        does_not_count = f"; what {own[0]} said is not signed by a reviewer's key"
    return Finding(
        "approval",
        "waiting",
        f"{len(counted)} of {needed} approvals, from {' or '.join(allowed) or 'nobody left'}"
        f"{does_not_count}",
        f"a reviewer runs `lockgate approve {label} --to {environment.name} -s {decision.system}`"
        if allowed
        else NOBODY_LEFT,
    )


def _earlier_yes(registry: Registry, decision: Decision, asked: Collection[str]) -> str:
    """Say whose yes was for an earlier decision and no longer counts, and why; else nothing."""
    earlier = (
        one
        for one in registry.releases.decisions(decision.system, version_id=decision.version)
        if one.environment == decision.environment and one.seq < decision.seq
    )
    for one in earlier:
        for approval in registry.releases.approvals(one.id):
            if approval.word == "yes" and approval.signer in asked:
                return (
                    f"; {approval.signer}'s yes was for an earlier decision: "
                    f"{_why_anew(registry, one, decision)}"
                )
    return ""


def _why_anew(registry: Registry, before: Decision, now: Decision) -> str:
    """Say what differs between two decisions about the same."""
    if before.policy != now.policy:
        return "a newer policy applies"
    if before.baseline_generation != now.baseline_generation:
        return "something else became live"
    if set(before.runs) != set(now.runs):
        return "a newer run was completed"
    return "it expired" if is_expired(registry, before) else "it was decided again"


def _not_frozen(registry: Registry, environment: Environment) -> Finding:
    now = registry.now()
    freeze = freeze_at(environment, now)
    if freeze is None:
        coming = next_freeze(environment, now)
        when = f"next {shown_time(coming[0])}" if coming else "none is planned"
        return Finding("no freeze", "pass", when)
    ends = freeze_ends(environment, now)
    until = shown_time(ends) if ends else "the policy changes"
    return Finding(
        "no freeze",
        "fail",
        f"frozen until {until}: {freeze.reason}",
        "run it again after that; `lockgate rollback` is never frozen",
    )


def _not_held(registry: Registry, system: str, environment: str) -> Iterator[Finding]:
    for hold in registry.releases.holds(system, environment):
        yield Finding(
            "not held",
            "fail",
            f"held by {hold.actor} since {shown_time(hold.at)}: {hold.reason.splitlines()[0]}",
            f"`lockgate lift {environment} -m REASON` once it is safe",
        )


def _glass_closed(registry: Registry, system: str, environment: str) -> Iterator[Finding]:
    for broken in registry.upkeep.unclosed(system, environment):
        attempt = broken.attempt
        label = _label(registry, attempt.version)
        yield Finding(
            "break-glass closed",
            "fail",
            f"{attempt.actor} made {label} live ungated as generation {attempt.generation}, "
            f"{shown_time(attempt.at)}, ticket {attempt.ticket}",
            f"somebody else than {attempt.actor} runs `lockgate close {environment} -m REASON`",
        )


def not_quarantined(registry: Registry, version: Version) -> Iterator[Finding]:
    """Give a finding for each quarantine of a version's definition."""
    for quarantine in registry.releases.quarantines(version.system, definition=version.definition):
        yield Finding(
            "not quarantined",
            "fail",
            f"quarantined by {quarantine.actor}: {quarantine.reason.splitlines()[0]}",
            f"`lockgate lift {version.label} -m REASON` if that was wrong",
        )


def way_back_intact(
    registry: Registry, system: str, environment: str, *, besides: Version | None
) -> Finding:
    """Say whether what a rollback from a version would go to is there, byte for byte.

    Args:
        registry: Where deployments and objects are.
        system: The system.
        environment: The environment.
        besides: What is to become live: never its own way back.
    """
    live = registry.releases.live(system, environment)
    back = gated_way_back(registry, live, besides=besides)
    version = registry.versions.get(back.attempt.version or "") if back else None
    if version is None:
        return Finding("way back", "skipped", "the first promotion has nothing to go back to")
    damaged = damaged_files(registry, version)
    if damaged:
        return Finding(
            "way back",
            "fail",
            f"{version.label} could not be restored: {damaged[0]}",
            "restore its objects from a backup first, or there is no way back",
        )
    files = len(registry.versions.definition(version.definition).files())
    return Finding("way back", "pass", f"{version.label} intact, {files} files checked")


def deployment_of(registry: Registry, promoted: Promoted) -> Deployment | None:
    """Return the record that a promotion left."""
    return registry.releases.deployment(
        promoted.version.system, promoted.environment, promoted.generation
    )
