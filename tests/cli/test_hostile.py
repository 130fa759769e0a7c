"""Names, reasons, outputs and arguments that would steer a terminal never reach it raw."""

from __future__ import annotations

import json

import pytest

from cli.desks import Desk, Said
from lockgate.shown import shown

HOSTILE = "\x1b]52;c;cm0=\x07 \x1b[31mred \x9b2J \u202egnp.exe \u200b\u2066 [/] [bold] \r\x08 \x7f"
"""Clipboard, colour, C1, bidirectional, zero-width, markup, carriage return, backspace, delete."""


def safe(said: Said) -> Said:
    """Hold that no character of what was printed steers a terminal."""
    for text in (said.out, said.err):
        assert shown(text, lines=True, limit=10**7) == text.replace("\t", "    "), repr(text)
    return said


def test_reasons_are_spelled_out_wherever_they_are_shown(new: Desk) -> None:
    """Through the whole loop, in words and in JSON, and JSON gives the reason back."""
    reason = f"{HOSTILE}\nsecond line {HOSTILE}"
    words: list[list[str]] = [
        ["register", "-m", reason],
        ["evaluate"],
        ["gate", "--to", "staging"],
        ["promote", "--to", "staging", "-m", reason],
        ["ship", "--to", "production"],
        ["status"],
        ["log"],
        ["tree"],
        ["show", "v1"],
        ["why", "staging"],
        ["search", "second"],
    ]
    for command in words:
        safe(new.done(*command))
    for command in [*words[2:3], *words[5:]]:
        said = safe(new.done(*command, "--json"))
        json.loads(said.out)
    body = safe(new.done("register", "-m", "x", "--json")).json
    assert body["version"]["reason"] == reason.strip()


def test_outputs_are_spelled_out(new: Desk) -> None:
    """What a version answers, expects and raises is shown without its power."""
    new.write(
        "systems/desk/answer.py",
        "def answer(input, settings):\n"
        "    if 'late' in input['message']:\n"
        f"        raise ValueError({HOSTILE!r})\n"
        f"    return {{'label': {HOSTILE!r}}}\n",
    )
    new.done("register", "-m", "hostile outputs")
    said = safe(new("evaluate"))
    assert said.code == 5
    assert "\\x1b]52;c;cm0=\\x07" in said.err
    safe(new("show", "v1", "--failing"))
    new.write("systems/desk/answer.py", f"print({HOSTILE!r})\nraise ValueError({HOSTILE!r})\n")
    new.done("register", "-m", "hostile start")
    assert safe(new("evaluate", "v2")).code == 5


def test_files_settings_and_notes_are_spelled_out(busy: Desk) -> None:
    """File names nobody claims, settings with both values, notes of reviewers."""
    busy.write(f"systems/desk/{HOSTILE.replace('/', '')}", "x")
    busy.write("systems/desk/line\nbreak", "x")
    busy.write("systems/desk/prompts/\u202egnp.txt", "x")
    busy.edit(
        "systems/desk/lockgate.toml",
        'fallback = "question"',
        f"fallback = {json.dumps(HOSTILE)}".replace("\x7f", "\\u007f"),
    )
    change = safe(busy.done("change", "-s", "desk"))
    assert "    line\\x0abreak\n" in change.out
    assert "\\x1b]52;c;cm0=\\x07" in change.out
    assert "prompts/\\u202egnp.txt added" in change.out
    safe(busy.done("change", "-s", "desk", "--json"))
    to = ["--to", "production", "-s", "desk"]
    safe(busy.done("reject", "v2", *to, "-m", HOSTILE, **busy.signing("ml-lead")))
    said = safe(busy("promote", "v2", *to))
    assert "ml-lead said no: \\x1b]52" in said.err
    safe(busy("promote", "v2", *to, "--json"))


@pytest.mark.parametrize("name", [b"\xff", b"a\x1b[31m", b"a\nb", b"a\x7f"])
def test_a_claimed_file_with_such_a_name_is_refused(new: Desk, name: bytes) -> None:
    """A path that cannot be shown is no part of a version; the name is spelled out."""
    folder = new.root / "systems/desk/prompts"
    (folder / (name + b".txt").decode("utf-8", "surrogateescape")).write_text("x", encoding="utf-8")
    before = new.state()
    said = safe(new("register", "-m", "x"))
    assert said.code == 2
    assert said.hint == "rename the file"
    assert new.state() == before


@pytest.mark.parametrize(
    "words",
    [
        [HOSTILE],
        ["evaluate", HOSTILE],
        ["evaluate", "-j", HOSTILE],
        ["evaluate", f"--{HOSTILE}"],
        ["evaluate", "--suite", HOSTILE],
        ["evaluate", "--resume", HOSTILE],
        ["evaluate", "-s", HOSTILE],
        ["gate", HOSTILE, "--to", "staging"],
        ["gate", "v1", "--to", HOSTILE],
        ["gate", "v1", "--to", "staging", "--reverting", HOSTILE],
        ["promote", "v1", "--to", HOSTILE],
        ["ship", "--to", HOSTILE, "-m", "x"],
        ["approve", HOSTILE, "--to", "staging"],
        ["approve", "--proposal", HOSTILE],
        ["change", "-C", HOSTILE],
        ["change", "-s", HOSTILE],
        ["change", "--parent", HOSTILE],
        ["change", "--registry", HOSTILE],
        ["register", "-m", "x", "--owner", HOSTILE],
        ["register", "--from", HOSTILE, "-m", "x"],
        ["suite", "apply", HOSTILE],
        ["policy", HOSTILE],
        ["init", f"/nonexistent/{HOSTILE}", "-s", HOSTILE],
        ["init", "-s", "desk", "--owner", HOSTILE],
        ["change", "here", HOSTILE],
    ],
)
def test_arguments_are_spelled_out(new: Desk, words: list[str]) -> None:
    """A hostile argument is refused, and repeated without its power, also in JSON."""
    new.done("register", "-m", "x")
    before = new.state()
    for command in (words, [*words, "--json"]):
        said = safe(new(*command))
        assert said.code in (1, 2, 3), said
        assert said.err.startswith("error: ")
    assert new.state() == before


def test_a_policy_full_of_them(new: Desk) -> None:
    """Reasons of freezes and mistakes in policy.toml are spelled out."""
    reason = json.dumps(HOSTILE).replace("\x7f", "\\u007f")
    new.edit(
        "policy.toml",
        'requires = ["staging"] ',
        'freeze = [{ from = "fri 16:00", until = "mon 08:00", tz = "UTC", '
        f'reason = {reason} }}]\nrequires = ["staging"] ',
    )
    if safe(new("policy", "apply")).code == 0:
        assert "\\x1b]52" in safe(new.done("policy")).out
    new.edit("policy.toml", 'stakes = "low"', f"stakes = {reason}")
    assert safe(new("policy", "apply")).code == 2
    safe(new.done("policy"))


def test_a_suite_full_of_them(new: Desk) -> None:
    """Case ids and messages in suite files are spelled out in what is said about them."""
    line = json.dumps({"id": HOSTILE, "input": HOSTILE, "expected": {"label": HOSTILE}})
    new.write("suites/desk.jsonl", line)
    assert safe(new("suite", "apply")).code == 2
    safe(new.done("suite"))
    new.write("suites/desk.jsonl", HOSTILE)
    assert safe(new("suite", "apply")).code == 2


def test_a_lone_surrogate_in_an_argument(new: Desk) -> None:
    """Bytes that are not UTF-8 are refused as a reason, and shown escaped elsewhere."""
    said = safe(new("register", "-m", "\udcff"))
    assert said == Said(2, "", "error: the reason is not valid UTF-8\nhint: type it again\n")
    assert safe(new("register", "-m", "\udcff", "--json")).json["exit_code"] == 2
    assert safe(new("change", "-C", "\udcff", "--json")).json["exit_code"] == 2
