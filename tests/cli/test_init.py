"""`lockgate init`: a registry to begin with, and what is missing in one that is there."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.desks import Desk, Said, environment, normal, process


@pytest.fixture
def empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """A folder without a registry."""
    return Desk(tmp_path, capsys, monkeypatch)


def test_init_makes_what_can_be_shipped_at_once(empty: Desk) -> None:
    """It lists the files it wrote, and the command it names takes them to staging."""
    said = empty.done("init", "desk")
    assert (
        normal(said.out, empty.root)
        == """\
✔ registry made in ROOT/desk
✔ policy applied
✔ suite first-system applied: 16 cases
    policy.toml
    systems/first-system/lockgate.toml
    systems/first-system/answer.py
    systems/first-system/prompts/complaint.txt
    systems/first-system/prompts/praise.txt
    systems/first-system/prompts/question.txt
    suites/first-system.toml
    suites/first-system.jsonl
"""
    )
    assert (
        said.err.splitlines()[-1]
        == 'next: `cd desk`, then `lockgate ship -s first-system --to staging -m "First version"`'
    )
    shipped = empty.done(
        "ship", "-s", "first-system", "--to", "staging", "-m", "x", cwd=empty.root / "desk"
    )
    assert "✔ v1 is live in staging  generation 1\n" in shipped.out


def test_init_as_json(empty: Desk) -> None:
    """`--json` names the folder and the files."""
    body = empty.done("init", "-s", "desk", "--json").json
    assert body["root"] == str(empty.root)
    assert body["is_new"] is True
    assert body["written"][0] == "policy.toml"
    assert all((empty.root / path).is_file() for path in body["written"])


def test_init_names_the_system_and_its_owner(empty: Desk) -> None:
    """-s and --owner are what the first lockgate.toml says."""
    empty.done("init", "-s", "triage", "--owner", "support-ml")
    text = (empty.root / "systems/triage/lockgate.toml").read_text(encoding="utf-8")
    assert 'name = "triage"\nowner = "support-ml"\n' in text


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["-s", "Bad Name"], "system name `Bad Name` needs 1 to 40 of a-z, 0-9 and `-`"),
        (["--owner", 'x"\n[model]'], 'owner `x"\\x0a[model]` needs 1 to 64 of A-Z'),
    ],
)
def test_names_are_checked_before_anything_is_made(
    empty: Desk, arguments: list[str], what: str
) -> None:
    """A name that is not allowed leaves the folder as it was."""
    said = empty("init", *arguments)
    assert said.code == 2
    assert said.err.startswith(f"error: {what}")
    assert list(empty.root.iterdir()) == []


def test_a_policy_with_mistakes_is_told_before_anything_is_made(empty: Desk) -> None:
    """A policy.toml that is there and cannot be read stops init without a registry."""
    empty.write("policy.toml", '[environments.staging]\nstakes = "lo"\n')
    said = empty("init")
    assert said.code == 2
    assert "environments.staging.stakes" in said.err
    assert [path.name for path in empty.root.iterdir()] == ["policy.toml"]
    empty.write("policy.toml", '[environments.staging]\nstakes = "low"\n')
    assert empty("init").code == 0


def test_files_that_are_there_are_left_alone(empty: Desk) -> None:
    """A system that is there keeps its files, and gets a policy without rules about a suite."""
    toml = '[system]\nname = "mine"\n'
    empty.write("systems/mine/lockgate.toml", toml)
    said = empty.done("init")
    assert said.out.splitlines()[1:] == ["✔ policy applied", "    policy.toml"]
    assert (empty.root / "systems/mine/lockgate.toml").read_text(encoding="utf-8") == toml
    assert said.hint == "write suites/NAME.toml with cases, then `lockgate suite apply`"
    applied = empty.done("policy", "--json").json["applied"]["environments"]
    assert [one["name"] for one in applied] == ["staging", "production"]
    assert "mine" in (empty.root / "policy.toml").read_text(encoding="utf-8")


def test_where_nothing_is_missing_init_says_so(new: Desk) -> None:
    """In a whole registry init changes nothing and points to what is there."""
    before = new.state()
    said = new("init")
    assert said == Said(
        1,
        "",
        f"error: there is a registry in `{new.root}` already, and nothing is missing\n"
        f"hint: `lockgate status --registry {new.root}`\n",
    )
    assert new.state() == before
    assert new.follow(said).code == 0


def test_init_inside_a_registry_makes_no_second_one(new: Desk) -> None:
    """Below a registry a bare init is about that registry."""
    below = new.root / "systems/desk"
    assert new("init", cwd=below).code == 1
    assert not (below / ".lockgate").exists()


def test_a_lost_policy_comes_back_as_it_is_applied(busy: Desk) -> None:
    """The hint of `policy` restores policy.toml and the signers file byte for byte."""
    lost = {name: (busy.root / name).read_bytes() for name in ("policy.toml", "signers")}
    for name in lost:
        (busy.root / name).unlink()
    said = busy.done("policy")
    assert said.out.endswith("⚠ policy.toml is missing\n")
    assert said.hint == "`lockgate init` writes it back"
    restored = busy.follow(said)
    assert (
        restored.out
        == f"✔ written into the registry's folder {busy.root}\n    policy.toml\n    signers\n"
    )
    assert {name: (busy.root / name).read_bytes() for name in lost} == lost
    assert busy.done("policy").out.endswith("✔ policy.toml is what is applied\n")


def test_a_file_where_the_folder_should_be(empty: Desk) -> None:
    """A file in the way is named, and stays what it was."""
    empty.write("taken", "mine")
    said = empty("init", "taken")
    assert said.code == 3
    assert "taken" in said.err and "not a directory" in said.err
    assert (empty.root / "taken").read_text(encoding="utf-8") == "mine"


def test_demo_refuses_a_folder_that_holds_something(new: Desk) -> None:
    """The demo never writes between files that are somebody's."""
    before = sorted(new.root.rglob("*"))
    said = new("demo", str(new.root))
    assert said == Said(
        1,
        "",
        f"error: `{new.root}` is not empty\n"
        "hint: name a new folder: `lockgate demo some-new-folder`\n",
    )
    assert sorted(new.root.rglob("*")) == before


@dataclass(frozen=True)
class Demo:
    """A demo that was played to its end, and what it printed, in words and as JSON."""

    root: Path
    code: int
    out: str
    err: str
    json: dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The story told twice at the same time."""
    folder = tmp_path_factory.mktemp("demo")
    words, told = (
        subprocess.Popen(
            [sys.executable, "-m", "lockgate", "demo", *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (("story", "--no-tui"), ("again", "--json"))
    )
    body, _ = told.communicate(timeout=300)
    out, err = words.communicate(timeout=300)
    return Demo(folder / "story", words.returncode, out, err, json.loads(body))


def test_the_demo_tells_its_story(demo: Demo) -> None:
    """It exits 0, prints the scenes on stdout, and ends with commands to look around with."""
    assert (demo.code, demo.err) == (0, "")
    assert demo.out.count("\n  $ lockgate ") > 40
    assert "\n✖ gate: v4 to staging refused\n" in demo.out
    assert demo.out.endswith(
        f"""\
✔ the story is told: look around with
    cd {demo.root}
    lockgate status -s support-desk
    lockgate tree -s support-desk
    lockgate diff v3 v4 -s support-desk
"""
    )


def test_the_demo_as_json(demo: Demo) -> None:
    """One value with the same commands in the same order, and whether keys were made."""
    assert demo.json["root"] == str(demo.root.with_name("again"))
    commands = [event["command"] for event in demo.json["events"] if event["command"]]
    assert commands == re.findall(r"^  \$ (.*)$", demo.out, re.MULTILINE)
    refused = [event["result"] for event in demo.json["events"] if event["kind"] == "refused"]
    assert all(one["error"] and one["hint"] for one in refused)


def test_the_commands_at_the_end_of_the_demo_work(demo: Demo) -> None:
    """What it says to look around with is run as it stands."""
    for line in demo.out.splitlines()[-3:]:
        words = line.split()[1:]
        assert process(*words, cwd=demo.root).returncode == 0, words


def test_no_command_of_the_demo_is_broken_over_lines(demo: Demo) -> None:
    """Every hint of the story has its command in one piece, so that it can be copied."""
    for line in demo.out.splitlines():
        assert line.count("`") % 2 == 0, line
        assert line == line.rstrip()
        assert len(line) <= 82 or line.startswith(("  $ ", "    cd ")), line


def test_the_hints_of_the_demo_name_the_system(demo: Demo) -> None:
    """Commands in the story work where the story was left: in a registry of two systems."""
    hinted = re.findall(r"hint: .*?`lockgate (.*?)`", demo.out)
    assert len(hinted) > 10
    assert all(" -s support-desk" in one or " -s enquiry-filter" in one for one in hinted)
    assert process("diff", "v3", "v4", "-s", "support-desk", cwd=demo.root).returncode == 0


def test_a_demo_that_is_stopped_is_not_told_as_a_refusal(tmp_path: Path) -> None:
    """Ctrl-C ends the story with exit 130, and the hint begins it anew."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "demo", "story", "--no-tui"],
        cwd=tmp_path,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("  $ lockgate evaluate"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == (
        "stopped: the story is not told to its end\n"
        "hint: begin again in a new folder: `lockgate demo`\n"
    )
