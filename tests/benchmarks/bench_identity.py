"""What a folder's identity costs, beside the barest loop that hashes the same bytes.

Run it with `python tests/benchmarks/bench_identity.py`; nothing here is part of the tests.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lockgate.workspace.folder import read_folder
from lockgate.workspace.hashing import HashCache

MIB = 1 << 20
SETTINGS = """
[system]
name = "bench"
[model]
name = "bench"
files = ["weights/*"]
[retrieval]
files = ["handbook/**/*.md"]
[run]
kind = "command"
command = ["cat"]
"""


def rows(scale: float = 1.0) -> list[tuple[str, float, float, str, float]]:
    """Measure ours and the peer in turns, in a temporary folder.

    Args:
        scale: 1.0 for the sizes of the budget; smaller for a quick look.

    Returns:
        What was measured, our seconds, the peer's seconds, the peer's name, the allowed ratio.
    """
    return [_small_files(scale), _large_files(scale), _unchanged_files(scale)]


def _small_files(scale: float) -> tuple[str, float, float, str, float]:
    count = max(int(10_000 * scale), 100)
    with tempfile.TemporaryDirectory() as name:
        root = _folder(Path(name))
        paths = []
        for index in range(count):
            folder = root / "handbook" / f"{index // 100:03}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{index:05}.md"
            path.write_bytes(os.urandom(4096))
            paths.append(str(path))
        _let_clocks_pass()
        peer, ours = _in_turns([lambda: _bare_loop(paths), lambda: _identity(root)], 9)
    return f"identity of {count} x 4 KiB", ours, peer, "hashlib over os.open and os.read", 1.5


def _large_files(scale: float) -> tuple[str, float, float, str, float]:
    size = max(int(128 * MIB * scale), 2 * MIB)
    with tempfile.TemporaryDirectory() as name:
        root = _folder(Path(name))
        paths = [_weights(root, index, size) for index in range(8)]
        peer, ours = _in_turns([lambda: _threaded_loop(paths), lambda: _identity(root)], 5)
    return f"identity of 8 x {size // MIB} MiB", ours, peer, "hashlib in two threads", 1.2


def _unchanged_files(scale: float) -> tuple[str, float, float, str, float]:
    size = max(int(256 * MIB * scale), 2 * MIB)
    with tempfile.TemporaryDirectory() as name:
        root = _folder(Path(name))
        for index in range(8):
            _weights(root, index, size)
        time.sleep(2.1)  # the cache never trusts a file that was touched this lately
        cache = Path(name) / "hashes.json"
        _identity(root, cache)
        (ours,) = _in_turns([lambda: _identity(root, cache)], 9)
    return f"identity again of 8 x {size // MIB} MiB", ours, 0.060, "the limit of 60 ms", 1.0


def _folder(root: Path) -> Path:
    root = root / "system"
    (root / "weights").mkdir(parents=True)
    (root / "handbook").mkdir()
    (root / "lockgate.toml").write_text(SETTINGS)
    (root / "weights/card.txt").write_text("bench")
    (root / "handbook/index.md").write_text("bench")
    return root


def _weights(root: Path, index: int, size: int) -> str:
    path = root / "weights" / f"{index}.bin"
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(block)
    return str(path)


def _let_clocks_pass() -> None:
    time.sleep(0.1)  # files written a moment ago are looked at twice


def _bare_loop(paths: Sequence[str]) -> dict[str, str]:
    digests = {}
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        digest = hashlib.sha256()
        while block := os.read(descriptor, 65_536):
            digest.update(block)
        os.close(descriptor)
        digests[path] = digest.hexdigest()
    return digests


def _threaded_loop(paths: Sequence[str]) -> list[str]:
    def digest_of(path: str) -> str:
        with open(path, "rb") as file:  # noqa: PTH123 - the barest way
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(digest_of, paths))


def _identity(root: Path, cache: Path | None = None) -> str:
    return read_folder(root, cache=HashCache(cache) if cache else None).definition.digest


def _in_turns(candidates: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return each candidate's median; taking turns spreads the machine's moods evenly."""
    times: list[list[float]] = [[] for _ in candidates]
    for candidate in candidates:
        candidate()
    for _ in range(rounds):
        for candidate, taken in zip(candidates, times, strict=True):
            began = time.perf_counter()
            candidate()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    for what, ours, peer, name, budget in rows(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(
            f"{what:34} {ours * 1e3:8.1f} ms  {peer * 1e3:8.1f} ms {name:34} "
            f"{ours / peer:5.2f} of {budget}"
        )
