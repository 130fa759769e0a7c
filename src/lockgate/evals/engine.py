"""Ask a runner many questions at once while the caller scores and records what came back.

- The runner lives on an event loop in one background thread; questions are pulled, and answers
  handed out, in the caller's thread alone, so a source or a registry that belongs to one thread
  is safe here.
- At most `runner.concurrency` questions are under way, and only a few more are pulled ahead.
- Answers come in batches, in the order in which they arrived.
- A question that failed is an answer with an error; too many in a row end the asking.
- Whoever closes the generator ends the asking: the runner is closed before `close()` returns.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from lockgate.errors import InfrastructureFailed
from lockgate.ports import CaseFailed, Question, Reply, Runner
from lockgate.shown import shown

HEARTBEAT_S = 1.0
"""How long the caller waits at most for a batch, which is empty then."""
_PULL_S = 0.05
"""How long a slow source of questions may keep answers waiting."""
_PULL_CHUNK = 64
_SWITCH_S = 0.0005
"""Python's thread switch interval while asking: at the usual 5 ms, a caller that is busy scoring
added 8 ms to the 95th percentile of latencies measured on the loop; at 0.5 ms it adds one."""
_CLOSE_S = 3.0
_JOIN_S = 5.0
_MAX_ERROR_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its reply or with the reason why there is none."""

    question: Question
    reply: Reply | None
    error: str | None
    """Safe to show; `None` exactly when there is a reply."""


@dataclass(frozen=True, slots=True)
class _Started:
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Ended:
    failure: BaseException | None


_Message = _Started | _Ended | list[Asked]


def ask_all(
    questions: Iterable[Question],
    runner: Runner,
    *,
    stop_after_errors: int | None,
    batch_s: float = 0.1,
    batch_size: int = 256,
    on_start: Callable[[Mapping[str, Any]], None] | None = None,
) -> Generator[list[Asked], None, None]:
    """Give what comes back, batch by batch; nothing starts before the first `next()`.

    Walk it inside `contextlib.closing`: when the caller's own code raises between two batches, the
    asking would otherwise go on until the generator is collected.

    Args:
        questions: Pulled as they are needed, in the caller's thread.
        runner: Started and closed here; may not be shared with another asking.
        stop_after_errors: So many errors in a row, in order of arrival and at least 1, end the
            asking early; `None` never does.
        batch_s: How long an answer waits at most for others to share its batch.
        batch_size: How many answers are in a batch at most.
        on_start: Called once, in the caller's thread, with the facts of the runtime, before the
            first question is asked.

    Yields:
        Answers in order of arrival. An empty batch about every second while nothing arrives, so
        that the caller can renew a lease or draw; also while the runner is starting.

    Raises:
        InfrastructureFailed: The runner could not start, or too many questions failed in a row;
            everything that came back was yielded before.
    """
    asking = _Asking(runner, stop_after_errors, batch_s, max(batch_size, 1))
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(min(switch_s, _SWITCH_S))
    asking.begin()
    try:
        yield from _batches(iter(questions), asking, on_start)
    finally:
        asking.stop()
        sys.setswitchinterval(switch_s)


def _batches(
    source: Iterator[Question],
    asking: _Asking,
    on_start: Callable[[Mapping[str, Any]], None] | None,
) -> Iterator[list[Asked]]:
    room = 0  # how many more questions may be pulled; grows when answers come back
    is_over = False
    last_yield = time.monotonic()
    while True:
        if room and not is_over:
            pulled, is_over = _pull(source, asking, room)
            room -= pulled
            if is_over:
                asking.no_more()
        wait_s = max(last_yield + HEARTBEAT_S - time.monotonic(), 0.0)
        match asking.next_message(wait_s if is_over or not room else 0.0):
            case None:
                if time.monotonic() < last_yield + HEARTBEAT_S:
                    continue
                yield []
                last_yield = time.monotonic()
            case _Started(facts):
                if on_start is not None:
                    on_start(facts)
                room = asking.ahead()
            case _Ended(failure):
                if failure is not None:
                    raise failure
                return
            case list() as batch:
                room += len(batch)
                yield batch
                last_yield = time.monotonic()


def _pull(source: Iterator[Question], asking: _Asking, most: int) -> tuple[int, bool]:
    """Hand over up to `most` questions, for a moment; return how many, and whether none is left."""
    until = time.monotonic() + _PULL_S
    pulled = 0
    chunk: list[Question] = []
    for question in source:
        chunk.append(question)
        pulled += 1
        is_late = time.monotonic() >= until
        if len(chunk) == _PULL_CHUNK or is_late or pulled == most:
            asking.add(chunk)
            chunk = []
        if is_late or pulled == most:
            return pulled, False
    asking.add(chunk)
    return pulled, True


class _Asking:
    """The background thread: a loop, the runner, and walkers that take one question each."""

    def __init__(
        self, runner: Runner, stop_after_errors: int | None, batch_s: float, batch_size: int
    ) -> None:
        self._runner = runner
        self._stop_after_errors = stop_after_errors
        self._batch_s = batch_s
        self._batch_size = batch_size
        self._messages: SimpleQueue[_Message] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="lockgate-asking", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._must_stop = False
        self._stop = asyncio.Event()
        self._todo: asyncio.Queue[Question | None] = asyncio.Queue()
        self._batch: list[Asked] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._errors_in_a_row = 0

    # The caller's side.

    def begin(self) -> None:
        self._thread.start()

    def ahead(self) -> int:
        """How many questions may be pulled beyond the answers handed out: never an idle walker."""
        return 2 * (max(self._runner.concurrency, 1) + self._batch_size)

    def add(self, questions: list[Question]) -> None:
        if questions:
            self._tell(self._put, questions)

    def no_more(self) -> None:
        self._tell(self._put, [None] * max(self._runner.concurrency, 1))

    def next_message(self, wait_s: float) -> _Message | None:
        try:
            return self._messages.get(timeout=wait_s) if wait_s else self._messages.get_nowait()
        except Empty:
            return None

    def stop(self) -> None:
        """End the asking, close the runner and join the thread; nothing when it is over."""
        self._must_stop = True
        self._tell(self._stop.set)
        self._thread.join(_JOIN_S)

    def _tell(self, function: Callable[..., Any], *arguments: Any) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the asking has ended
                self._loop.call_soon_threadsafe(function, *arguments)

    # The loop's side.

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - a thread's edge: the caller raises it
            failure = error
        self._messages.put(_Ended(failure))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._must_stop:
            return
        stopping = asyncio.create_task(self._stop.wait())
        walking = asyncio.create_task(self._walk())
        try:
            await asyncio.wait((stopping, walking), return_when=asyncio.FIRST_COMPLETED)
            if walking.done():
                walking.result()
        finally:
            await _cancelled(stopping, walking)
            self._flush()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._runner.close()

    async def _walk(self) -> None:
        self._messages.put(_Started(await self._runner.start()))
        walkers = [
            asyncio.create_task(self._walker()) for _ in range(max(self._runner.concurrency, 1))
        ]
        try:
            done, _ = await asyncio.wait(walkers, return_when=asyncio.FIRST_EXCEPTION)
            for walker in done:
                walker.result()
        finally:
            await _cancelled(*walkers)

    async def _walker(self) -> None:
        while (question := await self._todo.get()) is not None:
            try:
                reply = await self._runner.ask(question)
            except CaseFailed as error:
                self._failed(question, shown(error, limit=_MAX_ERROR_CHARACTERS))
            else:
                self._errors_in_a_row = 0
                self._deliver(Asked(question, reply, None))

    def _failed(self, question: Question, error: str) -> None:
        self._deliver(Asked(question, None, error))
        self._errors_in_a_row += 1
        if self._errors_in_a_row == self._stop_after_errors:
            raise InfrastructureFailed(
                f"{self._errors_in_a_row} questions in a row failed; the last: {error}",
                hint="what came back is kept; once it works again, "
                "`lockgate evaluate VERSION --resume RUN` asks the rest",
            )

    def _put(self, questions: Iterable[Question | None]) -> None:
        for question in questions:
            self._todo.put_nowait(question)

    def _deliver(self, asked: Asked) -> None:
        self._batch.append(asked)
        if len(self._batch) >= self._batch_size:
            self._flush()
        elif self._flushing is None:
            assert self._loop is not None
            self._flushing = self._loop.call_later(self._batch_s, self._flush)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._batch:
            self._messages.put(self._batch)
            self._batch = []


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are over; what they raise is known or of no interest."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
