"""What somebody who looked closely found: each of it is told, and none of it comes back."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from cli.desks import Desk, Said

NOT_UTF8 = "\udcff"
"""The byte 0xff, as Python hands on an argument that is no UTF-8."""


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["show", "v1", "--run", NOT_UTF8], "run"),
        (["show", NOT_UTF8], "version"),
        (["evaluate", "--resume", NOT_UTF8], "run"),
        (["approve", "--proposal", NOT_UTF8], "id"),
        (["reject", "--proposal", NOT_UTF8], "id"),
        (["rollback", NOT_UTF8], "environment"),
        (["settle", NOT_UTF8], "environment"),
        (["hold", "staging", "-m", NOT_UTF8], "reason"),
        (["suite", "apply", NOT_UTF8], "name"),
        (["why", f"production@{NOT_UTF8}"], "environment"),
        (["search", NOT_UTF8], "text"),
    ],
)
def test_bytes_that_are_no_text_are_refused_where_they_come_in(
    busy: Desk, words: list[str], what: str
) -> None:
    """No command looks for, or keeps, a name that is not valid UTF-8."""
    before = busy.state()
    said = busy(*words)
    assert said == Said(2, "", f"error: the {what} is not valid UTF-8\nhint: type it again\n")
    assert busy(*words, "--json").json["exit_code"] == 2
    assert busy.state() == before


def test_a_folder_may_be_named_by_any_bytes(new: Desk) -> None:
    """What a file system names is no text: such a folder is made, and worked in."""
    folder = f"a{NOT_UTF8}"
    new.done("init", folder)
    assert new.done("status", "--registry", folder).code == 0


def test_a_broken_settings_file_is_told_with_and_without_its_name(new: Desk) -> None:
    """Naming the system does not hide what is wrong with its file."""
    new.edit("systems/desk/lockgate.toml", 'name = "desk"', "name = desk")
    said = new("change")
    assert said.code == 2
    assert "systems/desk/lockgate.toml line 4 column 8" in said.err
    for command in (["change"], ["register", "-m", "x"], ["ship", "--to", "staging", "-m", "x"]):
        assert new(*command, "-s", "desk") == said


def test_two_folders_of_one_system_are_not_guessed_between(new: Desk) -> None:
    """A copy inside the registry's folder has to be named; looking goes on."""
    new.done("register", "-m", "x")
    new.done("checkout", "v1", "copy")
    said = new("change", "-s", "desk")
    assert said.code == 2
    assert said.err == (
        "error: system `desk` is written in 2 folders\n"
        f"  - {new.root}/copy\n  - {new.root}/systems/desk\n"
        "hint: say which with -C DIR, or go into it\n"
    )
    assert new.done("change", "-C", "copy").out == "✔ desk is exactly v1\n"
    assert new.done("status").code == 0


@pytest.mark.parametrize("command", ["approve", "suite"])
def test_a_system_nobody_knows_has_no_empty_list(new: Desk, command: str) -> None:
    """A misspelt system is told, also where nothing would be listed."""
    new.done("register", "-m", "x")
    said = new(command, "-s", "dekk")
    assert said == Said(
        2, "", "error: there is no system `dekk` in this registry\nhint: there are desk\n"
    )
    assert new.done(command, "-s", "desk").code == 0


def test_the_suites_of_a_system_that_is_not_registered_yet_are_listed(new: Desk) -> None:
    """A suite file names its system before the first version does."""
    new.edit("suites/desk.toml", 'system = "desk"', 'system = "other"')
    assert "other   desk" in new.done("suite", "-s", "other").out


def narrow(said: Said) -> list[str]:
    """Return the lines of both streams, none of which is wider than 80."""
    lines = [*said.out.splitlines(), *said.err.splitlines()]
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    return lines


def test_suites_fit_80_columns(new: Desk) -> None:
    """Long names are cut, and what is wrong with a file stands below the table, whole."""
    text = (new.root / "suites/desk.toml").read_text(encoding="utf-8")
    system = "a-system-with-a-name-of-forty-characters"
    new.write("suites/tickets-of-the-last-two-quarters-of-2026.toml", text)
    new.write(f"suites/{system}.toml", text.replace('system = "desk"', f'system = "{system}"'))
    new.write("suites/broken.toml", text.replace("[suite]", "[suites]"))
    said = new.done("suite")
    lines = narrow(said)
    assert lines[0].split() == ["system", "suite", "cases", "digest", "file"]
    assert lines[1].split()[:3] == ["desk", "desk", "16"]
    assert lines[1].endswith("applied")
    assert any(line.split()[-3:] == ["cannot", "be", "read"] for line in lines)
    assert "suite `broken` has" in said.out
    names = [one["name"] for one in new.done("suite", "--json").json]
    assert system in names


LONG_POLICY = """\
[environments.production]
stakes = "high"
approvals = 2
accept_claimed = true
reviewers = [%s]
freeze = [{ from = "fri 16:00", until = "mon 08:00", tz = "Europe/Berlin", reason = "%s" }]
"""


def test_a_policy_fits_80_columns(new: Desk) -> None:
    """Long reasons, many reviewers and long mistakes are wrapped, and nothing is left out."""
    reviewers = [f"reviewer-number-{number}" for number in range(6)]
    reason = "nobody is there to look after it " * 4
    names = ", ".join(f'"{reviewer}"' for reviewer in reviewers)
    new.write("policy.toml", LONG_POLICY % (names, reason.strip()))
    new.done("policy", "apply")
    lines = narrow(new.done("policy"))
    told = " ".join(" ".join(lines).split())
    assert f"2 of {', '.join(reviewers)} must approve, a claimed name counts" in told
    assert f"Europe/Berlin: {reason.strip()}" in told
    new.edit("policy.toml", "accept_claimed", "acept_claimed")
    narrow(new.done("policy"))


def test_a_list_of_unclaimed_files_that_is_cut_short_says_so(
    new: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many files nobody counts; `change` does not pretend to know them all."""
    monkeypatch.setattr("lockgate.workspace.claims.MAX_UNCLAIMED", 10)
    for number in range(10):
        new.write(f"systems/desk/cache/{number}", "x")
    said = new.done("change")
    assert "⚠ 10 files that no component claims:" in said.out
    assert "(+2 more)" in said.out
    assert new.done("change", "--json").json["unclaimed_is_complete"] is True
    new.write("systems/desk/cache/more", "x")
    said = new.done("change")
    assert "⚠ more than 10 files that no component claims:" in said.out
    assert "(+2 or more)" in said.out
    assert new.done("change", "--json").json["unclaimed_is_complete"] is False


EXPLAINED = """\
change    Edit the prompt, model, settings, tools or documents in the system's
          folder. Nothing that anybody uses has changed yet.
register  Compute the version's identity and keep owner, parent and reason.
          What was registered never changes, so everybody talks about the same
          thing.
evaluate  Ask the registered version every case of the suites and keep every
          answer. A version without a completed run has no number anybody could
          trust.
gate      Compare the runs with the policy and with what is live, and say why.
          The rules were agreed on before this version existed.
promote   Make the approved version live and keep the one before one step away.
          Only a version that passed the gate for this environment can be
          promoted.
"""


def test_ship_explains_its_steps_when_asked_to(new: Desk) -> None:
    """Each step once, in order, as words: what it does and why there is no way around it."""
    said = new.done("ship", "--to", "production", "-m", "First", "--explain")
    lines = [line for line in narrow(said) if line in said.err and "v1 on desk" not in line]
    assert "\n".join(lines) + "\n" == EXPLAINED
    quiet = new.done("ship", "--to", "production")
    assert "Nothing that anybody uses" not in quiet.err + quiet.out


def test_the_bytes_of_a_definition_can_be_hashed_by_a_stranger(busy: Desk) -> None:
    """`show V --definition` gives what the digest is of: no newline, no colour, nothing else."""
    for version in ("v1", "x1", "staging"):
        told = busy.done("show", version, "-s", "desk", "--json").json["version"]
        said = busy.outside("show", version, "-s", "desk", "--definition")
        assert sha256(said.out.encode()).hexdigest() == told["definition"]
        assert (said.code, said.err) == (0, "")
        assert busy.outside("show", version, "-s", "desk", "--definition", "--json") == said


SLICED = """\
  accuracy on desk by tag; no rule looks at it
      .800  10 cases  ⚠  short
      1.00   6 cases  ⚠  long
      1.00   6 cases  ⚠  paid
      ⚠ fewer than 59 cases cannot prove a drop below 5 points
"""


def test_scores_are_shown_by_tag(new: Desk) -> None:
    """The worst tag first, small ones with a warning; a suite without tags has no such table."""
    new.done("register", "-m", "First")
    new.done("evaluate")
    assert "by tag" not in new.done("show", "v1").out
    cases = new.root / "suites/desk.jsonl"
    lines = [json.loads(line) for line in cases.read_text(encoding="utf-8").splitlines()]
    for number, case in enumerate(lines):
        case["tags"] = ["short"] if number % 3 else ["long", "paid"]
    new.write("suites/desk.jsonl", "".join(f"{json.dumps(case)}\n" for case in lines))
    new.done("suite", "apply")
    assert "by tag" not in new.done("show", "v1").out
    new.done("evaluate")
    assert SLICED in new.done("show", "v1").out
    (sliced,) = new.done("show", "v1", "--json").json["sliced"]
    assert (sliced["suite"], sliced["metric"]) == ("desk", "accuracy")
    assert sliced["slices"][0] == {"tag": "short", "cases": 10, "value": 0.8, "is_small": True}


def test_many_tags_are_cut_short_and_large_ones_stand_without_a_warning(new: Desk) -> None:
    """Twelve tags are shown; 59 cases are enough."""
    cases = [
        {"id": f"c-{n:03}", "input": {"message": "late"}, "expected": {"label": "complaint"}}
        | {"tags": ["every", f"tag-{n % 15:02}"]}
        for n in range(60)
    ]
    new.write("suites/desk.jsonl", "".join(f"{json.dumps(case)}\n" for case in cases))
    new.done("suite", "apply")
    new.done("register", "-m", "First")
    new.done("evaluate")
    said = new.done("show", "v1")
    assert "  60 cases     every\n" in said.out
    assert "   4 cases  ⚠  tag-00\n" in said.out
    assert "(+4 tags with higher scores; --json lists all)" in said.out
    assert len(new.done("show", "v1", "--json").json["sliced"][0]["slices"]) == 16
