"""The one place where errors become words on stderr and an exit code.

- stdout carries data; with `--json` an error is data too, so that a pipeline can read it.
- A programmer's mistake stays a traceback.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from types import FrameType

import click

from lockgate.errors import LockgateError, RegistryTrouble
from lockgate.shown import shown

INTERRUPTED = 130
BROKEN_PIPE = 141


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code of DESIGN's table: 0 done, 1 refused, 2 usage, 3 registry or disk,
        4 inconclusive, 5 infrastructure, 6 integrity, 7 waiting for a person, 130 interrupted.
    """
    from lockgate.cli.main import cli

    signal.signal(signal.SIGTERM, _stop)
    try:
        code = cli.main(arguments, prog_name="lockgate", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except LockgateError as error:
        return _say(error, arguments)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as mistake:
        mistake.show(sys.stderr)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("stopped: everything acknowledged so far is kept", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; a second complaint at exit helps nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        where = f" at `{error.filename}`" if error.filename else ""
        return _say(
            RegistryTrouble(
                f"the disk said no{where}: {error.strerror}",
                hint="check free space and rights with `df -h` and `ls -ld`",
            ),
            arguments,
        )


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(error: LockgateError, arguments: list[str]) -> int:
    if "--json" in arguments:
        body = {
            "error": error.what,
            "problems": list(error.problems),
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        click.echo(json.dumps(body, ensure_ascii=False))
    click.secho("error: ", fg="red", err=True, nl=False)
    click.echo(shown(error.what), err=True)
    for problem in error.problems:
        click.echo(f"  - {shown(problem)}", err=True)
    if error.hint:
        click.secho("hint: ", fg="cyan", err=True, nl=False)
        click.echo(shown(error.hint), err=True)
    return error.exit_code
