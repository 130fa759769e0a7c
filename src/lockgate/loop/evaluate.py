"""Step 3, evaluate: ask a registered version every case of a suite, and keep every answer.

- Only a registered version is evaluated, from the registry's bytes, never from a working folder.
- A run that was stopped stays open; resuming asks only what has no score yet.
- A case that was answered is never asked again; one that failed may be.
- A run with more failed cases than the policy allows is not completed and is no evidence.
- A run is resumed only where it would give the same answers: under the same environment.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate.domain.evidence import Answer, CasePool, Run, RunEnd, RunRecord
from lockgate.domain.release import SuiteInfo
from lockgate.domain.suite import Suite
from lockgate.domain.version import Version
from lockgate.errors import InfrastructureFailed, Interrupted, Refused
from lockgate.evals.engine import Asked, ask_all
from lockgate.evals.metrics import summarise
from lockgate.evals.progress import Failing, Progress, Scoreboard
from lockgate.evals.scorers import Scoring
from lockgate.ports import CaseFailed, Question, Registry, Runner

OpenRunner = Callable[[Version, Suite], AbstractContextManager[Runner]]
"""Makes a version ready to be asked: its definition materialised, its process at hand."""

LEASE_EVERY_S = 5.0


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
        Refused: The run to resume has ended, or ran under another environment.
        Busy: A living process is at work on the run to resume.
    """
    sitting = _Sitting(registry, version, suite_digest, actor, limits, repeats, resume, baseline)
    return sitting.walk(open_runner)


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
    asked_here: int = 0

    def walk(self, open_runner: OpenRunner) -> Iterator[Progress]:
        self.suite = self.registry.applied.suite(self.suite_digest)
        count = self.resume.run.repeats if self.resume else (self.repeats or self.suite.repeats)
        self.total = len(self.suite.cases) * count
        self.board = Scoreboard(self.suite, self._baseline_scores())
        askings = self._take_up(count)
        try:
            yield from self._ask(open_runner, count, askings)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"stopped: {self._kept()} answers of `{self.suite.name}` are kept",
                hint=self._resume_hint(),
            ) from error
        finally:
            self._leave()

    def _ask(
        self, open_runner: OpenRunner, count: int, askings: dict[tuple[str, int], int]
    ) -> Iterator[Progress]:
        scorer_files = self.registry.applied.scorer_files(self.suite)
        with (
            tempfile.TemporaryDirectory(prefix="lockgate-scoring-") as scratch,
            Scoring(self.suite, scorer_files, Path(scratch)) as scoring,
            open_runner(self.version, self.suite) as runner,
        ):
            self.began_s = last_lease = time.monotonic()
            batches = ask_all(
                self._questions(count, askings),
                runner,
                stop_after_errors=self.limits.stop_after_errors,
                on_start=lambda facts: self._start(facts, count),
            )
            try:
                with closing(batches):
                    for batch in batches:
                        self._keep(batch, scoring)
                        if time.monotonic() - last_lease > LEASE_EVERY_S and self.run:
                            last_lease = time.monotonic()
                            with self.registry.write(durable=False) as writing:
                                writing.renew_lease(f"run {self.run.id}")
                        if self.run:
                            yield self._progress(None)
            except InfrastructureFailed as error:
                raise self._unfinished(error) from error
        yield self._progress(self._finish())

    def _check_open(self, record: RunRecord) -> None:
        if record.end is not None:
            raise Refused(
                f"run `{record.run.id}` is {record.end.outcome} already",
                hint=f"`lockgate show {self.version.label}`; a new run: "
                f"`lockgate evaluate {self.version.label} --fresh`",
            )

    def _take_up(self, count: int) -> dict[tuple[str, int], int]:
        """Take a run's lease when resuming, and count what it has already."""
        if self.resume is None:
            return {}
        run = self.resume.run
        with self.registry.write() as writing:
            writing.take_lease(f"run {run.id}", self.actor)
            # Under the lease nobody else can end it; before, somebody may have.
            self._check_open(self.registry.runs.get(run.id))
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
                    hint=f"start anew: `lockgate evaluate {self.version.label} --fresh`",
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
        with self.registry.write() as writing:
            self.run = writing.append(run)
            writing.take_lease(f"run {run.id}", self.actor)

    def _questions(self, count: int, askings: Mapping[tuple[str, int], int]) -> Iterator[Question]:
        for repeat in range(1, count + 1):
            for case in self.suite.cases:
                earlier = askings.get((case.id, repeat), 0)
                if earlier >= 0:
                    seed = _seed(self.suite.seed, case.id, repeat)
                    yield Question(case.id, repeat, earlier + 1, case.input, seed)

    def _keep(self, batch: list[Asked], scoring: Scoring) -> None:
        if not batch or self.run is None:
            return
        answers = [self._answer(asked, scoring, self.run.id) for asked in batch]
        with self.registry.write(durable=False) as writing:
            writing.add_answers(answers)
        for answer in answers:
            failing = self.board.add(answer)
            if failing is not None:
                self.failing.append(failing)
        self.asked_here += len(answers)

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
        pool = CasePool()
        for answer in self.registry.runs.raw_answers(self.run.id):
            pool.add(answer)
        failed = sum(not has for _, has in self.registry.runs.asked(self.run.id).values())
        if failed > self.limits.allowed_errors:
            raise InfrastructureFailed(
                f"{failed} of {self.total} questions failed on `{self.suite.name}`, at most "
                f"{self.limits.allowed_errors} may: the run is kept open and is no score",
                problems=self._errors(),
                hint=self._resume_hint(),
            )
        with self.registry.write() as writing:
            return writing.end_run(
                self.run, "completed", summarise(self.suite, pool.result()), self.actor
            )

    def _errors(self, limit: int = 3) -> list[str]:
        assert self.run is not None
        found: dict[str, str] = {}
        for answer in self.registry.runs.answers(self.run.id):
            if answer.error and len(found) < limit:
                found.setdefault(answer.error, f"{answer.case}: {answer.error}")
        return list(found.values())

    def _unfinished(self, error: InfrastructureFailed) -> InfrastructureFailed:
        if self.run is None:
            return error
        return InfrastructureFailed(
            f"{error.what} · {self._kept()} kept · no score",
            problems=error.problems,
            hint=self._resume_hint(),
        )

    def _kept(self) -> str:
        """Say how many answers nobody has to ask for again; one that failed is asked anew."""
        return f"{self.board.done - self.board.errors}/{self.total}"

    def _resume_hint(self) -> str:
        resume = f" --resume {self.run.id}" if self.run else ""
        return f"`lockgate evaluate {self.version.label} -s {self.version.system}{resume}`"

    def _leave(self) -> None:
        if self.run is not None:
            with self.registry.write(durable=False) as writing:
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
