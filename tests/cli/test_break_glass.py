"""`lockgate promote --break-glass` and `close`, as people type them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from cli.desks import Desk, environment, normal
from cli.terminal import Terminal

BREAK = (
    *("promote", "v2", "--to", "production", "-s", "desk", "--break-glass"),
    *("--ticket", "OPS-7", "-m", "customers are locked out"),
)


def broken(desk: Desk) -> None:
    """Break the glass for v2 in production as ml-team."""
    desk.done(*BREAK, "--yes")


def words(text: str) -> str:
    """Return a page as one line."""
    return " ".join(text.split())


def test_it_shows_what_it_bypasses_and_says_what_follows(busy: Desk) -> None:
    """v2 waits for a reviewer in production: that is what is bypassed."""
    busy.done("hold", "production", "-s", "desk", "-m", "month end")
    said = busy.done(*BREAK, "--yes")
    assert (
        normal(said.out)
        == """\
break the glass of desk production:  v1  →  v2, ungated
  ticket OPS-7: customers are locked out
  it bypasses:
  · approval          0 of 1 approvals, from ml-lead or support-lead
  ✖ not held          held by ml-team since WHEN: month end
⚠ v2 is live in production  UNGATED, generation 2, before it v1
"""
    )
    assert (
        said.err
        == """\
promotions to production stop until somebody else closes it; while v2 is live that takes the gate: \
`lockgate evaluate v2 -s desk`, `lockgate gate v2 --to production -s desk`
then: `lockgate close production -s desk -m REASON`
"""
    )


def test_as_json(busy: Desk) -> None:
    """One value on stdout, with everything that was bypassed; again it changes nothing."""
    body = busy.done(*BREAK, "--yes", "--json").json
    assert (body["version"], body["generation"], body["is_new"], body["ungated"]) == (
        *("v2", 2),
        *(True, True),
    )
    assert [finding["rule"] for finding in body["bypassed"]] == ["approval"]
    before = busy.state()
    again = busy.done(*BREAK, "--yes", "--json").json
    assert (again["is_new"], again["ungated"], again["bypassed"]) == (False, True, [])
    assert busy.state() == before


def test_without_a_terminal_it_needs_yes(busy: Desk) -> None:
    """Exit 2, nothing changed; the hint is the whole command, and works."""
    before = busy.state()
    said = busy.outside(*BREAK)
    assert said.code == 2
    assert busy.state() == before
    assert said.command == (
        "lockgate promote v2 --to production -s desk --break-glass --ticket OPS-7 "
        "-m 'customers are locked out' --yes"
    )
    assert busy.follow(said).code == 0


@pytest.mark.parametrize(("key", "code", "live"), [(b"y", 0, "v2"), (b"n", 1, "v1")])
def test_at_a_terminal_it_asks(busy: Desk, key: bytes, code: int, live: str) -> None:
    """y breaks the glass; anything else leaves everything as it was."""
    with Terminal(*BREAK, cwd=busy.root) as terminal:
        screen = terminal.until("break the glass\\? press y")
        assert "it bypasses:" in screen
        terminal.type(key)
        assert terminal.end() == code
    place = busy.done("status", "-s", "desk", "--json").json[0]["places"][0]
    assert (place["label"], place["is_ungated"]) == (live, live == "v2")


@pytest.mark.parametrize(
    ("typed", "code", "what", "hint"),
    [
        (
            ("promote", "v2", "--to", "production", "--break-glass", "--yes"),
            2,
            "a ticket is needed and a reason is needed",
            "name it: --ticket ID; say why: -m REASON",
        ),
        (
            ("promote", "--to", "production", "--break-glass", "--ticket", "T", "-m", "x", "--yes"),
            2,
            "breaking the glass takes the version's name",
            "--break-glass --ticket ID -m REASON",
        ),
        ((*BREAK, "--reverting", "v1", "--yes"), 2, "--reverting is said to the gate", "leave"),
        (
            ("promote", "v2", "--to", "production", "--ticket", "T"),
            2,
            "--ticket and --yes belong to --break-glass",
            "leave them out",
        ),
        (
            ("promote", "v2", "--to", "production", "--yes"),
            2,
            "--ticket and --yes belong to --break-glass",
            "leave them out",
        ),
        (
            ("promote", "x1", *BREAK[2:], "--yes"),
            1,
            "breaking the glass does not let x1 into production",
            "`lockgate register --from x1 -s desk -m REASON`",
        ),
        (
            ("promote", "v9", *BREAK[2:], "--yes"),
            2,
            "v9",
            "lockgate",
        ),
        (
            ("promote", "v2", "--to", "nowhere", *BREAK[4:], "--yes"),
            2,
            "nowhere",
            "staging",
        ),
    ],
)
def test_refusals(busy: Desk, typed: tuple[str, ...], code: int, what: str, hint: str) -> None:
    """Each says what is missing, and records nothing."""
    before = busy.state()
    said = busy(*typed, *(() if "-s" in typed else ("-s", "desk")))
    assert said.code == code, said
    assert what in said.err
    assert hint in said.hint
    assert busy.state() == before


def test_marked_wherever_it_is_looked_at(busy: Desk) -> None:
    """status, log, show, why: the word is there, and so is the way to end it."""
    broken(busy)
    status = busy.done("status", "-s", "desk").out
    assert "⚠ ungated 0 s ago by ml-team" in status
    assert "✖ open break-glass: generation 2 by ml-team, ticket OPS-7" in status
    assert "next         lockgate close production -s desk -m REASON" in status
    assert "broke the glass: v2 → production, ungated" in status
    assert re.search(r"^v2 .* ⚠ PRODUCTION \+1, ungated", busy.done("log", "-s", "desk").out, re.M)
    show = busy.done("show", "v2", "-s", "desk").out
    assert "generation 2 by ml-team, UNGATED, ticket OPS-7" in show
    assert "not closed yet" in show
    why = words(busy.done("why", "production", "-s", "desk").out)
    assert "how ungated: ml-team broke the glass, after v1" in why
    assert "ticket OPS-7 reason customers are locked out" in why
    assert "somebody else runs `lockgate close production -s desk -m REASON`" in why
    assert "none: no gate let it in" in why


def test_the_whole_way_to_its_end(busy: Desk) -> None:
    """Each refusal names the next command; what it names works, up to the next promotion."""
    broken(busy)
    first = busy("close", "production", "-s", "desk", "-m", "ok", actor="support-lead")
    assert first.code == 1
    assert "v2 is live, and the gate has not judged it since" in first.err
    assert busy.done("evaluate", "v2", "-s", "desk").code == 0
    gate = busy("gate", "v2", "--to", "production", "-s", "desk")
    assert gate.code == 7
    assert "gate: v2 to production passes" in gate.out
    waiting = busy("close", "production", "-s", "desk", "-m", "ok", actor="support-lead")
    assert waiting.code == 7
    assert waiting.command == "lockgate approve v2 --to production -s desk"
    assert "desk v2 to production" in busy.done("approve").out
    approved = busy.follow(waiting, **busy.signing("ml-lead"))
    assert approved.command == "lockgate close production -s desk -m REASON"
    assert busy("gate", "v2", "--to", "production", "-s", "desk").command == approved.command
    own = busy.follow(approved)
    assert (own.code, own.err.count("ml-team broke the glass and does not close it")) == (1, 1)
    closed = busy.follow(approved, actor="support-lead", reason="evaluated: it is well")
    assert (
        normal(closed.out)
        == """\
✔ closed generation 2 of production (v2, ungated): on decision ID
✔ it no longer stops promotions to production
"""
    )
    why = words(busy.done("why", "production", "-s", "desk").out)
    assert re.search(r"closed by support-lead, [^:]+:\d\d UTC: evaluated: it is well", why)
    assert "closed by support-lead: evaluated" in busy.done("show", "v2", "-s", "desk").out
    again = busy("close", "production", "-s", "desk", "-m", "ok", actor="support-lead")
    assert (again.code, "no break-glass promotion of production is open" in again.err) == (1, True)
    assert closed.command == "lockgate promote v2 --to production -s desk"
    gated = busy.follow(closed)
    assert gated.out == (
        "✔ v2 is live in production  generation 3, by the gate now; until now it was ungated\n"
    )
    assert "by the gate now" not in busy.follow(closed).out


def test_close_as_json(busy: Desk) -> None:
    """What was closed, what remains with everything it lacks, and the exit code."""
    broken(busy)
    said = busy("close", "production", "-s", "desk", "-m", "ok", "--json", actor="support-lead")
    body = said.json
    assert (said.code, body["exit_code"], body["closed"]) == (1, 1, [])
    (remaining,) = body["remaining"]
    assert (remaining["generation"], remaining["version"], remaining["ticket"]) == (
        2,
        "v2",
        "OPS-7",
    )
    assert [finding["rule"] for finding in remaining["missing"]] == ["decision"]
    busy.done("rollback", "production", "-s", "desk", "--yes")
    said = busy.done(
        "close", "production", "-s", "desk", "-m", "ok", "--json", actor="support-lead"
    )
    assert [closing["generation"] for closing in said.json["closed"]] == [2]
    assert said.json["remaining"] == []


@pytest.mark.parametrize(
    ("typed", "code", "what"),
    [
        (("close", "production", "-s", "desk"), 2, "a reason is needed"),
        (("close", "production", "-s", "desk", "-m", "x"), 1, "no break-glass promotion of"),
        (("close", "nowhere", "-s", "desk", "-m", "x"), 2, "nowhere"),
        (("close", "production", "-s", "nobody", "-m", "x"), 2, "there is no system `nobody`"),
    ],
)
def test_close_refuses(busy: Desk, typed: tuple[str, ...], code: int, what: str) -> None:
    """Each says what is wrong, and records nothing."""
    before = busy.state()
    said = busy(*typed)
    assert said.code == code
    assert what in said.err and said.hint
    assert busy.state() == before


def test_a_machine_is_told(new: Desk) -> None:
    """deploy-check lets it through, on record; it and resolve say that it is ungated."""
    new.edit(
        "policy.toml", "[environments.staging]", '[environments.staging]\npublish = "published"'
    )
    new.done("policy", "apply")
    new.done("register", "-s", "desk", "-m", "first")
    new.done("promote", "v1", "--to", "staging", *BREAK[4:], "--yes")
    said = new.done("deploy-check", "staging", "-s", "desk")
    assert "UNGATED: somebody broke the glass, no gate let it in" in said.out
    body = new.done("deploy-check", "staging", "-s", "desk", "--json").json
    assert (body["ungated"], body["kind"], body["decision"]) == (True, "break_glass", None)
    root = str(new.root / "published")
    asked = ("resolve", "desk", "staging", "--root", root, "--state", str(new.root / "mark"))
    told = new.outside(*asked)
    assert told.code == 0
    assert "note: v1 is ungated: somebody broke the glass for it" in told.err
    assert new.outside(*asked, "--json").json["ungated"] is True


def test_of_two_who_close_at_once_one_does(busy: Desk) -> None:
    """Two processes: one closing is recorded, and the other one is told."""
    broken(busy)
    busy.done("rollback", "production", "-s", "desk", "--yes")
    words = ("close", "production", "-s", "desk", "-m", "looked at")
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "lockgate", *words],
            cwd=busy.root,
            env=environment(LOCKGATE_ACTOR=name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ml-lead", "support-lead")
    ]
    told = [racer.communicate(timeout=60) for racer in racers]
    codes = [racer.returncode for racer in racers]
    assert sorted(codes) == [0, 1], told
    lost = told[codes.index(1)][1]
    assert "closed generation 2 of production first" in lost or "is open" in lost
    rows = busy.state()["closing"]
    assert len(rows) == 1
