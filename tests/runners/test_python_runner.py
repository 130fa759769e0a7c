"""A version that is a Python function is asked in worker processes of its own."""

import asyncio
import sys
from pathlib import Path

import pytest
from asked_versions import (
    all_at_once,
    eventually,
    is_running,
    limits,
    one_by_one,
    outcomes,
    python_runner,
    question,
    started_facts,
    write_version,
)

from lockgate.errors import InfrastructureFailed
from lockgate.ports import CaseFailed, Reply


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "version"


def test_a_function_is_called_with_the_input_and_the_settings(folder: Path) -> None:
    """`answer(input, settings)` returns the output of the case."""
    write_version(folder, assistant="def answer(input, settings): return [input, settings]")

    [output] = outcomes(python_runner(folder), {"text": "Grüße \U0001f600"})

    assert output == [
        {"text": "Grüße \U0001f600"},
        {"generation": {"temperature": 0.0, "words": ["a", "b"]}},
    ]


def test_the_facts_of_the_runtime_are_told(folder: Path) -> None:
    """What could change an answer is part of the run: interpreter, platform, flags, libraries."""
    write_version(folder, assistant="import sqlite3\ndef answer(input, settings): return 1")

    facts = started_facts(python_runner(folder))

    assert facts["runner"] == "python"
    assert facts["target"] == "assistant:answer"
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["implementation"] == "CPython"
    assert facts["platform"].startswith(f"{sys.platform}-")
    assert facts["flags"]["hash_seed"] == "0"
    assert facts["flags"]["omp_num_threads"] == "1"
    assert facts["seed"] == 7
    assert facts["sqlite"].startswith("3.")


def test_the_version_of_an_imported_package_is_a_fact(folder: Path) -> None:
    """A library of the version is named with its version; the version's own modules are not."""
    write_version(
        folder,
        helper="WORD = 'x'",
        assistant="import click, helper\ndef answer(input, settings): return helper.WORD",
    )

    packages = started_facts(python_runner(folder))["packages"]

    assert packages["click"][0].isdigit()
    assert "helper" not in packages
    assert "assistant" not in packages


def test_latency_is_measured_outside_the_version(folder: Path) -> None:
    """A version that turns its own clock back is as slow as before."""
    write_version(
        folder,
        assistant="""
        import time
        time.perf_counter = time.monotonic = lambda: 0.0
        def answer(input, settings): time.sleep(0.05); return 1
        """,
    )

    async def run() -> Reply:
        runner = python_runner(folder)
        try:
            await runner.start()
            return await runner.ask(question())
        finally:
            await runner.close()

    assert asyncio.run(run()).latency_ms >= 50.0


def test_a_third_parameter_receives_the_seed(folder: Path) -> None:
    """`answer(input, settings, seed)` gets the seed of its question."""
    write_version(folder, assistant="def answer(input, settings, seed): return seed")

    async def run() -> list[Reply | str]:
        runner = python_runner(folder)
        try:
            await runner.start()
            return await one_by_one(runner, [question(seed=3), question(seed=2**40)])
        finally:
            await runner.close()

    assert [reply.output for reply in asyncio.run(run())] == [3, 2**40]


def test_the_order_of_questions_changes_no_answer(folder: Path) -> None:
    """Neither the random state nor changed settings travel from one question to the next."""
    write_version(
        folder,
        assistant="""
        import random

        def answer(input, settings):
            settings["generation"]["words"].append(input)
            return [input, random.random(), hash("text") % 1000, settings["generation"]["words"]]
        """,
    )
    inputs = [f"q{number}" for number in range(12)]

    forward = outcomes(python_runner(folder), *inputs)
    backward = outcomes(python_runner(folder), *reversed(inputs))
    at_once = outcomes(python_runner(folder, concurrency=3), *inputs, ask=all_at_once)

    assert forward[0][3] == ["a", "b", "q0"]
    assert forward[-1][3] == ["a", "b", "q11"]
    assert backward == list(reversed(forward))
    assert at_once == forward


def test_the_seed_decides_what_random_gives(folder: Path) -> None:
    """Equal seeds give equal draws, other seeds give others."""
    write_version(
        folder, assistant="import random\ndef answer(input, settings): return random.random()"
    )

    async def run() -> list[Reply | str]:
        runner = python_runner(folder)
        try:
            await runner.start()
            return await one_by_one(runner, [question(seed=seed) for seed in (1, 2, 1)])
        finally:
            await runner.close()

    first, second, again = (reply.output for reply in asyncio.run(run()))
    assert first == again
    assert first != second


def test_prints_and_children_do_not_disturb_the_protocol(folder: Path) -> None:
    """Standard output belongs to the protocol; what the version prints goes elsewhere."""
    write_version(
        folder,
        assistant="""
        import os, subprocess, sys
        print("loading")

        def answer(input, settings):
            print('{"id": "1", "output": "forged"}')
            sys.stdout.flush()
            os.write(1, b"raw\\n")
            subprocess.run(["echo", "from a child"], check=True)
            return [input, sys.stdin.read()]
        """,
    )

    assert outcomes(python_runner(folder), 1, 2) == [[1, ""], [2, ""]]


def test_an_exception_is_the_cases_error_and_the_worker_goes_on(folder: Path) -> None:
    """The error names type, text, file and line; the next question reaches the same process."""
    write_version(
        folder,
        assistant="""
        import os, sys

        def answer(input, settings):
            if input == "raise":
                return int("forty-one")
            if input == "exit":
                sys.exit("enough")
            return os.getpid()
        """,
    )

    before, raised, left, after = outcomes(python_runner(folder), "", "raise", "exit", "")

    assert raised == (
        "ValueError: invalid literal for int() with base 10: 'forty-one' (assistant.py:6)"
    )
    assert left == "SystemExit: enough (assistant.py:8)"
    assert before == after


def test_the_version_and_not_a_library_is_named_as_the_place(folder: Path) -> None:
    """The innermost line of the version's own files is shown."""
    write_version(
        folder,
        parsing="import json\ndef parse(text):\n    return json.loads(text)",
        assistant="import parsing\ndef answer(input, settings): return parsing.parse(input)",
    )

    [error] = outcomes(python_runner(folder), "{")

    assert error.startswith("JSONDecodeError: Expecting property name")
    assert error.endswith("(parsing.py:3)")


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        (
            "{1, 2}",
            "the answer is not JSON: TypeError: Object of type set is not JSON serializable",
        ),
        ("float('nan')", "the answer is not JSON: ValueError: Out of range float values"),
        ("nested(100_000)", "the answer is not JSON: RecursionError: maximum recursion depth"),
        ("nested(101)", "the answer is nested deeper than 100 levels"),
        ("2**53", "the answer holds an integer beyond 2^53 - 1"),
        ("{'a': '\\ud800'}", "the answer holds a lone surrogate, which is not text"),
        ("'\\x1b[2J' + 1 / 0", "ZeroDivisionError: division by zero (assistant.py:7)"),
    ],
)
def test_an_answer_that_cannot_go_on_record_is_an_error(
    folder: Path, expression: str, error: str
) -> None:
    """It costs its own case; the same process answers the next one."""
    write_version(
        folder,
        assistant=f"""
        import os
        def nested(depth):
            value = []
            for _ in range(depth - 1): value = [value]
            return value
        def answer(input, settings): return {expression} if input else os.getpid()
        """,
    )

    before, failed, after = outcomes(python_runner(folder), 0, 1, 0)

    assert failed.startswith(error)
    assert before == after


def test_an_answer_of_100_levels_is_an_answer(folder: Path) -> None:
    """The limit on depth is exact."""
    write_version(
        folder,
        assistant="""
        def answer(input, settings):
            value = []
            for _ in range(99): value = [value]
            return value
        """,
    )

    [output] = outcomes(python_runner(folder), 0)

    assert str(output) == "[" * 100 + "]" * 100


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("asistant:answer", "module `asistant` is not there: the version has no `asistant.py`"),
        ("assistant:anwser", "module `assistant` has no function `anwser`; it has: answer, train"),
        ("assistant", "target `assistant` is not of the form `module:function`"),
        ("assistant:WORDS", "`assistant:WORDS` is not a function but list"),
        ("assistant:train", "`assistant:train` takes (examples); it must take (input, settings)"),
        ("later:answer", "`later:answer` is asynchronous; give a plain function"),
        ("broken:answer", "SyntaxError: expected ':' (broken.py, line 1) (broken.py:1)"),
        ("needy:answer", "ModuleNotFoundError: No module named 'not_installed' (needy.py:2)"),
    ],
)
def test_a_target_that_cannot_be_asked_is_named(folder: Path, target: str, what: str) -> None:
    """Nothing is asked; the message says what is missing and what is there."""
    write_version(
        folder,
        assistant="""
        WORDS = ["a"]
        def answer(input, settings): return 1
        def train(examples): return 1
        """,
        later="async def answer(input, settings): return 1",
        broken="def answer(input, settings)",
        needy="\nimport not_installed",
    )

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(python_runner(folder, target))

    assert failed.value.what == f"the version could not be started: {what}"
    assert "`[run]`" in failed.value.hint


def test_a_failing_import_shows_its_last_words(folder: Path) -> None:
    """The traceback's lines are the problems, with nothing raw in them."""
    write_version(folder, assistant="raise RuntimeError('no \\x1b[31mindex')")

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(python_runner(folder))

    assert failed.value.what.endswith("RuntimeError: no \\x1b[31mindex (assistant.py:1)")
    assert failed.value.problems[-1] == "RuntimeError: no \\x1b[31mindex"
    assert failed.value.exit_code == 5


def test_a_folder_that_is_gone_is_named(folder: Path) -> None:
    """A missing folder is an infrastructure error that names it."""
    with pytest.raises(InfrastructureFailed, match="no process could be started: .*version"):
        started_facts(python_runner(folder))


def test_a_start_that_takes_too_long_is_ended(folder: Path, tmp_path: Path) -> None:
    """The process is killed and the limit is named."""
    pid_file = tmp_path / "pid"
    write_version(
        folder,
        assistant=f"""
        import os, sys, time
        open({str(pid_file)!r}, "w").write(str(os.getpid()))
        print("loading weights", flush=True)
        time.sleep(600)
        """,
    )

    with pytest.raises(InfrastructureFailed) as failed:
        started_facts(python_runner(folder, limits=limits(start_s=1.0)))

    assert failed.value.what == "the version could not be started: it was not ready within 1 s"
    assert failed.value.problems == ("loading weights",)
    assert not is_running(int(pid_file.read_text()))


def test_a_worker_that_dies_costs_one_case(folder: Path) -> None:
    """The error names how it ended and its last words; the next question gets a new process."""
    write_version(
        folder,
        assistant="""
        import os, signal, sys

        def answer(input, settings):
            if input == "exit":
                print("out of \\x1b[1mmemory\\nreally", flush=True)
                os._exit(3)
            if input == "signal":
                os.kill(os.getpid(), signal.SIGSEGV)
            return os.getpid()
        """,
    )

    first, left, second, killed, third = outcomes(
        python_runner(folder), "", "exit", "", "signal", ""
    )

    assert left == (
        "the process ended with exit code 3; it last wrote: out of \\x1b[1mmemory / really"
    )
    assert killed == "the process was killed by signal SIGSEGV"
    assert len({first, second, third}) == 3


def test_a_time_limit_ends_the_children_too(folder: Path, tmp_path: Path) -> None:
    """Nothing of the version runs on after its time; the next question is answered."""
    write_version(
        folder,
        assistant=f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "child")!r}, "a").write(str(child.pid) + " ")
        def answer(input, settings):
            if input:
                time.sleep(600)
            return "answered"
        """,
    )

    slow, after = outcomes(python_runner(folder, timeout_s=0.5), 1, 0)

    children = [int(pid) for pid in (tmp_path / "child").read_text().split()]
    assert slow == "no answer within 0.5 s"
    assert after == "answered"
    assert len(children) == 2
    assert eventually(lambda: not any(is_running(child) for child in children))


def test_a_child_that_holds_the_output_open_does_not_hide_a_death(folder: Path) -> None:
    """The end of the process counts, even if a child in another session keeps its pipes."""
    write_version(
        folder,
        assistant="""
        import os, subprocess, sys
        def answer(input, settings):
            subprocess.Popen(["sleep", "3"], start_new_session=True)
            os._exit(9)
        """,
    )

    [error] = outcomes(python_runner(folder, timeout_s=60.0), 0)

    assert error == "the process ended with exit code 9"


def test_workers_are_started_as_questions_come_and_no_more_than_allowed(
    folder: Path, tmp_path: Path
) -> None:
    """One question needs one process; many at once share as many as concurrency says."""
    write_version(
        folder,
        assistant=f"""
        import os, pathlib, time
        here = pathlib.Path({str(tmp_path)!r})
        (here / f"worker-{{os.getpid()}}").touch()

        def answer(input, settings):
            if input == "together":  # the answer waits until three are at it
                (here / f"busy-{{os.getpid()}}").touch()
                while len(list(here.glob("busy-*"))) < 3: time.sleep(0.01)
            return os.getpid()
        """,
    )

    async def run() -> tuple[int, list[Reply | str]]:
        runner = python_runner(folder, concurrency=3)
        try:
            await runner.start()
            await one_by_one(runner, [question("alone")] * 4)
            alone = len(list(tmp_path.glob("worker-*")))
            return alone, await all_at_once(runner, [question("together")] * 9)
        finally:
            await runner.close()

    alone, replies = asyncio.run(run())

    assert alone == 1
    assert len({reply.output for reply in replies}) == 3
    assert len(list(tmp_path.glob("worker-*"))) == 3


def test_a_restart_that_fails_is_an_error_of_that_case(folder: Path, tmp_path: Path) -> None:
    """Each question tries one start; when starting works again, so does asking."""
    broken = tmp_path / "broken"
    write_version(
        folder,
        assistant=f"""
        import os, pathlib
        if pathlib.Path({str(broken)!r}).exists():
            raise RuntimeError("no room")
        def answer(input, settings):
            if input == "die": os._exit(1)
            return input
        """,
    )

    async def run() -> list[Reply | str]:
        runner = python_runner(folder)
        try:
            await runner.start()
            broken.touch()
            failed = await one_by_one(runner, [question("die"), question("a"), question("b")])
            broken.unlink()
            return failed + await one_by_one(runner, [question("c")])
        finally:
            await runner.close()

    died, first, second, last = asyncio.run(run())

    assert died == "the process ended with exit code 1"
    assert first.startswith(
        "the version could not be started again: RuntimeError: no room (assistant.py:4); it last"
    )
    assert second == first
    assert last.output == "c"


def test_closing_ends_everything_and_asking_afterwards_is_an_error(folder: Path) -> None:
    """A closed runner has no process, no private folder, and answers nothing."""
    write_version(
        folder,
        assistant="""
        import os, pathlib
        def answer(input, settings):
            pathlib.Path.home().joinpath("cache").write_text("x")
            return [os.getpid(), os.environ["HOME"], os.environ["TMPDIR"]]
        """,
    )

    async def run() -> tuple[Reply, str]:
        runner = python_runner(folder)
        await runner.start()
        reply = await runner.ask(question())
        await runner.close()
        await runner.close()
        with pytest.raises(CaseFailed) as failed:
            await runner.ask(question())
        return reply, str(failed.value)

    reply, error = asyncio.run(run())
    pid, home, temporary = reply.output

    assert error == "the runner is closed"
    assert not is_running(pid)
    assert not Path(home).exists()
    assert not Path(temporary).exists()


def test_closing_ends_a_worker_that_is_still_answering(folder: Path, tmp_path: Path) -> None:
    """A question that is taken back takes its process with it."""
    pid_file = tmp_path / "pid"
    write_version(
        folder,
        assistant=f"""
        import os, time
        def answer(input, settings):
            open({str(pid_file)!r}, "w").write(str(os.getpid()) + "!")
            time.sleep(600)
        """,
    )

    async def run() -> None:
        runner = python_runner(folder)
        await runner.start()
        asking = asyncio.create_task(runner.ask(question()))
        while not pid_file.exists() or not pid_file.read_text().endswith("!"):
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await runner.close()

    asyncio.run(run())

    assert not is_running(int(pid_file.read_text().rstrip("!")))
