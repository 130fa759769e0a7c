"""The names of metrics: which are scores, which every run has by itself, which a scorer may take.

- A metric is a score, a fraction from 0 to 1, unless it is one of those that every run has.
- No scorer takes a name that reads like a latency or a count.
"""

from __future__ import annotations

import re

METRIC_PATTERN = re.compile(r"[a-z0-9_@-]{1,40}")
LATENCY_METRICS = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms")
TOKEN_METRICS = ("tokens_in", "tokens_out")
RESERVED_METRICS = (*LATENCY_METRICS, *TOKEN_METRICS)
"""Metrics that every run has by itself, so that no scorer may take their names."""


def is_score(metric: str) -> bool:
    """Tell a score, a fraction from 0 to 1, from a latency (`p95_ms`) or a count (`tokens_in`).

    Only scores have an interval, can be compared case by case, and are better when higher.
    """
    return metric not in RESERVED_METRICS


def reads_like_no_score(metric: str) -> bool:
    """Tell whether a name promises milliseconds or tokens, which only a run measures."""
    return metric.endswith("_ms") or metric.startswith("tokens")
