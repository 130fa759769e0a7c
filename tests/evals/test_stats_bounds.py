"""The interval of one score: exact for 0 and 1, Gaffke's bound in between."""

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
    binomial_interval,
    live_interval,
    score_interval,
)

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)
scores = st.lists(
    st.one_of(
        st.sampled_from([0.0, 1.0, 0.5, 1 / 3, 2 / 3]),
        st.floats(0.0, 1.0).map(lambda x: round(x, 6)),
    ),
    min_size=1,
    max_size=30,
)
confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


def dirichlet_lower(values: list[float], worst: float, level: float, draws: int = 200_000) -> float:
    """Take the quantile of the weighted mean over random weights, as the bound is defined."""
    rng = np.random.default_rng(11)
    waits = rng.standard_exponential((draws, len(values) + 1))
    means = waits @ np.array([worst, *values]) / waits.sum(axis=1)
    return float(np.quantile(means, level))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (3, 7), (17, 20), (395, 400), (9, 2000)]
)
def test_a_count_has_clopper_and_pearson_s_interval(
    successes: int, n: int, confidence: float
) -> None:
    """Both sides are quantiles of a beta distribution, rounded outward by less than 1e-8."""
    lower = oracle.beta.ppf(1 - confidence, successes, n - successes + 1) if successes else 0.0
    upper = oracle.beta.ppf(confidence, successes + 1, n - successes) if successes < n else 1.0
    found = binomial_interval(successes, n, confidence)
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=2e-9)
    assert found.lower <= lower
    assert found.upper >= upper


@pytest.mark.parametrize(
    ("n", "lower"), [(20, 0.8609), (59, 0.9505), (400, 0.9925), (2000, 0.9985)]
)
def test_all_cases_right_is_not_certainty(n: int, lower: float) -> None:
    """The more cases are all right, the closer the lower bound comes to 1."""
    assert score_interval([1.0] * n).lower == pytest.approx(lower, abs=5e-5)
    assert score_interval([1.0] * n).upper == 1.0


def test_all_cases_wrong_is_the_mirror_image() -> None:
    """Twenty wrong answers leave room for a rate of .1391."""
    assert score_interval([0.0] * 20) == Interval(0.0, 0.139108341)


def test_no_cases_say_nothing() -> None:
    """Without cases the interval is the whole range."""
    assert score_interval([]) == Interval(0.0, 1.0)
    assert binomial_interval(0, 0, 0.95) == Interval(0.0, 1.0)
    assert live_interval(0, 0.0, 0.0) == Interval(0.0, 1.0)


def test_true_and_false_are_scores() -> None:
    """Booleans count as 1 and 0."""
    assert score_interval([True] * 17 + [False] * 3) == binomial_interval(17, 20, 0.95)


@pytest.mark.parametrize("kind", ["thirds", "spread", "mostly right"])
@pytest.mark.parametrize("n", [6, 20, 80])
def test_scores_in_between_have_gaffke_s_bound(kind: str, n: int) -> None:
    """The bound is the quantile of the randomly weighted mean, as drawing the weights shows."""
    rng = random.Random(n)
    draw = {
        "thirds": lambda: rng.randrange(4) / 3,
        "spread": rng.random,
        "mostly right": lambda: 1.0 if rng.random() < 0.8 else rng.random(),
    }[kind]
    values = [draw() for _ in range(n)]
    drawn = dirichlet_lower(values, 0.0, 0.05)
    # Four standard errors of a 5 % quantile from 200,000 draws of this spread.
    spread = float(np.std([0.0, *values])) / math.sqrt(n)
    assert score_interval(values).lower == pytest.approx(drawn, abs=4 * spread * 0.0047)


def test_scores_almost_0_and_1_have_almost_the_count_s_interval() -> None:
    """Gaffke's bound is Clopper and Pearson's for 0 and 1: moving scores by a hair shows it."""
    rng = random.Random(2)
    for wrong in (1, 3, 10, 30):
        counted = binomial_interval(80 - wrong, 80, 0.95)
        hair = [1e-9 * rng.random() for _ in range(80)]
        moved = [x if i < wrong else 1.0 - x for i, x in enumerate(hair)]
        found = score_interval(moved)
        assert found.lower == pytest.approx(counted.lower, abs=1e-7)
        assert found.upper == pytest.approx(counted.upper, abs=1e-7)


@few
@given(scores, confidences)
def test_the_interval_holds_the_mean(values: list[float], confidence: float) -> None:
    """The observed mean is inside, and both bounds are possible scores."""
    found = score_interval(values, confidence)
    assert 0.0 <= found.lower <= found.upper <= 1.0
    if confidence >= 0.8:
        assert found.lower <= math.fsum(values) / len(values) + 1e-9
        assert found.upper >= math.fsum(values) / len(values) - 1e-9


@few
@given(scores, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], rng: random.Random) -> None:
    """The same cases in another order give the same bits."""
    shuffled = rng.sample(values, len(values))
    weights = [1.0 + (i % 3) for i in range(len(values))]
    assert score_interval(shuffled) == score_interval(values)
    assert grouped(shuffled, None) == grouped(values, None)
    pairs = rng.sample(list(zip(values, weights, strict=True)), len(values))
    assert score_interval([x for x, _ in pairs], weights=[w for _, w in pairs]) == score_interval(
        values, weights=weights
    )


@few
@given(scores, confidences)
def test_wrong_and_right_are_mirror_images(values: list[float], confidence: float) -> None:
    """Swapping 0 and 1 swaps the bounds."""
    found = score_interval(values, confidence)
    mirrored = score_interval([1.0 - value for value in values], confidence)
    assert mirrored.lower == pytest.approx(1.0 - found.upper, abs=3e-9)
    assert mirrored.upper == pytest.approx(1.0 - found.lower, abs=3e-9)


@few
@given(scores, st.data())
def test_a_better_answer_never_lowers_a_bound(values: list[float], data: st.DataObject) -> None:
    """Raising one score raises both bounds or leaves them, across all forms of the sum."""
    place = data.draw(st.integers(0, len(values) - 1))
    better = list(values)
    better[place] = data.draw(st.sampled_from([1.0, (1.0 + values[place]) / 2]))
    before, after = score_interval(values), score_interval(better)
    assert after.lower >= before.lower - 2e-9
    assert after.upper >= before.upper - 2e-9


@few
@given(scores)
def test_more_confidence_is_a_wider_interval(values: list[float]) -> None:
    """A higher confidence never narrows the interval."""
    narrow, wide = score_interval(values, 0.9), score_interval(values, 0.99)
    assert wide.lower <= narrow.lower
    assert wide.upper >= narrow.upper


def test_equal_weights_are_no_weights() -> None:
    """A weight that all cases share changes nothing, whatever it is."""
    values = [0.25, 0.5, 1.0, 1.0, 0.0, 0.75]
    assert score_interval(values, weights=[3.7] * 6) == score_interval(values)
    counts = [1.0, 1.0, 0.0]
    assert score_interval(counts, weights=[0.2] * 3) == binomial_interval(2, 3, 0.95)


@few
@given(scores, st.sampled_from([0.125, 3.0, 1e6]), st.data())
def test_only_the_ratio_of_weights_counts(
    values: list[float], factor: float, data: st.DataObject
) -> None:
    """Weights in other units give the same bounds."""
    weights = [data.draw(st.sampled_from([0.5, 1.0, 2.0])) for _ in values]
    scaled = [factor * weight for weight in weights]
    found, other = score_interval(values, weights=weights), score_interval(values, weights=scaled)
    assert (found.lower, found.upper) == pytest.approx((other.lower, other.upper), abs=2e-9)


def test_a_heavy_case_pulls_both_bounds() -> None:
    """A wrong answer that weighs five times as much lowers the whole interval."""
    values = [1.0] * 30 + [0.0]
    plain, heavy = score_interval(values), score_interval(values, weights=[1.0] * 30 + [5.0])
    assert heavy.lower < plain.lower
    assert heavy.upper < plain.upper
    assert heavy.lower < 30 / 35 < heavy.upper


def test_a_case_without_weight_does_not_exist() -> None:
    """Weight 0 is the same as leaving a case out."""
    assert score_interval([1.0, 0.0, 0.5], weights=[1, 1, 0]) == score_interval([1.0, 0.0])
    assert score_interval([0.0, 0.0, 0.5], weights=[1, 1, 0]) == score_interval([0.0, 0.0])


def test_weighted_bounds_hold_their_confidence() -> None:
    """With weights tied to difficulty, at most 5 % of the lower bounds are above the truth."""
    rng = random.Random(5)
    heavy, right_if_heavy, right_if_light = 0.2, 0.95, 0.6
    truth = (0.8 * right_if_light + 0.2 * 5 * right_if_heavy) / 1.8
    wrong_low = wrong_high = 0
    for _ in range(300):
        weights = [5.0 if rng.random() < heavy else 1.0 for _ in range(30)]
        values = [
            float(rng.random() < (right_if_heavy if w == 5.0 else right_if_light)) for w in weights
        ]
        found = score_interval(values, weights=weights)
        wrong_low += found.lower > truth
        wrong_high += found.upper < truth
    assert max(wrong_low, wrong_high) / 300 <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)


def test_one_hundred_thousand_cases_are_no_trouble() -> None:
    """Nothing underflows: the interval is close to the normal one."""
    values = [1.0] * 70_000 + [0.5] * 20_000 + [0.25] * 5_000 + [0.0] * 5_000
    mean, deviation = math.fsum(values) / 1e5, float(np.std(values))
    found = score_interval(values)
    assert found.lower == pytest.approx(mean - 1.64485 * deviation / math.sqrt(1e5), abs=3e-5)
    assert found.upper == pytest.approx(mean + 1.64485 * deviation / math.sqrt(1e5), abs=3e-5)
    assert binomial_interval(99_999, 100_000, 0.95).lower == pytest.approx(
        oracle.beta.ppf(0.05, 99_999, 2), abs=2e-9
    )


@pytest.mark.parametrize("value", [1.0000001, -0.1, math.nan, math.inf])
def test_an_impossible_score_is_named(value: float) -> None:
    """A score outside 0 to 1, or no number, is refused with its value."""
    with pytest.raises(ValueError, match=f"score must be from 0 to 1, not {value!r}"):
        score_interval([0.5, value])


@pytest.mark.parametrize("confidence", [0.49, 1.0, 95.0, math.nan])
def test_an_impossible_confidence_is_named(confidence: float) -> None:
    """A confidence below one half, of one or in percent is refused, with or without cases."""
    for attempt in (
        lambda: score_interval([0.2, 0.4, 0.9], confidence),
        lambda: score_interval([], confidence),
        lambda: binomial_interval(1, 2, confidence),
        lambda: live_interval(2, 1.0, 1.0, confidence),
    ):
        with pytest.raises(ValueError, match=f"not {confidence!r}"):
            attempt()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "2 values need as many weights, not 1"),
        ([1.0, -2.0], "weight must be from 0 to inf, not -2.0"),
        ([1.0, math.nan], "weight must be from 0 to inf, not nan"),
        ([1.0, math.inf], "weight must be finite, not inf"),
        ([0.0, 0.0], "at least one weight must be above 0"),
    ],
)
def test_impossible_weights_are_named(weights: list[float], message: str) -> None:
    """Weights must be one per case, finite, not negative, and not all zero."""
    with pytest.raises(ValueError, match=message):
        score_interval([0.5, 1.0], weights=weights)


def test_an_impossible_count_is_named() -> None:
    """There are never more successes than cases."""
    with pytest.raises(ValueError, match="successes must be from 0 to 3, not 4"):
        binomial_interval(4, 3, 0.95)


def test_the_live_interval_is_t_with_one_more_case() -> None:
    """Adding the worst case below and the best case above gives Student's interval."""
    values = [1.0] * 33 + [0.0] * 5 + [0.5] * 2
    total, squares = sum(values), sum(value * value for value in values)
    low, high = np.array([0.0, *values]), np.array([1.0, *values])
    reach = oracle.t.ppf(0.95, 40)
    found = live_interval(40, total, squares, 0.95)
    assert found.lower == pytest.approx(low.mean() - reach * oracle.sem(low), abs=2e-9)
    assert found.upper == pytest.approx(high.mean() + reach * oracle.sem(high), abs=2e-9)


def test_the_live_interval_ends_near_the_final_one() -> None:
    """What the progress line shows is within a point of what the run will say."""
    rng = random.Random(9)
    values = [float(rng.random() < 0.85) for _ in range(160)]
    live = live_interval(160, sum(values), sum(values))
    final = score_interval(values)
    assert (live.lower, live.upper) == pytest.approx((final.lower, final.upper), abs=0.01)


def test_the_live_interval_survives_rounding() -> None:
    """Totals that are off in the last digit are taken, and the interval stays in range."""
    assert live_interval(10, 0.7 * 10 + 1e-13, 0.49 * 10 + 1e-12).lower > 0.0
    assert live_interval(3, 3.0000000000000004, 3.0000000000000013).upper == 1.0


@pytest.mark.parametrize("totals", [(3, 4.0, 4.0), (3, 1.0, 2.0), (3, -1.0, -1.0), (-1, 0.0, 0.0)])
def test_impossible_totals_are_named(totals: tuple[int, float, float]) -> None:
    """Totals that no scores can have are refused."""
    with pytest.raises(ValueError, match=f"no {totals[0]} scores from 0 to 1 have the sum"):
        live_interval(*totals)
