"""Files that cannot be used: each is named with what is wrong, and nothing is half-written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

import pytest

from cli.desks import Desk, Said

TOML = "systems/desk/lockgate.toml"


def refused(desk: Desk, *words: str, code: int = 2) -> Said:
    """Run a command that has to fail without a trace in the registry, and give what it said."""
    before = desk.state()
    said = desk(*words)
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("error: ") and "\nhint: " in said.err
    assert "Traceback" not in said.err
    assert desk.state() == before
    assert not list((desk.root / "systems").rglob("lockgate.lock"))
    return said


def system_toml(old: str, new: str) -> Callable[[Desk], object]:
    """Return what edits lockgate.toml."""
    return lambda desk: desk.edit(TOML, old, new)


@pytest.mark.parametrize(
    ("spoil", "what", "hint"),
    [
        (
            lambda desk: desk.write(TOML, "[system]\nname = = 3\n"),
            "line 2 column 8: invalid value, in `name = = 3`",
            "TOML wants",
        ),
        (
            system_toml("[generation]", "[generaton]"),
            "unknown section `[generaton]`",
            "did you mean `[generation]`?",
        ),
        (system_toml("owner", "onwer"), "unknown key `[system] onwer`", "did you mean `owner`?"),
        (
            system_toml('"prompts/*.txt"', '"prompt/*.txt"'),
            "`prompt/*.txt` matches no file",
            "create such a file, or remove the pattern",
        ),
        (
            system_toml('fallback = "question"', "temperature = nan"),
            "`[generation] temperature`: `nan` is not a number JSON knows",
            "leave the key out, or write a finite number",
        ),
        (
            system_toml('fallback = "question"', "big = 9007199254740993"),
            "`[generation] big`",
            "",
        ),
        (
            system_toml('fallback = "question"', "day = 2026-08-21"),
            "`[generation] day`",
            "",
        ),
        (
            system_toml('revision = "1"', ""),
            "`[model]",
            "",
        ),
        (
            system_toml('name = "desk"', 'name = "../desk"'),
            "`[system] name`",
            "",
        ),
        (
            system_toml('"answer.py"', '"../../policy.toml"'),
            "../../policy.toml",
            "",
        ),
        (
            system_toml('"answer.py"', '"/etc/passwd"'),
            "/etc/passwd",
            "",
        ),
        (
            lambda desk: desk.write(TOML, b"\xff\xfe\x00"),
            "line 1 column 1: not UTF-8 text",
            "save the file as UTF-8",
        ),
        (
            lambda desk: desk.write(TOML, (desk.root / TOML).read_bytes() + b"\0"),
            "invalid statement, in `\\x00`",
            "TOML wants",
        ),
        (lambda desk: desk.write(TOML, ""), "`[system]", ""),
    ],
)
def test_a_system_toml_that_cannot_be_used(
    new: Desk, spoil: Callable[[Desk], object], what: str, hint: str
) -> None:
    """The place is named with what stands there, by `change`, `register` and `ship` alike."""
    spoil(new)
    said = refused(new, "register", "-m", "x")
    assert what in said.err
    assert hint in said.err
    assert "systems/desk" in said.err
    assert refused(new, "change").err == said.err
    assert refused(new, "ship", "--to", "staging", "-m", "x").err == said.err


def test_all_mistakes_are_told_at_once(new: Desk) -> None:
    """Three mistakes in one file are three lines."""
    new.edit(TOML, "owner", "onwer")
    new.edit(TOML, "[code]", "[coed]")
    new.edit(TOML, 'fallback = "question"', "temperature = nan")
    said = refused(new, "register", "-m", "x")
    for part in ("onwer", "[coed]", "temperature"):
        assert part in said.err


def test_a_fifo_keeps_nobody_waiting(new: Desk) -> None:
    """A FIFO where a file should be is refused; an unclaimed one is listed and left alone."""
    os.mkfifo(new.root / "systems/desk/pipe")
    assert "    pipe\n" in new.done("change").out
    os.mkfifo(new.root / "systems/desk/prompts/late.txt")
    assert "`prompts/late.txt` is a FIFO, not a file" in refused(new, "register", "-m", "x").err
    (new.root / TOML).unlink()
    os.mkfifo(new.root / TOML)
    assert "is not an ordinary file" in refused(new, "register", "-m", "x").err
    os.mkfifo(new.root / "suites/late.toml")
    refused(new, "suite", "apply")


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../policy.toml", "/nowhere"])
def test_a_link_that_leads_outside_is_refused(new: Desk, target: str) -> None:
    """What is not in the folder is not part of the version."""
    (new.root / "systems/desk/prompts/link.txt").symlink_to(target)
    said = refused(new, "register", "-m", "x")
    assert "`prompts/link.txt` is a symbolic link that leads outside the folder" in said.err


def test_a_file_nobody_may_read(open_to_all: Desk, nobody: tuple[str, ...]) -> None:
    """A file without rights is named, by a user who does not have them."""
    (open_to_all.root / "systems/desk/prompts/praise.txt").chmod(0)
    said = open_to_all.outside("change", before=nobody)
    assert said.code == 2
    assert "`prompts/praise.txt` cannot be read: permission denied" in said.err


def test_a_prompt_of_ten_megabytes(new: Desk) -> None:
    """A large file is registered, evaluated and restored like any other."""
    new.write("systems/desk/prompts/praise.txt", "thanks\n" * 1_500_000)
    new.done("register", "-m", "Many thanks")
    assert "16 answers, 0 errors" in new.done("evaluate").out


@pytest.mark.parametrize("data", [b"thanks\0great\n", b"", b"\r\n", "größte\n".encode()])
def test_any_bytes_can_be_a_prompt(new: Desk, data: bytes) -> None:
    """Raw bytes are kept as they are; a version is no judge of them."""
    new.write("systems/desk/prompts/praise.txt", data)
    new.done("register", "-m", "Odd bytes")
    new.done("checkout", "v1", str(new.root / "out"))
    assert (new.root / "out/prompts/praise.txt").read_bytes() == data


CASE = {"id": "m-99", "input": {"message": "hello"}, "expected": {"label": "praise"}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "suites/desk.jsonl has no case"),
        (
            json.dumps(CASE) + "\n" + json.dumps(CASE),
            "line 2: case `m-99` stands in line 1 already",
        ),
        (json.dumps(CASE).replace('"hello"', "NaN"), "line 1: `NaN` is not a number of JSON"),
        (json.dumps(CASE)[:-1], "line 1"),
        (json.dumps({**CASE, "id": ""}), "line 1"),
        (json.dumps({**CASE, "id": "a b\x1b"}), "line 1"),
        (json.dumps({key: CASE[key] for key in ("id", "expected")}), "line 1"),
        (json.dumps(CASE).replace("hello", "\\ud800"), "line 1"),
        ("[1, 2]", "line 1"),
    ],
)
def test_cases_that_cannot_be_used(new: Desk, text: str, what: str) -> None:
    """A suite is refused with the line; what is applied goes on counting."""
    new.write("suites/desk.jsonl", text)
    said = refused(new, "suite", "apply")
    assert what in said.err
    shown = new.done("suite")
    assert re.search(r"desk +desk +16 ", shown.out)
    assert shown.err == "hint: correct the file, then `lockgate suite apply`\n"


def test_a_missing_policy(new: Desk) -> None:
    """`policy apply` names the file; what is applied still counts, and the hint brings it back."""
    (new.root / "policy.toml").unlink()
    said = refused(new, "policy", "apply")
    assert said.err.startswith(f"error: there is no `{new.root}/policy.toml`\n")
    new.follow(said)
    assert new("policy", "apply").code == 0


def test_a_policy_with_mistakes_is_told_whole(new: Desk) -> None:
    """Every mistake with its key and what is allowed."""
    new.edit("policy.toml", 'stakes = "low"', 'stakes = "lo"')
    new.edit("policy.toml", "min = 0.60", 'min = "much"')
    new.edit("policy.toml", 'requires = ["staging"]', 'requires = ["stagin"]')
    said = refused(new, "policy", "apply")
    assert '`environments.staging.stakes` is `"lo"`: needs one of' in said.err
    assert '`environments.staging.systems.desk.rules[0].min` is `"much"`' in said.err
    assert "stagin" in said.err


def test_a_lock_that_was_edited(new: Desk) -> None:
    """A broken lock is refused, with the way to a whole one."""
    new.done("register", "-m", "x")
    new.write("systems/desk/lockgate.lock", "format = 1\n")
    before = new.state()
    said = new("change")
    assert said.code == 2 and "lockgate.lock" in said.err
    assert new("register", "-m", "y").code == 2
    assert new.state() == before


def test_a_lock_of_another_registry(new: Desk, busy: Desk) -> None:
    """A folder that was copied from elsewhere descends from the newest release here."""
    new.done("register", "-m", "x")
    lock = (busy.root / "systems/desk/lockgate.lock").read_text(encoding="utf-8")
    new.write("systems/desk/lockgate.lock", lock)
    assert new.done("change").out == "✔ desk is exactly v1\n"


def test_a_folder_that_cannot_note_its_version(open_to_all: Desk, nobody: tuple[str, ...]) -> None:
    """A registration whose lock cannot be written is said to be made, and is."""
    folder = open_to_all.root / "systems/desk"
    folder.chmod(0o555)
    said = open_to_all.outside("register", "-m", "x", before=nobody)
    folder.chmod(0o755)
    assert said.code == 3
    assert said.err.startswith("error: v1 is registered, but its folder cannot note that: ")
    assert said.command == "lockgate evaluate v1 -s desk"
    assert open_to_all.follow(said).code == 0
    assert "is registered already" in open_to_all.done("register", "-m", "x").out
    assert (folder / "lockgate.lock").is_file()


def test_secrets_are_refused_before_a_byte_is_written(new: Desk) -> None:
    """File and line are named; with a reason they are kept, and the reason is recorded."""
    key = "AKIA" + "IOSFODNN7" + "QWERTYU"
    new.write("systems/desk/prompts/praise.txt", f"thanks\naws_access_key_id = {key}\n")
    said = refused(new, "register", "-m", "x", code=1)
    assert "prompts/praise.txt:2" in said.err
    assert key not in said.err
    done = new.done("register", "-m", "x", "--keep-secrets", "an example", "--json").json
    assert "kept in spite of the secret check: an example" in done["version"]["reason"]
