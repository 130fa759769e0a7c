"""Which paths a pattern names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.workspace.globs import Pattern, literal, pattern_problem


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a.md", ["a.md"], ["b/a.md", "A.md", "a_md"]),
        ("./a.md", ["a.md"], ["b/a.md"]),
        ("*.md", ["a.md", ".md"], ["b/a.md", "a.mdx"]),
        ("prompts/*", ["prompts/a", "prompts/a.md"], ["prompts/b/a", "prompts", "a"]),
        ("*/*.md", ["b/a.md"], ["a.md", "c/b/a.md"]),
        ("**/*.md", ["a.md", "b/a.md", "c/b/a.md"], ["a.txt"]),
        ("docs/**", ["docs/a", "docs/b/c/a.md"], ["docs", "adocs/a"]),
        ("docs/**/x/*.md", ["docs/x/a.md", "docs/b/c/x/a.md"], ["docs/a.md", "docs/x/b/a.md"]),
        ("**/**/a", ["a", "b/a", "c/b/a"], ["b"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("a?.md", ["ab.md"], ["a.md", "abc.md", "a/.md"]),
        ("[ab].md", ["a.md", "b.md"], ["c.md", "ab.md"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[!a]x", ["bx"], ["ax", "x"]),
        ("a[!b]c/x", ["adc/x"], ["abc/x", "a/c/x"]),
        ("[]]x", ["]x"], ["x"]),
        ("[c-a]x", [], ["ax", "cx", "x"]),
        ("[x", ["[x"], ["x"]),
        ("a.b+c(d)", ["a.b+c(d)"], ["aXb+c(d)"]),
        ("cafe\u0301.md", ["caf\u00e9.md"], ["cafe.md"]),
    ],
)
def test_a_pattern_names_these_paths_and_no_others(
    pattern: str, yes: list[str], no: list[str]
) -> None:
    """Stars stay inside a name, double stars cross folders, the rest stands for itself."""
    found = Pattern(pattern)

    assert [path for path in yes if not found.matches(path)] == []
    assert [path for path in no if found.matches(path)] == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a.md", [""], ["a.md", "b"]),
        ("docs/*.md", ["", "docs"], ["docs/b", "other"]),
        ("docs/**", ["", "docs", "docs/b/c"], ["other"]),
        ("**/x/*.md", ["", "a", "a/x/b"], []),
        ("d*/x/a", ["", "docs", "docs/x"], ["x", "docs/y", "docs/x/z"]),
    ],
)
def test_a_pattern_reaches_the_folders_above_what_it_names(
    pattern: str, yes: list[str], no: list[str]
) -> None:
    """A folder is reached when a file in it, or anywhere below it, could match."""
    found = Pattern(pattern)

    assert [folder for folder in yes if not found.reaches(folder)] == []
    assert [folder for folder in no if found.reaches(folder)] == []


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is not relative to the folder"),
        ("~/x", "is not relative to the folder"),
        ("../x", "leads out of the folder with `..`"),
        ("a/../../x", "leads out of the folder with `..`"),
        ("a//b", "has an empty or `.` part"),
        ("a/./b", "has an empty or `.` part"),
        ("a\\b", "has a backslash; folders are separated by `/`"),
        ("a\nb", "has a control character"),
        ("x" * 1025, "is longer than 1024 characters"),
    ],
)
def test_a_pattern_never_leaves_the_folder(pattern: str, problem: str) -> None:
    """Whatever could lead out of the folder, or hide a slip, is no pattern."""
    assert pattern_problem(pattern) == problem


PATHS = st.lists(
    st.text(st.sampled_from("ab*?[]!-."), min_size=1, max_size=6).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@given(path=PATHS, other=PATHS)
def test_a_literal_names_one_path_and_nothing_else(path: str, other: str) -> None:
    """Every path can be written as a pattern that matches it alone."""
    pattern = Pattern(literal(path))

    assert pattern.is_literal
    assert pattern.path == path
    assert pattern.matches(path)
    assert pattern.matches(other) == (path == other)
