"""Named queries about decisions, approvals, attempts, settlements, quarantines and holds."""

from __future__ import annotations

import sqlite3
from typing import Any

from lockgate.canonical import parse_instant
from lockgate.domain.release import (
    Approval,
    Attempt,
    Decision,
    DecisionRun,
    Deployment,
    Hold,
    Lift,
    Proposal,
    Quarantine,
)
from lockgate.errors import UsageMistake
from lockgate.storage.faults import tells_faults
from lockgate.storage.objects import Objects
from lockgate.storage.rows import build

_DEPLOYMENT = (
    "SELECT a.*, s.outcome AS s_outcome, s.at AS s_at, CASE a.kind WHEN 'revert' THEN "
    "(SELECT w.kind FROM attempt w JOIN settlement ws ON ws.system = w.system "
    " AND ws.environment = w.environment AND ws.generation = w.generation "
    " AND ws.outcome = 'live' WHERE w.system = a.system AND w.environment = a.environment "
    " AND w.generation < a.generation AND w.kind NOT IN ('rehearsal', 'revert') "
    " ORDER BY w.generation DESC LIMIT 1) END AS way_in FROM attempt a LEFT JOIN settlement s "
    "ON s.system = a.system AND s.environment = a.environment AND s.generation = a.generation"
)


@tells_faults
class Releases:
    """Looks at how versions became live, over one connection."""

    def __init__(self, connection: sqlite3.Connection, objects: Objects) -> None:
        """Serve one registry."""
        self._connection = connection
        self._objects = objects

    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        cursor = self._connection.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _deployment(self, row: dict[str, Any]) -> Deployment:
        settled = row["s_at"]
        return Deployment(
            build(Attempt, row, self._objects.read),
            row["s_outcome"],
            parse_instant(settled) if settled else None,
            row["way_in"],
        )

    def live(self, system: str, environment: str) -> Deployment | None:
        """Return the deployment that is live: the newest one settled `live`."""
        rows = self._rows(
            f"{_DEPLOYMENT} WHERE s.system = ? AND s.environment = ? AND s.outcome = 'live' "
            "ORDER BY s.generation DESC LIMIT 1",
            (system, environment),
        )
        return self._deployment(rows[0]) if rows else None

    def live_before(self, system: str, environment: str, generation: int) -> Deployment | None:
        """Return the deployment that was live just before a generation was taken."""
        rows = self._rows(
            f"{_DEPLOYMENT} WHERE s.system = ? AND s.environment = ? AND s.outcome = 'live' "
            "AND s.generation < ? ORDER BY s.generation DESC LIMIT 1",
            (system, environment, generation),
        )
        return self._deployment(rows[0]) if rows else None

    def live_release(self, system: str, environment: str) -> Deployment | None:
        """Return the newest deployment that went live and is no rehearsal.

        It is what is live, or while a rehearsal is live what that one took the place of.
        """
        rows = self._rows(
            f"{_DEPLOYMENT} WHERE s.system = ? AND s.environment = ? AND s.outcome = 'live' "
            "AND a.kind <> 'rehearsal' ORDER BY s.generation DESC LIMIT 1",
            (system, environment),
        )
        return self._deployment(rows[0]) if rows else None

    def newest(self, system: str, environment: str) -> Deployment | None:
        """Return the newest deployment, live, failed or open; `None` before the first."""
        rows = self.deployments(system, environment, limit=1)
        return rows[0] if rows else None

    def deployments(
        self, system: str, environment: str, *, before: int | None = None, limit: int = 50
    ) -> list[Deployment]:
        """Return deployments, newest first; the empty origin is not one."""
        rows = self._rows(
            f"{_DEPLOYMENT} WHERE a.system = ? AND a.environment = ? AND a.generation > 0 "
            "AND a.generation < ? ORDER BY a.generation DESC LIMIT ?",
            (system, environment, before or 1 << 62, min(limit, 500)),
        )
        return [self._deployment(row) for row in rows]

    def deployment(self, system: str, environment: str, generation: int) -> Deployment | None:
        """Return one deployment by its generation."""
        rows = self._rows(
            f"{_DEPLOYMENT} WHERE a.system = ? AND a.environment = ? AND a.generation = ?",
            (system, environment, generation),
        )
        return self._deployment(rows[0]) if rows else None

    def left(self, system: str, environment: str) -> frozenset[str]:
        """Return the definitions that a rollback ever left there."""
        rows = self._connection.execute(
            "SELECT DISTINCT v.definition FROM (SELECT a.kind, lag(a.version) "
            " OVER (ORDER BY s.generation) AS before FROM settlement s JOIN attempt a "
            "  ON a.system = s.system AND a.environment = s.environment "
            "  AND a.generation = s.generation "
            " WHERE s.system = ? AND s.environment = ? AND s.outcome = 'live') r "
            "JOIN version v ON v.id = r.before WHERE r.kind = 'rollback'",
            (system, environment),
        )
        return frozenset(definition for (definition,) in rows)

    def ever_live(self, system: str, environment: str) -> frozenset[str]:
        """Return the ids of all versions that were ever live there."""
        rows = self._connection.execute(
            "SELECT DISTINCT a.version FROM settlement s JOIN attempt a ON a.system = s.system "
            " AND a.environment = s.environment AND a.generation = s.generation "
            "WHERE s.system = ? AND s.environment = ? AND s.outcome = 'live'",
            (system, environment),
        )
        return frozenset(version for (version,) in rows)

    def promoted(self, system: str, environment: str, definition: str) -> Deployment | None:
        """Return the newest passing promotion of a definition that became live there."""
        rows = self._rows(
            f"{_DEPLOYMENT} JOIN version v ON v.id = a.version "
            "WHERE a.system = ? AND a.environment = ? AND v.definition = ? "
            "AND a.kind = 'promote' AND s.outcome = 'live' ORDER BY a.generation DESC LIMIT 1",
            (system, environment, definition),
        )
        return self._deployment(rows[0]) if rows else None

    def environments(self, system: str) -> list[str]:
        """Return the environments of a system that ever took an attempt."""
        rows = self._connection.execute(
            # One step for each environment, however many generations it has.
            "WITH RECURSIVE found(name) AS ("
            " SELECT min(environment) FROM attempt WHERE system = ?"
            " UNION ALL SELECT (SELECT min(a.environment) FROM attempt a"
            "  WHERE a.system = ? AND a.environment > found.name)"
            " FROM found WHERE found.name IS NOT NULL)"
            " SELECT name FROM found WHERE name IS NOT NULL",
            (system, system),
        )
        return [name for (name,) in rows]

    def where_live(self, system: str) -> dict[str, list[str]]:
        """Return version id to the environments where it is live now."""
        found: dict[str, list[str]] = {}
        for environment in self.environments(system):
            deployment = self.live(system, environment)
            if deployment and deployment.attempt.version:
                found.setdefault(deployment.attempt.version, []).append(environment)
        return found

    def _decision(self, row: dict[str, Any]) -> Decision:
        runs = self._connection.execute(
            "SELECT role, run, version FROM decision_run WHERE decision = ?", (row["id"],)
        )
        parts = tuple(DecisionRun(run, version, role) for role, run, version in sorted(runs))
        return build(Decision, row, self._objects.read, runs=parts)

    def decision(self, text: str) -> Decision:
        """Return the decision that an id, or the beginning of one, names.

        Raises:
            UsageMistake: None or several are named so.
        """
        rows = self._rows(
            "SELECT * FROM decision WHERE id >= ? AND id < ? LIMIT 2", (text, text + "g")
        )
        if len(rows) != 1:
            what = "several decisions begin with" if rows else "there is no decision"
            raise UsageMistake(f"{what} `{text}`", hint="`lockgate show VERSION` lists them")
        return self._decision(rows[0])

    def newest_decision(self, version_id: str, environment: str) -> Decision | None:
        """Return the newest decision about a version and an environment."""
        rows = self._rows(
            "SELECT * FROM decision WHERE version = ? AND environment = ? "
            "ORDER BY seq DESC LIMIT 1",
            (version_id, environment),
        )
        return self._decision(rows[0]) if rows else None

    def decisions(
        self, system: str, *, version_id: str | None = None, limit: int = 50
    ) -> list[Decision]:
        """Return decisions, newest first; only about one version if given."""
        if version_id is not None:
            sql = "SELECT * FROM decision WHERE version = ? ORDER BY seq DESC LIMIT ?"
            rows = self._rows(sql, (version_id, min(limit, 500)))
        else:
            sql = "SELECT * FROM decision WHERE system = ? ORDER BY seq DESC LIMIT ?"
            rows = self._rows(sql, (system, min(limit, 500)))
        return [self._decision(row) for row in rows]

    def is_void(self, decision: Decision) -> str | None:
        """Say what has moved since a decision was made, or `None` when nothing has."""
        moved = self._connection.execute(
            "SELECT CASE"
            " WHEN EXISTS (SELECT 1 FROM policy_applied WHERE seq > ?) THEN 'a newer policy applies'"
            " WHEN EXISTS (SELECT 1 FROM suite_applied WHERE seq > ? AND system = ?)"
            "  THEN 'a newer suite applies'"
            " WHEN EXISTS (SELECT 1 FROM decision WHERE version = ? AND environment = ? AND seq > ?)"
            "  THEN 'a newer decision was made'"
            " WHEN EXISTS (SELECT 1 FROM run r JOIN run_end e ON e.run = r.id"
            "  WHERE r.version IN (?, ?) AND e.seq > ? AND e.outcome = 'completed')"
            "  THEN 'a newer run was completed' END",
            (
                decision.seq,
                decision.seq,
                decision.system,
                decision.version,
                decision.environment,
                decision.seq,
                decision.version,
                decision.baseline_version,
                decision.seq,
            ),
        ).fetchone()[0]
        if moved is not None:
            return str(moved)
        live = self._compared(decision)
        generation = live.attempt.generation if live else 0
        return "something else is live now" if generation != decision.baseline_generation else None

    def _compared(self, decision: Decision) -> Deployment | None:
        """Return what a decision about this version would be compared with now."""
        track = self._connection.execute(
            "SELECT track FROM version WHERE id = ?", (decision.version,)
        ).fetchone()
        find = self.live_release if track == ("rehearsal",) else self.live
        return find(decision.system, decision.environment)

    def approvals(self, subject: str) -> list[Approval]:
        """Return what reviewers said to a decision or proposal, oldest first."""
        rows = self._rows("SELECT * FROM approval WHERE subject = ? ORDER BY seq", (subject,))
        return [build(Approval, row, self._objects.read) for row in rows]

    def proposals(self, *, kind: str | None = None) -> list[Proposal]:
        """Return proposals, newest first."""
        rows = self._rows(
            "SELECT * FROM proposal WHERE ? IS NULL OR kind = ? ORDER BY seq DESC LIMIT 500",
            (kind, kind),
        )
        return [build(Proposal, row, self._objects.read) for row in rows]

    def proposal(self, proposal_id: str) -> Proposal | None:
        """Return one proposal by its id, or the beginning of it."""
        rows = self._rows(
            "SELECT * FROM proposal WHERE id >= ? AND id < ? LIMIT 2",
            (proposal_id, proposal_id + "g"),
        )
        return build(Proposal, rows[0], self._objects.read) if len(rows) == 1 else None

    def quarantines(self, system: str, *, definition: str | None = None) -> list[Quarantine]:
        """Return quarantines that are in force, newest first."""
        rows = self._rows(
            "SELECT * FROM quarantine q WHERE q.system = ? AND (? IS NULL OR q.definition = ?) "
            "AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = q.seq) ORDER BY q.seq DESC",
            (system, definition, definition),
        )
        return [build(Quarantine, row, self._objects.read) for row in rows]

    def holds(self, system: str, environment: str | None = None) -> list[Hold]:
        """Return holds that are in force, newest first."""
        rows = self._rows(
            "SELECT * FROM hold h WHERE h.system = ? AND (? IS NULL OR h.environment = ?) "
            "AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = h.seq) ORDER BY h.seq DESC",
            (system, environment, environment),
        )
        return [build(Hold, row, self._objects.read) for row in rows]

    def lift_of(self, seq: int) -> Lift | None:
        """Return what ended a quarantine or hold."""
        rows = self._rows("SELECT * FROM lift WHERE lifts = ?", (seq,))
        return build(Lift, rows[0], self._objects.read) if rows else None
