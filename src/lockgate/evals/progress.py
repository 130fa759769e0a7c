"""What a run says of itself while it is going: counts, live scores, wins and losses, failures.

- Live intervals are approximations for the eye; decisions are made from the completed run alone.
- A case counts once however often it was asked, by its mean so far, as it does at the gate.
- A comparison counts only cases that both versions answered.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field

from lockgate.domain.evidence import Answer, RunEnd
from lockgate.domain.suite import Suite
from lockgate.evals.stats import Interval, live_interval

SAME = 1e-9
"""Scores closer than this are a tie."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One metric so far, and against the version it is compared with."""

    metric: str
    value: float
    interval: Interval
    baseline: float | None
    """Mean of the other version over the same cases; `None` when there is none."""
    won: int
    lost: int
    tied: int


@dataclass(frozen=True, slots=True)
class Failing:
    """One answer that is not fully right, as it came in."""

    case: str
    expected: object
    got: object
    """The output; `None` when the case failed to run."""
    error: str | None
    scores: Mapping[str, float]
    baseline_was_right: bool | None
    """`None` when there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment."""

    run: str
    suite: str
    """The suite's name."""
    done: int
    """Answers that are stored, those of earlier sittings included."""
    total: int
    errors: int
    elapsed_s: float
    left_s: float | None
    """Estimated time left; `None` while nobody can tell."""
    tallies: tuple[Tally, ...]
    p95_ms: float | None
    failing: tuple[Failing, ...]
    """Only what came in since the last progress."""
    end: RunEnd | None = None
    """How the run ended; only in its last progress."""


@dataclass
class _Count:
    cases: dict[str, tuple[float, int]] = field(default_factory=dict)
    """The sum of each case's scores so far, and how many they are."""
    total: float = 0.0
    squares: float = 0.0
    baseline: float = 0.0
    won: int = 0
    lost: int = 0
    tied: int = 0


@dataclass
class Scoreboard:
    """Counts answers as they come and says how the run stands."""

    suite: Suite
    baseline: Mapping[str, Mapping[str, float]] | None = None
    """Metric to case to score, of the version to compare with."""
    done: int = 0
    errors: int = 0
    _counts: dict[str, _Count] = field(default_factory=dict)
    _latencies: list[float] = field(default_factory=list)

    def add(self, answer: Answer) -> Failing | None:
        """Count one answer; returns it as failing when it is not fully right."""
        self.done += 1
        if answer.scores is None:
            self.errors += 1
            return self._failing(answer, {})
        bisect.insort(self._latencies, answer.latency_ms)
        for metric, score in answer.scores.items():
            self._count(metric, answer.case, score)
        if all(score >= 1.0 - SAME for score in answer.scores.values()):
            return None
        return self._failing(answer, answer.scores)

    def _count(self, metric: str, case: str, score: float) -> None:
        count = self._counts.setdefault(metric, _Count())
        other = self.baseline.get(metric, {}).get(case) if self.baseline else None
        total, times = count.cases.get(case, (0.0, 0))
        if times:
            _weigh(count, total / times, other, -1)
        count.cases[case] = (total + score, times + 1)
        _weigh(count, (total + score) / (times + 1), other, 1)

    def _failing(self, answer: Answer, scores: Mapping[str, float]) -> Failing:
        case = self.suite.by_id[answer.case]
        first = self.suite.metrics[0]
        other = self.baseline.get(first, {}).get(answer.case) if self.baseline else None
        was_right = None if other is None else other >= 1.0 - SAME
        return Failing(answer.case, case.expected, answer.output, answer.error, scores, was_right)

    def tallies(self) -> tuple[Tally, ...]:
        """Return every metric so far, in the suite's order."""
        found = []
        for metric in self.suite.metrics:
            count = self._counts.get(metric)
            if count is None:
                continue
            n, compared = len(count.cases), count.won + count.lost + count.tied
            found.append(
                Tally(
                    metric,
                    count.total / n,
                    live_interval(n, count.total, count.squares),
                    count.baseline / compared if compared else None,
                    count.won,
                    count.lost,
                    count.tied,
                )
            )
        return tuple(found)

    def p95_ms(self) -> float | None:
        """Return the 95th percentile of the latencies so far, by nearest rank."""
        if not self._latencies:
            return None
        return self._latencies[-(-len(self._latencies) * 95 // 100) - 1]


def _weigh(count: _Count, mean: float, other: float | None, by: int) -> None:
    """Add a case's mean to what is counted, or take it away again: `by` is 1 or -1."""
    count.total += by * mean
    count.squares += by * mean * mean
    if other is None:
        return
    count.baseline += by * other
    if mean > other + SAME:
        count.won += by
    elif mean < other - SAME:
        count.lost += by
    else:
        count.tied += by
