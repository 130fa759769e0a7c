"""Step 3, evaluate: ask a registered version every case of a suite, and keep every answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.domain.evidence import RunRecord
from lockgate.errors import Busy, InfrastructureFailed, Interrupted, Refused, Rejected
from lockgate.evals.progress import Progress
from lockgate.loop import evaluate as evaluate_module
from lockgate.loop.evaluate import Limits, missing_suites, open_run, void
from lockgate.ports import CaseFailed, Question, Reply, Runner
from lockgate.storage import registry as registry_module
from lockgate.storage.registry import open_registry
from lockgate.storage.writer import process_start
from loop.world import DEV, SYSTEM, QuickRunner, World, settled_answer


def only_run(world: World, version: Any) -> RunRecord:
    """Return the one run of a version."""
    (record,) = world.registry.runs.of_version(version.id)
    return record


def value_of(end: Any, metric: str = "accuracy") -> float:
    """Return one metric of a run's end."""
    return next(summary.value for summary in end.summary if summary.metric == metric)


class Breaking:
    """Answers, but fails while some cases still have failures to give."""

    def __init__(self, **failures: int) -> None:
        """Take how often each case fails: `t003=1`."""
        self.left = Counter(failures)

    def __call__(self, question: Question, settings: Mapping[str, Any]) -> Any:
        if self.left[question.case]:
            self.left[question.case] -= 1
            raise CaseFailed(f"no answer to {question.case}")
        return settled_answer(question, settings)


@dataclass
class Stopping:
    """Answers until one case, where a person presses Ctrl-C."""

    case: str

    def __call__(self, question: Question, settings: Mapping[str, Any]) -> Any:
        if question.case == self.case:
            raise KeyboardInterrupt
        return settled_answer(question, settings)


def test_every_case_is_asked_once_and_scored(world: World) -> None:
    """A run that ends is completed, holds an answer a case, and says what they come to."""
    version = world.version(16)
    end = world.evaluate(version)
    assert (end.outcome, end.answers, end.errors) == ("completed", 20, 0)
    assert value_of(end) == 0.8
    assert sorted(q.case for q in world.asked) == [f"t{n:03}" for n in range(1, 21)]
    answers = world.registry.runs.answers(end.run)
    assert [a.scores for a in answers] == [{"accuracy": 1.0}] * 16 + [{"accuracy": 0.0}] * 4
    assert [a.output for a in answers] == ["billing"] * 16 + ["other"] * 4


def test_the_run_says_who_asked_what_and_under_which_conditions(world: World) -> None:
    """What could change the answers is recorded before the first question."""
    version = world.version(16)
    world.evaluate(version, actor="night-shift")
    run = only_run(world, version).run
    assert (run.system, run.version, run.suite) == (SYSTEM, version.id, world.suite().digest)
    assert run.actor == "night-shift"
    assert run.environment == {"runner": "quick", "suite_seed": world.suite().seed}


def test_a_version_is_asked_as_registered_in_a_process_of_its_own(world: World) -> None:
    """What runs is what was registered: the folder may hold anything by then."""
    version = world.version(16)
    (world.folder / "answer.py").write_text("raise SystemExit('the working folder ran')\n")
    end = world.evaluate(version, open_runner=world.real())
    assert value_of(end) == 0.8
    environment = only_run(world, version).run.environment
    assert (environment["runner"], environment["target"]) == ("python", "answer:answer")


def test_each_repeat_is_asked_with_a_seed_of_its_own(world: World) -> None:
    """Repeats of a case differ in their seed, and the same run has the same seeds anywhere."""
    version = world.version(16)
    end = world.evaluate(version, repeats=3)
    assert (end.answers, only_run(world, version).run.repeats) == (60, 3)
    seeds = {(q.case, q.repeat): q.seed for q in world.asked}
    assert len(set(seeds.values())) == 60
    world.asked.clear()
    world.evaluate(version, repeats=3)
    assert {(q.case, q.repeat): q.seed for q in world.asked} == seeds


def test_the_suite_says_how_often_each_case_is_asked(world: World) -> None:
    """Without another word a suite's own number of repeats counts."""
    world.apply_suite("steady", cases=5, extra="repeats = 2")
    assert world.evaluate(world.version(16), "steady").answers == 10


def test_progress_counts_up_and_ends_with_the_end(world: World) -> None:
    """Every step of the way says what is done; only the last one carries how it ended."""
    version = world.version(16)
    steps: list[Progress] = list(world.evaluating(version))
    assert [step.end for step in steps[:-1]] == [None] * (len(steps) - 1)
    last = steps[-1]
    assert last.end is not None
    assert (last.done, last.total, last.errors, last.suite) == (20, 20, 0, "triage")
    assert last.run == last.end.run
    assert sum(len(step.failing) for step in steps) == 4
    (tally,) = last.tallies
    assert (tally.metric, tally.value, tally.baseline) == ("accuracy", 0.8, None)
    assert last.p95_ms == 29.0


def test_wins_and_losses_are_counted_while_it_goes(world: World) -> None:
    """Against a version that has completed runs, each answer is won, lost or tied."""
    first = world.evaluated(16)
    second = world.version(18, wrong=[1])
    last = list(world.evaluating(second, baseline=first))[-1]
    (tally,) = last.tallies
    assert (tally.won, tally.lost, tally.tied, tally.baseline) == (2, 1, 17, 0.8)


@pytest.mark.parametrize("which", ["itself", "without a run"])
def test_nothing_is_compared_without_another_versions_run(world: World, which: str) -> None:
    """A version is not compared with itself, nor with one that was never evaluated."""
    first = world.version(16)
    second = world.evaluated(17)
    baseline = second if which == "itself" else first
    (tally,) = list(world.evaluating(second, baseline=baseline))[-1].tallies
    assert (tally.won, tally.lost, tally.tied, tally.baseline) == (0, 0, 0, None)


class TestARunThatWasCutShort:
    """It stays open, is no evidence, and goes on without asking anything twice."""

    def test_stays_open_and_keeps_what_was_answered(self, world: World) -> None:
        """Nobody reads a score from it."""
        version = self._cut_short(world)
        record = only_run(world, version)
        assert record.end is None
        assert world.registry.runs.completed(version.id, world.suite().digest) == []
        assert len(world.registry.runs.asked(record.run.id)) == 8
        assert missing_suites(world.registry, version) == [
            world.registry.applied.suites(SYSTEM)["triage"]
        ]

    def test_asks_only_what_has_no_answer_yet(self, world: World) -> None:
        """Resuming finishes the same run, case by case, with the scores of an undisturbed one."""
        version = self._cut_short(world)
        info = world.registry.applied.suites(SYSTEM)["triage"]
        record = open_run(world.registry, version, info)
        assert record is not None
        kept = {case for case, _ in world.registry.runs.asked(record.run.id)}
        world.asked.clear()
        end = world.evaluate(version, resume=record)
        assert end.run == record.run.id
        assert {q.case for q in world.asked} == {f"t{n:03}" for n in range(1, 21)} - kept
        assert (end.outcome, end.answers, value_of(end)) == ("completed", 20, 0.8)

    def test_counts_what_it_had_from_the_start(self, world: World) -> None:
        """Progress goes on where it stopped."""
        version = self._cut_short(world)
        record = only_run(world, version)
        had = len(world.registry.runs.asked(record.run.id))
        steps = list(world.evaluating(version, resume=record))
        assert steps[0].done >= had
        assert (steps[-1].done, steps[-1].tallies[0].value) == (20, 0.8)

    def test_can_be_taken_up_by_another_process(self, world: World) -> None:
        """Nothing of the first sitting is needed but the registry."""
        version = self._cut_short(world)
        elsewhere = replace(world, registry=open_registry(world.root, clock=world.clock))
        try:
            assert elsewhere.evaluate(version, resume=only_run(elsewhere, version)).answers == 20
        finally:
            elsewhere.registry.close()

    def test_is_not_resumed_under_another_environment(self, world: World) -> None:
        """Half a run here and half there is no measurement; every difference is named."""
        version = self._cut_short(world)
        record = only_run(world, version)
        world.facts = {"runner": "quick", "flags": "-O2", "host_cpu": "other"}
        with pytest.raises(Refused) as refused:
            world.evaluate(version, resume=record)
        assert refused.value.what == (
            f"run `{record.run.id}` was begun under another environment: flags, host_cpu differ"
        )
        assert refused.value.hint == (
            f"start anew: `lockgate evaluate v1 -s {SYSTEM} --fresh`; then give this one up: "
            f"`lockgate evaluate --void {record.run.id} -s {SYSTEM}`"
        )
        assert only_run(world, version).end is None

    def test_is_worked_on_by_one_process_at_a_time(self, world: World) -> None:
        """Who comes second is told who is at it."""
        version = self._cut_short(world)
        record = only_run(world, version)
        with world.registry.write() as writing:
            writing.take_lease(f"run {record.run.id}", "night-shift")
        self._pretend_the_holder_is(world, os.getppid())
        with pytest.raises(Busy) as busy:
            world.evaluate(version, resume=record)
        assert busy.value.what == (
            f"`run {record.run.id}` is being worked on by night-shift "
            f"(process {os.getppid()} on {socket.gethostname()})"
        )
        assert busy.value.hint == (
            "wait for it, or run the suite once more beside it: "
            f"`lockgate evaluate v1 -s {SYSTEM} --fresh`"
        )
        assert world.evaluate(version).outcome == "completed"

    def test_is_free_again_after_each_sitting(self, world: World) -> None:
        """However a sitting ends, its lease ends with it."""
        version = self._cut_short(world)
        record = only_run(world, version)
        world.answers = Breaking(t020=1)
        with pytest.raises(InfrastructureFailed):
            world.evaluate(version, resume=record)
        leases = world.registry._connection.execute("SELECT count(*) FROM lease").fetchone()
        assert leases == (0,)

    def test_is_told_by_a_person_who_stops_it(self, world: World) -> None:
        """Ctrl-C keeps what was answered and says how to go on."""
        version = world.version(16)
        world.answers = Stopping("t004")
        with pytest.raises(Interrupted) as stopped:
            world.evaluate(version)
        run = only_run(world, version).run
        assert stopped.value.what == "stopped: 3/20 answers of `triage` are kept"
        assert stopped.value.hint == f"`lockgate evaluate v1 -s {SYSTEM} --resume {run.id}`"
        assert stopped.value.exit_code == 130

    @staticmethod
    def _cut_short(world: World) -> Any:
        """Stop a run before its ninth answer, and return its version."""
        version = world.version(16)
        world.answers = Stopping("t009")
        with pytest.raises(Interrupted):
            world.evaluate(version)
        world.answers = settled_answer
        return version

    @staticmethod
    def _pretend_the_holder_is(world: World, pid: int) -> None:
        world.registry._connection.execute(
            "UPDATE lease SET pid = ?, started = ?", (pid, process_start(pid))
        )


def test_a_run_that_ended_takes_no_more_answers(world: World) -> None:
    """Resuming what is completed is refused; a new run is what helps."""
    version = world.evaluated(16)
    record = only_run(world, version)
    with pytest.raises(Refused) as refused:
        world.evaluate(version, resume=record)
    assert refused.value.what == f"run `{record.run.id}` is completed already"
    assert refused.value.hint == (
        f"`lockgate show v1 -s {SYSTEM}`; a new run: `lockgate evaluate v1 -s {SYSTEM} --fresh`"
    )


def test_a_run_that_another_process_ended_meanwhile_takes_no_more_answers(world: World) -> None:
    """Who looked before the other one finished is told so, and nothing is asked."""
    version = world.version(16)
    world.answers = Breaking(t020=1)
    with pytest.raises(InfrastructureFailed):
        world.evaluate(version)
    seen = only_run(world, version)
    world.evaluate(version, resume=seen)
    world.asked.clear()
    with pytest.raises(Refused) as refused:
        world.evaluate(version, resume=seen)
    assert refused.value.what == f"run `{seen.run.id}` is completed already"
    assert world.asked == []


class TestARunThatIsGivenUp:
    """It stays on record, is no evidence, and is in nobody's way."""

    def test_ends_with_what_it_has(self, world: World) -> None:
        """Who gave it up and how far it came is recorded; nothing of it counts."""
        version, record = self._cut_short(world)
        end = void(world.registry, record, actor="night-shift")
        assert (end.outcome, end.answers, end.errors, end.summary) == ("voided", 8, 0, ())
        assert only_run(world, version).end == end
        assert end.actor == "night-shift"
        assert [suite.name for suite in missing_suites(world.registry, version)] == ["triage"]
        assert (
            open_run(world.registry, version, world.registry.applied.suites(SYSTEM)["triage"])
            is None
        )
        leases = world.registry._connection.execute("SELECT count(*) FROM lease").fetchone()
        assert leases == (0,)

    def test_takes_no_more_answers(self, world: World) -> None:
        """There is no way back into it; a new run asks every case."""
        version, record = self._cut_short(world)
        void(world.registry, record, actor=DEV)
        with pytest.raises(Refused) as refused:
            world.evaluate(version, resume=record)
        assert refused.value.what == f"run `{record.run.id}` is voided already"
        assert world.evaluate(version).answers == 20

    def test_has_not_ended_before(self, world: World) -> None:
        """Evidence is not taken back: a completed run is not given up, nor one twice."""
        version = world.evaluated(16)
        record = only_run(world, version)
        head = world.head()
        with pytest.raises(Refused, match="is completed already"):
            void(world.registry, record, actor=DEV)
        assert world.head() == head
        other, cut = self._cut_short(world, 17)
        void(world.registry, cut, actor=DEV)
        with pytest.raises(Refused, match="is voided already"):
            void(world.registry, cut, actor=DEV)
        assert only_run(world, other).end is not None

    def test_is_nobodys_work(self, world: World) -> None:
        """A run that a living process is at is not ended under its hands."""
        version, record = self._cut_short(world)
        with world.registry.write() as writing:
            writing.take_lease(f"run {record.run.id}", "night-shift")
        parent = os.getppid()
        world.registry._connection.execute(
            "UPDATE lease SET pid = ?, started = ?", (parent, process_start(parent))
        )
        with pytest.raises(Busy, match="is being worked on by night-shift"):
            void(world.registry, record, actor=DEV)
        assert only_run(world, version).end is None

    @staticmethod
    def _cut_short(world: World, right: int = 16) -> tuple[Any, RunRecord]:
        version = world.version(right)
        world.answers = Stopping("t009")
        with pytest.raises(Interrupted):
            world.evaluate(version)
        world.answers = settled_answer
        return version, only_run(world, version)


@dataclass
class Gated(QuickRunner):
    """Answers, but waits before the ninth case until the gate is open."""

    gate: threading.Event = field(default_factory=threading.Event)

    async def ask(self, question: Question) -> Reply:
        if question.case == "t009":
            await asyncio.to_thread(self.gate.wait, 30)
        return await super().ask(question)


class Blocker:
    """Somebody else who writes to the registry, until told to stop."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connection = sqlite3.connect(
            world.root / ".lockgate" / "registry.db", isolation_level=None
        )
        self.tries_left = -1
        monkeypatch.setitem(registry_module._begin.__kwdefaults__, "patience_s", 0.0)
        monkeypatch.setattr(registry_module, "lock_holder", self.told)

    def told(self, _: Any) -> str:
        """Hear that somebody gave up once more; let them in after as many tries as agreed."""
        self.tries_left -= 1
        if self.tries_left == 0:
            self.stop()
        return "process 7 (backup)"

    def begin(self, tries: int = -1) -> None:
        self.tries_left = tries
        self.connection.execute("BEGIN IMMEDIATE")

    def stop(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


@pytest.fixture
def blocker(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocker]:
    made = Blocker(world, monkeypatch)
    yield made
    made.stop()
    made.connection.close()


class TestARegistryThatIsBusy:
    """An evaluation does not die of somebody else's lock."""

    def test_keeps_answers_waiting_and_loses_none(self, world: World, blocker: Blocker) -> None:
        """What came back is recorded as soon as the other one is done, and asked once."""
        version = world.version(16)
        last = self._walk(world, version, 8, lambda: blocker.begin(tries=3))
        assert blocker.tries_left == 0
        assert last.end is not None
        assert (last.end.outcome, last.end.answers) == ("completed", 20)
        assert Counter(q.case for q in world.asked).most_common(1) == [("t001", 1)]

    def test_keeps_the_end_waiting_as_well(self, world: World, blocker: Blocker) -> None:
        """A run whose answers are all there is not left open for a moment's lock."""
        version = world.version(16)
        last = self._walk(world, version, 20, lambda: blocker.begin(tries=3))
        assert blocker.tries_left == 0
        assert last.end is not None

    def test_for_too_long_cuts_the_run_short(
        self, world: World, blocker: Blocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message says who is in the way, what is kept, and how to go on from there."""
        monkeypatch.setattr(evaluate_module, "BUSY_FOR_S", 0.0)
        version = world.version(16)
        with pytest.raises(Busy) as busy:
            self._walk(world, version, 8, blocker.begin)
        run = only_run(world, version).run
        assert busy.value.what == (
            "the registry is being written by process 7 (backup) · 8/20 kept · no score"
        )
        assert busy.value.hint == f"`lockgate evaluate v1 -s {SYSTEM} --resume {run.id}`"
        blocker.stop()
        world.asked.clear()
        assert world.evaluate(version, resume=only_run(world, version)).answers == 20
        assert [q.case for q in world.asked] == [f"t{n:03}" for n in range(9, 21)]

    def test_from_the_start_begins_nothing(
        self, world: World, blocker: Blocker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that could not be recorded is none."""
        monkeypatch.setattr(evaluate_module, "BUSY_FOR_S", 0.0)
        version = world.version(16)
        blocker.begin()
        with pytest.raises(Busy) as busy:
            world.evaluate(version)
        assert busy.value.hint == "wait and run it again; what you asked for was not begun"
        blocker.stop()
        assert world.registry.runs.of_version(version.id) == []

    def test_hides_no_other_reason(self, world: World, blocker: Blocker) -> None:
        """Who stops a run hears that it is stopped, though its lease cannot be given up."""
        version = world.version(16)
        steps = world.evaluating(version)
        next(steps)
        blocker.begin()
        assert isinstance(steps, Generator)
        with pytest.raises(Interrupted, match="stopped: "):
            steps.throw(KeyboardInterrupt())

    @staticmethod
    def _walk(world: World, version: Any, done: int, act: Callable[[], None]) -> Progress:
        """Walk a run; do something when so many answers are recorded and the rest still to come."""
        gate = threading.Event()

        @contextlib.contextmanager
        def gated(version: Any, suite: Any) -> Iterator[Runner]:
            settings = world.registry.versions.definition(version.definition).settings()
            yield Gated(settings, settled_answer, world.asked, world.facts, gate=gate)

        acted = False
        for step in world.evaluating(version, open_runner=gated):
            if step.done == done and not acted:
                acted = True
                act()
            if step.done >= min(done, 8):
                gate.set()
        return step


def test_what_a_version_leaves_lies_below_the_registry(world: World) -> None:
    """Its files, its home and its temporary folder are found, and swept, with the registry."""
    (world.folder / "answer.py").write_text(WHERE_AM_I)
    version = world.register()
    end = world.evaluate(version, open_runner=world.real())
    scratch = world.root / ".lockgate" / "tmp"
    for place in world.registry.runs.answers(end.run)[0].output:
        own = Path(place).relative_to(scratch).parts[0]
        assert own.startswith(f"{os.getpid()}-")
    assert list(scratch.iterdir()) == []


WHERE_AM_I = '''\
"""Say where this is run."""

import os
import tempfile


def answer(input, settings):
    return [os.getcwd(), os.environ["HOME"], tempfile.gettempdir()]
'''


class TestErrors:
    """A question that failed is an error of the infrastructure, never a score."""

    def test_more_than_allowed_leave_the_run_open_and_are_no_score(self, world: World) -> None:
        """The message says how many, at most how many, and which."""
        version = world.version(16)
        world.answers = Breaking(t003=1, t007=1)
        with pytest.raises(InfrastructureFailed) as failed:
            world.evaluate(version, limits=Limits(1, 5))
        run = only_run(world, version)
        assert failed.value.what == (
            "2 of 20 questions failed on `triage`, at most 1 may: the run is kept open and is no "
            "score"
        )
        assert failed.value.problems == (
            "t003: no answer to t003",
            "t007: no answer to t007",
        )
        assert failed.value.hint == f"`lockgate evaluate v1 -s {SYSTEM} --resume {run.run.id}`"
        assert failed.value.exit_code == 5
        assert run.end is None

    def test_as_many_as_allowed_are_recorded_and_counted_in_no_mean(self, world: World) -> None:
        """A case that failed lowers no score; the number of errors stands beside it."""
        world.answers = Breaking(t003=1)
        end = world.evaluate(world.version(16), limits=Limits(1, 5))
        assert (end.outcome, end.answers, end.errors) == ("completed", 20, 1)
        assert value_of(end) == 15 / 19
        assert end.summary[0].n == 19

    def test_are_asked_again_when_the_run_is_resumed(self, world: World) -> None:
        """What failed is asked anew, under a higher number; both askings are kept."""
        version = world.version(16)
        world.answers = Breaking(t003=1, t007=2)
        with pytest.raises(InfrastructureFailed):
            world.evaluate(version)
        world.asked.clear()
        with pytest.raises(InfrastructureFailed, match="1 of 20 questions failed"):
            world.evaluate(version, resume=only_run(world, version))
        assert [(q.case, q.asking) for q in world.asked] == [("t003", 2), ("t007", 2)]
        world.asked.clear()
        end = world.evaluate(version, resume=only_run(world, version))
        assert [(q.case, q.asking) for q in world.asked] == [("t007", 3)]
        assert (end.answers, end.errors, value_of(end)) == (23, 0, 0.8)

    def test_in_a_row_end_the_run_early(self, world: World) -> None:
        """An endpoint that is down is not asked 20 times; what came before is kept."""
        version = world.version(16)
        world.answers = Breaking(**{f"t{n:03}": 1 for n in range(6, 21)})
        with pytest.raises(InfrastructureFailed) as failed:
            world.evaluate(version, limits=Limits(20, 4))
        run = only_run(world, version).run
        assert failed.value.what == (
            "4 questions in a row failed; the last: no answer to t009 · 5/20 kept · no score"
        )
        assert failed.value.hint == f"`lockgate evaluate v1 -s {SYSTEM} --resume {run.id}`"
        assert only_run(world, version).end is None
        assert sum(has for _, has in world.registry.runs.asked(run.id).values()) == 5

    def test_of_a_version_that_breaks_name_file_and_line(self, world: World) -> None:
        """In real processes an exception is that case's error and nobody else's."""
        version = world.version(16, breaks=[3])
        with pytest.raises(InfrastructureFailed) as failed:
            world.evaluate(version, open_runner=world.real())
        (problem,) = failed.value.problems
        assert problem.startswith("t003: ")
        assert "ticket 3 is too much" in problem
        assert "answer.py" in problem

    def test_of_a_version_that_cannot_start_leave_no_run(self, world: World) -> None:
        """Before the first question there is nothing to record."""
        (world.folder / "answer.py").write_text("import nothing_of_that_name\n")
        version = world.register()
        with pytest.raises(InfrastructureFailed) as failed:
            world.evaluate(version, open_runner=world.real())
        assert failed.value.what.startswith("the version could not be started: ")
        assert any("nothing_of_that_name" in line for line in failed.value.problems) or (
            "nothing_of_that_name" in failed.value.what
        )
        assert world.registry.runs.of_version(version.id) == []


def test_all_completed_runs_pool_case_by_case(world: World) -> None:
    """A second run does not replace the first: each case counts with its mean."""
    version = world.version(16)
    first = world.evaluate(version)
    world.answers = lambda question, settings: "billing"
    second = world.evaluate(version)
    pool = world.registry.runs.pooled([first.run, second.run])
    means = pool.scores["accuracy"]
    assert [means[f"t{n:03}"] for n in (1, 16, 17, 20)] == [1.0, 1.0, 0.5, 0.5]
    assert pool.flaky["accuracy"] == ("t017", "t018", "t019", "t020")


def test_only_a_suite_that_is_stored_can_be_asked(world: World) -> None:
    """There is nothing to ask under a digest nobody knows."""
    from lockgate.loop.evaluate import evaluate

    version = world.version(16)
    steps = evaluate(world.registry, version, "e" * 64, world.quick(), actor=DEV, limits=Limits())
    with pytest.raises(LookupError):
        list(steps)


def test_only_a_registered_version_can_be_asked(world: World) -> None:
    """A version that was never registered has no run, not even an open one."""
    version = world.version(16)
    stranger = replace(version, id="f" * 64)
    with pytest.raises(Rejected) as refused:
        world.evaluate(stranger)
    assert refused.value.what == (
        "the registry refused it: only a registered version can be evaluated"
    )
    assert world.registry.runs.of_version(stranger.id) == []


def test_missing_suites_are_those_without_a_completed_run(world: World) -> None:
    """What is still to be evaluated is known by name."""
    world.apply_suite("extra", cases=3)
    version = world.evaluated(16)
    assert [info.name for info in missing_suites(world.registry, version)] == ["extra"]
    world.evaluate(version, "extra")
    assert missing_suites(world.registry, version) == []


def test_another_case_makes_another_suite_that_has_to_be_run(world: World) -> None:
    """A run on the suite as it was before says nothing about the suite as it is now."""
    version = world.evaluated(16)
    world.apply_suite(cases=21)
    assert [info.name for info in missing_suites(world.registry, version)] == ["triage"]


def test_what_is_done_is_not_undone_by_closing_the_progress(world: World) -> None:
    """Whoever stops looking ends the asking; the answers so far stay."""
    version = world.version(16)
    steps = world.evaluating(version, repeats=50)
    next(steps)
    steps.close()
    record = only_run(world, version)
    assert record.end is None
    assert world.registry.runs.asked(record.run.id)
    assert world.evaluate(version, resume=record).answers == 1000
