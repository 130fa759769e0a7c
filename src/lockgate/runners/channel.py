"""Talk with one process over its pipes: whole lines out, bounded memory, and how it ended.

- A line that nobody asked for, one that is too long, a closed standard output or the end of the
  process is a fault; the first one counts and ends the process group.
- The end of the process counts even when a child keeps its pipes open.
- Of standard error only the last 8 KiB are kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import transports
from collections.abc import Sequence
from typing import cast

from lockgate.runners.replies import OutOfStep, quoted
from lockgate.shown import shown

_TAIL_BYTES = 8 * 1024
_LAST_LINES = 5
_LAST_CHARACTERS = 1000
_DRAIN_S = 0.5
"""How long output may still arrive after the process, or its standard output, has ended."""


def last_words(lines: Sequence[str]) -> str:
    """Return the end of standard error as one line that continues a message."""
    words = " / ".join(lines[-_LAST_LINES:])[-_LAST_CHARACTERS:]
    return f"; it last wrote: {words}" if words else ""


class Channel(asyncio.SubprocessProtocol):
    """The process's three pipes: complete lines out, bounded memory, and how it ended."""

    def __init__(self, line_bytes: int) -> None:
        """Bound each line to a number of bytes, without its newline."""
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
        """Take the transport; asyncio calls this first."""
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
        """Let a process that reads to the end of its input end by itself."""
        if 0 in self._open:
            self._input().close()

    def kill(self, why: str) -> None:
        """End the whole process group now, unless its leader is already gone."""
        self._blame(why)
        if not self.exited.is_set():
            _kill_group(self._transport().get_pid())

    def close(self) -> None:
        """Give up the pipes."""
        if 0 in self._open:
            self._input().abort()
        self._transport().close()

    def last_lines(self) -> tuple[str, ...]:
        """Return the end of standard error, safe to show, without empty lines."""
        text = self._tail.decode("utf-8", "replace")
        return tuple(shown(line.rstrip()) for line in text.splitlines() if line.strip())

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take lines from standard output, keep the end of standard error."""
        if fd == 2:
            self._tail += data
            del self._tail[:-_TAIL_BYTES]
        elif self.fault is None:
            self._partial += data
            self._take_lines()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note that a pipe is over."""
        self._open.discard(fd)
        if fd != 0:
            self._check_end()

    def process_exited(self) -> None:
        """Note that the process is over, and end what it left behind."""
        self.exited.set()
        _kill_group(self._transport().get_pid())  # what it left behind keeps the number taken
        self._check_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come."""
        self.disconnected.set()

    def _transport(self) -> asyncio.SubprocessTransport:
        assert self._process is not None
        return self._process

    def _input(self) -> transports.WriteTransport:
        return cast(transports.WriteTransport, self._transport().get_pipe_transport(0))

    def _take_lines(self) -> None:
        while self.fault is None and (end := self._partial.find(b"\n", self._scanned)) >= 0:
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
