"""Candidate against live on the same cases: wins, ties and losses, or differences in between."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as oracle

from lockgate.evals.bounds import grouped
from lockgate.evals.stats import (
    Interval,
    p_not_worse,
    paired_counts_interval,
    paired_interval,
    score_interval,
)

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
counts = st.tuples(st.integers(0, 25), st.integers(0, 120), st.integers(0, 25))
margins = st.floats(-0.9, 0.9).map(lambda margin: round(margin, 3))


@pytest.mark.parametrize(
    ("n", "wins", "losses", "lower", "upper"),
    [
        (80, 2, 3, -0.07573, 0.04933),
        (160, 4, 6, -0.05305, 0.02718),
        (400, 12, 8, -0.01106, 0.03147),
        (20, 0, 0, -0.13911, 0.13911),
    ],
)
def test_known_intervals(n: int, wins: int, losses: int, lower: float, upper: float) -> None:
    """The documented examples come out to five digits."""
    found = paired_counts_interval(wins, n - wins - losses, losses, 0.95)
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=5e-6)


def test_no_cases_say_nothing() -> None:
    """Without cases the difference can be anything."""
    assert paired_interval([]) == Interval(-1.0, 1.0)
    assert paired_counts_interval(0, 0, 0, 0.95) == Interval(-1.0, 1.0)
    assert p_not_worse(0, 0, 0, 0.05) == 1.0


@pytest.mark.parametrize("wins", [0, 1, 5, 12, 60])
@pytest.mark.parametrize("losses", [0, 3, 12])
def test_without_a_margin_it_is_mcnemar_s_exact_test(wins: int, losses: int) -> None:
    """Ties do not count, and the p-value is that of a fair coin."""
    for ties in (0, 1, 200):
        assert p_not_worse(wins, ties, losses, 0.0) == pytest.approx(
            oracle.binom.sf(wins - 1, wins + losses, 0.5), rel=1e-9
        )


@pytest.mark.parametrize("n", [1, 20, 59, 400])
def test_without_a_change_the_number_of_cases_decides(n: int) -> None:
    """n equal answers exclude a drop of 1 - alpha ** (1 / n), and no smaller one."""
    limit = 1 - 0.05 ** (1 / n)
    assert paired_interval([0.0] * n).lower == pytest.approx(-limit, abs=1e-8)
    assert p_not_worse(0, n, 0, limit) == pytest.approx(0.05, rel=1e-9)


def test_only_wins_or_only_losses_are_a_count() -> None:
    """Without ties the difference is twice a success rate, less one."""
    rate = oracle.beta.ppf(0.05, 14, 7)
    assert paired_counts_interval(14, 0, 6, 0.95).lower == pytest.approx(2 * rate - 1, abs=2e-9)


@pytest.mark.parametrize(
    ("wins", "ties", "losses"), [(2, 75, 3), (0, 30, 4), (12, 8, 1), (30, 340, 30)]
)
def test_it_is_the_quantile_of_a_randomly_weighted_mean(wins: int, ties: int, losses: int) -> None:
    """Drawing Dirichlet weights gives the p-value, within four standard errors."""
    rng = np.random.default_rng(3)
    draws = 100_000
    drawn = rng.standard_gamma([[losses + 1, max(ties, 1e-300), max(wins, 1e-300)]] * draws)
    means = (drawn[:, 2] - drawn[:, 0]) / drawn.sum(axis=1)
    for margin in (-0.1, 0.0, 0.05, 0.15):
        p = p_not_worse(wins, ties, losses, margin)
        error = 4 * math.sqrt(max(p * (1 - p), 1e-6) / draws)
        assert np.mean(means <= -margin) == pytest.approx(p, abs=error)


@few
@given(counts, margins, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_pass_and_the_interval_say_the_same(
    outcome: tuple[int, int, int], margin: float, confidence: float
) -> None:
    """p at most 1 - confidence is the same as a lower bound above -margin."""
    wins, ties, losses = outcome
    lower = paired_counts_interval(wins, ties, losses, confidence).lower
    if abs(lower + margin) > 1e-8:
        passes = p_not_worse(wins, ties, losses, margin) <= 1 - confidence
        assert passes == (lower > -margin)


@few
@given(counts, margins)
def test_fail_is_the_mirror_image_of_pass(outcome: tuple[int, int, int], margin: float) -> None:
    """With wins and losses swapped and the margin negated, the upper bound decides."""
    wins, ties, losses = outcome
    upper = paired_counts_interval(wins, ties, losses, 0.95).upper
    if abs(upper + margin) > 1e-8:
        assert (p_not_worse(losses, ties, wins, -margin) <= 0.05) == (upper < -margin)


@few
@given(counts)
def test_swapping_the_sides_mirrors_the_interval(outcome: tuple[int, int, int]) -> None:
    """Live against candidate is candidate against live with the signs changed, to the bit."""
    wins, ties, losses = outcome
    found = paired_counts_interval(wins, ties, losses, 0.95)
    mirrored = paired_counts_interval(losses, ties, wins, 0.95)
    assert (mirrored.lower, mirrored.upper) == (-found.upper, -found.lower)


@few
@given(counts, margins)
def test_a_win_helps_and_a_loss_hurts(outcome: tuple[int, int, int], margin: float) -> None:
    """Turning a tie into a win lowers the p-value; turning it into a loss raises it."""
    wins, ties, losses = outcome
    p = p_not_worse(wins, ties + 1, losses, margin)
    assert p_not_worse(wins + 1, ties, losses, margin) <= p + 1e-12
    assert p_not_worse(wins, ties, losses + 1, margin) >= p - 1e-12


@few
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=60))
def test_whole_differences_are_counts(differences: list[float]) -> None:
    """Differences of -1, 0 and 1 give the interval of their counts, in any order."""
    wins, losses = differences.count(1.0), differences.count(-1.0)
    expected = paired_counts_interval(wins, len(differences) - wins - losses, losses, 0.95)
    assert paired_interval(differences) == expected
    assert paired_interval(differences[::-1]) == expected


def test_differences_off_by_a_rounding_error_are_counts_too() -> None:
    """Means over repeats that should be equal may differ in the last bit; that changes nothing."""
    noise = [0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2, 0.0]
    assert 0.0 not in noise[:2]
    assert grouped(noise, None) == [(0.0, 1.0, 3)]
    assert paired_interval([*noise, 1.0, -1.0]) == paired_counts_interval(1, 3, 1, 0.95)


def test_differences_in_between_have_gaffke_s_bound() -> None:
    """Case means of three repeats give the quantile of the randomly weighted mean."""
    rng = random.Random(6)
    differences = [rng.choice([0, 0, 0, 0, -1, 1, 2, -3]) / 3 for _ in range(60)]
    waits = np.random.default_rng(7).standard_exponential((200_000, 61))
    means = waits @ np.array([-1.0, *differences]) / waits.sum(axis=1)
    found = paired_interval(differences)
    assert np.mean(means <= found.lower) == pytest.approx(0.05, abs=4 * math.sqrt(0.0475 / 2e5))


@few
@given(st.lists(st.floats(-1.0, 1.0).map(lambda x: round(x, 6)), min_size=1, max_size=30))
def test_scores_and_differences_are_one_bound(differences: list[float]) -> None:
    """A difference is a score on a scale from -1 to 1, with the same bound."""
    found = paired_interval(differences)
    scored = score_interval([(1.0 + difference) / 2 for difference in differences])
    assert found.lower == pytest.approx(2 * scored.lower - 1, abs=5e-9)
    assert found.upper == pytest.approx(2 * scored.upper - 1, abs=5e-9)


def test_a_heavy_case_costs_on_both_sides() -> None:
    """Equal weights change nothing; if cases may weigh five times as much, less is proved."""
    differences = [0.0] * 60 + [-1.0, 1.0]
    plain = paired_interval(differences)
    assert paired_interval(differences, weights=[2.0] * 62) == plain
    heavy = paired_interval(differences, weights=[1.0] * 60 + [5.0, 1.0])
    assert heavy.lower < plain.lower
    assert heavy.upper > plain.upper
    assert -heavy.lower > heavy.upper


def test_one_hundred_thousand_cases_are_no_trouble() -> None:
    """Nothing underflows; the interval is close to the normal one."""
    found = paired_counts_interval(5_000, 89_800, 5_200, 0.95)
    deviation = math.sqrt((0.102 - 0.002**2) / 1e5)
    assert found.lower == pytest.approx(-0.002 - 1.64485 * deviation, abs=3e-5)
    assert found.upper == pytest.approx(-0.002 + 1.64485 * deviation, abs=3e-5)
    assert p_not_worse(0, 100_000, 0, 0.001) == pytest.approx(0.999**100_000, rel=1e-8)


def test_the_ends_of_the_range() -> None:
    """A drop of 1 is excluded by anything but losses; an improvement of 1 is never proved."""
    assert p_not_worse(0, 1, 5, 1.0) == 0.0
    assert p_not_worse(0, 0, 5, 1.0) == 1.0
    assert p_not_worse(9, 0, 0, -1.0) == 1.0


@pytest.mark.parametrize("value", [1.5, -1.0000001, math.nan])
def test_an_impossible_difference_is_named(value: float) -> None:
    """A difference outside -1 to 1 is refused with its value."""
    with pytest.raises(ValueError, match=f"difference must be from -1 to 1, not {value!r}"):
        paired_interval([0.0, value])


def test_impossible_counts_margins_and_confidences_are_named() -> None:
    """Counts are not negative, a margin is a difference, a confidence is not in percent."""
    with pytest.raises(ValueError, match="count must be from 0 to inf, not -1"):
        paired_counts_interval(-1, 5, 2, 0.95)
    with pytest.raises(ValueError, match="count must be from 0 to inf, not -2"):
        p_not_worse(1, -2, 3, 0.05)
    with pytest.raises(ValueError, match="margin must be from -1 to 1, not 5"):
        p_not_worse(1, 2, 3, 5)
    with pytest.raises(ValueError, match="confidence must be from 0.5 to below 1, not 95"):
        paired_counts_interval(1, 5, 2, 95)
