"""Named queries about the policy and the suites that are applied."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from lockgate.domain.release import PolicyApplied, SuiteApplied, SuiteInfo
from lockgate.errors import IntegrityBroken
from lockgate.storage.faults import tells_faults
from lockgate.storage.objects import Objects
from lockgate.storage.rows import build

if TYPE_CHECKING:
    from lockgate.domain.suite import Suite


@tells_faults
class Applied:
    """Looks at applied policies and suites over one connection."""

    def __init__(self, connection: sqlite3.Connection, objects: Objects) -> None:
        """Serve one registry."""
        self._connection = connection
        self._objects = objects

    def policy(self) -> PolicyApplied | None:
        """Return the newest application of a policy."""
        cursor = self._connection.execute("SELECT * FROM policy_applied ORDER BY seq DESC LIMIT 1")
        row = cursor.fetchone()
        if row is None:
            return None
        names = [column[0] for column in cursor.description]
        return build(PolicyApplied, dict(zip(names, row, strict=True)), self._objects.read)

    def rules(self) -> dict[str, Any] | None:
        """Return the applied policy as the JSON value that `domain.policy` reads."""
        applied = self.policy()
        return json.loads(self._objects.read(applied.rules)) if applied else None

    def suites(self, system: str) -> dict[str, SuiteInfo]:
        """Return the suites that count for a system now, by name."""
        rows = self._connection.execute(
            "SELECT a.name, a.suite, s.cases, a.seq FROM suite_applied a "
            "JOIN suite s ON s.digest = a.suite "
            "WHERE a.system = ? AND a.seq = (SELECT max(b.seq) FROM suite_applied b "
            "WHERE b.system = a.system AND b.name = a.name) ORDER BY a.name",
            (system,),
        )
        return {
            name: SuiteInfo(digest, system, name, cases, seq) for name, digest, cases, seq in rows
        }

    def suite_history(self, system: str, name: str) -> list[SuiteApplied]:
        """Return every application of a suite under one name, newest first."""
        cursor = self._connection.execute(
            "SELECT * FROM suite_applied WHERE system = ? AND name = ? ORDER BY seq DESC LIMIT 500",
            (system, name),
        )
        names = [column[0] for column in cursor.description]
        return [
            build(SuiteApplied, dict(zip(names, row, strict=True)), self._objects.read)
            for row in cursor
        ]

    def suite_name(self, digest: str) -> str:
        """Return the name a suite digest is known by."""
        row = self._connection.execute(
            "SELECT name FROM suite WHERE digest = ?", (digest,)
        ).fetchone()
        return str(row[0]) if row else digest[:12]

    def has_suite(self, digest: str) -> bool:
        """Tell whether a suite digest is stored."""
        row = self._connection.execute("SELECT 1 FROM suite WHERE digest = ?", (digest,)).fetchone()
        return row is not None

    def suite(self, digest: str) -> Suite:
        """Return a stored suite with all its cases, in their order.

        Raises:
            LookupError: No such suite is stored, or one of its cases was redacted.
            IntegrityBroken: What is stored is not what the digest says.
        """
        from lockgate.domain.suite import case_from, suite_from

        row = self._connection.execute(
            "SELECT spec FROM suite WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            raise LookupError(f"suite {digest[:12]} is not stored")
        cases = tuple(
            case_from(json.loads(self._objects.read(body) if data is None else data))
            for body, data in self._connection.execute(
                "SELECT s.body, c.bytes FROM suite_case s LEFT JOIN content c ON c.digest = s.body "
                "WHERE s.suite = ? ORDER BY s.position",
                (digest,),
            ).fetchall()
        )
        suite = suite_from(json.loads(self._objects.read(row[0])), cases)
        if suite.digest != digest:
            raise IntegrityBroken(
                f"suite {digest[:12]} is damaged: its cases or scorers are not what was stored",
                hint="restore a backup of `.lockgate/`",
            )
        return suite

    def scorer_files(self, suite: Suite) -> dict[str, bytes]:
        """Return the python files that a suite's scorers come from, by path."""
        return {path: self._objects.read(digest) for path, digest in suite.files.items()}
