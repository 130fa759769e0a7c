"""What differs between two definitions, component by component, in words people use.

- Only what changed is listed; a component that is equal does not appear.
- Settings are compared as values, files by their digests; a moved file is said to be moved.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lockgate.domain.components import COMPONENTS, Component, Definition

MAX_TEXT_LINES = 20_000
"""Above this many lines a text is compared as a whole."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting that differs; `None` on a side where it is not set."""

    component: str
    key: str
    before: Any
    after: Any

    def text(self) -> str:
        """Return for example `temperature 0.0 → 0.7`, or `temperature = 0.7` when it is new."""
        if self.before is None:
            return f"{self.key} = {_value(self.after)}"
        return f"{self.key} {_value(self.before)} → {_value(self.after)}"


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs: digests, `None` on a side where it is not there."""

    component: str
    path: str
    before: str | None
    after: str | None
    moved_from: str | None = None
    mode_changed: bool = False
    """Whether the executable bit differs."""

    @property
    def kind(self) -> str:
        """`added`, `removed`, `moved`, `mode` or `edited`."""
        if self.moved_from is not None:
            return "moved"
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "mode" if self.before == self.after else "edited"


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs between two definitions."""

    settings: tuple[SettingChange, ...]
    files: tuple[FileChange, ...]
    components_added: tuple[str, ...] = ()
    components_removed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the definitions are equal."""
        return not (self.settings or self.files or self.components_added or self.components_removed)

    def components(self) -> list[str]:
        """Return the names of the components that differ, in reading order."""
        touched = {change.component for change in self.settings}
        touched |= {change.component for change in self.files}
        touched |= {*self.components_added, *self.components_removed}
        return [name for name in COMPONENTS if name in touched]

    def summary(self) -> list[str]:
        """Return a line a component: `generation: temperature 0.0 → 0.7`."""
        lines = []
        for name in self.components():
            parts = [change.text() for change in self.settings if change.component == name]
            files = [change for change in self.files if change.component == name]
            if len(files) <= 3:
                parts += [f"{change.path} {change.kind}" for change in files]
            else:
                parts += _counts(files)
            if name in self.components_added:
                parts.insert(0, "component added")
            if name in self.components_removed:
                parts.insert(0, "component removed")
            lines.append(f"{name}: {' · '.join(parts)}")
        return lines


def _counts(files: list[FileChange]) -> list[str]:
    kinds = [change.kind for change in files]
    return [
        f"{kinds.count(kind)} files {kind}"
        for kind in ("added", "removed", "edited", "moved", "mode")
        if kind in kinds
    ]


def _value(value: Any) -> str:
    if value is None:
        return "(not set)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def difference(before: Definition | None, after: Definition) -> Difference:
    """Return what differs; against nothing, everything is added."""
    old = before.components if before else {}
    settings: list[SettingChange] = []
    files: list[FileChange] = []
    for name in COMPONENTS:
        left, right = old.get(name, Component()), after.components.get(name, Component())
        settings += _setting_changes(name, left, right)
        files += _file_changes(name, left, right)
    return Difference(
        tuple(settings),
        tuple(files),
        tuple(name for name in after.ordered() if name not in old),
        tuple(name for name in COMPONENTS if name in old and name not in after.components),
    )


def _setting_changes(name: str, left: Component, right: Component) -> Iterator[SettingChange]:
    for key in sorted({*left.settings, *right.settings}):
        is_set = (key in left.settings, key in right.settings)
        before, after = left.settings.get(key), right.settings.get(key)
        if before != after or type(before) is not type(after) or is_set[0] != is_set[1]:
            if isinstance(before, int | float) and isinstance(after, int | float):
                same_number = not isinstance(before, bool) and not isinstance(after, bool)
                if same_number and before == after:
                    continue
            yield SettingChange(name, key, before, after)


def _file_changes(name: str, left: Component, right: Component) -> Iterator[FileChange]:
    old, new = left.paths(), right.paths()
    gone = {path: digest for path, digest in old.items() if path not in new}
    by_digest: dict[str, list[str]] = {}
    for path in sorted(gone, reverse=True):
        by_digest.setdefault(gone[path], []).append(path)
    moved: set[str] = set()
    for path in sorted(new):
        digest = new[path]
        if path in old:
            mode = (path in left.executables) != (path in right.executables)
            if old[path] != digest or mode:
                yield FileChange(name, path, old[path], digest, mode_changed=mode)
        elif by_digest.get(digest):
            source = by_digest[digest].pop()
            moved.add(source)
            yield FileChange(name, path, digest, digest, moved_from=source)
        else:
            yield FileChange(name, path, None, digest)
    for path in sorted(gone):
        if path not in moved:
            yield FileChange(name, path, gone[path], None)


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of a text difference, with its changed words marked."""

    sign: str
    """` `, `-` or `+`."""
    words: tuple[tuple[str, bool], ...]
    """Pieces of the line and whether each is new or gone; joined they are the line."""

    @property
    def text(self) -> str:
        """The whole line."""
        return "".join(piece for piece, _ in self.words)


def text_difference(before: str, after: str, *, context: int = 2) -> list[TextLine]:
    """Return the lines that differ, words inside a changed line marked.

    Args:
        before: The old text.
        after: The new text.
        context: How many equal lines to keep around a change; a gap shows as `…`.
    """
    old, new = before.splitlines(), after.splitlines()
    if len(old) + len(new) > MAX_TEXT_LINES:
        note = f"{len(old)} lines → {len(new)} lines, too many to compare"
        return [TextLine(" ", ((note, False),))]
    lines: list[TextLine] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(context):
        if lines:
            lines.append(TextLine(" ", (("…", False),)))
        for kind, a1, a2, b1, b2 in group:
            if kind == "equal":
                lines += [TextLine(" ", ((line, False),)) for line in old[a1:a2]]
            elif kind == "replace" and a2 - a1 == b2 - b1:
                pairs = [_word_lines(x, y) for x, y in zip(old[a1:a2], new[b1:b2], strict=True)]
                lines += [left for left, _ in pairs] + [right for _, right in pairs]
            else:
                lines += [TextLine("-", ((line, True),)) for line in old[a1:a2]]
                lines += [TextLine("+", ((line, True),)) for line in new[b1:b2]]
    return lines


_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def _word_lines(before: str, after: str) -> tuple[TextLine, TextLine]:
    old, new = _WORD.findall(before), _WORD.findall(after)
    left: list[tuple[str, bool]] = []
    right: list[tuple[str, bool]] = []
    for kind, a1, a2, b1, b2 in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        is_changed = kind != "equal"
        if a2 > a1:
            left.append(("".join(old[a1:a2]), is_changed))
        if b2 > b1:
            right.append(("".join(new[b1:b2]), is_changed))
    return TextLine("-", tuple(left)), TextLine("+", tuple(right))
