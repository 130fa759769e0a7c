"""`lockgate expire`: what it asks, what it tells, and what other commands say afterwards."""

from __future__ import annotations

import pytest

from cli.desks import Desk, normal
from cli.terminal import Terminal

EXPIRE = ("expire", "-s", "desk")


@pytest.fixture
def tried(busy: Desk) -> Desk:
    """Besides x1, which became v2, x2 with a prompt of its own that nobody needs."""
    busy.write("systems/desk/prompts/praise.txt", "best\nof\nall\n")
    busy.done("register", "-s", "desk", "--experiment", "-m", "Only three words")
    busy.done("evaluate", "x2", "-s", "desk")
    return busy


def test_nothing_is_old_yet(tried: Desk) -> None:
    """Everything that is kept says why; stdout has a line a version, and the exit code is 0."""
    said = tried.done(*EXPIRE)
    assert said.out.splitlines()[0] == "· x1 kept: v2 descends from it"
    assert said.out.splitlines()[1].startswith("· x2 kept: until ")
    assert said.err == "nothing is to go\n"


def test_a_dry_run_changes_nothing(tried: Desk) -> None:
    """It needs no reason, asks nothing, and says `would`."""
    before = tried.state()
    said = tried.done(*EXPIRE, "x2", "--dry-run")
    assert normal(said.out) == (
        "✔ x2 would expire: 1 file, last used WHEN; 3 files stay: v2\n  has them\n"
    )
    assert tried.state() == before


def test_a_named_version_needs_a_reason(tried: Desk) -> None:
    """Before its time nothing goes without one; a reason alone names nothing."""
    said = tried(*EXPIRE, "x2")
    assert said.code == 2
    assert said.hint == "say why: `lockgate expire x2 -m REASON -s desk`"
    said = tried(*EXPIRE, "-m", "enough")
    assert said.code == 2
    assert "age is the reason of all others" in said.err


def test_without_a_terminal_it_needs_yes(tried: Desk) -> None:
    """It tells what would go, names the command that does it, and changes nothing."""
    before = tried.state()
    said = tried(*EXPIRE, "x2", "-m", "not ours to keep")
    assert said.code == 2
    assert "x2 would expire: 1 file" in said.err
    assert said.hint == "`lockgate expire x2 -m 'not ours to keep' -s desk --yes`"
    assert tried.state() == before
    assert tried.follow(said).code == 0
    assert "· contents expired on " in tried.done("show", "x2", "-s", "desk").out


def test_a_release_is_refused(tried: Desk) -> None:
    """By any name and for any reason."""
    said = tried(*EXPIRE, "v1", "-m", "too old", "--yes")
    assert said.code == 1
    assert said.err.startswith("error: `v1` is a release: its contents never expire\n")
    assert tried.follow(said).code == 0


def test_a_day_that_is_none(tried: Desk) -> None:
    """The day is written as a date, and has to be the clock's."""
    said = tried(*EXPIRE, "--today", "tomorrow")
    assert (said.code, said.hint) == (2, "write it like --today 2026-08-21")
    said = tried(*EXPIRE, "--today", "2020-01-01")
    assert said.code == 2
    assert "the clock says " in said.err


def test_json(tried: Desk) -> None:
    """One value says what became of each version."""
    found = tried.done(*EXPIRE, "x2", "-m", "enough", "--yes", "--json").json
    (one,) = found["versions"]
    assert found["is_done"] is True
    assert (one["label"], one["expired"], one["files"]) == ("x2", True, ["prompts/praise.txt"])
    assert one["shared"] == [{"with": "v2", "files": 3}]
    found = tried.done(*EXPIRE, "x2", "--dry-run", "--json").json
    assert found["is_done"] is False
    assert found["versions"][0]["kept"].startswith("expired ")


class TestAfterwards:
    """Every command that meets expired contents says so, or works without them."""

    @pytest.fixture
    def gone(self, tried: Desk) -> Desk:
        tried.done(*EXPIRE, "x2", "-m", "enough", "--yes")
        return tried

    @pytest.mark.parametrize(
        "command",
        [
            ("evaluate", "x2", "--fresh"),
            ("checkout", "x2", "elsewhere"),
            ("register", "--from", "x2", "-m", "it won after all"),
        ],
    )
    def test_what_needs_them_is_refused(self, gone: Desk, command: tuple[str, ...]) -> None:
        """It says when, by whom, what is kept, and what brings them back."""
        said = gone(*command, "-s", "desk")
        assert said.code == 1
        assert normal(said.err) == (
            "error: contents of `x2` expired on WHEN by ml-team; its records, scores and digests "
            "are kept\n"
            "hint: `lockgate show x2 -s desk` still tells what it was; the same files, registered "
            "again, bring its contents back\n"
        )
        assert gone.follow(said).code == 0

    def test_what_does_not_works(self, gone: Desk) -> None:
        """Looking at it, and at what it was compared with, goes on."""
        shown = gone.done("show", "x2", "-s", "desk").out
        assert "removed" in shown and "accuracy" in shown
        gone.done("show", "x2", "--failing", "-s", "desk")
        assert "prompts/praise.txt" in gone.done("diff", "v1", "x2", "-s", "desk").out
        gone.done("diff", "x2", "v2", "--full", "-s", "desk")
        assert "x2" in gone.done("log", "--track", "experiment", "-s", "desk").out
        gone.done("show", "v1", "-s", "desk")
        gone.done("show", "v1", "--failing", "-s", "desk")
        gone.done("status", "-s", "desk")
        assert gone("show", "x2", "-s", "desk", "--json").json["expired"]["actor"] == "ml-team"

    def test_the_same_files_bring_them_back(self, gone: Desk) -> None:
        """The folder still is that version; registering it again keeps its bytes again."""
        said = gone.done("register", "-s", "desk", "--experiment", "-m", "once more")
        assert "is registered already" in said.out
        assert "expired" not in gone.done("show", "x2", "-s", "desk").out
        gone.done("checkout", "x2", "elsewhere", "-s", "desk")


class TestOnATerminal:
    """A person sees every line before anything goes, and presses one key."""

    WORDS = ("expire", "x2", "-s", "desk", "-m", "enough")

    def test_y_removes(self, tried: Desk) -> None:
        """Then the lines say what went."""
        with Terminal(*self.WORDS, cwd=tried.root) as terminal:
            terminal.until("press y")
            assert "x2 would expire: 1 file" in terminal.text
            terminal.type(b"y")
            assert terminal.end() == 0
            assert "x2 expired: 1 file" in terminal.text

    def test_anything_else_does_not(self, tried: Desk) -> None:
        """Nothing is changed."""
        before = tried.state()
        with Terminal(*self.WORDS, cwd=tried.root) as terminal:
            terminal.until("press y")
            terminal.type(b"n")
            assert terminal.end() == 1
        assert tried.state() == before


def test_a_clock_that_jumped(tried: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year ahead everything would be too old: somebody has to say that it is that day."""
    from datetime import timedelta

    from lockgate.storage import registry

    true = registry.SystemClock.now
    monkeypatch.setattr(registry.SystemClock, "now", lambda self: true(self) + timedelta(days=365))
    said = tried(*EXPIRE, "--yes")
    assert said.code == 1
    assert "by a clock that jumped, everything would be too old" in said.err
    before = tried.state()
    assert tried(*EXPIRE, "--today", "2020-02-02", "--yes").code == 2
    assert tried.state() == before
    said = tried.follow(said)
    assert (said.code, "--yes" in said.hint) == (2, True)
    assert tried.follow(said).code == 0
    assert "expired" in tried.done("show", "x2", "-s", "desk").out
