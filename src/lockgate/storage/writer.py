"""One write transaction: what may be put into the registry, and in which company.

- A record and its ledger row are written together or not at all.
- Labels, generations and ledger numbers are given out inside the transaction.
- Texts are kept as objects, and searched through an index that can be built anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from lockgate.canonical import canonical_json, instant, parse_instant
from lockgate.domain.components import Definition
from lockgate.domain.evidence import Answer, Answered, MetricSummary, Run, RunEnd, answered
from lockgate.domain.release import Attempt, Decision
from lockgate.domain.upkeep import Removal
from lockgate.domain.version import TRACKS, System, Version
from lockgate.errors import Busy, Rejected
from lockgate.storage import rows
from lockgate.storage.ledger import Ledger
from lockgate.storage.objects import Objects
from lockgate.storage.runs import Runs

if TYPE_CHECKING:
    from lockgate.domain.suite import Suite
    from lockgate.domain.upkeep import FullCheck
    from lockgate.ports import Clock

R = TypeVar("R")

MAX_INDEXED_PROMPT_BYTES = 256 * 1024
"""How much prompt text of one version the search index takes."""
LEASE_S = 60.0
"""How long a holder that nobody can look at counts as alive after it was heard of."""


def process_start(pid: int) -> str | None:
    """Return when a process of this host began, as an opaque mark.

    `None` when it is gone, and for every process where there is no `/proc`.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rsplit(")", 1)[-1].split()[19]


class Writer:
    """Writes records within one transaction that the registry began and will end."""

    def __init__(
        self, connection: sqlite3.Connection, objects: Objects, ledger: Ledger, clock: Clock
    ) -> None:
        """Write over a connection whose transaction is open."""
        self._connection = connection
        self._objects = objects
        self._ledger = ledger
        self._clock = clock
        self._head = ledger.head()

    def append(self, record: R) -> R:
        """Add one record to its table and to the ledger.

        Returns:
            The record with the `seq` and `at` it got.

        Raises:
            Rejected: A key, CHECK or trigger refused it, or one of its texts is no text; the
                whole transaction is undone.
        """
        try:
            return self._append(record)
        except UnicodeEncodeError as error:
            raise Rejected(
                f"the registry refused it: a {rows.TABLES[type(record)]} has a text that is not "
                f"text: {error.object[error.start : error.end]!r} at {error.start + 1}",
                hint="write it in UTF-8",
            ) from error

    def _append(self, record: R) -> R:
        kind = rows.TABLES[type(record)]
        at = self._ledger.time_after(self._head, self._clock.now())
        row = rows.columns(record, self._objects.put)
        row["at"] = at
        if isinstance(record, Attempt):
            row["previous"] = record.generation - 1 if record.generation else None
            row["promotable"] = 1 if record.kind == "promote" else None
        parts = rows.decision_parts(record) if isinstance(record, Decision) else None
        digest = rows.payload_digest(kind, row, parts)
        self._head = self._ledger.append(self._head, kind, digest, at)
        if isinstance(record, Decision):
            self._connection.executemany(
                "INSERT INTO decision_run (decision, run, version, role, outcome) "
                "VALUES (?, ?, ?, ?, 'completed')",
                [(record.id, part.run, part.version, part.role) for part in record.runs],
            )
        row["seq"] = self._head.seq
        self._insert(kind, row)
        return dataclasses.replace(  # type: ignore[type-var]
            record, at=parse_instant(at), seq=self._head.seq
        )

    def append_registry(self, registry_id: str, epoch: int, actor: str) -> None:
        """Record the registry's own identity, the first entry of every ledger."""
        at = self._ledger.time_after(self._head, self._clock.now())
        row: dict[str, Any] = {"epoch": epoch, "id": registry_id, "actor": actor, "at": at}
        digest = rows.payload_digest("registry", row)
        self._head = self._ledger.append(self._head, "registry", digest, at)
        self._insert("registry", {**row, "seq": self._head.seq})

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self._connection.execute(
            f'INSERT INTO "{table}" ({names}) VALUES ({marks})', tuple(row.values())
        )

    def put(self, data: bytes) -> str:
        """Keep some bytes as an object and return their digest."""
        return self._objects.put(data)

    def put_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Keep a file's bytes, hashed again on the way.

        Raises:
            IntegrityBroken: The file has other bytes than the digest says.
        """
        self._objects.put_file(source, digest, size_bytes)

    def ensure_system(self, name: str, actor: str) -> None:
        """Record a system unless it is there."""
        row = self._connection.execute("SELECT 1 FROM system WHERE name = ?", (name,)).fetchone()
        if row is None:
            self.append(System(name, actor))

    def add_definition(self, definition: Definition) -> None:
        """Store a definition whose files are stored already; does nothing when it is there."""
        row = self._connection.execute(
            "SELECT 1 FROM definition WHERE digest = ?", (definition.digest,)
        ).fetchone()
        if row is not None:
            return
        for entry in definition.entries():
            is_setting = entry.kind == "setting"
            value = canonical_json(entry.value).decode() if is_setting else None
            self._connection.execute(
                "INSERT INTO definition_entry (definition, component, kind, key, value, object) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    definition.digest,
                    entry.component,
                    entry.kind,
                    entry.key,
                    value,
                    None if is_setting else entry.value,
                ),
            )
        self._connection.execute(
            "INSERT INTO definition (digest, components) VALUES (?, ?)",
            (definition.digest, json.dumps(definition.ordered())),
        )

    def next_label(self, system: str, track: str) -> str:
        """Return the next free label of a track."""
        (newest,) = self._connection.execute(
            "SELECT coalesce((SELECT CAST(substr(label, 2) AS INTEGER) FROM version "
            "WHERE system = ? AND track = ? ORDER BY seq DESC LIMIT 1), 0)",
            (system, track),
        ).fetchone()
        return f"{TRACKS[track]}{newest + 1}"

    def add_version(self, version: Version, prompt_text: str) -> Version:
        """Record a version and make it searchable."""
        added = self.append(version)
        self._connection.execute(
            "INSERT INTO version_text (rowid, label, owner, reason, prompt) VALUES (?, ?, ?, ?, ?)",
            (
                added.seq,
                added.label,
                added.owner,
                added.reason,
                prompt_text[:MAX_INDEXED_PROMPT_BYTES].encode("utf-8", "replace").decode(),
            ),
        )
        return added

    def add_suite(self, suite: Suite, files: Mapping[str, bytes]) -> None:
        """Store a suite with its cases; does nothing when it is there."""
        row = self._connection.execute(
            "SELECT 1 FROM suite WHERE digest = ?", (suite.digest,)
        ).fetchone()
        if row is not None:
            return
        for data in files.values():
            self._objects.put(data)
        put = self._objects.put
        spec = put(canonical_json(suite.spec_body()))
        self._connection.executemany(
            "INSERT INTO suite_case (suite, case_id, position, body) VALUES (?, ?, ?, ?)",
            [
                (suite.digest, case.id, position, put(case.line()))
                for position, case in enumerate(suite.cases)
            ],
        )
        self._connection.execute(
            "INSERT INTO suite (digest, system, name, spec, cases) VALUES (?, ?, ?, ?, ?)",
            (suite.digest, suite.system, suite.name, spec, len(suite.cases)),
        )

    def add_answers(self, answers: Iterable[Answer]) -> None:
        """Store a batch of answers of open runs."""
        put = self._objects.put
        self._connection.executemany(
            "INSERT INTO answer (run, case_id, repeat, asking, scores, error, output, latency_ms, "
            "tokens_in, tokens_out) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    answer.run,
                    answer.case,
                    answer.repeat,
                    answer.asking,
                    json.dumps(dict(answer.scores)) if answer.scores is not None else None,
                    put(answer.error.encode("utf-8", "replace"))
                    if answer.error is not None
                    else None,
                    put(_output_bytes(answer.output)) if answer.error is None else None,
                    answer.latency_ms,
                    answer.tokens_in,
                    answer.tokens_out,
                )
                for answer in answers
            ],
        )

    def end_run(
        self,
        run: Run,
        outcome: str,
        summary: tuple[MetricSummary, ...],
        actor: str,
        came_to: Answered | None = None,
    ) -> RunEnd:
        """End a run: from here on its answers are fixed and covered by the ledger.

        Args:
            run: An open run.
            outcome: `completed` or `voided`.
            summary: Its metrics; none of a voided run.
            actor: Who ends it.
            came_to: What its answers come to, read before this transaction so that nobody waits
                for it; `None` reads them here.

        Raises:
            Rejected: Answers are missing, it has ended, or it has more answers by now than
                `came_to` says.
        """
        fixed = came_to or answered(Runs(self._connection, self._objects).raw_answers(run.id))
        # Answers are only ever added, so as many as were read are those that were read; a trigger
        # counts them.
        return self.append(
            RunEnd(run.id, outcome, fixed.answers, fixed.errors, fixed.digest, summary, actor)
        )

    def remove_content(self, digest: str, kind: str, reason: str, actor: str) -> None:
        """End an object's content, with a record of it; its digest stays.

        Does nothing when there is no content. The file of a large one goes with `sweep_files`.

        Args:
            digest: Of the object.
            kind: `expire` or `redact`.
            reason: Why.
            actor: Who removes it.

        Raises:
            Rejected: A release needs it.
        """
        if self._objects.size(digest) is None:
            return
        self.append(Removal(digest, kind, reason, actor))
        self._connection.execute("DELETE FROM content WHERE digest = ?", (digest,))

    def sweep_files(self, digests: Iterable[str]) -> int:
        """Delete the files of objects that have no content any more; returns how many.

        Has to be a transaction after the one that removed them: had that been undone, the
        content would be there and its file gone.
        """
        return sum(self._objects.drop_file(digest) for digest in digests)

    def note_full_check(self, check: FullCheck) -> None:
        """Note that every byte of a definition was hashed; replaces the note before it."""
        self._connection.execute(
            "INSERT INTO full_check (definition, at, size_bytes, problem) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (definition) DO UPDATE SET at = excluded.at, "
            "size_bytes = excluded.size_bytes, problem = excluded.problem",
            (check.definition, instant(check.at), check.size_bytes, check.problem),
        )

    def take_lease(self, subject: str, holder: str) -> None:
        """Say that this process works on something; one at a time.

        Raises:
            Busy: A living process holds it, or one that cannot be looked at from here and was
                heard of within `LEASE_S`.
        """
        row = self._connection.execute(
            "SELECT holder, pid, started, host, heartbeat FROM lease WHERE subject = ?", (subject,)
        ).fetchone()
        now = self._clock.now()
        if row is not None:
            who, pid, started, host, heartbeat = row
            if _is_held(pid, started, host, now - parse_instant(heartbeat)):
                raise Busy(
                    f"`{subject}` is being worked on by {who} (process {pid} on {host})",
                    hint="wait for it, or stop that process and run this again",
                )
        self._connection.execute(
            "INSERT INTO lease (subject, holder, pid, started, host, heartbeat) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (subject) DO UPDATE SET "
            "holder = excluded.holder, pid = excluded.pid, started = excluded.started, "
            "host = excluded.host, heartbeat = excluded.heartbeat",
            (
                subject,
                holder,
                os.getpid(),
                process_start(os.getpid()) or "",
                socket.gethostname(),
                instant(now),
            ),
        )

    def renew_lease(self, subject: str) -> None:
        """Say that this process is still at work."""
        self._connection.execute(
            "UPDATE lease SET heartbeat = ? WHERE subject = ? AND pid = ? AND host = ?",
            (instant(self._clock.now()), subject, os.getpid(), socket.gethostname()),
        )

    def drop_lease(self, subject: str) -> None:
        """Say that this process is done with something."""
        self._connection.execute(
            "DELETE FROM lease WHERE subject = ? AND pid = ? AND host = ?",
            (subject, os.getpid(), socket.gethostname()),
        )


def _is_held(pid: int, started: str, host: str, unheard: timedelta) -> bool:
    """Tell whether the process that a lease names may still be at work.

    Args:
        pid: Its number on its host.
        started: When it began there; empty where that cannot be told.
        host: Where it runs.
        unheard: How long ago it last said that it is at work; below zero when the clocks of two
            hosts differ, which a minute of it may, so that nobody is robbed by a fast clock.
    """
    if host == socket.gethostname():
        if pid == os.getpid():
            return False
        if started and process_start(os.getpid()) is not None:
            return process_start(pid) == started
    return abs(unheard.total_seconds()) < LEASE_S


def _output_bytes(output: Any) -> bytes:
    return json.dumps(output, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
