"""Read `lockgate.toml`: what the version of one behaviour is made of, in a person's words.

- A model is pinned, or the file says in words why it floats; that reason is part of the version.
- Dates, NaN, infinities and integers beyond 2^53 - 1 have no place in a version.
- What is run is a setting of `code`; where it runs is refused here.
- Every mistake is told at once.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lockgate.canonical import is_digest
from lockgate.domain.components import COMPONENTS, Definition
from lockgate.errors import UsageMistake
from lockgate.shown import shown
from lockgate.workspace.globs import literal
from lockgate.workspace.tomlfile import Mistake, complain, nearest, read_toml

SETTINGS_FILE = "lockgate.toml"
MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32

_DATED = re.compile(r".*[-@_](20\d\d)-?(\d\d)-?(\d\d)", re.DOTALL)
_MOVING = frozenset({"latest", "main", "master", "head", "dev", "nightly", "stable", "current"})
_PINS = ("file", "files", "digest", "revision")
_RESERVED = {"model": frozenset({"name", "floating", *_PINS})}
_FILES = frozenset({"file", "files"})
"""Keys whose values the shape of the file already checks."""


@dataclass(frozen=True, slots=True)
class ComponentSettings:
    """One section of the file: its settings and the patterns that claim its files."""

    settings: Mapping[str, Any]
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What `lockgate.toml` says."""

    system: str
    owner: str | None
    run: Mapping[str, Any]
    """What is run: `kind` and its own keys; also stands in the settings of `code`."""
    components: Mapping[str, ComponentSettings]
    """By name, in reading order; only the sections that are there, and always `code`."""
    ignore: tuple[str, ...] = ()
    """Patterns of files that belong to no component on purpose."""


def read_system_name(root: Path) -> str | None:
    """Return the system a folder's `lockgate.toml` names, without checking the rest.

    Raises:
        UsageMistake: The file is not TOML or cannot be read.
    """
    table = (read_toml(root / SETTINGS_FILE) or {}).get("system")
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else None


def read_settings(root: Path) -> Settings:
    """Return what a folder's `lockgate.toml` says.

    Raises:
        UsageMistake: There is none, or it has mistakes; all of them are named.
    """
    path = root / SETTINGS_FILE
    document = read_toml(path)
    if document is None:
        raise UsageMistake(
            f"there is no `{SETTINGS_FILE}` in {shown(root)}",
            hint="run `lockgate init` in the system's folder to write a first one",
        )
    return settings_from(path, document)


def settings_from(path: Path, document: dict[str, Any]) -> Settings:
    """Return the settings that the tables of a `lockgate.toml` say.

    Args:
        path: Where the tables came from, for the message.
        document: As `tomllib` gives them.

    Raises:
        UsageMistake: There are mistakes; all of them are named.
    """
    from pydantic import ValidationError  # slow to import, and commands that only look need neither

    from lockgate.workspace.tables import SettingsFile, mistakes_in

    mistakes: list[Mistake] = []
    try:
        SettingsFile.model_validate(document)
    except ValidationError as error:
        mistakes += mistakes_in(error.errors(), document)
    mistakes += _beyond_shape(document)
    complain(path, mistakes)
    return _settings(document)


def _settings(document: dict[str, Any]) -> Settings:
    run = dict(document["run"])
    components = {}
    for name in COMPONENTS:
        if name not in document and name != "code":
            continue
        table = dict(document.get(name, {}))
        patterns = list(table.pop("files", ()))
        if "file" in table:
            patterns.append(literal(table.pop("file")))
        if name == "code":
            table["run"] = run
        components[name] = ComponentSettings(table, tuple(patterns))
    return Settings(
        system=document["system"]["name"],
        owner=document["system"].get("owner"),
        run=run,
        components=components,
        ignore=tuple(document.get("ignore", {}).get("files", ())),
    )


def _beyond_shape(document: dict[str, Any]) -> Iterator[Mistake]:
    """Find what the shape of the file cannot say: pins, values without a digest, likely slips."""
    from lockgate.workspace.tables import where_mistake

    for section in COMPONENTS:
        table = document.get(section)
        if not isinstance(table, dict):
            continue
        for key, value in table.items():
            if key in _RESERVED.get(section, _FILES):
                continue
            yield from _value_mistakes(f"[{section}] {shown(key)}", value)
            yield from _key_mistakes(section, key, value)
    model = document.get("model")
    if isinstance(model, dict):
        yield from _pin_mistakes(model)
        for key in ("endpoint", "base_url", "api_base", "api_key", "key_variable"):
            if key in model:
                yield where_mistake("model", key, document)


def _value_mistakes(place: str, value: Any, depth: int = 0) -> Iterator[Mistake]:
    if depth > MAX_DEPTH:
        yield Mistake(
            f"`{place}` nests more than {MAX_DEPTH} levels", "put the value into a file instead"
        )
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _value_mistakes(f"{place}.{shown(key)}", inner, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value, start=1):
            yield from _value_mistakes(f"{place}, entry {index}", inner, depth + 1)
    else:
        problem = _scalar_problem(value)
        if problem:
            yield Mistake(f"`{place}`: {problem[0]}", problem[1])


def _scalar_problem(value: Any) -> tuple[str, str] | None:
    if isinstance(value, bool | str):
        return None
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "an integer beyond 2^53 - 1 is not the same everywhere", "write it in double quotes"
    if isinstance(value, float) and not math.isfinite(value):
        return (
            f"`{value}` is not a number JSON knows",
            "leave the key out, or write a finite number",
        )
    if isinstance(value, int | float):
        return None
    kind = "date" if isinstance(value, date) else "time"
    return f"a {kind} is not a JSON value", f'write it in double quotes: "{value}"'


def _key_mistakes(section: str, key: str, value: Any) -> Iterator[Mistake]:
    if not key or shown(key) != key or unicodedata.normalize("NFC", key) != key:
        yield Mistake(
            f"`[{section}] {shown(key)}`: the name is empty or has characters one cannot see",
            "name settings with visible characters in Unicode normal form C",
        )
    if section == "code" and key == "run":
        yield Mistake("`[code] run` is taken", "what is run stands in the section `[run]`")
    meant = nearest(key, ("files",))
    if meant and isinstance(value, list) and any(map(_looks_like_a_file, value)):
        yield Mistake(f"`[{section}] {key}` looks like a list of files", f"did you mean `{meant}`?")


def _looks_like_a_file(entry: Any) -> bool:
    return (
        isinstance(entry, str) and re.fullmatch(r"[^\s]*[*/][^\s]*|\S+\.\w{1,8}", entry) is not None
    )


def _pin_mistakes(model: dict[str, Any]) -> Iterator[Mistake]:
    name = shown(model.get("name", "?"))
    pins = [key for key in _PINS if key in model]
    if "floating" in model:
        if pins:
            yield Mistake(
                f"model `{name}` is pinned by `{pins[0]}` and says that it floats",
                "remove `floating`, or the pin",
            )
        return
    digest = model.get("digest")
    if isinstance(digest, str) and not is_digest(digest.removeprefix("sha256:")):
        yield Mistake(
            f"`[model] digest`: `{shown(digest)}` is not a SHA-256",
            'write `digest = "sha256:<64 hexadecimal digits>"`, as `sha256sum` prints them',
        )
    elif isinstance(digest, str) and not digest.startswith("sha256:"):
        yield Mistake(
            "`[model] digest` does not say which hash it is", f'write `digest = "sha256:{digest}"`'
        )
    revision = model.get("revision")
    if isinstance(revision, str) and revision.lower() in _MOVING:
        yield Mistake(
            f"model `{name}` floats: revision `{shown(revision)}` moves",
            "write the commit or the date that it stands for today",
        )
    if not pins and not _is_dated(str(model.get("name", ""))):
        yield Mistake(
            f"model `{name}` floats: nothing says which weights answer",
            "pin it in `[model]` with `file`, `digest` or `revision`, or a name that ends in a "
            'dated snapshot; or accept it with `floating = "the reason"`',
        )


def _is_dated(name: str) -> bool:
    found = _DATED.fullmatch(name)
    if not found:
        return False
    try:
        date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return False
    return True


def settings_text(system: str, owner: str | None, definition: Definition) -> str:
    """Write the `lockgate.toml` of a definition; reading it beside the files gives the same one.

    Args:
        system: The system's name.
        owner: Left out when `None`.
        definition: Its files are listed one by one, because globs are not part of a version.
    """
    import tomli_w

    document: dict[str, Any] = {"system": {"name": system}}
    if owner is not None:
        document["system"]["owner"] = owner
    for name in definition.ordered():
        part = definition.components[name]
        table = {
            key: value for key, value in part.settings.items() if (name, key) != ("code", "run")
        }
        if paths := sorted(part.paths()):
            table["files"] = [literal(path) for path in paths]
        document[name] = table
    document["run"] = definition.components["code"].settings["run"]
    return tomli_w.dumps(document, multiline_strings=False)
