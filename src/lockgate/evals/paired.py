"""Compare a candidate with what is live on the same cases: one difference per case.

For wins, ties and losses everything is an exact finite sum. With margin m, "the candidate is worse
by m or more" has the p-value

    P[NB(wins, (1 - m) / 2) + NB(ties, 1 - m) <= losses]

where NB(r, p) counts the failures before r successes of probability p. It is Gaffke's bound (see
`bounds`) for differences of -1, 0 and 1; at m = 0 it is McNemar's exact test (1947), and with no
changed answer the lower bound is -(1 - alpha ** (1 / n)).

- The gate passes exactly when the p-value is at most 1 - confidence, that is when the lower bound
  is above -m; it fails when the upper bound is below -m; otherwise nothing is proved either way.
- With repeats, a case is one difference of case means, never one per repeat: the case is what
  was sampled (Miller, arXiv:2411.00640).
"""

from __future__ import annotations

from collections.abc import Sequence

from lockgate.evals.bounds import Interval, check_values, gaffke_interval, grouped
from lockgate.evals.tails import waiting_at_most_zero


def paired_interval(
    differences: Sequence[float], confidence: float = 0.95, weights: Sequence[float] | None = None
) -> Interval:
    """Bound the mean difference, candidate minus live, on all cases like these.

    Differences of -1, 0 and 1 give exactly `paired_counts_interval`.

    Args:
        differences: One per case, from -1 to 1.
        confidence: Of each side, from 0.5 to below 1.
        weights: One per case, not negative, as in `bounds.score_interval`.

    Raises:
        ValueError: A difference, a weight or the confidence is out of range, or lengths differ.
    """
    check_values("difference", differences, -1.0, 1.0)
    return gaffke_interval(grouped(differences, weights), -1.0, 1.0, confidence)


def paired_counts_interval(wins: int, ties: int, losses: int, confidence: float = 0.95) -> Interval:
    """Bound the mean difference from the number of cases won, tied and lost by the candidate.

    Raises:
        ValueError: A count is negative or the confidence is out of range.
    """
    check_values("count", (wins, ties, losses), 0, float("inf"))
    cases = ((-1.0, 1.0, losses), (0.0, 1.0, ties), (1.0, 1.0, wins))
    return gaffke_interval([case for case in cases if case[2]], -1.0, 1.0, confidence)


def p_not_worse(wins: int, ties: int, losses: int, margin: float) -> float:
    """Give the p-value against "the candidate is worse than what is live by `margin` or more".

    Small values prove that it is not. For the opposite claim, worse by more than the margin, swap
    wins with losses and negate the margin.

    Args:
        wins: Cases that only the candidate got right.
        ties: Cases with the same score.
        losses: Cases that only the live version got right.
        margin: From -1 to 1; below 0 it asks for an improvement.

    Raises:
        ValueError: A count is negative or the margin is out of range.
    """
    check_values("count", (wins, ties, losses), 0, float("inf"))
    check_values("margin", (margin,), -1.0, 1.0)
    return waiting_at_most_zero((1.0 + margin, margin, margin - 1.0), (wins, ties, losses + 1))
