"""What was recorded since a time, in the ledger's order, whatever it is.

- Times in the ledger never go back, so the first entry since a time is found by halving.
- Records are read page by page: a short time costs the same in a long history.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from lockgate.canonical import instant
from lockgate.domain.release import Decision, Hold, Quarantine
from lockgate.storage.rows import TABLES, build

_PAGE = 500
_CLASSES = {table: record for record, table in TABLES.items()}

Read = Callable[[str], bytes]


def records_since(connection: sqlite3.Connection, read: Read, at: datetime) -> Iterator[Any]:
    """Give every record since a time, oldest first; a decision comes without its runs."""
    after = first_since(connection, at) - 1
    while True:
        entries = connection.execute(
            "SELECT seq, kind FROM ledger WHERE seq > ? ORDER BY seq LIMIT ?", (after, _PAGE)
        ).fetchall()
        if not entries:
            return
        last = entries[-1][0]
        found = [
            record
            for kind in {kind for _, kind in entries} & _CLASSES.keys()
            for record in _of_kind(connection, read, kind, after, last)
        ]
        yield from sorted(found, key=lambda record: record.seq)
        after = last


def first_since(connection: sqlite3.Connection, at: datetime) -> int:
    """Return the number of the first ledger entry at or after a time; one beyond when there is none."""
    low, high = 1, connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM ledger").fetchone()[0]
    wanted = instant(at)
    while low < high:
        middle = (low + high) // 2
        (recorded,) = connection.execute(
            "SELECT at FROM ledger WHERE seq = ?", (middle,)
        ).fetchone()
        if recorded < wanted:
            low = middle + 1
        else:
            high = middle
    return int(low)


def _of_kind(
    connection: sqlite3.Connection, read: Read, kind: str, after: int, last: int
) -> Iterator[Any]:
    cursor = connection.execute(
        f'SELECT * FROM "{kind}" WHERE seq > ? AND seq <= ? ORDER BY seq', (after, last)
    )
    names = [column[0] for column in cursor.description]
    more = {"runs": ()} if _CLASSES[kind] is Decision else {}
    for row in cursor.fetchall():
        yield build(_CLASSES[kind], dict(zip(names, row, strict=True)), read, **more)


def lifted(connection: sqlite3.Connection, read: Read, seq: int) -> Hold | Quarantine | None:
    """Return the hold or the quarantine that a lift names."""
    for record in (Hold, Quarantine):
        found = next(_of_kind(connection, read, TABLES[record], seq - 1, seq), None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    return None
