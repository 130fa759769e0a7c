"""How versions descend from each other, drawn as rows of text."""

from __future__ import annotations

import random

from lockgate.domain.lineage import MAX_LANES, draw, width

SKETCH = [
    ("v15", "x9"),
    ("v14", "v12"),
    ("r3", "v13"),
    ("v13", "v12"),
    ("x9", "v12"),
    ("v12", "v11"),
    ("x7", "v11"),
    ("v11", None),
]


def drawing(versions: list[tuple[str, str | None]], *, ascii_only: bool = False) -> str:
    rows = draw(versions, ascii_only=ascii_only)
    room = width(rows) + 2
    return "\n" + "\n".join(f"{row.graph:<{room}}{row.id or ''}".rstrip() for row in rows)


def test_branches_meet_above_their_parent() -> None:
    """Lines that come from one parent meet in a row of their own, just above it."""
    assert (
        drawing(SKETCH)
        == """
o      v15
│ o    v14
│ │ o  r3
│ │ o  v13
o │ │  x9
├─┴─┘
o      v12
│ o    x7
├─┘
o      v11"""
    )


def test_ascii_has_the_same_rows() -> None:
    """Without UTF-8 the same rows are drawn in ASCII."""
    assert (
        drawing(SKETCH, ascii_only=True)
        == """
o      v15
| o    v14
| | o  r3
| | o  v13
o | |  x9
|-'-'
o      v12
| o    x7
|-'
o      v11"""
    )


def test_a_line_passes_under_a_meeting_it_has_no_part_in() -> None:
    """A line to another parent runs through a meeting and is not joined to it."""
    assert (
        drawing([("a", "m"), ("b", "n"), ("c", "m"), ("m", "n"), ("n", None)])
        == """
o      a
│ o    b
│ │ o  c
├─│─┘
o │    m
├─┘
o      n"""
    )


def test_a_parent_on_another_page_ends_the_line() -> None:
    """A version whose parent is not in the page ends in `~`, and its lane is free again."""
    assert (
        drawing([("v9", "v3"), ("v8", "v7"), ("v7", "v2")])
        == """
o~  v9
o   v8
o~  v7"""
    )


def test_a_parent_that_stands_above_does_not_keep_a_line_open() -> None:
    """A parent that is newer than its child cannot be drawn to; the line ends instead."""
    assert (
        drawing([("a", None), ("b", "a")])
        == """
o   a
o~  b"""
    )


def test_two_roots_are_two_drawings() -> None:
    """Histories without a common beginning stand under each other."""
    assert (
        drawing([("b2", "b1"), ("a2", "a1"), ("b1", None), ("a1", None)])
        == """
o    b2
│ o  a2
o │  b1
  o  a1"""
    )


def test_the_drawing_stays_narrow() -> None:
    """However many branches are open at once, the drawing never grows beyond its lanes."""
    heads: list[tuple[str, str | None]] = [(f"x{place}", f"p{place}") for place in range(40)]
    rows = draw([*heads, *((f"p{place}", None) for place in range(40))])
    assert width(rows) <= 2 * (MAX_LANES + 1)
    assert [row.id for row in rows if row.id is not None] == [
        *(f"x{place}" for place in range(40)),
        *(f"p{place}" for place in range(40)),
    ]
    assert rows[MAX_LANES].graph == "│ " * MAX_LANES + "o~"


def test_every_version_is_drawn_once_and_in_its_order() -> None:
    """In a history of ten thousand versions each one has exactly one row, with one node."""
    chance = random.Random(7)
    versions: list[tuple[str, str | None]] = [
        (str(place), str(max(place - chance.randint(1, 40), 0)) if place else None)
        for place in range(10_000 - 1, -1, -1)
    ]
    rows = draw(versions)
    nodes = [row for row in rows if row.id is not None]
    assert [row.id for row in nodes] == [version for version, _ in versions]
    assert all(row.graph.count("o") == 1 for row in nodes)
    assert all("o" not in row.graph for row in rows if row.id is None)


def test_nothing_is_an_empty_drawing() -> None:
    """Without versions there are no rows and no width."""
    assert draw([]) == []
    assert width([]) == 0
