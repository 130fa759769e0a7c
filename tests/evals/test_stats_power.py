"""How many cases a rule needs, and what the cases at hand can show."""

from __future__ import annotations

import math

import pytest

from lockgate.evals.stats import (
    cases_needed,
    discordance_rate,
    fewest_cases_without_discordance,
    p_not_worse,
    smallest_provable_drop,
    smallest_visible_drop,
)


@pytest.mark.parametrize(("margin", "fewest"), [(0.02, 149), (0.05, 59), (0.10, 29)])
def test_the_fewest_cases_that_prove_a_margin(margin: float, fewest: int) -> None:
    """With no answer changed, that many cases pass and one fewer does not."""
    assert fewest_cases_without_discordance(margin, 0.95) == fewest
    assert p_not_worse(0, fewest, 0, margin) <= 0.05 < p_not_worse(0, fewest - 1, 0, margin)


def test_a_whole_number_of_cases_is_not_rounded_up() -> None:
    """Where the quotient of logarithms is a whole number, it is the answer."""
    assert fewest_cases_without_discordance(0.5, 0.75) == 2
    assert fewest_cases_without_discordance(0.99, 0.9999) == 2
    assert fewest_cases_without_discordance(0.9, 0.9999) == 4


def test_24_cases_never_prove_a_drop_below_11_7_points() -> None:
    """The smallest provable drop is the other side of the fewest cases."""
    assert smallest_provable_drop(24) == pytest.approx(0.11735, abs=5e-6)
    assert p_not_worse(0, 24, 0, smallest_provable_drop(24)) == pytest.approx(0.05)
    assert smallest_provable_drop(0) == 1.0


@pytest.mark.parametrize(
    ("margin", "discordance", "about"),
    [
        (0.05, 0.05, 174),
        (0.05, 0.10, 297),
        (0.05, 0.20, 545),
        (0.02, 0.10, 1671),
        (0.10, 0.10, 87),
    ],
)
def test_cases_to_pass_an_unchanged_version(margin: float, discordance: float, about: int) -> None:
    """The documented planning figures."""
    assert cases_needed(discordance, margin, margin) == about


def test_more_is_needed_for_less() -> None:
    """A smaller gap, more changed answers, more confidence or more power need more cases."""
    base = cases_needed(0.10, 0.05, 0.05)
    assert cases_needed(0.10, 0.04, 0.05) > base
    assert cases_needed(0.12, 0.05, 0.05) > base
    assert cases_needed(0.10, 0.05, 0.05, confidence=0.99) > base
    assert cases_needed(0.10, 0.05, 0.05, power=0.9) > base


def test_no_plan_is_below_what_can_be_proved_at_all() -> None:
    """Even if nothing ever changes, a 5-point rule needs 59 cases, an improvement 5 wins."""
    assert cases_needed(0.0, 2.0, 0.05) == 59
    assert cases_needed(0.0, 2.0, 0.0) == 5
    assert cases_needed(0.0, 2.0, -0.5) == 11


def test_the_visible_drop_is_the_margin_that_needs_this_many_cases() -> None:
    """Planning with the visible drop leads back to the number of cases."""
    for n, discordance in ((160, 0.05), (400, 0.10), (1000, 0.20)):
        drop = smallest_visible_drop(n, discordance)
        assert cases_needed(discordance, drop, drop) == pytest.approx(n, abs=1)


def test_the_visible_drop_is_never_below_the_provable_one() -> None:
    """Without a changed answer the provable drop is the floor; without cases nothing shows."""
    assert smallest_visible_drop(59, 0.0) == smallest_provable_drop(59)
    assert smallest_visible_drop(1, 1.0) == 1.0
    assert smallest_visible_drop(0, 0.1) == 1.0


def test_the_discordance_is_never_estimated_as_zero() -> None:
    """One changed case is added, so that a plan does not rest on luck."""
    assert discordance_rate(0, 19, 0) == 1 / 20
    assert discordance_rate(3, 92, 4) == 8 / 100
    assert discordance_rate(0, 0, 0) == 1.0


@pytest.mark.parametrize("gap", [0.0, -0.01, math.nan])
def test_a_gap_that_no_number_of_cases_closes_is_named(gap: float) -> None:
    """When the true difference is at the limit or beyond, no plan exists."""
    with pytest.raises(ValueError, match="gap must be above 0 and at most 2, not"):
        cases_needed(0.1, gap, 0.05)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, 5])
def test_a_margin_that_ties_never_prove_is_named(margin: float) -> None:
    """Only a drop between 0 and 1 can be excluded by equal answers."""
    with pytest.raises(ValueError, match="margin must be above 0 and below 1, not"):
        fewest_cases_without_discordance(margin, 0.95)


def test_other_impossible_values_are_named() -> None:
    """Discordance, margin, cases, power and confidence have their ranges."""
    with pytest.raises(ValueError, match="discordance must be from 0 to 1, not 1.1"):
        cases_needed(1.1, 0.05, 0.05)
    with pytest.raises(ValueError, match="margin must be from -1 to 1, not 1.0"):
        cases_needed(0.1, 0.05, 1.0)
    with pytest.raises(ValueError, match="margin must be above -1"):
        cases_needed(0.1, 0.05, -1.0)
    with pytest.raises(ValueError, match="power must be from 0.5 to below 1, not 80"):
        cases_needed(0.1, 0.05, 0.05, power=80)
    with pytest.raises(ValueError, match="confidence must be from 0.5 to below 1, not 95"):
        smallest_provable_drop(10, 95)
    with pytest.raises(ValueError, match="n must be from 0 to inf, not -1"):
        smallest_visible_drop(-1, 0.1)
