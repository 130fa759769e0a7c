"""Decisions, approvals, attempts and settlements: how a version becomes live.

The states of one (system, environment), and every edge there is:

    state       what is true                              edges out
    ----------  ----------------------------------------  ------------------------------------------
    empty       generation 0, nothing was ever live       attempt 1 -> open
    open        attempt n taken, not settled              settlement n: live | failed | abandoned
    settled     attempt n settled                         attempt n + 1 -> open

    settlement  live afterwards                           next
    ----------  ----------------------------------------  ------------------------------------------
    live        the version of attempt n                  settled
    failed      whatever was live before                  settled
    abandoned   whatever was live before                  settled

- Attempt n needs the settlement of n - 1; generations are dense and are taken by exactly one.
- A promotion needs a decision about that version and environment that was made against what is
  live now, under the policy and suites applied now, with no newer run, no refusal and no expiry.
- Quarantine binds a definition everywhere; a hold binds an environment; `lift` ends either.
- Live is the newest settlement `live`; there is no pointer that could be moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockgate.domain.version import EPOCH


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a decision: a rule, how it went, and the numbers behind it."""

    rule: str
    """Short name: `registered`, `contains live`, `accuracy >= 0.80`."""
    outcome: str
    """`pass`, `fail`, `inconclusive`, `skipped` or `waiting`."""
    reason: str
    hint: str = ""
    numbers: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """Return the finding as a JSON value."""
        return {
            "rule": self.rule,
            "outcome": self.outcome,
            "reason": self.reason,
            "hint": self.hint,
            "numbers": dict(self.numbers) if self.numbers is not None else None,
        }


@dataclass(frozen=True, slots=True)
class DecisionRun:
    """One completed run that a decision rests on."""

    run: str
    version: str
    role: str
    """`candidate` or `baseline`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate said about one version and one environment."""

    id: str
    system: str
    version: str
    environment: str
    policy: str
    """Digest of the applied policy."""
    baseline_generation: int
    """Generation of what was live when compared; 0 when nothing was."""
    baseline_version: str | None
    outcome: str
    promotable: bool
    """Whether a promotion may rest on it once `approvals_needed` reviewers said yes."""
    approvals_needed: int
    findings: tuple[Finding, ...]
    runs: tuple[DecisionRun, ...]
    actor: str
    expires_at: datetime
    at: datetime = EPOCH
    seq: int = 0

    def obstacles(self) -> list[Finding]:
        """Return what keeps it from passing, failed rules before open questions."""
        wanted = ("fail",) if self.outcome == "fail" else ("inconclusive",)
        return [finding for finding in self.findings if finding.outcome in wanted]


@dataclass(frozen=True, slots=True)
class Approval:
    """A reviewer's signed yes or no to one decision or one proposal."""

    subject: str
    """The decision's or proposal's id."""
    signer: str
    word: str
    """`yes` or `no`."""
    key: str | None
    """The signing key's fingerprint; `None` when the name is only claimed."""
    signature: str | None
    """The armoured signature over the approval text."""
    note: str
    actor: str
    """Who recorded it, which may be somebody else than the signer."""
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of policy or suite that waits for reviewers of the applied policy."""

    id: str
    kind: str
    """`policy` or `suite`."""
    system: str | None
    name: str
    """The suite's name; `policy` for a policy."""
    before: str
    after: str
    """Digests of what is applied and of what is proposed."""
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PolicyApplied:
    """A policy file that counts from here on."""

    policy: str
    """Digest of the file's bytes."""
    rules: str
    """Digest of the checked policy as canonical JSON, which looking commands read."""
    proposal: str | None
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class SuiteApplied:
    """A suite that counts for a system from here on, under its name."""

    system: str
    name: str
    suite: str
    """The suite digest."""
    proposal: str | None
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class SuiteInfo:
    """A suite that is applied for a system, without its cases."""

    digest: str
    system: str
    name: str
    cases: int
    seq: int
    """Of the application that made it count."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A generation taken for one version, before anything is touched."""

    system: str
    environment: str
    generation: int
    kind: str
    version: str | None
    """`None` only for the empty origin."""
    decision: str | None
    hook_digest: str | None
    ticket: str | None
    reason: str | None
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended."""

    system: str
    environment: str
    generation: int
    outcome: str
    reason: str | None
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A definition that may not be promoted anywhere until lifted."""

    system: str
    definition: str
    version: str
    reason: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """An environment that takes no promotion until lifted."""

    system: str
    environment: str
    reason: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Lift:
    """The end of one quarantine or hold."""

    lifts: int
    """The `seq` of the quarantine or hold."""
    reason: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """An attempt together with how it ended; `outcome` is `None` while it is open."""

    attempt: Attempt
    outcome: str | None
    settled_at: datetime | None
    way_in: str | None = None
    """Of a revert, how what it put back had come to be live; `None` for every other kind."""

    @property
    def is_ungated(self) -> bool:
        """Whether somebody broke the glass for it: no gate let it in, and a rehearsal changes
        nothing about that."""
        return (self.way_in or self.attempt.kind) == "break_glass"

    @property
    def is_open(self) -> bool:
        """Whether nobody knows yet how the attempt ended."""
        return self.outcome is None
