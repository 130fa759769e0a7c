"""What keeps the loop alive around it: notes, closings, rehearsals, reviews, rechecks, removals.

- A closing ends a break-glass promotion; whoever broke the glass never closes it.
- A rehearsal is detected when the gate refused the worse version; what was live is back either way.
- A review and a recheck keep what they found, so that somebody can see later what was known when.
- What is removed keeps its digest, and a record of who removed it and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lockgate.domain.release import Finding
from lockgate.domain.version import EPOCH

DETECTED, MISSED, BROKEN_OFF = "detected", "missed", "broken off"
"""How a rehearsal ends."""
CLEAN, FOUND = "clean", "findings"
"""How a review ends."""
HELD, FELL, OPEN_QUESTION = "held", "fell", "inconclusive"
"""How a recheck ends."""
EXPIRED, REDACTED = "expire", "redact"
"""Why the content of an object goes."""


@dataclass(frozen=True, slots=True)
class Note:
    """A word about one deployment, added afterwards."""

    system: str
    environment: str
    generation: int
    text: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Closing:
    """A second person's end of a break-glass promotion."""

    system: str
    environment: str
    generation: int
    """Of the break-glass promotion."""
    decision: str | None
    """The decision that passed afterwards; `None` when the version is no longer live."""
    reason: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A deliberately worse version that was deployed, judged and taken back."""

    system: str
    environment: str
    version: str
    """The worse version's id."""
    operator: str
    """How it was made worse."""
    generation: int
    """As which it was live."""
    reverted: int | None
    """The generation that took it back; `None` when somebody else had by then."""
    outcome: str
    """`detected`, `missed` or `broken off`."""
    decision: str | None
    """What the gate said of it; `None` when it came to none."""
    detect_ms: int | None
    """From live to refused."""
    restore_ms: int | None
    """From the beginning of the revert until what is live was verified."""
    findings: tuple[Finding, ...]
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Review:
    """The three questions, asked of one system, and what was found."""

    system: str
    outcome: str
    """`clean` or `findings`."""
    findings: tuple[Finding, ...]
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Recheck:
    """What is live, evaluated again although nothing of ours changed."""

    system: str
    environment: str
    generation: int
    version: str
    outcome: str
    """`held`, `fell` or `inconclusive`."""
    findings: tuple[Finding, ...]
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Removal:
    """The end of one object's content; its digest stays."""

    digest: str
    kind: str
    """`expire` or `redact`; what was redacted never comes back."""
    reason: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class FullCheck:
    """When every byte of a definition was last hashed here; a note, not a record."""

    definition: str
    at: datetime
    size_bytes: int
    problem: str | None
    """The first thing that was wrong; `None` when all was well."""


@dataclass(frozen=True, slots=True)
class LedgerBreak:
    """One place where the ledger and the records do not agree."""

    seq: int
    kind: str
    """The record's table."""
    what: str


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """How far a check of the ledger is, and what it found since it last told."""

    checked: int
    total: int
    until: str | None
    """Time of the last entry that was checked."""
    breaks: tuple[LedgerBreak, ...]
