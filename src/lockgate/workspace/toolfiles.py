"""Check that the files of `[tools]` are JSON Schema, so that a broken tool is never registered.

- A file holds one schema, one tool that carries its schema, or a list of tools.
- The message names the file and the place inside it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

from lockgate.shown import fitted, shown
from lockgate.workspace.tomlfile import Mistake

MAX_TOOL_BYTES = 4 << 20
_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")
_HINT = "correct it, or move a file that is no schema into another component"


def tool_mistakes(path: str, data: bytes) -> Iterator[Mistake]:
    """Find what is wrong with one file of `[tools]`.

    Args:
        path: Its path, for the message.
        data: Its bytes.
    """
    name = f"`{shown(path)}`"
    if len(data) > MAX_TOOL_BYTES:
        yield Mistake(f"{name} is larger than 4 MiB", "describe fewer tools in one file")
        return
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        yield Mistake(f"{name} is not UTF-8 text at byte {error.start}", _HINT)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        yield Mistake(f"{name} {place}: not JSON, {error.msg[:1].lower()}{error.msg[1:]}", _HINT)
    except (ValueError, RecursionError):
        yield Mistake(f"{name} nests too deeply or has a number that is too long", _HINT)
    else:
        for place, schema in _schemas(value, "$"):
            yield from _schema_mistakes(name, place, schema)


def _schemas(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Give each schema a tool file holds, with its place."""
    if isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _schemas(inner, f"{place}[{index}]")
        return
    if isinstance(value, dict):
        if value.get("type") == "function" and isinstance(value.get("function"), dict):
            yield from _schemas(value["function"], f"{place}.function")
            return
        key = next((key for key in _SCHEMA_KEYS if key in value), None)
        if key and "name" in value:
            yield f"{place}.{key}", value[key]
            return
    yield place, value


def _schema_mistakes(name: str, place: str, schema: Any) -> Iterator[Mistake]:
    # only folders with tools need it; it ships no types
    jsonschema: Any = importlib.import_module("jsonschema")

    if not isinstance(schema, dict):
        yield Mistake(f"{name} at {place}: a JSON Schema is an object", _HINT)
        return
    try:
        default = jsonschema.Draft202012Validator
        jsonschema.validators.validator_for(schema, default=default).check_schema(schema)
    except jsonschema.SchemaError as error:
        at = place + error.json_path.removeprefix("$")
        yield Mistake(
            f"{name} at {shown(at)}: not JSON Schema, {fitted(error.message, 120)}", _HINT
        )
    except RecursionError:
        yield Mistake(f"{name} at {place}: nests too deeply", _HINT)
