"""Hand-off: everything a person needs to ship a change of one system and to take it back.

- What is told is what is applied, registered and live; nothing is told that only a clock changes.
- A command is given only where it runs as it stands: the file to edit is one the system has.
- What is missing before the loop can run is told instead of the loop.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lockgate.domain import figures
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Environment, Policy, Rule
from lockgate.domain.release import Deployment, SuiteInfo
from lockgate.domain.times import ago
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.upkeep.markdown import code, listed, plain
from lockgate.upkeep.rollback import find_way_back

if TYPE_CHECKING:
    from lockgate.ports import Registry

_HARMLESS = (".md", ".txt", ".py")
"""Kinds of files that an empty line at the end changes nothing in, the best example first."""
_EXAMPLES = ("prompt", "retrieval", "code", "tools")


@dataclass(frozen=True, slots=True)
class Workplace:
    """What only this machine knows: where the system is written, and whose keys lie here."""

    folder: str | None = None
    """Of the system, relative to the registry's root; `None` when it is not below it."""
    names_owner: bool = True
    """Whether lockgate.toml says who owns the system."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Reviewer to a private key in the registry's folder, as practice copies have."""
    has_file: Callable[[str], bool] = lambda _: True
    """Tells whether a file of the definition stands in the folder."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One environment, what it asks of the system, and who says yes."""

    environment: str
    criteria: tuple[str, ...]
    """In plain words, as Markdown."""
    approvals: int
    reviewers: tuple[str, ...]
    signers: str | None
    accept_claimed: bool
    requires: tuple[str, ...]
    publishes: bool


@dataclass(frozen=True, slots=True)
class LiveNow:
    """What is live in one environment, and where a rollback would go."""

    environment: str
    label: str | None
    """`None` when nothing is live."""
    version: str | None
    kind: str | None
    by: str | None
    approved_by: tuple[str, ...]
    since: datetime | None
    way_back: str | None
    """Label; `None` when there is none."""
    why_not: str
    """Why there is no way back; empty when there is one."""
    held: tuple[str, ...]
    """Reasons of the holds in force."""
    is_quarantined: bool


@dataclass(frozen=True, slots=True)
class Handoff:
    """One system's hand-off, as values."""

    system: str
    owner: str | None
    folder: str | None
    names_owner: bool
    components: tuple[str, ...]
    """Of what is live, else of the newest release."""
    files: int
    suites: tuple[tuple[str, int], ...]
    """Name and number of cases."""
    asked: tuple[Asked, ...]
    """In the order versions travel."""
    path: tuple[str, ...]
    """The environments a change passes through, its destination last; none without a policy."""
    live: tuple[LiveNow, ...]
    """The destination first."""
    edit: str | None
    """A file that takes an empty line without harm, relative to the registry's root."""
    next_label: str
    keys: Mapping[str, str]
    rehearsal: str | None
    """The environment rehearsals go to."""
    rehearse_every: str | None
    review_every: str | None
    missing: tuple[str, ...]
    """What has to be done before the loop can run: sentences with the command."""

    @property
    def to(self) -> str | None:
        """Where a change is to arrive."""
        return self.path[-1] if self.path else None


def handoff(
    registry: Registry, system: str, policy: Policy | None, place: Workplace | None = None
) -> Handoff:
    """Return a system's hand-off.

    Args:
        registry: Where everything is recorded.
        system: Which one; it may have no version yet.
        policy: As applied; `None` before the first.
        place: What only this machine knows.
    """
    place = place or Workplace()
    order = travel_order(policy) if policy else []
    path = _path(policy, order)
    reference = reference_version(registry, system, [*reversed(path), *reversed(order)])
    suites = sorted(registry.applied.suites(system).values(), key=lambda suite: suite.name)
    protecting = [name for name in order if policy and policy.environments[name].rehearsal]
    components, paths = _contents(registry, reference)
    return Handoff(
        system,
        reference.owner if reference else None,
        place.folder,
        place.names_owner,
        components,
        len(paths),
        tuple((suite.name, suite.cases) for suite in suites),
        tuple(_asked(policy.environments[name], system) for name in order) if policy else (),
        tuple(path),
        tuple(live_now(registry, system, name) for name in reversed(order)),
        _example(registry, reference, place),
        _next_label(registry, system),
        dict(sorted(place.keys.items())),
        protecting[0] if protecting else None,
        ago(policy.rehearsal_cadence) if policy else None,
        ago(policy.review_cadence) if policy else None,
        tuple(_missing(policy, reference, suites, system, place)),
    )


def travel_order(policy: Policy) -> list[str]:
    """Return all environments so that what one requires comes before it."""
    order: list[str] = []

    def walk(name: str) -> None:
        for required in policy.environment(name).requires:
            walk(required)
        if name not in order:
            order.append(name)

    for name in policy.environments:
        walk(name)
    return order


def _path(policy: Policy | None, order: list[str]) -> list[str]:
    """Return the way to the environment nearest to users."""
    if policy is None or not order:
        return []
    ends = [name for name in order if not policy.environments[name].rehearsal] or order
    needed = {ends[-1]}
    for name in reversed(order):
        if name in needed:
            needed |= set(policy.environments[name].requires)
    return [name for name in order if name in needed]


def reference_version(registry: Registry, system: str, environments: list[str]) -> Version | None:
    """Return what is live nearest to users, else the newest release, else any version."""
    for name in environments:
        live = registry.releases.live(system, name)
        version = registry.versions.get(live.attempt.version or "") if live else None
        if version is not None:
            return version
    versions = registry.versions
    newest = versions.page(system, limit=1, track="release") or versions.page(system, limit=1)
    return newest[0] if newest else None


def _contents(
    registry: Registry, version: Version | None
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    if version is None:
        return (), {}
    try:
        definition = registry.versions.definition(version.definition)
    except (LookupError, LockgateError):
        return (), {}
    return tuple(definition.ordered()), definition.files()


def _example(registry: Registry, version: Version | None, place: Workplace) -> str | None:
    """Return a file that can be edited without harm, the first of the prompt if there is one."""
    if version is None or place.folder is None:
        return None
    try:
        definition = registry.versions.definition(version.definition)
    except (LookupError, LockgateError):
        return None
    for ending in _HARMLESS:
        for name in _EXAMPLES:
            part = definition.components.get(name)
            for path in sorted(part.paths()) if part else ():
                whole = path if place.folder == "." else f"{place.folder}/{path}"
                is_plain = whole.isascii() and whole.isprintable() and "`" not in whole
                if path.endswith(ending) and is_plain and place.has_file(path):
                    return whole
    return None


def _next_label(registry: Registry, system: str) -> str:
    newest = registry.versions.page(system, limit=1, track="release")
    return f"v{int(newest[0].label[1:]) + 1}" if newest else "v1"


def _missing(
    policy: Policy | None,
    reference: Version | None,
    suites: list[SuiteInfo],
    system: str,
    place: Workplace,
) -> Iterator[str]:
    if policy is None:
        yield "No policy is applied: write `policy.toml`, then `lockgate policy apply`."
    elif not policy.environments:
        yield "The policy has no environment: write one, then `lockgate policy apply`."
    if not suites:
        yield (
            f"No suite of {code(system)} is applied: write `suites/NAME.toml` with cases, then "
            "`lockgate suite apply`."
        )
    if reference is None:
        where = f" in {code(place.folder)}" if place.folder else ""
        yield (
            f"No version is registered: `lockgate register -s {system} -m REASON` makes what is "
            f"written{where} the first one."
        )
    if place.folder is None:
        into = shlex.quote(f"systems/{system}")
        yield (
            "The system's folder is not below the registry's"
            + (
                f": `lockgate checkout {reference.label} {into} -s {system}` writes one."
                if reference is not None
                else ": write `lockgate.toml` in `systems/NAME`, or name it with `-C DIR`."
            )
        )


def live_now(registry: Registry, system: str, environment: str) -> LiveNow:
    """Return what is live in an environment and where a rollback would go."""
    live = registry.releases.live(system, environment)
    version = registry.versions.get(live.attempt.version or "") if live else None
    held = tuple(hold.reason for hold in registry.releases.holds(system, environment))
    if live is None or version is None:
        return LiveNow(
            environment, None, None, None, None, (), None, None, "nothing is live", held, False
        )
    back, why_not = None, ""
    try:
        back = find_way_back(registry, system, environment).to.label
    except LockgateError as refused:
        why_not = refused.what
    return LiveNow(
        environment,
        version.label,
        version.id,
        live.attempt.kind,
        live.attempt.actor,
        _approved_by(registry, live),
        live.settled_at or live.attempt.at,
        back,
        why_not,
        held,
        bool(registry.releases.quarantines(system, definition=version.definition)),
    )


def _approved_by(registry: Registry, live: Deployment) -> tuple[str, ...]:
    if live.attempt.decision is None:
        return ()
    return tuple(
        approval.signer if approval.key else f"{approval.signer} (claimed, no key)"
        for approval in registry.releases.approvals(live.attempt.decision)
        if approval.word == "yes"
    )


def _asked(environment: Environment, system: str) -> Asked:
    return Asked(
        environment.name,
        tuple(_criteria(environment, system)),
        environment.approvals,
        environment.reviewers,
        environment.signers,
        environment.accept_claimed,
        environment.requires,
        environment.publish is not None,
    )


def _criteria(environment: Environment, system: str) -> Iterator[str]:
    rules = environment.rules_for(system)
    for rule in rules.rules if rules else ():
        yield rule_words(rule)
    if not rules or not rules.rules:
        yield "No limit on any score: a completed run is enough."
    allowed = rules.max_errors if rules else 0
    errors = (
        f"at most {allowed} cases" if allowed > 1 else "at most 1 case" if allowed else "no case"
    )
    if environment.requires:
        yield f"Promoted to {listed(environment.requires)} before, with the same definition."
    yield (
        f"A run may leave {errors} without a score; a decision counts for "
        f"{ago(environment.max_age)}."
    )
    for freeze in environment.freeze:
        yield (
            f"No promotion from {freeze.start} until {freeze.until} ({plain(freeze.tz)}): "
            f"{plain(freeze.reason)}. A rollback always goes."
        )


def rule_words(rule: Rule) -> str:
    """Return a rule in plain words, with its numbers."""
    limits = []
    if rule.min is not None:
        limits.append(f"at least {figures.metric(rule.metric, rule.min)}")
    if rule.max is not None:
        limits.append(f"at most {figures.metric(rule.metric, rule.max)}")
    if rule.max_drop is not None:
        live = "below what is live" if is_score(rule.metric) else "worse than what is live"
        limits.append(f"not more than {figures.score(rule.max_drop)} {live}, on the same cases")
    sure = ", judged on the score alone" if is_score(rule.metric) else ""
    if rule.confidence is not None:
        then = {
            "review": "a reviewer decides",
            "allow": "it may pass",
        }.get(rule.on_inconclusive, "it is refused, and more cases are needed")
        sure = f", at {rule.confidence * 100:g} % confidence; if that cannot be told: {then}"
    return f"{code(f'{rule.suite} {rule.metric}')}: {listed(limits)}{sure}."
