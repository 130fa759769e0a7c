"""Evidence: what was asked, what came back, and what may be believed.

- Only a completed run is evidence; an open or voided one never is.
- An answer holds scores or an error, never both; an error is never a score.
- All completed runs of a version on one suite digest pool per case: the case's mean counts.
- A case that was answered is never asked again in the same run; one that failed may be.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockgate.canonical import canonical_json
from lockgate.domain.version import EPOCH


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation of one version on one suite, from the moment it starts."""

    id: str
    system: str
    version: str
    suite: str
    """The suite digest."""
    repeats: int
    environment: Mapping[str, Any]
    """Runtime, flags, seeds and the model fingerprint: what could change the answers."""
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one case in one repeat, at one asking."""

    run: str
    case: str
    repeat: int
    """From 1."""
    asking: int
    """From 1; above 1 only after every earlier asking failed."""
    scores: Mapping[str, float] | None
    """Metric to score from 0 to 1; `None` when the case failed."""
    error: str | None
    output: Any
    """What the version answered; `None` when the case failed."""
    latency_ms: float
    tokens_in: int | None = None
    tokens_out: int | None = None

    def body(self) -> dict[str, Any]:
        """Return the JSON value that `answers_digest` covers."""
        return {
            "case": self.case,
            "repeat": self.repeat,
            "asking": self.asking,
            "scores": dict(self.scores) if self.scores is not None else None,
            "error": self.error,
            "output": self.output,
            "latency_ms": self.latency_ms,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
        }


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric over a whole run: for scores a fraction, for latency milliseconds."""

    metric: str
    value: float
    lower: float | None
    """One-sided 95 % bound; `None` for metrics without an interval."""
    upper: float | None
    n: int
    """Number of cases, not of answers."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run; from here on its answers are fixed."""

    run: str
    outcome: str
    """`completed` or `voided`."""
    answers: int
    errors: int
    """Cases without a score in some repeat."""
    answers_digest: str
    summary: tuple[MetricSummary, ...]
    actor: str
    at: datetime = EPOCH
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What the answers of a run come to when it ends."""

    answers: int
    errors: int
    """Cases without a score in some repeat."""
    digest: str
    """Covers every answer, in a fixed order."""


def answered(answers: Iterable[Answer]) -> Answered:
    """Return what a run's answers come to.

    Args:
        answers: All of them, ordered by case, repeat and asking, outputs and errors as digests.
    """
    hashed = hashlib.sha256()
    count = 0
    scored: dict[tuple[str, int], bool] = {}
    for answer in answers:
        hashed.update(canonical_json(answer.body()) + b"\n")
        count += 1
        key = (answer.case, answer.repeat)
        scored[key] = scored.get(key, False) or answer.scores is not None
    return Answered(count, sum(not has_score for has_score in scored.values()), hashed.hexdigest())


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run and, when it has ended, how."""

    run: Run
    end: RunEnd | None

    @property
    def is_completed(self) -> bool:
        """Whether the run is evidence."""
        return self.end is not None and self.end.outcome == "completed"


@dataclass(frozen=True, slots=True)
class CaseScores:
    """What all completed runs of one version on one suite say about each case."""

    scores: Mapping[str, Mapping[str, float]]
    """Metric to case id to mean score over repeats and runs."""
    latencies_ms: tuple[float, ...]
    tokens_in: tuple[int, ...] = ()
    tokens_out: tuple[int, ...] = ()
    errors: int = 0
    """Cases without a single score in the run that is best supplied."""
    flaky: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric to the cases that were right in some repeats and wrong in others."""


@dataclass
class CasePool:
    """Collects answers one by one and gives the pooled `CaseScores`."""

    _totals: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    _latencies: list[float] = field(default_factory=list)
    _tokens_in: list[int] = field(default_factory=list)
    _tokens_out: list[int] = field(default_factory=list)
    _failed: set[str] = field(default_factory=set)

    def add(self, answer: Answer) -> None:
        """Count one answer; a failed asking counts only while its case has no score."""
        if answer.scores is None:
            self._failed.add(answer.case)
            return
        for metric, score in answer.scores.items():
            self._totals.setdefault(metric, {}).setdefault(answer.case, []).append(score)
        self._latencies.append(answer.latency_ms)
        if answer.tokens_in is not None:
            self._tokens_in.append(answer.tokens_in)
        if answer.tokens_out is not None:
            self._tokens_out.append(answer.tokens_out)

    def result(self) -> CaseScores:
        """Return the mean per case and metric, and which cases were not steady."""
        answered = {case for cases in self._totals.values() for case in cases}
        return CaseScores(
            scores={
                metric: {case: math.fsum(values) / len(values) for case, values in cases.items()}
                for metric, cases in self._totals.items()
            },
            latencies_ms=tuple(self._latencies),
            tokens_in=tuple(self._tokens_in),
            tokens_out=tuple(self._tokens_out),
            errors=len(self._failed - answered),
            flaky={
                metric: tuple(sorted(c for c, values in cases.items() if min(values) < max(values)))
                for metric, cases in self._totals.items()
            },
        )


def pooled(answers: Iterable[Answer]) -> CaseScores:
    """Return what some answers, of one or several runs on one suite, say about each case."""
    pool = CasePool()
    for answer in answers:
        pool.add(answer)
    return pool.result()
