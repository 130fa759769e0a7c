"""Small versions to ask, ways to ask them, and a wait that ends."""

import asyncio
import os
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lockgate.ports import CaseFailed, Question, Reply, Runner
from lockgate.runners.command import CommandRunner
from lockgate.runners.process import Limits
from lockgate.runners.python import PythonRunner

SETTINGS = {"generation": {"temperature": 0.0, "words": ["a", "b"]}}

COMMAND_HEAD = """\
import json, os, signal, sys, time
start = json.loads(sys.stdin.readline())["start"]

def say(message):
    print(json.dumps(message), flush=True)

"""
"""What the programs here begin with: the start line is read, `ready` is not yet said."""


def write_version(folder: Path, **files: str) -> Path:
    """Write a version's Python files, named without their ending, and return the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def write_program(folder: Path, body: str, name: str = "answer") -> Path:
    """Write an executable program that starts with `COMMAND_HEAD` and return the folder."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\n{COMMAND_HEAD}{textwrap.dedent(body)}", encoding="utf-8"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def python_runner(folder: Path, target: str = "assistant:answer", **changed: Any) -> PythonRunner:
    given = {"seed": 7, "timeout_s": 20.0, "concurrency": 1} | changed
    return PythonRunner(folder, target, SETTINGS, **given)


def command_runner(folder: Path, command: str = "./answer", **changed: Any) -> CommandRunner:
    given = {"seed": 7, "timeout_s": 20.0, "concurrency": 1} | changed
    return CommandRunner(folder, command.split(), SETTINGS, **given)


def limits(answer_s: float = 20.0, start_s: float = 20.0, line_bytes: int = 8_388_608) -> Limits:
    return Limits(answer_s=answer_s, start_s=start_s, line_bytes=line_bytes)


def question(value: Any = None, *, case: str = "c1", seed: int = 7) -> Question:
    return Question(case=case, repeat=1, asking=1, input=value, seed=seed)


async def one_by_one(runner: Runner, questions: Iterable[Question]) -> list[Reply | str]:
    """Ask in order, one at a time; an error becomes its text."""
    return [await _outcome(runner, asked) for asked in questions]


async def all_at_once(runner: Runner, questions: Iterable[Question]) -> list[Reply | str]:
    """Ask everything at the same time; an error becomes its text."""
    return list(await asyncio.gather(*(_outcome(runner, asked) for asked in questions)))


async def _outcome(runner: Runner, asked: Question) -> Reply | str:
    try:
        return await runner.ask(asked)
    except CaseFailed as error:
        return str(error)


def outcomes(runner: Runner, *inputs: Any, ask: Any = one_by_one) -> list[Any]:
    """Start, ask, close: return each output, or the text of the error in its place."""

    async def run() -> list[Reply | str]:
        try:
            await runner.start()
            return await ask(runner, [question(value) for value in inputs])
        finally:
            await runner.close()

    return [reply.output if isinstance(reply, Reply) else reply for reply in asyncio.run(run())]


def started_facts(runner: Runner) -> dict[str, Any]:
    """Start and close a runner; return what it tells about its runtime."""

    async def run() -> dict[str, Any]:
        try:
            return dict(await runner.start())
        finally:
            await runner.close()

    return asyncio.run(run())


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not just waiting to be reaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    except ProcessLookupError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def eventually(condition: Callable[[], Any], within_s: float = 15.0) -> Any:
    """Return the first true value of a condition, or fail when the time is over."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value
