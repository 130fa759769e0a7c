"""What may stand in a file of `[tools]`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockgate.workspace.toolfiles import MAX_TOOL_BYTES, tool_mistakes

SCHEMA = {"type": "object", "properties": {"queue": {"enum": ["billing", "refund"]}}}
BROKEN = {"type": "object", "properties": {"queue": {"type": "txt"}}}


def said(value: Any) -> list[str]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [mistake.what for mistake in tool_mistakes("tools/route.json", data)]


@pytest.mark.parametrize(
    "value",
    [
        SCHEMA,
        {"name": "route", "parameters": SCHEMA},
        {"name": "route", "input_schema": SCHEMA},
        {"type": "function", "function": {"name": "route", "parameters": SCHEMA}},
        [{"name": "route", "inputSchema": SCHEMA}, SCHEMA],
        {"$schema": "http://json-schema.org/draft-07/schema#", **SCHEMA},
    ],
)
def test_schemas_and_tools_that_carry_one_are_accepted(value: Any) -> None:
    """A bare schema, the shapes that vendors use for tools, and lists of them are fine."""
    assert said(value) == []


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (BROKEN, "$.properties.queue.type"),
        ({"name": "route", "parameters": BROKEN}, "$.parameters.properties.queue.type"),
        (
            {"type": "function", "function": {"name": "r", "parameters": BROKEN}},
            "$.function.parameters.properties.queue.type",
        ),
        ([SCHEMA, BROKEN], "$[1].properties.queue.type"),
    ],
)
def test_a_broken_schema_is_named_with_file_and_place(value: Any, place: str) -> None:
    """The message leads to the keyword that is wrong, also inside a vendor's wrapping."""
    (what,) = said(value)

    assert what.startswith(f"`tools/route.json` at {place}: not JSON Schema, 'txt' is not valid")


def test_every_broken_schema_of_a_list_is_told() -> None:
    """One broken tool does not hide the next."""
    assert len(said([BROKEN, SCHEMA, BROKEN])) == 2


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            b'{"type": }',
            "`tools/route.json` line 1 column 10: not JSON, expecting value",
        ),
        (b'{"a": "\xff"}', "`tools/route.json` is not UTF-8 text at byte 7"),
        (b"[" * 100_000, "`tools/route.json` nests too deeply or has a number that is too long"),
        (b"3", "`tools/route.json` at $: a JSON Schema is an object"),
        (b" " * (MAX_TOOL_BYTES + 1), "`tools/route.json` is larger than 4 MiB"),
    ],
)
def test_what_is_no_schema_at_all_is_named(data: bytes, what: str) -> None:
    """Broken JSON, other text and hostile sizes are mistakes like any other."""
    assert said(data) == [what]


def test_the_hint_says_what_to_do() -> None:
    """Whoever put another file there learns where it belongs."""
    (mistake,) = tool_mistakes("tools/notes.md", b"# Notes")

    assert mistake.hint == ("correct it, or move a file that is no schema into another component")
