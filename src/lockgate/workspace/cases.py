"""Read the cases of a suite, one JSON object per line, and name every line that is wrong.

- A case has `id` and `input`, and may have `expected`, `tags` and `weight`; nothing else.
- An id stands once and has 1 to 128 printable characters, without spaces.
- Blank lines are nothing; NaN, repeated keys, and whole numbers beyond 2^53 are refused.
- A line is read at most up to 8 MiB, so that no file can fill the memory.

Cases are checked by hand: a suite may have a hundred thousand of them.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from lockgate.domain.suite import Case
from lockgate.shown import fitted
from lockgate.workspace.tomlfile import Mistake, suggestion

MAX_LINE_BYTES = 8 << 20
MAX_DEPTH = 64
MAX_WEIGHT = 1_000_000
MAX_TOLD = 100
"""Mistakes that are told one by one; the rest is counted."""

CASE_KEYS = ("id", "input", "expected", "tags", "weight")
_KEYS = frozenset(CASE_KEYS)
_LARGEST = 2**53 - 1
_BOM = b"\xef\xbb\xbf"
_PLAIN_NAME = re.compile(r"[!-~]{1,128}")
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CONFLICT = re.compile(r"<{7}|={7}$|>{7}|\|{7}")

_ONE_OBJECT = 'every line is one case: {"id": "t-001", "input": ..., "expected": ...}'
_ID_HINT = "an id has 1 to 128 printable characters, without spaces, and never changes"

CaseCheck = Callable[[Case, bool], Sequence[str]]
"""Takes a case and whether `expected` was written; returns what is wrong with it."""


class Mistakes:
    """Collects what is wrong, up to a number that a person can read."""

    def __init__(self) -> None:
        """Begin without a mistake."""
        self.told: list[Mistake] = []
        self.count = 0

    def add(self, what: str, hint: str) -> None:
        """Count a mistake and keep it while there is room."""
        self.count += 1
        if self.count <= MAX_TOLD:
            self.told.append(Mistake(what, hint))


class _Wrong(ValueError):
    """A line that cannot be read as JSON that has a digest."""


def read_cases(file: BinaryIO, name: str, check: CaseCheck, mistakes: Mistakes) -> list[Case]:
    """Return the cases of a file in its order.

    Args:
        file: Open for reading bytes; read line by line.
        name: How messages call the file.
        check: Says what else is wrong with a case, for example for a scorer.
        mistakes: Takes everything that is wrong, with the line.
    """
    before = mistakes.count
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for number, offset, line in _lines(file):
        place = f"{name} line {number}"
        value = _value(line, place, offset, mistakes)
        case = None if value is None else _case(value, place, mistakes)
        if value is None or case is None:
            continue
        first = lines.setdefault(case.id, number)
        if first != number:
            mistakes.add(
                f"{place}: case `{fitted(case.id, 60)}` stands in line {first} already",
                "give every case an id of its own",
            )
            continue
        for problem in check(case, "expected" in value):
            mistakes.add(
                f"{place}: case `{fitted(case.id, 60)}`: {problem}",
                "correct the case, or the scorer's `expected` path",
            )
        cases.append(case)
    if not lines and mistakes.count == before:
        mistakes.add(f"{name} has no case", _ONE_OBJECT)
    return cases


def _lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Give number, offset in the file and bytes of every line that is not blank."""
    number, offset = 0, 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number, start = number + 1, offset
        offset += len(line)
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
            offset += len(rest)
        if number == 1 and line.startswith(_BOM):
            line, start = line[len(_BOM) :], start + len(_BOM)
        if line.strip():
            yield number, start, line


def _value(line: bytes, place: str, offset: int, mistakes: Mistakes) -> dict[str, Any] | None:
    """Return what a line holds, or `None` after telling why that cannot be used."""
    if len(line) > MAX_LINE_BYTES:
        mistakes.add(f"{place}: longer than 8 MiB", "keep long material out of the cases")
        return None
    if b"\0" in line:
        position = offset + line.index(b"\0")
        mistakes.add(
            f"{place}: NUL at byte {position} of the file",
            "remove it; inside a text JSON writes it as `\\u0000`",
        )
        return None
    try:
        text = line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        position = offset + error.start
        mistakes.add(
            f"{place}: byte {position} of the file, 0x{line[error.start]:02x}, is not UTF-8 text",
            "save the file as UTF-8",
        )
        return None
    try:
        value = _DECODER.decode(text)
        _check_depth(text, value)
        _check_surrogates(text, value)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        rest = text[error.pos :].strip()
        where = f"at `{fitted(rest, 40)}`" if rest else "at the end of the line"
        is_conflict = _CONFLICT.match(text.rstrip())
        mistakes.add(
            f"{place} column {error.pos + 1}: not JSON: {what}, {where}",
            "resolve the merge conflict" if is_conflict else _ONE_OBJECT,
        )
        return None
    except RecursionError:
        mistakes.add(f"{place}: nested deeper than {MAX_DEPTH} levels", "use a flatter shape")
        return None
    except _Wrong as wrong:
        mistakes.add(f"{place}: {wrong}", "write a value that every JSON reader reads alike")
        return None
    if not isinstance(value, dict):
        mistakes.add(f"{place}: `{_short(value)}` is not an object", _ONE_OBJECT)
        return None
    return value


def _case(value: dict[str, Any], place: str, mistakes: Mistakes) -> Case | None:
    """Return the case an object describes, or `None` after telling everything wrong with it."""
    before = mistakes.count
    name = value.get("id")

    def tell(what: str, hint: str) -> None:
        case = f"case `{fitted(name, 60)}`: " if isinstance(name, str) else ""
        mistakes.add(f"{place}: {case}{what}", hint)

    for key in value:
        if key not in _KEYS:
            tell(f"`{fitted(key, 40)}` is not a key of a case", suggestion(key, CASE_KEYS))
    if "id" not in value:
        tell("`id` is missing", _ID_HINT)
    elif not (isinstance(name, str) and is_name(name)):
        mistakes.add(f"{place}: `id` is `{_short(name)}`", _ID_HINT)
    if "input" not in value:
        tell("`input` is missing", "`input` is what the version is asked")
    tags = value.get("tags", [])
    if not _are_tags(tags):
        hint = 'tags are a list of different texts without spaces: ["refunds", "long"]'
        tell(f"`tags` is `{_short(tags)}`", hint)
    weight = value.get("weight", 1.0)
    if not _is_weight(weight):
        hint = f"a weight is a number above 0, at most {MAX_WEIGHT}; left out it is 1"
        tell(f"`weight` is `{_short(weight)}`", hint)
    if mistakes.count > before or not isinstance(name, str):
        return None
    return Case(name, value["input"], value.get("expected"), tuple(tags), float(weight))


def is_name(text: str) -> bool:
    """Tell whether a text can be the id of a case or a tag: printable, no spaces, in NFC."""
    if _PLAIN_NAME.fullmatch(text):
        return True
    is_printable = 0 < len(text) <= 128 and text.isprintable() and " " not in text
    return is_printable and unicodedata.is_normalized("NFC", text)


def _are_tags(tags: Any) -> bool:
    if not isinstance(tags, list):
        return False
    names = [tag for tag in tags if isinstance(tag, str) and is_name(tag)]
    return len(set(names)) == len(tags)


def _is_weight(weight: Any) -> bool:
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    return is_number and 0 < weight <= MAX_WEIGHT


def _short(value: Any) -> str:
    return fitted(json.dumps(value, ensure_ascii=False), 60)


def _check_depth(text: str, value: Any) -> None:
    """Refuse nesting that some machine could not walk; counting brackets is nearly always enough."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    level, depth = [value], 0
    while level := [thing for thing in level if isinstance(thing, (dict, list))]:
        depth += 1
        if depth > MAX_DEPTH:
            raise RecursionError
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]


def _check_surrogates(text: str, value: Any) -> None:
    if _LONE_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _Wrong("half of a surrogate pair, which is no character") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Wrong(f"key `{fitted(twice, 40)}` stands twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > _LARGEST:
        raise _Wrong(f"`{fitted(digits, 40)}` is beyond the whole numbers of JSON, ±(2^53 - 1)")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Wrong(f"`{fitted(digits, 40)}` is beyond the numbers of JSON")
    return number


def _constant(word: str) -> Any:
    raise _Wrong(f"`{word}` is not a number of JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=_constant,
)


def read_json(text: str) -> Any:
    """Return a JSON value under the rules for cases.

    Raises:
        ValueError: It is no JSON, or JSON without a digest; the message says which.
        RecursionError: It is nested too deeply.
    """
    value = _DECODER.decode(text)
    _check_depth(text, value)
    _check_surrogates(text, value)
    return value
