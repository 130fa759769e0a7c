"""What tests run in processes of their own: writers that race, die, or hold the lock."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from builders import SYSTEM, attempt_of, settle
from lockgate.domain.release import Hold, Quarantine
from lockgate.errors import RegistryTrouble, StaleGeneration
from lockgate.storage.registry import create_registry, open_registry


def race(root: Path, turns: int, label: str, start: Barrier, told: Connection) -> None:
    """Try to take every generation at the same moment as somebody else; tell which were won."""
    registry = open_registry(root)
    version = registry.versions.named(SYSTEM, label)
    won, lost = [], []
    for generation in range(1, turns + 1):
        attempt = attempt_of(
            registry,
            version,
            kind="break_glass",
            generation=generation,
            ticket="INC-1",
            reason="a race",
            actor=f"racer-{label}",
        )
        start.wait(30)
        try:
            with registry.write() as writing:
                writing.append(attempt)
            won.append(generation)
        except StaleGeneration as refusal:
            lost.append((generation, refusal.hint))
        start.wait(30)
        if won and won[-1] == generation:
            settle(registry, attempt)
    registry.close()
    told.send((won, lost))
    told.close()


def write_records(root: Path, number: int, count: int, start: Barrier, told: Connection) -> None:
    """Add records, one transaction each; tell the longest wait and any error."""
    registry = open_registry(root)
    start.wait(30)
    longest, done = 0.0, 0
    try:
        for turn in range(count):
            began = time.monotonic()
            with registry.write() as writing:
                writing.append(Hold(SYSTEM, f"env-{number}-{turn}", "one of many", "on-call"))
            longest = max(longest, time.monotonic() - began)
            done += 1
        told.send((done, longest, None))
    except Exception as error:  # noqa: BLE001 - the parent fails with it
        told.send((done, longest, repr(error)))
    registry.close()
    told.close()


def write_until_killed(root: Path, turn: int, told: Connection) -> None:
    """Add records and objects for ever; say after each commit what is acknowledged."""
    registry = open_registry(root)
    version = registry.versions.named(SYSTEM, "v1")
    number = 0
    while True:
        number += 1
        reason = f"turn {turn} record {number}"
        with registry.write(durable=number % 3 != 0) as writing:
            large = writing.put(reason.encode() * 20_000) if number % 5 == 0 else None
            written = writing.append(
                Quarantine(SYSTEM, version.definition, version.id, reason, "on-call")
            )
            writing.append(Hold(SYSTEM, f"env-{turn}-{number}", reason, "on-call"))
        told.send((written.seq, reason, large))


def hold_lock(root: Path, ready: Connection) -> None:
    """Hold the write lock until told to let go."""
    registry = open_registry(root)
    with registry.write():
        ready.send(os.getpid())
        ready.recv()
    registry.close()


def as_nobody(act: Callable[..., Any], told: Connection, *args: Any) -> None:
    """Run something as a user without rights and tell what it returns or raises."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        told.send(("returned", act(*args)))
    except Exception as error:  # noqa: BLE001 - the parent looks at it
        told.send((type(error).__name__, str(error)))
    told.close()


def with_file_limit(act: Callable[..., Any], limit: int, told: Connection, *args: Any) -> None:
    """Run something that may not make files longer than a limit, as on a full disk."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        told.send(("returned", act(*args)))
    except Exception as error:  # noqa: BLE001 - the parent looks at it
        told.send((type(error).__name__, str(error)))
    told.close()


def look(root: Path) -> dict[str, Any]:
    """Open a registry, look at it, and try to write."""
    registry = open_registry(root)
    refusal = ""
    try:
        with registry.write() as writing:
            writing.append(Hold(SYSTEM, "production", "must not be", "on-call"))
    except RegistryTrouble as trouble:
        refusal = str(trouble)
    labels = [version.label for version in registry.versions.page(SYSTEM)]
    registry.close()
    return {"labels": labels, "why_not": registry.why_not, "refusal": refusal}


def read_object(root: Path, digest: str) -> bytes:
    """Read an object."""
    registry = open_registry(root)
    try:
        return registry.objects.read(digest)
    finally:
        registry.close()


def make(root: Path) -> str:
    """Make a registry."""
    registry = create_registry(root, actor="support-dev")
    registry.close()
    return registry.why_not or ""


def fill(root: Path) -> tuple[str, str, list[str]]:
    """Write until something is in the way; return what was said, then what one can still see."""
    registry = open_registry(root)
    said: RegistryTrouble | None = None
    for number in range(1000):
        try:
            with registry.write() as writing:
                writing.append(Hold(SYSTEM, f"env-{number}", os.urandom(40_000).hex(), "on-call"))
        except RegistryTrouble as trouble:
            said = trouble
            break
    labels = [version.label for version in registry.versions.page(SYSTEM)]
    registry.close()
    return (said.what, said.hint, labels) if said else ("", "", labels)


def store_large(root: Path, size_bytes: int) -> str:
    """Keep an object that lies in a file of its own."""
    registry = open_registry(root)
    with registry.write() as writing:
        digest = writing.put(b"x" * size_bytes)
    registry.close()
    return digest


if __name__ == "__main__":
    sys.exit("these functions are run by tests")
