"""What one rule says about the evidence: pass, fail or inconclusive, always with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lockgate.domain.evidence import CaseScores
from lockgate.domain.policy import Rule
from lockgate.domain.release import Finding
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.evals.verdict import Baseline, compare, judge


def suite_of(cases: int, weights: Sequence[float] | None = None) -> Suite:
    """Return a suite with one scorer."""
    weights = weights or [1.0] * cases
    return Suite(
        system="support-desk",
        name="triage",
        description="",
        scorers=(ScorerSpec("accuracy", "exact"),),
        repeats=1,
        seed=7,
        timeout_s=5.0,
        cases=tuple(Case(_case(i), i, i, weight=weights[i]) for i in range(cases)),
    )


def pool(scores: Sequence[float | None], latencies_ms: Sequence[float] = (10.0,)) -> CaseScores:
    """Return pooled scores, case by case; `None` leaves a case out."""
    found = {_case(i): score for i, score in enumerate(scores) if score is not None}
    return CaseScores({"accuracy": found}, tuple(latencies_ms))


def rights(right: int, of: int) -> CaseScores:
    """Return a pool in which the first cases are right and the others wrong."""
    return pool([1.0] * right + [0.0] * (of - right))


def _case(i: int) -> str:
    return f"t{i:04}"


def rule(**limits: Any) -> Rule:
    """Return a rule about accuracy."""
    return Rule("triage", "accuracy", **limits)


def one(
    asked: Rule, candidate: CaseScores, baseline: CaseScores | None = None, **suite: Any
) -> Finding:
    """Return the only finding of a rule."""
    cases = len(candidate.scores["accuracy"])
    against = None if baseline is None else Baseline("v1", baseline, is_same_definition=False)
    (finding,) = judge(asked, suite_of(cases, **suite), "v2", candidate, against)
    return finding


class TestALimitOnTheValue:
    """A limit without confidence looks at the mean alone."""

    def test_passes_with_the_numbers(self) -> None:
        """The reason gives value, interval, limit and number of cases."""
        finding = one(rule(min=0.8), rights(17, 20))
        assert (finding.rule, finding.outcome, finding.hint) == ("triage accuracy", "pass", "")
        assert (
            finding.reason == ".850 [.65 .96], at least .800, 20 cases, judged on the score alone"
        )
        assert finding.numbers is not None
        numbers = dict(finding.numbers)
        assert (numbers.pop("lower"), numbers.pop("upper")) == (
            pytest.approx(0.6563, abs=1e-3),
            pytest.approx(0.9578, abs=1e-3),
        )
        assert numbers == {
            "metric": "accuracy",
            "suite": "triage",
            "value": 0.85,
            "min": 0.8,
            "max": None,
            "confidence": None,
            "n": 20,
        }

    def test_fails_below_it_and_says_where_to_look(self) -> None:
        """The hint leads to the cases that went wrong, of this very version."""
        finding = one(rule(min=0.9), rights(17, 20))
        assert finding.outcome == "fail"
        assert (
            finding.reason == ".850 [.65 .96], at least .900, 20 cases, judged on the score alone"
        )
        assert finding.hint == "`lockgate show v2 --failing` lists the cases that went wrong"

    @pytest.mark.parametrize("score", [0.1, 0.3, 0.6, 0.7, 0.8, 0.9])
    @pytest.mark.parametrize("cases", [3, 7, 10, 49])
    def test_is_met_at_the_limit_itself(self, score: float, cases: int) -> None:
        """A mean that is the limit meets it, however the sum was rounded, from either side."""
        assert one(rule(min=score), pool([score] * cases)).outcome == "pass"
        assert one(rule(max=score), pool([score] * cases)).outcome == "pass"

    def test_is_missed_by_one_case_in_many(self) -> None:
        """A single answer below the limit is below it."""
        assert one(rule(min=0.8), rights(80_000, 100_000)).outcome == "pass"
        assert one(rule(min=0.8), rights(79_999, 100_000)).outcome == "fail"

    def test_may_be_an_upper_one(self) -> None:
        """A score may be asked to stay below something."""
        assert one(rule(max=0.5), rights(10, 20)).outcome == "pass"
        finding = one(rule(max=0.5), rights(11, 20))
        assert (finding.outcome, finding.reason) == (
            "fail",
            ".550 [.34 .75], at most .500, 20 cases, judged on the score alone",
        )

    def test_may_have_both_sides(self) -> None:
        """Both limits of one rule have to hold."""
        both = rule(min=0.5, max=0.6)
        outcomes = [one(both, rights(n, 20)).outcome for n in (9, 10, 12, 13)]
        assert outcomes == ["fail", "pass", "pass", "fail"]
        assert one(both, rights(11, 20)).reason.endswith(
            "at least .500 and at most .600, 20 cases, judged on the score alone"
        )

    def test_weighs_cases_as_the_suite_says(self) -> None:
        """A case of weight 9 counts as nine."""
        finding = one(rule(min=0.9), pool([1.0, 0.0]), weights=[9.0, 1.0])
        assert finding.outcome == "pass"
        assert finding.numbers is not None
        assert finding.numbers["value"] == 0.9


class TestALimitWithConfidence:
    """The whole interval has to lie on one side."""

    def test_passes_when_all_of_it_is_above(self) -> None:
        """Enough cases well above the limit settle it."""
        finding = one(rule(min=0.8, confidence=0.95), rights(90, 100))
        assert (finding.outcome, finding.reason) == (
            "pass",
            ".900 [.83 .95], at least .800, 100 cases",
        )

    def test_fails_when_all_of_it_is_below(self) -> None:
        """Enough cases well below the limit settle it too."""
        finding = one(rule(min=0.8, confidence=0.95), rights(60, 100))
        assert finding.outcome == "fail"
        assert finding.hint == "`lockgate show v2 --failing` lists the cases that went wrong"

    def test_is_open_in_between_and_says_how_many_more_cases_would_settle_it(self) -> None:
        """An open question comes with what would answer it."""
        finding = one(rule(min=0.8, confidence=0.95), rights(85, 100))
        assert (finding.outcome, finding.reason) == (
            "inconclusive",
            ".850 [.77 .91], at least .800, 100 cases",
        )
        assert finding.hint.startswith("about ")
        assert finding.hint.endswith(" more cases would settle it if the score stays the same")
        more = int(finding.hint.split()[1])
        assert 30 < more < 150

    def test_more_cases_do_settle_it(self) -> None:
        """The number it names is not far from the truth."""
        more = int(one(rule(min=0.8, confidence=0.95), rights(85, 100)).hint.split()[1])
        n = 100 + more
        assert one(rule(min=0.8, confidence=0.95), rights(round(0.85 * n), n)).outcome == "pass"

    @pytest.mark.parametrize(
        ("right", "least", "more"), [(4, 0.6, 2), (4, 0.5, 1), (20, 0.99, 279)]
    )
    def test_the_fewest_cases_that_settle_a_count_are_named(
        self, right: int, least: float, more: int
    ) -> None:
        """All of a few right: as many more as the exact bound needs, and one fewer is too few."""
        asked = rule(min=least, confidence=0.95)
        hint = one(asked, rights(right, right)).hint
        assert hint == f"about {more} more cases would settle it if the score stays the same"
        n = right + more
        assert one(asked, rights(n, n)).outcome == "pass"
        assert one(asked, rights(n - 1, n - 1)).outcome == "inconclusive"

    def test_no_more_cases_help_a_score_that_is_below(self) -> None:
        """Below the limit, more of the same would only make it clearer."""
        finding = one(rule(min=0.8, confidence=0.95), rights(78, 100))
        assert finding.outcome == "inconclusive"
        assert finding.hint == "the score is not above .800: improve the version"

    def test_an_upper_limit_is_judged_the_same_way(self) -> None:
        """Above, below, or across it."""
        asked = rule(max=0.5, confidence=0.95)
        outcomes = [one(asked, rights(n, 100)).outcome for n in (30, 48, 70)]
        assert outcomes == ["pass", "inconclusive", "fail"]


class TestLatencyAndTokens:
    """They have no interval; lower is better."""

    def test_a_percentile_is_held_against_its_limit(self) -> None:
        """The slowest of twenty is not in the 95th percentile."""
        measured = pool([1.0] * 20, [*range(1, 20), 900])
        asked = Rule("triage", "p95_ms", max=19.0)
        (finding,) = judge(asked, suite_of(20), "v2", measured, None)
        assert (finding.rule, finding.outcome) == ("triage p95_ms", "pass")
        assert finding.reason == "19 ms, at most 19 ms, 20 answers"

    def test_too_slow_is_a_failure(self) -> None:
        """One over the limit fails, in milliseconds."""
        asked = Rule("triage", "p50_ms", max=200.0)
        (finding,) = judge(asked, suite_of(2), "v2", pool([1.0, 1.0], [250.0, 300.0]), None)
        assert (finding.outcome, finding.reason) == (
            "fail",
            "250 ms, at most 200 ms, 2 answers",
        )

    def test_what_nothing_measured_fails(self) -> None:
        """A rule about a metric that no run has is never met by silence."""
        for metric in ("tokens_out", "recall@5"):
            asked = Rule("triage", metric, max=100.0)
            (finding,) = judge(asked, suite_of(1), "v2", pool([1.0]), None)
            assert (finding.rule, finding.outcome) == (f"triage {metric}", "fail")
            assert finding.reason == f"no run of `triage` measured `{metric}`"
            assert finding.hint == "it measures accuracy; `lockgate policy` shows the rule"


class TestADrop:
    """A candidate is held against what is live, case by case."""

    def test_has_nothing_to_drop_from_before_the_first(self) -> None:
        """With nothing live the limit is skipped, and says so."""
        finding = one(rule(max_drop=0.05), rights(1, 20))
        assert (finding.rule, finding.outcome, finding.reason) == (
            "triage accuracy drop",
            "skipped",
            "nothing is live there, so there is nothing to drop from",
        )

    def test_of_the_same_definition_needs_no_statistics(self) -> None:
        """An identical definition has not dropped, whatever chance made of its answers."""
        same = Baseline("v1", rights(20, 20), is_same_definition=True)
        asked = rule(max_drop=0.01, confidence=0.95)
        (finding,) = judge(asked, suite_of(20), "v2", rights(2, 20), same)
        assert (finding.outcome, finding.reason) == (
            "pass",
            "same definition as v1, which is live",
        )

    def test_within_the_limit_passes_with_wins_and_losses(self) -> None:
        """The reason counts the cases that changed, each way."""
        ours = pool([0.0, 1.0, 1.0] + [1.0] * 17)
        theirs = pool([1.0, 0.0, 0.0] + [1.0] * 17)
        finding = one(rule(max_drop=0.05), ours, theirs)
        assert finding.outcome == "pass"
        assert (
            finding.reason
            == "+.050, allowed -.050; won 2, lost 1, tied 17 against v1; judged on the score alone"
        )
        assert finding.numbers is not None
        assert (finding.numbers["won"], finding.numbers["lost"], finding.numbers["tied"]) == (
            2,
            1,
            17,
        )

    def test_beyond_the_limit_fails_and_says_where_to_look(self) -> None:
        """The hint leads to the difference between these two versions."""
        finding = one(rule(max_drop=0.05), rights(14, 20), rights(16, 20))
        assert (finding.outcome, finding.reason) == (
            "fail",
            "-.100, allowed -.050; won 0, lost 2, tied 18 against v1; judged on the score alone",
        )
        assert finding.hint == "`lockgate diff v1 v2` shows the change and the lost cases"

    @pytest.mark.parametrize(
        ("weights", "exact"),
        [([1.0] * 20, 0.3), ([0.1] * 10 + [0.3] * 10, 0.45), ([0.7] + [1.1] * 19, 11 / 36)],
    )
    def test_of_exactly_the_limit_is_allowed(self, weights: list[float], exact: float) -> None:
        """Rounding of weights and sums does not make a drop larger than it is."""
        ours, theirs = rights(12, 20), rights(18, 20)
        assert one(rule(max_drop=exact), ours, theirs, weights=weights).outcome == "pass"
        less = exact - 1e-6
        assert one(rule(max_drop=less), ours, theirs, weights=weights).outcome == "fail"

    def test_of_nothing_allowed_is_allowed_nothing(self) -> None:
        """A limit of 0 is a limit."""
        assert one(rule(max_drop=0.0), rights(16, 20), rights(16, 20)).outcome == "pass"
        assert one(rule(max_drop=0.0), rights(15, 20), rights(16, 20)).outcome == "fail"

    def test_counts_only_cases_that_both_answered(self) -> None:
        """A case that one of them never answered says nothing about the other."""
        ours = pool([1.0, 1.0, None, 0.0])
        theirs = pool([1.0, 0.0, 1.0, None])
        against = Baseline("v1", theirs, is_same_definition=False)
        (finding,) = judge(rule(max_drop=0.05), suite_of(4), "v2", ours, against)
        assert (
            finding.reason
            == "+.500, allowed -.050; won 1, lost 0, tied 1 against v1; judged on the score alone"
        )

    def test_without_a_common_case_fails_and_names_what_to_run(self) -> None:
        """What was never compared is not within any limit."""
        ours, theirs = pool([1.0, None]), pool([None, 1.0])
        against = Baseline("v1", theirs, is_same_definition=False)
        (finding,) = judge(rule(max_drop=0.05), suite_of(2), "v2", ours, against)
        assert (finding.outcome, finding.reason) == (
            "fail",
            "no case of `triage` has a score in both versions",
        )
        assert finding.hint == "`lockgate evaluate v1 --suite triage --fresh`"

    def test_stands_beside_the_limit_of_the_same_rule(self) -> None:
        """A rule with a minimum and a drop gives a finding for each."""
        against = Baseline("v1", rights(16, 20), is_same_definition=False)
        asked = rule(min=0.9, max_drop=0.05)
        found = list(judge(asked, suite_of(20), "v2", rights(17, 20), against))
        assert [(f.rule, f.outcome) for f in found] == [
            ("triage accuracy", "fail"),
            ("triage accuracy drop", "pass"),
        ]


class TestADropWithConfidence:
    """The whole interval of the difference has to lie on one side of the limit."""

    asked = rule(max_drop=0.05, confidence=0.95)

    def test_passes_when_a_larger_drop_is_excluded(self) -> None:
        """400 cases of which few changed exclude a drop of 5 points; the numbers are given."""
        ours = pool([0.0] * 5 + [1.0] * 5 + [1.0] * 390)
        theirs = pool([1.0] * 5 + [0.0] * 5 + [1.0] * 390)
        finding = one(self.asked, ours, theirs)
        assert finding.outcome == "pass"
        assert finding.reason.startswith("+.000 [-.0")
        assert (
            "allowed -.050; won 5, lost 5, tied 390 against v1; smallest visible drop about .0"
        ) in finding.reason
        assert finding.numbers is not None
        assert 0.0 < finding.numbers["smallest_visible_drop"] < 0.05

    def test_fails_when_a_smaller_drop_is_excluded(self) -> None:
        """A clear loss is a failure."""
        finding = one(self.asked, rights(200, 400), rights(320, 400))
        assert finding.outcome == "fail"
        assert finding.hint == "`lockgate diff v1 v2` shows the change and the lost cases"

    def test_is_open_with_too_few_cases_and_says_how_many_more(self) -> None:
        """20 unchanged answers cannot exclude a drop of 5 points."""
        finding = one(self.asked, rights(16, 20), rights(16, 20))
        assert finding.outcome == "inconclusive"
        assert finding.reason.startswith("+.000 [-.1")
        assert finding.hint.startswith("about ")
        assert finding.hint.endswith(" more cases would settle it if the difference stays the same")
        assert finding.numbers is not None
        assert finding.hint.split()[1] == str(finding.numbers["more_cases"])

    def test_more_cases_do_settle_it(self) -> None:
        """With as many cases as it named, and the same difference, the answer is clear."""
        finding = one(self.asked, rights(16, 20), rights(16, 20))
        assert finding.numbers is not None
        n = 20 + finding.numbers["more_cases"]
        right = round(0.8 * n)
        assert one(self.asked, rights(right, n), rights(right, n)).outcome == "pass"

    def test_no_more_cases_help_a_loss_that_is_over_the_limit(self) -> None:
        """An open question about a real loss is answered by a better version."""
        ours = pool([0.0] * 6 + [1.0] * 74)
        finding = one(self.asked, ours, rights(80, 80))
        assert finding.outcome == "inconclusive"
        assert finding.hint == (
            "the loss of .075 is at or over the limit: improve the version, more cases are "
            "unlikely to clear it"
        )

    def test_of_nothing_needs_a_win(self) -> None:
        """With no drop allowed, an unchanged version can never prove itself, and hears so."""
        finding = one(rule(max_drop=0.0, confidence=0.95), rights(80, 100), rights(80, 100))
        assert finding.outcome == "inconclusive"
        assert finding.hint.startswith("the loss of .000 is at or over the limit")
        ahead = one(rule(max_drop=0.0, confidence=0.95), rights(82, 100), rights(80, 100))
        assert ahead.outcome == "inconclusive"
        assert ahead.hint.endswith("more cases would settle it if the difference stays the same")


def test_a_comparison_weighs_differences_as_the_suite_does() -> None:
    """The mean difference is weighted; wins and losses count cases."""
    suite = suite_of(3, [8.0, 1.0, 1.0])
    paired = compare("accuracy", suite, pool([0.0, 1.0, 1.0]), pool([1.0, 0.0, 1.0]), None)
    assert (paired.won, paired.lost, paired.tied, paired.n) == (1, 1, 1, 3)
    assert paired.difference == pytest.approx(-0.7)
    assert paired.interval is None


def test_scores_that_differ_by_rounding_are_a_tie() -> None:
    """Means of the same answers are the same, whatever order they were added in."""
    ours, theirs = pool([0.1 + 0.2, 0.5]), pool([0.3, 0.5])
    paired = compare("accuracy", suite_of(2), ours, theirs, 0.95)
    assert (paired.won, paired.lost, paired.tied) == (0, 0, 2)


def test_a_comparison_of_nothing_is_empty() -> None:
    """Two versions without a common metric have neither difference nor interval."""
    paired = compare("recall@5", suite_of(2), pool([1.0, 1.0]), pool([1.0, 1.0]), 0.95)
    assert (paired.n, paired.difference, paired.interval) == (0, 0.0, None)
