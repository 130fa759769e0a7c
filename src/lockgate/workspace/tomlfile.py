"""Read the TOML files people write, and say what is wrong with them: file, line, column, key.

- A file is read whole, once, and only when it is an ordinary file of a sane size.
- Every mistake in a file is told at once, each with the key and what is allowed there.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.errors import UsageMistake
from lockgate.shown import fitted, shown

MAX_TOML_BYTES = 1 << 20
"""Larger than any settings a person writes; bounds what a hostile file can cost."""

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a file, and what to write instead."""

    what: str
    hint: str


def complain(path: Path, mistakes: Sequence[Mistake]) -> None:
    """Tell every mistake in a file or folder at once; do nothing when there is none.

    Raises:
        UsageMistake: There is at least one; a single one is told in one sentence.
    """
    if not mistakes:
        return
    if len(mistakes) == 1:
        raise UsageMistake(f"{shown(path)}: {mistakes[0].what}", hint=mistakes[0].hint)
    raise UsageMistake(
        f"{shown(path)} has {len(mistakes)} mistakes",
        problems=[f"{mistake.what}; {mistake.hint}" for mistake in mistakes],
        hint="correct every line above, then run the command again",
    )


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that was probably meant, or `None` when none is close."""
    close = difflib.get_close_matches(word.lower(), list(allowed), n=1, cutoff=0.6)
    return close[0] if close else None


def suggestion(word: str, allowed: Sequence[str]) -> str:
    """Return the hint for an unknown word: the nearest allowed one, else all of them."""
    close = nearest(word, allowed)
    if close:
        return f"did you mean `{close}`?"
    return f"allowed are {', '.join(f'`{name}`' for name in allowed)}"


def read_toml(path: Path, *, follow_links: bool = False) -> dict[str, Any] | None:
    """Return the tables of a TOML file, or `None` when there is no such file.

    Args:
        path: The file; FIFOs, devices and folders are refused without being waited for.
        follow_links: Accept a symbolic link; never for a file that is part of a version.

    Raises:
        UsageMistake: The file cannot be read, is too large, or is not TOML; the message names
            line and column.
    """
    data = read_plain_file(path, follow_links=follow_links)
    return None if data is None else parse_toml(path, data)


def read_plain_file(path: Path, *, follow_links: bool = False) -> bytes | None:
    """Return the bytes of an ordinary file of at most 1 MiB, or `None` when it does not exist.

    Raises:
        UsageMistake: It is a link, something that is not a file, too large or unreadable.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageMistake(
                f"{shown(path)} is not an ordinary file",
                hint=f"put a plain text file named `{shown(path.name)}` there",
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) > MAX_TOML_BYTES:
        raise UsageMistake(
            f"{shown(path)} is larger than 1 MiB",
            hint="move long text into files of its own and name them under `files`",
        )
    return data


def _unreadable(path: Path, error: OSError) -> UsageMistake:
    if path.is_symlink():
        return UsageMistake(
            f"{shown(path)} is a symbolic link",
            hint="copy the file it leads to into the folder",
        )
    return UsageMistake(
        f"{shown(path)} cannot be read: {(error.strerror or 'unknown error').lower()}",
        hint=f"make it readable: `chmod u+r {shown(path)}`",
    )


def parse_toml(path: Path, data: bytes) -> dict[str, Any]:
    """Return the tables that TOML bytes hold.

    Args:
        path: Where the bytes came from, for the message.
        data: UTF-8 text.

    Raises:
        UsageMistake: The bytes are not TOML; line and column are named and the line is shown.
    """
    import tomllib  # commands that only look never need it

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8"))
        raise UsageMistake(
            f"{shown(path)} line {line} column {column}: not UTF-8 text",
            hint=f"save the file as UTF-8: `iconv -t utf-8 {shown(path.name)}`",
        ) from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageMistake(
            f"{shown(path)} nests values too deeply", hint="use fewer than 32 levels"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(path, text, str(error)) from error
    except ValueError as error:  # Python bounds the digits it turns into an integer
        raise UsageMistake(
            f"{shown(path)} has a number of thousands of digits",
            hint="write it in double quotes, or into a file of its own",
        ) from error


def _place(before: str) -> tuple[int, int]:
    """Return line and column, from 1, of what comes after a text."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _not_toml(path: Path, text: str, message: str) -> UsageMistake:
    found = _POSITION.search(message)
    what = message[: found.start()] if found else message
    what = what[:1].lower() + what[1:]
    if found and found[1]:
        line, column = int(found[1]), int(found[2])
    else:
        line, column = _place(text)
    rows = text.split("\n")
    row = rows[line - 1].strip() if line <= len(rows) else ""
    place = f"{shown(path)} line {line} column {column}: {shown(what)}"
    if re.match(r"<{7}|={7}$|>{7}|\|{7}", row):
        return UsageMistake(place, hint="resolve the merge conflict, then run the command again")
    if row:
        place += f", in `{fitted(row, 60)}`"
    return UsageMistake(
        place, hint="TOML wants `[section]` or `key = value`, and text in double quotes"
    )
