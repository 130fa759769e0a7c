"""`lockgate log`, `tree` and `search`: versions as one line each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from lockgate import wiring
from lockgate.cli.common import (
    desk,
    emit,
    is_utf8,
    json_of,
    json_option,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.cli.looking import Cell, Marked, cut, pad, policy_of, short_time, table
from lockgate.domain import figures
from lockgate.domain.version import TRACKS
from lockgate.errors import UsageMistake

if TYPE_CHECKING:
    from lockgate.look.history import Line, Page
    from lockgate.ports import Registry

_HEAD = ("", "score", "change", "state", "registered", "owner", "reason")
_EARLIER = "* on an earlier suite, not comparable"
_MOST = 1_000_000


def _page_options(function: Any) -> Any:
    for option in (
        click.option("--track", type=click.Choice([*TRACKS]), help="Only this track."),
        click.option(
            "--limit", type=click.IntRange(1, _MOST), default=50, help="How many, newest first."
        ),
        click.option("--before", metavar="V", help="Go on below this version."),
        system_option,
        registry_option,
        json_option,
    ):
        function = option(function)
    return function


@click.command("log", short_help="List releases, newest first; --all lists every track.")
@click.option("--all", "every", is_flag=True, help="Experiments and rehearsals, too.")
@_page_options
def log_command(
    every: bool,
    track: str | None,
    limit: int,
    before: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """List releases, newest first: score, change against the parent, state, owner and reason.

    Experiments and rehearsals have a list of their own (--track), or all come in one (--all). The
    change is on the same cases of the same suite, or is not shown. Times are UTC.
    """
    if every and track is not None:
        raise UsageMistake(
            "--all lists every track, --track one of them", hint="leave one of the two out"
        )
    shown_track = None if every else track or "release"
    with desk(registry, read_only=True) as at:
        from lockgate.look.history import log_page

        name = wiring.choose_system(at.registry, system)
        page = log_page(
            at.registry, name, policy_of(at.registry), track=shown_track, limit=limit, before=before
        )
        others = [] if every or track else _other_tracks(at.registry, name)
        now = at.registry.now()
    if as_json:
        emit(_page_body(page))
        return
    _refuse_empty(page, shown_track, before)
    for text in table([_HEAD, *(_row(line, now) for line in page.lines)], right=(1, 2)):
        say(text)
    _tell_rest(page, "log --all" if every else "log", track)
    if others:
        tell(f"{' and '.join(others)} are left out: `lockgate log --all -s {page.system}`")


@click.command("tree", short_help="Draw how versions descend from each other.")
@click.option("--all", "every", is_flag=True, help="Rehearsals, too.")
@_page_options
def tree_command(
    every: bool,
    track: str | None,
    limit: int,
    before: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Draw how versions descend from each other, newest first; rehearsals only with --all.

    A line that ends in ~ goes on where this page does not show it.
    """
    with desk(registry, read_only=True) as at:
        from lockgate.domain.lineage import LineageRow, width
        from lockgate.look.history import log_page, tree

        name = wiring.choose_system(at.registry, system)
        page = log_page(
            at.registry, name, policy_of(at.registry), track=track, limit=limit, before=before
        )
        shown_page = page if every or track else page.without("rehearsal")
        drawn = tree(at.registry, shown_page, ascii_only=not is_utf8())
        now = at.registry.now()
    if as_json:
        emit([{"graph": row.graph, "line": row.line and _line_body(row.line)} for row in drawn])
        return
    _refuse_empty(page, track, before)
    columns = 1 + width(LineageRow(row.graph, None) for row in drawn)
    lines = [row.line for row in drawn if row.line is not None]
    rows = [(*row[:-2], row[-1]) for row in (_HEAD, *(_row(line, now) for line in lines))]
    texts = table(rows, right=(1, 2), less=columns)
    say(" " * columns + next(texts))
    for row in drawn:
        say((pad(row.graph, columns) + (next(texts) if row.line is not None else "")).rstrip())
    _tell_rest(page, "tree", track)
    left_out = len(page.lines) - len(lines)
    if left_out:
        tell(f"rehearsals are left out: `lockgate tree --all -s {page.system}`")


@click.command("search", short_help="Find versions by label, owner, reason or prompt.")
@click.argument("text", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1, 500), default=50, help="How many, newest first.")
@system_option
@registry_option
@json_option
def search_command(
    text: tuple[str, ...], limit: int, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Find versions whose label, owner, reason or prompt hold all words, newest first.

    Without -s every system is searched. The last word may be the beginning of one.
    """
    with desk(registry, read_only=True) as at:
        from lockgate.look.history import search

        name = wiring.choose_system(at.registry, system) if system is not None else None
        found = search(at.registry, name, " ".join(text), policy_of(at.registry), limit=limit)
        now = at.registry.now()
        several = name is None and len(at.registry.versions.systems()) > 1
    if as_json:
        emit([{**_line_body(line), "matched": line.matched} for line in found])
        return
    if not found:
        say(f"nothing holds all of: {cut(' '.join(text), 60)}")
        tell("hint: fewer words, or `lockgate log --all` for everything")
        return
    rows: list[Sequence[Cell]] = [(*_HEAD[:-1], "found in", _HEAD[-1])]
    for one in found:
        *cells, reason = _row(one, now)
        rows.append((*cells, ", ".join(one.matched), reason))
    if several:
        names = ["system", *(line.version.system for line in found)]
        rows = [(name, *row) for name, row in zip(names, rows, strict=True)]
    for line in table(rows, right=(2, 3) if several else (1, 2)):
        say(line)
    _tell_earlier(found)
    if len(found) == limit:
        tell(f"the newest {limit}; more words narrow it down, --limit shows more")


def _row(line: Line, now: datetime) -> Sequence[Cell]:
    version, score = line.version, line.score
    text = figures.metric(score.metric, score.value) if score else "-"
    earlier = "" if line.is_comparable or score is None else "*"
    return (
        version.label,
        text + earlier,
        figures.signed(line.change) if line.change is not None else "-",
        Marked(line.state.mark, line.state.words),
        short_time(version.at, now),
        cut(version.owner, 10),
        version.reason,
    )


def _other_tracks(registry: Registry, system: str) -> list[str]:
    """Return what a list of releases leaves out."""
    tracks = [track for track in TRACKS if track != "release"]
    return [f"{track}s" for track in tracks if registry.versions.page(system, limit=1, track=track)]


def _refuse_empty(page: Page, track: str | None, before: str | None) -> None:
    if page.lines:
        return
    if before is not None:
        raise UsageMistake(
            f"nothing of `{page.system}` is older than `{before}`", hint="leave --before out"
        )
    raise UsageMistake(
        f"`{page.system}` has no {track or 'version'} yet",
        hint=f"`lockgate log --all -s {page.system}` lists every track"
        if track
        else "`lockgate register -m REASON` makes the first",
    )


def _tell_rest(page: Page, command: str, track: str | None) -> None:
    _tell_earlier(page.lines)
    if page.older is not None:
        flags = f" --track {track}" if track else ""
        tell(
            f"{len(page.lines)} shown, {page.total} versions in all; older ones: "
            f"`lockgate {command}{flags} --before {page.older} -s {page.system}`"
        )


def _tell_earlier(lines: Sequence[Line]) -> None:
    if any(line.score is not None and not line.is_comparable for line in lines):
        tell(_EARLIER)


def _page_body(page: Page) -> dict[str, Any]:
    return {
        "system": page.system,
        "total": page.total,
        "older": page.older,
        "versions": [_line_body(line) for line in page.lines],
    }


def _line_body(line: Line) -> dict[str, Any]:
    version: dict[str, Any] = json_of(line.version)
    return {
        **version,
        "parent_label": line.parent,
        "score": line.score,
        "change": line.change,
        "is_comparable": line.is_comparable,
        "state": line.state.words,
    }
