"""Leases: one process at a time works on something, and a dead one is in nobody's way."""

from __future__ import annotations

import os

import pytest

from builders import FixedClock
from lockgate.errors import Busy
from lockgate.storage import writer as writer_module
from lockgate.storage.registry import Registry

RUN = "run 1"


def take(registry: Registry) -> None:
    with registry.write() as writing:
        writing.take_lease(RUN, "night-shift")


def taken_by(registry: Registry, *, pid: int, host: str | None = None, started: str = "") -> None:
    """Let another process have taken the lease just now; without `host` one of this host."""
    take(registry)
    registry._connection.execute(
        "UPDATE lease SET pid = ?, started = ?, host = coalesce(?, host)", (pid, started, host)
    )


def is_held(registry: Registry) -> bool:
    try:
        take(registry)
    except Busy:
        return True
    return False


def test_where_no_process_can_be_looked_at_the_heartbeat_counts(
    registry: Registry, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `/proc` a lease holds for a minute after its holder was heard of."""
    monkeypatch.setattr(writer_module, "process_start", lambda pid: None)
    taken_by(registry, pid=os.getppid())
    clock.move(seconds=59)
    assert is_held(registry)
    clock.move(seconds=2)
    assert not is_held(registry)


def test_a_holder_that_could_not_tell_its_start_counts_by_its_heartbeat(
    registry: Registry, clock: FixedClock
) -> None:
    """Whoever has no start on record is not taken for dead by somebody who can look."""
    taken_by(registry, pid=os.getppid())
    assert is_held(registry)
    clock.move(seconds=61)
    assert not is_held(registry)


def test_a_heartbeat_from_the_future_ends_too(registry: Registry, clock: FixedClock) -> None:
    """A host whose clock was far ahead when it died keeps nobody waiting until then."""
    taken_by(registry, pid=1, host="elsewhere")
    clock.move(hours=-1)
    assert not is_held(registry)


def test_clocks_that_differ_a_little_rob_nobody(registry: Registry, clock: FixedClock) -> None:
    """A living holder whose clock is some seconds ahead keeps its lease."""
    taken_by(registry, pid=1, host="elsewhere")
    clock.move(seconds=-5)
    assert is_held(registry)


def test_a_process_of_the_same_number_elsewhere_is_another_one(
    registry: Registry, clock: FixedClock
) -> None:
    """Numbers of processes repeat from host to host; nobody renews or drops a stranger's lease."""
    taken_by(registry, pid=os.getpid(), host="elsewhere")
    clock.move(seconds=50)
    with registry.write() as writing:
        writing.renew_lease(RUN)
        writing.drop_lease(RUN)
    assert is_held(registry)
    clock.move(seconds=20)
    assert not is_held(registry)
