"""Ask the scorer process, with a time limit, and start it anew after it died.

- A scorer that hangs is killed with everything it started; the next question gets a new process.
- The process sees PATH, LANG and a fixed PYTHONHASHSEED of the environment, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOAD_LIMIT_S = 30.0
"""The longest that starting and importing every scorer file may take."""
MAX_REPLY_BYTES = 65_536
_SCRIPT = Path(__file__).with_name("scorer_worker.py")


class ScorerBroke(Exception):  # noqa: N818 - named for what happened
    """A scorer gave no score; the message continues the sentence `scorer X …`."""


class ScorerProcess:
    """One child process for all scorers that run foreign or unbounded code."""

    def __init__(
        self, scorers: Sequence[Mapping[str, Any]], folder: Path, *, limit_s: float
    ) -> None:
        """Remember what to run.

        Args:
            scorers: What the child is told about each scorer; requests name them by position.
            folder: Holds the scorer files; the child's working folder.
            limit_s: The longest that one request may take.
        """
        self._limit_s = limit_s
        self._folder = folder
        setup = {
            "folder": str(folder),
            "limit_s": limit_s,
            "load_limit_s": LOAD_LIMIT_S,
            "scorers": [dict(scorer) for scorer in scorers],
        }
        self._setup = json.dumps(setup).encode() + b"\n"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the child and let it load every scorer file; does nothing while it runs.

        Raises:
            ScorerBroke: A file cannot be loaded; no process is left.
        """
        if self._process is not None:
            return
        # `-P -s` and the short environment isolate as `-I` does, except that `-I` would ignore
        # PYTHONHASHSEED: the order of a set could then change a score from run to run.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-B", "-X", "utf8", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=self._folder,
            env=_environment(),
            start_new_session=True,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            self._reply(self._setup, LOAD_LIMIT_S)
        except ScorerBroke:
            self.close()
            raise

    def ask(self, request: Mapping[str, Any]) -> float:
        """Return the score for one request.

        Raises:
            ScorerBroke: The scorer raised, hung, died or gave something that is no score.
        """
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            self.start()
            score = self._reply(line, self._limit_s)
        if not isinstance(score, float):
            raise ScorerBroke("gave an answer that cannot be read")
        return score

    def close(self) -> None:
        """End the child and everything it started; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _reply(self, line: bytes, limit_s: float) -> Any:
        try:
            answer = json.loads(self._exchange(line, limit_s))
        except TimeoutError:
            self.close()
            raise ScorerBroke(f"took longer than {limit_s:g} s") from None
        except (EOFError, BrokenPipeError):
            process = self._process
            self.close()
            code = process.returncode if process is not None else None
            raise ScorerBroke(f"ended its process with code {code}") from None
        except (ValueError, RecursionError):
            self.close()
            raise ScorerBroke("gave an answer that cannot be read") from None
        if isinstance(answer, dict) and isinstance(answer.get("broken"), str):
            raise ScorerBroke(answer["broken"])
        return answer.get("score") if isinstance(answer, dict) else None

    def _exchange(self, line: bytes, limit_s: float) -> bytes:
        """Write one line and read one, both within the limit.

        Raises:
            TimeoutError: The limit passed first.
            EOFError: The child is gone.
            ValueError: The reply is longer than any reply can be.
        """
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        to_child, from_child = process.stdin.fileno(), process.stdout.fileno()
        unsent, received = memoryview(line), bytearray()
        deadline = time.monotonic() + limit_s
        poll = select.poll()
        poll.register(from_child, select.POLLIN)
        unsent = unsent[_written(to_child, unsent) :]
        if unsent:
            poll.register(to_child, select.POLLOUT)
        while not received.endswith(b"\n"):
            left_ms = (deadline - time.monotonic()) * 1000
            ready = dict(poll.poll(left_ms)) if left_ms > 0 else {}
            if not ready:
                raise TimeoutError
            if unsent and to_child in ready:
                unsent = unsent[_written(to_child, unsent) :]
                if not unsent:
                    poll.unregister(to_child)
            if from_child in ready:
                received += _read(from_child)
            if len(received) > MAX_REPLY_BYTES:
                raise ValueError("reply too long")
        return bytes(received)


def _written(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0


def _read(descriptor: int) -> bytes:
    try:
        chunk = os.read(descriptor, MAX_REPLY_BYTES)
    except BlockingIOError:
        return b""
    if not chunk:
        raise EOFError
    return chunk


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "PYTHONHASHSEED": "0"}
