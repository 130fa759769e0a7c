"""Versions: a definition in a history, with the label people call it by.

- The version id covers system, definition, parent and track; owner, reason and time do not count.
- Labels tell the track at a glance: `v14` release, `x9` experiment, `r3` rehearsal.
- Ids that people choose (system, owner) are plain ASCII, so that no two look alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from lockgate.canonical import digest_json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of a record that has not been appended yet."""

TRACKS = {"release": "v", "experiment": "x", "rehearsal": "r"}
"""Track to the letter its labels begin with."""

VERSION_FORMAT = 1
SYSTEM_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
PERSON_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+-]{0,62}[A-Za-z0-9])?")
LABEL_PATTERN = re.compile(r"([vxr])([1-9][0-9]{0,8})")


def system_name_problem(name: str) -> str | None:
    """Say why a text cannot name a system, a suite or an environment; `None` when it can."""
    if SYSTEM_PATTERN.fullmatch(name):
        return None
    return "needs 1 to 40 of a-z, 0-9 and `-`, with a letter or digit at both ends"


def person_problem(name: str) -> str | None:
    """Say why a text cannot name an owner, a signer or an actor; `None` when it can."""
    if PERSON_PATTERN.fullmatch(name):
        return None
    return "needs 1 to 64 of A-Z, a-z, 0-9 and `._@+-`, with a letter or digit at both ends"


def version_id(system: str, definition: str, parent: str | None, track: str) -> str:
    """Return the SHA-256 that identifies a version everywhere.

    Args:
        system: The system's name.
        definition: The definition digest.
        parent: The parent's version id; `None` for the first of a history.
        track: `release`, `experiment` or `rehearsal`.
    """
    return digest_json(
        {
            "format": VERSION_FORMAT,
            "system": system,
            "definition": definition,
            "parent": parent,
            "track": track,
        }
    )


@dataclass(frozen=True, slots=True)
class System:
    """One AI behaviour under version control."""

    name: str
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """A definition in a history, as first registered."""

    id: str
    system: str
    definition: str
    parent: str | None
    track: str
    label: str
    owner: str
    registrar: str
    reason: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Relative:
    """A version on the way up from another one, and how many steps away it is."""

    version: str
    label: str
    distance: int
