"""What a pool of scores says as a whole, per tag, and about latency and tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.domain.evidence import CaseScores, MetricSummary
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.evals.metrics import (
    metric_value,
    percentile,
    slices,
    summarise,
)
from lockgate.evals.stats import score_interval


def suite(*cases: Case, metrics: tuple[str, ...] = ("accuracy",)) -> Suite:
    specs = tuple(ScorerSpec(metric, "exact") for metric in metrics)
    return Suite("support-desk", "triage", "", specs, 1, 0, 10.0, cases)


def case(name: str, *tags: str, weight: float = 1.0) -> Case:
    return Case(name, "x", "y", tags, weight)


def pool(scores: dict[str, dict[str, float]], **fields: Any) -> CaseScores:
    return CaseScores(scores, **{"latencies_ms": (), **fields})


FOUR = suite(case("a"), case("b"), case("c"), case("d"))
SCORED = pool({"accuracy": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0}})


def test_a_score_is_the_mean_over_cases_with_its_interval() -> None:
    """The bounds are one-sided 95 % each: Clopper-Pearson for right and wrong answers."""
    (summary,) = summarise(FOUR, SCORED)
    assert summary.metric == "accuracy"
    assert summary.value == 0.75
    assert summary.lower == pytest.approx(0.24860, abs=1e-5)
    assert summary.upper == pytest.approx(0.98726, abs=1e-5)
    assert summary.n == 4


def test_cases_count_with_their_weights() -> None:
    """A case of weight 3 counts as much as three others, in the value and in the interval."""
    weighted = suite(case("a", weight=3.0), case("b"))
    scores = pool({"accuracy": {"a": 1.0, "b": 0.0}})
    (summary,) = summarise(weighted, scores)
    expected = score_interval([1.0, 0.0], 0.95, weights=[3.0, 1.0])
    assert summary.value == 0.75
    assert (summary.lower, summary.upper) == (expected.lower, expected.upper)
    assert metric_value(weighted, scores, "accuracy") == 0.75


def test_equal_weights_are_no_weights() -> None:
    """What counts is the proportion: all cases of weight 2 give the same as all of weight 1."""
    twice = suite(*(case(name, weight=2.0) for name in "abcd"))
    assert summarise(twice, SCORED) == summarise(FOUR, SCORED)


def test_a_case_without_a_score_is_not_in_the_mean() -> None:
    """An error is no score of 0; it is counted elsewhere."""
    scores = pool({"accuracy": {"a": 1.0, "b": 0.0}}, errors=2)
    (summary,) = summarise(FOUR, scores)
    assert (summary.value, summary.n) == (0.5, 2)


def test_latency_and_tokens_follow_the_scores() -> None:
    """Every metric is there once, scores in the suite's order, the rest without bounds."""
    two = suite(case("a"), case("b"), metrics=("strict", "accuracy"))
    scores = {"accuracy": {"a": 1.0, "b": 0.0}, "strict": {"a": 1.0, "b": 0.0}}
    measured = pool(
        scores,
        latencies_ms=(30.0, 10.0, 20.0, 100.0),
        tokens_in=(5, 6),
        tokens_out=(1, 2),
    )
    found = summarise(two, measured)
    assert [summary.metric for summary in found[:2]] == ["strict", "accuracy"]
    assert found[2:] == (
        MetricSummary("p50_ms", 20.0, None, None, 2),
        MetricSummary("p95_ms", 100.0, None, None, 2),
        MetricSummary("mean_ms", 40.0, None, None, 2),
        MetricSummary("tokens_in", 5.5, None, None, 2),
        MetricSummary("tokens_out", 1.5, None, None, 2),
    )


def test_what_was_not_measured_is_left_out() -> None:
    """A pool without an answer has no metric at all; none is 0."""
    assert summarise(FOUR, pool({})) == ()
    assert [s.metric for s in summarise(FOUR, SCORED)] == ["accuracy"]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("accuracy", 0.75),
        ("p50_ms", 2.0),
        ("p90_ms", 4.0),
        ("p95_ms", 4.0),
        ("p99_ms", 4.0),
        ("mean_ms", 2.5),
        ("tokens_in", 7.0),
        ("tokens_out", None),
        ("recall", None),
        ("p7_ms", None),
    ],
)
def test_one_metric_can_be_asked_for(metric: str, value: float | None) -> None:
    """`None` says that nothing was measured under that name."""
    measured = pool(dict(SCORED.scores), latencies_ms=(4.0, 3.0, 2.0, 1.0), tokens_in=(7,))  # type: ignore[arg-type]
    assert metric_value(FOUR, measured, metric) == value


@pytest.mark.parametrize(
    ("values", "q", "wanted"),
    [
        ([7.0], 50, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([float(n) for n in range(1, 21)], 95, 19.0),
        ([float(n) for n in range(1, 22)], 95, 20.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([3.0, 1.0, 2.0], 100, 3.0),
        ([3.0, 1.0, 2.0], 0.1, 1.0),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(
    values: list[float], q: float, wanted: float
) -> None:
    """Nearest rank: the ceil(q/100 · n)-th smallest."""
    assert percentile(values, q) == wanted


@pytest.mark.parametrize(("values", "q"), [([], 50), ([1.0], 0), ([1.0], 100.5)])
def test_a_percentile_of_nothing_is_refused(values: list[float], q: float) -> None:
    """There is no such number to give."""
    with pytest.raises(ValueError, match="th percentile of"):
        percentile(values, q)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 100))
def test_at_least_q_percent_are_at_most_the_percentile(values: list[float], q: int) -> None:
    """And it is the smallest such value."""
    found = percentile(values, q)
    assert sum(value <= found for value in values) * 100 >= q * len(values)
    assert sum(value < found for value in values) * 100 < q * len(values)


def test_slices_give_number_and_mean_per_tag() -> None:
    """Sorted by tag; a case counts under each of its tags, weighted, and only if it was scored."""
    tagged = suite(
        case("a", "short", "billing"),
        case("b", "billing", weight=3.0),
        case("c", "short"),
        case("d", "long"),
        case("e"),
    )
    scores = pool({"accuracy": {"a": 1.0, "b": 0.0, "c": 0.5, "e": 1.0}})
    assert slices(tagged, scores, "accuracy") == [("billing", 2, 0.25), ("short", 2, 0.75)]


def test_latency_has_no_slices() -> None:
    """It is not kept per case."""
    tagged = suite(case("a", "short"))
    assert slices(tagged, pool({"accuracy": {"a": 1.0}}, latencies_ms=(1.0,)), "p95_ms") == []
