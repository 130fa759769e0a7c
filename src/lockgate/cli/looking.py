"""What the looking commands share: how wide they may print, cut texts, coloured tables, times.

- A table keeps its columns under each other whatever alphabet a text is in.
- Where no terminal is near, as in a pipeline's log, nothing is cut to the width of a screen.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from lockgate import wiring
from lockgate.cli.common import mark, plain
from lockgate.shown import shown

if TYPE_CHECKING:
    from lockgate.domain.policy import Policy
    from lockgate.ports import Registry

PIPE_WIDTH = 240
"""How wide a line may get where nobody said how wide the screen is."""
NARROWEST = 60
"""Below this lines wrap instead of being cut."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A table's cell with a state's glyph before its words."""

    mark: str
    words: str


Cell = str | Marked


def screen_width() -> int:
    """Return how many characters fit on a line."""
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said) > 0:
        return max(int(said), NARROWEST)
    for stream in (sys.stdout, sys.stderr):  # into `less` or `head` a person still looks on
        with contextlib.suppress(OSError, ValueError):
            return max(os.get_terminal_size(stream.fileno()).columns or 80, NARROWEST)
    return PIPE_WIDTH


def cells(text: str) -> int:
    """Return how many columns a safe text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combining = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - combining


def cut(text: object, width: int) -> str:
    """Return the first line of a text, safe and at most so many columns wide."""
    first, _, rest = str(text).partition("\n")
    safe = plain(shown(first, limit=max(width * 4, 64)))
    if cells(safe) <= width and not rest.strip():
        return safe
    end = plain("…")
    room, taken = max(width - len(end), 0), 0
    for index, character in enumerate(safe):
        taken += cells(character)
        if taken > room:
            return safe[:index] + end
    return safe + end


def pad(text: str, width: int) -> str:
    """Return a safe text with spaces up to so many columns."""
    return text + " " * max(width - cells(text), 0)


def table(
    rows: Sequence[Sequence[Cell]], *, right: Sequence[int] = (), less: int = 0
) -> Iterator[str]:
    """Give lines with aligned columns; cells are made safe, glyphs coloured, the last one is cut.

    Args:
        rows: Cells; every row has the same number.
        right: Indexes of columns that are aligned to the right.
        less: How many columns of the screen stand before the table.
    """
    if not rows:
        return
    texts = [[_text(cell) for cell in row] for row in rows]
    last = len(texts[0]) - 1
    widths = [max(cells(row[index]) for row in texts) for index in range(last + 1)]
    room = screen_width() - sum(widths[:last]) - 2 * last - 1 - less
    for row, line in zip(rows, texts, strict=True):
        parts = []
        for index, (cell, text) in enumerate(zip(row, line, strict=True)):
            width = widths[index]
            if index == last and isinstance(cell, str):
                text = cut(cell, max(room, 12))
            if index in right:
                text = " " * (width - cells(text)) + text
            elif index < last:
                text = pad(text, width)
            parts.append(_coloured(cell, text))
        yield "  ".join(parts).rstrip()


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return plain(shown(cell))
    return f"{_glyph(cell.mark)} {plain(shown(cell.words))}"


def _glyph(state: str) -> str:
    return click.unstyle(mark(state))


def _coloured(cell: Cell, text: str) -> str:
    if isinstance(cell, str):
        return text
    glyph = _glyph(cell.mark)
    return text.replace(glyph, mark(cell.mark), 1)


def short_time(at: datetime, now: datetime) -> str:
    """Return a day and time in UTC in eleven characters; another year shows as a whole date."""
    utc = at.astimezone(UTC)
    if utc.year == now.astimezone(UTC).year:
        return utc.strftime("%m-%d %H:%M")
    return utc.strftime("%Y-%m-%d ")


def policy_of(registry: Registry) -> Policy | None:
    """Return the applied policy; `None` when there is none that this release can read."""
    try:
        return wiring.applied_policy_or_none(registry)
    except ValueError:
        click.echo("note: the applied policy was written by a newer lockgate", err=True)
        return None
