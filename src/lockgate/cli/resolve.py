"""`lockgate resolve`: for machines, and fast: `run()` needs neither click nor the registry.

- stdout has the folder alone, or one JSON value with `--json`; words go to stderr.
- A last good version that had to be kept is served with exit code 0 and a warning: a server that
  starts with it is better than none.
"""

from __future__ import annotations

import json
import sys

from lockgate.deploy.resolve import Resolved, ResolveError, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPTIONS = ("--root", "--state", "--trust")
USAGE = """\
Usage: lockgate resolve SYSTEM ENV [--root DIR] [--state PATH] [--trust FILE] [--json]

  Print the folder of what is live, after verifying its receipt and every byte.

  An older receipt than one that was resolved before is refused. What does not
  hold is not served: the last good version is, with a warning, or none.

Options:
  --root DIR    The environment's published folder; else LOCKGATE_PUBLISHED, or
                `published/ENV` found upward.
  --state PATH  Keeps the newest generation; else a file of this user's own.
  --trust FILE  The registry host's public key; else LOCKGATE_TRUST, or the key
                that was pinned at first use.
  --json        Print one JSON value.
  -h, --help    Show this message and exit.
"""


class _Mistake(Exception):
    """The words of the command are off."""


def run(arguments: list[str]) -> int:
    """Run the command on the words that follow `resolve`.

    Returns:
        The exit code: 0 done, 1 replayed, 2 usage, 3 nothing there or a disk, 6 integrity broken.
    """
    if any(word in ("-h", "--help") for word in arguments):
        sys.stdout.write(USAGE)
        return 0
    as_json = "--json" in arguments
    try:
        (system, environment), options = _parsed(arguments)
        resolved = resolve(system, environment, **options)
    except _Mistake as mistake:
        hint = "`lockgate resolve SYSTEM ENV`; `lockgate resolve --help` says more"
        return _say(str(mistake), [], hint, 2, as_json)
    except ResolveError as error:
        return _say(error.what, list(error.problems), error.hint, error.exit_code, as_json)
    _tell(resolved)
    sys.stdout.write(
        f"{json.dumps(body(resolved), indent=2) if as_json else resolved.folder_name}\n"
    )
    sys.stdout.flush()
    return 0


def body(resolved: Resolved) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "folder": resolved.folder_name,
        "version": resolved.version,
        "label": resolved.label,
        "generation": resolved.generation,
        "stale": resolved.stale,
        "note": resolved.note,
        "ungated": bool(resolved.receipt["ungated"]),
        "receipt": resolved.receipt,
    }


def _parsed(arguments: list[str]) -> tuple[tuple[str, str], dict[str, str]]:
    names, options = [], {}
    words = iter(arguments)
    for word in words:
        option, has_value, value = word.partition("=")
        if option in _OPTIONS:
            given = value if has_value else next(words, None)
            if not given:
                raise _Mistake(f"`{option}` needs a value")
            options[option[2:]] = given
        elif word != "--json":
            if word.startswith("-"):
                raise _Mistake(f"there is no option `{word}`")
            names.append(word)
    if len(names) != 2:
        raise _Mistake(
            f"`lockgate resolve` needs a system and an environment, not {len(names)} words"
        )
    for name in names:
        if not name or len(name) > 40 or name.strip("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise _Mistake(f"`{name}` is no name of a system or an environment")
    return (names[0], names[1]), options


def _tell(resolved: Resolved) -> None:
    if resolved.stale is not None:
        _write(f"warning: {resolved.label} is kept, generation {resolved.generation}")
        _write(f"  - {resolved.stale}")
    if resolved.receipt["ungated"]:
        _write(f"note: {resolved.label} is ungated: somebody broke the glass for it")
    if resolved.note is not None:
        _write(f"note: {resolved.note}")


def _say(what: str, problems: list[str], hint: str, code: int, as_json: bool) -> int:
    if as_json:
        error = {"error": what, "problems": problems, "hint": hint, "exit_code": code}
        sys.stdout.write(f"{json.dumps(error)}\n")
    _write(f"error: {what}")
    for problem in problems:
        _write(f"  - {problem}")
    if hint:
        _write(f"hint: {hint}")
    return code


def _write(line: str) -> None:
    from lockgate.shown import shown  # only when there is something to say

    sys.stderr.write(f"{shown(line)}\n")


def __getattr__(name: str) -> Any:
    """Make the same command for the command line's own parser, when `--help` asks for it."""
    if name != "resolve_command":
        raise AttributeError(name)
    import click

    @click.command(
        "resolve",
        short_help="Print the folder of what is live, verified; for machines.",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def resolve_command(words: tuple[str, ...]) -> int:
        """Print the folder of what is live, after verifying its receipt and every byte."""
        return run(list(words))

    return resolve_command
