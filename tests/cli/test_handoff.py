"""`lockgate handoff` and `definition`: printed, written, checked, and refused."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from cli.desks import Desk
from lockgate.cli.main import cli

PAGES = ("handoff", "definition")
NOT_BUILT = {"rehearse", "review", "--offline"}
"""Named on the page and made elsewhere; whatever is built parses."""


@pytest.mark.parametrize("command", PAGES)
def test_before_the_first_version_the_page_says_what_comes_next(new: Desk, command: str) -> None:
    """Without a version there is a page all the same, and it names the command to begin with."""
    said = new.done(command)
    assert "`lockgate register -s desk -m REASON`" in said.out
    assert "```sh" not in said.out


def test_what_is_missing_stands_where_the_loop_would(new: Desk) -> None:
    """Before the loop can run, each thing that is missing is told with its command."""
    said = new.done("handoff")
    assert "## Before the first change" in said.out
    assert "- No version is registered: `lockgate register -s desk -m REASON`" in said.out
    assert "- Then write this page again: `lockgate handoff -s desk`." in said.out


@pytest.mark.parametrize("command", PAGES)
def test_an_unknown_system_is_refused_with_those_there_are(busy: Desk, command: str) -> None:
    """A misspelt system is a usage mistake."""
    said = busy(command, "-s", "dask")
    assert (said.code, said.out) == (2, "")
    assert said.hint == "there are desk, filter"


@pytest.mark.parametrize("command", PAGES)
def test_the_page_is_the_same_each_time(busy: Desk, command: str) -> None:
    """Nothing on it moves with the clock."""
    assert busy.done(command, "-s", "desk").out == busy.done(command, "-s", "desk").out


def test_each_environment_says_what_it_asks_and_who_approves(busy: Desk) -> None:
    """Rules read as words with their numbers; reviewers, keys and the order of travel are named."""
    page = busy.done("handoff", "-s", "desk").out
    assert "| environments | staging → production |" in page
    assert (
        "  - `desk accuracy`: at least .600 and not more than .100 below what is live, on the same "
        "cases, at 95 % confidence; if that cannot be told: it may pass." in page
    )
    assert (
        "  - Approved by 1 of ml-lead or support-lead, signed with a key of `signers`; never by "
        "registrar, owner or promoter." in page
    )
    assert "lockgate approve staging --to production -s desk" in page


def test_every_command_between_the_lines_is_one(busy: Desk) -> None:
    """Commands that stand in a sentence parse as they are printed; capitals are for the reader."""
    page = busy.done("handoff", "-s", "desk").out + busy.done("definition", "-s", "desk").out
    sentences = re.sub(r"```sh.*?```", "", page, flags=re.DOTALL)
    found = sorted(set(re.findall(r"`lockgate ([^`]+)`", sentences)))
    assert len(found) > 8
    for words in found:
        name, *arguments = shlex.split(words)
        command = cli.get_command(click.Context(cli), name)
        if command is None and name in NOT_BUILT:
            continue
        assert command is not None, name
        options = {option for param in command.params for option in param.opts}
        if (NOT_BUILT & set(arguments)) <= options:
            command.make_context(name, arguments)


def test_what_is_live_names_the_way_back_or_why_there_is_none(busy: Desk) -> None:
    """The table tells the version id, and a rollback that has nowhere to go says why."""
    version = busy.done("show", "production", "-s", "desk", "--json").json["version"]
    page = busy.done("handoff", "-s", "desk").out
    assert f"| production | v1 | `{version['id'][:16]}` |" in page
    assert "- production has no way back: there is no way back from v1 in production." in page


def test_a_hold_changes_the_page(busy: Desk) -> None:
    """A page that is kept is old as soon as promotions are held, and says what is new."""
    assert busy.done("handoff", "-s", "desk", "-o", "page.md").out == "✔ page.md is written\n"
    busy.done("handoff", "-s", "desk", "-o", "page.md", "--check")
    busy.done("hold", "production", "-s", "desk", "-m", "a *look* at <b>it</b>")
    said = busy("handoff", "-s", "desk", "-o", "page.md", "--check")
    assert said.code == 1
    assert r"production is held: a \*look\* at \<b\>it\</b\>." in said.err
    assert said.command == "lockgate handoff -s desk -o page.md"
    told = busy("handoff", "-s", "desk", "-o", "page.md", "--check", "--json").json
    assert told["exit_code"] == 1
    assert told["problems"]


@pytest.mark.parametrize("command", PAGES)
def test_a_missing_page_is_old(busy: Desk, command: str) -> None:
    """A pipeline that checks a page nobody wrote fails, and is told how to write it."""
    said = busy(command, "-s", "desk", "-o", "page.md", "--check")
    assert (said.code, said.out) == (1, "")
    assert said.command == f"lockgate {command} -s desk -o page.md"
    assert not (busy.root / "page.md").exists()


def test_a_file_of_somebody_else_is_left_alone(busy: Desk) -> None:
    """What was not written by the command is written over only with --force."""
    page = busy.root / "page.md"
    page.write_text("# My notes\n")
    said = busy("handoff", "-s", "desk", "-o", "page.md")
    assert (said.code, page.read_text()) == (1, "# My notes\n")
    assert said.hint == "name another file, or write over it with --force"
    busy.done("definition", "-s", "desk", "-o", "page.md", "--force")
    assert busy("handoff", "-s", "desk", "-o", "page.md").code == 1


def test_a_terminal_without_utf8_gets_the_page_too(busy: Desk) -> None:
    """Where an arrow cannot be printed, it is drawn with what there is."""
    said = busy.outside("handoff", "-s", "desk", env={"PYTHONIOENCODING": "ascii"})
    assert (said.code, said.err) == (0, "")
    assert "| environments | staging -> production |" in said.out


def test_check_needs_a_file(busy: Desk) -> None:
    """`--check` alone has nothing to compare with."""
    said = busy("definition", "-s", "desk", "--check")
    assert said.code == 2
    assert said.command == "lockgate definition --check -o FILE -s desk"


def test_a_folder_that_is_not_there_is_named(busy: Desk) -> None:
    """Nothing is made on the way to a file."""
    said = busy("handoff", "-s", "desk", "-o", "docs/page.md")
    assert (said.code, said.hint) == (2, "make it: mkdir -p docs")


def test_reasons_from_outside_are_only_text(busy: Desk) -> None:
    """A reason can neither break a table nor steer a terminal, on either page."""
    prompt = busy.root / "systems" / "desk" / "prompts"
    name = next(prompt.iterdir())
    name.write_text(name.read_text() + "\n")
    busy.done("register", "-s", "desk", "-m", "a | b `c` \x1b[31m # [d](e)")
    busy.done("evaluate", "-s", "desk")
    busy.done("gate", "--to", "staging", "-s", "desk")
    busy.done("promote", "--to", "staging", "-s", "desk")
    busy("gate", "--to", "production", "-s", "desk")
    approve = ("approve", "staging", "--to", "production", "-s", "desk", "-m", "| yes |")
    busy.done(*approve, **busy.signing("ml-lead"))
    busy.done("promote", "--to", "production", "-s", "desk")
    page = busy.done("definition", "-s", "desk").out
    assert r"a \| b \`c\` \\x1b\[31m \# \[d\](e)" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("command", PAGES)
def test_json_holds_what_the_page_tells(busy: Desk, command: str) -> None:
    """`--json` gives the values, one object."""
    told = busy.done(command, "-s", "desk", "--json").json
    assert told["system"] == "desk"
    assert set(told) >= ({"asked", "live"} if command == "handoff" else {"version", "decision"})
