"""Judges: what each kind of scorer means, as functions of an expected and an answered value.

- A score is a fraction from 0 to 1; an output that has not the expected shape scores 0.
- Values are equal as JSON: `1` and `1.0` are, `1` and `true` are not, object keys have no order.
- A dotted path walks objects by key and lists by position; a path into text reads it as JSON.
- Numbers are compared as they are written, so that 0.4 is within 0.1 of 0.3.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any

MAX_NUMBER_CHARACTERS = 64
MISSING: Any = object()
"""Stands where a path leads nowhere; equal to nothing, not even to itself."""

_EXACT_ARITHMETIC = Context(prec=60)
_NUMBER = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*", re.ASCII)

Judge = Callable[[Any, Any], float]
"""Takes the expected part and the output part of a case."""


def at_path(value: Any, path: str | None, *, read_text: bool = False) -> Any:
    """Return what stands at a dotted path, or `MISSING`.

    Args:
        value: Any JSON value.
        path: `None` for the value itself; `a.0.b` walks into lists by position.
        read_text: Read a text that the path leads into as JSON.
    """
    if path is None:
        return value
    for part in path.split("."):
        if read_text and isinstance(value, str):
            value = from_text(value)
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isascii() and part.isdigit():
            place = int(part)
            value = value[place] if place < len(value) else MISSING
        else:
            return MISSING
    return value


def from_text(text: str) -> Any:
    """Return what a text says as JSON, or `MISSING` when it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return MISSING


def same(first: Any, second: Any, *, fold: Callable[[str], str] | None = None) -> bool:
    """Tell whether two values are equal as JSON, however deep they are.

    Args:
        first: A JSON value.
        second: Another one.
        fold: Applied to every text before it is compared, but not to object keys.
    """
    pairs = [(first, second)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, str) and isinstance(other, str):
            if one != other and (fold is None or fold(one) != fold(other)):
                return False
        elif isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[key]) for key, value in one.items())
        elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                return False
        elif one != other or one is MISSING:
            return False
    return True


def _fold(options: Mapping[str, Any]) -> Callable[[str], str] | None:
    ignore_case, strip = options.get("ignore_case", False), options.get("strip", False)
    if ignore_case and strip:
        return lambda text: text.strip().casefold()
    if ignore_case:
        return str.casefold
    return str.strip if strip else None


def _exact(options: Mapping[str, Any]) -> Judge:
    fold = _fold(options)

    def judge(expected: Any, output: Any) -> float:
        return 1.0 if same(output, expected, fold=fold) else 0.0

    return judge


def _includes(options: Mapping[str, Any]) -> Judge:
    fold = _fold(options) or str

    def judge(expected: Any, output: Any) -> float:
        if not isinstance(output, str):
            return 0.0
        wanted = [expected] if isinstance(expected, str) else expected
        text = fold(output)
        return 1.0 if all(fold(part) in text for part in wanted) else 0.0

    return judge


def as_number(value: Any) -> Decimal | None:
    """Return a finite number as it is written, or `None`; text counts when it is all a number."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value) if len(value) <= MAX_NUMBER_CHARACTERS else None
        return Decimal(match[1]) if match and math.isfinite(float(match[1])) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        if not math.isfinite(value):
            return None
    except OverflowError:
        return None
    return Decimal(value) if isinstance(value, int) else Decimal(float.__repr__(value))


def _number(options: Mapping[str, Any]) -> Judge:
    absolute = Decimal(repr(options.get("tolerance", 0)))
    relative = Decimal(repr(options.get("relative", 0)))

    def judge(expected: Any, output: Any) -> float:
        target, found = as_number(expected), as_number(output)
        if target is None or found is None:
            return 0.0
        allowed = max(absolute, _EXACT_ARITHMETIC.multiply(relative, abs(target)))
        return 1.0 if abs(_EXACT_ARITHMETIC.subtract(found, target)) <= allowed else 0.0

    return judge


def _json_fields(options: Mapping[str, Any]) -> Judge:
    named = options.get("fields")

    def judge(expected: Any, output: Any) -> float:
        found = from_text(output) if isinstance(output, str) else output
        if not isinstance(found, dict):
            return 0.0
        if named is None:
            equal = [same(found.get(key, MISSING), want) for key, want in expected.items()]
        else:
            equal = [same(at_path(found, path), at_path(expected, path)) for path in named]
        return sum(equal) / len(equal)

    return judge


def _things(value: Any) -> list[Any] | None:
    """Return the members of a list as comparable keys; `None` when it is no list."""
    if isinstance(value, str):
        value = from_text(value)
    if not isinstance(value, (list, tuple)):
        return None
    return [_key(thing) for thing in value]


def _key(thing: Any) -> Any:
    if isinstance(thing, str):
        return thing
    if isinstance(thing, (dict, list, tuple, bool)) or thing is None:
        return ("json", _written(thing))
    return ("number", thing)


def _written(thing: Any) -> str:
    try:
        return json.dumps(_whole_numbers(thing), sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return f"unreadable {id(thing)}"  # equal to nothing else


def _whole_numbers(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _whole_numbers(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_whole_numbers(value) for value in thing]
    return int(thing) if isinstance(thing, float) and thing.is_integer() else thing


def _set_f1(_options: Mapping[str, Any]) -> Judge:
    def judge(expected: Any, output: Any) -> float:
        found = _things(output)
        if found is None:
            return 0.0
        have, want = set(found), set(_things(expected) or ())
        return 2 * len(have & want) / (len(have) + len(want)) if have or want else 1.0

    return judge


def _wanted(expected: Any) -> set[Any]:
    return {expected} if isinstance(expected, str) else set(_things(expected) or ())


def _recall_at_k(options: Mapping[str, Any]) -> Judge:
    k = options["k"]

    def judge(expected: Any, output: Any) -> float:
        found, want = _things(output), _wanted(expected)
        return len(want.intersection(found[:k])) / len(want) if found and want else 0.0

    return judge


def _mrr(options: Mapping[str, Any]) -> Judge:
    k = options.get("k")

    def judge(expected: Any, output: Any) -> float:
        found, want = _things(output), _wanted(expected)
        places = (place for place, thing in enumerate((found or ())[:k], 1) if thing in want)
        place = next(places, None)
        return 0.0 if place is None else 1 / place

    return judge


JUDGES: dict[str, Callable[[Mapping[str, Any]], Judge]] = {
    "exact": _exact,
    "includes": _includes,
    "number": _number,
    "json_fields": _json_fields,
    "set_f1": _set_f1,
    "recall_at_k": _recall_at_k,
    "mrr": _mrr,
}
"""Kind to what makes its judge from the scorer's options."""
