"""What happened lately, as sentences: the newest records of every kind in one order.

- Order is the ledger's, never the clock's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from lockgate.domain.release import Decision, Deployment
from lockgate.domain.version import Version

if TYPE_CHECKING:
    from lockgate.ports import Registry

NEWEST = 5
_VERBS = {
    "promote": "promoted {label} → {environment}",
    "rollback": "rolled {environment} back to {label}",
    "rehearsal": "rehearsal of {label} in {environment}",
    "revert": "reverted {environment} to {label}",
    "break_glass": "broke the glass: {label} → {environment}, ungated",
}
_GATED = {
    "pass": "gate passed {label} → {environment}",
    "fail": "gate refused {label} → {environment}",
    "inconclusive": "gate could not tell about {label} → {environment}",
}


class Event(NamedTuple):
    """One thing that happened."""

    at: datetime
    text: str
    actor: str
    seq: int
    """Its place in the ledger."""


class Labels:
    """Labels of versions by their ids, each looked up once."""

    def __init__(self, registry: Registry) -> None:
        """Look versions up in one registry."""
        self._registry = registry
        self._known: dict[str, str] = {}

    def of(self, version_id: str | None) -> str:
        """Return a version's label; `?` when there is no such version."""
        if version_id is None:
            return "?"
        if version_id not in self._known:
            found = self._registry.versions.get(version_id)
            self._known[version_id] = found.label if found else "?"
        return self._known[version_id]


def recent_events(
    registry: Registry,
    system: str,
    labels: Labels,
    decisions: Sequence[Decision],
    histories: Iterable[Sequence[Deployment]],
    *,
    limit: int = NEWEST,
) -> tuple[Event, ...]:
    """Return what happened last, newest first.

    Args:
        registry: Where the rest is looked up.
        system: Whose events.
        labels: Names versions.
        decisions: The newest ones, newest first.
        histories: The deployments of each environment, newest first.
        limit: How many.
    """
    found: list[Event] = []
    newest = registry.versions.page(system, limit=limit)
    found += [_registered(version, labels) for version in newest]
    for version in newest[:2]:
        found += _runs(registry, version)
    for decision in decisions[:limit]:
        found += _decided(registry, decision, labels)
    for history in histories:
        for deployment in history[:limit]:
            found += [_deployed(deployment, labels), *_said(registry, deployment)]
    found += [
        Event(h.at, f"held {h.environment}: {_line(h.reason)}", h.actor, h.seq)
        for h in registry.releases.holds(system)[:limit]
    ]
    found += [
        Event(q.at, f"quarantined {labels.of(q.version)}: {_line(q.reason)}", q.actor, q.seq)
        for q in registry.releases.quarantines(system)[:limit]
    ]
    policy = registry.applied.policy()
    if policy is not None:
        found.append(Event(policy.at, "applied a policy", policy.actor, policy.seq))
    found.sort(key=lambda event: event.seq, reverse=True)
    return tuple(found[:limit])


def _registered(version: Version, labels: Labels) -> Event:
    origin = f" from {labels.of(version.parent)}" if version.parent else ""
    text = f"registered {version.label}{origin}: {_line(version.reason)}"
    return Event(version.at, text, version.registrar, version.seq)


def _runs(registry: Registry, version: Version) -> list[Event]:
    return [
        Event(
            record.end.at,
            f"evaluated {version.label} on {registry.applied.suite_name(record.run.suite)}",
            record.end.actor,
            record.end.seq,
        )
        for record in registry.runs.of_version(version.id)
        if record.end is not None and record.is_completed
    ]


def _decided(registry: Registry, decision: Decision, labels: Labels) -> list[Event]:
    names = {"label": labels.of(decision.version), "environment": decision.environment}
    found = [
        Event(decision.at, _GATED[decision.outcome].format(**names), decision.actor, decision.seq)
    ]
    if decision.approvals_needed:
        for word in registry.releases.approvals(decision.id):
            verb = "approved" if word.word == "yes" else "rejected"
            claimed = "" if word.key else " (claimed)"
            text = f"{verb} {names['label']} for {names['environment']}{claimed}"
            found.append(Event(word.at, text, word.signer, word.seq))
    return found


def _deployed(deployment: Deployment, labels: Labels) -> Event:
    attempt = deployment.attempt
    return Event(attempt.at, deployed_text(deployment, labels), attempt.actor, attempt.seq)


def deployed_text(deployment: Deployment, labels: Labels) -> str:
    """Return what a deployment was, and how it ended unless that is well."""
    attempt = deployment.attempt
    verb = _VERBS.get(attempt.kind, f"{attempt.kind} {{label}} → {{environment}}")
    text = verb.format(label=labels.of(attempt.version), environment=attempt.environment)
    if deployment.outcome != "live":
        text += f": {deployment.outcome or 'not settled'}"
    return text


def _said(registry: Registry, deployment: Deployment) -> list[Event]:
    """Return what was said about a deployment afterwards, and the end of a break-glass."""
    attempt = deployment.attempt
    key = (attempt.system, attempt.environment, attempt.generation)
    found = [
        Event(
            note.at,
            f"note on {attempt.environment} {attempt.generation}: {_line(note.text)}",
            note.actor,
            note.seq,
        )
        for note in registry.upkeep.notes(*key)
    ]
    closing = registry.upkeep.closing(*key) if deployment.is_ungated else None
    if closing is not None:
        text = f"closed the break-glass of {attempt.environment} {attempt.generation}"
        found.append(
            Event(closing.at, f"{text}: {_line(closing.reason)}", closing.actor, closing.seq)
        )
    return found


def _line(text: str) -> str:
    return text.splitlines()[0] if text else ""
