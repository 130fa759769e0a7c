"""How versions descend from each other, drawn as rows of text.

- Newest first; a line runs from each version down to its parent.
- Lines that come from one parent meet in a row of their own, just above it.
- The drawing never grows wider than `MAX_LANES` lines; a line that finds no room, or whose parent
  is on another page, ends in `~`: it goes on where this drawing does not show it.
- Without UTF-8 the same rows are drawn in ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_LANES = 12

_LINES = ("│", "├", "┴", "┘", "─")
_ASCII_LINES = ("|", "|", "'", "'", "-")


@dataclass(frozen=True, slots=True)
class LineageRow:
    """One row of the drawing: a version, or the place where lines meet."""

    graph: str
    """The lines, without spaces at the end."""
    id: str | None
    """The version drawn here; `None` where lines only meet."""


def draw(
    versions: Sequence[tuple[str, str | None]], *, ascii_only: bool = False
) -> list[LineageRow]:
    """Return the rows of a drawing.

    Args:
        versions: Id and parent's id, newest first, each id once; a parent may be missing.
        ascii_only: Draw with `|`, `-` and `'`.
    """
    lines = _ASCII_LINES if ascii_only else _LINES
    below = {version: row for row, (version, _) in enumerate(versions)}
    lanes: list[str | None] = []
    rows: list[LineageRow] = []
    for row, (version, parent) in enumerate(versions):
        waiting = [place for place, awaited in enumerate(lanes) if awaited == version]
        if len(waiting) > 1:
            rows.append(LineageRow(_meeting(lanes, waiting, lines), None))
            for merged in waiting[1:]:
                lanes[merged] = None
        goes_on = parent is not None and below.get(parent, -1) > row
        lane: int | None = waiting[0] if waiting else _free(lanes)
        if lane is None:
            rows.append(LineageRow(_node(lanes, len(lanes), parent is not None, lines), version))
            continue
        lanes[lane] = version
        rows.append(
            LineageRow(_node(lanes, lane, parent is not None and not goes_on, lines), version)
        )
        lanes[lane] = parent if goes_on else None
        while lanes and lanes[-1] is None:
            lanes.pop()
    return rows


def width(rows: Iterable[LineageRow]) -> int:
    """Return how many characters the widest row takes."""
    return max((len(row.graph) for row in rows), default=0)


def _free(lanes: list[str | None]) -> int | None:
    """Return the leftmost lane that nothing runs through; `None` when there is no room."""
    for lane, awaited in enumerate(lanes):
        if awaited is None:
            return lane
    if len(lanes) == MAX_LANES:
        return None
    lanes.append(None)
    return len(lanes) - 1


def _node(lanes: list[str | None], at: int, is_cut: bool, lines: tuple[str, ...]) -> str:
    cells = [lines[0] + " " if awaited is not None else "  " for awaited in lanes]
    cells[at:] = ["o~" if is_cut else "o ", *cells[at + 1 :]]
    return "".join(cells).rstrip()


def _meeting(lanes: list[str | None], waiting: list[int], lines: tuple[str, ...]) -> str:
    down, first, middle, last, across = lines
    cells = []
    for lane, awaited in enumerate(lanes):
        if lane == waiting[0]:
            cells.append(first + across)
        elif lane == waiting[-1]:
            cells.append(last + " ")
        elif waiting[0] < lane < waiting[-1]:
            mark = middle if lane in waiting else down if awaited is not None else across
            cells.append(mark + across)
        else:
            cells.append(down + " " if awaited is not None else "  ")
    return "".join(cells).rstrip()
