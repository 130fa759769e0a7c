"""Flaky cases, slices, and the one door to the statistics."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.evals import stats


def test_everything_is_behind_one_door() -> None:
    """All public names can be had from `lockgate.evals.stats`."""
    assert all(callable(getattr(stats, name)) for name in stats.__all__ if not name.isupper())


def test_the_statistics_need_no_numeric_library() -> None:
    """Only the standard library is loaded, and not its slow modules either."""
    heavy = "numpy scipy statistics fractions decimal random"
    program = (
        f"import sys, lockgate.evals.stats; print(*(set('{heavy}'.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_slices_are_corrected_by_holm() -> None:
    """The smallest p-value counts once per slice, the next once less, and order is kept."""
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([0.04]) == [0.04]
    assert stats.holm([]) == []


p_values = st.lists(st.floats(0.0, 1.0), max_size=12)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(p_values)
def test_a_correction_keeps_the_order_and_never_helps(values: list[float]) -> None:
    """No adjusted value is below its own; ranks stay; Bonferroni is never better."""
    adjusted = stats.holm(values)
    assert all(p <= q <= min(1.0, p * len(values)) for p, q in zip(values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_an_impossible_p_value_is_named() -> None:
    """A p-value is a probability."""
    with pytest.raises(ValueError, match=r"p-value must be from 0 to 1, not 1\.2"):
        stats.holm([0.5, 1.2])


def test_small_slices_can_prove_nothing() -> None:
    """The size below which a slice is only a hint is the one of a 5-point rule."""
    assert stats.fewest_cases_without_discordance(0.05, 0.95) == stats.FEWEST_SLICE_CASES
