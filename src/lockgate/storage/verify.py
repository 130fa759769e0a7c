"""Hold the whole ledger against itself and against every record; nothing is kept in memory.

- Numbers are dense, time never goes back, and each entry names the digest of the one before.
- Every entry has its record, with the bytes it was written with, and every record has its entry.
- What was cut off at the end, or written anew from the beginning, only a checkpoint can tell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from lockgate.domain.upkeep import LedgerBreak, LedgerCheck
from lockgate.storage.ledger import ORIGIN, LedgerEntry
from lockgate.storage.rows import payload_digest
from lockgate.storage.tables import RECORD_KEYS

_EVERY = 5000
"""How many entries are checked between two words about it."""


def verify_ledger(connection: sqlite3.Connection) -> Iterator[LedgerCheck]:
    """Check every entry and every record, oldest first; the caller holds one consistent view.

    Yields:
        How far it is, with the breaks that were found since; the last one has checked all.
    """
    (total,) = connection.execute("SELECT count(*) FROM ledger").fetchone()
    records = {kind: _Records(connection, kind) for kind in RECORD_KEYS}
    found: list[LedgerBreak] = []
    before: LedgerEntry | None = None
    checked = 0
    for row in connection.execute(
        "SELECT seq, prev, kind, payload_digest, at FROM ledger ORDER BY seq"
    ):
        entry = LedgerEntry(*row)
        found += _link(before, entry)
        held = records.get(entry.kind)
        if held is None:
            found.append(_break(entry, f"nobody knows records of kind `{entry.kind}`"))
        else:
            found += held.check(entry)
        before = entry
        checked += 1
        if checked % _EVERY == 0:
            yield LedgerCheck(checked, total, entry.at, tuple(found))
            found = []
    for held in records.values():
        found += held.rest()
    yield LedgerCheck(checked, total, before.at if before else None, tuple(found))


def _break(entry: LedgerEntry, what: str) -> LedgerBreak:
    return LedgerBreak(entry.seq, entry.kind, what)


def _link(before: LedgerEntry | None, entry: LedgerEntry) -> Iterator[LedgerBreak]:
    if entry.seq != (before.seq + 1 if before else 1):
        after = f"after entry {before.seq}" if before else "before it"
        yield _break(entry, f"entries are missing {after}")
    elif entry.prev != (before.digest() if before else ORIGIN):
        yield _break(entry, "the chain is broken: it does not follow from the entry before")
    if before is not None and entry.at < before.at:
        yield _break(entry, "its time is before that of the entry before")


class _Records:
    """The records of one kind, walked beside the ledger."""

    def __init__(self, connection: sqlite3.Connection, kind: str) -> None:
        self._connection = connection
        self._kind = kind
        cursor = connection.execute(f'SELECT * FROM "{kind}" ORDER BY seq')
        self._names = [column[0] for column in cursor.description]
        self._rows = iter(cursor)
        self._next = self._fetch()

    def _fetch(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return dict(zip(self._names, row, strict=True)) if row is not None else None

    def check(self, entry: LedgerEntry) -> Iterator[LedgerBreak]:
        """Hold the record of an entry against it."""
        yield from self._before(entry.seq)
        row = self._next
        if row is None or row["seq"] != entry.seq:
            yield _break(entry, "its record is gone")
            return
        self._next = self._fetch()
        if row["at"] != entry.at:
            yield _break(entry, "its record has another time")
        elif not self._is_same(row, entry.payload_digest):
            yield _break(entry, "its record is not what was recorded")

    def rest(self) -> Iterator[LedgerBreak]:
        """Give the records that no entry speaks of."""
        yield from self._before(None)

    def _before(self, seq: int | None) -> Iterator[LedgerBreak]:
        while self._next is not None and (seq is None or self._next["seq"] < seq):
            yield LedgerBreak(self._next["seq"], self._kind, "no entry of the ledger speaks of it")
            self._next = self._fetch()

    def _is_same(self, row: dict[str, Any], digest: str) -> bool:
        parts = None
        if self._kind == "decision":
            runs = self._connection.execute(
                "SELECT run, version, role FROM decision_run WHERE decision = ?", (row["id"],)
            )
            parts = sorted(list(run) for run in runs)
        try:
            if payload_digest(self._kind, row, parts) == digest:
                return True
            # Schema 1 wrote removals without a kind, and all of them were redactions.
            older = {name: value for name, value in row.items() if name != "kind"}
            return (
                self._kind == "removal"
                and row["kind"] == "redact"
                and payload_digest(self._kind, older) == digest
            )
        except (ValueError, TypeError):  # bytes or numbers that no record has
            return False
