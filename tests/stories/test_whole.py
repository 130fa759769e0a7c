"""What is gone back to is whole, also when it is too large to be hashed each time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.desks import Desk, Said, environment
from lockgate.domain.upkeep import FullCheck
from lockgate.errors import Refused
from lockgate.loop import way_back as way_back_module
from lockgate.loop.way_back import full_check
from lockgate.upkeep.rollback import find_way_back
from loop.world import SYSTEM
from stories.published import HOOKED, Published

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """v1, v2 and v3 went live, by a hook; not to be changed."""
    root = tmp_path_factory.mktemp("whole") / "registry"
    Published.make(root, keys, policy=HOOKED)
    return root


@pytest.fixture
def at(made: Path, tmp_path: Path, keys: Path) -> Iterator[Published]:
    """v3 is live; v2 is the way back."""
    copy = Published.copied(made, tmp_path / "registry", keys)
    yield copy
    copy.world.registry.close()


@pytest.fixture
def type_in(
    at: Published, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Return what types a command."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *words: Desk(at.root, capsys, monkeypatch)(*words, actor="on-call")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every version here be too large to be hashed at once."""
    from lockgate.deploy import target as target_module

    monkeypatch.setattr(way_back_module, "FULLY_CHECKED_BYTES", 10)
    monkeypatch.setattr(target_module, "HASHED_AT_ONCE_BYTES", 10)


def tamper(at: Published, generation: int) -> Path:
    """Change a published file, with its length and its mode kept."""
    path = at.place / "generations" / f"{generation:08d}" / "answer.py"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("billing", "BILLING"))
    path.chmod(0o444)
    return path


def v2(at: Published) -> str:
    return at.version("v2").definition


class TestRepairing:
    """`settle` says what it wrote again."""

    def test_a_tampered_folder(self, at: Published) -> None:
        """The file is named, and whole afterwards."""
        path = tamper(at, 3)
        found = at.settle()
        assert (found.outcome, found.generation) == ("repaired", 3)
        assert found.words == "`answer.py` was changed; it was written again from the registry"
        assert "BILLING" not in path.read_text()
        assert at.settle().outcome == "nothing"

    def test_a_tampered_receipt(self, at: Published) -> None:
        """It is written again, and the way back stays."""
        receipt = at.place / "receipt.json"
        receipt.write_text(receipt.read_text().replace("v3", "v9"))
        found = at.settle()
        assert (found.outcome, found.words) == (
            "repaired",
            "its receipt did not count, and was written again",
        )
        assert at.current().label == "v3"
        way_back = at.target.way_back(SYSTEM)
        assert way_back is not None
        assert way_back.label == "v2"
        assert at.settle().outcome == "nothing"

    def test_a_large_tampered_folder(self, at: Published, large: None) -> None:
        """What is too large to be hashed each time is hashed here."""
        path = tamper(at, 3)
        assert at.settle().outcome == "repaired"
        assert "BILLING" not in path.read_text()

    def test_a_way_back_that_was_not_written(self, at: Published) -> None:
        """Cut off right after the receipt: the older way back is put right."""
        way_back = at.place / "way-back.json"
        way_back.unlink()
        found = at.settle()
        assert (found.outcome, found.words) == ("repaired", "its way back was not the right one")
        kept = at.target.way_back(SYSTEM)
        assert kept is not None
        assert kept.label == "v2"
        assert at.settle().outcome == "nothing"


class TestALargeVersion:
    """It is hashed beforehand by promotions, and after the switch by a rollback."""

    def test_is_gone_back_to_where_it_stands(self, at: Published) -> None:
        """Its folder is used as it is: nothing is copied while somebody waits."""
        at.roll_back()
        assert at.current().folder == "generations/00000002"
        assert not (at.place / "generations" / "00000004").exists()

    def test_is_hashed_after_the_switch(
        self, at: Published, type_in: Callable[..., Said], large: None
    ) -> None:
        """It says so, and the note says when."""
        said = type_in("rollback", "staging", "--yes")
        assert said.code == 0, said
        assert "hashed after the switch, all well" in said.err
        noted = at.world.registry.upkeep.full_check(v2(at))
        assert noted is not None
        assert noted.problem is None

    def test_that_is_not_whole_is_told_loudly(
        self, at: Published, type_in: Callable[..., Said], large: None
    ) -> None:
        """Exit 6: what is live, which file, and what mends it."""
        tamper(at, 2)
        said = type_in("rollback", "staging", "--yes")
        assert said.code == 6
        assert "v2 IS LIVE in staging as generation 4, and is not whole" in said.err
        assert "`answer.py` was changed" in said.err
        assert said.command == f"lockgate settle staging -s {SYSTEM}"
        assert at.live() == (4, "v2", "rollback")
        assert at.settle().outcome == "repaired"

    def test_that_is_not_whole_stops_a_promotion_beforehand(
        self, at: Published, large: None
    ) -> None:
        """The way back is mended from the registry before anything is begun."""
        path = tamper(at, 3)
        at.promote(at.ready())
        assert "BILLING" not in path.read_text()

    def test_shows_when_it_was_hashed_last(
        self, at: Published, type_in: Callable[..., Said], large: None
    ) -> None:
        """Before anybody says yes."""
        asked = type_in("rollback", "staging")
        assert "were never hashed at once, and are after the switch" in words(asked.out)
        full_check(at.world.registry, at.version("v2"))
        asked = type_in("rollback", "staging")
        assert "ago, all well; again after the switch" in words(asked.out)

    def test_that_was_found_damaged_is_no_target(self, at: Published, large: None) -> None:
        """What the last full check found counts until the next one."""
        registry = at.world.registry
        note = FullCheck(v2(at), registry.now(), 100, "answer.py: its bytes are wrong")
        with registry.write() as writing:
            writing.note_full_check(note)
        found = find_way_back(registry, SYSTEM, "staging")
        assert found.to.label == "v1"
        assert found.skipped == (
            (
                "v2",
                "it is not intact: answer.py: its bytes are wrong, when all of it was last hashed",
            ),
        )
        assert full_check(registry, at.version("v2")).problem is None
        assert find_way_back(registry, SYSTEM, "staging").to.label == "v2"

    def test_is_noted_when_it_is_promoted(self, at: Published, large: None) -> None:
        """What was written for the serving side was hashed whole."""
        version = at.ready()
        at.promote(version)
        noted = at.world.registry.upkeep.full_check(version.definition)
        assert noted is not None
        assert (noted.problem, noted.size_bytes > 0) == (None, True)


class TestHooksThatMisbehave:
    """Whatever a hook does, what is live is known."""

    def promoting(self, at: Published, hook: str, timeout: str = "20s") -> Any:
        at.write_hook(f'#!/bin/sh\n[ "$LOCKGATE_GENERATION" = 4 ] || exit 0\necho up\n{hook}\n')
        policy = (at.root / "policy.toml").read_text()
        at.world.apply_policy(policy.replace('"20s"', f'"{timeout}"'))
        version = at.ready()
        return subprocess.Popen(
            [sys.executable, "-m", "lockgate", "promote", version.label, "--to", "staging"],
            cwd=at.root,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def test_one_that_takes_too_long(self, at: Published) -> None:
        """It is ended, the attempt failed, and what was live is."""
        with self.promoting(at, "exec sleep 60", "1s") as promotion:
            told, _ = promotion.communicate(timeout=60)
        assert promotion.returncode == 5
        assert "ran out of time" in told
        assert at.history()[-1] == (4, "promote", "failed")
        assert (at.live()[1], at.current().label) == ("v3", "v3")
        assert at.target.staged(SYSTEM) is None

    def test_one_that_ignores_being_stopped(self, at: Published) -> None:
        """A rollback ends it for good; the late settlement of the promotion is refused."""
        with self.promoting(at, 'trap "" TERM\nwhile :; do sleep 0.2; done') as promotion:
            assert promotion.stdout is not None
            line = ""
            while "up" not in line.split():
                line = promotion.stdout.readline()
                assert line
            at.roll_back()
            promotion.communicate(timeout=60)
        assert promotion.returncode in (1, 5)  # refused, or told that its hook was stopped
        assert at.live() == (5, "v2", "rollback")
        assert at.current().generation == 5
        assert at.target.hook_status(SYSTEM, 4).state == "ended"
        assert at.history()[-2][2] in ("abandoned", "failed")
        assert at.settle().outcome == "nothing"


def test_a_way_back_is_never_what_no_gate_let_in(at: Published) -> None:
    """After a rollback was lifted and gone past, the way back kept is one a rollback would take."""
    from lockgate.upkeep.hold import lift_hold, lift_quarantine
    from lockgate.upkeep.rollback import roll_back

    registry = at.world.registry
    at.roll_back()
    v3 = at.version("v3")
    lift_quarantine(registry, v3, reason="looked at", actor="lead")
    lift_hold(registry, SYSTEM, "staging", reason="mended", actor="lead")
    version = at.world.evaluated(17, parent=at.version("v2"))
    at.promote(version)
    kept = at.target.way_back(SYSTEM)
    assert kept is not None
    assert kept.label == "v2"
    at.roll_back()
    assert at.live()[1] == "v2"
    with pytest.raises(Refused):
        deque(roll_back(registry, find_way_back(registry, SYSTEM, "staging"), actor="x"), maxlen=0)


def words(text: str) -> str:
    """Return a text as one line, wherever it was broken."""
    return " ".join(text.split())
