"""The tables of a suite file, what each key takes, and where in the file a key stands.

- Every kind of scorer has its own keys; a key of another kind is refused, not ignored.
- Every mistake names the line, the key, the value and what to write instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lockgate.domain.components import path_problem
from lockgate.domain.metrics import METRIC_PATTERN
from lockgate.domain.suite import SCORER_KINDS
from lockgate.domain.version import system_name_problem
from lockgate.shown import fitted
from lockgate.workspace.cases import Mistakes
from lockgate.workspace.tomlfile import suggestion

_DOTTED = r"^[^.]+(\.[^.]+)*$"
_HEADER = re.compile(r"\s*\[(\[)?\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY = re.compile(r"\s*([\"']?)([A-Za-z0-9_-]+)\1\s*[=.]")


def _refusing(problem: Any) -> AfterValidator:
    def check(text: str) -> str:
        if problem(text):
            raise ValueError(problem(text))
        return text

    return AfterValidator(check)


_Path = Annotated[str, _refusing(path_problem)]
_Dotted = Annotated[str, Field(pattern=_DOTTED, max_length=256)]
_System = Annotated[str, _refusing(system_name_problem)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Place = Annotated[int, Field(ge=1, le=1000)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class SuiteTable(_Table):
    """What `[suite]` may say."""

    system: _System = Field(
        description="the system's name: 1 to 40 of a-z, 0-9 and `-`, no `-` at the ends"
    )
    description: str = Field("", max_length=2000, description="a text of at most 2000 characters")
    cases: _Path | None = Field(
        None, description="a path below `suites/`, for example `triage.jsonl`"
    )
    repeats: int = Field(1, ge=1, le=100, description="a whole number from 1 to 100")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="a whole number from 0 to 2147483647")
    timeout_s: float = Field(
        60.0, gt=0, le=3600, description="seconds above 0, at most 3600, for example `10.0`"
    )


class ScorerTable(_Table):
    """What every scorer may say."""

    metric: str = Field(
        pattern=f"^{METRIC_PATTERN.pattern}$",
        description="1 to 40 of a-z, 0-9, `_`, `@` and `-`, for example `accuracy`",
    )
    kind: str = Field(description="the kind of scorer")
    field: _Dotted | None = Field(
        None, description="a dotted path into the output, for example `answer.queue`"
    )
    expected: _Dotted | None = Field(
        None, description="a dotted path into the case's `expected`, for example `queue`"
    )

    def options(self) -> dict[str, Any]:
        """Return what the kind needs besides, without what is at its default."""
        common = set(ScorerTable.model_fields)
        return self.model_dump(exclude=common, exclude_defaults=True, by_alias=True)


_Switch = Annotated[bool, Field(description="`true` or `false`")]


class _Exact(ScorerTable):
    ignore_case: _Switch = False
    strip: _Switch = False


class _Includes(ScorerTable):
    ignore_case: _Switch = False


class _Regex(ScorerTable):
    pattern: str | None = Field(
        None, max_length=10_000, description="a regular expression in single quotes"
    )
    full: _Switch = False


class _Number(ScorerTable):
    tolerance: _Amount = Field(0.0, description="a number from 0, in units of the number itself")
    relative: _Amount = Field(0.0, description="a number from 0; 0.01 allows one percent")


class _JsonFields(ScorerTable):
    fields: list[_Dotted] | None = Field(
        None, min_length=1, description='a list of dotted paths, for example ["order_id", "date"]'
    )


class _JsonSchema(ScorerTable):
    schema_: dict[str, Any] | str = Field(
        alias="schema", description="a table, or the path of a JSON file below `suites/`"
    )


class _SetF1(ScorerTable):
    pass


class _RecallAtK(ScorerTable):
    k: _Place = Field(description="a whole number from 1 to 1000")


class _Mrr(ScorerTable):
    k: _Place | None = Field(None, description="a whole number from 1 to 1000")


class _Python(ScorerTable):
    file: _Path = Field(description="the path of a Python file below `suites/`")
    function: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,79}$", description="the name of a function in `file`"
    )


_KINDS: dict[str, type[ScorerTable]] = {
    "exact": _Exact,
    "includes": _Includes,
    "regex": _Regex,
    "number": _Number,
    "json_fields": _JsonFields,
    "json_schema": _JsonSchema,
    "set_f1": _SetF1,
    "recall_at_k": _RecallAtK,
    "mrr": _Mrr,
    "python": _Python,
}


class KeyLines:
    """Tells in which line of a suite file a table or a key stands."""

    def __init__(self, name: str, text: str) -> None:
        """Find the tables and keys by their look; TOML's own reader does not keep their lines."""
        self.name = name
        self._lines: dict[tuple[str, int, str], int] = {}
        table, count = "", -1
        for number, line in enumerate(text.split("\n"), 1):
            header = _HEADER.match(line)
            if header:
                table, _, inner = header[2].partition(".")
                count += bool(header[1]) and table == "scorers" and not inner
                index = max(count, 0) if table == "scorers" else 0
                self._lines.setdefault((table, index, inner.partition(".")[0]), number)
                table = "" if inner else table
            elif table or count < 0:
                key = _KEY.match(line)
                if key:
                    index = max(count, 0) if table == "scorers" else 0
                    self._lines.setdefault((table, index, key[2]), number)

    def place(self, table: str, key: str = "", index: int = 0) -> str:
        """Return `suites/x.toml line 4`, or without the line when it cannot be told."""
        for candidate in ((table, index, key), (table, index, ""), ("", 0, table)):
            if candidate in self._lines:
                return f"{self.name} line {self._lines[candidate]}"
        return self.name


def suite_table(written: Any, lines: KeyLines, mistakes: Mistakes) -> SuiteTable | None:
    """Return `[suite]` checked, or `None` after telling what is wrong with it."""
    if not isinstance(written, dict):
        what = "has no `[suite]`" if written is None else "has a `suite` that is not a table"
        mistakes.add(f"{lines.name} {what}", "write `[suite]`, and below it `system = ...`")
        return None
    try:
        return SuiteTable.model_validate(written)
    except ValidationError as error:
        _tell(error, written, "`[suite]`", SuiteTable, ("suite", 0), lines, mistakes)
        return None


def scorer_table(
    written: Any, index: int, lines: KeyLines, mistakes: Mistakes
) -> ScorerTable | None:
    """Return one `[[scorers]]` table checked, or `None` after telling what is wrong with it."""
    if not isinstance(written, dict):
        mistakes.add(
            f"{lines.place('scorers', '', index)}: `{value_text(written)}` is not a scorer",
            "write every scorer as a table under `[[scorers]]`",
        )
        return None
    kind = written.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        what = f"`kind` is `{value_text(kind)}`" if "kind" in written else "a scorer has no `kind`"
        place = lines.place("scorers", "kind", index)
        mistakes.add(f"{place}: {what}", suggestion(str(kind or ""), SCORER_KINDS))
        common = {key: written[key] for key in ScorerTable.model_fields if key in written}
        _checked(ScorerTable, {**common, "kind": ""}, "a scorer", index, lines, mistakes)
        return None
    return _checked(_KINDS[kind], written, f"the `{kind}` scorer", index, lines, mistakes)


def _checked(
    model: type[ScorerTable],
    written: Mapping[str, Any],
    owner: str,
    index: int,
    lines: KeyLines,
    mistakes: Mistakes,
) -> ScorerTable | None:
    try:
        return model.model_validate(written)
    except ValidationError as error:
        _tell(error, written, owner, model, ("scorers", index), lines, mistakes)
        return None


def value_text(value: Any) -> str:
    """Return a written value as short, safe text, texts in quotes."""
    if isinstance(value, float):
        return repr(value)
    return fitted(json.dumps(value, ensure_ascii=False, default=str), 60)


def _tell(
    error: ValidationError,
    written: Mapping[str, Any],
    owner: str,
    model: type[_Table],
    table: tuple[str, int],
    lines: KeyLines,
    mistakes: Mistakes,
) -> None:
    needs = {field.alias or name: field.description for name, field in model.model_fields.items()}
    told = set()
    for detail in error.errors():
        key = str(detail["loc"][0])
        if key in told:
            continue
        told.add(key)
        place = lines.place(table[0], key, table[1])
        if detail["type"] == "extra_forbidden":
            what = f"`{fitted(key, 40)}` is not a key of {owner}"
            mistakes.add(f"{place}: {what}", suggestion(key, tuple(needs)))
        elif detail["type"] == "missing":
            mistakes.add(f"{place}: {owner} has no `{key}`", f"write {needs[key]}")
        else:
            what = f"`{key}` is `{value_text(written[key])}`"
            mistakes.add(f"{place}: {what}", f"write {needs[key]}")
