"""Step 3, evaluate: ask a registered version every case of a suite, and keep every answer.

- Only a registered version is evaluated, from the registry's bytes, never from a working folder.
- A run that was stopped stays open; resuming asks only what has no score yet.
- A case that was answered is never asked again; one that failed may be.
- A run with more failed cases than the policy allows is not completed and is no evidence.
- A run is resumed only where it would give the same answers: under the same environment.
- A run that nobody will finish is given up on record: it is no evidence, and in nobody's way.
- Answers that came back wait for a registry that somebody else is writing to.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lockgate.domain.evidence import Answer, CasePool, Run, RunEnd, RunRecord, answered
from lockgate.domain.release import SuiteInfo
from lockgate.domain.suite import Suite
from lockgate.domain.version import Version
from lockgate.errors import Busy, InfrastructureFailed, Interrupted, LockgateError, Refused
from lockgate.evals.engine import Asked, ask_all
from lockgate.evals.metrics import summarise
from lockgate.evals.progress import Failing, Progress, Scoreboard
from lockgate.evals.scorers import Scoring
from lockgate.loop.contents import check_contents
from lockgate.ports import CaseFailed, Question, Registry, Runner, Writing

T = TypeVar("T")
E = TypeVar("E", bound=LockgateError)

OpenRunner = Callable[[Version, Suite], AbstractContextManager[Runner]]
"""Makes a version ready to be asked: its definition materialised, its process at hand."""

LEASE_EVERY_S = 5.0
BUSY_FOR_S = 60.0
"""How long what came back waits for somebody else who is writing, before the run is cut short."""
_TOLD_ERRORS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How many failed cases are still evidence, and how many in a row end a run."""

    allowed_errors: int = 0
    stop_after_errors: int = 5


def missing_suites(registry: Registry, version: Version) -> list[SuiteInfo]:
    """Return the applied suites that a version has no completed run on."""
    return [
        suite
        for suite in registry.applied.suites(version.system).values()
        if not registry.runs.completed(version.id, suite.digest)
    ]


def open_run(registry: Registry, version: Version, suite: SuiteInfo) -> RunRecord | None:
    """Return the newest run of a version on a suite that has not ended."""
    records = registry.runs.of_version(version.id, suite.digest)
    unfinished = [record for record in records if record.end is None]
    return unfinished[-1] if unfinished else None


def evaluate(
    registry: Registry,
    version: Version,
    suite_digest: str,
    open_runner: OpenRunner,
    *,
    actor: str,
    limits: Limits,
    repeats: int | None = None,
    resume: RunRecord | None = None,
    baseline: Version | None = None,
) -> Iterator[Progress]:
    """Run a suite against a version; the caller walks the progress.

    Args:
        registry: Where answers are kept.
        version: What is asked.
        suite_digest: A suite that is stored.
        open_runner: Makes the version ready.
        actor: Who runs this.
        limits: From the applied policy.
        repeats: How often each case is asked; the suite's own number when left out.
        resume: Go on with this run instead of a new one.
        baseline: A version to count wins and losses against, if it has completed runs.

    Yields:
        The run as it stands, about ten times a second at most; the last one carries its end.

    Raises:
        InfrastructureFailed: The version cannot be asked, or too many cases failed; what was
            answered is kept and the run stays open.
        Interrupted: A person stopped it; what was answered is kept and the run stays open.
        Refused: The run to resume has ended, or ran under another environment; or the version's
            contents expired.
        Busy: A living process is at work on the run to resume; or somebody else kept writing for
            longer than `BUSY_FOR_S`, and what was answered before is kept.
    """
    sitting = _Sitting(registry, version, suite_digest, actor, limits, repeats, resume, baseline)
    return sitting.walk(open_runner)


def void(registry: Registry, record: RunRecord, *, actor: str) -> RunEnd:
    """End a run that nobody will finish; what was answered stays on record and is no evidence.

    Raises:
        Refused: The run has ended.
        Busy: A living process is at work on it.
    """
    run = record.run
    subject = f"run {run.id}"
    with registry.write() as writing:
        writing.take_lease(subject, actor)
        _check_open(registry, run)
    try:
        came_to = answered(registry.runs.raw_answers(run.id))
        with registry.write() as writing:
            return writing.end_run(run, "voided", (), actor, came_to)
    finally:
        with suppress(LockgateError), registry.write(durable=False) as writing:
            writing.drop_lease(subject)


def _check_open(registry: Registry, run: Run) -> None:
    """Refuse a run that has ended, whoever looked before."""
    end = registry.runs.get(run.id).end
    if end is None:
        return
    version = registry.versions.get(run.version)
    label = version.label if version else run.version
    raise Refused(
        f"run `{run.id}` is {end.outcome} already",
        hint=f"`lockgate show {label} -s {run.system}`; a new run: "
        f"`lockgate evaluate {label} -s {run.system} --fresh`",
    )


@dataclass
class _Sitting:
    """One sitting of a run, from its first question to its end or interruption."""

    registry: Registry
    version: Version
    suite_digest: str
    actor: str
    limits: Limits
    repeats: int | None
    resume: RunRecord | None
    baseline: Version | None
    run: Run | None = None
    failing: list[Failing] = field(default_factory=list)
    began_s: float = 0.0
    renewed_s: float = 0.0
    asked_here: int = 0

    def walk(self, open_runner: OpenRunner) -> Iterator[Progress]:
        check_contents(self.registry, self.version)
        self.suite = self.registry.applied.suite(self.suite_digest)
        count = self.resume.run.repeats if self.resume else (self.repeats or self.suite.repeats)
        self.total = len(self.suite.cases) * count
        self.board = Scoreboard(self.suite, self._baseline_scores())
        try:
            yield from self._ask(open_runner, count, self._take_up())
        except KeyboardInterrupt as error:
            self._leave()
            raise Interrupted(
                f"stopped: {self._kept()} answers of `{self.suite.name}` are kept",
                hint=self._resume_hint(),
            ) from error
        except Busy as error:
            # Whoever is in the way would be in the way of leaving, too; a dead process holds
            # no lease.
            raise self._unfinished(error) from error
        except BaseException:
            self._leave()
            raise
        self._leave()

    def _ask(
        self, open_runner: OpenRunner, count: int, askings: dict[tuple[str, int], int]
    ) -> Iterator[Progress]:
        scorer_files = self.registry.applied.scorer_files(self.suite)
        with (
            self.registry.scratch() as scratch,
            Scoring(self.suite, scorer_files, scratch) as scoring,
            open_runner(self.version, self.suite) as runner,
        ):
            self.began_s = self.renewed_s = time.monotonic()
            batches = ask_all(
                self._questions(count, askings),
                runner,
                stop_after_errors=self.limits.stop_after_errors,
                on_start=lambda facts: self._start(facts, count),
            )
            try:
                with closing(batches):
                    for batch in batches:
                        if self.run:
                            self._keep(batch, scoring, self.run.id)
                            yield self._progress(None)
            except InfrastructureFailed as error:
                raise self._unfinished(error) from error
        yield self._progress(self._finish())

    def _take_up(self) -> dict[tuple[str, int], int]:
        """Take a run's lease when resuming, and count what it has already."""
        if self.resume is None:
            return {}
        run = self.resume.run
        with self.registry.write() as writing:
            try:
                writing.take_lease(f"run {run.id}", self.actor)
            except Busy as error:
                raise Busy(
                    error.what,
                    hint=f"wait for it, or run the suite once more beside it: {self._command()} "
                    "--fresh`",
                ) from error
            # Under the lease nobody else can end it; before, somebody may have.
            _check_open(self.registry, run)
        self.run = run
        asked = self.registry.runs.asked(run.id)
        for answer in self.registry.runs.raw_answers(run.id):
            if answer.scores is not None:
                self.board.add(answer)
        return {key: (-1 if has_score else askings) for key, (askings, has_score) in asked.items()}

    def _start(self, facts: Mapping[str, Any], count: int) -> None:
        environment = {**facts, "suite_seed": self.suite.seed}
        if self.resume is not None:
            changed = sorted(
                key
                for key in {*environment, *self.resume.run.environment}
                if environment.get(key) != self.resume.run.environment.get(key)
            )
            if changed:
                raise Refused(
                    f"run `{self.resume.run.id}` was begun under another environment: "
                    f"{', '.join(changed)} differ",
                    hint=f"start anew: {self._command()} --fresh`; then give this one up: `lockgate "
                    f"evaluate --void {self.resume.run.id} -s {self.version.system}`",
                )
            return
        run = Run(
            secrets.token_hex(8),
            self.version.system,
            self.version.id,
            self.suite_digest,
            count,
            environment,
            self.actor,
        )

        def begin(writing: Writing) -> Run:
            writing.take_lease(f"run {run.id}", self.actor)
            return writing.append(run)

        self.run = self._patiently(begin)

    def _questions(self, count: int, askings: Mapping[tuple[str, int], int]) -> Iterator[Question]:
        for repeat in range(1, count + 1):
            for case in self.suite.cases:
                earlier = askings.get((case.id, repeat), 0)
                if earlier >= 0:
                    seed = _seed(self.suite.seed, case.id, repeat)
                    yield Question(case.id, repeat, earlier + 1, case.input, seed)

    def _keep(self, batch: list[Asked], scoring: Scoring, run_id: str) -> None:
        """Record answers, and now and then that this process is still at it."""
        is_due = time.monotonic() - self.renewed_s > LEASE_EVERY_S
        if not batch and not is_due:
            return
        answers = [self._answer(asked, scoring, run_id) for asked in batch]

        def record(writing: Writing) -> None:
            writing.add_answers(answers)
            if is_due:
                writing.renew_lease(f"run {run_id}")

        self._patiently(record, durable=False)
        if is_due:
            self.renewed_s = time.monotonic()
        for answer in answers:
            failing = self.board.add(answer)
            if failing is not None:
                self.failing.append(failing)
        self.asked_here += len(answers)

    def _patiently(self, record: Callable[[Writing], T], *, durable: bool = True) -> T:
        """Write what would have to be asked for again; try for `BUSY_FOR_S` to get in.

        Raises:
            Busy: Somebody else was writing all the time.
        """
        until = time.monotonic() + BUSY_FOR_S
        while True:
            try:
                with self.registry.write(durable=durable) as writing:
                    return record(writing)
            except Busy:
                if time.monotonic() >= until:
                    raise

    def _answer(self, asked: Asked, scoring: Scoring, run_id: str) -> Answer:
        question, reply, error = asked.question, asked.reply, asked.error
        scores = None
        if reply is not None:
            try:
                scores = scoring.score(self.suite.by_id[question.case], reply.output)
            except CaseFailed as failed:
                error = str(failed)
        return Answer(
            run_id,
            question.case,
            question.repeat,
            question.asking,
            scores,
            error if scores is None else None,
            reply.output if reply and scores is not None else None,
            round(reply.latency_ms, 3) if reply else 0.0,
            reply.tokens_in if reply else None,
            reply.tokens_out if reply else None,
        )

    def _progress(self, end: RunEnd | None) -> Progress:
        elapsed = time.monotonic() - self.began_s
        left = None
        if self.asked_here:
            left = max(elapsed / self.asked_here * (self.total - self.board.done), 0.0)
        failing, self.failing = tuple(self.failing), []
        return Progress(
            self.run.id if self.run else "",
            self.suite.name,
            self.board.done,
            self.total,
            self.board.errors,
            elapsed,
            left,
            self.board.tallies(),
            self.board.p95_ms(),
            failing,
            end,
        )

    def _finish(self) -> RunEnd:
        assert self.run is not None  # the runner started, so the run was recorded
        run, pool = self.run, CasePool()

        def pooling() -> Iterator[Answer]:
            for answer in self.registry.runs.raw_answers(run.id):
                pool.add(answer)
                yield answer

        came_to = answered(pooling())
        if came_to.errors > self.limits.allowed_errors:
            raise InfrastructureFailed(
                f"{came_to.errors} of {self.total} questions failed on `{self.suite.name}`, at "
                f"most {self.limits.allowed_errors} may: the run is kept open and is no score",
                problems=[
                    f"{case}: {error}"
                    for case, error in self.registry.runs.failures(run.id, _TOLD_ERRORS)
                ],
                hint=self._resume_hint(),
            )
        summary = summarise(self.suite, pool.result())
        return self._patiently(
            lambda writing: writing.end_run(run, "completed", summary, self.actor, came_to)
        )

    def _unfinished(self, error: E) -> E:
        """Add to what went wrong how much is kept and how to go on."""
        if self.run is None:
            return error
        return type(error)(
            f"{error.what} · {self._kept()} kept · no score",
            problems=error.problems,
            hint=self._resume_hint(),
        )

    def _kept(self) -> str:
        """Say how many answers nobody has to ask for again; one that failed is asked anew."""
        return f"{self.board.done - self.board.errors}/{self.total}"

    def _resume_hint(self) -> str:
        return f"{self._command()} --resume {self.run.id}`" if self.run else f"{self._command()}`"

    def _command(self) -> str:
        """Return what evaluates the version, without the quote that ends it."""
        return f"`lockgate evaluate {self.version.label} -s {self.version.system}"

    def _leave(self) -> None:
        """Give up the lease; where that fails it ends with this process."""
        if self.run is not None:
            with suppress(LockgateError), self.registry.write(durable=False) as writing:
                writing.drop_lease(f"run {self.run.id}")

    def _baseline_scores(self) -> Mapping[str, Mapping[str, float]] | None:
        if self.baseline is None or self.baseline.id == self.version.id:
            return None
        runs = self.registry.runs.completed(self.baseline.id, self.suite_digest)
        if not runs:
            return None
        return self.registry.runs.pooled(record.run.id for record in runs).scores


def _seed(suite_seed: int, case: str, repeat: int) -> int:
    hashed = hashlib.sha256(f"{suite_seed}:{case}:{repeat}".encode()).digest()
    return int.from_bytes(hashed[:4], "big")
