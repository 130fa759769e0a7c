"""The shape of `lockgate.toml`, as pydantic models, and their complaints in plain words.

- `[system]`, `[model]` and `[run]` have to be there.
- Keys are fixed in `[system]`, `[run]` and `[ignore]`; in a component every other key is a setting.
- Where a version runs (endpoint, key, time limit) is never part of it: that is `where.toml`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import ErrorDetails

from lockgate.domain.components import path_problem
from lockgate.domain.version import person_problem, system_name_problem
from lockgate.shown import shown
from lockgate.workspace.globs import pattern_problem
from lockgate.workspace.tomlfile import Mistake, nearest, suggestion

WHERE_KEYS = {
    "endpoint": "endpoint",
    "url": "endpoint",
    "base_url": "endpoint",
    "api_base": "endpoint",
    "host": "endpoint",
    "port": "endpoint",
    "key": "key_variable",
    "api_key": "key_variable",
    "key_variable": "key_variable",
    "api_key_env": "key_variable",
    "token": "key_variable",
    "timeout": "timeout_s",
    "timeout_s": "timeout_s",
    "concurrency": "concurrency",
}
"""Keys that say where a version runs, and what each is called in `where.toml`."""

_TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", re.ASCII)


def _refusing(problem: Any) -> AfterValidator:
    def check(text: str) -> str:
        found = problem(text)
        if found:
            raise ValueError(f"`{shown(text)}` {found}" if text else found)
        return text

    return AfterValidator(check)


def _target_problem(text: str) -> str | None:
    return None if _TARGET.fullmatch(text) else "is not `module:function`"


def _word_problem(text: str) -> str | None:
    if not text.strip():
        return "is empty"
    return "has a NUL character" if "\0" in text else None


def _path_problem(text: str) -> str | None:
    return path_problem(unicodedata.normalize("NFC", text.removeprefix("./")))


_Word = Annotated[str, _refusing(_word_problem)]
_Pattern = Annotated[str, _refusing(pattern_problem)]
_Path = Annotated[str, _refusing(_path_problem)]


class _Fixed(BaseModel):
    """A section whose keys are all known."""

    model_config = ConfigDict(strict=True, extra="forbid")


class _Open(BaseModel):
    """A component: whatever is not named here is a setting."""

    model_config = ConfigDict(strict=True, extra="allow")

    file: _Path | None = None
    files: Annotated[list[_Pattern], Field(min_length=1)] | None = None


class SystemTable(_Fixed):
    """`[system]`: which behaviour this is, and who answers for it."""

    name: Annotated[str, _refusing(system_name_problem)]
    owner: Annotated[str, _refusing(person_problem)] | None = None


class ModelTable(_Open):
    """`[model]`: a name and what pins it."""

    name: _Word
    digest: str | None = None
    revision: _Word | None = None
    floating: _Word | None = None


class PythonRun(_Fixed):
    """`[run]` of a Python function."""

    kind: Literal["python"]
    target: Annotated[str, _refusing(_target_problem)]


class CommandRun(_Fixed):
    """`[run]` of a program that speaks JSON lines."""

    kind: Literal["command"]
    command: Annotated[list[_Word], Field(min_length=1)]


class IgnoreTable(_Fixed):
    """`[ignore]`: files that belong to no component on purpose."""

    files: list[_Pattern]


class SettingsFile(_Fixed):
    """The whole of `lockgate.toml`."""

    system: SystemTable
    model: ModelTable
    run: Annotated[PythonRun | CommandRun, Field(discriminator="kind")]
    prompt: _Open | None = None
    generation: _Open | None = None
    tools: _Open | None = None
    retrieval: _Open | None = None
    code: _Open | None = None
    ignore: IgnoreTable | None = None


SECTIONS = tuple(SettingsFile.model_fields)
_RUNS: dict[str, type[BaseModel]] = {
    "python": PythonRun,
    "command": CommandRun,
}
_KEYS: dict[str, tuple[str, ...]] = {
    "system": tuple(SystemTable.model_fields),
    "ignore": tuple(IgnoreTable.model_fields),
}
_EXAMPLES = {
    "system": '`[system]` with `name = "support-desk"`',
    "system.name": '`name = "support-desk"`',
    "model": "`[model]` with `name` and what pins it: `file`, `digest` or `revision`",
    "model.name": '`name = "smollm2-135m-instruct"`',
    "run": '`[run]` with `kind = "python"` and `target = "assistant:answer"`',
    "run.kind": '`kind = "python"` or `kind = "command"`',
    "run.target": '`target = "assistant:answer"`',
    "run.command": '`command = ["./answer.sh"]`',
    "ignore.files": '`files = ["notes/*.md"]`',
}
_WANTED = {
    "string_type": "wants text in double quotes",
    "list_type": "wants a list of texts",
    "too_short": "is an empty list",
    "model_type": "is a section: write it as `[{section}]`",
    "model_attributes_type": "is a section: write it as `[{section}]`",
    "dict_type": "is a section: write it as `[{section}]`",
}


def mistakes_in(errors: Iterable[ErrorDetails], document: dict[str, Any]) -> list[Mistake]:
    """Turn what pydantic found into words: the key, what is wrong, and what is allowed there."""
    return [_mistake(error, document) for error in errors]


def _mistake(error: ErrorDetails, document: dict[str, Any]) -> Mistake:
    loc = list(error["loc"])
    if loc[:1] == ["run"] and len(loc) > 1 and loc[1] in _RUNS:
        del loc[1]  # the discriminator's value is not a key
    kind = error["type"]
    if kind in ("union_tag_not_found", "missing"):
        return _missing(loc if kind == "missing" else [*loc, "kind"])
    if kind == "extra_forbidden":
        return _unknown(loc, document)
    if kind == "union_tag_invalid":
        word = str(document["run"]["kind"])
        what = f"{place([*loc, 'kind'])}: `{shown(word)}` is not allowed"
        return Mistake(what, suggestion(word, tuple(_RUNS)))
    section = str(loc[0])
    if kind == "value_error":
        what = str(error["ctx"]["error"])
    else:
        what = _WANTED.get(kind, shown(error["msg"]).lower()).format(section=section)
    return Mistake(
        f"{place(loc)}: {what}" if kind == "value_error" else f"{place(loc)} {what}",
        _hint(loc, kind, error["input"]),
    )


def place(loc: Sequence[int | str]) -> str:
    """Name a key as people find it in the file: `[prompt] files, entry 2`."""
    if len(loc) == 1:
        return f"`{shown(loc[0])}`"
    keys = ".".join(shown(part) for part in loc[1:] if isinstance(part, str))
    entries = "".join(f", entry {part + 1}" for part in loc[1:] if isinstance(part, int))
    return f"`[{shown(loc[0])}] {keys}`{entries}"


def _missing(loc: list[int | str]) -> Mistake:
    example = _EXAMPLES.get(".".join(map(str, loc)), f"`{shown(loc[-1])} = ...`")
    if len(loc) == 1:
        return Mistake(f"there is no `[{loc[0]}]` section", f"add {example}")
    return Mistake(f"{place(loc)} is missing", f"add {example}")


def _unknown(loc: list[int | str], document: dict[str, Any]) -> Mistake:
    word = str(loc[-1])
    if len(loc) == 1:
        if isinstance(document.get(word), dict):
            return Mistake(f"unknown section `[{shown(word)}]`", _section_meant(word))
        return Mistake(
            f"`{shown(word)}` stands outside any section",
            f"move it below one of {', '.join(f'`[{name}]`' for name in SECTIONS)}",
        )
    section = str(loc[0])
    what = f"unknown key {place(loc)}"
    if section == "run":
        if word in WHERE_KEYS:
            return where_mistake(section, word, document)
        run = document["run"]
        return Mistake(what, suggestion(word, tuple(_RUNS[run["kind"]].model_fields)))
    return Mistake(what, suggestion(word, _KEYS[section]))


def _section_meant(word: str) -> str:
    close = nearest(word, SECTIONS)
    if close:
        return f"did you mean `[{close}]`?"
    return f"allowed are {', '.join(f'`[{name}]`' for name in SECTIONS)}"


def where_mistake(section: str, word: str, document: dict[str, Any]) -> Mistake:
    """Say that a key tells where a version runs, and which file it belongs in."""
    system = document.get("system")
    name = system.get("name") if isinstance(system, dict) else None
    known = isinstance(name, str) and not system_name_problem(name)
    return Mistake(
        f"`[{section}] {word}` says where the version runs, not what it is",
        f"write `{WHERE_KEYS[word]}` below `[{name if known else 'SYSTEM'}]` in `where.toml` "
        "at the registry's root",
    )


def _hint(loc: list[int | str], kind: str, value: Any) -> str:
    key = ".".join(str(part) for part in loc if isinstance(part, str))
    if kind == "string_type" and not isinstance(value, dict | list):
        quoted = f'"{shown(value)}"'
        return f"write `{quoted if isinstance(loc[-1], int) else f'{loc[-1]} = {quoted}'}`"
    if key in _EXAMPLES:
        return f"write {_EXAMPLES[key]}"
    if key.endswith((".files", ".file")):
        return "name files by their path inside the folder, such as `prompts/*.md`"
    return "correct it, or remove it"
