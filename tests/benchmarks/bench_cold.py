"""Cold starts of the commands people and pipelines call most, against `import sqlite3`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15


def environment() -> dict[str, str]:
    """Return this environment, but let children keep byte code, as an installed program has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cold(argv: list[str], cwd: Path, rounds: int) -> float:
    """Return the median wall time of a fresh process, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(argv, cwd=cwd, check=True, capture_output=True, env=environment())
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def rows(scale: float = 1.0) -> list[tuple[str, float, float, str, float]]:
    """Return the rows of this benchmark; see `tests.benchmarks.__main__`."""
    rounds = max(int(ROUNDS * scale), 5)
    lockgate = [sys.executable, "-m", "lockgate"]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "demo"
        subprocess.run([*lockgate, "demo", str(root), "--no-tui"], check=True, capture_output=True)
        peer = cold([sys.executable, "-c", "import sqlite3"], root, rounds)
        name = "import sqlite3"
        return [
            ("lockgate --help, cold", cold([*lockgate, "--help"], root, rounds), peer, name, 5.0),
            (
                "lockgate status -s support-desk, cold",
                cold([*lockgate, "status", "-s", "support-desk"], root, rounds),
                peer,
                name,
                5.0,
            ),
        ]


if __name__ == "__main__":
    for row in rows():
        print(row)
