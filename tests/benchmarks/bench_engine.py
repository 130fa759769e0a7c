"""The eval engine: CPU time and memory for each case, and how near it keeps to the ideal.

Rows measure in seconds, except memory, which says so: ours and the limit are megabytes there.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lockgate.evals.engine import ask_all
from lockgate.ports import Question, Reply

CASES = 5_000
CPU_LIMIT_S = 0.25e-3
MEMORY_LIMIT_MB = 80.0
LATENCY_S = 0.010
UNDER_WAY = 100
IDEAL_SHARE = 0.75
ROUNDS = 5


class Trivial:
    """A runner in this process that answers after a pause, or at once."""

    def __init__(self, concurrency: int, pause_s: float) -> None:
        self.concurrency = concurrency
        self._pause_s = pause_s

    async def start(self) -> Mapping[str, Any]:
        return {}

    async def ask(self, question: Question) -> Reply:
        await asyncio.sleep(self._pause_s)
        return Reply(question.input, self._pause_s * 1000)

    async def close(self) -> None:
        return None


def questions(count: int) -> Iterator[Question]:
    """Give tickets of about 200 characters, one by one."""
    for number in range(count):
        yield Question(f"case-{number}", 1, 1, {"text": f"ticket {number} " + "word " * 40}, number)


def recorded(count: int, runner: Trivial, folder: Path) -> float:
    """Ask everything, keep each batch in SQLite, and return the seconds from the start of asking."""
    database = sqlite3.connect(folder / f"{time.monotonic_ns()}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE answer (case_id TEXT PRIMARY KEY, output TEXT, latency_ms REAL)")
    began = 0.0
    kept = 0

    def start(facts: Mapping[str, Any]) -> None:
        nonlocal began
        began = time.perf_counter()

    for batch in ask_all(questions(count), runner, stop_after_errors=None, on_start=start):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO answer VALUES (?, ?, ?)",
            [
                (one.question.case, one.reply.output["text"], one.reply.latency_ms)
                for one in batch
                if one.reply
            ],
        )
        database.execute("COMMIT")
        kept += len(batch)
    elapsed_s = time.perf_counter() - began
    database.close()
    assert kept == count
    return elapsed_s


def cpu_per_case_s(count: int, folder: Path) -> float:
    """Return the CPU time of all threads for one case, in seconds."""
    began = time.process_time()
    recorded(count, Trivial(8, 0.0), folder)
    return (time.process_time() - began) / count


def grown_mb(count: int) -> float:
    """Return by how many megabytes the peak memory of a fresh process grows."""
    child = subprocess.run(
        [sys.executable, __file__, "--memory", str(count)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(child.stdout)


def _peak_mb() -> float:
    """Return the peak memory of this process; `ru_maxrss` would count what was before `exec`."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024


def _print_growth(count: int) -> None:
    before_mb = _peak_mb()
    with tempfile.TemporaryDirectory() as scratch:
        recorded(count, Trivial(8, 0.0), Path(scratch))
    print(_peak_mb() - before_mb)


def rows(scale: float = 1.0) -> list[tuple[str, float, float, str, float]]:
    """Return the rows of this benchmark; see `tests.benchmarks.__main__`."""
    cases = max(int(CASES * scale), 2_000)
    rounds = max(int(ROUNDS * scale), 3)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cpu_s = statistics.median(cpu_per_case_s(cases, folder) for _ in range(rounds))
        wall_s = statistics.median(
            recorded(cases, Trivial(UNDER_WAY, LATENCY_S), folder) for _ in range(rounds)
        )
    ideal_s = cases * LATENCY_S / UNDER_WAY
    limit = f"limit of {MEMORY_LIMIT_MB:.0f} MB"
    return [
        ("engine: CPU per case, answers kept", cpu_s, CPU_LIMIT_S, "limit of 0.25 ms", 1.0),
        (
            f"engine: {cases:,} cases of 10 ms, 100 under way",
            wall_s,
            ideal_s,
            f"ideal; {ideal_s / wall_s:.0%} of it reached",
            1 / IDEAL_SHARE,
        ),
        (f"engine: memory of {cases:,} cases (MB)", grown_mb(cases), MEMORY_LIMIT_MB, limit, 1.0),
        (
            f"engine: memory of {20 * cases:,} cases (MB)",
            grown_mb(20 * cases),
            MEMORY_LIMIT_MB,
            limit,
            1.0,
        ),
    ]


def main() -> None:
    """Print the rows, or the memory one run takes when a count of cases is given."""
    if sys.argv[1:2] == ["--memory"]:
        _print_growth(int(sys.argv[2]))
        return
    for what, ours, peer, peer_name, budget in rows():
        print(f"{what:<48} {ours:>10.6f} / {peer:>10.6f} = {ours / peer:5.2f}", end="")
        print(f"  (budget {budget:.2f}; {peer_name})")


if __name__ == "__main__":
    main()
