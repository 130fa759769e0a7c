"""A suite is named by a digest over everything that is measured, and its changes are told."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.domain.suite import (
    Case,
    ScorerSpec,
    Suite,
    case_from,
    suite_changes,
    suite_from,
)

ACCURACY = ScorerSpec("accuracy", "exact", "queue", "queue", {"ignore_case": True})
CASES = (
    Case("t-001", {"ticket": "charged twice"}, {"queue": "billing"}, ("short",), 1.0),
    Case("t-002", {"ticket": "logged out 3.5 times"}, {"queue": "access"}, (), 2.5),
)


def suite(**fields: Any) -> Suite:
    plain = Suite("support-desk", "triage", "Tickets.", (ACCURACY,), 1, 7, 10.0, CASES)
    return replace(plain, **fields)


def test_the_digest_can_be_recomputed_by_hand() -> None:
    """The bytes below are written out; nothing of the product makes them."""
    lines = (
        '{"expected":{"queue":"billing"},"id":"t-001","input":{"ticket":"charged twice"},'
        '"tags":["short"],"weight":1}\n'
        '{"expected":{"queue":"access"},"id":"t-002","input":{"ticket":"logged out 3.5 times"},'
        '"tags":[],"weight":2.5}\n'
    )
    body = (
        '{"cases":"' + sha256(lines.encode()).hexdigest() + '","files":{},"format":1,'
        '"name":"triage","repeats":1,"scorers":[{"expected":"queue","field":"queue",'
        '"kind":"exact","metric":"accuracy","options":{"ignore_case":true}}],"seed":7,'
        '"system":"support-desk","timeout_s":10}'
    )
    assert suite().digest == sha256(body.encode()).hexdigest()


def test_the_digest_of_a_known_suite_never_moves() -> None:
    """A published vector: stored runs refer to suites by it."""
    assert suite().digest == "775877cf892991c2c0e135911899b571bca648085a43b4414ae8eb9f72745431"


@pytest.mark.parametrize(
    "fields",
    [
        {"system": "order-extract"},
        {"name": "retrieval"},
        {"repeats": 2},
        {"seed": 8},
        {"timeout_s": 10.5},
        {"scorers": (replace(ACCURACY, options={}),)},
        {"scorers": (replace(ACCURACY, field=None),)},
        {"scorers": (replace(ACCURACY, expected=None),)},
        {"files": {"scorers.py": "0" * 64}},
        {"cases": CASES[:1]},
        {"cases": (CASES[0], replace(CASES[1], expected={"queue": "billing"}))},
        {"cases": (CASES[0], replace(CASES[1], tags=("long",)))},
        {"cases": (CASES[0], replace(CASES[1], weight=2.0))},
    ],
)
def test_everything_that_is_measured_counts(fields: dict[str, Any]) -> None:
    """A change of any case, scorer or setting gives another suite."""
    assert suite(**fields).digest != suite().digest


def test_the_description_does_not_count() -> None:
    """Better words about a suite do not void what was measured with it."""
    assert suite(description="Other words.").digest == suite().digest


def test_the_order_of_cases_and_scorers_does_not_count() -> None:
    """Sorting a file changes nothing."""
    second = ScorerSpec("strict", "exact")
    one = suite(scorers=(ACCURACY, second), cases=CASES)
    other = suite(scorers=(second, ACCURACY), cases=CASES[::-1])
    assert one.digest == other.digest
    assert [case.id for case in other.cases] == ["t-001", "t-002"]


def test_metrics_keep_the_order_in_which_they_were_written() -> None:
    """The first scorer is the one people look at first."""
    assert suite(scorers=(ScorerSpec("z", "exact"), ACCURACY)).metrics == ("z", "accuracy")


def test_a_suite_is_rebuilt_from_its_specification_and_cases() -> None:
    """The registry keeps both apart, as JSON, in any order."""
    whole = suite(files={"scorers.py": "0" * 64})
    spec = json.loads(json.dumps(whole.spec_body()))
    cases = [case_from(json.loads(json.dumps(case.body()))) for case in reversed(whole.cases)]
    again = suite_from(spec, cases)
    assert again == whole
    assert again.digest == whole.digest


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, st.floats(0.001, 1000))
@example({"\ue000": 1, "\U0001f600": 2}, None, 1.0)
@example("NaN and 1.5", [1e21, 1e-7, -0.0, 1e16], 1.0)
@example("\x7f\u2028\x01", {"\u00e9": "e\u0301"}, 3.0)
def test_a_case_line_is_canonical_json(asked: Any, expected: Any, weight: float) -> None:
    """The quick way to write a case gives the bytes of RFC 8785, for every value."""
    case = Case("t-001", asked, expected, ("a",), weight)
    assert case.line() == rfc8785.dumps(case.body()) + b"\n"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1, 2}])
def test_what_json_cannot_carry_has_no_digest(value: Any) -> None:
    """A case that no other program could read the same way has no line."""
    with pytest.raises(ValueError, match=r".+"):
        Case("t-001", value, None).line()


def test_equal_suites_have_no_changes() -> None:
    """Nothing is reported when nothing that is measured differs."""
    changes = suite_changes(suite(), suite(description="Other words."))
    assert changes.is_empty
    assert changes.weakened == ()


def test_cases_that_come_go_and_change_are_named() -> None:
    """Added, removed and edited cases are told by id, sorted."""
    after = suite(cases=(replace(CASES[1], input="x"), Case("t-000", "y", None)))
    changes = suite_changes(suite(), after)
    assert changes.added == ("t-000",)
    assert changes.removed == ("t-001",)
    assert changes.edited == ("t-002",)
    assert changes.weakened == ("1 case removed: `t-001`",)
    assert not changes.is_empty


def test_settings_and_scorers_that_change_are_told_in_lines() -> None:
    """Each line names the setting, what it was and what it is."""
    before = suite(
        scorers=(ACCURACY, ScorerSpec("amount", "number", None, "amount")), files={"a.py": "0"}
    )
    after = suite(
        repeats=3,
        timeout_s=20.0,
        scorers=(
            replace(ACCURACY, field="answer.queue", options={"strip": True}),
            ScorerSpec("recall@5", "recall_at_k", options={"k": 5}),
        ),
        files={"a.py": "1", "b.py": "2"},
    )
    assert suite_changes(before, after).settings_changed == (
        "repeats 1 → 3",
        "timeout_s 10 → 20",
        "scorer `accuracy`: field queue → answer.queue",
        "scorer `accuracy`: ignore_case true → (left out)",
        "scorer `accuracy`: strip (left out) → true",
        "scorer `amount` removed",
        "scorer `recall@5` added",
        "scorer file `a.py` changed",
        "scorer file `b.py` added",
    )


@pytest.mark.parametrize(
    ("kind", "was", "is_now", "line"),
    [
        ("number", {}, {"tolerance": 0.5}, "tolerance widened from 0 to 0.5"),
        ("number", {"relative": 0.01}, {"relative": 0.1}, "relative widened from 0.01 to 0.1"),
        ("exact", {}, {"ignore_case": True}, "ignore_case turned on"),
        ("exact", {}, {"strip": True}, "strip turned on"),
        ("regex", {"full": True, "pattern": "a"}, {"pattern": "a"}, "full turned off"),
        ("recall_at_k", {"k": 1}, {"k": 5}, "k raised from 1 to 5"),
        ("mrr", {"k": 5}, {}, "k raised from 5 to any place"),
        (
            "json_fields",
            {"fields": ["id", "date", "sum"]},
            {"fields": ["id"]},
            "fields no longer compared: date, sum",
        ),
    ],
)
def test_a_looser_scorer_is_named(
    kind: str, was: dict[str, Any], is_now: dict[str, Any], line: str
) -> None:
    """What accepts more than before is a weakening; the way back is not."""
    loose = suite(scorers=(ScorerSpec("m", kind, options=is_now),))
    tight = suite(scorers=(ScorerSpec("m", kind, options=was),))
    assert suite_changes(tight, loose).weakened == (f"scorer `m`: {line}",)
    assert suite_changes(loose, tight).weakened == ()


def test_a_scorer_that_is_gone_is_a_weakening() -> None:
    """A metric nobody measures any more cannot fail."""
    assert suite_changes(suite(), suite(scorers=())).weakened == ("scorer `accuracy` removed",)


def test_lower_weights_are_a_weakening_and_higher_ones_are_not() -> None:
    """Only a case that counts less than before is named."""
    after = suite(cases=(replace(CASES[0], weight=3.0), replace(CASES[1], weight=0.5)))
    changes = suite_changes(suite(), after)
    assert changes.weakened == ("weight lowered for 1 case: `t-002` 2.5 → 0.5",)


def test_many_removed_cases_are_counted_and_the_first_named() -> None:
    """A list nobody would read is cut, with a count."""
    many = tuple(Case(f"t-{number:03}", "x", "y") for number in range(9))
    assert suite_changes(suite(cases=many), suite(cases=())).weakened == (
        "9 cases removed: `t-000`, `t-001`, `t-002`, `t-003`, `t-004` and 4 more",
    )


def test_a_longer_time_limit_is_no_weakening() -> None:
    """It is told as a setting and nothing more."""
    changes = suite_changes(suite(), suite(timeout_s=60.0))
    assert changes.settings_changed == ("timeout_s 10 → 60",)
    assert changes.weakened == ()
