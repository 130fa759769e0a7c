"""The ledger: a hash chain of digests of everything that happened, in the order it happened.

- Each entry names the digest of the one before; the first names 64 zeros.
- Recorded time never goes below the newest entry's time, whatever the clock says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from lockgate.canonical import digest_json, instant, parse_instant
from lockgate.storage.faults import tells_faults

ORIGIN = "0" * 64
"""What the first entry names as its predecessor."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One link of the chain."""

    seq: int
    prev: str
    kind: str
    payload_digest: str
    at: str

    def digest(self) -> str:
        """Return what the next entry names as its predecessor."""
        return digest_json(
            {
                "seq": self.seq,
                "prev": self.prev,
                "kind": self.kind,
                "payload": self.payload_digest,
                "at": self.at,
            }
        )


@tells_faults
class Ledger:
    """Appends to and reads the chain over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Serve the ledger of one registry."""
        self._connection = connection

    def head(self) -> LedgerEntry | None:
        """Return the newest entry, or `None` for an empty ledger."""
        row = self._connection.execute(
            "SELECT seq, prev, kind, payload_digest, at FROM ledger ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return LedgerEntry(*row) if row else None

    def time_after(self, head: LedgerEntry | None, now: datetime) -> str:
        """Return the time to record: now, but never before the newest entry."""
        at = instant(now)
        return max(at, head.at) if head else at

    def append(
        self, head: LedgerEntry | None, kind: str, payload_digest: str, at: str
    ) -> LedgerEntry:
        """Add one entry after `head`; the caller holds the transaction."""
        entry = LedgerEntry(
            seq=head.seq + 1 if head else 1,
            prev=head.digest() if head else ORIGIN,
            kind=kind,
            payload_digest=payload_digest,
            at=at,
        )
        self._connection.execute(
            "INSERT INTO ledger (seq, prev, kind, payload_digest, at) VALUES (?, ?, ?, ?, ?)",
            (entry.seq, entry.prev, entry.kind, entry.payload_digest, entry.at),
        )
        return entry

    def entries(self, *, after: int = 0, limit: int = 500) -> Iterator[LedgerEntry]:
        """Give entries in order, oldest first, from just after `after`."""
        for row in self._connection.execute(
            "SELECT seq, prev, kind, payload_digest, at FROM ledger WHERE seq > ? "
            "ORDER BY seq LIMIT ?",
            (after, limit),
        ):
            yield LedgerEntry(*row)

    def newest_time(self) -> datetime | None:
        """Return the time of the newest entry."""
        head = self.head()
        return parse_instant(head.at) if head else None
