"""Versions as one line each, as a drawing, and as found by words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builders import (
    add_suite,
    add_version,
    complete_run,
    pass_decision,
    quarantine,
    start_run,
    suite_of,
)
from lockgate.domain.release import SuiteApplied
from lockgate.errors import UsageMistake
from lockgate.look.history import log_page, search, tree
from lockgate.look.status import status
from lockgate.storage.registry import Registry
from look.stories import evaluated, released, set_up

SYSTEM = "support-desk"


def test_a_line_has_the_score_and_the_change_against_the_parent(registry: Registry) -> None:
    """A version's score is compared with its parent's on the same suite."""
    policy, suite = set_up(registry)
    first = add_version(registry, "one")
    evaluated(registry, first, suite, wrong=range(1, 11))
    second = add_version(registry, "two", parent=first)
    evaluated(registry, second, suite, wrong=range(1, 6))
    newer, older = log_page(registry, SYSTEM, policy).lines
    assert newer.score is not None
    assert (newer.version.id, newer.parent, newer.score.value) == (second.id, "v1", 0.75)
    assert newer.change == 0.25
    assert (older.parent, older.change) == (None, None)


def test_scores_of_different_suites_are_not_compared(registry: Registry) -> None:
    """A score on a suite that was replaced is kept, marked, and never subtracted."""
    policy, suite = set_up(registry)
    first = add_version(registry, "one")
    evaluated(registry, first, suite)
    newer_suite = add_suite(registry, 30)
    second = add_version(registry, "two", parent=first)
    evaluated(registry, second, newer_suite)
    newer, older = log_page(registry, SYSTEM, policy).lines
    assert (newer.is_comparable, newer.change) == (True, None)
    assert older.score is not None
    assert (older.is_comparable, older.score.digest) == (False, suite.digest)


def test_the_states_say_the_most_important_thing(registry: Registry) -> None:
    """Each version says in a word where it stands."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    third = released(registry, suite, "three", parent=second)
    bad = released(registry, suite, "bad", parent=third, environments=["staging"])
    quarantine(registry, bad)
    trial = add_version(registry, "trial", parent=third, track="experiment")
    evaluated(registry, trial, suite)
    fresh = add_version(registry, "fresh", parent=third)
    going = add_version(registry, "going", parent=third)
    start_run(registry, going, suite)
    refused = add_version(registry, "refused", parent=third)
    run = evaluated(registry, refused, suite)
    pass_decision(registry, refused, [run], outcome="fail", promotable=False)
    states = {
        line.version.id: (line.state.mark, line.state.words)
        for line in log_page(registry, SYSTEM, policy).lines
    }
    assert states == {
        first.id: ("skipped", "was live"),
        second.id: ("pass", "way back"),
        third.id: ("pass", "PRODUCTION"),
        bad.id: ("fail", "STAGING quarantined"),
        trial.id: ("pass", "experiment"),
        fresh.id: ("waiting", "not evaluated"),
        going.id: ("running", "run not ended"),
        refused.id: ("fail", "refused"),
    }


def test_a_page_ends_where_the_next_begins(registry: Registry) -> None:
    """Walking page by page sees every version of a track exactly once."""
    policy, _ = set_up(registry)
    parent = None
    for number in range(7):
        parent = add_version(registry, f"release {number}", parent=parent)
        add_version(registry, f"trial {number}", parent=parent, track="experiment")
    seen: list[str] = []
    before = None
    while True:
        page = log_page(registry, SYSTEM, policy, track="release", limit=3, before=before)
        seen += [line.version.label for line in page.lines]
        assert page.total == 14
        if page.older is None:
            break
        before = page.older
    assert seen == [f"v{number}" for number in range(7, 0, -1)]


def test_a_limit_beyond_one_query_is_met(registry: Registry) -> None:
    """A limit larger than what the registry gives at once is walked in several steps."""
    policy, _ = set_up(registry)
    with registry.write():
        pass
    for number in range(6):
        add_version(registry, f"release {number}")
    from lockgate.look import history

    whole, history._PAGE = history._PAGE, 2
    try:
        assert len(log_page(registry, SYSTEM, policy, limit=5).lines) == 5
    finally:
        history._PAGE = whole


def test_an_unknown_label_is_refused(registry: Registry) -> None:
    """A page below a version that does not exist is refused with what there is."""
    policy, _ = set_up(registry)
    add_version(registry)
    with pytest.raises(UsageMistake, match="there is no version `v9`") as caught:
        log_page(registry, SYSTEM, policy, before="v9")
    assert "v1" in caught.value.hint


def test_a_tree_hangs_versions_on_the_ancestor_that_is_shown(registry: Registry) -> None:
    """With one track alone, a release whose parent is an experiment hangs on the release above."""
    policy, _ = set_up(registry)
    first = add_version(registry, "one")
    trial = add_version(registry, "two", parent=first, track="experiment")
    add_version(registry, "two", parent=trial)
    add_version(registry, "three", parent=first)
    page = log_page(registry, SYSTEM, policy, track="release")
    rows = [
        (row.graph, row.line.version.label if row.line else None) for row in tree(registry, page)
    ]
    assert rows == [("o", "v3"), ("│ o", "v2"), ("├─┘", None), ("o", "v1")]


def test_search_finds_all_words_in_any_system(registry: Registry) -> None:
    """Without a system all are searched; every word has to be there."""
    policy, _ = set_up(registry)
    add_version(registry, "Refunds first.", reason="shorter refunds answer")
    add_version(registry, "Extract the order id.", system="order-extract", reason="refunds too")
    found = search(registry, None, "refunds", policy)
    assert [(line.version.system, line.version.label) for line in found] == [
        ("order-extract", "v1"),
        ("support-desk", "v1"),
    ]
    assert len(search(registry, "support-desk", "refunds", policy)) == 1
    assert search(registry, None, "refunds nowhere", policy) == []


def test_without_a_policy_any_suite_measures(registry: Registry) -> None:
    """Before there is a policy, scores are those of the first suite by name."""
    suite = suite_of(3)
    with registry.write() as writing:
        writing.ensure_system(SYSTEM, "support-dev")
        writing.add_suite(suite, {})
        writing.append(SuiteApplied(SYSTEM, "triage", suite.digest, None, "support-dev"))
    complete_run(registry, add_version(registry), suite, score=1.0)
    (line,) = log_page(registry, SYSTEM, None).lines
    assert line.score is not None
    assert (line.score.suite, line.score.value) == ("triage", 1.0)


def test_the_applied_suite_counts_before_a_newer_run_on_another(registry: Registry) -> None:
    """A later run on a suite that was replaced does not hide the score that can be compared."""
    policy, old = set_up(registry)
    version = add_version(registry)
    new = add_suite(registry, 30)
    evaluated(registry, version, new, wrong=[1, 2, 3])
    evaluated(registry, version, old)
    (line,) = log_page(registry, SYSTEM, policy).lines
    assert line.score is not None
    assert (line.score.digest, line.score.value, line.is_comparable) == (new.digest, 0.9, True)


@pytest.mark.parametrize("look", [log_page, status])
def test_a_long_history_costs_no_more_than_a_short_one(
    registry: Registry, look: Callable[..., object]
) -> None:
    """What a page makes SQLite do does not depend on how many versions there are."""
    policy, _ = set_up(registry)
    long_ago = None
    for number in range(60):
        long_ago = add_version(registry, f"prompt {number}", parent=long_ago)
    few = work_of(registry, lambda: look(registry, SYSTEM, policy))
    for number in range(60, 260):
        long_ago = add_version(registry, f"prompt {number}", parent=long_ago)
    many = work_of(registry, lambda: look(registry, SYSTEM, policy))
    assert many < 1.25 * few  # trees grow a little deeper


def work_of(registry: Registry, act: Callable[[], object]) -> int:
    """Return how many steps SQLite's machine takes for something, in tens."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    registry._connection.set_progress_handler(count, 10)
    act()
    registry._connection.set_progress_handler(None, 0)
    return steps


def test_totals_count_every_track(registry: Registry) -> None:
    """The total is that of all tracks together, whatever the page shows."""
    first = add_version(registry, "one")
    add_version(registry, "two", parent=first)
    add_version(registry, "ex", parent=first, track="experiment")
    add_version(registry, "practice", parent=first, track="rehearsal")
    add_version(registry, "other", system="order-extract")
    page = log_page(registry, SYSTEM, None, track="experiment")
    assert ([line.version.label for line in page.lines], page.total) == (["x1"], 4)
    assert log_page(registry, "order-extract", None).total == 1
    assert log_page(registry, "nowhere", None).total == 0


def test_a_page_may_leave_a_track_out(registry: Registry) -> None:
    """Rehearsals would push the releases off the screen; everything else stays, in its order."""
    first = add_version(registry, "one")
    add_version(registry, "practice", parent=first, track="rehearsal")
    add_version(registry, "ex", parent=first, track="experiment")
    page = log_page(registry, SYSTEM, None).without("rehearsal")
    assert [line.version.label for line in page.lines] == ["x1", "v1"]
