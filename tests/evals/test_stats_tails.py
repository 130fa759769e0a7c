"""The probabilities behind the intervals, against scipy and against exact rational arithmetic."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import special
from scipy import stats as oracle

from lockgate.evals.tails import (
    crossing,
    failures_at_most,
    incomplete_beta,
    normal_quantile,
    student_quantile,
    waiting_at_most_zero,
)


def exact_waiting(gaps: list[float]) -> float:
    """Give P[sum of gap * Exp(1) <= 0] by partial fractions, without any rounding."""
    exact = [Fraction(gap) for gap in gaps]
    total = Fraction(0)
    for i, own in enumerate(exact):
        if own < 0:
            total += math.prod(own / (own - other) for j, other in enumerate(exact) if j != i)
    return float(total)


@pytest.mark.parametrize("a", [1, 3, 40, 2000, 50_000])
@pytest.mark.parametrize("b", [1, 7, 900, 100_000])
@pytest.mark.parametrize("deviations", [-6, -2, 0, 2, 6])
def test_incomplete_beta_is_scipy_s(a: int, b: int, deviations: int) -> None:
    """The distribution of a beta variable is right far out in both tails, up to 100,000 cases."""
    mean = a / (a + b)
    x = mean + deviations * math.sqrt(mean * (1 - mean) / (a + b + 1))
    x = min(1.0, max(0.0, x))
    assert incomplete_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-14)


@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.999])
def test_normal_quantile_is_scipy_s(probability: float) -> None:
    """The normal quantile agrees to nine digits."""
    assert normal_quantile(probability) == pytest.approx(oracle.norm.ppf(probability), abs=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 20, 400, 100_000])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.95, 0.999])
def test_student_quantile_is_scipy_s(probability: float, degrees: int) -> None:
    """The quantile of Student's t agrees to nine digits, from one degree of freedom on."""
    expected = oracle.t.ppf(probability, degrees)
    assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("r", [1, 5, 300, 100_000])
@pytest.mark.parametrize("p", [0.475, 0.95, 0.999])
@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_failures_of_one_part_are_negative_binomial(r: int, p: float, factor: float) -> None:
    """One part is scipy's negative binomial, also where p ** r is far below the smallest float."""
    limit = int(factor * r * (1 - p) / p)
    assert failures_at_most(limit, [(r, p)]) == pytest.approx(
        oracle.nbinom.cdf(limit, r, p), rel=1e-8, abs=1e-14
    )


@pytest.mark.parametrize(
    ("wins", "ties", "limit"), [(2, 75, 3), (30, 340, 40), (900, 17_000, 1900)]
)
def test_failures_of_two_parts_are_a_convolution(wins: int, ties: int, limit: int) -> None:
    """Two parts are the convolution of two negative binomials."""
    j = np.arange(limit + 1)
    expected = oracle.nbinom.pmf(j, wins, 0.475) @ oracle.nbinom.cdf(limit - j, ties, 0.95)
    assert failures_at_most(limit, [(wins, 0.475), (ties, 0.95)]) == pytest.approx(
        expected, rel=1e-8
    )


def test_no_failures_allowed() -> None:
    """A limit below zero is never met; a part without successes or failures adds nothing."""
    assert failures_at_most(-1, [(3, 0.5)]) == 0.0
    assert failures_at_most(0, [(0, 0.5), (7, 1.0)]) == 1.0


SCORES = {
    "spread": lambda rng: rng.random(),
    "almost alike": lambda rng: 0.5 + rng.gauss(0.0, 0.01),
    "almost alike with strays": lambda rng: (
        rng.random() if rng.random() < 0.05 else rng.gauss(0.5, 1e-3)
    ),
    "mostly low": lambda rng: rng.random() ** 8,
    "two clouds": lambda rng: 0.9 * rng.choice((0, 1)) + 0.1 * rng.random(),
    "nine decades below one": lambda rng: 1.0 - 10.0 ** -rng.uniform(0.0, 9.0),
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("n", [3, 4, 8, 25, 40])
def test_the_integral_is_exact(kind: str, n: int) -> None:
    """For any scores, and thresholds near the bound or far from it, eight digits are right."""
    rng = random.Random(n)
    scores = [min(1.0, max(0.0, SCORES[kind](rng))) for _ in range(n)]
    mean = math.fsum(scores) / (n + 1)
    for share in (0.5, 0.8, 0.9, 1.0, 1.05):
        gaps = [-share * mean, *(score - share * mean for score in scores)]
        expected = exact_waiting(gaps)
        assert waiting_at_most_zero(gaps, [1] * (n + 1)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("shapes", [(1, 1, 9), (4, 70, 6), (3, 2, 1), (40, 900, 60)])
@pytest.mark.parametrize("point", [-0.1, -0.02, 0.01, 0.3])
def test_all_forms_agree(shapes: tuple[int, int, int], point: float) -> None:
    """The finite sums and the integral meet: splitting a value by a hair changes almost nothing."""
    gaps = [-1.0 - point, -point, 1.0 - point]
    split = [gap + hair for gap in gaps for hair in (0.0, 1e-12)]
    halves = [part for k in shapes for part in (k - k // 2, k // 2)]
    assert waiting_at_most_zero(split, halves) == pytest.approx(
        waiting_at_most_zero(gaps, shapes), rel=1e-7, abs=1e-12
    )


def test_the_signs_alone_can_decide() -> None:
    """Without a positive part the sum is surely not above zero, without a negative one it is."""
    assert waiting_at_most_zero([-1.0, 0.0], [2, 5]) == 1.0
    assert waiting_at_most_zero([1.0, 0.0], [2, 5]) == 0.0
    assert waiting_at_most_zero([1.0, -1.0], [0, 3]) == 1.0


def test_a_crossing_is_found_from_below() -> None:
    """The point returned is on the allowed side, whatever the guess, and at most 1e-11 away."""
    for guess in (-5.0, 0.1, 0.7, 0.999, 5.0):
        point = crossing(lambda x: x**9, 0.05, 0.0, 1.0, guess)
        assert point**9 <= 0.05 < (point + 1e-11) ** 9


def test_a_jump_is_still_found() -> None:
    """A tail that jumps over the level is pinned down by bisection."""
    assert crossing(lambda x: float(x > 0.3), 0.05, 0.0, 1.0, 0.9) == pytest.approx(0.3, abs=1e-11)
