"""Named queries about what keeps the loop alive: notes, break-glass, rehearsals, reviews, removals."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

from lockgate.canonical import parse_instant
from lockgate.domain.release import Attempt, Deployment
from lockgate.domain.upkeep import (
    Closing,
    FullCheck,
    Note,
    Recheck,
    Rehearsal,
    Removal,
    Review,
)
from lockgate.storage.faults import tells_faults
from lockgate.storage.objects import Objects
from lockgate.storage.rows import build

_MOST = 500
"""The most rows that one question is answered with."""


@tells_faults
class Upkeep:
    """Looks at the life around the loop, over one connection."""

    def __init__(self, connection: sqlite3.Connection, objects: Objects) -> None:
        """Serve one registry."""
        self._connection = connection
        self._objects = objects

    def _rows(self, sql: str, values: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return (dict(zip(names, row, strict=True)) for row in cursor.fetchall())

    def notes(self, system: str, environment: str, generation: int) -> list[Note]:
        """Return the notes on a deployment, oldest first."""
        rows = self._rows(
            "SELECT * FROM note WHERE system = ? AND environment = ? AND generation = ? "
            "ORDER BY seq",
            (system, environment, generation),
        )
        return [build(Note, row, self._objects.read) for row in rows]

    def unclosed(self, system: str, environment: str) -> list[Deployment]:
        """Return break-glass promotions that went live and that nobody has closed, newest first."""
        rows = self._rows(
            "SELECT a.*, s.outcome AS s_outcome, s.at AS s_at FROM attempt a JOIN settlement s "
            "ON s.system = a.system AND s.environment = a.environment "
            " AND s.generation = a.generation AND s.outcome = 'live' "
            "WHERE a.system = ? AND a.environment = ? AND a.kind = 'break_glass' "
            "AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.system = a.system "
            " AND c.environment = a.environment AND c.generation = a.generation) "
            "ORDER BY a.generation DESC",
            (system, environment),
        )
        return [
            Deployment(
                build(Attempt, row, self._objects.read),
                row["s_outcome"],
                parse_instant(row["s_at"]),
            )
            for row in rows
        ]

    def closing(self, system: str, environment: str, generation: int) -> Closing | None:
        """Return what closed a break-glass promotion."""
        rows = self._rows(
            "SELECT * FROM closing WHERE system = ? AND environment = ? AND generation = ?",
            (system, environment, generation),
        )
        return next((build(Closing, row, self._objects.read) for row in rows), None)

    def rehearsals(
        self, system: str, environment: str | None = None, *, limit: int = 50
    ) -> list[Rehearsal]:
        """Return rehearsals, newest first."""
        rows = self._rows(
            "SELECT * FROM rehearsal WHERE system = ? AND (? IS NULL OR environment = ?) "
            "ORDER BY seq DESC LIMIT ?",
            (system, environment, environment, min(limit, _MOST)),
        )
        return [build(Rehearsal, row, self._objects.read) for row in rows]

    def reviews(self, system: str, *, limit: int = 50) -> list[Review]:
        """Return reviews, newest first."""
        rows = self._rows(
            "SELECT * FROM review WHERE system = ? ORDER BY seq DESC LIMIT ?",
            (system, min(limit, _MOST)),
        )
        return [build(Review, row, self._objects.read) for row in rows]

    def rechecks(self, system: str, environment: str, *, limit: int = 50) -> list[Recheck]:
        """Return rechecks of an environment, newest first."""
        rows = self._rows(
            "SELECT * FROM recheck WHERE system = ? AND environment = ? ORDER BY seq DESC LIMIT ?",
            (system, environment, min(limit, _MOST)),
        )
        return [build(Recheck, row, self._objects.read) for row in rows]

    def removal(self, digest: str) -> Removal | None:
        """Return the newest removal of an object's content; it may have come back since."""
        rows = self._rows(
            "SELECT * FROM removal WHERE digest = ? ORDER BY seq DESC LIMIT 1", (digest,)
        )
        return next((build(Removal, row, self._objects.read) for row in rows), None)

    def full_check(self, definition: str) -> FullCheck | None:
        """Return when every byte of a definition was last hashed here; `None` for never."""
        rows = self._rows("SELECT * FROM full_check WHERE definition = ?", (definition,))
        return next((build(FullCheck, row, self._objects.read) for row in rows), None)

    def shared(self, objects: Collection[str], definitions: Collection[str]) -> set[str]:
        """Return those of some objects that something else than some definitions needs.

        Args:
            objects: Digests, such as those of an experiment's files.
            definitions: What is about to lose them.
        """
        found = set()
        for digest in objects:
            users = self._connection.execute(
                "SELECT definition FROM definition_entry WHERE object = ?", (digest,)
            )
            if any(user not in definitions for (user,) in users) or self._is_text(digest):
                found.add(digest)
        return found

    def _is_text(self, digest: str) -> bool:
        """Tell whether an object is anything but a file of a definition or an answer."""
        return any(
            self._connection.execute(
                f'SELECT 1 FROM "{table}" WHERE "{column}" = ? LIMIT 1', (digest,)
            ).fetchone()
            for table, column in self._text_columns()
        )

    def _text_columns(self) -> list[tuple[str, str]]:
        """Return every column that names an object, but for files, contents and answers."""
        tables = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN "
            "('definition_entry', 'content', 'answer', 'removal')"
        ).fetchall()
        return [
            (table, key[3])
            for (table,) in tables
            for key in self._connection.execute(f'PRAGMA foreign_key_list("{table}")')
            if key[2] == "object"
        ]
