"""Read what a version's process says, as something that was written by a stranger.

- Only UTF-8 JSON objects, one a line, are messages; NaN and infinities are not JSON.
- An answer must be one that records can carry: no number beyond 2^53 - 1, no lone surrogate,
  nothing nested deeper than 100 levels.
- A process whose reply does not belong to the question is out of step and not asked again.
- How long an answer took is measured here, never told.
- Nothing it wrote is quoted without `shown()`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from lockgate.ports import CaseFailed, Reply
from lockgate.shown import shown

MAX_DEPTH = 100
"""The most levels of lists and objects an answer may nest."""
MAX_ERROR_CHARACTERS = 2000
"""The most characters of a version's own error text that are kept."""
_MAX_INTEGER = 2**53 - 1
_MAX_QUOTED = 80


class OutOfStep(CaseFailed):
    """What came back is no reply to the question; the process must not be asked again."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def quoted(value: object) -> str:
    """Return a stranger's text for a message: safe, short and in backticks."""
    return f"`{shown(value, limit=_MAX_QUOTED)}`"


def message_in(line: bytes) -> dict[str, Any]:
    """Return the JSON object a line holds.

    Raises:
        OutOfStep: The line is not UTF-8, not JSON, nested too deep or not an object.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OutOfStep(f"the reply is not UTF-8 (byte {error.start})") from error
    try:
        message = _decoder.decode(text)
    except RecursionError as error:
        raise OutOfStep(f"the reply is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise OutOfStep(
            f"the reply is not JSON ({shown(error, limit=200)}): {quoted(text)}"
        ) from error
    if not isinstance(message, dict):
        raise OutOfStep(f"the reply is not a JSON object: {quoted(text)}")
    return message


def value_problem(value: Any) -> str | None:
    """Say why a JSON value cannot go on record, or `None` when it can."""
    layer = [value]
    for depth in range(MAX_DEPTH + 1):
        deeper: list[Any] = []
        for item in layer:
            match item:
                case str():
                    if not item.isascii() and not _is_text(item):
                        return "holds a lone surrogate, which is not text"
                case bool():
                    pass
                case int():
                    if abs(item) > _MAX_INTEGER:
                        return "holds an integer beyond 2^53 - 1"
                case float():
                    if not math.isfinite(item):
                        return "holds a number beyond what JSON can carry"
                case dict() | list() if depth == MAX_DEPTH:
                    return f"is nested deeper than {MAX_DEPTH} levels"
                case dict():
                    deeper.extend(item)
                    deeper.extend(item.values())
                case list():
                    deeper.extend(item)
        if not deeper:
            break
        layer = deeper
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def reply_in(message: dict[str, Any], asked: str, elapsed_ms: float) -> Reply:
    """Return the answer a message carries.

    Args:
        message: As `message_in` gave it.
        asked: The id that was sent with the question.
        elapsed_ms: Time from the question to the reply, as measured here: a version is judged by
            it, so what the process may tell about it does not count.

    Raises:
        OutOfStep: The message answers another question.
        CaseFailed: The process reports an error, or the answer cannot go on record.
    """
    if message.get("id") != asked:
        what = f"has the id {_told(message['id'])}" if "id" in message else "has no id"
        raise OutOfStep(f'the reply {what}, the question had `"{asked}"`')
    if message.get("error") is not None:
        raise CaseFailed(_error_in(message))
    if "output" not in message:
        raise CaseFailed("the reply has neither `output` nor `error`")
    problem = value_problem(message["output"])
    if problem:
        raise CaseFailed(f"the answer {problem}")
    return Reply(
        output=message["output"],
        latency_ms=elapsed_ms,
        tokens_in=_count(message, "tokens_in"),
        tokens_out=_count(message, "tokens_out"),
    )


def _error_in(message: dict[str, Any]) -> str:
    error = message["error"]
    if not isinstance(error, str):
        return f"`error` is no text: {_told(error)}"
    return shown(error, limit=MAX_ERROR_CHARACTERS) or "an error without a text"


def _told(value: Any) -> str:
    """Quote a value that may be anything, without walking into it."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return quoted(json.dumps(value, ensure_ascii=False))


def _count(message: dict[str, Any], key: str) -> int | None:
    value = message.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
        raise CaseFailed(f"`{key}` is no count: {_told(value)}")
    return value


def facts_in(message: dict[str, Any]) -> dict[str, Any]:
    """Return what a process tells about itself when it is ready.

    Raises:
        OutOfStep: It is not ready, or its facts cannot go on record; the message says why.
    """
    if message.get("error") is not None:
        raise OutOfStep(_error_in(message))
    if message.get("ready") is not True:
        keys = quoted(", ".join(message)) if message else "nothing"
        raise OutOfStep(f'the first line must be `{{"ready": true}}`, it holds {keys}')
    facts = {key: value for key, value in message.items() if key != "ready"}
    problem = value_problem(facts)
    if problem:
        raise OutOfStep(f"what it tells about itself {problem}")
    return facts
