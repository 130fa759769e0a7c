"""The shape of `policy.toml`, as pydantic models, and every mistake of form as a sentence.

- What is not known is refused: no key, no word and no number is passed over.
- A sentence gives the key, the value as the file has it, what is allowed, and what was meant.
- A path stays inside the registry's root and out of the registry's own folder.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from lockgate.domain.components import path_problem
from lockgate.domain.metrics import (
    METRIC_PATTERN,
    RESERVED_METRICS,
    is_score,
    reads_like_no_score,
)
from lockgate.domain.policy import (
    DEFAULT_DEPLOY_TIMEOUT,
    DEFAULT_KEEP,
    DEFAULT_MAX_AGE,
    DEFAULT_MAX_ERRORS,
    DEFAULT_REHEARSAL_CADENCE,
    DEFAULT_REVIEW_CADENCE,
    DEFAULT_STOP_AFTER_ERRORS,
    ON_INCONCLUSIVE,
    STAKES,
)
from lockgate.domain.times import (
    DURATION_RULE,
    WEEK_TIME_RULE,
    WEEKDAYS,
    parse_duration,
    parse_week_time,
)
from lockgate.domain.version import LABEL_PATTERN, person_problem, system_name_problem
from lockgate.shown import shown
from lockgate.workspace.tomlfile import nearest

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_REGISTRY_FOLDER = ".lockgate"


def form_problems(raw: Mapping[str, Any]) -> tuple[PolicyTable | None, list[str]]:
    """Check each value of a policy for itself.

    Returns:
        The tables, or `None` when there are problems; and every problem as a sentence.
    """
    try:
        return PolicyTable.model_validate(raw), []
    except ValidationError as mistakes:
        return None, [_problem(mistake) for mistake in mistakes.errors(include_url=False)]


def listed(words: Iterable[str]) -> str:
    """Write some words as the file would have them."""
    return ", ".join(f'"{shown(word, limit=60)}"' for word in words)


def meant(word: str, known: Iterable[str]) -> str:
    """Say what a misspelt word was probably meant to be; nothing when no known word is near."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ""


def _choice(*words: str) -> BeforeValidator:
    def check(value: object) -> object:
        if value in words:
            return value
        raise ValueError(f"needs one of {listed(words)}{meant(str(value), words)}")

    return BeforeValidator(check)


def _checked(problem: Callable[[str], str | None]) -> AfterValidator:
    def check(value: str) -> str:
        found = problem(value)
        if found:
            raise ValueError(found)
        return value

    return AfterValidator(check)


def _duration(value: object) -> timedelta:
    try:
        return parse_duration(value if isinstance(value, str) else "")
    except ValueError as problem:
        too_long = str(problem).partition("` is ")[2] if "too long" in str(problem) else ""
        raise ValueError(too_long or f"needs {DURATION_RULE}") from None


def week_time_problem(value: str) -> str | None:
    """Say why a text is no moment of the week; `None` when it is one."""
    try:
        parse_week_time(value)
    except ValueError:
        day = value[:3]
        return f"needs {WEEK_TIME_RULE}{'' if day in WEEKDAYS else meant(day, WEEKDAYS)}"
    return None


def _zone_problem(value: str) -> str | None:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
        near = nearest(value, known)
        slip = f'; did you mean "{known[near]}"?' if near else ""
        return f'needs a time zone this machine knows, such as "Europe/Berlin"{slip}'
    return None


def _environment_name_problem(value: str) -> str | None:
    if LABEL_PATTERN.fullmatch(value):
        return "reads like a version's label; needs another name, such as `production`"
    return system_name_problem(value)


def metric_problem(value: str) -> str | None:
    """Say why a text cannot name a metric; `None` when it can."""
    if METRIC_PATTERN.fullmatch(value) is None:
        return 'needs the name of a metric, such as "accuracy" or "p95_ms"'
    if is_score(value) and reads_like_no_score(value):
        return f"is measured by nothing; every run has {listed(RESERVED_METRICS)}"
    return None


def _path_problem(value: str) -> str | None:
    plain = _plain_path(value)
    problem = path_problem(plain)
    if problem is None and plain.split("/")[0] == _REGISTRY_FOLDER:
        problem = "lies in the registry's own folder"
    return problem and f"{problem}; needs a path inside the registry's root"


def _argument_problem(value: str) -> str | None:
    return "has a NUL character" if "\0" in value else None


def _with_program(words: list[str]) -> list[str]:
    if not words or not words[0].strip():
        raise ValueError("needs a program as its first word")
    return words


_Name = Annotated[str, _checked(system_name_problem)]
_EnvironmentName = Annotated[str, _checked(_environment_name_problem)]
_Person = Annotated[str, _checked(person_problem)]
_Duration = Annotated[timedelta, BeforeValidator(_duration)]
_WeekTime = Annotated[str, _checked(week_time_problem)]
_RelativePath = Annotated[str, _checked(_path_problem)]
_Command = Annotated[
    list[Annotated[str, _checked(_argument_problem)]], AfterValidator(_with_program)
]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class RuleTable(_Table):
    """One entry of `rules`: a metric of a suite and its limits."""

    suite: _Name = Field(description="the name of a suite")
    metric: Annotated[str, _checked(metric_problem)] = Field(
        description='the name of a metric, such as "accuracy" or "p95_ms"'
    )
    min: _Number | None = Field(None, ge=0, description="a number from 0")
    max: _Number | None = Field(None, ge=0, description="a number from 0")
    max_drop: _Number | None = Field(
        None, ge=0, le=1, description="a fraction from 0 to 1, such as 0.05"
    )
    confidence: _Number | None = Field(
        None, gt=0.5, lt=1, description="a number above 0.5 and below 1, such as 0.95"
    )
    on_inconclusive: Annotated[str, _choice(*ON_INCONCLUSIVE)] = "block"


class SystemTable(_Table):
    """`[environments.NAME.systems.SYSTEM]`: what is asked of one system."""

    rules: list[RuleTable] = Field([], description="a list of rules")
    max_errors: int = Field(
        DEFAULT_MAX_ERRORS, ge=0, le=1_000_000, description="a whole number from 0"
    )
    stop_after_errors: int = Field(
        DEFAULT_STOP_AFTER_ERRORS, ge=1, le=1_000_000, description="a whole number from 1"
    )


class FreezeTable(_Table):
    """One entry of `freeze`: a weekly window without promotions."""

    start: _WeekTime = Field(alias="from", description=WEEK_TIME_RULE)
    until: _WeekTime = Field(description=WEEK_TIME_RULE)
    tz: Annotated[str, _checked(_zone_problem)] = Field(
        "UTC", description='a time zone, such as "Europe/Berlin"'
    )
    reason: str = Field(
        min_length=1, max_length=200, description="a text that says why, of 1 to 200 characters"
    )


class EnvironmentTable(_Table):
    """`[environments.NAME]`: each description completes "needs ..."."""

    stakes: Annotated[str, _choice(*STAKES)] = Field(description=f"one of {listed(STAKES)}")
    rehearsal: bool = Field(False, description="true or false")
    protects: str | None = Field(None, description="the name of an environment")
    requires: list[str] = Field([], description="a list of environments")
    signers: _RelativePath | None = Field(None, description="a path inside the registry's root")
    reviewers: list[_Person] = Field([], description="a list of names")
    approvals: int | None = Field(None, ge=0, le=99, description="a whole number from 0 to 99")
    accept_claimed: bool = Field(False, description="true or false")
    max_age: _Duration = DEFAULT_MAX_AGE
    freeze: list[FreezeTable] = Field([], description="a list of windows")
    publish: _RelativePath | None = Field(None, description="a path inside the registry's root")
    deploy: _Command | None = Field(None, description='a list of words, such as ["./deploy.sh"]')
    deploy_timeout: _Duration = DEFAULT_DEPLOY_TIMEOUT
    observe: _Command | None = Field(None, description='a list of words, such as ["./observe.sh"]')
    systems: dict[_Name, SystemTable] = Field({}, description="a table for each system")


class ExperimentsTable(_Table):
    """`[experiments]`: how long their contents are kept."""

    keep: _Duration = DEFAULT_KEEP


class CadenceTable(_Table):
    """`[cadence]`: how often rehearsals and reviews are due."""

    rehearsal: _Duration = DEFAULT_REHEARSAL_CADENCE
    review: _Duration = DEFAULT_REVIEW_CADENCE


class PolicyTable(_Table):
    """The whole of `policy.toml`."""

    environments: dict[_EnvironmentName, EnvironmentTable] = Field(
        min_length=1, description="at least one table, such as [environments.production]"
    )
    experiments: ExperimentsTable = Field(ExperimentsTable(), description="a table")
    cadence: CadenceTable = Field(CadenceTable(), description="a table")


def _problem(mistake: ErrorDetails) -> str:
    place, kind = mistake["loc"], mistake["type"]
    is_name = place[-1] == "[key]"
    path = key_path(place[:-1] if is_name else place)
    model, description = _field_at(place)
    if kind == "missing":
        return f"`{path}` is missing: needs {description}"
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        return f"`{path}` is not known here: known are {', '.join(known)}" + meant(
            str(place[-1]), known
        )
    own = mistake.get("ctx", {}).get("error")
    is_entry = isinstance(place[-1], int)
    needs = f"cannot stand in {description}" if is_entry else f"needs {description or 'a table'}"
    allowed = str(own) if isinstance(own, ValueError) else needs
    return (
        f"the name `{path}` {allowed}"
        if is_name
        else f"`{path}` is {toml_value(mistake['input'])}: {allowed}"
    )


def key_path(place: Sequence[int | str]) -> str:
    """Write where a value stands: `environments.production.freeze[0].from`."""
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else f'"{part}"'
            path += f".{key}" if path else key
    return shown(path, limit=200)


def toml_value(value: object) -> str:
    """Write a value as the file has it, in short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = shown(value, limit=60)
    return f'`"{text}"`' if isinstance(value, str) else f"`{text}`"


def _field_at(place: Sequence[int | str]) -> tuple[type[BaseModel], str]:
    """Find the innermost table of a place, and what its field needs."""
    model: type[BaseModel] = PolicyTable
    description, inside_collection = "", False
    for part in place:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if inside_collection or part not in fields:
            inside_collection = False
            continue
        annotation = fields[str(part)].annotation
        description = fields[str(part)].description or ""
        inside_collection = get_origin(annotation) in (dict, list)
        inner = [part for part in (annotation, *get_args(annotation)) if _is_model(part)]
        model = inner[0] if inner else model
    return model, description


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _plain_path(path: str) -> str:
    return path.removeprefix("./").rstrip("/") or path


def inside(path: object) -> str | None:
    """Return a path as it is stored, or `None` when it is none or leads out of the root."""
    if not isinstance(path, str) or _path_problem(path):
        return None
    return _plain_path(path)
