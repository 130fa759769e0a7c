"""Keep one process of a version: start it, ask it one question at a time, end it for certain.

- It is started without a shell, in the version's folder, in a session of its own: ending it ends
  the children it left in its process group too.
- It sees an allow-listed environment and nothing else of ours, with private HOME and TMPDIR
  folders that go with it.
- Being ready and each answer have a time limit; a line and the kept standard error have a size
  limit.
- A process that died, ran out of time or fell out of step is never asked again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio import transports
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lockgate.ports import CaseFailed, Question, Reply
from lockgate.runners.replies import OutOfStep, facts_in, message_in, quoted, reply_in
from lockgate.shown import shown

WORKER = Path(__file__).with_name("worker.py")
"""The script that every process starts as; see there."""

_MAX_READY_BYTES = 64 * 1024
_TAIL_BYTES = 8 * 1024
_LAST_LINES = 5
_LAST_CHARACTERS = 1000
_DRAIN_S = 0.5
"""How long output may still arrive after the process, or its standard output, has ended."""
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


class _Channel(asyncio.SubprocessProtocol):
    """The process's three pipes: complete lines out, bounded memory, and how it ended."""

    def __init__(self, line_bytes: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._line_bytes = line_bytes
        self._partial = bytearray()
        self._scanned = 0
        self._tail = bytearray()
        self._wanted: asyncio.Future[bytes] | None = None
        self._open = {0, 1, 2}
        self._process: asyncio.SubprocessTransport | None = None
        self._drained: asyncio.TimerHandle | None = None
        self.fault: str | None = None
        """Why the process must not be asked any more; `None` while it may."""
        self.has_left = False
        """Whether it ended by itself before anything was wrong with it."""
        self.exited = asyncio.Event()
        self.disconnected = asyncio.Event()

    def connection_made(self, transport: transports.BaseTransport) -> None:
        self._process = cast(asyncio.SubprocessTransport, transport)

    async def ask(self, line: bytes) -> bytes:
        """Send a line and return the next one that comes back.

        Raises:
            OutOfStep: The process is at fault now.
        """
        if self.fault is not None:
            raise OutOfStep(self.fault)
        self._wanted = self._loop.create_future()
        self._input().write(line)
        try:
            return await self._wanted
        finally:
            self._wanted = None

    def end_input(self) -> None:
        if 0 in self._open:
            self._input().close()

    def kill(self, why: str) -> None:
        """End the whole process group now, unless its leader is already gone."""
        self._blame(why)
        if not self.exited.is_set():
            _kill_group(self._transport().get_pid())

    def close(self) -> None:
        if 0 in self._open:
            self._input().abort()
        self._transport().close()

    def last_lines(self) -> tuple[str, ...]:
        """Return the end of standard error, safe to show, without empty lines."""
        text = self._tail.decode("utf-8", "replace")
        return tuple(shown(line.rstrip()) for line in text.splitlines() if line.strip())

    def last_words(self) -> str:
        """Return the end of standard error as one line that continues a message."""
        words = " / ".join(self.last_lines()[-_LAST_LINES:])[-_LAST_CHARACTERS:]
        return f"; it last wrote: {words}" if words else ""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._tail += data
            del self._tail[:-_TAIL_BYTES]
        elif self.fault is None:
            self._partial += data
            self._take_lines()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if fd != 0:
            self._check_end()

    def process_exited(self) -> None:
        self.exited.set()
        _kill_group(self._transport().get_pid())  # what it left behind keeps the number taken
        self._check_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnected.set()

    def _transport(self) -> asyncio.SubprocessTransport:
        assert self._process is not None
        return self._process

    def _input(self) -> transports.WriteTransport:
        return cast(transports.WriteTransport, self._transport().get_pipe_transport(0))

    def _take_lines(self) -> None:
        while (end := self._partial.find(b"\n", self._scanned)) >= 0:
            line = bytes(self._partial[:end])
            del self._partial[: end + 1]
            self._scanned = 0
            if line.strip():
                self._take(line)
        self._scanned = len(self._partial)
        if self._scanned > self._line_bytes:
            self._too_long()

    def _take(self, line: bytes) -> None:
        if len(line) > self._line_bytes:
            self._too_long()
        elif self._wanted is None or self._wanted.done():
            text = quoted(line.decode("utf-8", "replace"))
            self.kill(f"the process wrote a line that nobody asked for: {text}")
        else:
            self._wanted.set_result(line)

    def _too_long(self) -> None:
        self._partial.clear()
        self._scanned = 0
        self.kill(f"the reply is longer than {self._line_bytes} bytes")

    def _check_end(self) -> None:
        """See whether the process, or its output, is over, once the rest had time to arrive."""
        if self.exited.is_set() and not self._open & {1, 2}:
            self._ended()
        elif self._drained is None and (self.exited.is_set() or 1 not in self._open):
            self._drained = self._loop.call_later(_DRAIN_S, self._ended)

    def _ended(self) -> None:
        if self._drained is not None:
            self._drained.cancel()
        code = self._transport().get_returncode()
        if code is None:
            self.kill("the process closed its standard output")
        else:
            self.has_left = self.fault is None
            self._blame(f"the process {_ending(code)}")

    def _blame(self, why: str) -> None:
        if self.fault is None:
            self.fault = why
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_exception(OutOfStep(self.fault))


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone already
        return


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class WorkerProcess:
    """One process of a version, from start to end; asks one question at a time."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._channel: _Channel | None = None
        self._scratch: Path | None = None
        self.is_spent = False
        """Whether a question has already paid for what is wrong with the process."""

    @property
    def has_left(self) -> bool:
        """Whether the process ended by itself, as opposed to having said something wrong."""
        return self._channel is not None and self._channel.has_left

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

    async def _spawned(self) -> _Channel:
        self._scratch = Path(tempfile.mkdtemp(prefix="lockgate-"))
        limits = self._launch.limits
        parent = str(os.getpid())
        _, channel = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Channel(limits.line_bytes),
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
            what = f"no answer within {limit_s:g} s{channel.last_words()}"
            raise CaseFailed(what) from error
        except OutOfStep as error:
            self._spend(str(error))
            raise CaseFailed(f"{error}{channel.last_words()}") from error
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
