"""Definitions refuse what has no one meaning, and equal ones have equal digests."""

from __future__ import annotations

import pytest

from lockgate.domain.components import (
    Component,
    Definition,
    definition_from_entries,
    path_problem,
)

DIGEST = "0" * 64


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a//b", "a/../b", "./a", "a\\b", "a\nb", "a\x7f", "e\u0301", "a" * 1025, "a/", "\0"],
)
def test_a_path_with_no_one_meaning_is_refused(path: str) -> None:
    """Absolute, empty, dotted, control, not NFC, too long: named with the reason."""
    assert path_problem(path) is not None
    with pytest.raises(ValueError, match="path"):
        Definition({"code": Component(files={path: DIGEST})})


def test_a_file_belongs_to_one_component() -> None:
    """The same path in two components is refused with both names."""
    with pytest.raises(ValueError, match="`a.py` belongs to `prompt` and `code`"):
        Definition(
            {"prompt": Component(files={"a.py": DIGEST}), "code": Component({}, {"a.py": DIGEST})}
        )


def test_a_file_is_executable_or_not() -> None:
    """A path cannot stand under files and executables at once."""
    with pytest.raises(ValueError, match="a.sh"):
        Definition({"code": Component(files={"a.sh": DIGEST}, executables={"a.sh": DIGEST})})


def test_an_unknown_component_is_refused() -> None:
    """The components are the six that people agreed on."""
    with pytest.raises(ValueError, match="`data` is not a component"):
        Definition({"data": Component()})


def test_a_file_needs_a_whole_digest() -> None:
    """A prefix is no digest."""
    with pytest.raises(ValueError, match="has no SHA-256"):
        Definition({"code": Component(files={"a.py": "abc"})})


def test_a_definition_comes_back_from_its_entries() -> None:
    """Stored line by line and put together again, it has the same digest."""
    definition = Definition(
        {
            "model": Component({"name": "m", "revision": "1"}),
            "tools": Component(),
            "code": Component({"run": {"kind": "python"}}, {"a.py": DIGEST}, {"b.sh": DIGEST}),
        }
    )
    again = definition_from_entries(tuple(definition.ordered()), list(definition.entries()))
    assert again.digest == definition.digest
    assert again == definition
