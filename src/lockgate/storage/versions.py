"""Named queries about systems, definitions, versions and how they descend from each other."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from itertools import count
from operator import itemgetter
from typing import Any

from lockgate.canonical import parse_instant
from lockgate.domain.components import Definition, Entry, definition_from_entries
from lockgate.domain.version import LABEL_PATTERN, TRACKS, Relative, Version
from lockgate.errors import IntegrityBroken, UsageMistake
from lockgate.storage.faults import tells_faults

_COLUMNS = (
    "v.id, v.system, v.definition, v.parent, v.track, v.label, v.owner, v.registrar, "
    "c.bytes, v.at, v.seq"
)
_FROM = "FROM version v LEFT JOIN content c ON c.digest = v.reason"
MAX_PAGE = 500
_SEARCHED = ("label", "owner", "reason", "prompt")
"""The columns of the search index."""
_first, _second = itemgetter(0), itemgetter(1)


def _version(row: tuple[Any, ...]) -> Version:
    *fields, reason, at, seq = row
    text = reason.decode("utf-8") if reason is not None else "(redacted)"
    return Version(*fields, text, parse_instant(at), seq)  # type: ignore[call-arg]


@tells_faults
class Versions:
    """Looks at systems and versions over one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Serve one registry."""
        self._connection = connection

    def systems(self) -> list[str]:
        """Return the names of all systems, in the order they came."""
        return [
            name for (name,) in self._connection.execute("SELECT name FROM system ORDER BY seq")
        ]

    def get(self, version_id: str) -> Version | None:
        """Return the version with a whole id."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE v.id = ?", (version_id,)
        ).fetchone()
        return _version(row) if row else None

    def named(self, system: str, text: str) -> Version:
        """Return the version that a label or the beginning of an id names.

        Raises:
            UsageMistake: None or several are named so; the hint lists what there is.
        """
        if LABEL_PATTERN.fullmatch(text):
            row = self._connection.execute(
                f"SELECT {_COLUMNS} {_FROM} WHERE v.system = ? AND v.label = ?", (system, text)
            ).fetchone()
            if row:
                return _version(row)
        elif len(text) >= 4 and all(letter in "0123456789abcdef" for letter in text):
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} {_FROM} "
                # The plus keeps SQLite from walking through all versions of the system instead.
                "WHERE v.id >= ? AND v.id < ? AND +v.system = ? LIMIT 3",
                (text, text + "g", system),
            ).fetchall()
            if len(rows) == 1:
                return _version(rows[0])
            if rows:
                raise UsageMistake(
                    f"`{text}` begins the ids of several versions",
                    hint=f"use one of {', '.join(_version(row).label for row in rows)}",
                )
        newest = self.page(system, limit=5)
        there = ", ".join(version.label for version in newest)
        raise UsageMistake(
            f"there is no version `{text}` in `{system}`",
            hint=(
                f"newest are {there}; `lockgate log --all -s {system}` lists all"
                if newest
                else f"register the first: `lockgate register -s {system} -m REASON`"
            ),
        )

    def page(
        self,
        system: str,
        *,
        before: int | None = None,
        limit: int = 50,
        track: str | None = None,
    ) -> list[Version]:
        """Return versions, newest first.

        Args:
            system: The system.
            before: Only versions whose `seq` is below this one: the last of the page before.
            limit: At most 500.
            track: Only this track.
        """
        conditions, values = ["v.system = ?"], [system]
        if track is not None:
            conditions.append("v.track = ?")
            values.append(track)
        sql = (
            f"SELECT {_COLUMNS} {_FROM} WHERE {' AND '.join(conditions)} AND v.seq < ? "
            "ORDER BY v.seq DESC LIMIT ?"
        )
        rows = self._connection.execute(sql, (*values, before or 1 << 62, min(limit, MAX_PAGE)))
        return [_version(row) for row in rows]

    def count(self, system: str) -> int:
        """Return how many versions a system has, by the newest label of each track.

        Labels are given out without gaps and no version ever goes, so nothing has to be counted:
        that would visit every version on each page.
        """
        found = 0
        for track in TRACKS:
            (number,) = self._connection.execute(
                "SELECT coalesce((SELECT CAST(substr(label, 2) AS INTEGER) FROM version "
                "WHERE system = ? AND track = ? ORDER BY seq DESC LIMIT 1), 0)",
                (system, track),
            ).fetchone()
            found += number
        return found

    def children(self, version_id: str) -> list[Version]:
        """Return the versions that were registered on top of one, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE v.parent = ? ORDER BY v.seq", (version_id,)
        )
        return [_version(row) for row in rows]

    def with_definition(self, system: str, definition: str) -> list[Version]:
        """Return every version of a system that has this definition, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE v.definition = ? AND v.system = ? ORDER BY v.seq",
            (definition, system),
        )
        return [_version(row) for row in rows]

    def ancestors(self, version_id: str, *, limit: int = 1_000_000) -> Iterator[Relative]:
        """Give a version and all it descends from, nearest first."""
        line = self._connection.execute(
            "WITH RECURSIVE line(parent, version, label) AS ("
            " SELECT parent, version, label FROM lineage"
            "  WHERE seq = (SELECT seq FROM version WHERE id = ?)"
            " UNION ALL SELECT l.parent, l.version, l.label"
            " FROM line JOIN lineage l ON l.seq = line.parent LIMIT ?)"
            " SELECT version, label FROM line",
            (version_id, limit),
        )
        distance = count()
        while rows := line.fetchmany(1000):
            yield from map(Relative, map(_first, rows), map(_second, rows), distance)

    def descends(self, version_id: str, ancestor_id: str) -> bool:
        """Tell whether a version is, or comes from, another one."""
        seq, ancestor_seq = (
            self._connection.execute("SELECT seq FROM version WHERE id = ?", (one,)).fetchone()
            for one in (version_id, ancestor_id)
        )
        if seq is None or ancestor_seq is None:
            return False
        (oldest,) = self._connection.execute(
            # A parent's number is below its children's, so the walk can end at the ancestor's.
            "WITH RECURSIVE line(seq) AS (SELECT ?"
            " UNION ALL SELECT l.parent FROM line JOIN lineage l ON l.seq = line.seq"
            "  WHERE l.parent >= ?)"
            " SELECT min(seq) FROM line",
            (*seq, *ancestor_seq),
        ).fetchone()
        return bool(oldest == ancestor_seq[0])

    def definition(self, digest: str) -> Definition:
        """Return a registered definition.

        Raises:
            LookupError: No such definition is registered.
            IntegrityBroken: What is stored is not what the digest says.
        """
        row = self._connection.execute(
            "SELECT components FROM definition WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            raise LookupError(f"definition {digest[:12]} is not registered")
        entries = [
            Entry(component, kind, key, json.loads(value) if kind == "setting" else held)
            for component, kind, key, value, held in self._connection.execute(
                "SELECT component, kind, key, value, object FROM definition_entry "
                "WHERE definition = ?",
                (digest,),
            )
        ]
        definition = definition_from_entries(tuple(json.loads(row[0])), entries)
        if definition.digest != digest:
            raise IntegrityBroken(
                f"definition {digest[:12]} is damaged: its entries are not what was registered",
                hint="restore a backup of `.lockgate/`",
            )
        return definition

    def search(self, system: str | None, text: str, *, limit: int = 50) -> list[Version]:
        """Return versions whose label, owner, reason or prompt hold all words of a text.

        Args:
            system: Only this system; `None` searches all.
            text: Words as a person types them; the last may be the beginning of one.
            limit: At most 500; newest first.
        """
        words = _words(text)
        if not words:
            return []
        query = " ".join(words)
        where, values = ("AND v.system = ?", [system]) if system else ("", [])
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM version_text t JOIN version v ON v.seq = t.rowid "
            f"LEFT JOIN content c ON c.digest = v.reason "
            f"WHERE version_text MATCH ? {where} ORDER BY t.rowid DESC LIMIT ?",
            (query, *values, min(limit, MAX_PAGE)),
        )
        return [_version(row) for row in rows]

    def matched(self, versions: Collection[Version], text: str) -> dict[str, tuple[str, ...]]:
        """Return where some versions that `search` found hold any word of the text.

        Returns:
            Version id to some of `label`, `owner`, `reason` and `prompt`.
        """
        words = " OR ".join(_words(text))
        return {
            version.id: tuple(
                column
                for column in _SEARCHED
                if self._connection.execute(
                    "SELECT 1 FROM version_text WHERE version_text MATCH ? AND rowid = ?",
                    (f"{column} : ({words})", version.seq),
                ).fetchone()
            )
            for version in versions
        }


def _words(text: str) -> list[str]:
    """Return the words of a text as FTS5 takes them; the last may be the beginning of one."""
    clean = text.replace("\0", " ").encode("utf-8", "replace").decode()
    words = ['"{}"'.format(word.replace('"', '""')) for word in clean.split()]
    return [*words[:-1], f"{words[-1]}*"] if words else []
