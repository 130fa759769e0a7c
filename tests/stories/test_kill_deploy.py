"""Promote, rollback and settle are killed at every step: old or new is live, never neither.

A step is a commit, a rename, a removal, a new folder or a new process: whatever somebody else can
see. The command runs in a process of its own that kills itself right before its n-th step.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lockgate
from cli.desks import Desk
from lockgate.cli.exits import run
from lockgate.storage.registry import Registry, open_registry
from loop.invariants import all_problems
from loop.world import SYSTEM
from stories.published import HOOKED, PUBLISHED, Published

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
    ),
]

STEPS = ("os.rename", "os.remove", "os.mkdir", "subprocess.Popen")
"""What Python's audit hooks tell of; commits are counted besides."""
ROLLBACK = ("rollback", "staging", "-s", SYSTEM, "--yes")
OFFLINE = (*ROLLBACK, "--offline")
SETTLE = ("settle", "staging", "-s", SYSTEM)


def until_step(root: Path, words: tuple[str, ...], last: int | None) -> tuple[int, int]:
    """Run a command in a process of its own that kills itself before a step.

    Returns:
        How it ended, as `os.waitpid` says, and how many steps it took if it was not killed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_die(root, words, last, writing)
    os.close(writing)
    with open(reading, "rb") as told:  # noqa: PTH123 - a descriptor
        steps = told.read()
    _, status = os.waitpid(child, 0)
    return status, int(steps or 0)


def _run_and_die(root: Path, words: tuple[str, ...], last: int | None, writing: int) -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    code = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        os.chdir(root)
        os.environ["LOCKGATE_ACTOR"] = "on-call"
        sys.addaudithook(lambda event, _: step() if event in STEPS else None)
        plain_write = Registry.write

        @contextmanager
        def write(self: Registry, **how: Any) -> Iterator[Any]:
            with plain_write(self, **how) as given:
                yield given
                step()
            step()

        Registry.write = write  # type: ignore[method-assign,assignment]
        code = run(list(words))
        os.write(writing, str(count).encode())
    finally:
        os._exit(code)


def state(at: Published) -> tuple[Any, ...]:
    """Return everything that a second `settle` may not change."""
    receipt = at.current()
    return (at.live(), at.history(), at.stops(), receipt.generation, receipt.label, at.notes())


def check_after_kill(at: Published, labels: set[str], desk: Callable[..., Any]) -> str:
    """Hold what is there right after a kill, let it be settled, and hold that; return the outcome."""
    served = lockgate.resolve(SYSTEM, "staging", root=at.place.parent, state=at.root / "state.json")
    assert served.label in labels
    at.world.registry = open_registry(at.root)
    assert all_problems(at.root) == []
    page = desk("status", "-s", SYSTEM)
    assert page.code == 0, page
    newest = at.world.registry.releases.newest(SYSTEM, "staging")
    assert newest is not None
    assert newest.is_open == ("unknown: " in page.out)
    outcome = at.settle().outcome
    settled = state(at)
    assert at.settle().outcome == "nothing"
    assert state(at) == settled
    (generation, label, _), history, _, published, published_label, notes = settled
    assert (generation, label) == (published, published_label)
    assert label in labels
    assert [row[0] for row in history] == [*range(1, len(history) + 1)]
    assert all(row[2] is not None for row in history)
    assert notes == []
    kept = at.target.way_back(SYSTEM)
    assert (kept.label if kept else None) == {"v2": None, "v3": "v2", "v4": "v3"}[label]
    assert at.target.staged(SYSTEM) is None
    if at.target.has_hook:
        states = {at.target.hook_status(SYSTEM, row[0]).state for row in history}
        assert "running" not in states
        assert at.deployed()[1] == label
    assert all_problems(at.root) == []
    at.world.registry.close()
    return outcome


@pytest.fixture(scope="module", params=["hooked", "plain"])
def template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, keys: Path
) -> Path:
    """v3 is live in staging, v2 the way back, and v4 ready; not to be changed."""
    root = tmp_path_factory.mktemp(request.param) / "registry"
    Published.make(root, keys, policy=HOOKED if request.param == "hooked" else PUBLISHED)
    made = Published(root, keys)
    made.ready()
    made.world.registry.close()
    return root


@pytest.fixture
def kill_each(
    template: Path,
    tmp_path: Path,
    keys: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:
    """Return what kills a command at every step, in a fresh copy each time, and checks each."""

    def each(
        words: tuple[str, ...],
        labels: set[str],
        prepare: Callable[[Published], None] = lambda at: None,
    ) -> list[str]:
        outcomes: list[str] = []
        for number in range(1, 500):
            root = tmp_path / "copy"
            at = Published.copied(template, root, keys)
            prepare(at)
            at.world.registry.close()
            status, _ = until_step(root, words, number)
            if not os.WIFSIGNALED(status):
                assert os.waitstatus_to_exitcode(status) == 0
                shutil.rmtree(root)
                break
            assert os.WTERMSIG(status) == signal.SIGKILL
            try:
                outcomes.append(check_after_kill(at, labels, Desk(root, capsys, monkeypatch)))
            except BaseException as error:
                error.add_note(f"killed before step {number} of {' '.join(words)}")
                raise
            shutil.rmtree(root)
        return outcomes

    return each


def test_a_promotion(kill_each: Callable[..., list[str]]) -> None:
    """v3 is live, or v4 is."""
    words = ("promote", "v4", "--to", "staging", "-s", SYSTEM)
    outcomes = kill_each(words, {"v3", "v4"})
    assert {"nothing", "abandoned", "published"} <= set(outcomes)


def test_a_rollback(kill_each: Callable[..., list[str]]) -> None:
    """v3 is live, or v2 is."""
    outcomes = kill_each(ROLLBACK, {"v3", "v2"})
    assert {"nothing", "abandoned", "published"} <= set(outcomes)


def test_a_rollback_without_the_registry(kill_each: Callable[..., list[str]]) -> None:
    """v3 is live, or v2 is; what was cut off is recorded as what it came to."""
    outcomes = kill_each(OFFLINE, {"v3", "v2"})
    assert {"nothing", "abandoned", "recorded"} <= set(outcomes)


def test_settling_what_was_done_without_it(kill_each: Callable[..., list[str]]) -> None:
    """v2 is live, and recorded once."""

    def offline(at: Published) -> None:
        at.world.registry.close()
        assert until_step(at.root, OFFLINE, None)[0] == 0

    outcomes = kill_each(SETTLE, {"v2"}, offline)
    assert {"recorded", "nothing"} <= set(outcomes)


def test_settling_a_promotion_that_was_cut_off(kill_each: Callable[..., list[str]]) -> None:
    """Whatever it came to, it comes to the same when settling it is cut off as well."""

    def settled_live(at: Published) -> None:
        """Take the receipt of v3 back to v2's, as if the process died before it was written."""
        path = at.place / "receipt.json"
        path.unlink()
        shutil.copy(at.place / "way-back.json", path)

    outcomes = kill_each(SETTLE, {"v2", "v3"}, settled_live)
    assert {"published", "nothing"} <= set(outcomes)
