"""A version that is a program speaks JSON lines on its standard input and output."""

import asyncio
import os
import sys
import tracemalloc
from pathlib import Path

import pytest
from asked_versions import (
    SETTINGS,
    all_at_once,
    command_runner,
    limits,
    outcomes,
    question,
    started_facts,
    write_program,
)

from lockgate.errors import InfrastructureFailed
from lockgate.ports import Reply

ECHO = """
say({"ready": True, "model": "m-1"})
for line in sys.stdin:
    asked = json.loads(line)
    say({"id": asked["id"], "output": [asked["input"], asked["seed"], start, sys.argv[1:]]})
"""

TRICKS = """
say({"ready": True})
for line in sys.stdin:
    asked = json.loads(line)
    trick = asked["input"]
    if trick:
        exec(trick)
    else:
        say({"id": asked["id"], "output": os.getpid()})
"""
"""Runs its input; an empty one is answered with the process id."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "version"


def test_a_program_reads_the_start_and_answers_line_by_line(folder: Path) -> None:
    """It gets settings and seed first, then one question a line, and its own arguments."""
    write_program(folder, ECHO)

    outputs = outcomes(command_runner(folder, "./answer --fast"), {"text": "é"}, 2)

    start = {"settings": SETTINGS, "seed": 7}
    assert outputs == [[{"text": "é"}, 7, start, ["--fast"]], [2, 7, start, ["--fast"]]]


def test_the_case_itself_is_not_told_to_the_version(folder: Path) -> None:
    """A version sees input and seed; it cannot know which case it is asked."""
    write_program(
        folder,
        """
        say({"ready": True})
        for line in sys.stdin:
            say({"id": json.loads(line)["id"], "output": sorted(json.loads(line))})
        """,
    )

    assert outcomes(command_runner(folder), "x") == [["id", "input", "seed"]]


def test_what_the_program_tells_about_itself_is_a_fact(folder: Path) -> None:
    """Its own facts stand apart from those that Lockgate found."""
    write_program(folder, ECHO)

    facts = started_facts(command_runner(folder, "./answer --fast"))

    assert facts == {
        "runner": "command",
        "command": ["./answer", "--fast"],
        "platform": f"{sys.platform}-{os.uname().machine}",
        "seed": 7,
        "told": {"model": "m-1"},
    }


def test_tokens_may_be_told_but_no_latency(folder: Path) -> None:
    """A program that knows them tells what an answer cost; how long it took is measured."""
    write_program(
        folder,
        """
        say({"ready": True})
        for line in sys.stdin:
            more = {"tokens_in": 11, "tokens_out": 3, "latency_ms": 1}
            time.sleep(0.05)
            say({"id": json.loads(line)["id"], "output": "x", **more})
        """,
    )

    async def run() -> Reply:
        runner = command_runner(folder)
        try:
            await runner.start()
            return await runner.ask(question())
        finally:
            await runner.close()

    reply = asyncio.run(run())

    assert reply.latency_ms >= 50.0
    assert (reply.tokens_in, reply.tokens_out) == (11, 3)


@pytest.mark.parametrize("command", ["answer", "./answer", "bin/../answer"])
def test_a_relative_program_of_the_folder_is_that_file(folder: Path, command: str) -> None:
    """A file of the version comes before a program of the same name in PATH."""
    write_program(folder, ECHO)
    (folder / "bin").mkdir()

    assert outcomes(command_runner(folder, command), 1)[0][0] == 1


def test_any_other_program_is_looked_up_in_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python3` is whatever PATH has; no shell is involved."""
    write_program(tmp_path / "bin", ECHO, name="some-tool")
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    [output] = outcomes(command_runner(folder, "some-tool $HOME ;exit"), 1)

    assert output[3] == ["$HOME", ";exit"]


def test_a_program_that_is_nowhere_is_named(folder: Path) -> None:
    """The message names it and where it was looked for."""
    folder.mkdir()

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(command_runner(folder, "no-such-tool"))

    assert failed.value.what == "program `no-such-tool` is neither in the version nor in PATH"
    assert failed.value.hint.startswith("install `no-such-tool` here")


def test_a_file_that_is_not_executable_is_named(folder: Path) -> None:
    """The hint is the command that repairs it."""
    write_program(folder, ECHO)
    (folder / "answer").chmod(0o644)

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(command_runner(folder))

    assert failed.value.what == "program `./answer` is not executable"
    assert failed.value.hint == "run `chmod +x ./answer` in the system's folder and register again"


@pytest.mark.parametrize("command", ["../elsewhere/answer", "link"])
def test_a_program_outside_the_folder_is_refused(
    folder: Path, tmp_path: Path, command: str
) -> None:
    """What was registered is what runs: neither `..` nor a link leads out."""
    write_program(tmp_path / "elsewhere", ECHO)
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "answer")

    with pytest.raises(InfrastructureFailed, match="is outside the version's folder"):
        started_facts(command_runner(folder, command))


def test_an_empty_command_is_refused(folder: Path) -> None:
    """There is nothing to run."""
    folder.mkdir()

    with pytest.raises(InfrastructureFailed, match="the version's command is empty"):
        started_facts(command_runner(folder, ""))


def test_a_file_that_is_no_program_is_named(folder: Path) -> None:
    """What the system says about it is shown."""
    folder.mkdir()
    (folder / "answer").write_text("just text\n")
    (folder / "answer").chmod(0o755)

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(command_runner(folder))

    assert failed.value.what.endswith("the process ended with exit code 127")
    assert failed.value.problems[-1].endswith("/answer: Exec format error")


@pytest.mark.parametrize(
    ("body", "what", "problems"),
    [
        ("sys.exit('no weights')", "the process ended with exit code 1", ("no weights",)),
        ("os.kill(os.getpid(), 9)", "the process was killed by signal SIGKILL", ()),
        ("say({'ready': False, 'error': 'no GPU'})", "no GPU", ()),
        ("say({'ready': True, 'x': 'x' * 70000})", "its first line is longer than 65536 bytes", ()),
        ("print('Loading...', flush=True)", "the reply is not JSON (Expecting value: line 1", ()),
        ("os.close(1); time.sleep(600)", "the process closed its standard output", ()),
    ],
)
def test_a_program_that_is_not_ready_ends_the_run_before_it_begins(
    folder: Path, body: str, what: str, problems: tuple[str, ...]
) -> None:
    """The reason is told with the last lines of standard error."""
    write_program(folder, body)

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(command_runner(folder))

    assert failed.value.what.startswith(f"the version could not be started: {what}")
    assert failed.value.problems == problems


@pytest.mark.parametrize(
    ("trick", "error"),
    [
        ("print('Thinking \\x1b[31m', flush=True)", "the reply is not JSON (Expecting value"),
        ("say(['x'])", 'the reply is not a JSON object: `["x"]`'),
        ("say({'id': '99', 'output': 1})", 'the reply has the id `"99"`, the question had `"2"`'),
        ("say({'output': 1})", 'the reply has no id, the question had `"2"`'),
        ('print(\'{"id": "2", "output": NaN}\', flush=True)', "the reply is not JSON (NaN is"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()", "the reply is not UTF-8"),
        ("print('[' * 100_000, flush=True)", "the reply is nested deeper than 100 levels"),
        ("os.close(1); time.sleep(600)", "the process closed its standard output"),
        ("os.abort()", "the process was killed by signal SIGABRT"),
        ("sys.exit(0)", "the process ended with exit code 0"),
    ],
)
def test_a_program_out_of_step_is_replaced(folder: Path, trick: str, error: str) -> None:
    """It costs the case it was asked; a new process answers the next one."""
    write_program(folder, TRICKS)

    before, failed, after = outcomes(command_runner(folder), "", trick, "")

    assert failed.startswith(error)
    assert failed.isprintable()
    assert isinstance(after, int)
    assert after != before


def test_a_program_out_of_time_is_replaced(folder: Path) -> None:
    """The limit is for one answer, and named."""
    write_program(folder, TRICKS)

    before, failed, after = outcomes(
        command_runner(folder, timeout_s=0.5), "", "time.sleep(600)", ""
    )

    assert failed == "no answer within 0.5 s"
    assert after != before


def test_an_error_that_the_program_reports_keeps_it(folder: Path) -> None:
    """`{"id", "error"}` is the case's error; the same process answers the next one."""
    write_program(folder, TRICKS)

    before, failed, after = outcomes(
        command_runner(folder), "", "say({'id': asked['id'], 'error': 'no such order'})", ""
    )

    assert failed == "no such order"
    assert before == after


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_a_line_that_nobody_asked_for_costs_a_case(folder: Path, pause_s: float) -> None:
    """A program that says more than it was asked pays with its next question, soon or late."""
    write_program(folder, TRICKS)
    twice = f"""
reply = json.dumps({{"id": asked["id"], "output": "once"}}).encode() + b"\\n"
os.write(1, reply + (b"" if {pause_s} else b"done!\\n"))
time.sleep({pause_s})
os.write(1, b"done!\\n")
"""

    first, second, third = outcomes(command_runner(folder), twice, "", "")

    assert first == "once"
    assert isinstance(second, str)
    assert "`done!`" in second
    assert isinstance(third, int)


def test_empty_lines_say_nothing(folder: Path) -> None:
    """They are passed over, between answers and before them."""
    write_program(folder, TRICKS)

    first, second = outcomes(
        command_runner(folder), "print('\\n \\n', flush=True); say({'id': '1', 'output': 5})", ""
    )

    assert first == 5
    assert isinstance(second, int)


def test_a_program_that_answers_once_and_leaves_is_started_anew(folder: Path) -> None:
    """Leaving between two questions is no error of anybody."""
    write_program(
        folder,
        """
        say({"ready": True})
        asked = json.loads(sys.stdin.readline())
        say({"id": asked["id"], "output": os.getpid()})
        """,
    )

    async def run() -> list[int]:
        runner = command_runner(folder)
        try:
            await runner.start()
            outputs = []
            for _ in range(3):
                outputs.append((await runner.ask(question())).output)
                async with asyncio.timeout(15):
                    while not runner._idle[0].has_left:
                        await asyncio.sleep(0.01)
            return outputs
        finally:
            await runner.close()

    assert len(set(asyncio.run(run()))) == 3


@pytest.mark.parametrize(
    "flood",
    [
        "while True: os.write(1, b'x' * 1_000_000)",
        "while True: os.write(1, b'xy\\n' * 300_000)",
    ],
)
def test_a_program_that_never_stops_writing_is_bounded(folder: Path, flood: str) -> None:
    """It is ended at the first line too much or too long; memory stays small."""
    write_program(folder, TRICKS)
    tracemalloc.start()
    try:
        failed, after = outcomes(command_runner(folder, timeout_s=60.0), flood, "")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert failed in (
        "the reply is longer than 8388608 bytes",
        "the reply is not JSON (Expecting value: line 1 column 1 (char 0)): `xy`",
    )
    assert isinstance(after, int)
    assert peak_bytes < 30_000_000


def test_an_answer_of_exactly_the_line_limit_is_an_answer(folder: Path) -> None:
    """One byte more is not."""
    write_program(folder, TRICKS)
    exact = """
size = {size} - len(json.dumps({{"id": asked["id"], "output": ""}}))
say({{"id": asked["id"], "output": "x" * size}})
"""
    runner = command_runner(folder, limits=limits(line_bytes=300_000))

    fits, too_long = outcomes(runner, exact.format(size=300_000), exact.format(size=300_001))

    assert set(fits) == {"x"}
    assert too_long == "the reply is longer than 300000 bytes"


def test_a_flood_on_standard_error_keeps_only_its_end(folder: Path) -> None:
    """The last words are few, whatever was written before."""
    write_program(folder, TRICKS)
    flood = """
for _ in range(100): os.write(2, b"noise " * 50_000 + b"\\n")
os.write(2, b"out of \\x1b[5mmemory\\n")
os._exit(4)
"""

    [failed] = outcomes(command_runner(folder), flood)

    assert failed.startswith("the process ended with exit code 4; it last wrote: ")
    assert failed.endswith("noise / out of \\x1b[5mmemory")
    assert len(failed) < 1100


def test_a_question_larger_than_a_pipe_arrives(folder: Path) -> None:
    """Long inputs and long answers pass at the same time."""
    write_program(folder, ECHO)
    text = "long " * 400_000

    assert outcomes(command_runner(folder), text)[0][0] == text


def test_an_input_that_is_not_json_costs_only_its_case(folder: Path) -> None:
    """Nothing is sent to the process, which goes on."""
    write_program(folder, TRICKS)

    before, failed, after = outcomes(command_runner(folder), "", float("nan"), "")

    assert failed.startswith("the case's input is not JSON: Out of range float values")
    assert before == after


def test_programs_work_side_by_side(folder: Path) -> None:
    """Concurrency is a number of processes."""
    write_program(folder, TRICKS)
    slow = "time.sleep(0.2); say({'id': asked['id'], 'output': os.getpid()})"

    pids = outcomes(command_runner(folder, concurrency=3), *[slow] * 6, ask=all_at_once)

    assert len(set(pids)) == 3
