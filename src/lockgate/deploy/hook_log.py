"""Follow what a deploy hook writes, as it writes it or long afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.deploy.hook_state import HookRun, status
from lockgate.shown import shown

_POLL_S = 0.05
_QUIET_S = 0.2
_CHUNK_BYTES = 64 << 10
_MAX_LINE_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class HookProgress:
    """What a hook wrote since the last look, and how it stands."""

    lines: tuple[str, ...]
    """Whole lines, safe to show."""
    elapsed_s: float
    state: str


def follow(run: HookRun) -> Iterator[HookProgress]:
    """Give what a hook writes as it writes it, until it has ended.

    Something comes at least every 0.2 s, so that a caller can redraw; the last one says `ended`,
    or `absent` when the hook never ran. Leaving early does not stop the hook.
    """
    log = _LogReader(run.log)
    told_at = time.monotonic()
    try:
        while True:
            now = status(run)  # before reading: what it wrote until its end is then all there
            lines = log.lines()
            if now.state != "running":
                while lines:
                    yield HookProgress(lines, now.elapsed_s or 0.0, "running")
                    lines = log.lines()
                yield HookProgress(log.rest(), now.elapsed_s or 0.0, now.state)
                return
            if lines or time.monotonic() - told_at >= _QUIET_S - _POLL_S:
                told_at = time.monotonic()
                yield HookProgress(lines, now.elapsed_s or 0.0, now.state)
            if not lines:
                time.sleep(_POLL_S)
    finally:
        log.close()


class _LogReader:
    """Reads a growing log, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._partial = b""

    def lines(self) -> tuple[str, ...]:
        """Return the whole lines that came since, of one chunk at most."""
        if self._file is None:
            with suppress(OSError):
                self._file = self._path.open("rb")
        data = self._file.read(_CHUNK_BYTES) if self._file is not None else b""
        # A progress bar ends its lines with a carriage return.
        *whole, self._partial = (self._partial + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._partial) > _CHUNK_BYTES:
            whole.append(self._partial)
            self._partial = b""
        return tuple(_line(line) for line in whole if line)

    def rest(self) -> tuple[str, ...]:
        """Return a last line that has no end."""
        rest, self._partial = self._partial, b""
        return (_line(rest),) if rest else ()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def _line(line: bytes) -> str:
    return shown(line.decode("utf-8", "replace"), limit=_MAX_LINE_CHARACTERS)


def last_lines(run: HookRun, count: int = 20) -> tuple[str, ...]:
    """Return the last lines a hook wrote, safe to show; none when it wrote nothing."""
    try:
        with run.log.open("rb") as file:
            file.seek(max(run.log.stat().st_size - _CHUNK_BYTES, 0))
            data = file.read()
    except OSError:
        return ()
    lines = data.replace(b"\r", b"\n").split(b"\n")
    return tuple(_line(line) for line in lines if line.strip())[-count:]
