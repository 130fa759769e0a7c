"""Keep one process of a version: start it, ask it one question at a time, end it for certain.

- It is started without a shell, in the version's folder, in a session of its own: ending it ends
  its children too, unless they moved to another session.
- It sees an allow-listed environment and nothing else of ours, with private HOME and TMPDIR
  folders that go with it.
- Being ready and each answer have a time limit, and a line has a size limit.
- A process that died, ran out of time or fell out of step is never asked again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.ports import CaseFailed, Question, Reply
from lockgate.runners.channel import Channel, last_words
from lockgate.runners.replies import OutOfStep, facts_in, message_in, reply_in
from lockgate.shown import shown

WORKER = Path(__file__).with_name("worker.py")
"""The script that every process starts as; see there."""

_MAX_READY_BYTES = 64 * 1024
_GRACE_S = 0.3
"""How long an idle process may take to end by itself at the end of its input."""
_KILLED_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a version's process may take."""

    answer_s: float
    start_s: float = 120.0
    line_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that is needed to start a version's process."""

    arguments: tuple[str, ...]
    """For `worker.py`, without the parent's process id."""
    folder: Path
    settings: Mapping[str, Any]
    seed: int
    limits: Limits
    scratch: Path | None = None
    """Where its private folders are made; `None` for the system's temporary folder."""


class StartFailed(Exception):  # noqa: N818 - named for what happened
    """A process did not become ready."""

    def __init__(self, what: str, last_lines: tuple[str, ...] = ()) -> None:
        """Hold what happened and the last lines of standard error, safe to show."""
        super().__init__(what)
        self.what = what
        self.last_lines = last_lines


def worker_environment(scratch: Path) -> dict[str, str]:
    """Return the whole environment of a version's process.

    Args:
        scratch: A private folder; HOME and TMPDIR are made inside it.
    """
    home, temporary = scratch / "home", scratch / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    if "OPENBLAS_CORETYPE" in os.environ:
        environment["OPENBLAS_CORETYPE"] = os.environ["OPENBLAS_CORETYPE"]
    return environment


class WorkerProcess:
    """One process of a version, from start to end; asks one question at a time."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._channel: Channel | None = None
        self._scratch: Path | None = None
        self.is_spent = False
        """Whether a question has already paid for what is wrong with the process."""

    @property
    def has_left(self) -> bool:
        """Whether the process ended by itself, as opposed to having said something wrong."""
        channel = self._channel
        if channel is None:
            return False
        return channel.has_left or (channel.exited.is_set() and channel.fault is None)

    async def start(self) -> dict[str, Any]:
        """Start the process and wait until it is ready.

        Returns:
            What it tells about itself.

        Raises:
            StartFailed: It could not be started, was not ready in time, or said something else.
        """
        limit_s = self._launch.limits.start_s
        try:
            channel = await self._spawned()
        except OSError as error:
            raise StartFailed(f"no process could be started: {shown(error)}") from error
        start = {"settings": self._launch.settings, "seed": self._launch.seed}
        try:
            async with asyncio.timeout(limit_s):
                line = await channel.ask(_line({"start": start}))
            if len(line) > _MAX_READY_BYTES:
                raise OutOfStep(f"its first line is longer than {_MAX_READY_BYTES} bytes")
            return facts_in(message_in(line))
        except TimeoutError as error:
            channel.kill("it was not ready in time")
            raise StartFailed(
                f"it was not ready within {limit_s:g} s", channel.last_lines()
            ) from error
        except OutOfStep as error:
            channel.kill(str(error))
            raise StartFailed(str(error), channel.last_lines()) from error

    async def _spawned(self) -> Channel:
        self._scratch = Path(tempfile.mkdtemp(prefix="lockgate-", dir=self._launch.scratch))
        limits = self._launch.limits
        parent = str(os.getpid())
        _, channel = await asyncio.get_running_loop().subprocess_exec(
            lambda: Channel(limits.line_bytes),
            sys.executable,
            *("-s", "-P", str(WORKER), parent, *self._launch.arguments),
            cwd=self._launch.folder,
            env=worker_environment(self._scratch),
            start_new_session=True,
        )
        self._channel = channel
        return channel

    async def ask(self, asked: str, question: Question) -> Reply:
        """Ask one question.

        Args:
            asked: An id no other question to this process had.
            question: Only its input and seed reach the process.

        Raises:
            CaseFailed: There is no answer; `is_spent` tells whether the process has to go.
        """
        channel = self._channel
        assert channel is not None
        try:
            line = _line({"id": asked, "input": question.input, "seed": question.seed})
        except (TypeError, ValueError, RecursionError) as error:
            raise CaseFailed(f"the case's input is not JSON: {shown(error)}") from error
        limit_s = self._launch.limits.answer_s
        began = time.perf_counter()
        try:
            async with asyncio.timeout(limit_s):
                reply = await channel.ask(line)
            elapsed_ms = (time.perf_counter() - began) * 1000
            return reply_in(message_in(reply), asked, elapsed_ms)
        except TimeoutError as error:
            self._spend("it ran out of time")
            what = f"no answer within {limit_s:g} s{last_words(channel.last_lines())}"
            raise CaseFailed(what) from error
        except OutOfStep as error:
            self._spend(str(error))
            raise CaseFailed(f"{error}{last_words(channel.last_lines())}") from error
        except asyncio.CancelledError:
            self._spend("the question was taken back")
            raise

    def _spend(self, why: str) -> None:
        assert self._channel is not None
        self._channel.kill(why)
        self.is_spent = True

    async def close(self) -> None:
        """End the process and its group, and remove its private folders."""
        channel = self._channel
        if channel is not None:
            if channel.fault is None:
                channel.end_input()
                await _within(_GRACE_S, channel.exited)
            channel.kill("it was closed")
            await _within(_KILLED_S, channel.exited)
            channel.close()
            await _within(_KILLED_S, channel.disconnected)
        if self._scratch is not None:
            await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode("ascii") + b"\n"


async def _within(limit_s: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
