"""What a rollback without the registry notes for it: who went back, why and when, as claimed.

- Nothing rests on a note: which version is live says the signed receipt alone.
- A note that cannot be read is as good as none, and so is one that this host did not sign.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockgate.canonical import instant, parse_instant
from lockgate.domain.payload import MAX_GENERATION
from lockgate.domain.times import shown_time
from lockgate.domain.version import person_problem

FORMAT = 1
NEAR = 100
"""How far what nobody signed may lie above the newest generation that is known, to count at all."""
MAX_WORDS = 2000
"""How much of a reason or an incident is taken over."""


@dataclass(frozen=True, slots=True)
class OfflineNote:
    """One generation that was taken without the registry."""

    system: str
    environment: str
    generation: int
    version: str
    """The id of the version it goes back to."""
    actor: str
    reason: str | None
    incident: str | None
    at: datetime
    failed: str | None = None
    """Why it came to nothing; `None` while it is under way, and once it is published."""

    def text(self) -> str:
        """Return the text that is signed: JSON, in ASCII."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "system": self.system,
            "environment": self.environment,
            "generation": self.generation,
            "version": self.version,
            "actor": self.actor,
            "reason": self.reason,
            "incident": self.incident,
            "at": instant(self.at),
            "failed": self.failed,
        }
        return json.dumps(body, sort_keys=True)

    def words(self) -> str:
        """Return what the registry keeps as the reason: where it comes from comes first."""
        words = f"made offline, as {self.actor} claims at {shown_time(self.at)}"
        return f"{words}: {self.reason}" if self.reason else words


def read_note(data: bytes) -> OfflineNote | None:
    """Return the note that some bytes are; `None` when they are none that Lockgate writes."""
    try:
        body = json.loads(data)
        if body.pop("format") != FORMAT:
            return None
        note = OfflineNote(**{**body, "at": parse_instant(body["at"])})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    texts = (note.system, note.environment, note.version, note.actor)
    extras = (note.reason, note.incident, note.failed)
    if type(note.generation) is not int or not 0 < note.generation <= MAX_GENERATION:
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    if not all(_is_kept(text) for text in extras) or person_problem(note.actor):
        return None
    return note


def _is_kept(text: object) -> bool:
    if text is None:
        return True
    if not isinstance(text, str) or len(text) > MAX_WORDS:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in text)
