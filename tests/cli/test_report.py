"""`lockgate report`: for a handover, read-only and in any state."""

from __future__ import annotations

import pytest

from cli.desks import Desk, normal


def test_a_shift(busy: Desk) -> None:
    """What happened, oldest first with who did it; then what is open, with its command."""
    before = busy.state()
    said = busy.done("report", "--since", "2h", "-s", "desk")
    assert busy.state() == before
    assert said.err.startswith("`2h` read as ")
    lines = [line[17:] if line.startswith("  ✔") else line for line in said.out.splitlines()]
    assert lines[0].startswith("what happened since ")
    assert "promoted v1 → staging, generation 1 (ml-team)" in said.out
    assert "promoted v2 → staging, generation 2 (ml-team)" in said.out
    assert "besides: 3 versions registered, 2 runs completed" in said.out
    at = said.out.index("  open now")
    assert normal(said.out[at:]) == (
        "  open now\n"
        "    · v2 to production: gate pass: 0 of 1 approvals\n"
        "      `lockgate approve v2 --to production -s desk`\n"
    )


def test_break_glass_comes_first(busy: Desk) -> None:
    """An open one is the first line of its system, and the first thing that is open."""
    busy.done(
        *("promote", "v2", "--to", "production", "-s", "desk", "--break-glass", "--yes"),
        *("--ticket", "OPS-7", "-m", "customers are locked out"),
    )
    lines = busy.done("report", "-s", "desk").out.splitlines()
    system = lines.index("desk")
    assert lines[system + 1].startswith("  ✖ ")
    assert "open: broke the glass: v2 → production, ungated" in lines[system + 1]
    point = lines.index("  open now")
    assert lines[point + 1] == "    ✖ break-glass of production 2 by ml-team, ticket OPS-7"
    assert lines[point + 2] == "      `lockgate close production -s desk -m REASON`"


def test_all_systems_unless_one_is_named(busy: Desk) -> None:
    """As JSON: the moment, each system's events and what is open, and whether it was quiet."""
    body = busy.done("report", "--json").json
    assert [one["system"] for one in body["systems"]] == ["desk", "filter"]
    assert body["is_quiet"] is False
    assert body["since"] < body["now"]
    assert {entry["kind"] for entry in body["registry"]} == {"policy"}
    body = busy.done("report", "--json", "-s", "filter").json
    assert [one["system"] for one in body["systems"]] == ["filter"]


def test_nothing(new: Desk) -> None:
    """Said plainly, where nothing is registered too."""
    said = new.done("report", "--since", "now")
    assert said.out.startswith("nothing happened since ")


@pytest.mark.parametrize(
    ("typed", "what", "hint"),
    [
        (("--since", "soon"), "`soon` is not a time", "lockgate report --since 12h"),
        (("--since", "2999-01-01"), "lies in the future", "lockgate report --since 12h"),
        (("-s", "nobody"), "there is no system `nobody`", "desk"),
    ],
)
def test_refusals(busy: Desk, typed: tuple[str, ...], what: str, hint: str) -> None:
    """Exit 2, with what helps."""
    said = busy("report", *typed)
    assert (said.code, what in said.err, hint in said.hint) == (2, True, True), said


def test_hostile_words_stay_words(busy: Desk) -> None:
    """What people wrote is shown, and steers nothing."""
    busy.done("hold", "production", "-s", "desk", "-m", "\x1b[31mred \u202egnp\nsecond line")
    out = busy.done("report", "-s", "desk").out
    assert "held production: \\x1b[31mred \\u202egnp (ml-team)" in out
    assert "\u202e" not in out and "second line" not in out
