"""Deploy hooks: start one, watch it, stop it, and tell long afterwards how it ended.

- A hook is run without a shell, in the registry's root, with an allow-listed environment and the
  facts of the attempt. Its generation is the fencing number that it hands on.
- It outlives the command that started it. Whoever comes later can tell whether it never started,
  is running, or how it ended.
- It is started at most once a generation, never after it was stopped, and never once a later
  generation's hook was started.
- Stopping means TERM to its whole group, then KILL; it works for another user's hook as well.
- Of each system and environment the newest generations' records and logs are kept. An attempt that
  is open is always the newest, so its own never go.

How a hook stands is told by `hook_state`, what it writes by `hook_log`; both are offered here too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate.canonical import digest_bytes, digest_json
from lockgate.deploy import hook_runner
from lockgate.deploy.files import open_lock, take_lock
from lockgate.deploy.hook_log import HookProgress as HookProgress
from lockgate.deploy.hook_log import follow as follow
from lockgate.deploy.hook_log import last_lines as last_lines
from lockgate.deploy.hook_state import HookRun as HookRun
from lockgate.deploy.hook_state import HookStatus as HookStatus
from lockgate.deploy.hook_state import is_alive, is_held, read_record, told_as_ours
from lockgate.deploy.hook_state import status as status
from lockgate.errors import InfrastructureFailed, Refused, RegistryTrouble, StaleGeneration
from lockgate.shown import shown

RUNNER = Path(hook_runner.__file__)
LOG_CAP_BYTES = 10 << 20
LOG_TAIL_BYTES = 64 << 10
KEPT_RUNS = 50
"""Of how many generations of one system and environment the records and logs are kept."""
GRACE_S = 5.0
"""Between TERM and KILL."""
KEPT_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
    *("SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"),
)
EXTRA_VARIABLE = "LOCKGATE_HOOK_VARIABLES"
"""Names further variables of this machine that hooks receive, separated by commas."""

_POLL_S = 0.05
_FORCE_AFTER_S = 3.0
"""How long a runner may take beyond the grace before it is ended itself."""


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
    with told_as_ours(run):
        run.folder.mkdir(parents=True, exist_ok=True)
        lock = open_lock(str(run.lock))
        try:
            _claim(run, lock)
            _forget_oldest(run)
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


def _forget_oldest(run: HookRun) -> None:
    """Remove what is left of hooks long past, as far as this user may; one that runs stays."""
    files: dict[int, list[Path]] = {}
    for path in run.folder.glob(f"{run.system}.{run.environment}.*"):
        with suppress(ValueError):
            files.setdefault(int(path.name.split(".")[2]), []).append(path)
    for generation in sorted(files)[:-KEPT_RUNS]:
        with suppress(OSError, RegistryTrouble):
            if status(replace(run, generation=generation)).state == "running":
                continue
            # The record goes last: while it is there, the hook is known to have been started.
            for path in sorted(files[generation], key=lambda path: path.suffix == ".json"):
                path.unlink()


def _second_start(run: HookRun, what: str) -> Refused:
    return Refused(
        f"the hook of generation {run.generation} of {run.environment} {what}",
        hint=f"`lockgate settle {run.environment} -s {run.system}` says how it ended and what "
        "follows",
    )


def _started(run: HookRun) -> Iterator[int]:
    """Give the generations of the same system and environment whose hook was started."""
    for path in run.folder.glob(f"{run.system}.{run.environment}.*.json"):
        with suppress(ValueError):
            yield int(path.name.split(".")[2])


def newest_generation(run: HookRun) -> int:
    """Return the newest generation of a hook's system and environment that a file here names."""
    found = [0]
    for path in run.folder.glob(f"{run.system}.{run.environment}.*"):
        with suppress(ValueError):
            found.append(int(path.name.split(".")[2]))
    return max(found)


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
        return ready.read().decode("utf-8", "replace")


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
    with told_as_ours(run):
        run.folder.mkdir(parents=True, exist_ok=True)
        if not run.stop.exists():  # another user's cannot be touched, and need not be
            run.stop.touch()
    if read_record(run) is None:
        # Whoever is about to start it looks for the stop file after writing its record.
        return HookStatus("absent")
    now = _waited(run, grace_s + _FORCE_AFTER_S)
    if now.state == "running":
        _force(run, grace_s)
        now = _waited(run, 1.0)
    if now.state == "running":
        raise Refused(
            f"the hook of generation {run.generation}, process {now.pid}, cannot be stopped",
            hint=f"its owner or root can end it: kill -9 -- -{now.pid}",
        )
    return now


def _waited(run: HookRun, patience_s: float) -> HookStatus:
    """Return how a hook stands once it has ended, or its runner has had its time."""
    until = time.monotonic() + patience_s
    while True:
        now = status(run)
        if now.state != "running" or not is_held(run) or time.monotonic() > until:
            return now
        time.sleep(_POLL_S)


def _force(run: HookRun, grace_s: float) -> None:
    """End a hook ourselves: its runner is gone, or does not answer."""
    record = read_record(run) or {}
    if is_alive(record, "runner", "runner_mark"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(record["runner"], signal.SIGKILL)
    if not is_alive(record):
        return
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(record["pid"], number)
        until = time.monotonic() + patience_s
        while is_alive(record) and time.monotonic() < until:
            time.sleep(_POLL_S)
    lock = open_lock(str(run.lock))
    try:
        if take_lock(lock) and not is_alive(record):
            ended = {**record, "ended": hook_runner.now(), "why": "stopped"}
            with suppress(OSError):
                hook_runner.write_record(str(run.record), ended)
    finally:
        os.close(lock)
