"""The small process that runs one deploy hook, outlives the command that started it, and tells.

It is run by path, with one JSON argument; see `deploy.hook`, which writes that argument.

- It holds the lock file, inherited open, for as long as it lives: nothing else says "running".
- Before the hook starts it writes the record `running`; a record that is not there means that the
  hook never ran.
- The hook has a session of its own, so that its whole group can be ended: TERM, then KILL.
- Output goes through a pipe into the log. Beyond the cap it is read and dropped, but for its end.
- Whoever may write to the folder can stop the hook, whichever user it runs as, with a stop file.
"""

# ruff: noqa: PTH105, PTH110, PTH112, PTH120, PTH123, PTH208
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK_BYTES = 65_536
_HAS_PROC = os.path.isdir("/proc/self")
_LAST_CHUNKS = 16
"""How much of what is left in the pipe is read at the end; it holds no more than this."""
_POLL_S = 0.05
_DRAIN_S = 0.5
"""How long output may still arrive after the hook's own process has ended."""
_GIVE_UP_S = 1.0
"""How long a killed group may take to be gone."""


def process_mark(pid: int) -> str | None:
    """Return when a process of this machine began, as an opaque mark; `None` when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[-1].split()
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return None if fields[0] in (b"Z", b"X") else f"{boot}/{fields[19].decode()}"
    except OSError:
        if _HAS_PROC:
            return None
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def write_record(path: str, record: dict[str, Any]) -> None:
    """Replace the record of a hook, all or nothing.

    Raises:
        OSError: The disk refuses; the old record stands.
    """
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def now() -> str:
    """Return the time as text, in UTC."""
    seconds = time.time()
    return (
        f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1e6):06d}Z"
    )


class Log:
    """The bounded log of a hook's output; a disk that refuses costs only the log."""

    def __init__(self, path: str, cap_bytes: int, tail_bytes: int) -> None:
        """Append to a log file."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as we do
        self._room = cap_bytes
        self._tail_bytes = tail_bytes
        self._tail = b""
        self._beyond = 0

    def write(self, data: bytes) -> None:
        """Keep what there is room for, and the end of the rest."""
        kept = data[: self._room]
        self._room -= len(kept)
        self._put(kept)
        rest = data[len(kept) :]
        if rest and not self._beyond:
            self._put(b"\n[lockgate: more output than is kept; only its end follows]\n")
        self._beyond += len(rest)
        self._tail = (self._tail + rest)[-self._tail_bytes :]

    def close(self) -> None:
        """Write the end of what was dropped, and how much was not kept."""
        if self._beyond:
            lost = self._beyond - len(self._tail)
            self._put(f"[lockgate: {lost} bytes were not kept]\n".encode() + self._tail)
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError:
            return

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError:
            return


class Run:
    """One hook, from before it starts until it is known how it ended."""

    def __init__(self, spec: dict[str, Any]) -> None:
        """Hold what to run and where to tell about it."""
        self._spec = spec
        self._record: dict[str, Any] = {
            "argv": spec["argv"],
            "timeout_s": spec["timeout_s"],
            "runner": os.getpid(),
            "runner_mark": process_mark(os.getpid()),
            "started": now(),
            "started_monotonic": time.monotonic(),
        }
        self._is_told = False
        self._asked_to_stop = False

    def ask_to_stop(self, *_signal: object) -> None:
        """Stop the hook at the next look."""
        self._asked_to_stop = True

    def run(self) -> None:
        """Run the hook and write down how it ended."""
        try:
            log = Log(self._spec["log"], self._spec["cap_bytes"], self._spec["tail_bytes"])
            self._write()  # from here on the hook may have run
        except OSError as error:
            os.close(self._spec["lock"])  # whoever is told finds nothing that looks like running
            self._tell(str(error))
            return
        if os.path.exists(self._spec["stop"]):
            # Whoever stops it looks for our record after writing this: one of us sees the other.
            self._end(why="stopped")
            return
        try:
            process = subprocess.Popen(
                self._spec["argv"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self._end(error=f"{error.strerror or error}")
            return
        self._record |= {"pid": process.pid, "mark": process_mark(process.pid)}
        self._write()
        self._tell()
        why = self._watch(process, log)
        log.close()
        code = process.poll()
        if why is not None:
            self._end(why=why)
        elif code is not None and code < 0:
            self._end(signal=_signal_name(-code))
        else:
            self._end(exit_code=code)

    def _watch(self, process: subprocess.Popen[bytes], log: Log) -> str | None:
        """Pump output until the hook has ended or was ended; return why it had to be ended."""
        assert process.stdout is not None
        source: int | None = process.stdout.fileno()
        limit = time.monotonic() + self._spec["timeout_s"]
        why: str | None = None
        kill_at = done_at = float("inf")
        while True:
            source = _pumped(source, log, _POLL_S)
            moment = time.monotonic()
            has_ended = process.poll() is not None
            if why is None and not has_ended:
                why = self._reason_to_end(moment >= limit)
                if why is not None:
                    _signal_group(process.pid, signal.SIGTERM)
                    kill_at = moment + self._spec["grace_s"]
            if moment >= kill_at:
                _signal_group(process.pid, signal.SIGKILL)
                kill_at, done_at = float("inf"), moment + _GIVE_UP_S
            if has_ended and why is None:
                done_at = min(done_at, moment + _DRAIN_S)
                if source is None:
                    return None
            is_gone = has_ended and why is not None and not _is_alive(process.pid)
            if is_gone or moment >= done_at:
                for _ in range(_LAST_CHUNKS):
                    source = _pumped(source, log, 0) if source is not None else None
                return why

    def _reason_to_end(self, is_late: bool) -> str | None:
        if self._asked_to_stop or os.path.exists(self._spec["stop"]):
            return "stopped"
        return "timeout" if is_late else None

    def _end(self, **how: Any) -> None:
        self._record |= {"ended": now(), **how}
        self._record["elapsed_s"] = time.monotonic() - self._record["started_monotonic"]
        self._write()
        self._tell()

    def _write(self) -> None:
        write_record(self._spec["record"], self._record)

    def _tell(self, trouble: str = "") -> None:
        """Tell whoever started us that the record is there, or why it never will be."""
        if not self._is_told:
            self._is_told = True
            with contextlib.suppress(OSError):  # nobody may be left to be told
                os.write(self._spec["ready"], (trouble or "ok").encode())
            os.close(self._spec["ready"])


def _pumped(source: int | None, log: Log, patience_s: float) -> int | None:
    """Move what the hook has written into the log; return where more may come from."""
    if source is None:
        time.sleep(patience_s)
        return None
    readable, _, _ = select.select([source], [], [], patience_s)
    if not readable:
        return source
    data = os.read(source, _CHUNK_BYTES)
    log.write(data)
    return source if data else None


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; tell whether there is anybody in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_alive(group: int) -> bool:
    """Tell whether anybody in a process group still runs, and does not just wait to be buried.

    In a container whose first process buries nobody, an orphan stays in its group for ever.
    """
    if not _signal_group(group, 0):
        return False
    pids = [name for name in os.listdir("/proc") if name.isdigit()] if _HAS_PROC else []
    return not pids or any(_is_member(pid, group) for pid in pids)


def _is_member(pid: str, group: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, group_of_it = file.read().rsplit(b")", 1)[-1].split()[:3]
    except OSError:
        return False
    return int(group_of_it) == group and state not in (b"Z", b"X")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def main() -> None:
    """Run the hook that the argument describes, in a process that nobody waits for."""
    spec = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)
    run = Run(spec)
    # A handler, not SIG_IGN: what is ignored here would be ignored by the hook as well.
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, run.ask_to_stop)
    run.run()


if __name__ == "__main__":
    main()
