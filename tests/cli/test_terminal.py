"""Evaluations on a real terminal: the live screen, stopping it, and terminals that can do less."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.desks import Desk, environment, normal
from cli.terminal import Terminal

SLOW = """\
import pathlib
import time

GATE = pathlib.Path({gate!r})


def answer(input, settings):
    number = int(input["message"])
    while number >= {free} and not GATE.exists():
        time.sleep(0.02)
    return {{"label": {label}}}
"""
CASES = 60
FREE = 30
"""The first half is answered at once; the rest waits until the test opens the gate."""


def register_slow(desk: Desk, label: str, reason: str) -> None:
    """Register a version that answers half of the cases, then waits for the gate."""
    gate = str(desk.root / "gate")
    desk.write("systems/desk/answer.py", SLOW.format(gate=gate, free=FREE, label=label))
    desk.done("register", "-m", reason)


@pytest.fixture
def slow(new: Desk) -> Desk:
    """v1 live in staging; v2 wins 5 of its cases and loses 10 more, and waits half way."""
    cases = [
        {"id": f"t-{number:03}", "input": {"message": f"{number}"}, "expected": {"label": "a"}}
        for number in range(CASES)
    ]
    new.write("suites/desk.jsonl", "".join(json.dumps(case) + "\n" for case in cases))
    new.edit("policy.toml", "min = 0.60, max_drop = 0.10", "min = 0.10, max_drop = 0.90")
    new.done("suite", "apply")
    new.done("policy", "apply")
    (new.root / "gate").touch()
    register_slow(new, '"b" if number % 6 == 5 else "a"', "First version")
    new.done("ship", "--to", "staging")
    (new.root / "gate").unlink()
    register_slow(new, '"b" if number % 3 == 1 else "a"', "Another rule")
    return new


def open_gate(desk: Desk) -> None:
    """Let the rest of the cases be answered."""
    (desk.root / "gate").touch()


def answered(screen: str) -> bool:
    """Tell whether the screen shows every case that is free."""
    return f" {FREE}/{CASES} " in screen


def test_the_live_screen(slow: Desk) -> None:
    """Done and total, time, score with interval, won, lost and tied, failures as they come."""
    with Terminal("evaluate", "-j", "1", cwd=slow.root) as terminal:
        screen = terminal.until(answered)
        bar = screen.splitlines()[1]
        assert re.fullmatch(
            rf" ◐ {FREE}/{CASES}     ━{{19}}╌{{19}}  50%  0:\d\d  0:\d\d left", bar
        ), bar
        assert (
            re.sub(r"\d+(\.\d)? ms", "N ms", "\n".join(screen.splitlines()[2:]))
            == """\

            v2                 v1 live, same cases   won  lost  tied
 accuracy   .667 [.49 .83]     .833                    5    10    15
 p95        N ms             0 errors

 failing  10 so far
  t-013    a                    b                            live was right
  t-016    a                    b                            live was right
  t-019    a                    b                            live was right
  t-022    a                    b                            live was right
  t-025    a                    b                            live was right
  t-028    a                    b                            live was right

 ctrl+c stops; what was answered is kept and can be resumed"""
        )
        assert screen.startswith(" Evaluate v2 on desk\n")
        open_gate(slow)
        assert terminal.end() == 0
        end = terminal.text
    assert (
        normal(end)
        == """\
✔ evaluated v2 on desk: 60 answers, 0 errors, 0:00  (run ID)
    accuracy   .667    [.55 .77]  v1 .833   won 10, lost 20, tied 30
    p95_ms     N ms
next: `lockgate gate v2 --to ENV -s desk`
"""
    )


def test_ctrl_c_keeps_what_was_answered(slow: Desk) -> None:
    """Exit 130; the hint's command goes on from there and asks only the rest."""
    with Terminal("evaluate", "-j", "1", cwd=slow.root) as terminal:
        terminal.until(answered)
        terminal.type(b"\x03")
        assert terminal.end() == 130
        screen = terminal.text
    assert screen.startswith(f"stopped: {FREE}/{CASES} answers of `desk` are kept\n")
    hint = re.search(r"hint: `lockgate (evaluate v2 -s desk --resume [0-9a-f]{16})`\n", screen)
    assert hint
    open_gate(slow)
    said = slow(*hint[1].split())
    assert said.code == 0
    assert "✔ evaluated v2 on desk: 60 answers, 0 errors" in said.out


def test_ctrl_c_leaves_no_process_behind(slow: Desk) -> None:
    """The version's own processes end with the command."""
    with Terminal("evaluate", "-j", "2", cwd=slow.root) as terminal:
        terminal.until(answered)
        workers = children(terminal.pid)
        terminal.type(b"\x03")
        assert terminal.end() == 130
    assert len(workers) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists()]


def children(parent: int) -> list[int]:
    """Return the processes that a process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(words[1]) == parent:
            found.append(int(status.parent.name))
    return found


def test_an_interrupted_ship_goes_on_when_run_again(slow: Desk) -> None:
    """Ctrl-C while shipping: exit 130, and the hint takes it on."""
    with Terminal("ship", "--to", "staging", "-j", "1", cwd=slow.root) as terminal:
        terminal.until(answered)
        assert "v1 live, same cases" in terminal.text
        terminal.type(b"\x03")
        assert terminal.end() == 130
        hint = re.search(r"hint: .*?`lockgate ([^`]+)`", terminal.text)
    assert hint, terminal.text
    open_gate(slow)
    assert slow(*shlex.split(hint[1])).code == 0
    assert slow.done("ship", "--to", "staging").code == 0


def test_sigterm_is_like_ctrl_c(slow: Desk) -> None:
    """A process that is asked to end keeps what was answered, too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "evaluate", "-j", "1", "--json"],
        cwd=slow.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not slow.state()["answer"] or len(slow.state()["answer"]) < CASES + FREE:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"] == f"stopped: {FREE}/{CASES} answers of `desk` are kept"
    assert b"--resume " in err


def test_plain_lines_in_a_pipe(slow: Desk) -> None:
    """Without a terminal there is no cursor movement and no colour, only lines."""
    open_gate(slow)
    said = slow.outside("evaluate")
    assert "\x1b" not in said.out + said.err
    assert normal(said.err).splitlines() == [
        "v2 on desk: 60/60 · accuracy .667 · 0 errors · 0:00",
        "next: `lockgate gate v2 --to ENV -s desk`",
    ]


@pytest.mark.parametrize("columns", [20, 200])
def test_other_widths(slow: Desk, columns: int) -> None:
    """A narrow or a wide terminal crashes nothing and shows how far it is."""
    with Terminal("evaluate", "-j", "1", cwd=slow.root, columns=columns) as terminal:
        terminal.until(lambda screen: f" {FREE}/{CASES}" in screen)
        open_gate(slow)
        assert terminal.end() == 0


def test_colours_on_a_terminal_and_none_where_nobody_wants_them(slow: Desk) -> None:
    """States are coloured; NO_COLOR and TERM=dumb leave glyph and word alone."""
    open_gate(slow)
    slow.done("evaluate")
    words = ("gate", "v2", "--to", "staging")
    with Terminal(*words, cwd=slow.root) as coloured:
        assert coloured.end() == 0
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(*words, cwd=slow.root, env=env) as plain:
            assert plain.end() == 0
        assert b"\x1b" not in plain.raw
        assert plain.text == coloured.text
    assert b"\x1b[32m" in coloured.raw


def test_an_error_on_a_terminal_without_colours(slow: Desk) -> None:
    """NO_COLOR counts for errors as well."""
    with Terminal("gate", "--to", "nowhere", cwd=slow.root, env={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 2
    assert terminal.raw.startswith(b"error: no environment `nowhere`")


def test_a_dumb_terminal_gets_plain_lines(slow: Desk) -> None:
    """TERM=dumb cannot move its cursor, so the live screen is left out."""
    open_gate(slow)
    with Terminal("evaluate", cwd=slow.root, env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
    assert b"\x1b" not in terminal.raw
    assert "v2 on desk: 60/60 · accuracy .667" in terminal.text


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": None, "LANG": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_ascii_where_the_locale_is_plain(slow: Desk, env: dict[str, str | None]) -> None:
    """Outside UTF-8 the glyphs and the bar fall back to ASCII, on the live screen as well."""
    with Terminal("evaluate", "-j", "1", cwd=slow.root, env=env) as terminal:
        screen = terminal.until(answered)
        open_gate(slow)
        assert terminal.end() == 0
        assert "+ evaluated v2 on desk: 60 answers" in terminal.text
    assert f" o {FREE}/{CASES}     {'#' * 19}{'-' * 19}  50%" in screen
    assert terminal.raw.isascii()


def test_utf8_where_the_environment_says_nothing(slow: Desk) -> None:
    """A container without any locale still shows the glyphs."""
    env: dict[str, str | None] = {"LC_ALL": None, "LANG": None, "LC_CTYPE": None}
    said = slow.outside("suite", "apply", env=env)
    assert said.out.startswith("✔ desk is applied already")
