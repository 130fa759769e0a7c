"""Keep as many processes of one version as questions are under way, and ask through them.

- Processes are started when there is a question for them, up to `concurrency`.
- A process that broke costs its own question; the next question gets a new process, and every
  question starts at most one.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate.errors import InfrastructureFailed
from lockgate.ports import CaseFailed, Question, Reply
from lockgate.runners.channel import last_words
from lockgate.runners.process import Launch, Limits, StartFailed, WorkerProcess

_SHOWN_LINES = 20


class ProcessRunner(ABC):
    """A version that is asked through worker processes; see `ports.Runner`."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        seed: int,
        concurrency: int,
        limits: Limits,
        scratch: Path | None,
    ) -> None:
        """Hold what every process of this version is started with; start none yet."""
        self.concurrency = max(concurrency, 1)
        self._folder = folder.absolute()
        self._settings = settings
        self._seed = seed
        self._limits = limits
        self._scratch = scratch
        self._room = asyncio.Semaphore(self.concurrency)
        self._launch: Launch | None = None
        self._idle: list[WorkerProcess] = []
        self._alive: set[WorkerProcess] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._asked = 0
        self._is_closed = False

    @abstractmethod
    def _arguments(self) -> tuple[str, ...]:
        """Return the arguments for `worker.py`; raise `InfrastructureFailed` when there are none."""

    @abstractmethod
    def _facts(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return the facts of the runtime, given what the first process told about itself."""

    async def start(self) -> Mapping[str, Any]:
        """Start the first process.

        Returns:
            Facts about the runtime that could change the answers.

        Raises:
            InfrastructureFailed: It did not become ready; its last words are the problems.
        """
        arguments = self._arguments()
        self._launch = Launch(
            arguments, self._folder, self._settings, self._seed, self._limits, self._scratch
        )
        try:
            worker, told = await self._started(self._launch)
        except StartFailed as error:
            raise InfrastructureFailed(
                f"the version could not be started: {error.what}",
                hint=self._start_hint(),
                problems=error.last_lines[-_SHOWN_LINES:],
            ) from error
        self._idle.append(worker)
        return self._facts(told)

    def _start_hint(self) -> str:
        return (
            "check `[run]` in lockgate.toml and that everything the version needs is installed "
            "here; a repaired folder is a new version: `lockgate register -m REASON`"
        )

    async def ask(self, question: Question) -> Reply:
        """Ask one question through an idle process, or a new one.

        Raises:
            CaseFailed: There is no answer; the next question is asked all the same.
        """
        async with self._room:
            worker = await self._worker()
            self._asked += 1
            try:
                return await worker.ask(str(self._asked), question)
            finally:
                if worker.is_spent or self._is_closed:
                    self._discard(worker)
                else:
                    self._idle.append(worker)

    async def _worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if not worker.has_left:
                return worker
            self._discard(worker)
        if self._launch is None or self._is_closed:
            raise CaseFailed("the runner is closed" if self._is_closed else "it was not started")
        try:
            worker, _ = await self._started(self._launch)
        except StartFailed as error:
            raise CaseFailed(
                f"the version could not be started again: {error.what}{last_words(error.last_lines)}"
            ) from error
        return worker

    async def _started(self, launch: Launch) -> tuple[WorkerProcess, dict[str, Any]]:
        worker = WorkerProcess(launch)
        self._alive.add(worker)
        try:
            return worker, await worker.start()
        except BaseException:
            self._discard(worker)
            raise

    def _discard(self, worker: WorkerProcess) -> None:
        """End a process in the background, so that no question waits for it."""
        if worker in self._alive:
            self._alive.remove(worker)
            task = asyncio.create_task(worker.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End every process; safe to call twice."""
        self._is_closed = True
        for worker in tuple(self._alive):
            self._discard(worker)
        self._idle.clear()
        while self._ending:
            await asyncio.gather(*self._ending)
