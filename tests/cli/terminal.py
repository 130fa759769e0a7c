"""A terminal of 80 by 24 that a command really runs in, and what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyte

from cli.desks import environment

PATIENCE_S = 60.0


class Terminal:
    """A pseudo-terminal with a command in it.

    Use it in a `with` block; whatever is still running at its end is killed.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str | None] | None = None,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        variables = environment(**{"COLUMNS": None, "LINES": None, **(env or {})})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lockgate", *arguments],
            cwd=cwd,
            env=variables,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._master)

    @property
    def pid(self) -> int:
        """The command's process."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What stands on the screen, without spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip() + "\n"

    def until(self, seen: Callable[[str], object] | str) -> str:
        """Read until the screen shows something; returns the screen as it was then."""
        wanted = seen if callable(seen) else re.compile(seen, re.MULTILINE).search
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(self.text):
            assert time.monotonic() < deadline, f"never on the screen: {seen}\n{self.text}"
            if not self._read(0.2):
                assert wanted(self.text), f"ended without {seen}\n{self.text}"
        return self.text

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(0.2):
            assert time.monotonic() < deadline, self.text
        return self._process.wait(timeout=PATIENCE_S)

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], wait_s)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
