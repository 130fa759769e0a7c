"""Each kind of scorer by example: what it accepts, what scores 0, and what makes a case fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.errors import InfrastructureFailed, IntegrityBroken
from lockgate.evals.scorers import Scoring, expected_problem
from lockgate.ports import CaseFailed

NAN = float("nan")


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


ODD_OUTPUTS: list[Any] = [
    None,
    True,
    0,
    -1.5,
    NAN,
    float("inf"),
    10**400,
    10**5000,
    "",
    "nothing of the kind",
    "\ud800",
    "\U0001f6a2" * 50,
    "[" * 5000,
    [],
    {},
    {"queue": None},
    [[None]],
    deep(900),
    deep(5000),
]


def suite_of(
    *specs: ScorerSpec, files: dict[str, bytes] | None = None, timeout_s: float = 20.0
) -> Suite:
    digests = {path: sha256(data).hexdigest() for path, data in (files or {}).items()}
    return Suite("support-desk", "triage", "", specs, 1, 0, timeout_s, (), digests)


@contextmanager
def scoring(
    folder: Path, *specs: ScorerSpec, files: dict[str, bytes] | None = None, timeout_s: float = 20.0
) -> Iterator[Scoring]:
    suite = suite_of(*specs, files=files, timeout_s=timeout_s)
    with Scoring(suite, files or {}, folder) as opened:
        yield opened


def score(spec: ScorerSpec, expected: Any, output: Any) -> float:
    """Score with a kind that needs no process."""
    with Scoring(suite_of(spec), {}, Path()) as opened:
        return opened.score(Case("t-001", "x", expected), output)[spec.metric]


def spec(kind: str, field: str | None = None, expected: str | None = None, **options: Any) -> Any:
    return ScorerSpec("m", kind, field, expected, options)


# exact


@pytest.mark.parametrize(
    ("expected", "output", "wanted"),
    [
        ("billing", "billing", 1.0),
        ("billing", "Billing", 0.0),
        ("billing", "billing ", 0.0),
        (1, 1.0, 1.0),
        (1, True, 0.0),
        (0, False, 0.0),
        (1, "1", 0.0),
        (None, None, 1.0),
        (None, False, 0.0),
        (None, "", 0.0),
        ({"a": 1, "b": [2, 3]}, {"b": [2, 3], "a": 1}, 1.0),
        ({"a": 1}, {"a": 1, "b": 2}, 0.0),
        ({"a": [1]}, {"a": [True]}, 0.0),
        ([1, 2], [2, 1], 0.0),
        ([1, 2], [1, 2, 3], 0.0),
        (deep(900), deep(900), 1.0),
        (deep(5000), deep(5000), 1.0),
        (deep(900), deep(901), 0.0),
        ("caf\u00e9", "cafe\u0301", 0.0),
    ],
)
def test_exact_compares_as_json(expected: Any, output: Any, wanted: float) -> None:
    """Equal means equal as JSON: numbers by value, objects without order, `true` is not 1."""
    assert score(spec("exact"), expected, output) == wanted


@pytest.mark.parametrize(
    ("options", "output", "wanted"),
    [
        ({"ignore_case": True}, "STRASSE", 1.0),
        ({"ignore_case": True}, " STRASSE", 0.0),
        ({"strip": True}, "\n stra\u00dfe\t", 1.0),
        ({"strip": True}, "Stra\u00dfe", 0.0),
        ({"ignore_case": True, "strip": True}, " STRASSE\n", 1.0),
    ],
)
def test_exact_can_forgive_case_and_outer_space(
    options: dict[str, Any], output: str, wanted: float
) -> None:
    """Each option forgives one thing, and the sharp s folds as Unicode says."""
    assert score(spec("exact", **options), "stra\u00dfe", output) == wanted


def test_exact_forgives_in_every_text_inside_but_not_in_keys() -> None:
    """Options reach into lists and objects; object keys stay as they are."""
    forgiving = spec("exact", ignore_case=True)
    assert score(forgiving, {"a": ["X"]}, {"a": ["x"]}) == 1.0
    assert score(forgiving, {"a": ["X"]}, {"A": ["x"]}) == 0.0


@pytest.mark.parametrize(
    ("path", "output", "wanted"),
    [
        ("queue", {"queue": "billing"}, 1.0),
        ("queue", '{"queue": "billing"}', 1.0),
        ("queue", ' {"queue": "billing"}\n', 1.0),
        ("queue", "billing", 0.0),
        ("queue", {"Queue": "billing"}, 0.0),
        ("queue", ["billing"], 0.0),
        ("answers.1.queue", {"answers": [{}, {"queue": "billing"}]}, 1.0),
        ("answers.1.queue", {"answers": [{}]}, 0.0),
        ("answers.-1", {"answers": ["billing"]}, 0.0),
        ("0", ["billing"], 1.0),
        ("0", {"0": "billing"}, 1.0),
        ("answer.queue", {"answer": '{"queue": "billing"}'}, 1.0),
    ],
)
def test_a_field_is_a_path_into_the_output(path: str, output: Any, wanted: float) -> None:
    """Objects by key, lists by position, text read as JSON; a path that leads nowhere scores 0."""
    assert score(spec("exact", path, "queue"), {"queue": "billing"}, output) == wanted


def test_a_field_that_is_not_there_is_not_the_same_as_null() -> None:
    """An answer without the field is wrong even where `null` is right."""
    assert score(spec("exact", "queue"), None, {"queue": None}) == 1.0
    assert score(spec("exact", "queue"), None, {}) == 0.0


# includes


@pytest.mark.parametrize(
    ("expected", "output", "wanted"),
    [
        ("refund", "Your refund is on its way", 1.0),
        ("Refund", "Your refund is on its way", 0.0),
        (["refund", "way"], "Your refund is on its way", 1.0),
        (["refund", "bill"], "Your refund is on its way", 0.0),
        ("refund", ["refund"], 0.0),
        ("\U0001f6a2", "a ship \U0001f6a2 left", 1.0),
    ],
)
def test_includes_wants_every_text(expected: Any, output: Any, wanted: float) -> None:
    """All expected texts have to stand in the output, which has to be text."""
    assert score(spec("includes"), expected, output) == wanted


def test_includes_can_ignore_case() -> None:
    """Both sides are folded."""
    assert score(spec("includes", ignore_case=True), "REFUND", "your Refund") == 1.0


# number


@pytest.mark.parametrize(
    ("expected", "output", "options", "wanted"),
    [
        (42, 42, {}, 1.0),
        (42, 42.0, {}, 1.0),
        (42, "42", {}, 1.0),
        (42, " +42.00\n", {}, 1.0),
        (42, "4.2e1", {}, 1.0),
        (42, "42 euros", {}, 0.0),
        (42, "1_0", {}, 0.0),
        (42, "\u0664\u0662", {}, 0.0),
        (1, True, {}, 0.0),
        (42, None, {}, 0.0),
        (42, [42], {}, 0.0),
        (0.3, 0.4, {"tolerance": 0.1}, 1.0),
        (0.3, 0.41, {"tolerance": 0.1}, 0.0),
        (-100, -99, {"relative": 0.01}, 1.0),
        (-100, -98.9, {"relative": 0.01}, 0.0),
        (0, 0.001, {"relative": 0.01}, 0.0),
        (100, 102, {"relative": 0.01, "tolerance": 2}, 1.0),
        (1, "nan", {"tolerance": 1}, 0.0),
        (1, "1e999", {"tolerance": 1}, 0.0),
        (1, "1" * 65, {"tolerance": 1}, 0.0),
        (1e308, -1e308, {"tolerance": 1}, 0.0),
    ],
)
def test_number_allows_what_the_tolerance_says(
    expected: Any, output: Any, options: dict[str, Any], wanted: float
) -> None:
    """Compared as written, by the wider of both tolerances; text counts when it is all number."""
    assert score(spec("number", **options), expected, output) == wanted


# json_fields


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        ({"order": "A-1", "sum": 3, "when": {"day": 5}}, 1.0),
        ('{"order": "A-1", "sum": 3, "when": {"day": 5}}', 1.0),
        ({"order": "A-1", "sum": 3, "when": {"day": 5}, "more": 1}, 1.0),
        ({"order": "A-1", "sum": "3"}, 1 / 3),
        ({}, 0.0),
        ("not JSON", 0.0),
        ([{"order": "A-1"}], 0.0),
    ],
)
def test_json_fields_gives_the_share_of_equal_fields(output: Any, wanted: float) -> None:
    """Named fields by path, or else every key that is expected."""
    expected = {"order": "A-1", "sum": 3, "when": {"day": 5}}
    named = spec("json_fields", fields=["order", "sum", "when.day"])
    assert score(named, expected, output) == pytest.approx(wanted)
    assert score(spec("json_fields"), expected, output) == pytest.approx(wanted)


def test_json_fields_compares_only_what_is_named() -> None:
    """A key that is expected but not named does not count."""
    assert score(spec("json_fields", fields=["a"]), {"a": 1, "b": 2}, {"a": 1}) == 1.0


def test_json_fields_finds_nothing_equal_where_nothing_is() -> None:
    """A field that neither side has is not one that agrees."""
    assert score(spec("json_fields", fields=["a", "b"]), {"a": 1}, {"a": 1}) == 0.5


# set_f1, recall_at_k, mrr


@pytest.mark.parametrize(
    ("expected", "output", "wanted"),
    [
        (["a", "b"], ["b", "a"], 1.0),
        (["a", "b"], ["a", "a", "b"], 1.0),
        (["a", "b"], ["a"], 2 / 3),
        (["a", "b"], ["a", "c"], 0.5),
        (["a"], [], 0.0),
        ([], ["a"], 0.0),
        ([], [], 1.0),
        (["a"], '["a"]', 1.0),
        (["a"], "a", 0.0),
        ([1, {"x": [1.0]}], [1.0, {"x": [1]}], 1.0),
        ([1], [True], 0.0),
        (["1"], [1], 0.0),
        ([None], [None], 1.0),
    ],
)
def test_set_f1_balances_precision_and_recall(expected: Any, output: Any, wanted: float) -> None:
    """Order and repetition do not count; two empty lists are equal."""
    assert score(spec("set_f1"), expected, output) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("expected", "output", "k", "wanted"),
    [
        (["a"], ["a", "b", "c"], 1, 1.0),
        (["c"], ["a", "b", "c"], 2, 0.0),
        (["c"], ["a", "b", "c"], 3, 1.0),
        (["a", "c"], ["a", "b", "c"], 2, 0.5),
        ("a", ["b", "a"], 2, 1.0),
        (["a", "b"], ["a", "a", "b"], 2, 0.5),
        (["a"], '["a"]', 1, 1.0),
        (["a"], [], 3, 0.0),
    ],
)
def test_recall_at_k_looks_at_the_first_k(
    expected: Any, output: Any, k: int, wanted: float
) -> None:
    """The share of expected things there; a repeated thing wastes its place."""
    assert score(spec("recall_at_k", k=k), expected, output) == wanted


@pytest.mark.parametrize(
    ("expected", "output", "options", "wanted"),
    [
        (["a"], ["a", "b"], {}, 1.0),
        (["b"], ["a", "b"], {}, 0.5),
        (["c", "b"], ["a", "b", "c"], {}, 0.5),
        (["c"], ["a", "b", "c"], {"k": 2}, 0.0),
        (["c"], ["a", "b", "c"], {"k": 3}, 1 / 3),
        ("b", ["a", "b"], {}, 0.5),
        (["z"], ["a"], {}, 0.0),
    ],
)
def test_mrr_is_one_over_the_first_right_place(
    expected: Any, output: Any, options: dict[str, Any], wanted: float
) -> None:
    """Only the first expected thing counts, within the first k if there is a k."""
    assert score(spec("mrr", **options), expected, output) == pytest.approx(wanted)


# in the scorer process


def test_regex_is_found_or_has_to_match_whole(tmp_path: Path) -> None:
    """Anywhere in the text by default; the pattern may come from the case."""
    specs = (
        ScorerSpec("found", "regex", options={"pattern": r"A-\d+"}),
        ScorerSpec("whole", "regex", options={"pattern": r"A-\d+", "full": True}),
        ScorerSpec("own", "regex", expected="pattern"),
    )
    case = Case("t-001", "x", {"pattern": "^order"})
    with scoring(tmp_path, *specs) as opened:
        assert opened.score(case, "order A-17") == {"found": 1.0, "whole": 0.0, "own": 1.0}
        assert opened.score(case, "A-17") == {"found": 1.0, "whole": 1.0, "own": 0.0}
        assert opened.score(case, 17) == {"found": 0.0, "whole": 0.0, "own": 0.0}


def test_regex_is_not_tried_on_a_text_without_measure(tmp_path: Path) -> None:
    """Up to 100,000 characters are searched; a longer answer scores 0."""
    with scoring(tmp_path, spec("regex", pattern="a")) as opened:
        assert opened.score(Case("t", "x", None), "a" * 100_000) == {"m": 1.0}
        assert opened.score(Case("t", "x", None), "a" * 100_001) == {"m": 0.0}


def test_a_pattern_that_never_ends_fails_the_case_and_not_the_next(tmp_path: Path) -> None:
    """Catastrophic backtracking is cut off by the time limit."""
    with scoring(tmp_path, spec("regex", pattern="(a+)+$"), timeout_s=0.3) as opened:
        with pytest.raises(CaseFailed) as failed:
            opened.score(Case("t", "x", None), "a" * 64 + "!")
        assert str(failed.value) == "scorer `m` took longer than 0.3 s"
        assert opened.score(Case("t", "x", None), "aaa") == {"m": 1.0}


SCHEMA = {
    "type": "object",
    "required": ["order"],
    "properties": {"order": {"type": "string", "pattern": "^A-"}, "next": {"$ref": "#"}},
}


def test_json_schema_is_valid_or_not(tmp_path: Path) -> None:
    """The output itself, or what it says as JSON, has to be valid."""
    with scoring(tmp_path, spec("json_schema", schema=SCHEMA)) as opened:
        case = Case("t", "x", None)
        assert opened.score(case, {"order": "A-1"}) == {"m": 1.0}
        assert opened.score(case, '{"order": "A-1"}') == {"m": 1.0}
        assert opened.score(case, {"order": "A-1", "next": {"order": "B"}}) == {"m": 0.0}
        assert opened.score(case, {"order": 1}) == {"m": 0.0}
        assert opened.score(case, "order A-1") == {"m": 0.0}


def test_json_schema_for_text_takes_any_text(tmp_path: Path) -> None:
    """`42` is text even though it also reads as a number."""
    with scoring(tmp_path, spec("json_schema", schema={"type": "string"})) as opened:
        assert opened.score(Case("t", "x", None), "42") == {"m": 1.0}


PYTHON = b"""
import os, sys, time

def share(expected, output, input):
    return len(set(expected) & set(output)) / len(set(expected))

def judge(expected, output, input):
    if output == "raise":
        raise ValueError("no such word")
    if output == "hang":
        time.sleep(60)
    if output == "exit":
        sys.exit(3)
    if output == "die":
        os._exit(3)
    if output == "print":
        print("noise"); sys.stderr.write("noise"); os.write(1, b"noise")
        return 1
    if output == "read":
        return sys.stdin.read() == ""
    if output == "environment":
        return sorted(k for k in os.environ if not k.startswith("LC_")) == input
    if output == "hash":
        return hash("a") % 1000 / 1000
    if output == "unprintable":
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError
        raise Odd
    if output == "here":
        return os.listdir(".") == ["scorers.py"]
    return output
"""


def python(function: str, **fields: Any) -> ScorerSpec:
    return ScorerSpec("m", "python", options={"file": "scorers.py", "function": function}, **fields)


def judged(folder: Path, output: Any, asked: Any = "x", timeout_s: float = 20.0) -> Any:
    files = {"scorers.py": PYTHON}
    with scoring(folder, python("judge"), files=files, timeout_s=timeout_s) as opened:
        return opened.score(Case("t", asked, None), output)["m"]


def test_a_python_scorer_gets_expected_output_and_input(tmp_path: Path) -> None:
    """The function sees all three and its fraction is the score."""
    source = b"def f(expected, output, input):\n    return (expected + output + input) / 10\n"
    with scoring(tmp_path, python("f"), files={"scorers.py": source}) as opened:
        assert opened.score(Case("t", 1, 2), 4) == {"m": 0.7}


def test_a_python_scorer_sees_the_parts_its_paths_name(tmp_path: Path) -> None:
    """`field` and `expected` work as for every kind; a missing field scores 0 without a call."""
    files = {"scorers.py": PYTHON}
    with scoring(tmp_path, python("share", field="tags", expected="tags"), files=files) as opened:
        case = Case("t", "x", {"tags": ["a", "b"]})
        assert opened.score(case, {"tags": ["b"]}) == {"m": 0.5}
        assert opened.score(case, {}) == {"m": 0.0}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("raise", "raised ValueError: no such word (scorers.py, line 9)"),
        ("exit", "raised SystemExit: 3 (scorers.py, line 13)"),
        ("die", "ended its process with code 3"),
        ("unprintable", "raised Odd (scorers.py, line 29)"),
        ("text", "returned `'text'` instead of a number from 0 to 1"),
        (None, "returned `None` instead of a number from 0 to 1"),
        (1.01, "returned `1.01` instead of a number from 0 to 1"),
        (-0.01, "returned `-0.01` instead of a number from 0 to 1"),
        (NAN, "returned `nan` instead of a number from 0 to 1"),
    ],
)
def test_a_python_scorer_that_breaks_fails_the_case(
    tmp_path: Path, output: Any, message: str
) -> None:
    """A broken scorer is an error with its reason, never a score of 0."""
    with pytest.raises(CaseFailed) as failed:
        judged(tmp_path, output)
    assert str(failed.value) == f"scorer `m` {message}"


def test_a_python_scorer_that_hangs_is_ended_and_started_anew(tmp_path: Path) -> None:
    """The case fails after the suite's time limit; the next case is scored."""
    files = {"scorers.py": PYTHON}
    with scoring(tmp_path, python("judge"), files=files, timeout_s=0.4) as opened:
        with pytest.raises(CaseFailed, match=r"^scorer `m` took longer than 0\.4 s$"):
            opened.score(Case("t", "x", None), "hang")
        assert opened.score(Case("t", "x", None), 0.25) == {"m": 0.25}
        with pytest.raises(CaseFailed, match="code 3"):
            opened.score(Case("t", "x", None), "die")
        assert opened.score(Case("t", "x", None), True) == {"m": 1.0}


def test_what_a_python_scorer_prints_or_reads_goes_nowhere(tmp_path: Path) -> None:
    """Its stdout cannot forge an answer and its stdin cannot swallow a question."""
    assert judged(tmp_path, "print") == 1.0
    assert judged(tmp_path, "read") == 1.0


def test_a_python_scorer_sees_none_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PATH, LANG and a fixed hash seed are all there is."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("SERVICE_KEY", "do-not-look")
    assert judged(tmp_path, "environment", ["LANG", "PATH", "PYTHONHASHSEED"]) == 1.0


def test_a_python_scorer_runs_beside_its_file_alone(tmp_path: Path) -> None:
    """Its working folder holds the suite's scorer files and nothing else."""
    assert judged(tmp_path, "here") == 1.0


def test_a_python_scorer_hashes_alike_in_every_process(tmp_path: Path) -> None:
    """The order of a set cannot change a score from run to run."""
    assert judged(tmp_path, "hash") == judged(tmp_path, "hash")


def test_a_large_output_reaches_a_python_scorer_whole(tmp_path: Path) -> None:
    """Questions far beyond a pipe's buffer arrive."""
    source = b"def f(expected, output, input):\n    return len(output) == 3_000_000\n"
    with scoring(tmp_path, python("f"), files={"scorers.py": source}) as opened:
        assert opened.score(Case("t", "x", None), "\u00e9" * 3_000_000) == {"m": 1.0}


def test_a_scorer_file_that_cannot_be_loaded_is_told_before_any_question(tmp_path: Path) -> None:
    """Nothing is asked when the answers could not be scored."""
    files = {"scorers.py": b"import no_such_module_anywhere\ndef judge(e, o, i): return 1\n"}
    suite = suite_of(python("judge"), files=files)
    with pytest.raises(InfrastructureFailed) as failed, Scoring(suite, files, tmp_path):
        pytest.fail("entered")
    assert str(failed.value) == (
        "the scorers of suite `triage` cannot be loaded: loading raised ModuleNotFoundError: "
        "No module named 'no_such_module_anywhere' (scorers.py, line 1)\n"
        "hint: correct the scorer file under `suites/`, then run `lockgate suite`"
    )
    assert list(tmp_path.iterdir()) == []


def test_scorer_files_may_use_each_other_but_nothing_beside_them(tmp_path: Path) -> None:
    """What the suite digest does not cover cannot be imported from the registry."""
    (tmp_path / "beside.py").write_text("VALUE = 1\n")
    files = {
        "scorers.py": b"from shared import VALUE\ndef judge(e, o, i): return VALUE\n",
        "shared.py": b"VALUE = 0.5\ndef other(e, o, i): return 0\n",
    }
    other = ScorerSpec("n", "python", options={"file": "shared.py", "function": "other"})
    with scoring(tmp_path, python("judge"), other, files=files) as opened:
        assert opened.score(Case("t", "x", None), "y") == {"m": 0.5, "n": 0.0}
    files["scorers.py"] = files["scorers.py"].replace(b"shared", b"beside")
    with (
        pytest.raises(InfrastructureFailed, match="No module named 'beside'"),
        scoring(tmp_path, python("judge"), other, files=files),
    ):
        pytest.fail("entered")


def test_scorer_files_have_to_be_those_of_the_suite(tmp_path: Path) -> None:
    """Other bytes, or none, are refused before they run."""
    suite = suite_of(python("judge"), files={"scorers.py": PYTHON, "more.py": b""})
    with pytest.raises(IntegrityBroken) as broken:
        Scoring(suite, {"scorers.py": b"pass"}, tmp_path)
    assert str(broken.value) == (
        "the scorer files of suite `triage` are not those it was registered with\n"
        "  - `scorers.py` has other bytes than the suite names\n"
        "  - `more.py` is missing\n"
        "hint: bring `.lockgate/` back from a backup; `lockgate suite` shows what is applied"
    )


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """Neither files nor a process outlive the scoring."""
    source = b"import os\ndef judge(e, o, i): return float(os.getpid() == i) or os.getpid() / 1e9\n"
    with scoring(tmp_path, python("judge"), files={"scorers.py": source}) as opened:
        share = opened.score(Case("t", 0, None), "x")["m"]
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(round(share * 1e9), 0)


def test_scoring_works_only_inside_its_block(tmp_path: Path) -> None:
    """A closed scoring says so instead of giving no metrics."""
    with scoring(tmp_path, spec("exact")) as opened:
        pass
    with pytest.raises(RuntimeError, match="outside its `with` block"):
        opened.score(Case("t", "x", "y"), "y")


# whatever a version answers

SHAPES = (
    (spec("exact"), {"queue": "billing"}),
    (spec("exact", "queue", "queue"), {"queue": "billing"}),
    (spec("includes"), ["refund"]),
    (spec("number", tolerance=0.5), 7),
    (spec("json_fields"), {"order": "A-1"}),
    (spec("set_f1"), ["x"]),
    (spec("recall_at_k", k=3), ["x"]),
    (spec("mrr"), ["x"]),
)


@pytest.mark.parametrize(("scorer", "expected"), SHAPES)
@pytest.mark.parametrize("output", ODD_OUTPUTS, ids=range(len(ODD_OUTPUTS)))
def test_an_output_of_another_shape_scores_nothing(
    scorer: ScorerSpec, expected: Any, output: Any
) -> None:
    """Nonsense is a score of 0 and never an error."""
    assert score(scorer, expected, output) == 0.0


def test_an_output_of_another_shape_scores_nothing_in_the_process_either(tmp_path: Path) -> None:
    """Patterns and schemas see the same nonsense."""
    specs = (
        ScorerSpec("regex", "regex", options={"pattern": "^refund$"}),
        ScorerSpec("json_schema", "json_schema", options={"schema": SCHEMA}),
    )
    with scoring(tmp_path, *specs) as opened:
        for output in ODD_OUTPUTS:
            assert opened.score(Case("t", "x", None), output) == {"regex": 0.0, "json_schema": 0.0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON, st.sampled_from(SHAPES))
@example([NAN, NAN], SHAPES[5])
def test_every_output_gets_a_fraction(output: Any, shape: tuple[ScorerSpec, Any]) -> None:
    """Whatever comes back, the score is a number from 0 to 1."""
    assert 0.0 <= score(shape[0], shape[1], output) <= 1.0


@given(JSON)
def test_exact_is_reflexive_but_for_nan(value: Any) -> None:
    """What is answered as expected scores 1."""
    wanted = 0.0 if "nan" in repr(value) and _has_nan(value) else 1.0
    assert score(spec("exact"), value, value) == wanted


def _has_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    if isinstance(value, list):
        return any(map(_has_nan, value))
    return isinstance(value, float) and value != value


# what a case has to offer


@pytest.mark.parametrize(
    ("scorer", "expected", "problem"),
    [
        (
            spec("exact", expected="queue"),
            {"queu": 1},
            "`expected.queue` is missing, which `m` needs",
        ),
        (spec("exact", expected="a.b"), None, "`expected.a.b` is missing, which `m` needs"),
        (
            spec("includes"),
            ["a", ""],
            '`expected` is `["a", ""]`, but `m` (includes) needs a text or a list of texts, '
            "none of them empty",
        ),
        (
            spec("regex"),
            "(",
            '`expected` is `"("`, but `m` (regex) is not a regular expression: missing ), '
            "unterminated subpattern at position 0",
        ),
        (spec("number"), "7", '`expected` is `"7"`, but `m` (number) needs a number'),
        (spec("number"), True, "`expected` is `true`, but `m` (number) needs a number"),
        (
            spec("json_fields"),
            {},
            "`expected` is `{}`, but `m` (json_fields) needs an object with at least one key",
        ),
        (
            spec("json_fields", fields=["a", "b", "c"]),
            {"a": 1},
            '`expected` is `{"a": 1}`, but `m` (json_fields) compares `b`, `c` too',
        ),
        (spec("set_f1"), "a", '`expected` is `"a"`, but `m` (set_f1) needs a list'),
        (
            spec("mrr", expected="ids"),
            {"ids": []},
            "`expected.ids` is `[]`, but `m` (mrr) needs a text or a list with at least one thing",
        ),
        (
            spec("python", expected="x", file="a.py", function="f"),
            {},
            "`expected.x` is missing, which `m` needs",
        ),
    ],
)
def test_a_case_that_a_scorer_cannot_use_is_named(
    scorer: ScorerSpec, expected: Any, problem: str
) -> None:
    """A wrong `expected` would score 0 for every version there ever is."""
    assert expected_problem(scorer, Case("t", "x", expected)) == problem


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (spec("exact"), None),
        (spec("includes"), ["a"]),
        (spec("regex", pattern="a"), None),
        (spec("regex"), "a+"),
        (spec("number"), -1.5),
        (spec("json_fields", fields=["a.b"]), {"a": {"b": None}}),
        (spec("json_schema", schema={}), None),
        (spec("set_f1"), []),
        (spec("recall_at_k", k=1), "a"),
        (spec("python", file="a.py", function="f"), None),
    ],
)
def test_a_case_that_a_scorer_can_use_passes(scorer: ScorerSpec, expected: Any) -> None:
    """Every kind has a shape it accepts."""
    assert expected_problem(scorer, Case("t", "x", expected)) is None
