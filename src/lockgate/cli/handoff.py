"""`lockgate handoff` and `definition`: the one-page documents, from what is true now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    F,
    desk,
    emit,
    json_option,
    mark,
    plain,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.cli.looking import policy_of
from lockgate.errors import Refused, UsageMistake
from lockgate.shown import shown

_MAX_PAGE_BYTES = 4 << 20


def _options(function: F) -> F:
    options = (
        click.option("-o", "--output", metavar="FILE", help="Write it there instead."),
        click.option("--check", is_flag=True, help="Exit 1 unless FILE says the same already."),
        click.option("--force", is_flag=True, help="Write over a file that was not written by it."),
        system_option,
        registry_option,
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("handoff", short_help="Write the page that hands a system off.")
@_options
def handoff_command(
    output: str | None,
    check: bool,
    force: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Print how a change of a system goes live and how it is taken back, on one page.

    Every command on it runs as it stands. It is made from the applied policy and what is live,
    so keep it beside the code and let a pipeline run --check -o FILE: exit code 1 when it is old.
    """
    from lockgate.upkeep.handoff import handoff
    from lockgate.upkeep.handoff_page import COMMAND, handoff_page

    def make(at: Desk) -> tuple[str, object, str]:
        name = wiring.page_system(at.root, at.registry, system)
        place = wiring.workplace(at.root, at.registry, name, policy_of(at.registry))
        told = handoff(at.registry, name, policy_of(at.registry), place)
        return name, told, handoff_page(told)

    _page(COMMAND, make, output, check, force, registry, as_json)


@click.command("definition", short_help="Write the page that says what a version is.")
@_options
def definition_command(
    output: str | None,
    check: bool,
    force: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Print what a version of a system is, on one page: components, digest, what approved it.

    With -o it is written to a file, with --check it is compared with that file: exit code 1 when
    the file is old.
    """
    from lockgate.upkeep.definition import COMMAND, definition_page, described

    def make(at: Desk) -> tuple[str, object, str]:
        name = wiring.page_system(at.root, at.registry, system)
        told = described(at.registry, name, policy_of(at.registry))
        return name, told, definition_page(told)

    _page(COMMAND, make, output, check, force, registry, as_json)


def _page(
    command: str,
    make: Callable[[Desk], tuple[str, object, str]],
    output: str | None,
    check: bool,
    force: bool,
    registry: str | None,
    as_json: bool,
) -> None:
    if check and output is None:
        raise UsageMistake("say which file to check", hint=f"`lockgate {command} --check -o FILE`")
    with desk(registry, read_only=True) as at:
        name, told, text = make(at)
    if output is None:
        if as_json:
            emit(told)
        else:
            click.echo(plain(text), nl=False)
        return
    path = Path(output).expanduser()
    written = _written(path)
    if check:
        _check(command, name, path, written, text)
    elif written != text:
        _write(command, path, written, text, force)
    if as_json:
        emit({"file": path, "system": name, "changed": not check and written != text})
        return
    state = "says what is true" if check or written == text else "is written"
    say(f"{mark('pass')} {shown(path)} {state}")
    if not check:
        tell(
            f"next: keep it beside the code; {_again(command, name, path)[:-1]} --check` says when it is old"
        )


def _written(path: Path) -> str | None:
    """Return what stands in a file; `None` when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PAGE_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _again(command: str, system: str, path: Path) -> str:
    import shlex

    return f"`lockgate {command} -s {system} -o {shlex.quote(shown(path))}`"


def _check(command: str, system: str, path: Path, written: str | None, text: str) -> None:
    from lockgate.upkeep.markdown import what_differs

    if written is None:
        raise Refused(f"`{shown(path)}` is not there", hint=_again(command, system, path))
    if written != text:
        raise Refused(
            f"`{shown(path)}` is old: it no longer says what is true",
            problems=what_differs(written, text) or ["only its line ends differ"],
            hint=f"{_again(command, system, path)} writes it again",
        )


def _write(command: str, path: Path, written: str | None, text: str, force: bool) -> None:
    from lockgate.upkeep.markdown import is_generated

    if written is not None and not is_generated(written, command) and not force:
        raise Refused(
            f"`{shown(path)}` was not written by `lockgate {command}`; it is left alone",
            hint="name another file, or write over it with --force",
        )
    if not path.parent.is_dir():
        raise UsageMistake(
            f"there is no folder `{shown(path.parent)}`",
            hint=f"make it: mkdir -p {shown(path.parent)}",
        )
    wiring.write_file(Path(os.path.realpath(path)), text.encode())
