"""Ways to make a version worse, on purpose: what a rehearsal deploys to see whether it is noticed.

- An operator works on a definition and its bytes alone, so it fits every system that has the part.
- It is deterministic: the same version made worse in the same way has the same identity.
- What it cannot be applied to is left alone, and the reason is said.
- What it makes still runs where that can be known: a system that does not start is no score.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from lockgate.domain.components import Component, Definition

HOTTEST = 2.0
"""The highest temperature that endpoints commonly take."""
_TEXT_SUFFIXES = (".md", ".txt")
_LEAST_LIST_LINES = 5
_LONGEST_LIST_LINE = 60
_SENTENCE_ENDS = (".", "!", "?", ":", ";", ",")


class NotApplicable(Exception):  # noqa: N818 - named for what it says
    """The version has nothing that this operator could make worse."""


@dataclass(frozen=True, slots=True)
class Worse:
    """A version's definition, made worse."""

    definition: Definition
    contents: Mapping[str, bytes]
    """The bytes that are new, by digest; all others are the version's own."""
    words: str
    """What was done, with its numbers."""


Read = Callable[[str], bytes]
"""Gives the bytes of a digest."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to make a version worse."""

    name: str
    words: str
    apply: Callable[[Definition, Read], Worse]
    """Raises `NotApplicable`."""


def make_worse(operator: Operator, definition: Definition, read: Read) -> Worse:
    """Return a definition made worse.

    Raises:
        NotApplicable: The operator finds nothing to make worse, or changes nothing.
    """
    worse = operator.apply(definition, read)
    if worse.definition.digest == definition.digest:
        raise NotApplicable("it would change nothing")
    return worse


def _drop_examples(definition: Definition, read: Read) -> Worse:
    changed: dict[str, bytes] = {}
    dropped = 0
    for path, digest in sorted(_component(definition, "prompt").paths().items()):
        found = without_examples(path, read(digest))
        if found is not None and found[1]:
            changed[path], count = found
            dropped += count
    if not changed:
        raise NotApplicable("the prompt has no file of examples")
    return _rewritten(definition, "prompt", changed, f"{dropped} examples dropped")


def _truncate_prompt(definition: Definition, read: Read) -> Worse:
    texts = _prompt_texts(definition, read)
    changed = {path: _first_half(data) for path, data in texts.items() if len(data.strip()) > 1}
    if not changed:
        raise NotApplicable("the prompt has no text file")
    return _rewritten(definition, "prompt", changed, "the prompt ends in the middle")


def _blank_prompt(definition: Definition, read: Read) -> Worse:
    texts = {path: data for path, data in _prompt_texts(definition, read).items() if data.strip()}
    if not texts:
        raise NotApplicable("the prompt has no text file")
    if all(without_examples(path, data) is not None for path, data in texts.items()):
        raise NotApplicable("all of the prompt is examples, which drop-examples leaves out")
    return _rewritten(definition, "prompt", dict.fromkeys(texts, b""), "the prompt is empty")


def _raise_temperature(definition: Definition, read: Read) -> Worse:
    settings = _component(definition, "generation").settings
    now = settings.get("temperature")
    if not isinstance(now, int | float) or isinstance(now, bool):
        raise NotApplicable("there is no `temperature` under [generation]")
    if now >= HOTTEST:
        raise NotApplicable(f"the temperature is {now:g} already")
    words = f"temperature {now:g} -> {HOTTEST:g}"
    return _reset(definition, "generation", {"temperature": HOTTEST}, words)


def _break_tools(definition: Definition, read: Read) -> Worse:
    changed: dict[str, bytes] = {}
    for path, digest in sorted(_component(definition, "tools").paths().items()):
        try:
            schema = json.loads(read(digest))
        except ValueError:
            continue
        broken = _without_properties(schema)
        if broken != schema:
            changed[path] = json.dumps(broken, indent=2, ensure_ascii=False).encode() + b"\n"
    if not changed:
        raise NotApplicable("no tool has a schema with properties")
    count = f"{len(changed)} tool{'s' if len(changed) > 1 else ''}"
    return _rewritten(definition, "tools", changed, f"{count} without properties")


def _lower_top_k(definition: Definition, read: Read) -> Worse:
    now = _component(definition, "retrieval").settings.get("top_k")
    if not isinstance(now, int) or isinstance(now, bool):
        raise NotApplicable("there is no `top_k` under [retrieval]")
    if now <= 1:
        raise NotApplicable(f"top_k is {now} already")
    return _reset(definition, "retrieval", {"top_k": 1}, f"top_k {now} -> 1")


def _shuffle_index(definition: Definition, read: Read) -> Worse:
    part = _component(definition, "retrieval")
    paths = sorted(part.files)
    contents = [part.files[path] for path in paths]
    if len(set(contents)) < 2:
        raise NotApplicable("retrieval has fewer than two different files")
    files = dict(zip(paths, contents[1:] + contents[:1], strict=True))
    moved = sum(files[path] != part.files[path] for path in paths)
    return Worse(
        _with(definition, "retrieval", replace(part, files=files)),
        {},
        f"{moved} files stand under another one's name",
    )


OPERATORS: tuple[Operator, ...] = (
    Operator("drop-examples", "leave out the prompt's examples", _drop_examples),
    Operator("shuffle-index", "mix up which content stands under which file", _shuffle_index),
    Operator("blank-prompt", "empty the prompt's text", _blank_prompt),
    Operator("break-tools", "take the properties out of the tools' schemas", _break_tools),
    Operator("raise-temperature", f"sample at temperature {HOTTEST:g}", _raise_temperature),
    Operator("lower-top-k", "retrieve one document only", _lower_top_k),
    Operator("truncate-prompt", "cut the prompt's text in half", _truncate_prompt),
)
"""All operators, those that usually do the most damage first."""


def without_examples(path: str, data: bytes) -> tuple[bytes, int] | None:
    """Return a file without its examples and how many it had; `None` when it is no such file.

    JSON lines, a JSON list, comma or tab separated rows below a header, and plain text with one
    short entry a line count as lists of examples.
    """
    suffix = path.rpartition(".")[2].lower()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    if suffix in ("jsonl", "ndjson"):
        return b"", len(lines)
    if suffix == "json":
        return _emptied_list(text)
    if suffix in ("csv", "tsv") and lines:
        rows = csv.reader(io.StringIO(text), delimiter="\t" if suffix == "tsv" else ",")
        return f"{lines[0]}\n".encode(), sum(1 for row in rows if row) - 1
    if suffix in ("txt", "list"):
        entries = [line for line in lines if not line.lstrip().startswith("#")]
        if _is_list(entries):
            comments = [line for line in lines if line.lstrip().startswith("#")]
            return "".join(f"{line}\n" for line in comments).encode(), len(entries)
    return None


def _emptied_list(text: str) -> tuple[bytes, int] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return (b"[]\n", len(value)) if isinstance(value, list) else None


def _is_list(entries: list[str]) -> bool:
    """Tell a list with one entry a line from sentences."""
    if len(entries) < _LEAST_LIST_LINES:
        return False
    short = sum(len(line) <= _LONGEST_LIST_LINE for line in entries)
    ended = sum(line.rstrip().endswith(_SENTENCE_ENDS) for line in entries)
    return short >= 0.9 * len(entries) and ended <= 0.2 * len(entries)


def _prompt_texts(definition: Definition, read: Read) -> dict[str, bytes]:
    """Return the prompt's text files; a list of entries is one only where there is no other."""
    found = {
        path: read(digest)
        for path, digest in sorted(_component(definition, "prompt").paths().items())
        if path.lower().endswith(_TEXT_SUFFIXES)
    }
    proper = {path: data for path, data in found.items() if without_examples(path, data) is None}
    return proper or found


def _first_half(data: bytes) -> bytes:
    """Return the first half of a text, whole lines where it has several."""
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        return b"".join(lines[: len(lines) // 2])
    text = data.decode("utf-8", "surrogateescape")
    return text[: len(text) // 2].encode("utf-8", "surrogateescape")


def _without_properties(schema: Any) -> Any:
    """Return a JSON Schema that says nothing any more about what it describes."""
    if isinstance(schema, list):
        return [_without_properties(held) for held in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_properties(held) for key, held in schema.items()}
    if isinstance(kept.get("properties"), dict):
        kept["properties"] = {}
        kept.pop("required", None)
    return kept


def _component(definition: Definition, name: str) -> Component:
    return definition.components.get(name, Component())


def _with(definition: Definition, name: str, part: Component) -> Definition:
    return Definition({**definition.components, name: part})


def _reset(definition: Definition, name: str, settings: Mapping[str, Any], words: str) -> Worse:
    part = _component(definition, name)
    changed = replace(part, settings={**part.settings, **settings})
    return Worse(_with(definition, name, changed), {}, words)


def _rewritten(definition: Definition, name: str, files: Mapping[str, bytes], words: str) -> Worse:
    part = _component(definition, name)
    digests = {path: sha256(data).hexdigest() for path, data in files.items()}
    changed = replace(
        part,
        files={path: digests.get(path, digest) for path, digest in part.files.items()},
        executables={path: digests.get(path, digest) for path, digest in part.executables.items()},
    )
    contents = {digests[path]: data for path, data in files.items()}
    return Worse(_with(definition, name, changed), contents, f"{words} ({_named(files)})")


def _named(files: Mapping[str, bytes]) -> str:
    first, *others = sorted(files)
    return f"{first} and {len(others)} more" if others else first
