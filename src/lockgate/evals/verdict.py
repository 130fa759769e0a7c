"""What one rule of the policy says about the evidence: pass, fail or inconclusive, with numbers.

- A limit with `confidence` is judged on its interval: the whole interval must lie on one side.
- A drop is judged case by case against what is live, over the cases both answered.
- Without `confidence` the score alone is judged, and the reason says so.
- An identical definition has not dropped; that needs no statistics.
- With nothing live there is nothing to compare with: the limit is skipped and says so.
- The reason always gives the numbers, and what would settle an open question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.domain import figures
from lockgate.domain.evidence import CaseScores
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Rule
from lockgate.domain.release import Finding
from lockgate.domain.suite import Suite
from lockgate.evals.metrics import metric_value
from lockgate.evals.progress import SAME
from lockgate.evals.stats import (
    Interval,
    binomial_interval,
    cases_needed,
    discordance_rate,
    fewest_cases_without_discordance,
    paired_interval,
    score_interval,
    smallest_visible_drop,
)

ALONE = "judged on the score alone"
MOST_CASES = 1 << 20
"""Beyond this nobody looks for how many cases would settle it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is live, to compare with."""

    label: str
    scores: CaseScores
    is_same_definition: bool


@dataclass(frozen=True, slots=True)
class Paired:
    """Candidate against live, case by case."""

    won: int
    lost: int
    tied: int
    difference: float
    """Mean over cases of candidate minus live, weighted like the suite."""
    interval: Interval | None
    """`None` when the rule names no confidence."""

    @property
    def n(self) -> int:
        """The number of cases both answered."""
        return self.won + self.lost + self.tied


def judge(
    rule: Rule, suite: Suite, label: str, candidate: CaseScores, baseline: Baseline | None
) -> Iterator[Finding]:
    """Give a finding for each limit that a rule sets.

    Args:
        rule: From the applied policy.
        suite: The suite the rule names.
        label: The candidate's label, for hints.
        candidate: All completed runs of the candidate on that suite, pooled.
        baseline: The same of what is live; `None` when nothing is.
    """
    value = metric_value(suite, candidate, rule.metric)
    if value is None:
        yield Finding(
            f"{rule.suite} {rule.metric}",
            "fail",
            f"no run of `{rule.suite}` measured `{rule.metric}`",
            hint=f"it measures {', '.join(suite.metrics)}; `lockgate policy` shows the rule",
        )
        return
    if rule.min is not None or rule.max is not None:
        yield _limits(rule, suite, label, candidate, value)
    if rule.max_drop is not None:
        yield _drop(rule, suite, label, candidate, baseline)


def _limits(rule: Rule, suite: Suite, label: str, candidate: CaseScores, value: float) -> Finding:
    interval, weights, n = None, None, len(candidate.latencies_ms)
    if is_score(rule.metric):
        scores, weights = _weighted(suite, candidate.scores[rule.metric])
        n = len(scores)
        interval = score_interval(scores, rule.confidence or 0.95, weights)
    if rule.confidence is not None and interval is not None:
        outcome = _side(rule, interval.lower, interval.upper)
    else:  # a value at the limit meets it, however its mean was rounded
        outcome = "fail" if _side(rule, value - SAME, value + SAME) == "fail" else "pass"
    shown = figures.metric(rule.metric, value)
    if interval is not None:
        shown += f" {figures.interval(interval.lower, interval.upper)}"
    reason = f"{shown}, {_limit_text(rule)}, {n} {'cases' if interval else 'answers'}"
    if interval is not None and rule.confidence is None:
        reason += f", {ALONE}"
    hint = ""
    if outcome == "inconclusive" and rule.min is not None:
        is_count = set(candidate.scores[rule.metric].values()) <= {0.0, 1.0} and weights is None
        hint = _more_for_limit(value, rule.min, rule.confidence or 0.95, n, is_count)
    elif outcome == "fail":
        hint = f"`lockgate show {label} --failing` lists the cases that went wrong"
    return Finding(
        f"{rule.suite} {rule.metric}",
        outcome,
        reason,
        hint,
        {
            "metric": rule.metric,
            "suite": rule.suite,
            "value": value,
            "lower": interval.lower if interval else None,
            "upper": interval.upper if interval else None,
            "min": rule.min,
            "max": rule.max,
            "confidence": rule.confidence,
            "n": n,
        },
    )


def _side(rule: Rule, low: float, high: float) -> str:
    """Say on which side of a rule's limits everything from `low` to `high` lies."""
    least, most = rule.min, rule.max
    if (least is not None and high < least) or (most is not None and low > most):
        return "fail"
    if (least is not None and low < least) or (most is not None and high > most):
        return "inconclusive"
    return "pass"


def _limit_text(rule: Rule) -> str:
    parts = []
    if rule.min is not None:
        parts.append(f"at least {figures.metric(rule.metric, rule.min)}")
    if rule.max is not None:
        parts.append(f"at most {figures.metric(rule.metric, rule.max)}")
    return " and ".join(parts)


def _more_for_limit(value: float, limit: float, confidence: float, n: int, is_count: bool) -> str:
    distance = value - limit
    if distance <= 0:
        return f"the score is not above {figures.score(limit)}: improve the version"
    if is_count:
        needed = _fewest_that_clear(value, limit, confidence, n)
    else:  # compared with a constant: the largest variance there is stands for the discordance
        needed = cases_needed(max(value * (1 - value), 0.01), distance, 0.05, confidence)
    return f"about {max(needed - n, 1)} more cases would settle it if the score stays the same"


def _fewest_that_clear(share: float, limit: float, confidence: float, n: int) -> int:
    """Return how many cases at a share of right ones prove a rate above a limit, nearly."""

    def clears(cases: int) -> bool:
        right = int(share * cases + SAME)
        return binomial_interval(right, cases, confidence).lower > limit

    low, high = n, 2 * n
    while not clears(high) and high < MOST_CASES:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if clears(middle) else (middle, high)
    return high


def _drop(
    rule: Rule, suite: Suite, label: str, candidate: CaseScores, baseline: Baseline | None
) -> Finding:
    name = f"{rule.suite} {rule.metric} drop"
    allowed = rule.max_drop or 0.0
    if baseline is None:
        return Finding(name, "skipped", "nothing is live there, so there is nothing to drop from")
    if baseline.is_same_definition:
        return Finding(name, "pass", f"same definition as {baseline.label}, which is live")
    paired = compare(rule.metric, suite, candidate, baseline.scores, rule.confidence)
    numbers: dict[str, Any] = {
        "metric": rule.metric,
        "suite": rule.suite,
        "baseline": baseline.label,
        "difference": paired.difference,
        "lower": paired.interval.lower if paired.interval else None,
        "upper": paired.interval.upper if paired.interval else None,
        "max_drop": allowed,
        "confidence": rule.confidence,
        "won": paired.won,
        "lost": paired.lost,
        "tied": paired.tied,
    }
    if paired.n == 0:
        return Finding(
            name,
            "fail",
            f"no case of `{rule.suite}` has a score in both versions",
            hint=f"`lockgate evaluate {baseline.label} --suite {rule.suite} --fresh`",
            numbers=numbers,
        )
    counts = f"won {paired.won}, lost {paired.lost}, tied {paired.tied} against {baseline.label}"
    reason = f"{figures.signed(paired.difference)}"
    outcome = "pass" if paired.difference >= -allowed - SAME else "fail"
    hint = ""
    if paired.interval is not None:
        low, high = paired.interval.lower, paired.interval.upper
        outcome = "pass" if low > -allowed else "fail" if high < -allowed else "inconclusive"
        confidence = rule.confidence or 0.95
        rate = discordance_rate(paired.won, paired.tied, paired.lost)
        smallest = smallest_visible_drop(paired.n, rate, confidence)
        numbers["smallest_visible_drop"] = smallest
        reason += f" {figures.signed_interval(low, high)}"
        counts += f"; smallest visible drop about {figures.score(smallest)}"
        if outcome == "inconclusive":
            hint = _more_for_drop(paired, rate, allowed, confidence, numbers)
    reason = f"{reason}, allowed {figures.signed(-allowed)}; {counts}"
    if paired.interval is None:
        reason += f"; {ALONE}"
    if outcome == "fail":
        hint = f"`lockgate diff {baseline.label} {label}` shows the change and the lost cases"
    return Finding(name, outcome, reason, hint, numbers)


def _more_for_drop(
    paired: Paired, rate: float, allowed: float, confidence: float, numbers: dict[str, Any]
) -> str:
    gap = allowed + paired.difference
    if gap <= 0:
        return (
            f"the loss of {figures.score(abs(paired.difference))} is at or over the limit: "
            "improve the version, more cases are unlikely to clear it"
        )
    if allowed > 0:
        least = fewest_cases_without_discordance(allowed, confidence)
        needed = max(cases_needed(rate, gap, allowed, confidence), least)
    else:
        needed = cases_needed(rate, gap, allowed, confidence)
    more = max(needed - paired.n, 1)
    numbers["more_cases"] = more
    return f"about {more} more cases would settle it if the difference stays the same"


def compare(
    metric: str,
    suite: Suite,
    candidate: CaseScores,
    baseline: CaseScores,
    confidence: float | None,
) -> Paired:
    """Return one metric of two versions, case by case, over the cases both answered.

    Args:
        metric: A metric of the suite's scorers; latencies cannot be compared case by case.
        suite: Gives the cases their weights.
        candidate: Pooled scores of the one.
        baseline: Pooled scores of the other.
        confidence: One-sided confidence of the interval; `None` for no interval.
    """
    ours, theirs = candidate.scores.get(metric, {}), baseline.scores.get(metric, {})
    differences = {case: ours[case] - theirs[case] for case in ours if case in theirs}
    won = sum(difference > SAME for difference in differences.values())
    lost = sum(difference < -SAME for difference in differences.values())
    values, weights = _weighted(suite, differences)
    mean = 0.0
    interval = None
    if values:
        total = sum(weights) if weights else float(len(values))
        mean = (
            sum(w * v for w, v in zip(weights, values, strict=True)) / total
            if weights
            else sum(values) / total
        )
        if confidence is not None:
            interval = paired_interval(values, confidence, weights)
    return Paired(won, lost, len(values) - won - lost, mean, interval)


def _weighted(suite: Suite, by_case: Mapping[str, float]) -> tuple[list[float], list[float] | None]:
    cases = sorted(by_case)
    weights = [suite.by_id[case].weight for case in cases]
    values = [by_case[case] for case in cases]
    return values, (weights if len(set(weights)) > 1 else None)
