"""Answer questions inside a version's own process: JSON lines in, JSON lines out.

This file is run by path, with the version's folder as the current one, and needs nothing but the
standard library: a version runs where Lockgate itself cannot be imported.

    worker.py PARENT python MODULE:FUNCTION     answer questions with a function
    worker.py PARENT command PROGRAM ARGUMENT…  become a program that speaks the same protocol

- The function is called as `function(input, settings)`, or with the seed as a third argument when
  it accepts three.
- What it prints goes to standard error; standard output belongs to the protocol.
- An exception is the answer's error, with file and line, and the next question is answered.
- Each question gets its own copy of the settings and a `random` seeded with its seed, so that
  no answer depends on which questions came before.
- The process ends when its parent does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

_MAX_ERROR_CHARACTERS = 2000
_PR_SET_PDEATHSIG = 1


class _Unusable(Exception):
    """The target cannot be asked; the text says why."""


def _die_with(parent: int) -> None:
    """Let the kernel end this process with its parent, where the kernel can (Linux)."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it went before the call above
        os._exit(1)


def _private_channel() -> tuple[BinaryIO, BinaryIO]:
    """Take the protocol's two ends away from 0 and 1, where the version's code would find them."""
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(questions, "rb"), os.fdopen(answers, "wb")


def _place(error: BaseException, folder: str) -> str:
    """Name the innermost line of the version's own code, else of whatever code failed."""
    import traceback

    if isinstance(error, SyntaxError) and error.filename:
        return f" ({os.path.relpath(error.filename, folder)}:{error.lineno})"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__
    ]
    own = [frame for frame in frames if frame.filename.startswith(folder + os.sep)]
    for frame in reversed(own or frames):
        if not frame.filename.startswith("<"):
            name = frame.filename
            inside = os.path.relpath(name, folder) if own else os.path.basename(name)  # noqa: PTH119 - plain text
            return f" ({inside}:{frame.lineno})"
    return ""


def _described(error: BaseException, folder: str) -> str:
    """Return `ValueError: text (assistant.py:41)`."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the version's own __str__ may do anything
        text = "(its text cannot be read)"
    kind = type(error).__name__
    head = f"{kind}: {text}" if text else kind
    return head[:_MAX_ERROR_CHARACTERS] + _place(error, folder)


def _found(target: str, folder: str) -> Callable[..., Any]:
    """Import the function a target names.

    Raises:
        _Unusable: The target is no `module:function`, or either part is not there.
    """
    import importlib

    module_name, colon, function_name = target.partition(":")
    if not (module_name and colon and function_name):
        raise _Unusable(f"target `{target}` is not of the form `module:function`")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(missing + "."):
            raise
        path = module_name.replace(".", "/") + ".py"
        raise _Unusable(
            f"module `{module_name}` is not there: the version has no `{path}`"
        ) from None
    function: Any = module
    for part in function_name.split("."):
        function = getattr(function, part, None)
    if function is None:
        names = ", ".join(
            sorted(
                name
                for name, value in vars(module).items()
                if not name.startswith("_")
                and callable(value)
                and getattr(value, "__module__", None) == module_name
            )
        )
        there = f"; it has: {names}" if names else "; it has no function at all"
        raise _Unusable(f"module `{module_name}` has no function `{function_name}`{there}")
    if not callable(function):
        raise _Unusable(f"`{target}` is not a function but {type(function).__name__}")
    return function  # type: ignore[no-any-return] # any callable


def _takes_seed(function: Callable[..., Any], target: str) -> bool:
    """Tell whether a function accepts input, settings and seed.

    Raises:
        _Unusable: It does not even accept input and settings, or is asynchronous.
    """
    import inspect

    if inspect.iscoroutinefunction(function):
        raise _Unusable(f"`{target}` is asynchronous; give a plain function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have none
        return False
    for count in (3, 2):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 3
    raise _Unusable(f"`{target}` takes {signature}; it must take (input, settings)")


def _packages(folder: str) -> dict[str, str]:
    """Return name and version of each package that the version has imported so far."""
    names = {name.partition(".")[0] for name in tuple(sys.modules)}
    foreign = sorted(
        name
        for name in names - set(sys.stdlib_module_names)
        if not name.startswith("_")
        and (file := getattr(sys.modules.get(name), "__file__", None))
        and not file.startswith(folder + os.sep)
    )
    if not foreign:
        return {}
    from importlib import metadata

    found = {}
    for name in foreign:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            own = getattr(sys.modules[name], "__version__", None)
            if isinstance(own, str):
                found[name] = own
    return found


def _facts(folder: str) -> dict[str, Any]:
    """Return what about this process could change an answer."""
    implementation = sys.implementation.name
    facts: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": "CPython" if implementation == "cpython" else implementation,
        "platform": f"{sys.platform}-{os.uname().machine}",
        "flags": {
            "hash_seed": os.environ.get("PYTHONHASHSEED"),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        },
    }
    if "sqlite3" in sys.modules:
        facts["sqlite"] = sys.modules["sqlite3"].sqlite_version
    packages = _packages(folder)
    if packages:
        facts["packages"] = packages
    return facts


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)


class _Answerer:
    """A function, its settings, and whether it wants the seed."""

    def __init__(self, target: str, settings: Any, folder: str) -> None:
        self._function = _found(target, folder)
        self._takes_seed = _takes_seed(self._function, target)
        self._settings = json.dumps(settings)
        self._folder = folder

    def answer(self, question: dict[str, Any]) -> bytes:
        """Return the line that answers a question, be it an output or an error."""
        settings, seed = json.loads(self._settings), question["seed"]
        more = (seed,) if self._takes_seed else ()
        reply: dict[str, Any] = {"id": question["id"]}
        _seed(seed)
        try:
            output = self._function(question["input"], settings, *more)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the version raises is its answer
            return _line(reply | {"error": _described(error, self._folder)})
        try:
            return _line(reply | {"output": output})
        except (TypeError, ValueError, RecursionError) as error:
            return _line(reply | {"error": f"the answer is not JSON: {_described(error, '')}"})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode("ascii") + b"\n"


def _serve(target: str) -> int:
    """Answer until the questions end; return the exit code."""
    folder = str(Path.cwd())
    questions, answers = _private_channel()

    def say(line: bytes) -> None:
        answers.write(line)
        answers.flush()

    first = questions.readline()
    if not first:
        return 0
    start = json.loads(first)["start"]
    sys.path.insert(0, folder)
    sys.argv[:] = [target]
    _seed(start["seed"])
    try:
        answerer = _Answerer(target, start["settings"], folder)
    except _Unusable as error:
        say(_line({"ready": False, "error": str(error)}))
        return 2
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing runs the version's code
        import traceback

        traceback.print_exc()
        say(_line({"ready": False, "error": _described(error, folder)}))
        return 2
    say(_line({"ready": True, **_facts(folder)}))
    for line in questions:
        say(answerer.answer(json.loads(line)))
    return 0


def _become(program: str, arguments: list[str]) -> int:
    """Replace this process with a program; return only when that fails."""
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        sys.stderr.write(f"cannot run {program}: {error.strerror}\n")
    return 127


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code."""
    parent, kind, target, *rest = arguments
    _die_with(int(parent))
    if kind == "command":
        return _become(target, rest)
    try:
        return _serve(target)
    except (BrokenPipeError, KeyboardInterrupt):
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
