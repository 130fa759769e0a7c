"""What a version is made of: components, definitions and the definition digest.

- Every setting and every file belongs to exactly one component.
- The digest covers settings as JSON values and files as SHA-256 of their raw bytes, by path.
- Paths are relative, POSIX and NFC; two that are equal after normalising are refused.
- An executable file stands under `executables` instead of `files`.
- Numbers outside JSON's safe range, NaN and dates have no digest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lockgate.canonical import digest_json, is_digest

FORMAT = 1
COMPONENTS = ("model", "prompt", "generation", "tools", "retrieval", "code")
"""The components, in the order people read them."""

MAX_PATH_CHARACTERS = 1024
_PLAIN_PATHS = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\n)*")


def path_problem(path: str) -> str | None:
    """Say why a path cannot be part of a definition, or `None` when it can."""
    if not path or len(path) > MAX_PATH_CHARACTERS:
        return "is empty or longer than 1024 characters"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode normal form C"
    if path.startswith("/") or "\\" in path or "\0" in path:
        return "is not a relative POSIX path"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty, `.` or `..` part"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "has a control character"
    return None


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a definition: its settings and its files, each by name."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Relative path to SHA-256, for files that are not executable."""
    executables: Mapping[str, str] = field(default_factory=dict)
    """Relative path to SHA-256, for files their owner may execute."""

    def body(self) -> dict[str, Any]:
        """Return the JSON value that is hashed; `executables` only when there are any."""
        body: dict[str, Any] = {"settings": dict(self.settings), "files": dict(self.files)}
        if self.executables:
            body["executables"] = dict(self.executables)
        return body

    def paths(self) -> dict[str, str]:
        """Return every file of the component, executable or not, by path."""
        return {**self.files, **self.executables}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a definition as the registry stores it."""

    component: str
    kind: str
    """`setting`, `file` or `executable`."""
    key: str
    """The setting's name or the file's path."""
    value: Any
    """The setting's JSON value or the file's SHA-256."""


def _are_plain(parts: Iterable[Component]) -> bool:
    """Tell at once that thousands of ordinary paths and digests hold nothing to refuse."""
    groups = [group for part in parts for group in (part.files, part.executables) if group]
    paths = [path for group in groups for path in group]
    digests = [digest for group in groups for digest in group.values()]
    lines = "".join(f"{path}\n" for path in paths)
    return (
        len(set(paths)) == len(paths) == lines.count("\n")
        and max(map(len, paths), default=0) <= MAX_PATH_CHARACTERS
        and _PLAIN_PATHS.fullmatch(lines) is not None
        and all(map(is_digest, digests))
    )


@dataclass(frozen=True)
class Definition:
    """The components of one behaviour; equal definitions have equal digests."""

    components: Mapping[str, Component]

    def __post_init__(self) -> None:
        """Refuse what has no digest.

        Raises:
            ValueError: A component is unknown, a path is not allowed or stands twice, or a file's
                digest is not a SHA-256.
        """
        for name in self.components:
            if name not in COMPONENTS:
                raise ValueError(f"`{name}` is not a component: {', '.join(COMPONENTS)}")
        if _are_plain(self.components.values()):
            return
        owners: dict[str, str] = {}
        for name, component in self.components.items():
            for path, digest in (*component.files.items(), *component.executables.items()):
                problem = path_problem(path)
                if problem:
                    raise ValueError(f"path `{path}` {problem}")
                if path in owners:
                    raise ValueError(f"file `{path}` belongs to `{owners[path]}` and `{name}`")
                if not is_digest(digest):
                    raise ValueError(f"file `{path}` has no SHA-256 but `{digest}`")
                owners[path] = name

    def body(self) -> dict[str, Any]:
        """Return the JSON value whose canonical bytes are hashed."""
        return {
            "format": FORMAT,
            "components": {name: part.body() for name, part in self.components.items()},
        }

    @cached_property
    def digest(self) -> str:
        """The definition digest: SHA-256 of the canonical JSON of `body()`."""
        return digest_json(self.body())

    @cached_property
    def component_digests(self) -> dict[str, str]:
        """SHA-256 of each component's canonical JSON, for a readable lock file."""
        return {name: digest_json(self.components[name].body()) for name in self.ordered()}

    def ordered(self) -> list[str]:
        """Return the names of the components that are there, in reading order."""
        return [name for name in COMPONENTS if name in self.components]

    def files(self) -> dict[str, str]:
        """Return every file of every component: path to SHA-256."""
        return {
            path: digest
            for name in self.ordered()
            for path, digest in self.components[name].paths().items()
        }

    def is_executable(self, path: str) -> bool:
        """Tell whether a file of the definition carries the executable bit."""
        return any(path in part.executables for part in self.components.values())

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings of every component, as a version's code receives them."""
        return {name: dict(self.components[name].settings) for name in self.ordered()}

    def entries(self) -> Iterator[Entry]:
        """Give the definition line by line, in reading order, keys sorted."""
        for name in self.ordered():
            part = self.components[name]
            for key in sorted(part.settings):
                yield Entry(name, "setting", key, part.settings[key])
            for path in sorted(part.files):
                yield Entry(name, "file", path, part.files[path])
            for path in sorted(part.executables):
                yield Entry(name, "executable", path, part.executables[path])


def definition_from_entries(names: tuple[str, ...], entries: list[Entry]) -> Definition:
    """Put a definition together again from stored lines.

    Args:
        names: The components that are there, also those without a line.
        entries: As `Definition.entries` gave them, in any order.
    """
    parts: dict[str, dict[str, dict[str, Any]]] = {
        name: {"setting": {}, "file": {}, "executable": {}} for name in names
    }
    for entry in entries:
        parts[entry.component][entry.kind][entry.key] = entry.value
    return Definition(
        {
            name: Component(part["setting"], part["file"], part["executable"])
            for name, part in parts.items()
        }
    )
