"""How a deploy hook stands: which files tell of it, and what they say, whoever was killed since.

For each generation there are files in the registry's `.lockgate/hooks/`, all named
`<system>.<environment>.<generation>`: `.lock` (held while the runner lives), `.json` (the record),
`.log`, and `.stop` (end, or never start).

- A lock that is held says `running`, and so does a recorded process that is still the same one.
- No record says that nothing ran; a record without an end, and nobody running, says `lost`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate.deploy.files import take_lock
from lockgate.deploy.hook_runner import process_mark
from lockgate.errors import RegistryTrouble
from lockgate.shown import shown

_MAX_RECORD_BYTES = 1 << 20


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


@contextmanager
def told_as_ours(run: HookRun) -> Iterator[None]:
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
    """Return how a hook stands, whoever started it and whatever was killed since.

    Raises:
        RegistryTrouble: This user may not look; that is never taken for `absent`.
    """
    has_runner = is_held(run)  # first: a runner writes its last record, then lets go
    record = read_record(run)
    if record is None:
        return HookStatus("running" if has_runner else "absent")
    told = HookStatus(
        "running",
        pid=record.get("pid"),
        started=_time(record.get("started")),
        elapsed_s=max(time.monotonic() - float(record.get("started_monotonic", 0)), 0.0),
    )
    if "ended" in record:
        return _ended(told, record)
    if has_runner or is_alive(record):
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


def is_held(run: HookRun) -> bool:
    """Tell whether a hook's runner lives, or somebody is about to start one.

    Raises:
        RegistryTrouble: This user may not look.
    """
    with told_as_ours(run):
        try:
            lock = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not take_lock(lock, shared=True)
        finally:
            os.close(lock)


def read_record(run: HookRun) -> dict[str, Any] | None:
    """Return what is on record about a hook; `None` when nothing ran, empty when it is damaged.

    Raises:
        RegistryTrouble: This user may not look.
    """
    with told_as_ours(run):
        try:
            with run.record.open("rb") as file:
                record = json.loads(file.read(_MAX_RECORD_BYTES))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
    return record if isinstance(record, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def is_alive(record: Mapping[str, Any], who: str = "pid", mark: str = "mark") -> bool:
    """Tell whether a recorded process is still the same one, not another under its number."""
    pid = record.get(who)
    if type(pid) is not int or record.get(mark) is None:
        return False
    return bool(process_mark(pid) == record[mark])
