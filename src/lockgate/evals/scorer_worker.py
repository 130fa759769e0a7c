"""Score with foreign functions, patterns and schemas, in a process of its own.

Started by its path, never imported: it has the standard library and nothing of Lockgate. One JSON
line comes in per request and one goes out; what a scorer prints or reads goes nowhere. A request
that outlives its limit ends the whole process, so that none is left behind when its parent dies.
"""

from __future__ import annotations

import importlib.util
import json
import numbers
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

GRACE_S = 2.0
"""The parent kills first; this is for when the parent is gone."""
MAX_MESSAGE_CHARACTERS = 500

Judge = Callable[[dict[str, Any]], float]


class _Broken(Exception):
    """A scorer did not give a score; the message says how."""


def _main() -> None:
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    setup = json.loads(requests.readline())
    folder = setup["folder"]
    sys.path.append(folder)

    def reply(work: Callable[[], Any], limit_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, limit_s + GRACE_S)
        answer = _guarded(work, folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(answer).encode() + b"\n")
        replies.flush()

    judges: list[Judge] = []
    reply(lambda: judges.extend(_load(folder, setup["scorers"])), setup["load_limit_s"])
    for line in requests:
        request = json.loads(line)
        reply(partial(judges[request["scorer"]], request), setup["limit_s"])


def _guarded(work: Callable[[], Any], folder: str) -> dict[str, Any]:
    try:
        return {"score": work()}
    except _Broken as broken:
        return {"broken": str(broken)[:MAX_MESSAGE_CHARACTERS]}
    except BaseException as error:  # noqa: BLE001 - the edge to foreign code; even its exit is a message
        return {"broken": f"raised {_described(error, folder)}"}


def _described(error: BaseException, folder: str) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an exception whose own text cannot be made
        text = type(error).__name__
    text = text[:MAX_MESSAGE_CHARACTERS]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(folder):
            return f"{text} ({os.path.relpath(frame.filename, folder)}, line {frame.lineno})"
    return text


def _load(folder: str, scorers: list[dict[str, Any]]) -> list[Judge]:
    modules: dict[str, Any] = {}
    for index, scorer in enumerate(scorers):
        if scorer["kind"] == "python" and scorer["file"] not in modules:
            modules[scorer["file"]] = _module(folder, scorer["file"], index)
    return [_judge(scorer, modules) for scorer in scorers]


def _module(folder: str, file: str, index: int) -> Any:
    spec = importlib.util.spec_from_file_location(f"scorer_{index}", Path(folder, file))
    if spec is None or spec.loader is None:
        raise _Broken(f"`{file}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _judge(scorer: dict[str, Any], modules: dict[str, Any]) -> Judge:
    if scorer["kind"] == "python":
        function = getattr(modules[scorer["file"]], scorer["function"], None)
        if not callable(function):
            raise _Broken(f"`{scorer['file']}` has no function `{scorer['function']}`")
        return lambda request: _fraction(
            function(request["expected"], request["output"], request["input"])
        )
    if scorer["kind"] == "regex":
        return _matches if scorer["full"] else _found
    return _validity(scorer["schema"])


def _fraction(value: Any) -> float:
    if isinstance(value, numbers.Real) and 0 <= float(value) <= 1:
        return float(value)
    raise _Broken(f"returned `{value!r:.60}` instead of a number from 0 to 1")


def _matches(request: dict[str, Any]) -> float:
    return 1.0 if re.fullmatch(request["pattern"], request["text"]) else 0.0


def _found(request: dict[str, Any]) -> float:
    return 1.0 if re.search(request["pattern"], request["text"]) else 0.0


def _validity(schema: Any) -> Judge:
    jsonschema: Any = importlib.import_module("jsonschema")  # only suites with a schema pay for it
    referencing: Any = importlib.import_module("referencing")

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator = kind(schema, registry=referencing.Registry())

    def judge(request: dict[str, Any]) -> float:
        return 1.0 if any(_is_valid(validator, value) for value in request["values"]) else 0.0

    return judge


def _is_valid(validator: Any, value: Any) -> bool:
    try:
        return bool(validator.is_valid(value))
    except (RecursionError, ArithmeticError):
        return False  # nested or large beyond what a schema can be checked on


if __name__ == "__main__":
    _main()
