"""What a run says of itself while it is going: counts, live scores, wins and losses, failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lockgate.domain.evidence import Answer
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.evals.progress import Scoreboard

SUITE = Suite(
    system="support-desk",
    name="triage",
    description="",
    scorers=(ScorerSpec("accuracy", "exact"), ScorerSpec("f1", "set_f1")),
    repeats=1,
    seed=7,
    timeout_s=5.0,
    cases=tuple(Case(f"t{n}", n, f"queue {n}") for n in range(1, 6)),
)


def answer(case: str, accuracy: float = 1.0, f1: float = 1.0, **other: Any) -> Answer:
    """Return an answer with two scores."""
    scores = {"accuracy": accuracy, "f1": f1}
    found = Answer("r1", case, 1, 1, scores, None, f"said of {case}", 10.0)
    return replace(found, **other)


def failed(case: str) -> Answer:
    """Return a question that could not be asked."""
    return answer(case, scores=None, error="no answer within 5 s", output=None, latency_ms=5000.0)


def test_an_empty_board_has_nothing_to_say() -> None:
    """Before the first answer there is no score, and no latency."""
    board = Scoreboard(SUITE)
    assert (board.done, board.errors, board.tallies(), board.p95_ms()) == (0, 0, (), None)


def test_scores_are_means_so_far_in_the_suites_order() -> None:
    """Each metric has its value and an interval around it."""
    board = Scoreboard(SUITE)
    for one in (answer("t1", f1=0.5), answer("t2", accuracy=0.0, f1=1.0), answer("t3")):
        board.add(one)
    accuracy, f1 = board.tallies()
    assert (accuracy.metric, f1.metric) == ("accuracy", "f1")
    assert accuracy.value == pytest.approx(2 / 3)
    assert f1.value == pytest.approx(2.5 / 3)
    assert accuracy.interval.lower < accuracy.value < accuracy.interval.upper
    assert board.done == 3


def test_an_answer_that_is_fully_right_is_not_failing() -> None:
    """Only what is worth looking at is shown."""
    assert Scoreboard(SUITE).add(answer("t1")) is None


@pytest.mark.parametrize(("accuracy", "f1"), [(0.0, 0.0), (1.0, 0.5), (0.0, 1.0)])
def test_an_answer_that_is_not_fully_right_is_shown_with_what_was_expected(
    accuracy: float, f1: float
) -> None:
    """Right on one metric and wrong on another is not right."""
    failing = Scoreboard(SUITE).add(answer("t1", accuracy, f1))
    assert failing is not None
    assert (failing.case, failing.expected, failing.got) == ("t1", "queue 1", "said of t1")
    assert failing.scores == {"accuracy": accuracy, "f1": f1}
    assert (failing.error, failing.baseline_was_right) == (None, None)


def test_a_question_that_failed_is_an_error_and_lowers_no_score() -> None:
    """Infrastructure errors are counted beside the scores, and have no latency."""
    board = Scoreboard(SUITE)
    board.add(answer("t1"))
    failing = board.add(failed("t2"))
    assert failing is not None
    assert (failing.error, failing.got, failing.scores) == ("no answer within 5 s", None, {})
    assert (board.done, board.errors) == (2, 1)
    assert [tally.value for tally in board.tallies()] == [1.0, 1.0]
    assert board.p95_ms() == 10.0


def test_wins_losses_and_ties_count_cases_that_both_answered() -> None:
    """A case the other version never answered is neither won nor lost."""
    board = Scoreboard(SUITE, {"accuracy": {"t1": 0.0, "t2": 1.0, "t3": 1.0, "t4": 0.5}})
    for one in (answer("t1"), answer("t2", 0.0), answer("t3"), answer("t4"), answer("t5")):
        board.add(one)
    accuracy, f1 = board.tallies()
    assert (accuracy.won, accuracy.lost, accuracy.tied) == (2, 1, 1)
    assert accuracy.baseline == 2.5 / 4
    assert (f1.won, f1.lost, f1.tied, f1.baseline) == (0, 0, 0, None)


def test_a_case_that_is_asked_again_counts_once_by_its_mean() -> None:
    """Two answers to one case are one win, one loss or one tie, as they are at the gate."""
    board = Scoreboard(SUITE, {"accuracy": {"t1": 0.0, "t2": 1.0, "t3": 0.5}})
    for case in ("t1", "t2", "t3"):
        board.add(answer(case, 1.0))
    for case in ("t1", "t2", "t3"):
        board.add(answer(case, 0.0))
    (accuracy, _) = board.tallies()
    assert (accuracy.won, accuracy.lost, accuracy.tied) == (1, 1, 1)
    assert (accuracy.value, accuracy.baseline) == (0.5, 0.5)
    alone = Scoreboard(SUITE)
    for case in ("t1", "t2", "t3"):
        alone.add(answer(case, 0.5))
    assert accuracy.interval == alone.tallies()[0].interval


def test_a_difference_by_rounding_is_a_tie() -> None:
    """Two means of the same answers are the same."""
    board = Scoreboard(SUITE, {"accuracy": {"t1": 0.3}})
    board.add(answer("t1", 0.1 + 0.2))
    assert (board.tallies()[0].won, board.tallies()[0].tied) == (0, 1)


@pytest.mark.parametrize(("other", "was_right"), [(1.0, True), (0.9, False)])
def test_a_failing_answer_tells_whether_the_other_version_was_right(
    other: float, was_right: bool
) -> None:
    """A case that used to work is the first to look at."""
    board = Scoreboard(SUITE, {"accuracy": {"t1": other}})
    for lost in (board.add(answer("t1", 0.0)), board.add(failed("t1"))):
        assert lost is not None
        assert lost.baseline_was_right is was_right


def test_the_95th_percentile_is_a_latency_that_was_measured() -> None:
    """By nearest rank, over the answers so far, in whatever order they came."""
    board = Scoreboard(SUITE)
    for latency in (5.0, 100.0, *range(10, 28)):
        board.add(answer("t1", latency_ms=float(latency)))
    assert board.p95_ms() == 27.0
    board.add(answer("t1", latency_ms=90.0))
    assert board.p95_ms() == 90.0
