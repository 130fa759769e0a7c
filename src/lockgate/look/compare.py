"""Two versions side by side: what differs, and what that did to the scores.

- Scores are compared on the same suite digest, case by case over the cases both answered.
- A JSON file, such as a tool, is compared by its parameters; a text by its words; anything else,
  or anything large, by size and digest.
- A folder has no score: only what is registered was ever evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from lockgate.canonical import digest_bytes
from lockgate.domain.components import Definition
from lockgate.domain.difference import (
    Difference,
    FileChange,
    TextLine,
    difference,
    text_difference,
)
from lockgate.domain.evidence import CaseScores, MetricSummary
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Policy
from lockgate.domain.suite import Suite
from lockgate.domain.version import Version
from lockgate.errors import IntegrityBroken, UsageMistake
from lockgate.evals.metrics import summarise
from lockgate.evals.progress import SAME
from lockgate.evals.verdict import Paired, compare
from lockgate.look.facts import yardstick
from lockgate.look.show import stored_suite

if TYPE_CHECKING:
    from lockgate.ports import Draft, Registry

CONFIDENCE = 0.95
"""One-sided, on each side of an interval."""
MOST_TEXT_BYTES = 256 * 1024
"""Larger files are compared by size and digest only."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a registered version, or a folder as it is now."""

    label: str
    definition: Definition
    version: Version | None
    """`None` for a folder."""
    open: Callable[[str], BinaryIO]
    """Opens a file of the definition by its path."""


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """One value inside a JSON file that differs."""

    path: str
    """Dotted, for example `properties.queue.enum`."""
    kind: str
    """`added`, `removed` or `changed`."""
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class FileView:
    """One file that differs, and how, as far as it can be read."""

    change: FileChange
    form: str
    """`text`, `json`, `opaque` for binary or large files, `gone` when the content is not here."""
    lines: tuple[TextLine, ...]
    """For edited texts."""
    lines_removed: int
    lines_added: int
    parameters: tuple[ParameterChange, ...]
    """For edited JSON."""
    size_before: int | None
    size_after: int | None


@dataclass(frozen=True, slots=True)
class MetricEffect:
    """One metric in both versions."""

    metric: str
    before: MetricSummary | None
    after: MetricSummary | None
    paired: Paired | None
    """Case by case; `None` for latency and tokens, which are not kept per case."""
    won: tuple[str, ...]
    """Ids of the cases that got better."""
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SuiteEffect:
    """One suite that both versions have completed."""

    suite: str
    digest: str
    is_applied: bool
    metrics: tuple[MetricEffect, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs between two sides."""

    system: str
    before: str
    after: str
    difference: Difference
    files: tuple[FileView, ...]
    effects: tuple[SuiteEffect, ...]
    why_no_effect: str | None
    """Why scores cannot be compared; `None` when they can."""
    hint: str | None
    """What would make them comparable."""


def side_of(registry: Registry, version: Version) -> Side:
    """Return a registered version as a side."""
    definition = registry.versions.definition(version.definition)
    files = definition.files()
    return Side(version.label, definition, version, lambda path: registry.objects.open(files[path]))


def side_of_folder(draft: Draft) -> Side:
    """Return a folder as it is now as a side."""
    return Side("folder", draft.definition, None, draft.open)


def compare_sides(
    registry: Registry, system: str, before: Side, after: Side, policy: Policy | None
) -> Comparison:
    """Return what differs between two sides, and what it did to the scores.

    Args:
        registry: Where the runs are.
        system: Of both sides.
        before: The one to compare with.
        after: The one that may be better or worse.
        policy: Says which suite comes first; `None` takes any.

    Raises:
        IntegrityBroken: A stored file is not what was registered.
        UsageMistake: A file of the folder changed while it was read.
        Refused: The cases of the suite were redacted.
    """
    found = difference(before.definition, after.definition)
    effects: list[SuiteEffect] = []
    why_not, hint = None, None
    if before.version is None or after.version is None:
        why_not = "a folder is not evaluated, only what is registered"
        hint = f"lockgate register -s {system} -m REASON"
    else:
        by = yardstick(registry, system, policy)
        effects = sorted(
            _effects(registry, before.version, after.version),
            key=lambda effect: (by is None or effect.suite != by.suite, effect.suite),
        )
        if not effects:
            why_not, hint = _no_effect(registry, before.version, after.version)
    return Comparison(
        system,
        before.label,
        after.label,
        found,
        tuple(_file_view(change, before, after) for change in found.files),
        tuple(effects),
        why_not,
        hint,
    )


def _no_effect(registry: Registry, before: Version, after: Version) -> tuple[str, str]:
    for version in (before, after):
        if not any(record.is_completed for record in registry.runs.of_version(version.id)):
            what = f"{version.label} has no completed run"
            return what, f"lockgate evaluate {version.label} -s {version.system}"
    applied = {info.digest for info in registry.applied.suites(before.system).values()}
    records = registry.runs.of_version(before.id)
    is_behind = not any(r.is_completed and r.run.suite in applied for r in records)
    behind = before if is_behind else after
    what = f"{before.label} and {after.label} have no completed run on the same suite"
    return what, f"lockgate evaluate {behind.label} -s {behind.system}"


def _effects(registry: Registry, before: Version, after: Version) -> Iterator[SuiteEffect]:
    old, new = _completed(registry, before), _completed(registry, after)
    applied = {info.digest for info in registry.applied.suites(before.system).values()}
    chosen: dict[str, str] = {}
    for digest in new:
        name = registry.applied.suite_name(digest)
        if digest in old and (name not in chosen or chosen[name] not in applied):
            chosen[name] = digest
    for name, digest in chosen.items():
        suite = stored_suite(registry, digest)
        pools = (registry.runs.pooled(old[digest]), registry.runs.pooled(new[digest]))
        yield SuiteEffect(name, digest, digest in applied, tuple(_metrics(suite, *pools)))


def _completed(registry: Registry, version: Version) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in registry.runs.of_version(version.id):
        if record.is_completed:
            found.setdefault(record.run.suite, []).append(record.run.id)
    return found


def _metrics(suite: Suite, before: CaseScores, after: CaseScores) -> Iterator[MetricEffect]:
    old = {summary.metric: summary for summary in summarise(suite, before)}
    new = {summary.metric: summary for summary in summarise(suite, after)}
    for metric in dict.fromkeys((*new, *old)):
        if not is_score(metric):
            yield MetricEffect(metric, old.get(metric), new.get(metric), None, (), ())
            continue
        paired = compare(metric, suite, after, before, CONFIDENCE)
        theirs, ours = before.scores.get(metric, {}), after.scores.get(metric, {})
        both = sorted(case for case in ours if case in theirs)
        yield MetricEffect(
            metric,
            old.get(metric),
            new.get(metric),
            paired if paired.n else None,
            tuple(case for case in both if ours[case] - theirs[case] > SAME),
            tuple(case for case in both if theirs[case] - ours[case] > SAME),
        )


def _file_view(change: FileChange, before: Side, after: Side) -> FileView:
    try:
        old = _read(before, change.moved_from or change.path, change.before)
        new = _read(after, change.path, change.after)
    except LookupError:
        return FileView(change, "gone", (), 0, 0, (), None, None)
    sizes = (len(old) if old is not None else None, len(new) if new is not None else None)
    if any(size is not None and size > MOST_TEXT_BYTES for size in sizes):
        sizes = (
            _size(before, change.moved_from or change.path, old),
            _size(after, change.path, new),
        )
        return FileView(change, "opaque", (), 0, 0, (), *sizes)
    texts = (_text(old), _text(new))
    if None in texts:
        return FileView(change, "opaque", (), 0, 0, (), *sizes)
    old_text, new_text = texts[0] or "", texts[1] or ""
    if change.kind == "edited" and change.path.endswith(".json"):
        parameters = _json_changes(old_text, new_text)
        if parameters is not None:
            return FileView(change, "json", (), 0, 0, parameters, *sizes)
    lines = tuple(text_difference(old_text, new_text)) if change.kind != "moved" else ()
    removed, added = (sum(line.sign == sign for line in lines) for sign in "-+")
    return FileView(change, "text", lines, removed, added, (), *sizes)


def _read(side: Side, path: str, digest: str | None) -> bytes | None:
    """Return a file's bytes, or one byte more than is compared of a large one."""
    if digest is None:
        return None
    with side.open(path) as stream:
        data = stream.read(MOST_TEXT_BYTES + 1)
    if len(data) <= MOST_TEXT_BYTES and digest_bytes(data) != digest:
        if side.version is None:
            raise UsageMistake(f"`{path}` changed while it was read", hint="run it again")
        raise IntegrityBroken(
            f"`{path}` of {side.label} is damaged: its bytes are not what was registered",
            hint="restore its object from a backup",
        )
    return data


def _size(side: Side, path: str, start: bytes | None) -> int | None:
    if start is None or len(start) <= MOST_TEXT_BYTES:
        return None if start is None else len(start)
    size = 0
    with side.open(path) as stream:
        while chunk := stream.read(1 << 20):
            size += len(chunk)
    return size


def _text(data: bytes | None) -> str | None:
    """Return bytes as text; `None` when they are none; nothing at all is an empty text."""
    if data is None:
        return ""
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _json_changes(before: str, after: str) -> tuple[ParameterChange, ...] | None:
    try:
        return tuple(json_changes(json.loads(before), json.loads(after)))
    except (ValueError, RecursionError):
        return None


def json_changes(before: Any, after: Any, path: str = "") -> Iterator[ParameterChange]:
    """Give every value that differs between two JSON values, by its dotted path.

    Lists of plain values are compared as wholes by what came and went; other lists by position.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in after:
                yield ParameterChange(inner, "removed", before[key], None)
            elif key not in before:
                yield ParameterChange(inner, "added", None, after[key])
            else:
                yield from json_changes(before[key], after[key], inner)
    elif _is_plain_list(before) and _is_plain_list(after):
        yield from _list_changes(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            inner = f"{path}[{index}]"
            if index >= len(after):
                yield ParameterChange(inner, "removed", before[index], None)
            elif index >= len(before):
                yield ParameterChange(inner, "added", None, after[index])
            else:
                yield from json_changes(before[index], after[index], inner)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield ParameterChange(path or "(whole)", "changed", before, after)


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(part, dict | list) for part in value)


def _list_changes(before: list[Any], after: list[Any], path: str) -> Iterator[ParameterChange]:
    gone = [part for part in before if part not in after]
    come = [part for part in after if part not in before]
    for part in gone:
        yield ParameterChange(path or "(whole)", "removed", part, None)
    for part in come:
        yield ParameterChange(path or "(whole)", "added", None, part)
    if not gone and not come and before != after:
        yield ParameterChange(path or "(whole)", "changed", before, after)
