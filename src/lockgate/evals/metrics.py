"""Metrics: what the pooled scores of a suite say as a whole, and by tag.

- A score metric is the mean over cases, each case counted with its weight, and has an interval.
- Latency percentiles are of single answers, by nearest rank: always a latency that was measured.
- Latency and tokens are better when lower; everything a scorer gives is better when higher.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from lockgate.domain.evidence import CaseScores, MetricSummary
from lockgate.domain.metrics import TOKEN_METRICS, is_score
from lockgate.domain.suite import Suite
from lockgate.evals.stats import score_interval

SUMMARY_CONFIDENCE = 0.95
"""One-sided on each side of the interval, so the interval itself is a 90 % one."""
_PERCENTILE = re.compile(r"p([0-9]{2})_ms")


def percentile(values: Iterable[float], q: float) -> float:
    """Return the nearest-rank percentile: the ceil(q/100 · n)-th smallest of n values.

    Args:
        values: At least one.
        q: Above 0, at most 100; 50 gives the lower median.

    Raises:
        ValueError: There is no value, or `q` is out of range.
    """
    ordered = sorted(values)
    if not ordered or not 0 < q <= 100:
        raise ValueError(f"no {q}th percentile of {len(ordered)} values")
    return ordered[math.ceil(q * len(ordered) / 100) - 1]


def metric_value(suite: Suite, pool: CaseScores, metric: str) -> float | None:
    """Return one metric over a whole pool, or `None` when nothing was measured for it.

    Returns:
        A fraction for scores, milliseconds for latency, tokens per answer for tokens.
    """
    if is_score(metric):
        return _weighted_mean(suite, pool.scores.get(metric, {}))
    if metric == "tokens_in":
        return _mean(pool.tokens_in)
    if metric == "tokens_out":
        return _mean(pool.tokens_out)
    if metric == "mean_ms":
        return _mean(pool.latencies_ms)
    match = _PERCENTILE.fullmatch(metric)
    return percentile(pool.latencies_ms, int(match[1])) if match and pool.latencies_ms else None


def summarise(suite: Suite, pool: CaseScores) -> tuple[MetricSummary, ...]:
    """Return every metric of a pool: the suite's own in their order, then latency and tokens.

    A metric for which nothing was measured is left out; `n` counts cases, however often each was
    asked.
    """
    summaries = [
        _score_summary(suite, metric, pool.scores[metric])
        for metric in suite.metrics
        if pool.scores.get(metric)
    ]
    answered = len({case for scores in pool.scores.values() for case in scores})
    for metric in ("p50_ms", "p95_ms", "mean_ms", *TOKEN_METRICS):
        value = metric_value(suite, pool, metric)
        if value is not None:
            summaries.append(MetricSummary(metric, value, None, None, answered))
    return tuple(summaries)


def slices(suite: Suite, pool: CaseScores, metric: str) -> list[tuple[str, int, float]]:
    """Return tag, number of cases and mean for every tag with a score, sorted by tag.

    Empty for latency and tokens, which are not kept per case.
    """
    scores = pool.scores.get(metric, {})
    tagged: dict[str, dict[str, float]] = {}
    for case in suite.cases:
        if case.id in scores:
            for tag in case.tags:
                tagged.setdefault(tag, {})[case.id] = scores[case.id]
    return [
        (tag, len(tagged[tag]), _weighted_mean(suite, tagged[tag]) or 0.0) for tag in sorted(tagged)
    ]


def _score_summary(suite: Suite, metric: str, scores: Mapping[str, float]) -> MetricSummary:
    cases = sorted(scores)
    weights = [_weight(suite, case) for case in cases]
    interval = score_interval(
        [scores[case] for case in cases],
        SUMMARY_CONFIDENCE,
        weights=None if len(set(weights)) == 1 else weights,
    )
    value = _weighted_mean(suite, scores)
    assert value is not None
    return MetricSummary(metric, value, interval.lower, interval.upper, len(cases))


def _weight(suite: Suite, case: str) -> float:
    return suite.by_id[case].weight if case in suite.by_id else 1.0


def _weighted_mean(suite: Suite, scores: Mapping[str, float]) -> float | None:
    if not scores:
        return None
    weights = {case: _weight(suite, case) for case in scores}
    total = math.fsum(weights[case] * score for case, score in scores.items())
    return total / math.fsum(weights.values())


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
