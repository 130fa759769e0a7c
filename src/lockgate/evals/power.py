"""Say how many cases a rule needs, and how small a drop the cases at hand can show.

Planning figures for people: always to be shown with "about". `discordance` is the share of cases
whose answer changed in score, either way; for scores between 0 and 1 it is the mean squared
difference. Against the exact enumeration at 95 % confidence and 80 % power, `cases_needed` is 1 to
4 % too high; at other levels it stays within about 10 %.
"""

from __future__ import annotations

import math

from lockgate.evals.bounds import check_confidence, check_values
from lockgate.evals.tails import normal_quantile

_EXTRA = 2.5
"""What the pseudo-case and the coarse steps of a count cost at 95 % confidence, in cases times gap;
fitted to the exact enumeration. It grows with the normal quantile of the confidence."""


def discordance_rate(wins: int, ties: int, losses: int) -> float:
    """Estimate the share of changed cases, never as zero: one changed case is added."""
    return (wins + losses + 1) / (wins + ties + losses + 1)


def cases_needed(
    discordance: float, gap: float, margin: float, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Say about how many cases in all it takes to prove a claim that is true.

    Args:
        discordance: Share of changed cases, from 0 to 1.
        gap: Distance of the true difference from the limit: `margin` to pass an unchanged version,
            `margin` plus the observed difference for that difference, the true drop minus `margin`
            to fail it. Above 0 and at most 2.
        margin: The allowed drop, from 0 to below 1; no answer is smaller than the fewest cases
            with which it can be proved at all.
        confidence: Of the rule, from 0.5 to below 1.
        power: Wanted probability of the proof, from 0.5 to below 1.

    Raises:
        ValueError: A value is out of range; with a gap of 0 or less no number of cases is enough.
    """
    check_values("discordance", (discordance,), 0.0, 1.0)
    check_values("margin", (margin,), -1.0, math.nextafter(1.0, 0.0))
    if not 0.0 < gap <= 2.0:
        raise ValueError(f"gap must be above 0 and at most 2, not {gap!r}")
    both, extra = _constants(confidence, power)
    about = round(both * discordance / gap**2 + extra / gap)
    return max(about, _fewest(margin, confidence), 1)


def smallest_visible_drop(
    n: int, discordance: float, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Say about the smallest `max_drop` that an unchanged version passes on this many cases.

    Never below what n cases without a single change prove; 1 when there are none.

    Raises:
        ValueError: A value is out of range.
    """
    check_values("n", (n,), 0, math.inf)
    check_values("discordance", (discordance,), 0.0, 1.0)
    if n == 0:
        return 1.0
    both, extra = _constants(confidence, power)
    drop = (extra + math.sqrt(extra * extra + 4.0 * both * n * discordance)) / (2.0 * n)
    return min(1.0, max(drop, smallest_provable_drop(n, confidence)))


def smallest_provable_drop(n: int, confidence: float = 0.95) -> float:
    """Give the smallest drop that n cases exclude when not one of them changed.

    Raises:
        ValueError: A value is out of range.
    """
    check_values("n", (n,), 0, math.inf)
    check_confidence(confidence)
    return -math.expm1(math.log1p(-confidence) / n) if n else 1.0


def fewest_cases_without_discordance(margin: float, confidence: float = 0.95) -> int:
    """Give the fewest cases that prove a drop below `margin` when not one of them changed.

    A rule on fewer cases can pass only if the candidate is better on some of them.

    Raises:
        ValueError: The margin is not above 0 and below 1, or the confidence is out of range.
    """
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must be above 0 and below 1, not {margin!r}")
    check_confidence(confidence)
    return _whole(math.log1p(-confidence) / math.log1p(-margin))


def _fewest(margin: float, confidence: float) -> int:
    """Give the fewest cases without a change, or, where those prove nothing, with wins only."""
    if margin > 0.0:
        return fewest_cases_without_discordance(margin, confidence)
    if margin == -1.0:
        raise ValueError("margin must be above -1: a difference of 1 cannot be exceeded")
    return _whole(math.log1p(-confidence) / math.log((1.0 - margin) / 2.0))


def _whole(cases: float) -> int:
    # A quotient of logarithms that is a whole number may come out a hair above it.
    return math.ceil(cases - 1e-9)


def _constants(confidence: float, power: float) -> tuple[float, float]:
    check_confidence(confidence)
    if not 0.5 <= power < 1.0:
        raise ValueError(f"power must be from 0.5 to below 1, not {power!r}")
    quantile = normal_quantile(confidence)
    both = (quantile + normal_quantile(power)) ** 2
    return both, _EXTRA * quantile / normal_quantile(0.95)
