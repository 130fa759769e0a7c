"""Break-glass: make a version live past the gate, on record, so that nobody builds a hole.

- It needs a ticket and a reason.
- It bypasses the decision, the approvals, a freeze, a hold, what the environment requires and an
  earlier break-glass that nobody has closed.
- It never bypasses registration, the track, a quarantine, an attempt that is not settled, damaged
  bytes, or a way back that would be gone.
- Where nothing refuses a promotion there is no glass to break.
- What it made live is marked `ungated` for ever, and stops promotions until somebody else has
  closed it; see `closing.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.domain.policy import Environment, Policy
from lockgate.domain.release import Finding
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, LockgateError, Refused, UsageMistake
from lockgate.loop.deployment import DeployEvent
from lockgate.loop.gate import standing_decision, would_refuse
from lockgate.loop.promote import (
    Manner,
    Promoted,
    approved,
    make_live,
    not_quarantined,
    stopped,
    way_back_intact,
)
from lockgate.loop.standing import check_environment
from lockgate.loop.way_back import damaged_files
from lockgate.ports import Registry, Signing, Target
from lockgate.upkeep.words import checked_reason, checked_ticket


@dataclass(frozen=True, slots=True)
class Glass:
    """What would be made live past the gate, and everything that is said against it."""

    version: Version
    environment: str
    before: Version | None
    """What is live now."""
    bypasses: tuple[Finding, ...]
    """Each reason for which a promotion would be refused."""


def check_words(ticket: str, reason: str) -> tuple[str, str]:
    """Return ticket and reason as they are recorded.

    Raises:
        UsageMistake: Either is missing or cannot be one; both are told at once.
    """
    problems, hints, checked = [], [], []
    for check, text in ((checked_ticket, ticket), (checked_reason, reason)):
        try:
            checked.append(check(text))
        except UsageMistake as mistake:
            problems.append(mistake.what)
            hints.append(mistake.hint)
    if problems:
        raise UsageMistake(" and ".join(problems), hint="; ".join(hints))
    return checked[0], checked[1]


def look(
    registry: Registry,
    version: Version,
    environment: Environment,
    policy: Policy,
    *,
    actor: str,
    signing: Signing | None = None,
) -> Glass:
    """Return what breaking the glass would bypass; looking changes nothing.

    Raises:
        Refused: Something stands in the way that is never bypassed, or nothing does at all.
        IntegrityBroken: Bytes of the version, or of the way back, are missing or damaged.
    """
    live = registry.releases.live(version.system, environment.name)
    before = registry.versions.get(live.attempt.version or "") if live else None
    if before is not None and before.id == version.id:
        raise Refused(
            f"{version.label} is live in {environment.name} already",
            hint=f"`lockgate why {environment.name} -s {version.system}` says how it came there",
        )
    _check(registry, version, environment)
    against = tuple(_against(registry, version, environment, policy, actor, signing))
    if not against:
        raise Refused(
            f"nothing refuses {version.label} for {environment.name}: there is no glass to break",
            hint=f"`lockgate promote {version.label} --to {environment.name} -s {version.system}`",
        )
    return Glass(version, environment.name, before, against)


def break_glass(
    registry: Registry,
    glass: Glass,
    environment: Environment,
    *,
    ticket: str,
    reason: str,
    actor: str,
    target: Target | None = None,
    tell: Callable[[DeployEvent], None] | None = None,
) -> Promoted:
    """Make a version live past the gate.

    Args:
        registry: Where it is recorded.
        glass: As `look` returned it; what is never bypassed is looked at again.
        environment: From the applied policy.
        ticket: What tracks the exception.
        reason: Why it could not wait.
        actor: Who breaks the glass.
        target: Where the environment's versions are published and deployed to, if anywhere.
        tell: Hears what happens, hook output included.

    Raises:
        UsageMistake: The ticket or the reason is missing.
        Refused: Something stands in the way that is never bypassed.
        IntegrityBroken: Bytes of the version, or of the way back, are missing or damaged.
        InfrastructureFailed: The deploy hook failed; what was live before still is.
        StaleGeneration: Somebody else changed what is live meanwhile; nothing was changed.
    """
    ticket, reason = check_words(ticket, reason)
    return make_live(
        registry,
        glass.version,
        environment,
        Manner("break_glass", None, ticket, reason, actor),
        lambda: _check(registry, glass.version, environment),
        target=target,
        tell=tell,
    )


def _check(registry: Registry, version: Version, environment: Environment) -> None:
    """Refuse what no reason is good enough for, all of it at once."""
    check_environment(registry, environment)
    found = [
        *_wrong_track(version, environment.name),
        *not_quarantined(registry, version),
        *_open_attempt(registry, version.system, environment.name),
        *_damaged(registry, version),
        way_back_intact(registry, version.system, environment.name, besides=version),
    ]
    failed = [finding for finding in found if finding.outcome == "fail"]
    if failed:
        is_broken = all(finding.rule in ("contents", "way back") for finding in failed)
        raise (IntegrityBroken if is_broken else Refused)(
            f"breaking the glass does not let {version.label} into {environment.name}",
            problems=[f"{finding.rule}: {finding.reason}" for finding in failed],
            hint=next((finding.hint for finding in failed if finding.hint), ""),
        )


def _wrong_track(version: Version, environment: str) -> list[Finding]:
    if version.track == "release":
        return []
    hint = (
        f"make it a release: `lockgate register --from {version.label} -s {version.system} "
        "-m REASON`"
        if version.track == "experiment"
        else "a rehearsal is judged where the policy says `rehearsal = true`"
    )
    reason = f"{version.label} is of track {version.track}; only a release reaches {environment}"
    return [Finding("track", "fail", reason, hint)]


def _open_attempt(registry: Registry, system: str, environment: str) -> list[Finding]:
    newest = registry.releases.newest(system, environment)
    if newest is None or not newest.is_open:
        return []
    attempt = newest.attempt
    return [
        Finding(
            "settled",
            "fail",
            f"generation {attempt.generation} is not settled: {attempt.actor} is at it or was cut "
            "off",
            f"`lockgate settle {environment} -s {system}` finds out, "
            f"`lockgate rollback {environment} -s {system}` stops it",
        )
    ]


def _damaged(registry: Registry, version: Version) -> list[Finding]:
    return [
        Finding("contents", "fail", problem, "restore the objects from a backup")
        for problem in damaged_files(registry, version)
    ]


def _against(
    registry: Registry,
    version: Version,
    environment: Environment,
    policy: Policy,
    actor: str,
    signing: Signing | None,
) -> list[Finding]:
    """Return everything that a promotion would be refused for, and that may be bypassed."""
    decision = standing_decision(registry, version, environment.name)
    if decision is not None:
        barred = {actor: "promotes it"}
        found = [approved(registry, decision, environment, barred, signing)]
    else:
        found = _gate_says(registry, version, environment, policy)
        if environment.approvals:
            needed = f"0 of {environment.approvals} approvals"
            found.append(Finding("approval", "waiting", needed))
    found += stopped(registry, version.system, environment)
    return [finding for finding in found if finding.outcome not in ("pass", "skipped")]


def _gate_says(
    registry: Registry, version: Version, environment: Environment, policy: Policy
) -> list[Finding]:
    """Return why the gate would refuse; a gate that cannot even be asked is a reason too."""
    try:
        return would_refuse(registry, version, environment.name, policy)
    except LockgateError as error:
        return [Finding("gate", "fail", error.what, error.hint)]
    except LookupError as error:
        return [Finding("gate", "fail", f"it cannot decide: {error}")]
