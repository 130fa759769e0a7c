"""Patterns that name files: `*` and `?` inside a name, `**` across folders, `[abc]` for a choice.

- A pattern is relative to the system's folder and never leaves it.
- Matching is by path in Unicode normal form C; upper and lower case differ.
- Hidden files are never offered to a pattern, so no pattern claims one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

_WILD = re.compile(r"[*?\[]")


def pattern_problem(text: str) -> str | None:
    """Say why a text cannot be a pattern, or `None` when it can."""
    if not text or text == "./":
        return "is empty"
    if len(text) > 1024:
        return "is longer than 1024 characters"
    if text.startswith(("/", "~")):
        return "is not relative to the folder"
    if "\\" in text:
        return "has a backslash; folders are separated by `/`"
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        return "has a control character"
    parts = text.removeprefix("./").split("/")
    if ".." in parts:
        return "leads out of the folder with `..`"
    if "." in parts or "" in parts[:-1]:
        return "has an empty or `.` part"
    return None


def literal(path: str) -> str:
    """Return the pattern that matches one path and nothing else."""
    return _WILD.sub(lambda found: f"[{found[0]}]", path)


@dataclass(frozen=True)
class Pattern:
    """One pattern, ready to be asked about folders and names."""

    text: str

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The parts between slashes; a trailing `**` stands for every file below."""
        text = unicodedata.normalize("NFC", self.text.removeprefix("./"))
        parts: list[str] = []
        for part in text.split("/"):
            if part != "**" or parts[-1:] != ["**"]:
                parts.append(part)
        return (*parts, "*") if parts[-1] == "**" else tuple(parts)

    @cached_property
    def is_literal(self) -> bool:
        """Whether it names exactly one path."""
        return not _WILD.search(self.text.replace("[*]", "").replace("[?]", "").replace("[[]", ""))

    @property
    def path(self) -> str:
        """The one path a literal pattern names."""
        return re.sub(r"\[([*?\[])\]", r"\1", "/".join(self.segments))

    @cached_property
    def _folder(self) -> re.Pattern[str]:
        folders = ("(?:[^/]+/)*" if part == "**" else f"{_regex(part)}/" for part in self._above)
        return re.compile("".join(folders))

    @property
    def _above(self) -> tuple[str, ...]:
        return self.segments[:-1]

    @cached_property
    def name(self) -> re.Pattern[str]:
        """What a file's own name has to match, in a folder that `holds`."""
        return re.compile(_regex(self.segments[-1]))

    def holds(self, folder: str) -> bool:
        """Tell whether files directly in a folder can match; the root is the empty text."""
        return self._folder.fullmatch(f"{folder}/" if folder else "") is not None

    def matches(self, path: str) -> bool:
        """Tell whether a whole path matches."""
        folder, _, name = path.rpartition("/")
        return self.holds(folder) and self.name.fullmatch(name) is not None

    def reaches(self, folder: str) -> bool:
        """Tell whether a file in a folder, or anywhere below it, could match."""
        parts = folder.split("/") if folder else []
        for part, segment in zip(parts, self._above, strict=False):
            if segment == "**":
                return True
            if not re.fullmatch(_regex(segment), part):
                return False
        return len(parts) <= len(self._above)


def _regex(segment: str) -> str:
    """Translate one part of a pattern; a `[` that is never closed stands for itself."""
    out: list[str] = []
    at = 0
    while at < len(segment):
        character = segment[at]
        at += 1
        if character == "*":
            if out[-1:] != ["[^/]*"]:
                out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[" and (end := _choice_end(segment, at)):
            out.append(_choice(segment[at:end]))
            at = end + 1
        else:
            out.append(re.escape(character))
    return "".join(out)


def _choice_end(segment: str, start: int) -> int:
    """Return where a choice that began before `start` is closed, or 0."""
    first = start + 1 if segment[start : start + 1] == "!" else start
    return max(segment.find("]", first + 1), 0)


def _choice(inside: str) -> str:
    negated = inside.startswith("!")
    characters = inside[negated:]
    # only `-` between two characters keeps a meaning; a range that runs backwards matches nothing
    escaped = re.sub(r"[\\\]\[^&~|]", r"\\\g<0>", characters)
    try:
        re.compile(f"[{escaped}]")
    except re.error:
        return "(?!)"
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
