"""What commands share: options, the open registry, and how data and words are printed.

- Data goes to stdout, words to stderr; `--json` prints one JSON value and nothing else on stdout.
- Every text from outside passes through `shown()` before it reaches the terminal.
- States carry a glyph and a word; outside UTF-8 the glyphs fall back to ASCII.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lockgate import wiring
from lockgate.canonical import instant
from lockgate.errors import Refused, RegistryTrouble, UsageMistake
from lockgate.shown import shown

if TYPE_CHECKING:
    from lockgate.ports import Registry

F = TypeVar("F", bound=Callable[..., Any])
SYSTEM = "lockgate.system"
"""Where a command that takes no -s notes in click's context which system it tells about."""
_SYSTEM_COMMAND = re.compile(
    "`lockgate (?:change|register|evaluate|gate|promote|ship|approve|reject|rollback|settle|hold"
    "|lift|note|close|ready|report|expire|review|rehearse|recheck|status|log|tree|search|show"
    "|diff|why|handoff|definition|evidence) [^`]*`"
)
_NARROW = 40
"""Below this many columns lines are left for the terminal to break."""
_GLUE = "\x00"
"""Stands for a space that no line is broken at; `shown()` leaves none of its own."""

_GLYPHS = {
    "pass": ("✔", "+", "green"),
    "fail": ("✖", "x", "red"),
    "inconclusive": ("⚠", "!", "yellow"),
    "waiting": ("·", ".", "yellow"),
    "skipped": ("·", ".", None),
    "running": ("◐", "o", "cyan"),
    "unknown": ("?", "?", "yellow"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Desk:
    """The registry a command works at, and who works there."""

    root: Path
    registry: Registry
    actor: str


def registry_option(function: F) -> F:
    """Add `--registry`, which may also stand before the command."""
    return click.option("--registry", metavar="DIR", help="The registry's folder.")(function)


def system_option(function: F) -> F:
    """Add `-s/--system`."""
    return click.option(
        "-s", "--system", metavar="SYSTEM", help="Which system; else the nearest, or the only one."
    )(function)


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")(function)


def folder_option(function: F) -> F:
    """Add `-C/--folder`."""
    return click.option(
        "-C", "--folder", metavar="DIR", help="The system's folder; else the nearest."
    )(function)


@contextlib.contextmanager
def desk(given: str | None, *, read_only: bool = False) -> Iterator[Desk]:
    """Open the registry that was named or is nearest, and close it at the end.

    Raises:
        RegistryTrouble: There is none, or it was taken away before the end.
    """
    context = click.get_current_context(silent=True)
    named = given or (context.obj if context else None)
    root = wiring.find_root(named)
    registry = wiring.open_registry(root, read_only=read_only)
    identity = wiring.registry_identity(root)
    try:
        yield Desk(root, registry, wiring.actor())
    finally:
        registry.close()
    if not read_only and wiring.registry_identity(root) != identity:
        raise RegistryTrouble(
            f"the registry in `{root}` was taken away while this command worked in it: "
            "what it recorded is lost",
            hint="bring `.lockgate/` back from a backup, then run this again",
        )


def is_utf8() -> bool:
    """Tell whether the terminal can show the glyphs."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding == "utf8" and not _is_plain_locale()


def _is_plain_locale() -> bool:
    """Tell whether somebody asked for the C locale; Python writes UTF-8 there all the same."""
    said = os.environ.get
    if said("PYTHONIOENCODING") or said("PYTHONUTF8") == "1":
        return False
    kind = said("LC_CTYPE", "")
    # Python itself puts this into its own environment when it finds the C locale.
    asked_kind = "" if kind == "C.UTF-8" else kind
    return (said("LC_ALL") or asked_kind or said("LANG")) in ("C", "POSIX")


def mark(state: str) -> str:
    """Return a state's glyph in its colour, or its ASCII fallback."""
    glyph, ascii_glyph, colour = _GLYPHS.get(state, ("·", ".", None))
    return click.style(glyph if is_utf8() else ascii_glyph, fg=colour)


def plain(text: str) -> str:
    """Return text whose drawing characters fit the terminal's encoding."""
    if is_utf8():
        return text
    for fancy, simple in (("→", "->"), ("…", "..."), ("·", "-"), ("━", "#"), ("│", "|")):
        text = text.replace(fancy, simple)
    return text.encode(sys.stdout.encoding or "ascii", "replace").decode(
        sys.stdout.encoding or "ascii"
    )


def asked_system() -> str | None:
    """Return the system that a person named with -s; `None` where the folder says which."""
    context = click.get_current_context(silent=True)
    if context is None:
        return None
    named = context.meta.get(SYSTEM) or context.params.get("system")
    return named if isinstance(named, str) else None


def with_system(hint: str, system: str | None) -> str:
    """Return a hint whose commands name the system too, for where a person had to name it.

    What refuses knows the system and not where the person stands: only here is it known whether
    the command would find the system by itself.
    """
    if not system:
        return hint

    def named(match: re.Match[str]) -> str:
        words = match[0].strip("`").split()
        has_system = "-s" in words or "--system" in words or "--proposal" in words
        return match[0] if has_system else f"{match[0][:-1]} -s {system}`"

    return _SYSTEM_COMMAND.sub(named, hint)


def wrapped(text: str, width: int, *, items: bool = False) -> list[str]:
    """Return safe text in lines of at most a width.

    Args:
        text: A command in backticks stays in one piece, also where it is wider.
        width: Of each line.
        items: Whether what stands between dots stays in one piece too, where it fits.
    """
    import textwrap

    kept = re.sub(r"`[^`]*`", lambda match: match[0].replace(" ", _GLUE), shown(text))
    if items:
        parts = kept.split(" · ")
        glued = [part.replace(" ", _GLUE) if len(part) < width else part for part in parts]
        kept = f"{_GLUE}· ".join(glued)
    lines = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_GLUE, " ") for line in lines] or [""]


def confirm(question: str, *, refusal: str, hint: str) -> None:
    """Have a person at the terminal press `y`, or stop here.

    What was typed before the question is no answer; what is typed once it stands there is never
    lost, which `click.getchar` does not promise.

    Args:
        question: What is about to happen, as a question.
        refusal: What is said where no terminal is.
        hint: The command that needs none.

    Raises:
        UsageMistake: There is no terminal.
        Refused: Another key was pressed.
    """
    if not sys.stdin.isatty():
        raise UsageMistake(refusal, hint=hint)
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSAFLUSH)
        click.echo(f"{question} press y, anything else cancels: ", nl=False, err=True)
        answer = os.read(descriptor, 1)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    click.echo("", err=True)
    if answer not in (b"y", b"Y"):
        raise Refused("cancelled; nothing was changed")


def say(text: str = "", *, bold: bool = False, dim: bool = False) -> None:
    """Print one line of data to stdout."""
    text = plain(text)
    click.echo(click.style(text, bold=bold, dim=dim) if bold or dim else text)


def tell(text: str) -> None:
    """Print one line of words to stderr."""
    for line in told_lines(text):
        click.echo(line, err=True)


def told_lines(text: str, *, indent: int = 0) -> list[str]:
    """Return words for stderr: one line, or on a terminal as many as fit, broken between words.

    Args:
        text: Safe to print; a command in backticks stays in one piece.
        indent: How many columns are taken before each line.
    """
    text = plain(text)
    try:
        width = os.get_terminal_size(sys.stderr.fileno()).columns - indent - 1
    except (OSError, ValueError):
        return [text]
    if len(text) <= width or width < _NARROW or shown(text) != text:
        return [text]
    begin = text[: len(text) - len(text.lstrip(" "))]
    return [f"{begin}{line}" for line in wrapped(text.strip(), width - len(begin))]


def emit(value: Any) -> None:
    """Print one JSON value to stdout; what could steer a terminal is escaped in it."""
    text = json.dumps(json_of(value), ensure_ascii=not is_utf8(), indent=2)
    click.echo(text if text.isascii() and "\x7f" not in text else _escaped(text))


def _escaped(text: str) -> str:
    return "".join(
        character
        if character == "\n" or shown(character) == character
        else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
        for character in text
    )


def json_of(value: Any) -> Any:
    """Return what a record says as a JSON value: an object with its names, times in UTC."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: json_of(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: json_of(getattr(value, name)) for name in value._fields}
    if isinstance(value, Mapping):
        return {str(key): json_of(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(held) for held in value]
    if isinstance(value, set | frozenset):
        return sorted(json_of(held) for held in value)
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Path) else value
