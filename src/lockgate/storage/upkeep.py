"""Named queries about what keeps the loop alive: notes, break-glass, rehearsals, reviews, removals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from lockgate.canonical import parse_instant
from lockgate.domain.release import Attempt, Deployment, Hold, Quarantine
from lockgate.domain.upkeep import (
    Closing,
    FullCheck,
    LedgerCheck,
    Note,
    Recheck,
    Rehearsal,
    Removal,
    Review,
)
from lockgate.storage.faults import tells_faults
from lockgate.storage.objects import LARGE_BYTES, Objects
from lockgate.storage.rows import build

_MOST = 500
"""The most rows that one question is answered with."""
_USERS_LOOKED_AT = 100
"""How many definitions with one object are looked through for the best to name."""


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
        return self._broken(
            system,
            environment,
            "AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.system = a.system "
            " AND c.environment = a.environment AND c.generation = a.generation) ",
        )

    def ungated(self, system: str, environment: str) -> list[Deployment]:
        """Return every break-glass promotion that went live, newest first."""
        return self._broken(system, environment, "")

    def _broken(self, system: str, environment: str, more: str) -> list[Deployment]:
        rows = self._rows(
            "SELECT a.*, s.outcome AS s_outcome, s.at AS s_at FROM attempt a JOIN settlement s "
            "ON s.system = a.system AND s.environment = a.environment "
            " AND s.generation = a.generation AND s.outcome = 'live' "
            f"WHERE a.system = ? AND a.environment = ? AND a.kind = 'break_glass' {more}"
            "ORDER BY a.generation DESC",
            (system, environment),
        )
        return [self._deployment(row) for row in rows]

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
        if environment is None:
            rows = self._rows(
                "SELECT * FROM rehearsal WHERE system = ? ORDER BY seq DESC LIMIT ?",
                (system, min(limit, _MOST)),
            )
        else:
            # Rehearsals of one environment are recorded in the order of their generations, which
            # have an index.
            rows = self._rows(
                "SELECT * FROM rehearsal WHERE system = ? AND environment = ? "
                "ORDER BY generation DESC LIMIT ?",
                (system, environment, min(limit, _MOST)),
            )
        return [build(Rehearsal, row, self._objects.read) for row in rows]

    def unrecorded(self, system: str, environment: str) -> list[Deployment]:
        """Return rehearsals that were live and whose end nobody has recorded, newest first."""
        rows = self._rows(
            "SELECT a.*, s.outcome AS s_outcome, s.at AS s_at FROM attempt a JOIN settlement s "
            "ON s.system = a.system AND s.environment = a.environment "
            " AND s.generation = a.generation AND s.outcome = 'live' "
            "WHERE a.system = ? AND a.environment = ? AND a.kind = 'rehearsal' "
            "AND NOT EXISTS (SELECT 1 FROM rehearsal r WHERE r.system = a.system "
            " AND r.environment = a.environment AND r.generation = a.generation) "
            "ORDER BY a.generation DESC",
            (system, environment),
        )
        return [self._deployment(row) for row in rows]

    def _deployment(self, row: dict[str, Any]) -> Deployment:
        return Deployment(
            build(Attempt, row, self._objects.read),
            row["s_outcome"],
            parse_instant(row["s_at"]),
        )

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

    def shared(
        self,
        objects: Collection[str],
        definitions: Collection[str],
        versions: Collection[str] = (),
    ) -> dict[str, str | None]:
        """Return those of some objects that something else than what is about to lose them needs.

        Everything that can name an object is read once, however many objects are asked about.

        Args:
            objects: Digests, such as those of an experiment's files and answers.
            definitions: What is about to lose them.
            versions: Whose runs' answers are about to lose them as well.

        Returns:
            Object to the digest of another definition that has it; `None` when it is not a
            definition but an answer, a case, a policy or a text that needs it.
        """
        wanted = frozenset(objects)
        found: dict[str, str | None] = dict.fromkeys(wanted & set(self._texts(wanted, versions)))
        for digest in wanted:
            user = self._user(digest, definitions)
            if user is not None:
                found[digest] = user
        return found

    def _user(self, digest: str, but: Collection[str]) -> str | None:
        """Return a definition that has an object, that of a release if one of the first is."""
        users = self._connection.execute(
            "SELECT DISTINCT e.definition, EXISTS (SELECT 1 FROM version v "
            " WHERE v.definition = e.definition AND v.track = 'release') "
            "FROM definition_entry e WHERE e.object = ?",
            (digest,),
        )
        first = None
        others = ((user, is_release) for user, is_release in users if user not in but)
        for user, is_release in islice(others, _USERS_LOOKED_AT):
            if is_release:
                return str(user)
            first = first or str(user)
        return first

    def _texts(self, wanted: frozenset[str], versions: Collection[str]) -> Iterator[str]:
        """Give all that is kept of some objects because no definition's entry names it."""
        for table, column in self._text_columns():
            for (digest,) in self._connection.execute(f'SELECT DISTINCT "{column}" FROM "{table}"'):
                if digest in wanted:
                    yield digest
        yield from self._named_in_json()
        losing = {run for (run,) in self._runs_of(versions)}
        for run, output, error in self._connection.execute("SELECT run, output, error FROM answer"):
            digest = output or error
            if digest in wanted and run not in losing:
                yield digest

    def _runs_of(self, versions: Collection[str]) -> Iterator[tuple[str]]:
        for version in versions:
            yield from self._connection.execute("SELECT id FROM run WHERE version = ?", (version,))

    def _named_in_json(self) -> Iterator[str]:
        """Give the objects that only a suite's specification or a policy names."""
        for (digest,) in self._connection.execute("SELECT DISTINCT spec FROM suite"):
            yield from json.loads(self._objects.read(digest))["files"].values()
        for (digest,) in self._connection.execute("SELECT DISTINCT rules FROM policy_applied"):
            for environment in json.loads(self._objects.read(digest)).get("environments", ()):
                yield (environment or {}).get("signers_digest") or ""

    def _text_columns(self) -> list[tuple[str, str]]:
        """Return every column that names an object, but for files, contents and answers."""
        tables = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN "
            "('definition_entry', 'content', 'answer')"
        ).fetchall()
        return [
            (table, key[3])
            for (table,) in tables
            for key in self._connection.execute(f'PRAGMA foreign_key_list("{table}")')
            if key[2] == "object" and (table, key[3]) != ("removal", "digest")
        ]

    def release_from(self, version_id: str) -> str | None:
        """Return the label of the oldest release that descends from a version."""
        row = self._connection.execute(
            "WITH RECURSIVE line(id) AS (SELECT ?"
            " UNION SELECT v.id FROM line JOIN version v ON v.parent = line.id)"
            " SELECT v.label FROM line JOIN version v ON v.id = line.id"
            " WHERE v.track = 'release' ORDER BY v.seq LIMIT 1",
            (version_id,),
        ).fetchone()
        return str(row[0]) if row else None

    def holders(self, definition: str) -> list[str]:
        """Return the ids of all versions of any system that have a definition, oldest first."""
        rows = self._connection.execute(
            "SELECT id FROM version WHERE definition = ? ORDER BY seq", (definition,)
        )
        return [version for (version,) in rows]

    def answer_objects(self, version_id: str) -> set[str]:
        """Return the digests of the outputs and errors of all of a version's answers."""
        rows = self._connection.execute(
            "SELECT a.output, a.error FROM run r JOIN answer a ON a.run = r.id WHERE r.version = ?",
            (version_id,),
        )
        return {output or error for output, error in rows}

    def unswept(self) -> list[str]:
        """Return the large objects whose content was removed and whose files may be there still."""
        rows = self._connection.execute(
            "SELECT DISTINCT r.digest FROM removal r JOIN object o ON o.digest = r.digest "
            "WHERE o.size >= ? AND NOT EXISTS (SELECT 1 FROM content c WHERE c.digest = r.digest)",
            (LARGE_BYTES,),
        ).fetchall()
        return [digest for (digest,) in rows if self._objects.has_file(digest)]

    def newest_time(self) -> datetime:
        """Return the time of the newest record."""
        (at,) = self._connection.execute(
            "SELECT at FROM ledger ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        return parse_instant(at)

    def jump(self, span: timedelta) -> tuple[datetime, datetime] | None:
        """Return the newest two neighbouring records that are further apart than a span.

        Looked at is what came after the newest removal: whoever removed something then said, or
        could see, that the clock was right.
        """
        row = self._connection.execute(
            "SELECT before, at FROM (SELECT seq, at, lag(at) OVER (ORDER BY seq) AS before "
            " FROM ledger WHERE seq >= coalesce((SELECT max(seq) FROM removal), 0)) "
            "WHERE julianday(at) - julianday(before) > ? ORDER BY seq DESC LIMIT 1",
            (span / timedelta(days=1),),
        ).fetchone()
        return (parse_instant(row[0]), parse_instant(row[1])) if row else None

    def components(self, definition: str) -> tuple[str, ...]:
        """Return the names of a definition's components, without reading its entries."""
        (names,) = self._connection.execute(
            "SELECT components FROM definition WHERE digest = ?", (definition,)
        ).fetchone()
        return tuple(json.loads(names))

    def since(self, at: datetime) -> Iterator[Any]:
        """Give every record since a time, oldest first; a decision comes without its runs."""
        from lockgate.storage.happened import records_since

        return records_since(self._connection, self._objects.read, at)

    def lifted(self, seq: int) -> Hold | Quarantine | None:
        """Return the hold or the quarantine that a lift names."""
        from lockgate.storage.happened import lifted

        return lifted(self._connection, self._objects.read, seq)

    def verify_ledger(self) -> Iterator[LedgerCheck]:
        """Hold the whole ledger against itself and against every record; see `verify`."""
        from lockgate.storage.verify import verify_ledger

        yield from verify_ledger(self._connection)
