"""Named queries about runs and answers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from lockgate.domain.evidence import Answer, CasePool, CaseScores, Run, RunEnd, RunRecord
from lockgate.errors import UsageMistake
from lockgate.storage.faults import tells_faults
from lockgate.storage.objects import Missing, Objects
from lockgate.storage.rows import build


@tells_faults
class Runs:
    """Looks at runs and answers over one connection."""

    def __init__(self, connection: sqlite3.Connection, objects: Objects) -> None:
        """Serve one registry."""
        self._connection = connection
        self._objects = objects

    def get(self, text: str) -> RunRecord:
        """Return the run that an id, or the beginning of one, names.

        Raises:
            UsageMistake: None or several are named so.
        """
        found = self._records("r.id >= ? AND r.id < ?", (text, text + "g"), order="r.id", limit=2)
        if len(found) == 1:
            return found[0]
        what = "several runs begin with" if found else "there is no run"
        raise UsageMistake(f"{what} `{text}`", hint="`lockgate show VERSION` lists its runs")

    def of_version(self, version_id: str, suite: str | None = None) -> list[RunRecord]:
        """Return all runs of a version, oldest first; only those on one suite digest if given."""
        if suite is None:
            return self._records("r.version = ?", (version_id,))
        return self._records("r.version = ? AND r.suite = ?", (version_id, suite))

    def completed(self, version_id: str, suite: str) -> list[RunRecord]:
        """Return all completed runs of a version on a suite digest, oldest first."""
        return self._records(
            "r.version = ? AND r.suite = ? AND e.outcome = 'completed'", (version_id, suite)
        )

    def open(self, system: str) -> list[RunRecord]:
        """Return runs of a system that have not ended, newest first."""
        return self._records(
            "r.seq IN (SELECT seq FROM run_open WHERE system = ? ORDER BY seq DESC LIMIT 50) "
            "AND e.run IS NULL",
            (system,),
            order="r.seq DESC",
        )

    def _records(
        self, where: str, values: tuple[Any, ...], *, order: str = "r.seq", limit: int = -1
    ) -> list[RunRecord]:
        # No limit is SQLite's -1: a run that was left out here would be left out of the evidence.
        cursor = self._connection.execute(
            "SELECT r.*, e.seq AS e_seq, e.outcome, e.answers, e.errors, e.answers_digest, "
            "e.summary, e.actor AS e_actor, e.at AS e_at "
            f"FROM run r LEFT JOIN run_end e ON e.run = r.id WHERE {where} "
            f"ORDER BY {order} LIMIT {limit}",
            values,
        )
        names = [column[0] for column in cursor.description]
        records = []
        for row in cursor:
            held = dict(zip(names, row, strict=True))
            end = None
            if held["e_seq"] is not None:
                ended = {
                    **held,
                    "run": held["id"],
                    "seq": held["e_seq"],
                    "actor": held["e_actor"],
                    "at": held["e_at"],
                }
                end = build(RunEnd, ended, self._objects.read)
            records.append(RunRecord(build(Run, held, self._objects.read), end))
        return records

    def asked(self, run_id: str) -> dict[tuple[str, int], tuple[int, bool]]:
        """Return what a run has so far: (case, repeat) to (number of askings, has a score)."""
        return {
            (case, repeat): (askings, bool(scored))
            for case, repeat, askings, scored in self._connection.execute(
                "SELECT case_id, repeat, count(*), count(scores) FROM answer "
                "WHERE run = ? GROUP BY case_id, repeat",
                (run_id,),
            )
        }

    def raw_answers(self, run_id: str) -> Iterator[Answer]:
        """Give a run's answers in a fixed order, outputs and errors as digests."""
        for (
            case,
            repeat,
            asking,
            scores,
            error,
            output,
            latency,
            t_in,
            t_out,
        ) in self._connection.execute(
            "SELECT case_id, repeat, asking, scores, error, output, latency_ms, tokens_in, "
            "tokens_out FROM answer WHERE run = ? ORDER BY case_id, repeat, asking",
            (run_id,),
        ):
            held = json.loads(scores) if scores is not None else None
            yield Answer(run_id, case, repeat, asking, held, error, output, latency, t_in, t_out)

    def failures(self, run_id: str, limit: int) -> list[tuple[str, str]]:
        """Return why cases still have no score: for each different error a case and its text.

        Args:
            run_id: The run.
            limit: How many at most; nothing else is read.
        """
        rows = self._connection.execute(
            "SELECT min(a.case_id), a.error FROM answer a WHERE a.run = ? AND a.error IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM answer s WHERE s.run = a.run AND s.case_id = a.case_id "
            "AND s.repeat = a.repeat AND s.scores IS NOT NULL) "
            "GROUP BY a.error ORDER BY 1 LIMIT ?",
            (run_id, limit),
        ).fetchall()
        return [(case, self._error_text(error)) for case, error in rows]

    def _error_text(self, digest: str) -> str:
        try:
            return self._objects.read(digest).decode("utf-8")
        except Missing:
            return self._gone(digest)

    def answers(self, run_id: str, cases: Iterable[str] | None = None) -> list[Answer]:
        """Return answers with their outputs and errors as text.

        Args:
            run_id: The run.
            cases: Only these cases; `None` for all.
        """
        wanted = None if cases is None else set(cases)
        return [
            self._with_text(answer)
            for answer in self.raw_answers(run_id)
            if wanted is None or answer.case in wanted
        ]

    def _with_text(self, answer: Answer) -> Answer:
        error, output = answer.error, answer.output
        try:
            error = self._objects.read(error).decode() if error else None
            output = json.loads(self._objects.read(output)) if output else None
        except Missing:
            gone = self._gone(str(error or output))
            error, output = (error and gone), (output and gone)
        return Answer(
            answer.run,
            answer.case,
            answer.repeat,
            answer.asking,
            answer.scores,
            error,
            output,
            answer.latency_ms,
            answer.tokens_in,
            answer.tokens_out,
        )

    def _gone(self, digest: str) -> str:
        """Return what stands in the place of a text whose content is gone."""
        row = self._connection.execute(
            "SELECT kind FROM removal WHERE digest = ? ORDER BY seq DESC LIMIT 1", (digest,)
        ).fetchone()
        return "(expired)" if row == ("expire",) else "(redacted)"

    def pooled(self, runs: Iterable[str]) -> CaseScores:
        """Return what some runs together say about each case."""
        pool = CasePool()
        for run_id in runs:
            for answer in self.raw_answers(run_id):
                pool.add(answer)
        return pool.result()
