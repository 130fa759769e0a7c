"""Work out how often the gate is wrong: `python -m lockgate.evals.error_rates [--quick]`.

Prints the error rates that the documentation of the gate quotes. Five tables:

1. False passes and false fails of a paired rule, and how often it passes an unchanged version:
   exact, by adding up the probability of every possible count of wins and losses.
2. Cases needed for 80 % power: the formula of `power` beside the exact figure.
3. Smallest coverage of the lower bound of a rate: Clopper-Pearson, Wilson, Wald: exact.
4. Repeats: a difference of case means against one difference per repeat: simulated.
5. The bounds for scores from 0 to 1 on distributions chosen to break them: simulated. Gaffke's
   bound is proved for two values and conjectured for the rest; this is the search for a
   counterexample.

Everything takes about two minutes on one core, `--quick` (small numbers of cases, fewer
repetitions) about two seconds. Simulations have a fixed seed and print four standard errors.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lockgate.evals.bounds import binomial_interval, grouped, live_interval
from lockgate.evals.paired import p_not_worse
from lockgate.evals.power import cases_needed
from lockgate.evals.tails import (
    incomplete_beta,
    normal_quantile,
    student_quantile,
    waiting_at_most_zero,
)

CONFIDENCE = 0.95
DISCORDANCES = tuple(0.05 + 0.005 * step for step in range(51))
"""Shares of changed cases among which the worst error rate is looked for: .05 to .30."""

UNCHANGED = (0.02, 0.05, 0.10, 0.20)

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What a paired rule with a margin does on n cases, exactly."""

    n: int
    false_pass: float
    """Largest chance to pass when the true drop is the margin itself."""
    false_fail: float
    """Largest chance to fail when the true drop is the margin itself."""
    passes_unchanged: tuple[float, ...]
    """Chance to pass without any true change, for each discordance of `UNCHANGED`."""
    fails_drop: float
    """Chance to fail at a true drop of 0.15 with a discordance of 0.17."""


def frontier(n: int, margin: float, most: int | None = None) -> list[int]:
    """List the fewest wins that pass the rule for 0, 1, 2, ... losses on n cases.

    With a negated margin, and wins and losses swapped, it is the fewest losses that fail it.

    Args:
        most: Losses to stop at; `None` goes on until no number of wins is enough.
    """
    fewest: list[int] = []
    wins = 0
    for losses in range(n + 1 if most is None else min(most, n) + 1):
        while (
            wins + losses <= n
            and p_not_worse(wins, n - wins - losses, losses, margin) > 1.0 - CONFIDENCE
        ):
            wins += 1
        if wins + losses > n:
            break
        fewest.append(wins)
    return fewest


def chance(n: int, fewest: Sequence[int], win_rate: float, loss_rate: float) -> float:
    """Give the exact probability to reach a frontier when cases are won and lost at these rates."""
    terms = []
    share = win_rate / (1.0 - loss_rate)
    for losses, wins in enumerate(fewest):
        probability = _binomial(losses, n, loss_rate)
        if wins > 0:
            probability *= incomplete_beta(share, wins, n - losses - wins + 1)
        terms.append(probability)
    return math.fsum(terms)


def _binomial(k: int, n: int, rate: float) -> float:
    if rate == 0.0:
        return float(k == 0)
    return math.exp(
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * math.log(rate)
        + (n - k) * math.log1p(-rate)
    )


def enumerate_errors(n: int, margin: float = 0.05) -> ErrorRates:
    """Add up every outcome of n paired cases under a rule with this margin."""
    passing, failing = frontier(n, margin), frontier(n, -margin)
    limits = [(max(0.0, (rate - margin) / 2), (rate + margin) / 2) for rate in DISCORDANCES]
    return ErrorRates(
        n,
        max(chance(n, passing, won, lost) for won, lost in limits),
        max(chance(n, failing, lost, won) for won, lost in limits),
        tuple(chance(n, passing, rate / 2, rate / 2) for rate in UNCHANGED),
        chance(n, failing, 0.16, 0.01),
    )


def exact_cases_needed(discordance: float, margin: float, power: float = 0.8) -> int:
    """Find the fewest cases on which an unchanged version passes with at least this probability."""
    n = round(0.9 * cases_needed(discordance, margin, margin, CONFIDENCE, power))
    while True:
        half = 0.5 * discordance
        # No more losses than ten standard deviations above what is expected.
        most = round(n * half + 10.0 * math.sqrt(n * half) + 10.0)
        if chance(n, frontier(n, margin, most), half, half) >= power:
            return n
        n += 1


def smallest_coverage(n: int, lower: Callable[[int, int], float]) -> float:
    """Give the smallest coverage of a lower bound of a rate, for rates .500, .501, ..., .990."""
    bounds = [lower(k, n) for k in range(n + 1)]
    worst = 1.0
    for step in range(491):
        rate = 0.5 + 0.001 * step
        first_miss = next((k for k, bound in enumerate(bounds) if bound > rate), n + 1)
        if first_miss <= n:
            worst = min(worst, 1.0 - incomplete_beta(rate, first_miss, n - first_miss + 1))
    return worst


def wald(successes: int, n: int) -> float:
    """Give the lower bound that a normal approximation gives, for comparison only."""
    rate = successes / n
    return rate - normal_quantile(CONFIDENCE) * math.sqrt(rate * (1.0 - rate) / n)


def wilson(successes: int, n: int) -> float:
    """Give Wilson's lower bound (1927), for comparison only."""
    rate, z = successes / n, normal_quantile(CONFIDENCE)
    reach = z * math.sqrt(rate * (1.0 - rate) / n + z * z / (4.0 * n * n))
    return (rate + z * z / (2.0 * n) - reach) / (1.0 + z * z / n)


def excludes(values: Sequence[float], worst: float, mean: float) -> bool:
    """Say whether Gaffke's lower bound of these values is above a mean, by one probability."""
    shapes = {worst: 1}
    for value, _, count in grouped(values, None):
        shapes[value] = shapes.get(value, 0) + count
    gaps = [value - mean for value in shapes]
    return waiting_at_most_zero(gaps, list(shapes.values())) <= 1.0 - CONFIDENCE


def false_passes_with_repeats(
    n: int, repeats: int, repetitions: int, seed: int = 1
) -> tuple[float, float]:
    """Simulate the false passes of a 5-point rule when answers vary between repeats.

    The true drop is the margin: 7.5 % of the cases are lost for good, 2.5 % won, and 10 % are flaky
    on both sides, right in 9 repeats of 10.

    Returns:
        The share of false passes with case means, and with every repeat counted as a case.
    """
    rng = random.Random(seed)
    means = pooled = 0
    for _ in range(repetitions):
        wins = losses = 0
        differences = []
        for _ in range(n):
            kind = rng.random()
            if kind < 0.075:
                changes = [-1] * repeats
            elif kind < 0.1:
                changes = [1] * repeats
            elif kind < 0.2:
                changes = [(rng.random() < 0.9) - (rng.random() < 0.9) for _ in range(repeats)]
            else:
                changes = [0] * repeats
            wins += changes.count(1)
            losses += changes.count(-1)
            differences.append(sum(changes) / repeats)
        means += excludes(differences, -1.0, -0.05)
        ties = n * repeats - wins - losses
        pooled += p_not_worse(wins, ties, losses, 0.05) <= 1.0 - CONFIDENCE
    return means / repetitions, pooled / repetitions


SCORES: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "uniform": (lambda rng: rng.random(), 1 / 2),
    "beta(.5, .5)": (lambda rng: rng.betavariate(0.5, 0.5), 1 / 2),
    "beta(5, 1)": (lambda rng: rng.betavariate(5.0, 1.0), 5 / 6),
    "beta(1, 5)": (lambda rng: rng.betavariate(1.0, 5.0), 1 / 6),
    "1, or 0 (3 %)": (lambda rng: float(rng.random() < 0.97), 0.97),
    "1, or uniform (3 %)": (lambda rng: rng.random() if rng.random() < 0.03 else 1.0, 0.985),
    "1, or uniform (10 %)": (lambda rng: rng.random() if rng.random() < 0.1 else 1.0, 0.95),
    "thirds": (lambda rng: sum(rng.random() < 0.9 for _ in range(3)) / 3, 0.9),
}
"""Distributions of scores, each with its true mean."""


def misses(
    n: int, draw: Callable[[random.Random], float], mean: float, repetitions: int, seed: int = 1
) -> tuple[float, float, float]:
    """Simulate how often a lower bound is above the true mean.

    Returns:
        The shares for Gaffke's bound, for the live bound, and for Student's t alone.
    """
    rng = random.Random(seed)
    gaffke = live = student = 0
    reach = student_quantile(CONFIDENCE, n - 1)
    for _ in range(repetitions):
        scores = [draw(rng) for _ in range(n)]
        total, squares = math.fsum(scores), math.fsum(score * score for score in scores)
        gaffke += excludes(scores, 0.0, mean)
        live += live_interval(n, total, squares, CONFIDENCE).lower > mean
        variance = max(0.0, squares - total * total / n) / (n - 1)
        student += total / n - reach * math.sqrt(variance / n) > mean
    return gaffke / repetitions, live / repetitions, student / repetitions


def _errors_table(quick: bool) -> Iterator[Row]:
    unchanged = [f"pass if {rate:g} change" for rate in UNCHANGED]
    yield ["n", "false pass", "false fail", *unchanged, "fail at -.15"]
    for n in (20, 40, 80, 160) if quick else (20, 40, 80, 160, 400, 1000):
        rates = enumerate_errors(n)
        figures = (
            rates.false_pass,
            rates.false_fail,
            *rates.passes_unchanged,
            rates.fails_drop,
        )
        yield [str(n), *(f"{figure:.4f}" for figure in figures)]


def _cases_table(quick: bool) -> Iterator[Row]:
    yield ["margin", "discordance", "formula", "exact"]
    wide = [(0.05, 0.10), (0.05, 0.20), (0.02, 0.10)]
    for margin, rate in [(0.10, 0.10), (0.05, 0.05), *([] if quick else wide)]:
        about = cases_needed(rate, margin, margin, CONFIDENCE)
        yield [f"{margin:g}", f"{rate:g}", str(about), str(exact_cases_needed(rate, margin))]


def _coverage_table(quick: bool) -> Iterator[Row]:
    yield ["n", "Clopper-Pearson", "Wilson", "Wald"]
    for n in (20, 80) if quick else (20, 80, 400):
        methods = (lambda k, n: binomial_interval(k, n, CONFIDENCE).lower, wilson, wald)
        yield [str(n), *(f"{smallest_coverage(n, method):.3f}" for method in methods)]


def _repeats_table(quick: bool) -> Iterator[Row]:
    repetitions = 300 if quick else 6000
    yield ["repeats", "case means", "pooled", f"+- at .05, {repetitions} times"]
    for repeats in (1, 3, 5, 10):
        rates = false_passes_with_repeats(80, repeats, repetitions)
        yield [str(repeats), *(f"{rate:.3f}" for rate in rates), _four_errors(repetitions)]


def _misses_table(quick: bool) -> Iterator[Row]:
    yield ["n", "scores", "Gaffke", "live", "t alone", "+- at .05"]
    for n, times in ((20, 500), (80, 100)) if quick else ((20, 8000), (80, 8000), (400, 4000)):
        for name, (draw, mean) in SCORES.items():
            rates = misses(n, draw, mean, times)
            yield [str(n), name, *(f"{rate:.3f}" for rate in rates), _four_errors(times)]


def _four_errors(repetitions: int) -> str:
    return f"{4.0 * math.sqrt(0.05 * 0.95 / repetitions):.3f}"


TABLES: dict[str, Callable[[bool], Iterator[Row]]] = {
    "Errors of a rule `max_drop = 0.05`, exact": _errors_table,
    "Cases needed to pass an unchanged version 4 times in 5": _cases_table,
    "Smallest coverage of a lower bound with confidence 0.95, exact": _coverage_table,
    "False passes at the margin with 80 cases, 10 % of them flaky, simulated": _repeats_table,
    "Share of lower bounds above the true mean, nominal .05, simulated": _misses_table,
}


def aligned(rows: Sequence[Row]) -> str:
    """Lay out rows of text in columns, aligned on the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(
        prog="python -m lockgate.evals.error_rates",
        description="Work out how often the gate is wrong.",
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, a few seconds")
    quick = parser.parse_args(arguments).quick
    for title, rows in TABLES.items():
        sys.stdout.write(f"{title}\n{aligned(list(rows(quick)))}\n\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
