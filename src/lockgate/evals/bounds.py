"""Bound the mean of one set of scores from what a few cases showed.

One bound for everything, Gaffke's (Gaffke 2005; Learned-Miller & Thomas, arXiv:1905.06208): add
one pseudo-case with the worst possible score, give all cases random Dirichlet(1, ..., 1) weights,
and take the quantile of the weighted mean; the upper bound is the same on mirrored scores. For
0/1 scores it is exactly the interval of Clopper & Pearson (1934).

Proved: the stated confidence holds for scores that take two values, whatever the number of cases.
Conjectured: that it holds for every distribution on the range; no counterexample is known, and
`lockgate.evals.error_rates` looks for one and finds none.

- `confidence` is one-sided on each side: 0.95 gives a two-sided interval of 90 %.
- The same cases give the same bounds, in any order, on any run; bounds are rounded outward to
  1e-9, so that two machines with different mathematical libraries record the same numbers.
- No cases say nothing: the interval is the whole range.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockgate.evals.tails import (
    crossing,
    incomplete_beta,
    normal_quantile,
    student_quantile,
    waiting_at_most_zero,
)

_GRID = 1e9
"""Bounds are rounded outward to a whole multiple of 1 / `_GRID`."""

_SAME = 12
"""Scores that agree to this many decimals count as one value, as after averaging repeats."""

Group = tuple[float, float, int]
"""A value, the weight of each case that has it, relative to the heaviest, and their number."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the mean lies, each side with its own one-sided confidence."""

    lower: float
    upper: float


def score_interval(
    scores: Sequence[float], confidence: float = 0.95, weights: Sequence[float] | None = None
) -> Interval:
    """Bound the mean score that the version would reach on all cases like these.

    Scores of 0 and 1 take Clopper & Pearson's interval, all others Gaffke's.

    Args:
        scores: One per case, from 0 to 1: the mean over its repeats.
        confidence: Of each side, from 0.5 to below 1.
        weights: One per case, not negative; the mean is sum(w * x) / sum(w). Equal weights are no
            weights. See `gaffke_interval` for what is bounded otherwise.

    Raises:
        ValueError: A score, a weight or the confidence is out of range, or the lengths differ.
    """
    check_values("score", scores, 0.0, 1.0)
    groups = grouped(scores, weights)
    if all(value in (0.0, 1.0) and weight == 1.0 for value, weight, _ in groups):
        successes = sum(count for value, _, count in groups if value == 1.0)
        return binomial_interval(successes, sum(count for *_, count in groups), confidence)
    return gaffke_interval(groups, 0.0, 1.0, confidence)


def binomial_interval(successes: int, n: int, confidence: float) -> Interval:
    """Bound a success rate by Clopper & Pearson (1934), the exact interval for a count.

    Raises:
        ValueError: The count is not between 0 and n, or the confidence is out of range.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be from 0 to {n}, not {successes}")
    check_confidence(confidence)
    return outward(
        _rate_lower(successes, n, confidence),
        1.0 - _rate_lower(n - successes, n, confidence),
        0.0,
        1.0,
    )


def _rate_lower(successes: int, n: int, confidence: float) -> float:
    if successes == 0:
        return 0.0
    if successes == n:
        return math.exp(math.log1p(-confidence) / n)
    mean = successes / (n + 1)
    spread = math.sqrt(mean * (1.0 - mean) / (n + 1))
    return crossing(
        lambda rate: incomplete_beta(rate, successes, n - successes + 1),
        1.0 - confidence,
        0.0,
        1.0,
        mean - normal_quantile(confidence) * spread,
        spread,
    )


def live_interval(
    n: int, total: float, total_of_squares: float, confidence: float = 0.95
) -> Interval:
    """Bound a mean score while its run is still going, from three running totals.

    Student's t with the pseudo-case of Gaffke's bound added; it follows that bound closely, but is
    an approximation: for the progress line only, never for a decision.

    Args:
        n: Cases so far.
        total: Sum of their scores, each from 0 to 1.
        total_of_squares: Sum of their squared scores.
        confidence: Of each side, from 0.5 to below 1.

    Raises:
        ValueError: The totals cannot be those of n scores, or the confidence is out of range.
    """
    check_confidence(confidence)
    slack = 1e-9 * (n + 1)
    if n < 0 or not -slack <= total_of_squares <= total + slack or not total <= n + slack:
        raise ValueError(
            f"no {n} scores from 0 to 1 have the sum {total} and the sum of squares"
            f" {total_of_squares}"
        )
    if n == 0:
        return Interval(0.0, 1.0)
    reach = student_quantile(confidence, n)

    def lower(total: float, total_of_squares: float) -> float:
        mean = total / (n + 1)
        variance = max(0.0, total_of_squares - total * mean) / n
        return mean - reach * math.sqrt(variance / (n + 1))

    mirrored = lower(n - total, n - 2.0 * total + total_of_squares)
    return outward(lower(total, total_of_squares), 1.0 - mirrored, 0.0, 1.0)


def gaffke_interval(
    groups: Sequence[Group], worst: float, best: float, confidence: float
) -> Interval:
    """Bound the mean of values from `worst` to `best` by Gaffke's bound on either side.

    With weights, the mean sum(w * x) / sum(w) is above t when the mean of w * (x - t) is above
    zero; each t is tested by Gaffke's bound on these values, whose worst is the heaviest weight
    times (worst - t). Random weights are allowed for, and scores that are all equal stay as sharp
    as without weights.

    Raises:
        ValueError: The confidence is out of range.
    """
    check_confidence(confidence)
    if not groups:
        return Interval(worst, best)
    mirrored = sorted((-value, weight, count) for value, weight, count in groups)
    return outward(
        _gaffke_lower(groups, worst, confidence),
        -_gaffke_lower(mirrored, -best, confidence),
        worst,
        best,
    )


def _gaffke_lower(groups: Sequence[Group], worst: float, confidence: float) -> float:
    highest = max(value for value, _, _ in groups)
    if highest <= worst:
        return worst
    # The pseudo-case joins the cases that are as bad: that keeps the short exact sums possible.
    number = {(worst, 1.0): 1}
    for value, weight, count in groups:
        number[value, weight] = number.get((value, weight), 0) + count
    cases = [(value, weight, count) for (value, weight), count in number.items()]
    counts = list(number.values())

    def at_most(t: float) -> float:
        return waiting_at_most_zero([w * (x - t) for x, w, _ in cases], counts)

    weight = math.fsum(w * k for _, w, k in cases)
    mean = math.fsum(w * k * x for x, w, k in cases) / weight
    spread = math.sqrt(math.fsum(k * (w * (x - mean)) ** 2 for x, w, k in cases)) / weight
    guess = mean - normal_quantile(confidence) * spread
    return crossing(at_most, 1.0 - confidence, worst, highest, guess, spread)


def grouped(values: Sequence[float], weights: Sequence[float] | None) -> list[Group]:
    """Sort cases and join those of equal value and weight, so that their order cannot matter.

    Cases whose weight is zero, or nothing beside the heaviest, are left out.

    Raises:
        ValueError: There is not one weight per value, one is negative or not finite, or all are 0.
    """
    if weights is None:
        weights = [1.0] * len(values)
    if len(weights) != len(values):
        raise ValueError(f"{len(values)} values need as many weights, not {len(weights)}")
    check_values("weight", weights, 0.0, math.inf)
    heaviest = max(weights, default=1.0)
    if heaviest == 0.0:
        raise ValueError("at least one weight must be above 0")
    if math.isinf(heaviest):
        raise ValueError("weight must be finite, not inf")
    relative = (round(w / heaviest, _SAME) for w in weights)
    counts = Counter(
        (round(float(x), _SAME), w) for x, w in zip(values, relative, strict=True) if w > 0.0
    )
    return sorted((value, weight, count) for (value, weight), count in counts.items())


def outward(lower: float, upper: float, worst: float, best: float) -> Interval:
    """Round an interval to the grid, never inward, and keep it in the possible range."""
    return Interval(
        max(worst, math.floor(lower * _GRID) / _GRID), min(best, math.ceil(upper * _GRID) / _GRID)
    )


def check_values(what: str, values: Iterable[float], lowest: float, highest: float) -> None:
    """Refuse a value that is out of range or not a number.

    Raises:
        ValueError: Names the first such value.
    """
    for value in values:
        if not lowest <= value <= highest:
            raise ValueError(f"{what} must be from {lowest:g} to {highest:g}, not {value!r}")


def check_confidence(confidence: float) -> None:
    """Refuse a one-sided confidence below one half, or of one and more.

    Raises:
        ValueError: Names the value.
    """
    if not 0.5 <= confidence < 1.0:
        raise ValueError(f"confidence must be from 0.5 to below 1, not {confidence!r}")
