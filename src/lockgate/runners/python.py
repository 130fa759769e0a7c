"""Ask a version that is a Python function, in worker processes of this interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate.runners.pool import ProcessRunner
from lockgate.runners.process import Limits


class PythonRunner(ProcessRunner):
    """Asks `module:function` of a version's folder; see `worker.py` for how it is called."""

    def __init__(
        self,
        folder: Path,
        target: str,
        settings: Mapping[str, Any],
        *,
        seed: int,
        timeout_s: float,
        concurrency: int,
        limits: Limits | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Hold what to ask; nothing is started yet.

        Args:
            folder: The materialised definition; the current folder of every process.
            target: `module:function`.
            settings: Component to settings, the function's second argument.
            seed: Seeds `random` while the module is imported.
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
        self._target = target

    def _arguments(self) -> tuple[str, ...]:
        return ("python", self._target)

    def _facts(self, told: Mapping[str, Any]) -> dict[str, Any]:
        return {"runner": "python", "target": self._target, **told, "seed": self._seed}
