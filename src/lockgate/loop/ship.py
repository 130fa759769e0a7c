"""The whole loop in order: change, register, evaluate, gate, promote, walking what is required.

- It does what the five steps do, in their order, and stops at the first refusal.
- Run again, it goes on where it stopped: what is done already is not done twice.
- It is the easy path, and there is no shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lockgate.domain.policy import Environment, Policy, allowed_errors, stop_after_errors
from lockgate.domain.version import Version
from lockgate.evals.progress import Progress
from lockgate.loop.change import change
from lockgate.loop.deployment import DeployEvent
from lockgate.loop.evaluate import Limits, OpenRunner, evaluate, open_run
from lockgate.loop.gate import Gap, decide, gaps
from lockgate.loop.promote import promote, settled_on
from lockgate.loop.register import FindSecrets, Registered, register
from lockgate.ports import Draft, Registry, Signing, Target


@dataclass(frozen=True, slots=True)
class Tools:
    """What shipping needs from outside the loop."""

    open_runner: OpenRunner
    find_secrets: FindSecrets
    write_lock: Callable[[Registered], None]
    """Notes in the folder which version it is now."""
    target_of: Callable[[str, Environment], Target] | None = None
    """Gives where a system's versions go in an environment; `None` publishes nowhere."""
    signing: Signing | None = None
    """Checks every reviewer's signature again before something goes live."""
    tell: Callable[[DeployEvent], None] | None = None
    """Hears what happens while a version is deployed."""


@dataclass(frozen=True, slots=True)
class ShipStep:
    """Something that just happened on the way."""

    step: str
    """`change`, `register`, `evaluate`, `gate` or `promote`."""
    state: str
    """`progress`, `done` or `skipped`."""
    environment: str | None
    result: Any
    """What the step returned: Change, Registered, Progress, Decision or Promoted."""


def path_to(policy: Policy, environment_name: str) -> list[str]:
    """Return the environments to pass through, in order, the wanted one last."""
    path: list[str] = []

    def walk(name: str) -> None:
        for required in policy.environment(name).requires:
            walk(required)
        if name not in path:
            path.append(name)

    walk(environment_name)
    return path


def ship(
    registry: Registry,
    draft: Draft,
    environment_name: str,
    policy: Policy,
    tools: Tools,
    *,
    reason: str | None,
    actor: str,
    owner: str | None = None,
    reverting: str | None = None,
    keep_secrets: str | None = None,
) -> Iterator[ShipStep]:
    """Take a folder through the loop; the caller walks what happens.

    Args:
        registry: Where everything is recorded.
        draft: The folder as it was just read.
        environment_name: Where it should arrive.
        policy: As applied.
        tools: Runner, secret check and lock.
        reason: Why the change was made; may be left out when the folder is registered already.
        actor: Who ships: registrar and promoter.
        owner: As for `register`.
        reverting: As for `decide`.
        keep_secrets: As for `register`.

    Raises:
        LockgateError: Of the first step that refused; what was done before stays.
    """
    path = path_to(policy, environment_name)
    changed = change(registry, draft)
    yield ShipStep("change", "done", None, changed)
    registered = _register(
        registry, draft, changed.parent, tools, reason, actor, owner, keep_secrets
    )
    yield ShipStep("register", "done" if registered.is_new else "skipped", None, registered)
    version = registered.version
    *before, last = path
    for name in before:
        # What was promoted there has met the requirement, whatever is live there by now.
        passed = registry.releases.promoted(version.system, name, version.definition)
        if passed is not None:
            yield ShipStep("promote", "skipped", name, passed)
        else:
            yield from travel(registry, version, name, policy, tools, actor, reverting)
    yield from travel(registry, version, last, policy, tools, actor, reverting)


def _register(
    registry: Registry,
    draft: Draft,
    parent: Version | None,
    tools: Tools,
    reason: str | None,
    actor: str,
    owner: str | None,
    keep_secrets: str | None,
) -> Registered:
    is_same = (
        parent is not None
        and parent.track == "release"
        and parent.definition == draft.definition.digest
    )
    registered = register(
        registry,
        draft,
        reason=reason or ("unchanged" if is_same else ""),
        actor=actor,
        owner=owner,
        find_secrets=tools.find_secrets,
        keep_secrets=keep_secrets,
    )
    tools.write_lock(registered)
    return registered


def travel(
    registry: Registry,
    version: Version,
    environment_name: str,
    policy: Policy,
    tools: Tools,
    actor: str,
    reverting: str | None = None,
) -> Iterator[ShipStep]:
    """Take a registered version through evaluate, gate and promote for one environment.

    Raises:
        LockgateError: Of the first step that refused.
    """
    environment = policy.environment(environment_name)
    target = tools.target_of(version.system, environment) if tools.target_of else None
    live = settled_on(registry, version, environment_name, target)
    if live is not None:
        yield ShipStep("promote", "skipped", environment_name, live)
        return
    yield from fill_gaps(registry, version, environment_name, policy, tools.open_runner, actor)
    decision = decide(registry, version, environment_name, policy, actor=actor, reverting=reverting)
    yield ShipStep("gate", "done", environment_name, decision)
    promoted = promote(
        registry,
        version,
        environment,
        decision,
        actor=actor,
        signing=tools.signing,
        target=target,
        tell=tools.tell,
    )
    yield ShipStep("promote", "done", environment_name, promoted)


def fill_gaps(
    registry: Registry,
    version: Version,
    environment_name: str,
    policy: Policy,
    open_runner: OpenRunner,
    actor: str,
) -> Iterator[ShipStep]:
    """Make every run that the gate will ask for, resuming what was cut short."""
    missing = gaps(registry, version, environment_name, policy)
    if not missing:
        yield ShipStep("evaluate", "skipped", environment_name, version)
    live = registry.releases.live(version.system, environment_name)
    live_version = registry.versions.get(live.attempt.version or "") if live else None
    # What is live goes first, so that the candidate's wins and losses can be shown as they come.
    for gap in sorted(missing, key=lambda gap: not gap.is_live):
        baseline = None if gap.is_live else live_version
        for progress in fill_gap(registry, gap, policy, open_runner, actor, baseline):
            state = "done" if progress.end is not None else "progress"
            yield ShipStep("evaluate", state, environment_name, (gap, progress))


def fill_gap(
    registry: Registry,
    gap: Gap,
    policy: Policy,
    open_runner: OpenRunner,
    actor: str,
    baseline: Version | None = None,
) -> Iterator[Progress]:
    """Make one run that the gate asks for, resuming it if it was cut short."""
    system = gap.version.system
    return evaluate(
        registry,
        gap.version,
        gap.suite.digest,
        open_runner,
        actor=actor,
        limits=Limits(allowed_errors(policy, system), stop_after_errors(policy, system)),
        resume=open_run(registry, gap.version, gap.suite),
        baseline=baseline,
    )
