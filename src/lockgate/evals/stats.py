"""The statistics of the gate in one place: intervals, paired tests, planning, slices.

- `bounds`: the interval of one score, and the bound behind all of them.
- `paired`: candidate against live on the same cases.
- `power`: how many cases, and how small a drop they show.

All rules of a policy must pass, so together they are an intersection-union test (Berger 1982) and
need no correction. Slices only report; `holm` corrects those.
"""

from __future__ import annotations

from collections.abc import Sequence

from lockgate.evals.bounds import (
    Interval,
    binomial_interval,
    check_values,
    live_interval,
    score_interval,
)
from lockgate.evals.paired import p_not_worse, paired_counts_interval, paired_interval
from lockgate.evals.power import (
    cases_needed,
    discordance_rate,
    fewest_cases_without_discordance,
    smallest_provable_drop,
    smallest_visible_drop,
)

__all__ = [
    "FEWEST_SLICE_CASES",
    "Interval",
    "binomial_interval",
    "cases_needed",
    "discordance_rate",
    "fewest_cases_without_discordance",
    "holm",
    "live_interval",
    "p_not_worse",
    "paired_counts_interval",
    "paired_interval",
    "score_interval",
    "smallest_provable_drop",
    "smallest_visible_drop",
]

FEWEST_SLICE_CASES = 59
"""A slice with fewer cases cannot prove a drop below 5 points even when no answer changed."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several slices by Holm's step-down method (1979), in the same order.

    A slice stands out at level alpha when its adjusted value is at most alpha; the chance that any
    of the unchanged slices stands out is then at most alpha.

    Raises:
        ValueError: A p-value is not from 0 to 1.
    """
    check_values("p-value", p_values, 0.0, 1.0)
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted
