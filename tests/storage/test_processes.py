"""Several processes at one registry: they race, they crowd, and they die at any moment."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from builders import SYSTEM, FixedClock, add_version, make_registry, origin_of
from lockgate.canonical import digest_bytes
from lockgate.errors import Busy, Refused
from lockgate.storage import registry as registry_module
from lockgate.storage import tables
from lockgate.storage.registry import FOLDER, Registry, open_registry
from tests.storage import children

SPAWN = multiprocessing.get_context("spawn")
TURNS = 200
WRITERS = 8
EACH = 25
KILLS = 24
AT_ONCE = 6


@contextmanager
def child(act: Any, *args: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    """Run a function in a process of its own, with a pipe as its last argument."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=act, args=(*args, theirs))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.join(30)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()


@pytest.mark.slow
def test_of_two_racers_exactly_one_takes_a_generation(tmp_path: Path) -> None:
    """Two processes try to take the same generation 200 times: one wins each, none is left out."""
    registry = make_registry(tmp_path)
    first = add_version(registry, "one")
    add_version(registry, "two", parent=first)
    with registry.write() as writing:
        for record in origin_of():
            writing.append(record)
    start = SPAWN.Barrier(2)
    with (
        child(children.race, tmp_path, TURNS, "v1", start) as (_, one),
        child(children.race, tmp_path, TURNS, "v2", start) as (_, other),
    ):
        (won, lost), (others_won, others_lost) = one.recv(), other.recv()
    everything = list(range(1, TURNS + 1))
    assert sorted([*won, *others_won]) == everything
    assert sorted(generation for generation, _ in [*lost, *others_lost]) == everything
    assert {hint for _, hint in [*lost, *others_lost]} == {
        "`lockgate status` shows what is live now"
    }
    deployments = registry.releases.deployments(SYSTEM, "production", limit=500)
    assert [deployment.attempt.generation for deployment in deployments] == everything[::-1]
    winners = {
        deployment.attempt.generation: deployment.attempt.actor for deployment in deployments
    }
    assert all(winners[generation] == "racer-v1" for generation in won)
    registry.close()


@pytest.mark.slow
def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Eight processes write at once: every record is there and nobody is turned away."""
    registry = make_registry(tmp_path)
    add_version(registry)
    before = registry.ledger.head()
    assert before is not None
    start = SPAWN.Barrier(WRITERS)
    pipes, processes = [], []
    for number in range(WRITERS):
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(
            target=children.write_records, args=(tmp_path, number, EACH, start, theirs)
        )
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    heard = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join(30)
    assert [(done, error) for done, _, error in heard] == [(EACH, None)] * WRITERS
    after = registry.ledger.head()
    assert after is not None
    assert after.seq == before.seq + WRITERS * EACH
    assert len(registry.releases.holds(SYSTEM)) == WRITERS * EACH
    assert_whole(registry)
    registry.close()


def assert_whole(registry: Registry) -> None:
    """See that the ledger is dense and chained and that nothing stands without it."""
    connection = registry._connection
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    previous, count, after = "0" * 64, 0, 0
    while entries := list(registry.ledger.entries(after=after)):
        for entry in entries:
            count += 1
            assert (entry.seq, entry.prev) == (count, previous)
            previous = entry.digest()
            stored = connection.execute(
                f'SELECT count(*) FROM "{entry.kind}" WHERE seq = ?', (entry.seq,)
            )
            assert stored.fetchone() == (1,)
        after = entries[-1].seq
    records = [
        connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        for table in tables.RECORD_KEYS
    ]
    assert sum(records) == count


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A writer killed at a random moment leaves whole records, and all that it acknowledged."""
    make_registry(tmp_path, FixedClock()).close()
    registry = open_registry(tmp_path)
    add_version(registry)
    chance = random.Random(7)
    acknowledged: list[tuple[int, str, str | None]] = []
    for turn in range(0, KILLS, AT_ONCE):
        with ExitStack() as stack:
            writers = [
                stack.enter_context(child(children.write_until_killed, tmp_path, turn + number))
                for number in range(AT_ONCE)
            ]
            for process, told in writers:
                for _ in range(chance.randint(1, 12)):
                    acknowledged.append(told.recv())
                # Somewhere within the transaction that follows: nobody knows where.
                for _ in range(chance.randint(0, 4000)):
                    pass
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                process.join(30)
                assert process.exitcode == -signal.SIGKILL
                with suppress(EOFError, OSError):
                    while told.poll():
                        acknowledged.append(told.recv())
    registry.close()
    registry = open_registry(tmp_path)
    assert_whole(registry)
    quarantines = {one.seq: one.reason for one in registry.releases.quarantines(SYSTEM)}
    holds = {one.reason for one in registry.releases.holds(SYSTEM)}
    assert len(acknowledged) > KILLS
    for seq, reason, large in acknowledged:
        assert quarantines[seq] == reason
        assert reason in holds
        if large is not None:
            assert large == digest_bytes(reason.encode() * 20_000)
            assert registry.objects.is_intact(large)
    assert len(quarantines) - len(acknowledged) <= KILLS  # at most the one that was under way
    registry.close()


def test_whoever_waits_is_told_who_is_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that cannot begin names the process that is writing, and was not begun."""
    registry = make_registry(tmp_path)
    monkeypatch.setattr(registry_module._begin, "__kwdefaults__", {"patience_s": 0.05})
    with child(children.hold_lock, tmp_path) as (_, ready):
        pid = ready.recv()
        with pytest.raises(Busy) as refusal:
            add_version(registry)
        ready.send("let go")
    assert f"process {pid} (" in refusal.value.what
    assert refusal.value.exit_code == 3
    assert refusal.value.hint == "wait and run it again; what you asked for was not begun"
    assert registry.versions.systems() == []
    add_version(registry)
    registry.close()


def test_a_registry_opens_while_somebody_writes(tmp_path: Path) -> None:
    """Looking never waits for a writer, and the right to write is not in doubt."""
    registry = make_registry(tmp_path)
    add_version(registry)
    with child(children.hold_lock, tmp_path) as (_, ready):
        ready.recv()
        second = open_registry(tmp_path)
        assert second.is_writable
        assert [version.label for version in second.versions.page(SYSTEM)] == ["v1"]
        ready.send("let go")
    add_version(second, "two")
    second.close()
    registry.close()


def test_of_two_who_make_a_registry_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that came while another was being made is not put aside; the late one is told."""
    build = registry_module._build
    first: list[str] = []

    def build_late(*args: Any) -> None:
        if not first:
            first.append("")
            made = make_registry(tmp_path)
            first[0] = made.id
            made.close()
        build(*args)

    monkeypatch.setattr(registry_module, "_build", build_late)
    with pytest.raises(Refused, match="there is a registry in") as refusal:
        make_registry(tmp_path)
    assert refusal.value.hint == "`lockgate status`"
    kept = open_registry(tmp_path)
    assert kept.id == first[0]
    kept.close()
    assert not [path for path in (tmp_path / FOLDER).iterdir() if path.name.startswith(".new")]
