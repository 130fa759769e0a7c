"""The one place where errors become words on stderr and an exit code.

- stdout carries data; with `--json` an error is data too, so that a pipeline can read it.
- A slip in the words of a command reads like every other error.
- Whoever stops reading, or closes a stream, gets no complaint.
- A programmer's mistake stays a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import sys
from types import FrameType

import click

from lockgate.errors import Interrupted, LockgateError, RegistryTrouble, UsageMistake
from lockgate.shown import shown

BROKEN_PIPE = 141
_WORDS = {7: ("waiting: ", "yellow"), 130: ("stopped: ", "yellow")}
"""Exit codes that are no error: everything is done that could be, or a person wanted it so."""
_FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "is over quota", errno.EFBIG: "takes no more"}
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_ODD_PATH = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTEMPTY,
    errno.EIO,
)


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code of DESIGN's table: 0 done, 1 refused, 2 usage, 3 registry or disk,
        4 inconclusive, 5 infrastructure, 6 integrity, 7 waiting for a person, 130 interrupted.
    """
    _open_missing_streams()
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _invoke(arguments)
    except LockgateError as error:
        return fail(error, as_json="--json" in arguments, system=_system_in(arguments))
    except BrokenPipeError:
        # Whoever read our output went away; a second complaint at exit helps nobody.
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(null, stream.fileno())
        return BROKEN_PIPE


def fail(
    error: LockgateError,
    *,
    as_json: bool,
    data: dict[str, object] | None = None,
    system: str | None = None,
) -> int:
    """Tell an error: words on stderr, and with `--json` one value on stdout.

    Args:
        error: What happened.
        as_json: Whether stdout gets it as well.
        data: What the command has to say besides, in the same value.
        system: The system that was named with -s; the hint's commands then name it too.

    Returns:
        The error's exit code.
    """
    from lockgate.cli.common import asked_system, emit, with_system

    hint = with_system(error.hint, system or asked_system())
    with contextlib.suppress(OSError):
        if as_json:
            emit({**(data or {}), **_body(error, hint)})
        _words(error, hint)
    return error.exit_code


def _system_in(arguments: list[str]) -> str | None:
    """Return what stands after -s or --system in the words of a command."""
    for word, following in zip(arguments, arguments[1:], strict=False):
        if word in ("-s", "--system"):
            return following
        if word.startswith("--system="):
            return word.partition("=")[2]
    return None


def _invoke(arguments: list[str]) -> int:
    from lockgate.cli.main import cli

    if "_LOCKGATE_COMPLETE" in os.environ:
        cli.main(arguments, prog_name="lockgate")
    try:
        with cli.make_context("lockgate", list(arguments), color=_colour()) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as mistake:
        raise _usage(mistake, arguments) from mistake
    except (KeyboardInterrupt, click.exceptions.Abort) as stopped:
        raise Interrupted(
            "stopped: everything acknowledged so far is kept",
            hint=f"run it again to go on: `{shlex.join(['lockgate', *arguments])}`",
        ) from stopped
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _trouble(error) from error


def _colour() -> bool | None:
    """Return `False` where nobody wants colours; otherwise each stream decides for itself."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _usage(mistake: click.ClickException, arguments: list[str]) -> UsageMistake:
    from lockgate.cli.main import COMMANDS

    context = mistake.ctx if isinstance(mistake, click.UsageError) else None
    called = [name for name in arguments[:1] if name in COMMANDS]
    command = context.command_path if context else " ".join(["lockgate", *called])
    hint = f"`{command} --help`"
    if isinstance(mistake, click.MissingParameter) and mistake.param is not None:
        param = mistake.param
        option = f"{param.opts[0]} " if isinstance(param, click.Option) else ""
        needed = param.metavar or str(param.name).upper()
        return UsageMistake(f"`{command}` needs `{option}{needed}`", hint=hint)
    if isinstance(mistake, click.NoSuchOption):
        if mistake.possibilities:
            hint = f"did you mean {' or '.join(f'`{one}`' for one in mistake.possibilities)}?"
        return UsageMistake(f"`{command}` has no option `{mistake.option_name}`", hint=hint)
    what = mistake.message.rstrip(".").replace("'", "`")
    if isinstance(mistake, click.BadParameter) and mistake.param is not None:
        return UsageMistake(f"`{mistake.param.opts[-1]}`: {what}", hint=hint)
    return UsageMistake(what[:1].lower() + what[1:], hint=hint)


def _trouble(error: OSError) -> RegistryTrouble:
    """Put what the system said about a file or the disk into our words; else it stays a bug."""
    path = error.filename if isinstance(error.filename, str) else None
    if path is None and error.errno == errno.ENOENT:
        return RegistryTrouble(
            "the folder you are in is gone", hint="go into one that exists: `cd`"
        )
    named = f"`{path}`" if path else "the disk"
    looked_at = shlex.quote(path) if path else "."
    reason = (error.strerror or "unknown error").lower()
    if error.errno in _FULL:
        return RegistryTrouble(
            f"the disk {_FULL[error.errno]}: {reason}",
            hint=f"make room, then run it again: `df -h {looked_at}` shows what is left",
        )
    if error.errno in _DENIED:
        return RegistryTrouble(
            f"{named} says no: {reason}",
            hint=f"its owner can let you in: `ls -ld {looked_at}` shows who that is",
        )
    if error.errno in _ODD_PATH:
        return RegistryTrouble(
            f"{named} cannot be used: {reason}", hint=f"look at it: `ls -ld {looked_at}`"
        )
    raise error


def _open_missing_streams() -> None:
    """Give the process the streams it was started without, or a file opened later becomes one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _body(error: LockgateError, hint: str) -> dict[str, object]:
    return {
        "error": error.what,
        "problems": list(error.problems),
        "hint": hint,
        "exit_code": error.exit_code,
    }


def _words(error: LockgateError, hint: str) -> None:
    word, word_colour = _WORDS.get(error.exit_code, ("error: ", "red"))
    _part(word, word_colour, error.what.removeprefix(word))
    for problem in error.problems:
        _part("  - ", None, problem)
    if hint:
        _part("hint: ", "cyan", hint)


def _part(begin: str, begin_colour: str | None, text: str) -> None:
    """Print a part of an error; on a terminal its lines break between words."""
    from lockgate.cli.common import told_lines

    colour = _colour()
    click.secho(begin, fg=begin_colour, err=True, nl=False, color=colour)
    for number, line in enumerate(told_lines(shown(text), indent=len(begin))):
        click.echo(f"{' ' * len(begin) if number else ''}{line}", err=True, color=colour)
