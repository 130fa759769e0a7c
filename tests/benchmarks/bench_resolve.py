"""What a serving app pays to learn what is live: `lockgate resolve`, cold, and in process.

The signed rows have the time of one bare `ssh-keygen -Y verify` of the same receipt, measured in
the same run, taken off: that is the price of the signature, not of Lockgate.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lockgate.canonical import digest_bytes
from lockgate.deploy.host_key import HostKey, make_host_key
from lockgate.deploy.publisher import Publisher
from lockgate.deploy.resolve import resolve
from lockgate.domain.components import Component, Definition
from lockgate.domain.receipt import Origin, receipt_for, settled
from lockgate.domain.version import Version, version_id
from lockgate.signing import ssh
from lockgate.workspace.materialise import materialise

ROUNDS = 31
FILES = 1_000
FILE_BYTES = 4_096
SYSTEM, ENVIRONMENT = "support-desk", "production"
AT = datetime(2026, 8, 21, tzinfo=UTC)
_FAST_DOOR = "import sys; from lockgate.cli.resolve import run; sys.exit(run(sys.argv[1:]))"
"""What `lockgate` does when its first word is `resolve`."""


def median_of(act: Callable[[], object], rounds: int) -> float:
    """Return the median wall time of something, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def run(*argv: str, given: bytes = b"") -> None:
    """Run a command that has to succeed, with the byte code that an installed package has."""
    variables = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "bench-pyc"),
    }
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(argv, check=True, capture_output=True, input=given, env=variables)


def publish(root: Path, files: int, *, is_signed: bool) -> Publisher:
    """Publish a definition of small files, as promote does."""
    (root / ".lockgate").mkdir(parents=True)
    if is_signed:
        make_host_key(root / ".lockgate", ssh.make_key)
    contents = {}
    for number in range(files):
        data = hashlib.shake_128(str(number).encode()).digest(FILE_BYTES)
        contents[digest_bytes(data)] = data
    named = {f"handbook/{n:05d}.md": digest for n, digest in enumerate(contents)}
    definition = Definition({"retrieval": Component({"top_k": 5}, named)})
    identity = version_id(SYSTEM, definition.digest, None, "release")
    version = Version(identity, SYSTEM, definition.digest, None, "release", "v1", "a", "a", "first")
    staged = receipt_for(
        version,
        definition,
        Origin("ab" * 16, 1, ENVIRONMENT),
        generation=1,
        kind="promote",
        decision="d",
        previous=None,
        at=AT,
    )
    key = HostKey(root / ".lockgate", ssh)
    publisher = Publisher(root / "published" / ENVIRONMENT, key, materialise)
    publisher.prepare(staged, definition, lambda digest: io.BytesIO(contents[digest]))
    publisher.publish(settled(staged, AT), None)
    return publisher


def rows(scale: float = 1.0) -> list[tuple[str, float, float, str, float]]:
    """Return the rows of this benchmark; see `tests.benchmarks.__main__`."""
    rounds = max(int(ROUNDS * scale), 5)
    with tempfile.TemporaryDirectory() as scratch:
        return [
            *_cold_rows(Path(scratch), rounds),
            _warm_row(Path(scratch), max(int(FILES * scale), 10), max(rounds // 3, 3)),
        ]


def _cold_rows(scratch: Path, rounds: int) -> list[tuple[str, float, float, str, float]]:
    made = []
    for kind, is_signed in (("unsigned", False), ("signed", True)):
        root = scratch / kind
        publisher = publish(root, 5, is_signed=is_signed)
        state, trust = str(root / "state.json"), str(root / ".lockgate" / "host_key.pub")
        words = [SYSTEM, ENVIRONMENT, "--root", str(publisher.folder), "--state", state]
        words += ["--trust", trust] if is_signed else []
        verify = _bare_verify(root, publisher) if is_signed else _nothing
        ours, checks, peers = [], [], []
        run(sys.executable, "-c", _FAST_DOOR, *words)
        for _ in range(rounds):  # side by side, for the machine is noisy
            ours.append(median_of(lambda w=words: run(sys.executable, "-c", _FAST_DOOR, *w), 1))
            checks.append(median_of(verify, 1))
            peers.append(median_of(lambda: run(sys.executable, "-c", "import sqlite3"), 1))
        net = statistics.median(ours) - statistics.median(checks)
        what = f"lockgate resolve, cold, {kind}" + (" (less its verify)" if is_signed else "")
        made.append((what, net, statistics.median(peers), "import sqlite3", 2.0))
    return made


def _nothing() -> None:
    return None


def _bare_verify(root: Path, publisher: Publisher) -> Callable[[], None]:
    """Return what runs `ssh-keygen -Y verify` over the published receipt and nothing else."""
    document = json.loads(publisher.receipt_path(SYSTEM).read_text())
    signature, signers = root / "signature", root / "signers"
    signature.write_text(document["signature"])
    signers.write_text(f"lockgate-host {publisher.key.public()}\n")
    argv = ("ssh-keygen", "-Y", "verify", "-n", "lockgate", "-I", "lockgate-host")
    files = ("-s", str(signature), "-f", str(signers))
    return lambda: run(*argv, *files, given=document["payload"].encode())


def _warm_row(scratch: Path, files: int, rounds: int) -> tuple[str, float, float, str, float]:
    root = scratch / "warm"
    publisher = publish(root, files, is_signed=True)
    folder = publisher.folder / SYSTEM / "generations" / "00000001"
    verify = _bare_verify(root, publisher)
    options = {
        "root": publisher.folder,
        "state": root / "state.json",
        "trust": root / ".lockgate" / "host_key.pub",
    }
    resolve(SYSTEM, ENVIRONMENT, **options)

    def bare() -> None:
        for above, _, names in os.walk(folder):
            for name in names:
                hashlib.sha256((Path(above) / name).read_bytes()).hexdigest()

    ours = median_of(lambda: resolve(SYSTEM, ENVIRONMENT, **options), rounds)
    peer = median_of(bare, rounds) + median_of(verify, rounds)
    what = f"resolve in process, {files:,} x {FILE_BYTES // 1024} KiB, signed"
    return what, ours, peer, "sha256 loop + verify", 1.5


if __name__ == "__main__":
    for row in rows():
        print(row)
