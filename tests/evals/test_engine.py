"""Many questions are asked at once while the caller scores and records what came back."""

import asyncio
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import InfrastructureFailed
from lockgate.evals import engine
from lockgate.evals.engine import Asked, ask_all
from lockgate.ports import CaseFailed, Question, Reply
from lockgate.runners.python import PythonRunner


def questions(count: int) -> list[Question]:
    return [Question(f"c{number}", 1, 1, number, 7) for number in range(count)]


class Answering:
    """A runner inside the engine's own process that answers as a function says."""

    def __init__(self, answer: Callable[[Any], Any] = lambda value: value, concurrency: int = 1):
        self.concurrency = concurrency
        self.answer = answer
        self.started: list[str] = []
        self.asked: list[Any] = []
        self.closed = 0
        self.under_way = 0
        self.most_under_way = 0

    async def start(self) -> Mapping[str, Any]:
        self.started.append(threading.current_thread().name)
        return {"runner": "answering"}

    async def ask(self, question: Question) -> Reply:
        self.asked.append(question.input)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            output = self.answer(question.input)
            if asyncio.iscoroutine(output):
                output = await output
            return Reply(output, 1.0)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed += 1


async def forever() -> None:
    await asyncio.Event().wait()


def failing(*inputs: int) -> Callable[[Any], Any]:
    def answer(value: Any) -> Any:
        if value in inputs:
            raise CaseFailed(f"no answer to {value}")
        return value

    return answer


def everything(batches: Iterator[list[Asked]]) -> list[Asked]:
    return [asked for batch in batches for asked in batch]


def asking_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lockgate-asking"]


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """After every test the thread is joined and Python's thread switching is as before."""
    before = sys.getswitchinterval()
    yield
    assert asking_threads() == []
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize("concurrency", [1, 7])
def test_every_question_comes_back_once(concurrency: int) -> None:
    """With its own reply, whatever the order."""
    runner = Answering(lambda value: value * 2, concurrency)

    came = everything(ask_all(questions(1000), runner, stop_after_errors=None))

    assert sorted(asked.question.input for asked in came) == list(range(1000))
    assert all(asked.reply == Reply(asked.question.input * 2, 1.0) for asked in came)
    assert all(asked.error is None for asked in came)
    assert runner.closed == 1


def test_no_questions_still_start_and_close_the_runner() -> None:
    """The facts of the runtime are told and the asking ends."""
    runner, facts = Answering(concurrency=3), []

    assert everything(ask_all([], runner, stop_after_errors=1, on_start=facts.append)) == []

    assert facts == [{"runner": "answering"}]
    assert runner.closed == 1


def test_nothing_starts_before_the_first_next() -> None:
    """A generator that nobody walks costs nothing."""
    runner = Answering()

    ask_all(questions(1), runner, stop_after_errors=None).close()

    assert runner.started == []


def test_no_more_than_concurrency_are_under_way() -> None:
    """And as many as that."""
    runner = Answering(lambda _: asyncio.sleep(0.001), concurrency=5)

    everything(ask_all(questions(100), runner, stop_after_errors=None))

    assert runner.most_under_way == 5


def test_batches_are_never_larger_than_asked_for() -> None:
    """The caller decides how much it commits at once."""
    batches = list(ask_all(questions(100), Answering(), stop_after_errors=None, batch_size=7))

    assert max(len(batch) for batch in batches) == 7
    assert sum(len(batch) for batch in batches) == 100


def test_an_endless_source_is_pulled_only_as_far_as_needed() -> None:
    """What is pulled ahead of the answers handed out is bounded, so memory is."""
    pulled = 0

    def source() -> Iterator[Question]:
        nonlocal pulled
        for pulled in itertools.count(1):  # noqa: B007 - counted for the test
            yield Question(f"c{pulled}", 1, 1, pulled, 7)

    batches = ask_all(source(), Answering(concurrency=2), stop_after_errors=None, batch_size=10)
    came = 0
    while came < 2000:
        came += len(next(batches))
        assert pulled - came <= 2 * (2 + 10)
    batches.close()


def test_answers_reach_a_slow_caller_without_idle_runners_between() -> None:
    """While the caller is busy with a batch, the next questions are already waiting."""
    runner = Answering(concurrency=1)
    batches = ask_all(questions(100), runner, stop_after_errors=None, batch_size=10)
    first = next(batches)

    deadline = time.monotonic() + 10
    while len(runner.asked) < len(first) + 10 and time.monotonic() < deadline:
        time.sleep(0.001)  # the caller is busy

    assert len(runner.asked) >= len(first) + 10
    batches.close()


def test_source_and_facts_stay_in_the_callers_thread() -> None:
    """A source or registry that belongs to one thread is safe; only the runner lives elsewhere."""
    threads: Counter[str] = Counter()
    runner = Answering()

    def source() -> Iterator[Question]:
        for question in questions(200):
            threads[f"source {threading.current_thread().name}"] += 1
            yield question

    def on_start(facts: Mapping[str, Any]) -> None:
        threads[f"facts {threading.current_thread().name}"] += 1

    everything(ask_all(source(), runner, stop_after_errors=None, on_start=on_start))

    here = threading.current_thread().name
    assert threads == {f"source {here}": 200, f"facts {here}": 1}
    assert runner.started == ["lockgate-asking"]


def test_the_facts_are_told_before_anything_is_asked() -> None:
    """The run is on record, with its runtime, before its first question."""
    runner = Answering()
    asked_before: list[int] = []

    everything(
        ask_all(
            questions(5),
            runner,
            stop_after_errors=None,
            on_start=lambda _: asked_before.append(len(runner.asked)),
        )
    )

    assert asked_before == [0]


def test_a_question_that_failed_comes_back_with_its_error() -> None:
    """It is no score and ends nothing; what it says is safe to show."""

    def answer(value: int) -> int:
        if value == 1:
            raise CaseFailed("no \x1b[31manswer")
        return value

    came = everything(ask_all(questions(3), Answering(answer), stop_after_errors=None))

    assert [(asked.reply is None, asked.error) for asked in came] == [
        (False, None),
        (True, "no \\x1b[31manswer"),
        (False, None),
    ]


def test_too_many_errors_in_a_row_end_the_asking() -> None:
    """Everything that came back is handed out first; the last error is named with a hint."""
    runner = Answering(failing(2, 3, 4))
    came: list[Asked] = []

    with pytest.raises(InfrastructureFailed) as failed:
        for batch in ask_all(questions(100), runner, stop_after_errors=3):
            came += batch

    assert [asked.question.input for asked in came] == [0, 1, 2, 3, 4]
    assert failed.value.what == "3 questions in a row failed; the last: no answer to 4"
    assert "`lockgate evaluate VERSION --resume RUN`" in failed.value.hint
    assert runner.asked == [0, 1, 2, 3, 4]
    assert runner.closed == 1


def test_one_answer_between_errors_starts_the_count_anew() -> None:
    """Only errors in a row end the asking."""
    runner = Answering(failing(0, 1, 3, 4, 6, 7))

    came = everything(ask_all(questions(9), runner, stop_after_errors=3))

    assert sum(asked.error is not None for asked in came) == 6


def test_without_a_limit_errors_never_end_the_asking() -> None:
    """Every question is tried."""
    came = everything(
        ask_all(questions(50), Answering(failing(*range(50))), stop_after_errors=None)
    )

    assert len(came) == 50


def test_what_was_under_way_is_taken_back_when_errors_end_the_asking() -> None:
    """The end does not wait for questions that may never be answered."""
    runner = Answering(lambda value: forever() if value < 2 else failing(value)(value), 3)

    with pytest.raises(InfrastructureFailed):
        everything(ask_all(questions(10), runner, stop_after_errors=4))

    assert runner.under_way == 0
    assert runner.closed == 1


def test_a_runner_that_cannot_start_says_so_itself() -> None:
    """Its error arrives as it is, and it is closed."""
    wrong = InfrastructureFailed("no weights", hint="fetch them")

    class Broken(Answering):
        async def start(self) -> Mapping[str, Any]:
            raise wrong

    runner = Broken()
    with pytest.raises(InfrastructureFailed) as failed:
        everything(ask_all(questions(1), runner, stop_after_errors=None))

    assert failed.value is wrong
    assert runner.closed == 1


def test_a_mistake_in_a_runner_stays_a_mistake() -> None:
    """It is not counted as a failed case; what came back before is handed out."""
    runner = Answering(lambda value: 1 // (3 - value))
    came: list[Asked] = []

    with pytest.raises(ZeroDivisionError):
        for batch in ask_all(questions(10), runner, stop_after_errors=None):
            came += batch

    assert len(came) == 3
    assert runner.closed == 1


def test_a_source_that_breaks_ends_the_asking() -> None:
    """Its own error reaches the caller and the runner is closed."""

    def source() -> Iterator[Question]:
        yield from questions(2)
        raise OSError("the suite is gone")

    runner = Answering()
    with pytest.raises(OSError, match="the suite is gone"):
        everything(ask_all(source(), runner, stop_after_errors=None))

    assert runner.closed == 1


def test_a_record_that_is_refused_ends_the_asking() -> None:
    """When the caller cannot record the start, nothing is asked."""

    def refuse(facts: Mapping[str, Any]) -> None:
        raise PermissionError("read-only")

    runner = Answering()
    with pytest.raises(PermissionError):
        everything(ask_all(questions(5), runner, stop_after_errors=None, on_start=refuse))

    assert runner.asked == []
    assert runner.closed == 1


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_leaving_early_ends_everything_within_about_a_second(how: str) -> None:
    """Ctrl-C in the caller takes back what is under way and closes the runner."""
    runner = Answering(lambda value: value if value < 3 else forever(), concurrency=2)
    batches = ask_all(questions(100), runner, stop_after_errors=None)
    next(batches)
    began = time.monotonic()

    if how == "close":
        batches.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)

    assert time.monotonic() - began < 1.5
    assert runner.under_way == 0
    assert runner.closed == 1


def test_leaving_while_the_runner_starts_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes long does not hold anybody."""
    monkeypatch.setattr(engine, "HEARTBEAT_S", 0.02)

    class Slow(Answering):
        async def start(self) -> Mapping[str, Any]:
            await forever()
            return {}

    runner = Slow()
    batches = ask_all(questions(1), runner, stop_after_errors=None)
    assert next(batches) == []
    assert next(batches) == []

    batches.close()

    assert runner.closed == 1


def test_a_runner_that_never_finishes_closing_does_not_hold_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closing has a time limit."""
    monkeypatch.setattr(engine, "_CLOSE_S", 0.05)

    class Stuck(Answering):
        async def close(self) -> None:
            await forever()

    began = time.monotonic()

    came = everything(ask_all(questions(3), Stuck(), stop_after_errors=None))

    assert len(came) == 3
    assert time.monotonic() - began < 2.0


def test_empty_batches_are_the_heartbeat_while_nothing_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller can renew a lease although no answer came."""
    monkeypatch.setattr(engine, "HEARTBEAT_S", 0.02)
    batches = ask_all(questions(1), Answering(lambda _: forever()), stop_after_errors=None)
    began = time.monotonic()

    beats = [next(batches) for _ in range(3)]

    assert beats == [[], [], []]
    assert time.monotonic() - began >= 0.06
    batches.close()


def test_the_first_answer_does_not_wait_for_a_full_batch() -> None:
    """An answer shares its batch with those of the next tenth of a second, not of an hour."""
    runner = Answering(lambda value: value if value == 0 else forever())
    batches = ask_all(questions(100), runner, stop_after_errors=None, batch_s=0.02)

    [first] = next(batches)

    assert first.question.input == 0
    batches.close()


def test_a_slow_source_does_not_hold_answers_back() -> None:
    """Answers are handed out although the source has more to give."""
    given = 0

    def source() -> Iterator[Question]:
        nonlocal given
        for question in questions(1000):
            time.sleep(0.03)  # a source that reads from far away
            given += 1
            yield question

    batches = ask_all(source(), Answering(), stop_after_errors=None, batch_s=0.01)

    assert next(batches)[0].question.input == 0
    assert given < 10
    batches.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assistant.py").write_text(
        "import os, time\n"
        "def answer(input, settings):\n"
        "    if input == 'slow': time.sleep(600)\n"
        "    return os.getpid()\n"
    )
    return tmp_path


def test_a_version_in_processes_of_its_own_is_asked(folder: Path) -> None:
    """The engine and the real runner together: answers, errors and an end."""
    runner = PythonRunner(folder, "assistant:answer", {}, seed=7, timeout_s=0.5, concurrency=2)
    asked = [*questions(40), Question("slow", 1, 1, "slow", 7)]

    came = everything(ask_all(asked, runner, stop_after_errors=None))

    errors = {one.question.case: one.error for one in came if one.error is not None}
    assert len(came) == 41
    assert errors == {"slow": "no answer within 0.5 s"}
    assert os.getpid() not in {one.reply.output for one in came if one.reply}


def test_leaving_early_leaves_no_process(folder: Path) -> None:
    """A busy worker and an idle one are both gone when `close()` returns."""
    runner = PythonRunner(folder, "assistant:answer", {}, seed=7, timeout_s=600, concurrency=2)
    asked = [*questions(4), Question("slow", 1, 1, "slow", 7)]
    batches = ask_all(asked, runner, stop_after_errors=None, batch_s=0.01)
    came: list[Asked] = []
    while len(came) < 4:
        came += next(batches)
    began = time.monotonic()

    batches.close()

    assert time.monotonic() - began < 2.0
    for pid in {one.reply.output for one in came if one.reply}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
