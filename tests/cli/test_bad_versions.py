"""Versions that raise, hang, talk, end or flood: an infrastructure error, never a score."""

from __future__ import annotations

import resource
import time

import pytest

from cli.desks import Desk, Said


def with_answer(desk: Desk, code: str, timeout_s: float = 5.0) -> None:
    """Register a version whose answer.py is this code."""
    desk.write("systems/desk/answer.py", code)
    desk.edit("suites/desk.toml", "timeout_s = 10.0", f"timeout_s = {timeout_s}")
    desk.done("suite", "apply")
    desk.done("register", "-m", "a version that does something odd")


def no_score(desk: Desk, said: Said) -> None:
    """Hold what every failed evaluation looks like, and that the gate does not count it."""
    assert said.code == 5, said
    assert said.out == ""
    assert "error: " in said.err and "\nhint: " in said.err
    gate = desk("gate", "v1", "--to", "staging")
    assert gate.code == 1
    assert gate.err.startswith("error: version `v1` has no completed run on `desk`\n")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "raise RuntimeError('no luck')\n",
            "the version could not be started: RuntimeError: no luck (answer.py:1)",
        ),
        (
            "import sys\nsys.exit(4)\n",
            "the version could not be started: SystemExit: 4 (answer.py:2)",
        ),
        ("import os\nos._exit(3)\n", "the version could not be started: "),
        (
            "def reply(input, settings):\n    return 1\n",
            "the version could not be started: module `answer` has no function `answer`",
        ),
        ("def answer(:\n", "the version could not be started: SyntaxError"),
        ("import no_such_module\n", "the version could not be started: ModuleNotFoundError"),
    ],
)
def test_a_version_that_cannot_be_started(new: Desk, code: str, what: str) -> None:
    """Exit 5 with the version's own last words; nothing was asked, so no run was begun."""
    with_answer(new, code)
    before = new.state()
    said = new("evaluate")
    no_score(new, said)
    assert said.err.startswith(f"error: {what}")
    assert "`lockgate register -m REASON`" in said.hint
    assert new.state() == before


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise ValueError('odd input')", "ValueError: odd input (answer.py:4)"),
        ("os._exit(3)", "the process ended with exit code 3"),
        ("os.kill(os.getpid(), 9)", "the process"),
        ("return object()", "the answer is not JSON: TypeError"),
        ("return float('nan')", "the answer is not JSON: ValueError"),
        ("return '\\ud800'", "the answer holds a lone surrogate, which is not text"),
        ("return answer(input, settings)", "RecursionError"),
        ("raise KeyboardInterrupt", ""),
        ("sys.exit(0)", ""),
    ],
)
def test_a_version_that_fails_every_question(new: Desk, body: str, what: str) -> None:
    """After five failures in a row the run stops, stays open, and is no score."""
    with_answer(new, f"import os, sys\n\ndef answer(input, settings):\n    {body}\n")
    said = new("evaluate")
    no_score(new, said)
    assert "error: 5 questions in a row failed; the last: " in said.err
    assert what in said.err
    assert "0/16 kept · no score" in said.err
    assert said.command.startswith("lockgate evaluate v1 -s desk --resume ")
    assert new.follow(said).code == 5


def test_a_version_that_hangs(new: Desk) -> None:
    """Each question has its time limit; the process is ended and the next one asked."""
    with_answer(new, "import time\n\ndef answer(input, settings):\n    time.sleep(600)\n", 0.3)
    began = time.monotonic()
    said = new("evaluate", "-j", "4")
    no_score(new, said)
    assert "the last: no answer within 0.3 s" in said.err
    assert time.monotonic() - began < 30


def test_a_version_that_fails_now_and_then_is_resumed(new: Desk) -> None:
    """Once it is well again the hint asks only what has no score yet, and completes the run."""
    flag = new.root / "ill"
    flag.write_text("", encoding="utf-8")
    with_answer(
        new,
        "import pathlib\n\ndef answer(input, settings):\n"
        f"    if pathlib.Path({str(flag)!r}).exists() and 'a' in input['message'].lower()[3:]:\n"
        "        raise ConnectionError('the endpoint is down')\n"
        "    return {'label': 'praise'}\n",
    )
    said = new("evaluate", "-j", "1")
    no_score(new, said)
    assert "ConnectionError: the endpoint is down" in said.err
    flag.unlink()
    resumed = new.follow(said)
    assert resumed.code == 0
    assert "✔ evaluated v1 on desk: 16 answers, 0 errors" in resumed.out


def test_what_a_version_prints_is_not_its_answer(new: Desk) -> None:
    """Words on stdout and stderr, also past Python, do not disturb the answers."""
    with_answer(
        new,
        "import os\n\ndef answer(input, settings):\n"
        "    print('{\"output\": 1}')\n"
        "    os.write(1, b'raw\\n\\xff\\n')\n"
        "    os.write(2, b'\\x1b]52;c;AAAA\\x07')\n"
        "    return {'label': 'praise'}\n",
    )
    said = new.done("evaluate")
    assert "16 answers, 0 errors" in said.out
    assert "raw" not in said.out + said.err


def test_a_version_that_prints_gigabytes(new: Desk) -> None:
    """A flood is neither kept in memory nor shown."""
    with_answer(
        new,
        "import os\n\ndef answer(input, settings):\n"
        "    while True:\n        os.write(1, b'x' * 1_000_000)\n",
        0.3,
    )
    said = new("evaluate", "-j", "2")
    no_score(new, said)
    assert "no answer within 0.3 s" in said.err
    assert len(said.err) < 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_000_000


def test_an_answer_of_many_megabytes(new: Desk) -> None:
    """An answer beyond every measure is a failed question."""
    with_answer(new, "def answer(input, settings):\n    return 'x' * 20_000_000\n")
    said = new("evaluate", "-j", "1")
    no_score(new, said)
    assert len(said.err) < 20_000


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ('["no-such-program-anywhere"]', "no-such-program-anywhere"),
        ('["./filter.py"]', "filter.py"),
        ('["./gone.sh"]', "gone.sh"),
        ('["python3", "-c", "print(1)"]', ""),
        ('["true"]', ""),
        ('["python3", "gone.py"]', "gone.py"),
    ],
)
def test_a_command_that_cannot_be_asked(busy: Desk, command: str, what: str) -> None:
    """A program that is missing, not executable or no worker is told with what to do."""
    busy.edit("systems/filter/lockgate.toml", '["python3", "filter.py"]', command)
    registered = busy("register", "-s", "filter", "-m", "another program")
    said = busy("evaluate", "v2", "-s", "filter") if registered.code == 0 else registered
    assert said.code == 5 or registered.code == 2, said
    assert said.err.startswith("error: ") and "\nhint: " in said.err
    assert what in said.err


def test_a_version_does_not_see_the_secrets_of_the_shell(new: Desk) -> None:
    """Variables of whoever evaluates do not reach the version's code."""
    with_answer(
        new,
        "import os\n\ndef answer(input, settings):\n"
        "    assert 'MY_TOKEN' not in os.environ\n    return {'label': 'praise'}\n",
    )
    assert new("evaluate", env={"MY_TOKEN": "abc"}).code == 0
