"""The registry at size: pages and ancestry at a million versions, promotions, writers at once.

The big registry is made with the triggers taken off for a moment; what is written is what the
loop would have written: ids, labels, parents, the chain of digests.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lockgate.canonical import digest_bytes, instant
from lockgate.domain.release import Hold, Settlement
from lockgate.domain.version import Version, version_id
from lockgate.storage import schema
from lockgate.storage.ledger import LedgerEntry
from lockgate.storage.registry import FILE, FOLDER, Registry, open_registry
from lockgate.storage.rows import payload_digest
from tests.builders import (
    SYSTEM,
    FixedClock,
    add_version,
    attempt_of,
    complete_run,
    make_live,
    make_registry,
    pass_decision,
    suite_of,
)

Row = tuple[str, float, float, str, float]

VERSIONS = 1_000_000
DEPTH = 10_000
"""Versions in one line of ancestors; lines branch off the first version."""
DEFINITIONS = 997
WRITERS = 8
APPENDS = 60
"""Records that each of the writers adds, one transaction each."""


def median_s(act: Callable[[], object], rounds: int) -> float:
    """Return the median time of some rounds, after one to warm up."""
    act()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def big_registry(root: Path, count: int, depth: int = DEPTH) -> Registry:
    """Make a registry with many versions in long lines."""
    root.mkdir()
    with_definitions = make_registry(root)
    add_version(with_definitions, "prompt 0")
    head = with_definitions.ledger.head()
    first = with_definitions.versions.named(SYSTEM, "v1")
    with_definitions.close()
    assert head is not None
    connection = sqlite3.connect(root / FOLDER / FILE, isolation_level=None)
    for pragma in ("synchronous = OFF", "cache_size = -1000000", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    dropped = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR "
        "(type = 'index' AND tbl_name = 'version' AND sql IS NOT NULL)"
    ).fetchall()
    connection.execute("BEGIN IMMEDIATE")
    for name, sql in dropped:
        connection.execute(f'DROP {"INDEX" if " INDEX " in sql[:20] else "TRIGGER"} "{name}"')
    _fill(connection, head, first, count, depth)
    for _, sql in dropped:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return open_registry(root, clock=FixedClock())


def _fill(
    connection: sqlite3.Connection, head: LedgerEntry, first: Version, count: int, depth: int
) -> None:
    definitions, reasons = [], []
    for number in range(DEFINITIONS):
        definition, reason = digest_bytes(b"definition %d" % number), b"reason %d" % number
        definitions.append(definition)
        reasons.append(digest_bytes(reason))
        connection.execute("INSERT INTO definition VALUES (?, '[]')", (definition,))
        connection.execute("INSERT INTO object VALUES (?, ?)", (reasons[-1], len(reason)))
        connection.execute(
            "INSERT INTO content (digest, bytes) VALUES (?, ?)", (reasons[-1], reason)
        )
    links: list[tuple[object, ...]] = []
    lineage: list[tuple[object, ...]] = []

    def versions() -> Iterator[tuple[object, ...]]:
        entry, at = head, instant(FixedClock().now())
        parent, parent_seq = first.id, first.seq
        for number in range(2, count + 1):
            if number % depth == 2 % depth:
                parent, parent_seq = first.id, first.seq
            definition = definitions[(number + number // depth) % DEFINITIONS]
            reason = reasons[number % DEFINITIONS]
            own = version_id(SYSTEM, definition, parent, "release")
            row = {
                "id": own,
                "system": SYSTEM,
                "definition": definition,
                "parent": parent,
                "track": "release",
                "label": f"v{number}",
                "owner": "support-ml",
                "registrar": "support-dev",
                "reason": reason,
                "at": at,
            }
            entry = LedgerEntry(
                entry.seq + 1, entry.digest(), "version", payload_digest("version", row), at
            )
            links.append((entry.seq, entry.prev, entry.kind, entry.payload_digest, entry.at))
            lineage.append((entry.seq, parent_seq, own, row["label"]))
            yield (entry.seq, *row.values())
            parent, parent_seq = own, entry.seq

    connection.executemany(
        "INSERT INTO version (seq, id, system, definition, parent, track, label, owner, registrar, "
        "reason, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        versions(),
    )
    connection.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?)", links)
    connection.executemany("INSERT INTO lineage VALUES (?, ?, ?, ?)", lineage)


def _pages(folder: Path, count: int) -> Iterator[Row]:
    small = big_registry(folder / "small", 1_000)
    big = big_registry(folder / "big", count, min(DEPTH, count))
    assert schema.schema_digest(big._connection) == schema.schema_digest(small._connection)
    assert big.is_writable
    raw = sqlite3.connect(folder / "big" / FOLDER / FILE, isolation_level=None)

    def keyset() -> object:
        return raw.execute(
            "SELECT id, label, at FROM version WHERE system = ? AND seq < ? "
            "ORDER BY seq DESC LIMIT 50",
            (SYSTEM, count // 2),
        ).fetchall()

    at_size = median_s(lambda: big.versions.page(SYSTEM, before=count // 2), 400)
    at_1k = median_s(lambda: small.versions.page(SYSTEM, before=500), 400)
    name = f"{count:,}"
    yield f"one page of 50 at {name} versions", at_size, 1e-3, "limit of 1 ms", 1.0
    yield f"one page of 50: {name} / 1,000", at_size, at_1k, "at 1,000 versions", 1.5
    yield f"one page of 50 at {name}", at_size, median_s(keyset, 400), "raw keyset query", 20.0
    newest = big.versions.page(SYSTEM, limit=1)[0]
    deep = big.versions.page(SYSTEM, before=newest.seq - (count % DEPTH), limit=1)[0]
    line = list(big.versions.ancestors(deep.id))
    name = f"ancestry {len(line):,} deep at {name}"
    yield (
        name,
        median_s(lambda: list(big.versions.ancestors(deep.id)), 9),
        0.02,
        "limit of 20 ms",
        1.0,
    )
    descends = median_s(lambda: big.versions.descends(deep.id, line[-1].version), 25)
    yield f"descends, {len(line):,} deep", descends, 0.02, "limit of 20 ms", 1.0
    label = median_s(lambda: big.versions.named(SYSTEM, f"v{count // 3}"), 400)
    prefix = median_s(lambda: big.versions.named(SYSTEM, deep.id[:12]), 400)
    yield "a version by its label", label, 1e-3, "limit of 1 ms", 1.0
    yield "a version by its id's beginning", prefix, 1e-3, "limit of 1 ms", 1.0
    raw.close()
    small.close()
    big.close()


def _promotions(folder: Path, rounds: int) -> Iterator[Row]:
    folder.mkdir()
    registry = make_registry(folder)
    first, _ = make_live(registry)
    second = add_version(registry, "other words", parent=first)
    runs = [registry.runs.of_version(first.id)[0], complete_run(registry, second, suite_of())]
    raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
    for sql in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE live (environment TEXT PRIMARY KEY, version TEXT, generation INTEGER)",
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, kind TEXT, body TEXT)",
        "INSERT INTO live VALUES ('production', '', 0)",
    ):
        raw.execute(sql)
    ours, theirs = [], []
    for number in range(rounds):
        version, run = ((first, runs[0]), (second, runs[1]))[number % 2]
        decision = pass_decision(registry, version, [run])
        attempt = attempt_of(registry, version, decision=decision)
        settlement = Settlement(
            SYSTEM, "production", attempt.generation, "live", None, attempt.actor
        )
        began = time.perf_counter()
        with registry.write() as writing:
            writing.append(attempt)
            writing.append(settlement)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(
            "UPDATE live SET version = ?, generation = generation + 1 "
            "WHERE environment = 'production' AND generation = ?",
            (version.id, number),
        )
        raw.execute("INSERT INTO event (kind, body) VALUES ('promote', ?)", (version.id * 3,))
        raw.execute("COMMIT")
        theirs.append(time.perf_counter() - began)
    yield (
        "promote: attempt, settlement, ledger, durable",
        statistics.median(ours),
        statistics.median(theirs),
        "raw compare-and-set and event, durable",
        5.0,
    )
    raw.close()
    registry.close()


def _append_all(root: str, number: int, appends: int, gate: object, told: object) -> None:
    registry = open_registry(Path(root))
    gate.wait()  # type: ignore[attr-defined]
    waits = []
    for turn in range(appends):
        record = Hold(SYSTEM, f"env-{number}-{turn}", "a writer among writers", "on-call")
        began = time.perf_counter()
        with registry.write() as writing:
            writing.append(record)
        waits.append(time.perf_counter() - began)
    registry.close()
    told.put((len(waits), max(waits), statistics.median(waits)))  # type: ignore[attr-defined]


def _writers(folder: Path, appends: int) -> Iterator[Row]:
    folder.mkdir()
    registry = make_registry(folder)
    add_version(registry)
    before = registry.ledger.head()
    spawn = multiprocessing.get_context("spawn")
    gate, told = spawn.Barrier(WRITERS), spawn.Queue()
    writers = [
        spawn.Process(target=_append_all, args=(str(folder), number, appends, gate, told))
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    heard = [told.get(timeout=120) for _ in writers]
    for writer in writers:
        writer.join()
    after = registry.ledger.head()
    assert before is not None
    assert after is not None
    assert after.seq - before.seq == WRITERS * appends == sum(done for done, _, _ in heard)
    longest = max(wait for _, wait, _ in heard)
    name = f"{WRITERS} writers, {WRITERS * appends} records, 0 lost: longest wait"
    yield name, longest, 0.5, "limit of 0.5 s", 1.0
    registry.close()


def rows(scale: float = 1.0) -> Iterator[Row]:
    """Give each figure as what, ours, peer, the peer's name, and the most their ratio may be.

    Args:
        scale: 1 for the size the budgets are about; less for a first look.
    """
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name:
        folder = Path(name)
        yield from _promotions(folder / "promotions", max(int(400 * scale), 20))
        yield from _writers(folder / "writers", max(int(APPENDS * scale), 10))
        yield from _pages(folder, max(int(VERSIONS * scale), 2_000))


if __name__ == "__main__":
    for what, ours, peer, peer_name, budget in rows(float(sys.argv[1]) if sys.argv[1:] else 1.0):
        verdict = "" if ours <= peer * budget else "  MISSED"
        print(
            f"{what:<52} {ours * 1e3:9.3f} ms {peer * 1e3:9.3f} ms {ours / peer:6.2f}"
            f" of {budget:.1f}  {peer_name}{verdict}",
            flush=True,
        )
