"""The error rates of the gate are what its documentation says."""

from __future__ import annotations

import itertools
import math

import pytest

from lockgate.evals import error_rates
from lockgate.evals.stats import binomial_interval, p_not_worse, paired_interval, score_interval

QUOTED = {
    20: (0.0203, 0.0184, (0.001, 0.008, 0.031, 0.051), 0.075),
    40: (0.0294, 0.0269, (0.042, 0.106, 0.125, 0.103), 0.258),
    80: (0.0335, 0.0301, (0.654, 0.466, 0.298, 0.179), 0.678),
    160: (0.0388, 0.0363, (0.949, 0.746, 0.532, 0.341), 0.954),
}


@pytest.mark.parametrize("n", QUOTED)
def test_the_quoted_error_rates_are_exact(n: int) -> None:
    """False passes, false fails and passes without a change, within half a unit of the last digit."""
    false_pass, false_fail, unchanged, drop = QUOTED[n]
    found = error_rates.enumerate_errors(n)
    assert found.false_pass == pytest.approx(false_pass, abs=0.0005)
    assert found.false_fail == pytest.approx(false_fail, abs=0.0005)
    assert found.passes_unchanged == pytest.approx(unchanged, abs=0.0005001)
    assert found.fails_drop == pytest.approx(drop, abs=0.0005001)


def test_the_gate_is_never_wrong_more_often_than_it_says() -> None:
    """At the margin, whatever share of the cases changes, at most 5 % pass and at most 5 % fail."""
    for n in (7, 30, 100):
        passing, failing = error_rates.frontier(n, 0.05), error_rates.frontier(n, -0.05)
        for rate in (0.05, 0.1, 0.2, 0.4, 0.7, 0.95):
            won, lost = (rate - 0.05) / 2, (rate + 0.05) / 2
            assert error_rates.chance(n, passing, won, lost) <= 0.05
            assert error_rates.chance(n, failing, lost, won) <= 0.05


def test_the_enumeration_leaves_nothing_out() -> None:
    """Adding up every count of wins and losses one by one gives the same probability."""
    n, won, lost = 25, 0.3, 0.1
    expected = 0.0
    for wins, losses in itertools.product(range(n + 1), repeat=2):
        ties = n - wins - losses
        if ties >= 0 and p_not_worse(wins, ties, losses, 0.05) <= 0.05:
            ways = math.comb(n, wins) * math.comb(n - wins, losses)
            expected += ways * won**wins * lost**losses * (1 - won - lost) ** ties
    found = error_rates.chance(n, error_rates.frontier(n, 0.05), won, lost)
    assert 0.3 < found == pytest.approx(expected, rel=1e-9)


def test_the_planning_formula_is_close_to_the_exact_figure() -> None:
    """87 and 174 cases are planned where 84 and 170 are enough."""
    assert error_rates.exact_cases_needed(0.10, 0.10) == 84
    assert error_rates.exact_cases_needed(0.05, 0.05) == 170


def test_only_clopper_and_pearson_keep_the_confidence() -> None:
    """Of three lower bounds for a rate, one covers the truth as often as it says."""
    exact = error_rates.smallest_coverage(20, lambda k, n: binomial_interval(k, n, 0.95).lower)
    assert exact == pytest.approx(0.9503, abs=0.0005)
    assert error_rates.smallest_coverage(20, error_rates.wilson) == pytest.approx(0.922, abs=0.0005)
    assert error_rates.smallest_coverage(20, error_rates.wald) == pytest.approx(0.182, abs=0.0005)


def test_a_repeat_is_not_a_case() -> None:
    """With five repeats, case means stay below 5 % false passes and pooling is far above."""
    means, pooled = error_rates.false_passes_with_repeats(80, 5, repetitions=500)
    error = 4 * math.sqrt(0.05 * 0.95 / 500)
    assert means <= 0.05 + error
    assert pooled > 0.05 + error


def test_the_simulations_ask_what_the_gate_asks() -> None:
    """One probability says whether a bound is above the truth, without working out the bound."""
    scores = [1.0] * 40 + [0.5, 0.25, 0.125]
    lower = score_interval(scores).lower
    assert error_rates.excludes(scores, 0.0, lower - 1e-6)
    assert not error_rates.excludes(scores, 0.0, lower + 1e-6)
    differences = [0.0] * 40 + [0.5, -0.25, 0.125]
    lower = paired_interval(differences).lower
    assert error_rates.excludes(differences, -1.0, lower - 1e-6)
    assert not error_rates.excludes(differences, -1.0, lower + 1e-6)


@pytest.mark.parametrize("name", error_rates.SCORES)
def test_no_scores_break_the_bound(name: str) -> None:
    """On each distribution the lower bound is above the truth in at most 5 % of the samples."""
    draw, mean = error_rates.SCORES[name]
    gaffke, live, _ = error_rates.misses(20, draw, mean, repetitions=400)
    error = 4 * math.sqrt(0.05 * 0.95 / 400)
    assert gaffke <= 0.05 + error
    assert live <= 0.05 + error


def test_t_alone_would_be_wrong_half_of_the_time() -> None:
    """With nearly perfect scores the usual interval collapses; this is why it is not used."""
    _, _, alone = error_rates.misses(20, *error_rates.SCORES["1, or 0 (3 %)"], repetitions=400)
    assert alone == pytest.approx(0.97**20, abs=4 * 0.025)


def test_one_command_prints_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """The quick run shows each table under its title, aligned, with the quoted figures."""
    error_rates.main(["--quick"])
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in error_rates.TABLES] == list(
        error_rates.TABLES
    )
    assert (
        "160      0.0388      0.0363               0.9492               0.7457"
        "              0.5317              0.3411        0.9539\n"
    ) in printed
    assert "80            0.950   0.932  0.552\n" in printed
