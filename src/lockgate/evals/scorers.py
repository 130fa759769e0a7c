"""Scorers: what each kind means, and scoring one output for every metric of a suite.

- A score is a fraction from 0 to 1; an output that has not the expected shape scores 0.
- Patterns, schemas and python scorers run in a process of their own, with a time limit.
- Only a scorer that breaks (raises, hangs, gives no fraction) makes the case fail.

kind          1.0 when                                          options
exact         output and expected are equal                     ignore_case, strip (text inside)
includes      every expected text stands in the output text     ignore_case
regex         the pattern is found in the output text           pattern (else expected), full
number        the output is that number, within a tolerance     tolerance, relative
json_fields   (share of) the named fields are equal             fields (else all expected ones)
json_schema   the output is valid; `format` is not checked      schema
set_f1        (F1 of) both lists hold the same things           -
recall_at_k   (share of) expected things among the first k      k
mrr           (1/place of) the first expected thing             k (else any place)
python        (what) the function gives                         file, function
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lockgate.canonical import digest_bytes
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.errors import InfrastructureFailed, IntegrityBroken
from lockgate.evals.judges import JUDGES, MISSING, as_number, at_path, from_text
from lockgate.evals.scorer_process import ScorerBroke, ScorerProcess
from lockgate.ports import CaseFailed
from lockgate.shown import fitted

CHILD_KINDS = frozenset({"regex", "json_schema", "python"})
"""Kinds whose running time nobody can bound beforehand."""
MAX_PATTERN_TEXT = 100_000
"""The longest output, in characters, that a pattern is tried on; a longer one scores 0."""


class Scoring:
    """Gives every metric of a suite for one output after the other; a context manager.

    May be used from several threads; calls that need the scorer process then take turns.
    """

    def __init__(self, suite: Suite, scorer_files: Mapping[str, bytes], folder: Path) -> None:
        """Check that the scorer files are those of the suite.

        Args:
            suite: Its scorers must have been checked when the suite was read.
            scorer_files: Path to bytes, for every path in `suite.files`.
            folder: An existing folder for temporary files; nothing of it stays behind.

        Raises:
            IntegrityBroken: A file is missing or its bytes are not those of the suite.
        """
        _check_files(suite, scorer_files)
        self._suite = suite
        self._files = scorer_files
        self._parent_folder = folder
        self._own_folder: Path | None = None
        self._process: ScorerProcess | None = None
        self._scorers: list[tuple[str, Callable[[Case, Any], float]]] = []

    def __enter__(self) -> Self:
        """Start the scorer process when the suite needs one.

        Raises:
            InfrastructureFailed: A scorer file cannot be loaded; nothing is left behind.
        """
        foreign = [spec for spec in self._suite.scorers if spec.kind in CHILD_KINDS]
        if foreign:
            self._start(foreign)
        places = {spec.metric: place for place, spec in enumerate(foreign)}
        self._scorers = [
            (spec.metric, self._scorer(spec, places.get(spec.metric)))
            for spec in self._suite.scorers
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the scorer process and remove the temporary files."""
        self._scorers = []
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)
            self._own_folder = None

    def score(self, case: Case, output: Any) -> dict[str, float]:
        """Return every metric of the suite for one output.

        Args:
            case: A case of the suite.
            output: What the version answered, any JSON value.

        Raises:
            CaseFailed: A scorer raised, hung, or gave something that is no fraction; this is an
                error of the case, never a score.
        """
        if not self._scorers:
            raise RuntimeError("`Scoring` is used outside its `with` block")
        return {metric: scorer(case, output) for metric, scorer in self._scorers}

    def _start(self, foreign: list[ScorerSpec]) -> None:
        own = Path(tempfile.mkdtemp(prefix="scorers-", dir=self._parent_folder)).resolve()
        self._own_folder = own
        for path, data in self._files.items():
            if path in self._suite.files:
                target = own / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        self._process = ScorerProcess(
            [_for_child(spec) for spec in foreign], own, limit_s=self._suite.timeout_s
        )
        try:
            self._process.start()
        except ScorerBroke as broken:
            self.__exit__(None, None, None)
            raise InfrastructureFailed(
                f"the scorers of suite `{self._suite.name}` cannot be loaded: loading {broken}",
                hint="correct the scorer file under `suites/`, then run `lockgate suite`",
            ) from broken

    def _scorer(self, spec: ScorerSpec, place: int | None) -> Callable[[Case, Any], float]:
        if place is not None:
            return self._child_scorer(spec, place)
        judge, field, wanted = JUDGES[spec.kind](spec.options), spec.field, spec.expected

        def score(case: Case, output: Any) -> float:
            target, found = at_path(case.expected, wanted), at_path(output, field, read_text=True)
            return 0.0 if found is MISSING or target is MISSING else judge(target, found)

        return score

    def _child_scorer(self, spec: ScorerSpec, place: int) -> Callable[[Case, Any], float]:
        process = self._process
        assert process is not None

        def score(case: Case, output: Any) -> float:
            found = at_path(output, spec.field, read_text=True)
            request = None if found is MISSING else _request(spec, case, found)
            if request is None:
                return 0.0
            try:
                return process.ask({"scorer": place, **request})
            except ScorerBroke as broken:
                raise CaseFailed(f"scorer `{spec.metric}` {fitted(broken, 500)}") from broken
            except (TypeError, ValueError, RecursionError):
                return 0.0  # the output cannot be written as JSON, so it has not the shape

        return score


def _check_files(suite: Suite, scorer_files: Mapping[str, bytes]) -> None:
    problems = []
    for path, digest in suite.files.items():
        data = scorer_files.get(path)
        if data is None:
            problems.append(f"`{path}` is missing")
        elif digest_bytes(data) != digest:
            problems.append(f"`{path}` has other bytes than the suite names")
    if problems:
        raise IntegrityBroken(
            f"the scorer files of suite `{suite.name}` are not those it was registered with",
            hint="bring `.lockgate/` back from a backup; `lockgate suite` shows what is applied",
            problems=problems,
        )


def _for_child(spec: ScorerSpec) -> dict[str, Any]:
    """Return what the scorer process is told about one scorer when it starts."""
    if spec.kind == "python":
        return {"kind": "python", **{name: spec.options[name] for name in ("file", "function")}}
    if spec.kind == "regex":
        return {"kind": "regex", "full": spec.options.get("full", False)}
    return {"kind": "json_schema", "schema": spec.options["schema"]}


def _request(spec: ScorerSpec, case: Case, found: Any) -> dict[str, Any] | None:
    """Return what to ask the scorer process about one output; `None` when it scores 0 anyway."""
    expected = at_path(case.expected, spec.expected)
    if spec.kind == "regex":
        if not isinstance(found, str) or len(found) > MAX_PATTERN_TEXT:
            return None
        return {"pattern": spec.options.get("pattern", expected), "text": found}
    if spec.kind == "json_schema":
        inside = from_text(found) if isinstance(found, str) else MISSING
        return {"values": [found] if inside is MISSING else [found, inside]}
    return {
        "expected": None if expected is MISSING else expected,
        "output": found,
        "input": case.input,
    }


def pattern_problem(pattern: Any) -> str | None:
    """Say why something is not a pattern, or `None` when it is one."""
    if not isinstance(pattern, str) or not pattern:
        return "needs a regular expression"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        return f"is not a regular expression: {error}"
    except (OverflowError, RecursionError):
        return "is not a regular expression: too large"
    return None


def needs_expected(spec: ScorerSpec) -> bool:
    """Tell whether a scorer can do nothing with a case that has no `expected`."""
    if spec.kind == "regex" and "pattern" in spec.options:
        return False
    return spec.kind in _EXPECTED_CHECKS or spec.expected is not None


def expected_problem(spec: ScorerSpec, case: Case) -> str | None:
    """Say why a case cannot be scored by a scorer, or `None` when it can.

    A wrong `expected` would score 0 for every version there ever is, so it is found when the suite
    is read.
    """
    if not needs_expected(spec):
        return None
    check = _EXPECTED_CHECKS.get(spec.kind)
    wanted = at_path(case.expected, spec.expected)
    if wanted is MISSING:
        return f"`{_expected_name(spec)}` is missing, which `{spec.metric}` needs"
    problem = None if check is None else check(wanted, spec.options)
    if problem is None:
        return None
    return (
        f"`{_expected_name(spec)}` is `{_short(wanted)}`, "
        f"but `{spec.metric}` ({spec.kind}) {problem}"
    )


def _expected_name(spec: ScorerSpec) -> str:
    return "expected" if spec.expected is None else f"expected.{spec.expected}"


def _short(value: Any) -> str:
    try:
        return fitted(json.dumps(value, ensure_ascii=False), 60)
    except (TypeError, ValueError, RecursionError):
        return fitted(repr(value), 60)


def _any_value(_wanted: Any, _options: Mapping[str, Any]) -> str | None:
    return None


def _texts(wanted: Any, _options: Mapping[str, Any]) -> str | None:
    parts = wanted if isinstance(wanted, list) else [wanted]
    if parts and all(isinstance(part, str) and part for part in parts):
        return None
    return "needs a text or a list of texts, none of them empty"


def _pattern(wanted: Any, _options: Mapping[str, Any]) -> str | None:
    return pattern_problem(wanted)


def _finite(wanted: Any, _options: Mapping[str, Any]) -> str | None:
    return "needs a number" if isinstance(wanted, str) or as_number(wanted) is None else None


def _object(wanted: Any, options: Mapping[str, Any]) -> str | None:
    if not isinstance(wanted, dict) or not wanted:
        return "needs an object with at least one key"
    absent = [f for f in options.get("fields") or () if at_path(wanted, f) is MISSING]
    return f"compares {', '.join(f'`{name}`' for name in absent)} too" if absent else None


def _list(wanted: Any, _options: Mapping[str, Any]) -> str | None:
    return None if isinstance(wanted, list) else "needs a list"


def _relevant(wanted: Any, _options: Mapping[str, Any]) -> str | None:
    if wanted and isinstance(wanted, (str, list)):
        return None
    return "needs a text or a list with at least one thing"


_EXPECTED_CHECKS: dict[str, Callable[[Any, Mapping[str, Any]], str | None]] = {
    "exact": _any_value,
    "includes": _texts,
    "regex": _pattern,
    "number": _finite,
    "json_fields": _object,
    "set_f1": _list,
    "recall_at_k": _relevant,
    "mrr": _relevant,
}
