"""What has to be true of every registry at every moment, checked from the raw rows.

Each function reads the file through a connection of its own, knows nothing of the queries that the
steps use, and returns what is wrong, one line each; an empty list is a sound registry.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lockgate.canonical import digest_json

RECORDS = (
    "registry",
    "removal",
    "system",
    "version",
    "proposal",
    "policy_applied",
    "suite_applied",
    "run",
    "run_end",
    "decision",
    "approval",
    "attempt",
    "settlement",
    "quarantine",
    "hold",
    "lift",
    "note",
    "closing",
    "rehearsal",
    "review",
    "recheck",
)
"""Tables whose every row has a ledger row."""

NOT_COVERED = {"seq", "previous", "promotable"}
"""Columns that repeat others; `promotable` of a decision is its own."""

Row = dict[str, Any]


class Rows:
    """The registry's tables as lists of rows."""

    def __init__(self, root: Path) -> None:
        """Read through a new connection, and only read."""
        path = root / ".lockgate" / "registry.db"
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            known = {name for (name,) in names}
            self._tables = {
                table: self._read(connection, table)
                for table in ("ledger", "decision_run", "answer", "suite_case", *RECORDS)
                if table in known
            }
        finally:
            connection.close()

    @staticmethod
    def _read(connection: sqlite3.Connection, table: str) -> list[Row]:
        order = {"answer": "run, case_id", "decision_run": "run", "suite_case": "case_id"}
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY {order.get(table, 'seq')}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def __getattr__(self, table: str) -> list[Row]:
        return self._tables[table]


def all_problems(root: Path) -> list[str]:
    """Return everything that is wrong with a registry."""
    rows = Rows(root)
    checks = (
        ledger_problems,
        label_problems,
        generation_problems,
        run_problems,
        decision_problems,
        promotion_problems,
    )
    return [problem for check in checks for problem in check(rows)]


def ledger_problems(rows: Rows) -> Iterator[str]:
    """Check that the ledger is a chain in which time never goes back, with a row a record."""
    before, at = "0" * 64, ""
    kinds: dict[int, Row] = {}
    for number, entry in enumerate(rows.ledger, 1):
        if entry["seq"] != number:
            yield f"ledger {entry['seq']} stands where {number} should"
        if entry["prev"] != before:
            yield f"ledger {number} does not follow the one before"
        if entry["at"] < at:
            yield f"ledger {number} is earlier than the one before"
        before, at = (
            digest_json(
                {
                    "seq": entry["seq"],
                    "prev": entry["prev"],
                    "kind": entry["kind"],
                    "payload": entry["payload_digest"],
                    "at": entry["at"],
                }
            ),
            entry["at"],
        )
        kinds[number] = entry
    for table in RECORDS:
        for row in getattr(rows, table):
            entry = kinds.pop(row["seq"], {"kind": "nothing"})
            if entry["kind"] != table:
                yield f"{table} {row['seq']} has a ledger row of {entry['kind']}"
            elif entry["payload_digest"] != _payload(table, row, rows):
                yield f"{table} {row['seq']} is not what its ledger row says"
            elif entry["at"] != row["at"]:
                yield f"{table} {row['seq']} has another time than its ledger row"
    yield from (f"ledger {seq} is of no {entry['kind']}" for seq, entry in kinds.items())


def _payload(table: str, row: Row, rows: Rows) -> str:
    left_out = NOT_COVERED - {"promotable"} if table == "decision" else NOT_COVERED
    covered = {name: value for name, value in row.items() if name not in left_out}
    parts = [
        [part["run"], part["version"], part["role"]]
        for part in rows.decision_run
        if table == "decision" and part["decision"] == row["id"]
    ]
    return digest_json({"kind": table, "row": covered, "parts": sorted(parts)})


def label_problems(rows: Rows) -> Iterator[str]:
    """Check that labels are unique and count from 1 without a gap, each track by itself."""
    seen: dict[tuple[str, str], int] = {}
    letters = {"release": "v", "experiment": "x", "rehearsal": "r"}
    for version in rows.version:
        key = (version["system"], version["track"])
        seen[key] = seen.get(key, 0) + 1
        if version["label"] != f"{letters[version['track']]}{seen[key]}":
            yield f"{version['label']} of {key} should be number {seen[key]}"
    ids = [version["id"] for version in rows.version]
    if len(ids) != len(set(ids)):
        yield "a version id stands twice"


def generation_problems(rows: Rows) -> Iterator[str]:
    """Check that generations are dense, each settled before the next one is taken."""
    settled = {_place(row) + (row["generation"],): row for row in rows.settlement}
    newest: dict[tuple[str, str], int] = {}
    for attempt in rows.attempt:
        place, generation = _place(attempt), attempt["generation"]
        if generation != newest.get(place, -1) + 1:
            yield f"generation {generation} of {place} follows {newest.get(place, -1)}"
        earlier = settled.get((*place, generation - 1))
        if generation and (earlier is None or earlier["seq"] > attempt["seq"]):
            yield f"generation {generation} of {place} was taken before the last was settled"
        newest[place] = generation
    taken = {_place(row) + (row["generation"],) for row in rows.attempt}
    yield from (f"{key} is settled and was never taken" for key in settled.keys() - taken)


def _place(row: Row) -> tuple[str, str]:
    return row["system"], row["environment"]


def run_problems(rows: Rows) -> Iterator[str]:
    """Check that a completed run has an answer to every case in every repeat, and no later one."""
    cases: dict[str, set[str]] = {}
    for case in rows.suite_case:
        cases.setdefault(case["suite"], set()).add(case["case_id"])
    answered: dict[str, set[tuple[str, int]]] = {}
    scored: dict[tuple[str, str, int], int] = {}
    for answer in rows.answer:
        key = (answer["case_id"], answer["repeat"])
        answered.setdefault(answer["run"], set()).add(key)
        if answer["scores"] is not None:
            scored[answer["run"], *key] = scored.get((answer["run"], *key), 0) + 1
        elif scored.get((answer["run"], *key)):
            yield f"{key} of run {answer['run']} was asked again after it was answered"
    runs = {run["id"]: run for run in rows.run}
    for end in rows.run_end:
        run = runs[end["run"]]
        wanted = {(c, r) for c in cases[run["suite"]] for r in range(1, run["repeats"] + 1)}
        if end["outcome"] == "completed" and answered.get(run["id"], set()) != wanted:
            yield f"run {run['id']} is completed without all of its answers"
    yield from (f"{key} has {count} scores" for key, count in scored.items() if count > 1)


def decision_problems(rows: Rows) -> Iterator[str]:
    """Check that what may be promoted rests on completed runs of its version, on applied suites."""
    runs = {run["id"]: run for run in rows.run}
    ends = {end["run"]: end for end in rows.run_end if end["outcome"] == "completed"}
    for decision in rows.decision:
        parts = [part for part in rows.decision_run if part["decision"] == decision["id"]]
        for part in parts:
            end = ends.get(part["run"])
            if end is None or end["seq"] > decision["seq"]:
                yield f"decision {decision['id']} rests on a run that was not completed"
            if runs[part["run"]]["version"] != part["version"]:
                yield f"decision {decision['id']} rests on somebody else's run"
            applied = [
                row["suite"]
                for row in rows.suite_applied
                if row["seq"] < decision["seq"] and row["system"] == decision["system"]
            ]
            if runs[part["run"]]["suite"] not in applied:
                yield f"decision {decision['id']} rests on a suite that was not applied"
        own = [part for part in parts if part["version"] == decision["version"]]
        if decision["promotable"] and not own:
            yield f"decision {decision['id']} may be promoted without a run of its version"


def promotion_problems(rows: Rows) -> Iterator[str]:
    """Check that every promotion rested on a decision that was valid at that very moment."""
    versions = {version["id"]: version for version in rows.version}
    decisions = {decision["id"]: decision for decision in rows.decision}
    for attempt in rows.attempt:
        if attempt["generation"] == 0:
            continue
        where = f"generation {attempt['generation']} of {attempt['environment']}"
        version = versions[attempt["version"]]
        if version["seq"] > attempt["seq"]:
            yield f"{where} is of a version that was not registered yet"
        if attempt["kind"] == "promote":
            decision = decisions[attempt["decision"]]
            yield from (
                f"{where}: {problem}" for problem in _voids(rows, attempt, decision, version)
            )


def _voids(rows: Rows, attempt: Row, decision: Row, version: Row) -> Iterator[str]:
    about = (decision["version"], decision["environment"], decision["system"])
    if about != (attempt["version"], attempt["environment"], attempt["system"]):
        yield "its decision is about something else"
    if version["track"] != "release":
        yield f"a {version['track']} was promoted"
    if not decision["promotable"] or decision["outcome"] == "fail":
        yield "the gate had not passed it"
    if not decision["seq"] < attempt["seq"]:
        yield "it was decided afterwards"
    if attempt["at"] > decision["expires_at"]:
        yield "its decision had expired"
    between = range(decision["seq"] + 1, attempt["seq"])
    if any(row["seq"] in between for row in rows.policy_applied):
        yield "another policy was applied after its decision"
    if any(
        row["seq"] in between and row["system"] == attempt["system"] for row in rows.suite_applied
    ):
        yield "another suite was applied after its decision"
    if decision["policy"] != _newest(rows.policy_applied, attempt["seq"])["policy"]:
        yield "its decision followed another policy"
    run_version = {run["id"]: run["version"] for run in rows.run}
    compared = {attempt["version"], decision["baseline_version"]}
    if any(
        end["seq"] in between
        and end["outcome"] == "completed"
        and run_version[end["run"]] in compared
        for end in rows.run_end
    ):
        yield "another run was completed after its decision"
    live = [
        row["generation"]
        for row in rows.settlement
        if _place(row) == _place(attempt)
        and row["outcome"] == "live"
        and row["seq"] < attempt["seq"]
    ]
    if decision["baseline_generation"] != max(live, default=0):
        yield "its decision compared with something that was no longer live"
    yield from _people_problems(rows, attempt, decision, version)
    yield from _stops(rows, attempt, version)


def _people_problems(rows: Rows, attempt: Row, decision: Row, version: Row) -> Iterator[str]:
    said = [
        row
        for row in rows.approval
        if row["subject"] == decision["id"] and row["seq"] < attempt["seq"]
    ]
    if any(row["word"] == "no" for row in said):
        yield "a reviewer had said no"
    barred = {version["registrar"], version["owner"], attempt["actor"]}
    counting = {row["signer"] for row in said} - barred
    if len(counting) < decision["approvals_needed"]:
        yield f"{len(counting)} of {decision['approvals_needed']} approvals"


def _stops(rows: Rows, attempt: Row, version: Row) -> Iterator[str]:
    lifted = {row["lifts"]: row["seq"] for row in rows.lift}

    def in_force(row: Row) -> bool:
        ended = lifted.get(row["seq"])
        return row["seq"] < attempt["seq"] and (ended is None or ended > attempt["seq"])

    if any(_place(row) == _place(attempt) and in_force(row) for row in rows.hold):
        yield "the environment was held"
    if any(
        (row["system"], row["definition"]) == (version["system"], version["definition"])
        and in_force(row)
        for row in rows.quarantine
    ):
        yield "the definition was quarantined"


def requirement_problems(root: Path, requires: dict[str, list[str]]) -> Iterator[str]:
    """Check that whatever was promoted had been promoted to all that its environment requires."""
    rows = Rows(root)
    definition = {version["id"]: version["definition"] for version in rows.version}
    live = {
        (*_place(row), row["generation"]) for row in rows.settlement if row["outcome"] == "live"
    }
    passed: set[tuple[str, str, str]] = set()
    for attempt in rows.attempt:
        if attempt["kind"] != "promote":
            continue
        what = (attempt["system"], definition[attempt["version"]])
        for name in requires.get(attempt["environment"], []):
            if (name, *what) not in passed:
                yield (
                    f"generation {attempt['generation']} of {attempt['environment']} was never "
                    f"promoted to {name}"
                )
        if (*_place(attempt), attempt["generation"]) in live:
            passed.add((attempt["environment"], *what))


def way_back_problems(rows: Rows) -> Iterator[str]:
    """Check what a rollback led to, what it left behind, and that a rehearsal left nothing."""
    settled = {(*_place(row), row["generation"]): row for row in rows.settlement}
    definition = {version["id"]: version["definition"] for version in rows.version}
    lifted = {row["lifts"]: row["seq"] for row in rows.lift}
    live: dict[tuple[str, str], Row] = {}
    promoted: set[tuple[str, str, str]] = set()
    open_glass: dict[tuple[str, str], set[int]] = {}
    for attempt in sorted(rows.attempt, key=lambda row: row["seq"]):
        place = _place(attempt)
        where = f"generation {attempt['generation']} of {place}"
        if attempt["generation"] == 0:
            continue
        before = live.get(place)
        if attempt["kind"] in ("rollback", "revert") and before is None:
            yield f"{where} goes back from nothing"
            continue
        if attempt["kind"] == "rollback" and before is not None:
            if (*place, attempt["version"]) not in promoted:
                yield f"{where} goes back to what no passing gate let in"
            left = definition[before["version"]]
            if not any(
                row["definition"] == left
                and row["seq"] < attempt["seq"] + 3
                and lifted.get(row["seq"], attempt["seq"] + 1) > attempt["seq"]
                for row in rows.quarantine
            ):
                yield f"{where} left a version that is not quarantined"
            if not any(
                _place(row) == place
                and row["seq"] < attempt["seq"] + 3
                and lifted.get(row["seq"], attempt["seq"] + 1) > attempt["seq"]
                for row in rows.hold
            ):
                yield f"{where} left the environment open"
        closed = {
            row["generation"]
            for row in rows.closing
            if _place(row) == place and row["seq"] < attempt["seq"]
        }
        if attempt["kind"] == "promote" and open_glass.get(place, set()) - closed:
            yield f"{where} was promoted while a broken glass was not closed"
        settlement = settled.get((*place, attempt["generation"]))
        if settlement is not None and settlement["outcome"] == "live":
            live[place] = attempt
            if attempt["kind"] == "promote":
                promoted.add((*place, attempt["version"]))
            if attempt["kind"] == "break_glass":
                open_glass.setdefault(place, set()).add(attempt["generation"])
    breakers = {(*_place(row), row["generation"]): row["actor"] for row in rows.attempt}
    for closing in rows.closing:
        if breakers[*_place(closing), closing["generation"]] == closing["actor"]:
            yield f"generation {closing['generation']} was closed by who broke the glass"


def _newest(applied: list[Row], before: int) -> Row:
    return max((row for row in applied if row["seq"] < before), key=lambda row: row["seq"])


def identities(root: Path) -> dict[str, str]:
    """Return every version's whole row as text, by id: what may never change again."""
    return {row["id"]: json.dumps(row, sort_keys=True) for row in Rows(root).version}
