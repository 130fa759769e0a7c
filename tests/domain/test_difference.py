"""What differs between two definitions, in words people use."""

from __future__ import annotations

from typing import Any

from lockgate.canonical import digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.domain.difference import (
    MAX_TEXT_LINES,
    difference,
    text_difference,
)


def definition(**parts: dict[str, Any]) -> Definition:
    """Return a definition; in each part, keys with a dot are files with the value as their text."""
    made = {}
    for name, entries in parts.items():
        files = {
            key: digest_bytes(str(text).encode()) for key, text in entries.items() if "." in key
        }
        settings = {key: value for key, value in entries.items() if "." not in key}
        made[name] = Component(settings, files)
    return Definition(made)


def marked(before: str, after: str) -> list[str]:
    """Return a text difference with its changed words in brackets."""
    return [
        line.sign + "".join(f"[{words}]" if new else words for words, new in line.words)
        for line in text_difference(before, after)
    ]


def test_equal_definitions_do_not_differ() -> None:
    """Two definitions with equal components have an empty difference."""
    one = definition(generation={"temperature": 0.0}, prompt={"a.md": "Hi"})
    assert difference(
        one, definition(prompt={"a.md": "Hi"}, generation={"temperature": 0})
    ).is_empty


def test_a_setting_reads_as_before_and_after() -> None:
    """A changed setting names both values; one that went says that it is not set any more."""
    before = definition(generation={"temperature": 0.0, "seed": 1})
    after = definition(generation={"temperature": 0.7, "stop": ["\n"]})
    assert [change.text() for change in difference(before, after).settings] == [
        "seed 1 → (not set)",
        'stop = ["\\n"]',
        "temperature 0.0 → 0.7",
    ]


def test_true_is_not_one() -> None:
    """A boolean and a number that compare equal in Python are a difference; 1 and 1.0 are none."""
    assert not difference(
        definition(generation={"echo": True}), definition(generation={"echo": 1})
    ).is_empty
    assert difference(
        definition(generation={"seed": 1}), definition(generation={"seed": 1.0})
    ).is_empty


def test_files_are_added_removed_edited_and_moved() -> None:
    """A file under another path with the same bytes is moved, not removed and added."""
    before = definition(prompt={"a.md": "A", "old.md": "same", "gone.md": "G"})
    after = definition(prompt={"a.md": "A2", "new.md": "same", "come.md": "C"})
    found = difference(before, after)
    assert [(change.path, change.kind) for change in found.files] == [
        ("a.md", "edited"),
        ("come.md", "added"),
        ("new.md", "moved"),
        ("gone.md", "removed"),
    ]
    assert found.files[2].moved_from == "old.md"


def test_the_executable_bit_is_a_difference() -> None:
    """A file that only became executable is a change of its mode."""
    digest = digest_bytes(b"#!/bin/sh")
    before = Definition({"code": Component(files={"run.sh": digest})})
    after = Definition({"code": Component(executables={"run.sh": digest})})
    (change,) = difference(before, after).files
    assert (change.kind, change.mode_changed) == ("mode", True)


def test_the_summary_has_a_line_for_each_component() -> None:
    """The summary names components in reading order, and counts files when there are many."""
    before = definition(
        generation={"temperature": 0.0}, retrieval={f"h{n}.md": n for n in range(4)}
    )
    after = definition(
        generation={"temperature": 0.7},
        tools={"t.json": "{}"},
        retrieval={f"h{n}.md": n + 9 for n in range(4)},
    )
    assert difference(before, after).summary() == [
        "generation: temperature 0.0 → 0.7",
        "tools: component added · t.json added",
        "retrieval: 4 files edited",
    ]


def test_against_nothing_everything_is_added() -> None:
    """The first version of a history adds all its components."""
    found = difference(None, definition(prompt={"a.md": "A"}))
    assert found.components_added == ("prompt",)
    assert [change.kind for change in found.files] == ["added"]


def test_words_inside_a_changed_line_are_marked() -> None:
    """Of a changed line only the words that differ are marked, with a little context around it."""
    assert marked("one\nBe brief and kind.\nthree\n", "one\nBe brief and warm.\nthree\n") == [
        " one",
        "-Be brief and [kind].",
        "+Be brief and [warm].",
        " three",
    ]


def test_a_gap_between_changes_is_shown() -> None:
    """Equal lines far from any change are left out, and the gap shows."""
    before = "\n".join(["a", *"123456789", "z"])
    after = "\n".join(["b", *"123456789", "y"])
    assert marked(before, after) == [
        "-[a]", "+[b]", " 1", " 2", " …", " 8", " 9", "-[z]", "+[y]",
    ]  # fmt: skip


def test_lines_that_came_are_whole() -> None:
    """Added lines are marked as a whole."""
    assert marked("a", "a\nb\nc") == [" a", "+[b]", "+[c]"]


def test_huge_texts_are_compared_as_wholes() -> None:
    """Beyond the limit only the number of lines is told, so that nobody waits."""
    huge = "x\n" * (MAX_TEXT_LINES + 1)
    (line,) = text_difference(huge, "y")
    assert line.text == f"{MAX_TEXT_LINES + 1} lines → 1 lines, too many to compare"
