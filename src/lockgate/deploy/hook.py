"""Deploy hooks: start one, watch it, stop it, and tell long afterwards how it ended.

- A hook is run without a shell, in the registry's root, with an allow-listed environment and the
  facts of the attempt. Its generation is the fencing number that it hands on.
- It outlives the command that started it. Whoever comes later can tell whether it never started,
  is running, or how it ended.
- It is started at most once a generation, never after it was stopped, and never once a later
  generation's hook was started.
- Stopping means TERM to its whole group, then KILL; it works for another user's hook as well.

For each generation there are five files in the registry's `.lockgate/hooks/`:
`<system>.<environment>.<generation>` with `.lock` (held while the runner lives), `.json` (the
record), `.log`, `.stop` (stop, and never start), and `.json.new` for a moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate.canonical import digest_bytes, digest_json
from lockgate.deploy import hook_runner
from lockgate.deploy.files import open_lock, take_lock
from lockgate.errors import InfrastructureFailed, Refused, RegistryTrouble, StaleGeneration
from lockgate.shown import shown

RUNNER = Path(hook_runner.__file__)
LOG_CAP_BYTES = 10 << 20
LOG_TAIL_BYTES = 64 << 10
GRACE_S = 5.0
"""Between TERM and KILL."""
KEPT_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"),
)
EXTRA_VARIABLE = "LOCKGATE_HOOK_VARIABLES"
"""Names further variables of this machine that hooks receive, separated by commas."""

_POLL_S = 0.05
_QUIET_S = 0.2
_CHUNK_BYTES = 64 << 10
_MAX_LINE_CHARACTERS = 2_000
_MAX_RECORD_BYTES = 1 << 20
_FORCE_AFTER_S = 3.0
"""How long a runner may take beyond the grace before it is ended itself."""


@dataclass(frozen=True, slots=True)
class HookRun:
    """Which hook: of one system, environment and generation, below one folder."""

    folder: Path
    system: str
    environment: str
    generation: int

    def _file(self, ending: str) -> Path:
        # A name has no dot, so that no two attempts share a file.
        return self.folder / f"{self.system}.{self.environment}.{self.generation:08d}.{ending}"

    @property
    def log(self) -> Path:
        """What the hook wrote, bounded."""
        return self._file("log")

    @property
    def record(self) -> Path:
        """What is known about how it started and ended, as JSON."""
        return self._file("json")

    @property
    def lock(self) -> Path:
        """Held while its runner lives."""
        return self._file("lock")

    @property
    def stop(self) -> Path:
        """There once somebody asked for it to be stopped."""
        return self._file("stop")


@dataclass(frozen=True, slots=True)
class Job:
    """What a hook is told about the attempt it belongs to."""

    receipt: Path
    """The staged receipt."""
    folder: Path
    """The definition that is to become live."""
    version: str
    previous_folder: Path | None
    """The definition that is live now, if any."""


@dataclass(frozen=True, slots=True)
class HookStatus:
    """What is known about a hook."""

    state: str
    """`absent`: it never ran; `running`; or `ended`."""
    ending: str | None = None
    """Of an ended one: `exit`, `signal`, `timeout`, `stopped`, `unstartable` or `lost`: nobody saw
    how it ended, so nobody knows what it did."""
    exit_code: int | None = None
    signal: str | None = None
    pid: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    elapsed_s: float | None = None
    detail: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it ran to its end and said that all went well."""
        return self.ending == "exit" and self.exit_code == 0

    def words(self) -> str:
        """Return how it stands as the end of a sentence: `ended with exit code 3 after 12 s`."""
        after = "" if self.elapsed_s is None else f" after {self.elapsed_s:.0f} s"
        if self.state == "absent":
            return "never started"
        if self.state == "running":
            return f"is running{after.replace('after', 'for')}, process {self.pid}"
        return {
            "exit": f"ended with exit code {self.exit_code}{after}",
            "signal": f"was killed by {self.signal}{after}",
            "timeout": f"ran out of time{after} and was stopped",
            "stopped": f"was stopped{after}",
            "unstartable": f"could not be started: {self.detail}",
        }.get(self.ending or "", "was cut off: nobody saw how it ended")


@dataclass(frozen=True, slots=True)
class HookProgress:
    """What a hook wrote since the last look, and how it stands."""

    lines: tuple[str, ...]
    """Whole lines, safe to show."""
    elapsed_s: float
    state: str


def hook_digest(root: Path, argv: Sequence[str]) -> str:
    """Return a digest that changes with a hook's words, or with a script of ours that they name.

    Args:
        root: The registry's root; only files inside it count.
        argv: As the policy gives it.
    """
    inside = root.resolve()
    files = {}
    for word in argv:
        with suppress(OSError, ValueError):
            path = (inside / word).resolve()
            if path.is_relative_to(inside) and path.is_file():
                files[path.relative_to(inside).as_posix()] = digest_bytes(path.read_bytes())
    return digest_json({"argv": list(argv), "files": files})


def hook_problem(root: Path, argv: Sequence[str]) -> str | None:
    """Say why a hook could not even be started; `None` when nothing is seen to be wrong."""
    import shutil

    program = argv[0] if argv else ""
    if "/" not in program:
        return None if shutil.which(program) else f"`{shown(program)}` is not on the PATH"
    path = root / program
    if not path.is_file():
        return f"`{shown(program)}` is not there"
    return None if os.access(path, os.X_OK) else f"`{shown(program)}` is not executable"


def hook_environment(facts: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a hook: what is allowed of ours, and the facts."""
    extra = os.environ.get(EXTRA_VARIABLE, "").replace(",", " ").split()
    kept = {name: os.environ[name] for name in (*KEPT_VARIABLES, *extra) if name in os.environ}
    return {**kept, **facts}


def start(
    root: Path,
    run: HookRun,
    argv: Sequence[str],
    job: Job,
    *,
    timeout_s: float,
    grace_s: float = GRACE_S,
) -> None:
    """Start a hook in a process that outlives this one, and return once it is on record.

    Args:
        root: The registry's root, where the hook runs.
        run: Which hook this is.
        argv: The words to run, without a shell.
        job: What it is told.
        timeout_s: How long it may take.
        grace_s: Between TERM and KILL when it has to be ended.

    Raises:
        InfrastructureFailed: It cannot be started; nothing ran.
        StaleGeneration: A later generation's hook was started already; nothing ran.
        Refused: This generation's hook was started or stopped before; nothing ran.
        RegistryTrouble: The folder cannot be written; nothing ran.
    """
    problem = hook_problem(root, argv)
    if problem:
        raise InfrastructureFailed(
            f"the deploy hook cannot be started: {problem}",
            hint="look at `deploy` of the environment in policy.toml; make the script executable: "
            "chmod +x",
        )
    with _told(run):
        run.folder.mkdir(parents=True, exist_ok=True)
        lock = open_lock(str(run.lock))
        try:
            _claim(run, lock)
            trouble = _launched(root, run, argv, job, lock, timeout_s, grace_s)
        finally:
            os.close(lock)
    if trouble != "ok":
        raise InfrastructureFailed(
            f"the deploy hook was not started: {shown(trouble) or 'its runner could not start'}",
            hint=f"check space and rights: `df {shown(run.folder)}`",
        )


def _claim(run: HookRun, lock: int) -> None:
    """Hold a generation's lock, unless its hook was started or stopped, or is overtaken."""
    until = time.monotonic() + 1.0
    while not take_lock(lock):  # somebody who only looks lets go at once
        if run.record.exists() or time.monotonic() > until:
            raise _second_start(run, "is running already")
        time.sleep(0.01)
    if run.record.exists():
        raise _second_start(run, "was started before")
    if run.stop.exists():
        raise _second_start(run, "was stopped before it started")
    newest = max(_started(run), default=0)
    if newest > run.generation:
        raise StaleGeneration(
            f"the hook of generation {newest} was started meanwhile; generation {run.generation} "
            "is too late, and nothing ran",
            hint="`lockgate status` shows what is live now",
        )


def _second_start(run: HookRun, what: str) -> Refused:
    return Refused(
        f"the hook of generation {run.generation} of {run.environment} {what}",
        hint="`lockgate settle` says how it ended and what follows",
    )


def _started(run: HookRun) -> Iterator[int]:
    """Give the generations of the same system and environment whose hook was started."""
    for path in run.folder.glob(f"{run.system}.{run.environment}.*.json"):
        with suppress(ValueError):
            yield int(path.name.split(".")[2])


def _launched(
    root: Path,
    run: HookRun,
    argv: Sequence[str],
    job: Job,
    lock: int,
    timeout_s: float,
    grace_s: float,
) -> str:
    """Start the runner; return `ok` once it wrote its record, else what went wrong."""
    reading, writing = os.pipe()
    spec = {
        "argv": list(argv),
        "timeout_s": timeout_s,
        "grace_s": grace_s,
        "record": str(run.record.absolute()),
        "log": str(run.log.absolute()),
        "stop": str(run.stop.absolute()),
        "cap_bytes": LOG_CAP_BYTES,
        "tail_bytes": LOG_TAIL_BYTES,
        "lock": lock,
        "ready": writing,
    }
    with open(reading, "rb") as ready:  # noqa: PTH123 - a descriptor
        try:
            launcher = subprocess.Popen(
                [sys.executable, "-I", str(RUNNER), json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=root,
                env=hook_environment(_facts(run, job)),
                start_new_session=True,
                pass_fds=(lock, writing),
            )
        finally:
            os.close(writing)
        launcher.wait()
        return ready.read(_CHUNK_BYTES).decode("utf-8", "replace")


def _facts(run: HookRun, job: Job) -> dict[str, str]:
    return {
        "LOCKGATE_SYSTEM": run.system,
        "LOCKGATE_ENVIRONMENT": run.environment,
        "LOCKGATE_GENERATION": str(run.generation),
        "LOCKGATE_VERSION": job.version,
        "LOCKGATE_RECEIPT": str(job.receipt),
        "LOCKGATE_FOLDER": str(job.folder),
        "LOCKGATE_PREVIOUS_FOLDER": str(job.previous_folder or ""),
    }


@contextmanager
def _told(run: HookRun) -> Iterator[None]:
    """Turn what the disk says into words."""
    try:
        yield
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(error.filename or run.folder)} cannot be used: "
            f"{(error.strerror or 'unknown error').lower()}",
            hint=f"check space and rights: `df {shown(run.folder)}`",
        ) from error


def status(run: HookRun) -> HookStatus:
    """Return how a hook stands, whoever started it and whatever was killed since."""
    is_held = _is_held(run)  # first: a runner writes its last record, then lets go
    record = _record(run)
    if record is None:
        return HookStatus("running" if is_held else "absent")
    told = HookStatus(
        "running",
        pid=record.get("pid"),
        started=_time(record.get("started")),
        elapsed_s=max(time.monotonic() - float(record.get("started_monotonic", 0)), 0.0),
    )
    if "ended" in record:
        return _ended(told, record)
    if is_held or _is_alive(record):
        return told
    return HookStatus("ended", "lost", pid=told.pid, started=told.started)


def _ended(told: HookStatus, record: dict[str, Any]) -> HookStatus:
    why = next((key for key in ("why", "error", "signal") if record.get(key)), "exit")
    ending = {"why": record.get("why"), "error": "unstartable", "signal": "signal"}.get(why, "exit")
    return HookStatus(
        "ended",
        ending,
        exit_code=record.get("exit_code"),
        signal=record.get("signal"),
        pid=told.pid,
        started=told.started,
        ended=_time(record["ended"]),
        elapsed_s=record.get("elapsed_s"),
        detail=shown(record.get("error") or ""),
    )


def _is_held(run: HookRun) -> bool:
    try:
        lock = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not take_lock(lock, shared=True)
    finally:
        os.close(lock)


def _record(run: HookRun) -> dict[str, Any] | None:
    try:
        with run.record.open("rb") as file:
            record = json.loads(file.read(_MAX_RECORD_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}  # it was started, and that is all that is known
    return record if isinstance(record, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _is_alive(record: Mapping[str, Any], who: str = "pid", mark: str = "mark") -> bool:
    """Tell whether a recorded process is still the same one, not another under its number."""
    pid = record.get(who)
    if type(pid) is not int or record.get(mark) is None:
        return False
    return bool(hook_runner.process_mark(pid) == record[mark])


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


def stop(run: HookRun, *, grace_s: float = GRACE_S) -> HookStatus:
    """Stop a hook, or make sure that it never starts; safe to repeat.

    Args:
        run: Which hook.
        grace_s: How long its group may take to end after TERM.

    Returns:
        How it stands now: `absent` or `ended`.

    Raises:
        RegistryTrouble: The folder cannot be written, so nobody was asked to stop.
        Refused: It is still running, and this user may not end it.
    """
    with _told(run):
        run.folder.mkdir(parents=True, exist_ok=True)
        if not run.stop.exists():  # another user's cannot be touched, and need not be
            run.stop.touch()
    now = _waited(run, lambda: status(run).state != "running", grace_s + _FORCE_AFTER_S)
    if now.state == "running":
        _force(run, grace_s)
        now = _waited(run, lambda: status(run).state != "running", 1.0)
    if now.state == "running":
        raise Refused(
            f"the hook of generation {run.generation}, process {now.pid}, cannot be stopped",
            hint=f"its owner or root can end it: kill -9 -- -{now.pid}",
        )
    return now


def _waited(run: HookRun, is_done: Callable[[], bool], patience_s: float) -> HookStatus:
    until = time.monotonic() + patience_s
    if not _is_held(run):
        until = 0.0  # no runner is left that could do anything
    while not is_done() and time.monotonic() < until:
        time.sleep(_POLL_S)
    return status(run)


def _force(run: HookRun, grace_s: float) -> None:
    """End a hook ourselves: its runner is gone, or does not answer."""
    record = _record(run) or {}
    if _is_alive(record, "runner", "runner_mark"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(record["runner"], signal.SIGKILL)
    if not _is_alive(record):
        return
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(record["pid"], number)
        until = time.monotonic() + patience_s
        while _is_alive(record) and time.monotonic() < until:
            time.sleep(_POLL_S)
    lock = open_lock(str(run.lock))
    try:
        if take_lock(lock) and not _is_alive(record):
            ended = {**record, "ended": hook_runner.now(), "why": "stopped"}
            with suppress(OSError):
                hook_runner.write_record(str(run.record), ended)
    finally:
        os.close(lock)
