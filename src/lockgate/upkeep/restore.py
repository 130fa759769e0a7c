"""Put back what was live before a rehearsal, from wherever the rehearsal was cut off.

what is found                                    what is done
-----------------------------------------------  ------------------------------------------------
an open rehearsal, no hook                       settled `abandoned`: nothing was touched
an open rehearsal or revert, with a hook         the hook is stopped; what was live is deployed
a rehearsal that is live                         what was live before it is deployed: a revert
a hook that failed, of a rehearsal or a revert   nobody knows what it left: deployed once more
a revert that is settled but not published       published
a rehearsal that was live and is not recorded    recorded as `broken off`

- A revert neither quarantines nor holds; a quarantine does not keep it from putting back what was
  live before.
- Whoever rolled back or promoted meanwhile has the last word: nothing is taken back from them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lockgate.domain.receipt import Receipt
from lockgate.domain.release import Attempt, Deployment, Finding, Settlement
from lockgate.domain.upkeep import BROKEN_OFF, Rehearsal
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, LockgateError, Refused
from lockgate.loop.deployment import (
    DeployEvent,
    announce,
    carry_out,
    kept_way_back,
    lease_of,
    standing_receipt,
    watched,
)
from lockgate.loop.evaluate import void
from lockgate.ports import Registry, Target

PATIENCE_S = 10.0
"""How long the running instances get to take over what was put back."""
_REHEARSED = ("rehearsal", "revert")
_UNKNOWN_OPERATOR = "unknown"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A rehearsal that was cut off, and what is to be put back."""

    system: str
    environment: str
    worse: Version
    deployment: Deployment
    """The rehearsal, or the revert that was to end it."""
    to: Version
    is_back: bool
    """Whether that is live already, and only the record is missing."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What is live again, and whether that is true to the byte."""

    version: Version
    generation: int
    files: int
    """How many files were hashed."""
    findings: tuple[Finding, ...]
    took_s: float

    @property
    def problems(self) -> list[str]:
        """What is not as it was, in words."""
        return [f"{f.rule}: {f.reason}" for f in self.findings if f.outcome == "fail"]


def rehearsal_lease(system: str, environment: str) -> str:
    """Return the name under which a process rehearses, or ends a rehearsal."""
    return f"rehearsal {system}/{environment}"


def unfinished(
    registry: Registry, system: str, environment: str, target: Target
) -> Unfinished | None:
    """Return the rehearsal that is not over, if there is one; a living process may be at it."""
    live = registry.releases.live(system, environment)
    newest = registry.releases.newest(system, environment)
    release = registry.releases.live_release(system, environment)
    to = registry.versions.get(release.attempt.version or "") if release else None
    if live is None or newest is None or to is None:
        return None
    unrecorded = registry.upkeep.unrecorded(system, environment)
    found = None
    if live.attempt.kind == "rehearsal":
        found = live
    elif _is_ours(newest, target):
        found = newest
    elif unrecorded:
        found = unrecorded[0]
    if found is None:
        return None
    worse = _worse(registry, found)
    is_back = live.attempt.kind != "rehearsal" and not _is_ours(newest, target)
    return Unfinished(system, environment, worse, found, to, is_back) if worse else None


def _is_ours(newest: Deployment, target: Target) -> bool:
    """Tell whether the newest generation is a rehearsal's, and not at its end."""
    return newest.attempt.kind in _REHEARSED and _is_uncertain(newest, target)


def _is_uncertain(newest: Deployment, target: Target) -> bool:
    """Tell whether somebody has to act before everybody knows what runs."""
    if newest.is_open:
        return True
    if newest.outcome != "live":
        return target.has_hook
    if not target.publishes:
        return False
    try:
        current = target.current(newest.attempt.system)
    except IntegrityBroken:
        return True
    return current is None or current.generation < newest.attempt.generation


def _worse(registry: Registry, found: Deployment) -> Version | None:
    """Return the rehearsal version that a deployment brought, or took back."""
    attempt = found.attempt
    page = registry.releases.deployments(
        attempt.system, attempt.environment, before=attempt.generation + 1
    )
    rehearsed = next((one for one in page if one.attempt.kind == "rehearsal"), None)
    return registry.versions.get(rehearsed.attempt.version or "") if rehearsed else None


def restore(
    registry: Registry,
    found: Unfinished,
    target: Target,
    *,
    actor: str,
    forced: bool = False,
    reason: str | None = None,
    incident: str | None = None,
) -> Iterator[DeployEvent | Restored]:
    """End a rehearsal that was cut off; the last thing given is what is live again.

    Args:
        registry: Where it is recorded.
        found: As `unfinished` returned it.
        target: Where the environment's versions go.
        actor: Who ends it.
        forced: End it even when the process that rehearses is still at work; it then stops.
        reason: Why, where it is more than that the rehearsal is over.
        incident: The incident's id.

    Raises:
        Busy: The process that rehearses is still at work.
        InfrastructureFailed: The hook failed; it is safe to run this again.
    """
    system, environment = found.system, found.environment
    newest = registry.releases.newest(system, environment)
    if not forced:
        with registry.write() as writing:
            writing.take_lease(rehearsal_lease(system, environment), actor)
            if newest is not None and newest.is_open:
                writing.take_lease(lease_of(system, environment, newest.attempt.generation), actor)
    try:
        began = time.monotonic()
        yield from put_back(
            registry, system, environment, target, actor=actor, reason=reason, incident=incident
        )
        restored = verified(registry, system, environment, found.to, target, began)
        void_open_runs(registry, found.worse, actor)
        record_broken_off(registry, system, environment, restored, actor=actor)
        yield restored
    finally:
        with registry.write(durable=False) as writing:
            writing.drop_lease(rehearsal_lease(system, environment))
    if restored.problems:
        raise not_as_it_was(environment, system, restored)


def not_as_it_was(environment: str, system: str, restored: Restored) -> IntegrityBroken:
    """Return the error that what is live is not what it was before the rehearsal."""
    return IntegrityBroken(
        f"{restored.version.label} was put back in {environment}, and not everything is as it was",
        problems=restored.problems,
        hint=f"`lockgate settle {environment} -s {system}`, then `lockgate status -s {system}`",
    )


def put_back(
    registry: Registry,
    system: str,
    environment: str,
    target: Target,
    *,
    actor: str,
    reason: str | None = None,
    incident: str | None = None,
) -> Iterator[DeployEvent]:
    """Make live again what was live before the rehearsal; nothing where nothing is to be done.

    Raises:
        InfrastructureFailed: The hook failed; the revert is settled `failed`.
        StaleGeneration: Somebody else took the generation; nothing was changed.
    """
    newest = registry.releases.newest(system, environment)
    live = registry.releases.live(system, environment)
    release = registry.releases.live_release(system, environment)
    if newest is None or live is None or release is None:
        return
    if live.attempt.kind != "rehearsal" and not _is_ours(newest, target):
        return
    way_back = _way_back(registry, target, release)
    if newest.outcome == "live" and newest.attempt.kind == "revert":
        yield from _published(registry, target, newest, way_back)
        return
    first = []
    if newest.is_open:
        first.append(_abandoned(newest, target, actor))
        if live.attempt.kind != "rehearsal" and not target.has_hook:
            with registry.write() as writing:
                writing.append(first[0])
            target.unstage(system, newest.attempt.generation)
            return
    version = registry.versions.get(release.attempt.version or "")
    assert version is not None  # a deployment is always of a registered version
    attempt = Attempt(
        system,
        environment,
        newest.attempt.generation + 1,
        "revert",
        version.id,
        None,
        target.hook_digest(),
        incident,
        reason or "the rehearsal is over",
        actor,
    )
    yield from carry_out(
        registry, target, attempt, version, actor=actor, first=first, way_back=way_back
    )


def _abandoned(newest: Deployment, target: Target, actor: str) -> Settlement:
    attempt = newest.attempt
    if target.has_hook:
        target.stop_hook(attempt.system, attempt.generation)
    words = f"{actor} ended the rehearsal while it was under way"
    return Settlement(
        attempt.system, attempt.environment, attempt.generation, "abandoned", words, actor
    )


def _published(
    registry: Registry, target: Target, revert: Deployment, way_back: Receipt | None
) -> Iterator[DeployEvent]:
    version = registry.versions.get(revert.attempt.version or "")
    assert version is not None  # a deployment is always of a registered version
    receipt = standing_receipt(registry, target, revert.attempt, version)
    definition = registry.versions.definition(version.definition)
    target.prepare(receipt, definition, registry.objects.open)
    yield from announce(registry, target, revert.attempt, receipt, way_back)


def _way_back(registry: Registry, target: Target, release: Deployment) -> Receipt | None:
    """Return the way back that was kept beside what was live before the rehearsal."""
    attempt = release.attempt
    while attempt.kind == "revert":  # an earlier rehearsal's: what it put back counts
        before = _before_rehearsal(registry, attempt)
        if before is None:
            return None
        attempt = before.attempt
    if attempt.kind not in ("promote", "break_glass"):
        return None
    live = registry.releases.live_before(attempt.system, attempt.environment, attempt.generation)
    return kept_way_back(registry, target, live)


def _before_rehearsal(registry: Registry, attempt: Attempt) -> Deployment | None:
    """Return the newest deployment before a generation that went live and was no rehearsal."""
    generation = attempt.generation
    while True:
        found = registry.releases.live_before(attempt.system, attempt.environment, generation)
        if found is None or found.attempt.kind != "rehearsal":
            return found
        generation = found.attempt.generation


def verified(
    registry: Registry,
    system: str,
    environment: str,
    before: Version,
    target: Target,
    began_s: float,
) -> Restored:
    """Hold what is live against what was live before a rehearsal, to the byte.

    Args:
        registry: Says what is live, and has the bytes.
        system: The system.
        environment: The environment.
        before: What was live.
        target: Where it is published, and who runs it.
        began_s: When putting it back began, by `time.monotonic()`.
    """
    live = registry.releases.live(system, environment)
    generation = live.attempt.generation if live else 0
    findings = [_is_live(registry, live, before)]
    files = registry.versions.definition(before.definition).files()
    if target.publishes:
        findings.append(_is_published(target, system, before, generation, len(files)))
    else:
        damaged = [path for path, d in sorted(files.items()) if not registry.objects.is_intact(d)]
        findings.append(
            Finding("contents", "fail", f"{len(damaged)} files are damaged: {damaged[0]}")
            if damaged
            else Finding("contents", "pass", f"{len(files)} files hashed")
        )
    if target.observes and live is not None:
        findings.append(_is_running(registry, target, live))
    took_s = time.monotonic() - began_s
    return Restored(before, generation, len(files), tuple(findings), took_s)


def _is_live(registry: Registry, live: Deployment | None, before: Version) -> Finding:
    found = registry.versions.get(live.attempt.version or "") if live else None
    if found is None or found.id != before.id:
        other = found.label if found else "nothing"
        return Finding("live", "fail", f"{other} is live, before it was {before.label}")
    definition = registry.versions.definition(found.definition)
    if definition.digest != before.definition:
        return Finding("live", "fail", f"the definition of {before.label} has another digest")
    return Finding("live", "pass", f"{before.label}, definition {definition.digest[:8]}")


def _is_published(
    target: Target, system: str, before: Version, generation: int, count: int
) -> Finding:
    try:
        receipt = target.current(system)
    except IntegrityBroken as error:
        return Finding("published", "fail", error.what)
    if receipt is None:
        return Finding("published", "fail", "there is no receipt")
    told = (receipt.version, receipt.definition, receipt.generation)
    if told != (before.id, before.definition, generation):
        return Finding(
            "published", "fail", f"the receipt names {receipt.label}, generation {told[2]}"
        )
    problems = target.problems(receipt)
    if problems:
        return Finding("published", "fail", f"{len(problems)} files differ: {problems[0]}")
    return Finding("published", "pass", f"receipt and {count} files, every byte hashed")


def _is_running(registry: Registry, target: Target, live: Deployment) -> Finding:
    """Ask the instances until all of them report what is live, or patience is over."""
    *_, told = watched(registry, target, live.attempt, PATIENCE_S)
    stale = [instance.name for instance in told if instance.state != "match"]
    if not told:
        return Finding("running", "inconclusive", "no running instance answered")
    if stale:
        return Finding(
            "running",
            "fail",
            f"{len(stale)} of {len(told)} instances run something else: {stale[0]}",
        )
    return Finding("running", "pass", f"{len(told)} running instances report it")


def void_open_runs(registry: Registry, worse: Version, actor: str) -> None:
    """Give up the runs of a rehearsal that was cut off; one that somebody is at stays."""
    for record in registry.runs.of_version(worse.id):
        if record.end is None:
            try:
                void(registry, record, actor=actor)
            except (Refused, LockgateError):
                continue


def record_broken_off(
    registry: Registry,
    system: str,
    environment: str,
    restored: Restored,
    *,
    actor: str,
    why: Finding | None = None,
) -> list[Rehearsal]:
    """Record every rehearsal that was live and has no record: it was broken off."""
    made = []
    for deployment in registry.upkeep.unrecorded(system, environment):
        findings = (why or Finding("rehearsal", "fail", "it was cut off"), *restored.findings)
        record = Rehearsal(
            system,
            environment,
            deployment.attempt.version or "",
            operator_of(deployment),
            deployment.attempt.generation,
            reverted_as(registry, deployment),
            BROKEN_OFF,
            None,
            None,
            round(restored.took_s * 1000),
            findings,
            actor,
        )
        with registry.write() as writing:
            made.append(writing.append(record))
    return made


def operator_of(deployment: Deployment) -> str:
    """Return how a rehearsal was made worse, as its attempt says."""
    return (deployment.attempt.reason or "").partition(":")[0] or _UNKNOWN_OPERATOR


def reverted_as(registry: Registry, deployment: Deployment) -> int | None:
    """Return the generation of the revert that ended a rehearsal; `None` when another way did."""
    attempt = deployment.attempt
    later = registry.releases.deployments(attempt.system, attempt.environment, limit=500)
    after = [
        one
        for one in reversed(later)
        if one.attempt.generation > attempt.generation and one.outcome == "live"
    ]
    return after[0].attempt.generation if after and after[0].attempt.kind == "revert" else None
