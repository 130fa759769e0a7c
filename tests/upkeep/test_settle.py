"""Every line of the state tables in `upkeep.settle`: what is found, what it comes to, twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.domain.receipt import settled
from lockgate.domain.release import Attempt
from lockgate.errors import Busy, Inconclusive
from lockgate.loop.deployment import carry_out
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle
from loop.invariants import all_problems
from loop.world import CI, SYSTEM
from stories.published import DEPLOY, ENVIRONMENT, HOOKED, ON_CALL, PUBLISHED, Published

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)

OBSERVED = HOOKED.replace("deploy_timeout", 'observe = ["./observe.sh"]\ndeploy_timeout', 1)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> dict[str, Path]:
    """Policy to a registry that is published under it; not to be changed."""
    made = {}
    for name, policy in (("plain", PUBLISHED), ("hooked", HOOKED)):
        made[name] = tmp_path_factory.mktemp(name) / "registry"
        Published.make(made[name], keys, policy=policy)
    return made


@pytest.fixture
def copied(
    roots: dict[str, Path], tmp_path: Path, keys: Path
) -> Iterator[Callable[[str], Published]]:
    """Return what copies one of them: v3 is live in staging as generation 3, v2 is the way back."""
    open_ones = []

    def copy(name: str) -> Published:
        made = Published.copied(roots[name], tmp_path / "registry", keys)
        open_ones.append(made)
        return made

    yield copy
    for made in open_ones:
        made.world.registry.close()
        assert all_problems(made.root) == []


@pytest.fixture
def plain(copied: Callable[[str], Published]) -> Published:
    """Without a hook."""
    return copied("plain")


@pytest.fixture
def hooked(copied: Callable[[str], Published]) -> Published:
    """With a hook."""
    return copied("hooked")


def promote_until(at: Published, kind: str) -> None:
    """Promote v4 as generation 4, and be gone right after something happened."""
    world = at.world
    version = world.evaluated(17)
    decision = world.decide(version)
    attempt = Attempt(
        SYSTEM,
        ENVIRONMENT,
        4,
        "promote",
        version.id,
        decision.id,
        at.target.hook_digest(),
        None,
        None,
        CI,
    )
    gone_after(carry_out(world.registry, at.target, attempt, version, actor=CI), kind)


def roll_back_until(at: Published, kind: str) -> None:
    """Roll back from v3, and be gone right after something happened."""
    found = find_way_back(at.world.registry, SYSTEM, ENVIRONMENT)
    gone_after(roll_back(at.world.registry, found, actor=ON_CALL, target=at.target), kind)


def gone_after(events: Iterator[Any], kind: str) -> None:
    """Walk until something happened, and never on."""
    assert any(event.kind == kind for event in events)
    events.close()  # type: ignore[attr-defined]


def settle_it(at: Published) -> Settled:
    """Settle, and settle once more: the second time there is nothing left to do."""
    found, again = (
        [*settle(at.world.registry, SYSTEM, ENVIRONMENT, at.target, actor=ON_CALL)][-1]
        for _ in range(2)
    )
    assert isinstance(found, Settled)
    assert isinstance(again, Settled)
    assert again.outcome == "nothing"
    return found


def stands(at: Published) -> tuple[str | None, int, int]:
    """Return how the newest attempt was settled, what is live, and what is published."""
    releases, receipt = at.world.registry.releases, at.target.current(SYSTEM)
    newest, live = releases.newest(SYSTEM, ENVIRONMENT), releases.live(SYSTEM, ENVIRONMENT)
    assert newest is not None
    assert live is not None
    assert receipt is not None
    return newest.outcome, live.attempt.generation, receipt.generation


def hook_ended(at: Published, generation: int) -> None:
    """Wait until a hook is over."""
    for _ in at.target.follow_hook(SYSTEM, generation):
        pass


class TestAnOpenAttempt:
    """It was taken, and nobody said how it ended."""

    def test_whose_process_lives_is_left_to_it(self, hooked: Published) -> None:
        """What is under way is told with who is at it, and nothing is touched."""
        hooked.write_hook("#!/bin/sh\necho begun\nwhile [ ! -e go ]; do sleep 0.05; done\n")
        version = hooked.world.evaluated(17)
        hooked.world.decide(version)
        words = ["promote", version.label, "--to", ENVIRONMENT, "-s", SYSTEM]
        process = subprocess.Popen(
            [sys.executable, "-m", "lockgate", *words],
            cwd=hooked.root,
            env={**os.environ, wiring.ACTOR_VARIABLE: CI},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert any("begun" in line for line in process.stdout)
            with pytest.raises(Busy, match=f"by {CI} .process {process.pid} on "):
                list(settle(hooked.world.registry, SYSTEM, ENVIRONMENT, hooked.target, actor="x"))
        finally:
            (hooked.root / "go").touch()
            process.communicate(timeout=60)
        assert process.returncode == 0
        assert stands(hooked) == ("live", 4, 4)

    def test_without_a_hook_is_abandoned(self, plain: Published) -> None:
        """Nothing was touched: what was live still is, and its receipt stands."""
        promote_until(plain, "rebuilt")
        assert settle_it(plain).outcome == "abandoned"
        assert stands(plain) == ("abandoned", 3, 3)
        assert plain.target.staged(SYSTEM) is None

    def test_whose_hook_was_not_started_is_abandoned(self, hooked: Published) -> None:
        """The hook never starts afterwards, either."""
        promote_until(hooked, "rebuilt")
        assert settle_it(hooked).outcome == "abandoned"
        assert stands(hooked) == ("abandoned", 3, 3)
        assert (hooked.root / "deployed").read_text().startswith("3 ")

    def test_whose_hook_runs_is_followed_to_its_end(self, hooked: Published) -> None:
        """What the hook still writes is told, and then it is live."""
        hooked.write_hook("#!/bin/sh\necho begun\nsleep 0.5\necho done\n")
        promote_until(hooked, "hook")
        events = list(settle(hooked.world.registry, SYSTEM, ENVIRONMENT, hooked.target, actor="x"))
        lines = [
            line for event in events[:-1] if event.kind == "hook" for line in event.detail.lines
        ]  # type: ignore[union-attr]
        assert "done" in lines
        assert stands(hooked) == ("live", 4, 4)

    def test_whose_hook_ended_well_is_live(self, hooked: Published) -> None:
        """It was deployed: it is settled live, and published."""
        hooked.write_hook("#!/bin/sh\necho begun\nexit 0\n")
        promote_until(hooked, "hook")
        hook_ended(hooked, 4)
        assert settle_it(hooked).outcome == "live"
        assert stands(hooked) == ("live", 4, 4)

    def test_whose_hook_ended_badly_failed(self, hooked: Published) -> None:
        """It was not deployed: what was live before still is."""
        hooked.write_hook("#!/bin/sh\necho begun\nexit 3\n")
        promote_until(hooked, "hook")
        hook_ended(hooked, 4)
        found = settle_it(hooked)
        assert (found.outcome, "exit code 3" in found.words) == ("failed", True)
        assert stands(hooked) == ("failed", 3, 3)

    def test_whose_hook_nobody_saw_end_is_unknown(self, hooked: Published) -> None:
        """Nobody can tell, and the hint makes it certain."""
        lose_the_hook(hooked)
        with pytest.raises(Inconclusive, match="unknown: the hook for generation 4") as caught:
            settle_it(hooked)
        for word in ("--as live", "--as failed"):
            assert word in caught.value.hint
        assert stands(hooked) == (None, 3, 3)
        hooked.write_hook(DEPLOY)
        roll_back_until(hooked, "published")
        assert stands(hooked) == ("live", 5, 5)

    @pytest.mark.parametrize("runs", ["new", "old"])
    def test_is_decided_by_the_running_instances(
        self, copied: Callable[[str], Published], runs: str
    ) -> None:
        """Where nobody saw the hook end, the instances know: all new is live, else unknown."""
        at = copied("hooked")
        (at.root / "observe.sh").write_text("#!/bin/sh\ncat running 2>/dev/null || true\n")
        (at.root / "observe.sh").chmod(0o755)
        at.world.apply_policy(OBSERVED)
        lose_the_hook(at)
        newest = at.world.registry.releases.newest(SYSTEM, ENVIRONMENT)
        live = at.world.registry.releases.live(SYSTEM, ENVIRONMENT)
        assert newest is not None
        assert live is not None
        told = newest.attempt.version if runs == "new" else live.attempt.version
        (at.root / "running").write_text(f"desk-1 {told}\ndesk-2 {told}\n")
        if runs == "old":
            with pytest.raises(Inconclusive):
                settle_it(at)
            return
        assert settle_it(at).outcome == "live"
        assert stands(at) == ("live", 4, 4)

    def test_whose_receipt_is_published_is_live(self, plain: Published) -> None:
        """What servers trust already is settled as that, and not undone."""
        promote_until(plain, "rebuilt")
        staged = plain.target.staged(SYSTEM)
        assert staged is not None
        before = plain.target.current(SYSTEM)
        plain.target.publish(settled(staged, plain.world.registry.now()), before)
        assert settle_it(plain).outcome == "live"
        assert stands(plain) == ("live", 4, 4)

    @pytest.mark.parametrize("kind", ["taken", "rebuilt"])
    def test_of_a_rollback_has_held_and_quarantined(self, plain: Published, kind: str) -> None:
        """Abandoned, a rollback has still stopped promotions: nothing undoes that by accident."""
        roll_back_until(plain, kind)
        assert settle_it(plain).outcome == "abandoned"
        assert stands(plain) == ("abandoned", 3, 3)
        releases = plain.world.registry.releases
        assert len(releases.holds(SYSTEM, ENVIRONMENT)) == 1
        assert len(releases.quarantines(SYSTEM)) == 1


def lose_the_hook(at: Published) -> None:
    """Promote until the hook runs, and kill it together with who watches it."""
    at.write_hook("#!/bin/sh\necho begun\nsleep 60\n")
    promote_until(at, "hook")
    status = at.target.hook_status(SYSTEM, 4)
    assert status.pid is not None
    group = os.getpgid(status.pid)
    stat = Path(f"/proc/{status.pid}/stat").read_text().rsplit(")", 1)[-1].split()
    os.kill(int(stat[1]), signal.SIGKILL)
    os.killpg(group, signal.SIGKILL)
    while at.target.hook_status(SYSTEM, 4).state == "running":
        time.sleep(0.01)


class TestASettledAttempt:
    """It is known how it ended; what is published has to say the same."""

    def test_that_is_not_published_is_published(self, plain: Published) -> None:
        """Cut off between settlement and receipt, the receipt follows."""
        promote_until(plain, "settled")
        assert stands(plain) == ("live", 4, 3)
        assert settle_it(plain).outcome == "published"
        assert stands(plain) == ("live", 4, 4)

    def test_of_a_rollback_that_is_not_published_is_published(self, plain: Published) -> None:
        """The way back goes the same way, and leaves no way back to what was left."""
        roll_back_until(plain, "settled")
        assert settle_it(plain).outcome == "published"
        assert stands(plain) == ("live", 4, 4)
        way_back = plain.target.way_back(SYSTEM)
        assert way_back is None or way_back.label != "v3"

    @pytest.mark.parametrize("what", ["receipt.json", "prompts/system.md"])
    def test_whose_publication_was_changed_is_repaired(self, plain: Published, what: str) -> None:
        """A byte of the receipt, or of a file, is put right from the registry."""
        receipt = plain.target.current(SYSTEM)
        assert receipt is not None
        path = plain.place / (what if what.endswith("json") else f"{receipt.folder}/{what}")
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:20] + b"#" + data[21:] if len(data) > 21 else b"#")
        found = settle_it(plain)
        assert found.outcome == "repaired", found
        assert stands(plain) == ("live", 3, 3)
        if not what.endswith("json"):
            assert path.read_bytes() == data

    def test_whose_way_back_is_gone_is_repaired(self, plain: Published) -> None:
        """The way back that `--offline` needs stands beside what is live again."""
        (plain.place / "way-back.json").unlink()
        assert settle_it(plain).outcome == "repaired"
        way_back = plain.target.way_back(SYSTEM)
        assert way_back is not None
        assert way_back.label == "v2"

    def test_that_is_as_it_should_be_is_left_alone(self, plain: Published) -> None:
        """Nothing is written where nothing is to do."""
        before = plain.world.head()
        assert settle_it(plain).outcome == "nothing"
        assert plain.world.head() == before
