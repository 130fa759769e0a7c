"""The names of metrics: what is a score is told in one place, and everywhere the same."""

from __future__ import annotations

import pytest

from lockgate.domain import figures
from lockgate.domain.metrics import RESERVED_METRICS, is_score, reads_like_no_score


@pytest.mark.parametrize("metric", RESERVED_METRICS)
def test_less_latency_and_fewer_tokens_are_better(metric: str) -> None:
    """What every run measures by itself is no score, and is shown in its own unit."""
    assert not is_score(metric)
    assert reads_like_no_score(metric)
    assert figures.metric(metric, 41) == ("41 ms" if metric.endswith("_ms") else "41 tokens")


@pytest.mark.parametrize("metric", ["accuracy", "recall@5", "own_ms", "tokens_used", "p42_ms"])
def test_more_of_a_score_is_better(metric: str) -> None:
    """Whatever a scorer gives is a score, however it is called, and is shown as one."""
    assert is_score(metric)
    assert figures.metric(metric, 0.91) == ".910"


def test_names_that_promise_something_else() -> None:
    """Milliseconds and tokens are read out of a name's ends."""
    names = ["quality_ms", "tokens", "tokens_saved", "ms", "_ms", "items", "my_tokens", "token"]
    assert [name for name in names if reads_like_no_score(name)] == [
        "quality_ms",
        "tokens",
        "tokens_saved",
        "_ms",
    ]
