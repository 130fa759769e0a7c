"""Ask a version that is a program: JSON lines on its standard input and output."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate.errors import InfrastructureFailed
from lockgate.runners.pool import ProcessRunner
from lockgate.runners.process import Limits
from lockgate.shown import shown


class CommandRunner(ProcessRunner):
    """Asks a program of the version's folder, or one that PATH has.

    The program reads `{"start": {"settings": …, "seed": …}}`, writes `{"ready": true}`, then reads
    `{"id", "input", "seed"}` and writes `{"id", "output"}` or `{"id", "error"}`, one line each,
    until its input ends. An answer may tell `tokens_in` and `tokens_out`; the first line may tell
    facts about the runtime. How long it takes is measured by who asks.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        settings: Mapping[str, Any],
        *,
        seed: int,
        timeout_s: float,
        concurrency: int,
        limits: Limits | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Hold what to run; nothing is started yet.

        Args:
            folder: The materialised definition; the current folder of every process.
            command: Program and arguments, without a shell. A relative program that the folder
                has is that file; any other name is looked up in PATH.
            settings: Component to settings, for the first line.
            seed: For the first line.
            timeout_s: For one answer.
            concurrency: How many processes at most.
            limits: All limits at once, instead of `timeout_s` and the usual ones.
            scratch: Where the private folders of the processes are made; the system's temporary
                folder when left out.
        """
        limits = limits or Limits(answer_s=timeout_s)
        super().__init__(
            folder,
            settings,
            seed=seed,
            concurrency=concurrency,
            limits=limits,
            scratch=scratch,
        )
        self._command = tuple(command)

    def _arguments(self) -> tuple[str, ...]:
        if not self._command or not self._command[0]:
            raise InfrastructureFailed(
                "the version's command is empty",
                hint="name a program under `[run]` in lockgate.toml, then `lockgate register`",
            )
        return ("command", str(self._program()), *self._command[1:])

    def _program(self) -> Path:
        """Return the absolute path of what is run.

        Raises:
            InfrastructureFailed: It is not there, may not be executed or is outside the folder.
        """
        name = self._command[0]
        inside = self._folder / name
        if not Path(name).is_absolute() and inside.is_file():
            self._check_own(name, inside)
            return inside
        found = shutil.which(name)
        if found is None:
            raise InfrastructureFailed(
                f"program `{shown(name)}` is neither in the version nor in PATH",
                hint=f"install `{shown(name)}` here, or correct `[run]` in lockgate.toml and "
                "register again",
            )
        return Path(found).absolute()

    def _check_own(self, name: str, inside: Path) -> None:
        if not inside.resolve().is_relative_to(self._folder.resolve()):
            raise InfrastructureFailed(
                f"program `{shown(name)}` is outside the version's folder",
                hint="put it into the folder and into `[code] files`, then register again",
            )
        if not os.access(inside, os.X_OK):
            raise InfrastructureFailed(
                f"program `{shown(name)}` is not executable",
                hint=f"run `chmod +x {shown(name)}` in the system's folder and register again",
            )

    def _facts(self, told: Mapping[str, Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "runner": "command",
            "command": list(self._command),
            "platform": f"{sys.platform}-{os.uname().machine}",
            "seed": self._seed,
        }
        return facts | ({"told": dict(told)} if told else {})
