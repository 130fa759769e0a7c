"""Read `where.toml`: where each system runs from this machine, never part of a version.

- The file is optional, and so is every table and key in it.
- A key's value never stands here; `key_variable` names the environment variable that holds it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lockgate.domain.version import system_name_problem
from lockgate.shown import shown
from lockgate.workspace.tomlfile import Mistake, complain, read_toml, suggestion

WHERE_FILE = "where.toml"
MAX_TIMEOUT_S = 86_400
MAX_CONCURRENCY = 1_024
_KEYS = ("endpoint", "key_variable", "timeout_s", "concurrency")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Where:
    """Where one system runs; `None` leaves a choice to whoever runs it."""

    endpoint: str | None = None
    """An `http` or `https` address without credentials."""
    key_variable: str | None = None
    """The name of the environment variable that holds the key."""
    timeout_s: float | None = None
    """For one answer; above 0, at most a day."""
    concurrency: int | None = None
    """How many questions at once, from 1."""


def read_where(registry_root: Path, system: str) -> Where:
    """Return where a system runs from this machine.

    Args:
        registry_root: The folder that holds `.lockgate/`; `where.toml` stands there, or a link.
        system: The system's name.

    Raises:
        UsageMistake: The file has mistakes, in any system's table; all of them are named.
    """
    path = registry_root / WHERE_FILE
    document = read_toml(path, follow_links=True) or {}
    complain(path, [*_mistakes(document)])
    return Where(**document.get(system, {}))


def _mistakes(document: dict[str, Any]) -> Iterator[Mistake]:
    for system, table in document.items():
        if not isinstance(table, dict):
            yield Mistake(
                f"`{shown(system)}` stands outside any system's table",
                "write it below the system's name, such as `[support-desk]`",
            )
        elif problem := system_name_problem(system):
            yield Mistake(f"`[{shown(system)}]`: a system's name {problem}", "correct the name")
        else:
            for key, value in table.items():
                yield from _key_mistakes(f"`[{system}] {shown(key)}`", key, value)


def _key_mistakes(place: str, key: str, value: Any) -> Iterator[Mistake]:
    if key == "endpoint":
        yield from _endpoint_mistakes(place, value)
    elif key == "key_variable":
        if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
            yield Mistake(
                f"{place} is not the name of an environment variable",
                'name the variable and keep the key itself out, such as `"SUPPORT_DESK_KEY"`',
            )
    elif key == "timeout_s":
        if not _is_number(value) or not 0 < value <= MAX_TIMEOUT_S:
            yield Mistake(
                f"{place}: `{shown(value)}` is not a time limit in seconds",
                f"write a number above 0 and up to {MAX_TIMEOUT_S}, such as `30`",
            )
    elif key == "concurrency":
        if type(value) is not int or not 1 <= value <= MAX_CONCURRENCY:
            yield Mistake(
                f"{place}: `{shown(value)}` is not a number of questions",
                f"write a whole number from 1 to {MAX_CONCURRENCY}",
            )
    else:
        yield Mistake(f"unknown key {place}", suggestion(key, _KEYS))


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type] # checked


def _endpoint_mistakes(place: str, value: Any) -> Iterator[Mistake]:
    hint = 'write an address such as `"http://127.0.0.1:8080/v1"`'
    parts = None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        is_address = (
            parts is not None
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and re.fullmatch(r"[!-~]+", value) is not None
        )
    except ValueError:
        is_address = False
    if parts is not None and (parts.username or parts.password):
        yield Mistake(f"{place} holds credentials", "name their variable in `key_variable` instead")
    elif not is_address:
        yield Mistake(f"{place}: `{shown(value)}` is not an http or https address", hint)
