"""Suite files: what they may say, and how every mistake in them is told."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.domain.suite import Case, ScorerSpec
from lockgate.errors import UsageMistake
from lockgate.workspace.suites import SuiteFile, read_suite, suite_names

HEAD = '[suite]\nsystem = "support-desk"\n\n'
EXACT = '[[scorers]]\nmetric = "accuracy"\nkind = "exact"\n'
SUITE = HEAD + EXACT
CASE = b'{"id": "t-001", "input": "x", "expected": "y"}\n'
ONE_OBJECT = 'every line is one case: {"id": "t-001", "input": ..., "expected": ...}'
ID_HINT = "an id has 1 to 128 printable characters, without spaces, and never changes"
ALIKE = "write a value that every JSON reader reads alike"


def write(root: Path, suite: str | bytes = SUITE, cases: bytes = CASE, **files: bytes) -> Path:
    folder = root / "suites"
    folder.mkdir(exist_ok=True)
    (folder / "triage.toml").write_bytes(suite.encode() if isinstance(suite, str) else suite)
    (folder / "triage.jsonl").write_bytes(cases)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return root


def read(root: Path, suite: str | bytes = SUITE, cases: bytes = CASE, **files: bytes) -> SuiteFile:
    return read_suite(write(root, suite, cases, **files), "triage")


def mistake(
    root: Path, suite: str | bytes = SUITE, cases: bytes = CASE, **files: bytes
) -> UsageMistake:
    with pytest.raises(UsageMistake) as refused:
        read(root, suite, cases, **files)
    return refused.value


def scorer(kind: str, *lines: str) -> str:
    return HEAD + "\n".join(("[[scorers]]", 'metric = "m"', f'kind = "{kind}"', *lines)) + "\n"


# what a suite file may say


def test_a_suite_file_gives_a_suite(tmp_path: Path) -> None:
    """Every key is read; the cases come from the file that is named."""
    text = """
[suite]
system = "support-desk"
description = "Tickets."
cases = "tickets.jsonl"
repeats = 3
seed = 7
timeout_s = 10

[[scorers]]
metric = "accuracy"
kind = "exact"
field = "answer.queue"
expected = "queue"
ignore_case = true

[[scorers]]
metric = "recall@5"
kind = "recall_at_k"
expected = "articles"
k = 5
"""
    row = {"id": "t-001", "input": {"ticket": "x"}, "tags": ["short"], "weight": 2}
    row["expected"] = {"queue": "billing", "articles": ["a"]}
    found = read(tmp_path, text, b"", tickets__jsonl=json.dumps(row).encode()).suite
    assert found.system == "support-desk"
    assert found.name == "triage"
    assert found.description == "Tickets."
    assert (found.repeats, found.seed, found.timeout_s) == (3, 7, 10.0)
    assert found.scorers == (
        ScorerSpec("accuracy", "exact", "answer.queue", "queue", {"ignore_case": True}),
        ScorerSpec("recall@5", "recall_at_k", None, "articles", {"k": 5}),
    )
    expected = {"queue": "billing", "articles": ["a"]}
    assert found.cases == (Case("t-001", {"ticket": "x"}, expected, ("short",), 2.0),)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    """One repeat, seed 0, a minute per case, no tags, weight 1, cases beside the suite."""
    found = read(tmp_path).suite
    assert (found.repeats, found.seed, found.timeout_s) == (1, 0, 60.0)
    assert found.cases == (Case("t-001", "x", "y", (), 1.0),)
    assert found.files == {}


def test_a_default_that_is_written_out_is_the_same_suite(tmp_path: Path) -> None:
    """Saying `ignore_case = false` changes nothing."""
    plain = read(tmp_path).suite
    assert read(tmp_path, SUITE + "ignore_case = false\nstrip = false\n").suite == plain


@pytest.mark.parametrize(
    ("lines", "case_expected", "options"),
    [
        (("exact", "strip = true"), "y", {"strip": True}),
        (("includes",), ["y"], {}),
        (("regex", "pattern = '[0-9]+'", "full = true"), None, {"pattern": "[0-9]+", "full": True}),
        (("regex",), "y+", {}),
        (("number", "tolerance = 1", "relative = 0.1"), 1, {"tolerance": 1.0, "relative": 0.1}),
        (("json_fields", 'fields = ["a.b"]'), {"a": {"b": 1}}, {"fields": ["a.b"]}),
        (("json_schema", 'schema = {type = "object"}'), None, {"schema": {"type": "object"}}),
        (("set_f1",), [], {}),
        (("recall_at_k", "k = 3"), ["a"], {"k": 3}),
        (("mrr",), ["a"], {}),
        (("mrr", "k = 3"), ["a"], {"k": 3}),
    ],
)
def test_each_kind_has_its_own_keys(
    tmp_path: Path, lines: tuple[str, ...], case_expected: Any, options: dict[str, Any]
) -> None:
    """What a kind needs besides stands in its options."""
    case = json.dumps({"id": "t", "input": 1, "expected": case_expected}).encode()
    (spec,) = read(tmp_path, scorer(*lines), case).suite.scorers
    assert spec == ScorerSpec("m", lines[0], None, None, options)


def test_a_python_scorer_is_kept_with_the_bytes_of_its_file(tmp_path: Path) -> None:
    """The file is part of the suite, named by digest, and is not run to read it."""
    source = b"raise SystemExit('read, never run')\ndef judge(e, o, i):\n    return 1\n"
    text = scorer("python", 'file = "scorers.py"', 'function = "judge"')
    found = read(tmp_path, text, scorers__py=source)
    assert found.scorer_files == {"scorers.py": source}
    assert found.suite.files == {"scorers.py": sha256(source).hexdigest()}
    assert found.suite.scorers[0].options == {"file": "scorers.py", "function": "judge"}


def test_a_schema_may_stand_in_a_file(tmp_path: Path) -> None:
    """Its content is part of the suite, so that editing the file gives another suite."""
    text = scorer("json_schema", 'schema = "reply.json"')
    first = read(tmp_path, text, reply__json=b'{"type": "object"}').suite
    assert first.scorers[0].options == {"schema": {"type": "object"}}
    assert read(tmp_path, text, reply__json=b'{"type":"object"}').suite.digest == first.digest
    assert read(tmp_path, text, reply__json=b'{"type": "array"}').suite.digest != first.digest


def test_suites_are_listed_by_name(tmp_path: Path) -> None:
    """Only files that can be a suite count; no folder means no suites."""
    assert suite_names(tmp_path) == []
    write(tmp_path, b__toml=b"", Not_One__toml=b"")
    assert suite_names(tmp_path) == ["b", "triage"]


def test_the_sample_suite_is_read(tmp_path: Path) -> None:
    """The suites that come with the product have no mistake."""
    root = Path(__file__).parents[2] / "sample_registry"
    for name in suite_names(root):
        assert read_suite(root, name).suite.cases


def test_blank_lines_crlf_and_a_byte_order_mark_are_nothing(tmp_path: Path) -> None:
    """What editors of any system leave behind does not change the suite."""
    plain = read(tmp_path, SUITE, CASE).suite.digest
    odd = b"\xef\xbb\xbf" + CASE.rstrip() + b"\r\n\r\n   \n\n"
    assert read(tmp_path, SUITE, odd).suite.digest == plain


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ROWS = st.fixed_dictionaries(
    {"input": TEXTS | st.dictionaries(TEXTS, TEXTS | st.integers(-9, 9), max_size=3)},
    optional={
        "expected": TEXTS | st.lists(st.floats(-9, 9), max_size=2),
        "tags": st.lists(st.sampled_from(["a", "b", "c"]), unique=True),
        "weight": st.integers(1, 9) | st.floats(0.5, 9),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rows=st.lists(ROWS, min_size=1, max_size=5), data=st.data())
def test_order_and_spacing_of_the_lines_do_not_count(
    tmp_path: Path, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Cases written in any order, with any spacing and escaping, have one digest."""
    named = [{"id": f"t-{number}", **row} for number, row in enumerate(rows)]
    suite = scorer("json_schema", "schema = {}")
    plain = "\n".join(json.dumps(row) for row in named).encode()
    spaced = []
    for row in data.draw(st.permutations(named)):
        keys = data.draw(st.permutations(list(row)))
        separators = data.draw(st.sampled_from([(",", ":"), (" ,\t", " :  "), (", ", ": ")]))
        text = json.dumps(
            {key: row[key] for key in keys},
            separators=separators,
            ensure_ascii=data.draw(st.booleans()),
        )
        spaced.append(data.draw(st.sampled_from(["", " ", "\n\t\n"])) + text)
    first = read(tmp_path, suite, plain).suite
    again = read(tmp_path, suite, "\r\n".join(spaced).encode()).suite
    assert again == first
    assert again.digest == first.digest


# what is wrong with the suite file


def test_a_suite_without_a_file_names_the_nearest(tmp_path: Path) -> None:
    """A typing slip is answered with the suite that was meant, else with all there are."""
    write(tmp_path)
    with pytest.raises(UsageMistake) as close:
        read_suite(tmp_path, "triag")
    assert str(close.value) == (
        "suite `triag` has no file `suites/triag.toml`\nhint: did you mean `triage`?"
    )
    with pytest.raises(UsageMistake) as far:
        read_suite(tmp_path, "xxxxxx")
    assert str(far.value) == (
        "suite `xxxxxx` has no file `suites/xxxxxx.toml`\nhint: there are `triage`"
    )


def test_a_registry_without_suites_says_how_to_begin(tmp_path: Path) -> None:
    """The first suite can be had from a command."""
    with pytest.raises(UsageMistake) as refused:
        read_suite(tmp_path, "triage")
    assert str(refused.value) == (
        "suite `triage` has no file `suites/triage.toml`\n"
        "hint: write `suites/triage.toml`, or run `lockgate init` for a first suite"
    )


@pytest.mark.parametrize("name", ["../triage", "", "Triage", "a/b", "\x1b[2J"])
def test_a_name_that_is_no_name_reaches_no_file(tmp_path: Path, name: str) -> None:
    """Paths and control characters are refused before anything is opened."""
    with pytest.raises(UsageMistake) as refused:
        read_suite(tmp_path, name)
    assert "cannot name a suite" in refused.value.what
    assert "\x1b" not in str(refused.value)
    assert refused.value.hint == (
        "a name needs 1 to 40 of a-z, 0-9 and `-`, with a letter or digit at both ends"
    )


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (
            HEAD.replace("system", "systm") + EXACT,
            None,
            [
                "suites/triage.toml line 1: `[suite]` has no `system`; write the system's name: "
                "1 to 40 of a-z, 0-9 and `-`, no `-` at the ends",
                "suites/triage.toml line 2: `systm` is not a key of `[suite]`; "
                "did you mean `system`?",
            ],
        ),
        (
            EXACT,
            "suites/triage.toml has no `[suite]`",
            "write `[suite]`, and below it `system = ...`",
        ),
        (
            "suite = 3\n" + EXACT,
            "suites/triage.toml has a `suite` that is not a table",
            "write `[suite]`, and below it `system = ...`",
        ),
        (
            HEAD.replace("support-desk", "Support Desk") + EXACT,
            'suites/triage.toml line 2: `system` is `"Support Desk"`',
            "write the system's name: 1 to 40 of a-z, 0-9 and `-`, no `-` at the ends",
        ),
        (
            HEAD + "repeats = 0\n" + EXACT,
            "suites/triage.toml line 4: `repeats` is `0`",
            "write a whole number from 1 to 100",
        ),
        (
            HEAD + "repeats = true\n" + EXACT,
            "suites/triage.toml line 4: `repeats` is `true`",
            "write a whole number from 1 to 100",
        ),
        (
            HEAD + "seed = 1.5\n" + EXACT,
            "suites/triage.toml line 4: `seed` is `1.5`",
            "write a whole number from 0 to 2147483647",
        ),
        (
            HEAD + 'timeout_s = "10"\n' + EXACT,
            'suites/triage.toml line 4: `timeout_s` is `"10"`',
            "write seconds above 0, at most 3600, for example `10.0`",
        ),
        (
            HEAD + "timeout_s = inf\n" + EXACT,
            "suites/triage.toml line 4: `timeout_s` is `inf`",
            "write seconds above 0, at most 3600, for example `10.0`",
        ),
        (
            HEAD + "timeout_s = nan\n" + EXACT,
            "suites/triage.toml line 4: `timeout_s` is `nan`",
            "write seconds above 0, at most 3600, for example `10.0`",
        ),
        (
            HEAD + 'cases = "../cases.jsonl"\n' + EXACT,
            'suites/triage.toml line 4: `cases` is `"../cases.jsonl"`',
            "write a path below `suites/`, for example `triage.jsonl`",
        ),
        (
            SUITE + "[scorer]\n",
            "suites/triage.toml line 7: `scorer` is not a part of a suite file",
            "did you mean `scorers`?",
        ),
        (
            HEAD,
            "suites/triage.toml has no scorer",
            'write `[[scorers]]` with `metric = "accuracy"` and `kind = "exact"`',
        ),
        (
            HEAD + EXACT.replace("[[scorers]]", "[scorers]"),
            "suites/triage.toml line 4 has no scorer",
            'write `[[scorers]]` with `metric = "accuracy"` and `kind = "exact"`',
        ),
        (
            "scorers = [3]\n" + HEAD,
            "suites/triage.toml line 1: `3` is not a scorer",
            "write every scorer as a table under `[[scorers]]`",
        ),
        (
            HEAD + '[[scorers]]\nmetric = "m"\n',
            "suites/triage.toml line 4: a scorer has no `kind`",
            "allowed are `exact`, `includes`, `regex`, `number`, `json_fields`, `json_schema`, "
            "`set_f1`, `recall_at_k`, `mrr`, `python`",
        ),
        (
            scorer("exakt"),
            'suites/triage.toml line 6: `kind` is `"exakt"`',
            "did you mean `exact`?",
        ),
        (
            HEAD + '[[scorers]]\nkind = "exact"\n',
            "suites/triage.toml line 4: the `exact` scorer has no `metric`",
            "write 1 to 40 of a-z, 0-9, `_`, `@` and `-`, for example `accuracy`",
        ),
        (
            HEAD + EXACT.replace("accuracy", "Accuracy!"),
            'suites/triage.toml line 5: `metric` is `"Accuracy!"`',
            "write 1 to 40 of a-z, 0-9, `_`, `@` and `-`, for example `accuracy`",
        ),
        (
            SUITE + EXACT,
            "suites/triage.toml line 8: metric `accuracy` stands in suites/triage.toml line 5 "
            "already",
            "give every scorer a metric of its own",
        ),
        (
            SUITE + 'feild = "queue"\n',
            "suites/triage.toml line 7: `feild` is not a key of the `exact` scorer",
            "did you mean `field`?",
        ),
        (
            SUITE + "tolerance = 1\n",
            "suites/triage.toml line 7: `tolerance` is not a key of the `exact` scorer",
            "allowed are `metric`, `kind`, `field`, `expected`, `ignore_case`, `strip`",
        ),
        (
            SUITE + 'field = "a..b"\n',
            'suites/triage.toml line 7: `field` is `"a..b"`',
            "write a dotted path into the output, for example `answer.queue`",
        ),
        (
            scorer("recall_at_k"),
            "suites/triage.toml line 4: the `recall_at_k` scorer has no `k`",
            "write a whole number from 1 to 1000",
        ),
        (
            scorer("mrr", "k = 0"),
            "suites/triage.toml line 7: `k` is `0`",
            "write a whole number from 1 to 1000",
        ),
        (
            scorer("number", "tolerance = -1"),
            "suites/triage.toml line 7: `tolerance` is `-1`",
            "write a number from 0, in units of the number itself",
        ),
        (
            scorer("json_fields", "fields = []"),
            "suites/triage.toml line 7: `fields` is `[]`",
            'write a list of dotted paths, for example ["order_id", "date"]',
        ),
        (
            scorer("regex", "pattern = '('"),
            "suites/triage.toml line 7: `pattern` is `(`, which is not a regular expression: "
            "missing ), unterminated subpattern at position 0",
            "write it in single quotes: '[0-9]+'",
        ),
        (
            "[suite\n",
            "suites/triage.toml line 1 column 7: expected ']' at the end of a table declaration, "
            "in `[suite`",
            "TOML wants `[section]` or `key = value`, and text in double quotes",
        ),
    ],
)
def test_a_mistake_in_the_suite_file_names_line_key_and_value(
    tmp_path: Path, text: str, what: str | None, hint: str | list[str]
) -> None:
    """And says what to write instead."""
    found = mistake(tmp_path, text, b'{"id": "t", "input": 1, "expected": 1}')
    if isinstance(hint, list):
        assert found.what == "suite `triage` has 2 mistakes"
        assert list(found.problems) == hint
        assert found.hint == "correct every line named above, then run the command again"
    else:
        assert found.what == what
        assert found.hint == hint
        assert found.problems == ()


@pytest.mark.parametrize(
    "metric", ["p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "tokens_in", "tokens_out"]
)
def test_the_name_of_a_built_in_metric_is_refused(tmp_path: Path, metric: str) -> None:
    """Otherwise a rule about it could mean two things."""
    found = mistake(tmp_path, HEAD + EXACT.replace("accuracy", metric))
    assert str(found) == (
        f"suites/triage.toml line 5: metric `{metric}` is measured in every run already\n"
        "hint: choose another name; rules can use this one without a scorer"
    )


@pytest.mark.parametrize("metric", ["quality_ms", "tokens_saved", "tokens"])
def test_the_name_of_a_score_promises_no_unit(tmp_path: Path, metric: str) -> None:
    """Otherwise a fraction would be read as milliseconds or as a count."""
    found = mistake(tmp_path, HEAD + EXACT.replace("accuracy", metric))
    assert str(found) == (
        f"suites/triage.toml line 5: metric `{metric}` reads like milliseconds or tokens, and a "
        "scorer gives a fraction from 0 to 1\n"
        "hint: choose a name that neither ends in `_ms` nor begins with `tokens`"
    )


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Those of the suite file, of every scorer and of every case, in one go."""
    text = HEAD + "repeats = 0\n" + scorer("recall_at_k", "k = 0").removeprefix(HEAD) + EXACT
    found = mistake(tmp_path, text, b'{"id": 3, "input": 1}\n{"id": "t", "expected": 1}\n')
    assert str(found) == (
        "suite `triage` has 4 mistakes\n"
        "  - suites/triage.toml line 4: `repeats` is `0`; write a whole number from 1 to 100\n"
        "  - suites/triage.toml line 8: `k` is `0`; write a whole number from 1 to 1000\n"
        f"  - suites/triage.jsonl line 1: `id` is `3`; {ID_HINT}\n"
        "  - suites/triage.jsonl line 2: case `t`: `input` is missing; "
        "`input` is what the version is asked\n"
        "hint: correct every line named above, then run the command again"
    )


def test_more_mistakes_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    """The first hundred are told, the rest is a number."""
    found = mistake(tmp_path, SUITE, b"nope\n" * 250)
    assert found.what == "suite `triage` has 250 mistakes"
    assert len(found.problems) == 101
    assert found.problems[-1] == "and 150 more"


# schemas and python files


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (
            '{type = "objekt"}',
            "not a JSON Schema: 'objekt' is not valid under any of the given schemas at `$.type`",
        ),
        (
            '{"$ref" = "https://example.org/x.json"}',
            "`$ref` is `https://example.org/x.json`, which this schema does not have",
        ),
        (
            '{"$ref" = "#/$defs/order"}',
            "`$ref` is `#/$defs/order`, which this schema does not have",
        ),
        (
            "{const = 2026-08-21}",
            "the schema holds something that JSON does not have: "
            "unsupported type: <class 'datetime.date'>",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(tmp_path: Path, schema: str, problem: str) -> None:
    """Also one that would need the network, or a part it does not have."""
    found = mistake(tmp_path, scorer("json_schema", f"schema = {schema}"))
    assert found.what == f"suites/triage.toml line 7: {problem}"
    assert found.hint == "write a JSON Schema that needs no other document"


def test_a_schema_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    """References that begin with `#` stay inside."""
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"items": {"$ref": "#"}}}}
    text = scorer("json_schema", 'schema = "s.json"')
    assert read(tmp_path, text, s__json=json.dumps(schema).encode()).suite.scorers


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            b'{"type":\n "object",}',
            "suites/s.json line 2 column 11: not JSON: "
            "expecting property name enclosed in double quotes",
        ),
        (b"\xff", "suites/s.json: byte 0 is not UTF-8 text"),
        (b'{"minimum": NaN}', "suites/s.json: `NaN` is not a number of JSON"),
        (b"[" * 9000, "suites/s.json: nested too deeply"),
    ],
)
def test_a_schema_file_that_is_no_json_names_the_place(
    tmp_path: Path, data: bytes, what: str
) -> None:
    """Line and column of the schema's own file."""
    found = mistake(tmp_path, scorer("json_schema", 'schema = "s.json"'), s__json=data)
    assert (found.what, found.hint) == (what, "the file is one JSON Schema")


@pytest.mark.parametrize(
    ("source", "what", "hint"),
    [
        (
            b"def gudge(e, o, i): pass",
            "suites/triage.toml line 8: suites/s.py has no function `judge`",
            "did you mean `gudge`?",
        ),
        (
            b"class A:\n    def judge(self): pass",
            "suites/triage.toml line 8: suites/s.py has no function `judge`",
            "write `def judge(expected, output, input):` there, outside any class",
        ),
        (
            b"def judge(e, o, i) pass",
            "suites/s.py line 1: not Python: expected ':'",
            "correct that line",
        ),
        (
            None,
            "suites/triage.toml line 7: `file` is `s.py`, which does not exist",
            "write it as `suites/s.py`; paths begin in `suites/`",
        ),
    ],
)
def test_a_python_file_that_cannot_score_is_refused(
    tmp_path: Path, source: bytes | None, what: str, hint: str
) -> None:
    """Found when the suite is read, not when the first run has begun."""
    files = {} if source is None else {"s__py": source}
    found = mistake(tmp_path, scorer("python", 'file = "s.py"', 'function = "judge"'), **files)
    assert (found.what, found.hint) == (what, hint)


# what is wrong with the cases

LONE = '{"id": "t", "input": "\\ud800"}'


@pytest.mark.parametrize(
    ("line", "what", "hint"),
    [
        (
            b'{"input": 1}',
            "line 2: `id` is missing",
            ID_HINT,
        ),
        (b'{"id": "a b", "input": 1}', 'line 2: `id` is `"a b"`', ID_HINT),
        (b'{"id": "", "input": 1}', 'line 2: `id` is `""`', ID_HINT),
        (b'{"id": 7, "input": 1}', "line 2: `id` is `7`", ID_HINT),
        (b'{"id": "a\\u202eb", "input": 1}', 'line 2: `id` is `"a\\u202eb"`', ID_HINT),
        (b'{"id": "e\\u0301", "input": 1}', 'line 2: `id` is `"e\u0301"`', ID_HINT),
        (
            b'{"id": "' + b"x" * 129 + b'", "input": 1}',
            'line 2: `id` is `"' + "x" * 58 + "\u2026`",
            ID_HINT,
        ),
        (
            b'{"id": "t"}',
            "line 2: case `t`: `input` is missing",
            "`input` is what the version is asked",
        ),
        (
            b'{"id": "t", "input": 1, "wieght": 2}',
            "line 2: case `t`: `wieght` is not a key of a case",
            "did you mean `weight`?",
        ),
        (
            b'{"id": "t", "input": 1, "tags": "short"}',
            'line 2: case `t`: `tags` is `"short"`',
            'tags are a list of different texts without spaces: ["refunds", "long"]',
        ),
        (
            b'{"id": "t", "input": 1, "tags": ["a", "a"]}',
            'line 2: case `t`: `tags` is `["a", "a"]`',
            'tags are a list of different texts without spaces: ["refunds", "long"]',
        ),
        (
            b'{"id": "t", "input": 1, "weight": 0}',
            "line 2: case `t`: `weight` is `0`",
            "a weight is a number above 0, at most 1000000; left out it is 1",
        ),
        (
            b'{"id": "t", "input": 1, "weight": true}',
            "line 2: case `t`: `weight` is `true`",
            "a weight is a number above 0, at most 1000000; left out it is 1",
        ),
        (
            b'{"id": "t-001", "input": 1, "expected": 1}',
            "line 2: case `t-001` stands in line 1 already",
            "give every case an id of its own",
        ),
        (
            b'{"id": "t", "input": 1 "expected": 1}',
            "line 2 column 24: not JSON: expecting ',' delimiter, at `\"expected\": 1}`",
            ONE_OBJECT,
        ),
        (
            b'{"id": "t", "input": 1} {"id": "u"}',
            'line 2 column 25: not JSON: extra data, at `{"id": "u"}`',
            ONE_OBJECT,
        ),
        (
            b'{"id": "t", "input": 1',
            "line 2 column 23: not JSON: expecting ',' delimiter, at the end of the line",
            ONE_OBJECT,
        ),
        (
            b"<<<<<<< HEAD",
            "line 2 column 1: not JSON: expecting value, at `<<<<<<< HEAD`",
            "resolve the merge conflict",
        ),
        (b'["t", 1]', 'line 2: `["t", 1]` is not an object', ONE_OBJECT),
        (b"null", "line 2: `null` is not an object", ONE_OBJECT),
        (b'{"id": "t", "input": NaN}', "line 2: `NaN` is not a number of JSON", ALIKE),
        (b'{"id": "t", "input": -Infinity}', "line 2: `-Infinity` is not a number of JSON", ALIKE),
        (b'{"id": "t", "input": 1e999}', "line 2: `1e999` is beyond the numbers of JSON", ALIKE),
        (
            b'{"id": "t", "input": 9007199254740992}',
            "line 2: `9007199254740992` is beyond the whole numbers of JSON, \u00b1(2^53 - 1)",
            ALIKE,
        ),
        (
            b'{"id": "t", "input": {"a": 1, "a": 2}}',
            "line 2: key `a` stands twice in one object",
            ALIKE,
        ),
        (LONE.encode(), "line 2: half of a surrogate pair, which is no character", ALIKE),
        (
            b'{"id": "t", "input": ' + b"[" * 64 + b"]" * 64 + b"}",
            "line 2: nested deeper than 64 levels",
            "use a flatter shape",
        ),
        (b"[" * 50_000, "line 2: nested deeper than 64 levels", "use a flatter shape"),
        (
            b'{"id": "t", "input": "\xe9"}',
            "line 2: byte 69 of the file, 0xe9, is not UTF-8 text",
            "save the file as UTF-8",
        ),
        (
            b'{"id": "t", "input": "\x00"}',
            "line 2: NUL at byte 69 of the file",
            "remove it; inside a text JSON writes it as `\\u0000`",
        ),
        (
            b'{"id": "t", "input": 1}',
            "line 2: case `t`: `expected` is missing, which `accuracy` needs",
            "correct the case, or the scorer's `expected` path",
        ),
    ],
)
def test_a_wrong_line_is_named_with_what_stands_there(
    tmp_path: Path, line: bytes, what: str, hint: str
) -> None:
    """Line, and column or byte where that helps, and what is allowed."""
    found = mistake(tmp_path, SUITE, CASE + line + b"\n")
    assert (found.what, found.hint) == (f"suites/triage.jsonl {what}", hint)


@pytest.mark.parametrize("value", ["9007199254740991", "-9007199254740991", '"\\ud83d\\ude00"'])
def test_the_edges_of_json_are_inside(tmp_path: Path, value: str) -> None:
    """The largest safe whole number and an escaped surrogate pair are values like others."""
    line = f'{{"id": "t", "input": {value}, "expected": null}}'
    assert read(tmp_path, SUITE, line.encode()).suite.cases[0].input == json.loads(value)


def test_nesting_up_to_the_limit_is_read(tmp_path: Path) -> None:
    """A case may be 64 levels deep."""
    line = b'{"id": "t", "expected": 1, "input": ' + b"[" * 63 + b"]" * 63 + b"}"
    assert len(read(tmp_path, SUITE, line).suite.cases) == 1


def test_a_case_that_a_scorer_cannot_use_is_told_with_its_line(tmp_path: Path) -> None:
    """A path that leads nowhere would score 0 for ever."""
    found = mistake(
        tmp_path,
        SUITE + 'expected = "queue"\n',
        b'{"id": "t", "input": 1, "expected": {"queu": "billing"}}',
    )
    assert str(found) == (
        "suites/triage.jsonl line 1: case `t`: `expected.queue` is missing, which `accuracy` needs"
        "\nhint: correct the case, or the scorer's `expected` path"
    )


@pytest.mark.parametrize("cases", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_suite_without_a_case_is_refused(tmp_path: Path, cases: bytes) -> None:
    """Nothing could be measured with it."""
    found = mistake(tmp_path, SUITE, cases)
    assert str(found) == f"suites/triage.jsonl has no case\nhint: {ONE_OBJECT}"


def test_cases_that_are_not_there_are_told_with_both_places(tmp_path: Path) -> None:
    """The file that is missing and the line that names it."""
    found = mistake(tmp_path, HEAD + 'cases = "other.jsonl"\n' + EXACT)
    assert str(found) == (
        "suites/other.jsonl does not exist\n"
        "hint: write one case per line there, or correct `cases` in suites/triage.toml line 4"
    )


def test_a_line_longer_than_any_case_is_skipped_and_told(tmp_path: Path) -> None:
    """It is never held in memory whole, and the lines after it are still read."""
    long = b'{"id": "t", "input": "' + b"x" * (20 << 20) + b'"}\n'
    found = mistake(tmp_path, SUITE, CASE + long + b"no\x00\n")
    assert found.problems[0] == (
        "suites/triage.jsonl line 2: longer than 8 MiB; keep long material out of the cases"
    )
    nul = len(CASE) + len(long) + 2
    assert found.problems[1].startswith(
        f"suites/triage.jsonl line 3: NUL at byte {nul} of the file"
    )


def test_bytes_are_counted_from_the_very_first(tmp_path: Path) -> None:
    """A byte order mark is nothing, but its three bytes are there."""
    found = mistake(tmp_path, SUITE, b'\xef\xbb\xbf{"id": "\xff"}')
    assert found.what == "suites/triage.jsonl line 1: byte 11 of the file, 0xff, is not UTF-8 text"


# files that are not what they seem


@pytest.mark.parametrize("name", ["triage.toml", "triage.jsonl", "scorers.py"])
def test_a_link_that_leads_out_of_the_registry_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever it leads to is not read."""
    outside = tmp_path / "outside"
    outside.write_bytes(CASE)
    text = scorer("python", 'file = "scorers.py"', 'function = "judge"')
    root = tmp_path / "registry"
    root.mkdir()
    write(root, text, scorers__py=b"def judge(e, o, i): return 1\n")
    (root / "suites" / name).unlink()
    (root / "suites" / name).symlink_to(outside)
    with pytest.raises(UsageMistake) as refused:
        read_suite(root, "triage")
    assert str(refused.value) == (
        f"suites/{name} is a link that does not stay in the registry's folder\n"
        "hint: copy the file to that place instead"
    )


def test_a_link_that_stays_in_the_registry_is_followed(tmp_path: Path) -> None:
    """Cases may be shared inside one registry, also where the root itself is a link."""
    root = write(tmp_path)
    (root / "shared.jsonl").write_bytes(CASE)
    (root / "suites" / "triage.jsonl").unlink()
    (root / "suites" / "triage.jsonl").symlink_to("../shared.jsonl")
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    assert len(read_suite(alias, "triage").suite.cases) == 1


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    """A loop ends in a message."""
    root = write(tmp_path)
    (root / "suites" / "triage.jsonl").unlink()
    (root / "suites" / "triage.jsonl").symlink_to("triage.jsonl")
    with pytest.raises(UsageMistake, match="link that does not stay"):
        read_suite(root, "triage")


def test_a_pipe_or_a_folder_is_no_file_with_cases(tmp_path: Path) -> None:
    """Neither is waited for."""
    root = write(tmp_path)
    path = root / "suites" / "triage.jsonl"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageMistake) as pipe:
        read_suite(root, "triage")
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageMistake) as folder:
        read_suite(root, "triage")
    assert str(pipe.value) == str(folder.value)
    assert str(pipe.value) == (
        "suites/triage.jsonl is not an ordinary file\nhint: put a file with cases there"
    )
