"""`lockgate note`, and where notes are read."""

from __future__ import annotations

from cli.desks import Desk

HOSTILE = "\x1b[2Jgone \u202etxt.exe [/red] " + "ß" * 400


def test_a_note_is_read_where_the_deployment_is(busy: Desk) -> None:
    """why, show and the events of status have it, safe to show."""
    said = busy.done("note", "1", "-s", "desk", "-e", "production", "-m", HOSTILE)
    assert said.out.startswith("✔ noted on generation 1 of production: \\x1b[2Jgone \\u202etxt.exe")
    why = busy.done("why", "production", "-s", "desk").out
    assert "  note       \\x1b[2Jgone" in why and "(ml-team, " in " ".join(why.split())
    show = busy.done("show", "v1", "-s", "desk").out
    assert "ml-team: \\x1b[2Jgone" in show
    status = busy.done("status", "-s", "desk").out
    assert "note on production 1: \\x1b[2Jgone" in status
    for text in (said.out, why, show, status):
        assert "\x1b" not in text.replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert "\u202e" not in text


def test_as_json(busy: Desk) -> None:
    """The record, whole; `why` has it too."""
    body = busy.done("note", "2", "-s", "desk", "-m", HOSTILE, "--json").json
    assert (body["environment"], body["generation"], body["text"]) == ("staging", 2, HOSTILE)
    (note,) = busy.done("why", "staging", "-s", "desk", "--json").json["notes"]
    assert note["text"] == HOSTILE


def test_refusals(busy: Desk) -> None:
    """Exit 2, a hint that is followed as it stands, and nothing recorded."""
    before = busy.state()
    for words in (("0", "-m", "x"), ("x", "-m", "x"), ("1",), ("99", "-m", "x"), (str(1 << 70),)):
        said = busy("note", *words, "-s", "desk")
        assert (said.code, bool(said.hint)) == (2, True), said
    several = busy("note", "1", "-s", "desk", "-m", "x")
    assert several.code == 2
    assert busy.state() == before
    followed = busy(*[w if w != "TEXT" else "x" for w in several.command.split()[1:]])
    assert followed.code == 0
