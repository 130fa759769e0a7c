"""Versions as one line each: newest first, as a drawing of their lineage, or as found by words.

- A score is compared with the parent's on the same suite only.
- A page costs the same at the beginning and at the end of a long history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lockgate.domain.lineage import draw
from lockgate.domain.policy import Policy
from lockgate.domain.version import Version
from lockgate.look.facts import (
    Score,
    Situation,
    State,
    Yardstick,
    score_of,
    situation,
    state_of,
    yardstick,
)

if TYPE_CHECKING:
    from lockgate.ports import Registry

_PAGE = 500
_FARTHEST_ANCESTOR = 200
"""How far up an ancestor on the same page is looked for."""


@dataclass(frozen=True, slots=True)
class Line:
    """One version in a list."""

    version: Version
    parent: str | None
    """The parent's label."""
    score: Score | None
    is_comparable: bool
    """False when the score is from a suite that is no longer the one applied."""
    change: float | None
    """Against the parent, on the same suite; `None` when either has no score there."""
    state: State
    matched: tuple[str, ...] = ()
    """Of a search: which of `label`, `owner`, `reason` and `prompt` hold a word of it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some versions of a system, newest first."""

    system: str
    lines: tuple[Line, ...]
    total: int
    """How many versions the system has on all tracks."""
    older: str | None
    """The label to go on below; `None` when the page ends the history."""

    def without(self, track: str) -> Page:
        """Return the page without the versions of a track."""
        lines = tuple(line for line in self.lines if line.version.track != track)
        return replace(self, lines=lines)


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One row of a drawing: its lines, and the version if it is not only where lines meet."""

    graph: str
    line: Line | None


def log_page(
    registry: Registry,
    system: str,
    policy: Policy | None,
    *,
    track: str | None = None,
    limit: int = 50,
    before: str | None = None,
) -> Page:
    """Return one page of a system's versions.

    Args:
        registry: Where they are.
        system: Whose versions.
        policy: Says what the versions are measured by; `None` takes any suite.
        track: Only this track.
        limit: How many at most.
        before: A label or id; only versions that are older.

    Raises:
        UsageMistake: `before` names no version.
    """
    below = registry.versions.named(system, before).seq if before else None
    found = _newest(registry, system, below, limit + 1, track)
    shown, more = found[:limit], len(found) > limit
    lines = lines_of(registry, shown, policy)
    total = registry.versions.count(system)
    return Page(system, tuple(lines), total, shown[-1].label if more else None)


def _newest(
    registry: Registry, system: str, below: int | None, limit: int, track: str | None
) -> list[Version]:
    found: list[Version] = []
    while len(found) < limit:
        page = registry.versions.page(
            system, before=below, limit=min(limit - len(found), _PAGE), track=track
        )
        if not page:
            break
        found += page
        below = page[-1].seq
    return found


def lines_of(registry: Registry, versions: list[Version], policy: Policy | None) -> list[Line]:
    """Return a line for each version, in the given order; they may be of several systems."""
    view = _View(registry, policy, versions)
    return [view.line(version) for version in versions]


def search(
    registry: Registry,
    system: str | None,
    text: str,
    policy: Policy | None,
    *,
    limit: int = 50,
) -> list[Line]:
    """Return the versions whose label, owner, reason or prompt hold all words, newest first."""
    found = registry.versions.search(system, text, limit=limit)
    where = registry.versions.matched(found, text)
    lines = lines_of(registry, found, policy)
    return [replace(line, matched=where[line.version.id]) for line in lines]


def tree(registry: Registry, page: Page, *, ascii_only: bool = False) -> list[TreeRow]:
    """Return a page as a drawing; a version hangs on its nearest ancestor that is on the page."""
    by_id = {line.version.id: line for line in page.lines}
    oldest = min((line.version.seq for line in page.lines), default=0)
    edges = [(key, _hook(registry, line.version, by_id, oldest)) for key, line in by_id.items()]
    return [
        TreeRow(row.graph, by_id[row.id] if row.id is not None else None)
        for row in draw(edges, ascii_only=ascii_only)
    ]


def _hook(
    registry: Registry, version: Version, there: Mapping[str, Line], oldest: int
) -> str | None:
    """Return the nearest ancestor on the page; the parent itself when there is none."""
    above = version.parent
    for _ in range(_FARTHEST_ANCESTOR):
        if above is None or above in there:
            return above
        found = registry.versions.get(above)
        if found is None or found.seq < oldest:
            break
        above = found.parent
    return version.parent


class _View:
    """What a page of lines looks up once."""

    def __init__(self, registry: Registry, policy: Policy | None, versions: list[Version]) -> None:
        self._registry = registry
        self._policy = policy
        self._yardsticks: dict[str, Yardstick | None] = {}
        self._situations: dict[str, Situation] = {}
        self._scores: dict[str, Score | None] = {}
        # Most parents are on the page themselves.
        self._versions: dict[str, Version | None] = {version.id: version for version in versions}

    def line(self, version: Version) -> Line:
        by, now = self._system(version.system)
        score = self._score(version.id, by)
        parent = self._version(version.parent) if version.parent else None
        change = None
        if score is not None and parent is not None:
            before = self._score(parent.id, by)
            is_same = before is not None and before.digest == score.digest
            if before is not None and is_same and before.metric == score.metric:
                change = score.value - before.value
        return Line(
            version,
            parent.label if parent else None,
            score,
            score is None or by is None or score.digest == by.digest,
            change,
            state_of(self._registry, version, score, now),
        )

    def _system(self, system: str) -> tuple[Yardstick | None, Situation]:
        if system not in self._situations:
            self._yardsticks[system] = yardstick(self._registry, system, self._policy)
            self._situations[system] = situation(self._registry, system, self._policy)
        return self._yardsticks[system], self._situations[system]

    def _score(self, version_id: str, by: Yardstick | None) -> Score | None:
        if version_id not in self._scores:
            self._scores[version_id] = score_of(self._registry, version_id, by)
        return self._scores[version_id]

    def _version(self, version_id: str) -> Version | None:
        if version_id not in self._versions:
            self._versions[version_id] = self._registry.versions.get(version_id)
        return self._versions[version_id]
