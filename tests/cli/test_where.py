"""Which registry, which system, which folder and which person a command is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.desks import Desk, Said, copied, process


def test_the_registry_is_found_upward(new: Desk) -> None:
    """From any folder below it, like git."""
    expected = new.done("change")
    for below in ("systems", "systems/desk", "systems/desk/prompts", "suites"):
        assert new.done("change", cwd=new.root / below) == expected


@pytest.mark.parametrize("named", ["", "/.lockgate", "/.lockgate/registry.db"])
def test_the_registry_is_named_before_or_after_the_command(
    new: Desk, tmp_path: Path, named: str
) -> None:
    """--registry takes the folder, its .lockgate, or the file; so does LOCKGATE_REGISTRY."""
    where = f"{new.root}{named}"
    expected = new.done("change")
    assert new.done("--registry", where, "change", cwd=tmp_path) == expected
    assert new.done("change", "--registry", where, cwd=tmp_path) == expected
    assert new.done("change", cwd=tmp_path, env={"LOCKGATE_REGISTRY": where}) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["policy", "--registry", "HERE", "apply"],
        ["policy", "apply", "--registry", "HERE"],
        ["--registry", "HERE", "policy", "apply"],
        ["suite", "--registry", "HERE", "apply"],
        ["suite", "apply", "--registry", "HERE"],
        ["approve", "--registry", "HERE"],
        ["evaluate", "--registry", "HERE"],
        ["gate", "--to", "staging", "--registry", "HERE"],
        ["register", "-m", "x", "--registry", "HERE"],
        ["ship", "--to", "staging", "--registry", "HERE"],
        ["promote", "--to", "staging", "--registry", "HERE"],
    ],
)
def test_every_command_takes_the_registry(new: Desk, tmp_path: Path, words: list[str]) -> None:
    """From a folder without a registry each command finds the one that is named."""
    new.done("ship", "--to", "staging", "-m", "First version")
    said = new(*[str(new.root) if word == "HERE" else word for word in words], cwd=tmp_path)
    assert said.code == 0, said


def test_the_command_line_wins_over_the_environment(
    new: Desk, new_registry: Path, tmp_path: Path
) -> None:
    """--registry is stronger than LOCKGATE_REGISTRY, which is stronger than the folder."""
    other = copied(new_registry, tmp_path / "other")
    env = {"LOCKGATE_REGISTRY": str(other)}
    new.done("register", "-m", "x", "-C", str(other / "systems/desk"), env=env)
    assert "is exactly v1" in new.done("change", "-C", "systems/desk", env=env).out
    here = new.done("change", "--registry", str(new.root), env=env)
    assert here.out.startswith("◐ desk against nothing registered yet")


def test_a_mistyped_registry_is_not_the_one_above_it(new: Desk) -> None:
    """A folder that does not exist below a registry is refused, not taken for that registry."""
    for named in ("typo", "typo/again", "systems", ".lockgate/typo"):
        said = new("change", "--registry", named)
        assert said == Said(
            3,
            "",
            f"error: there is no registry at `{named}`\nhint: make one: `lockgate init {named}`\n",
        )


def test_a_registry_that_is_named_in_vain(new: Desk, tmp_path: Path) -> None:
    """The hint makes one there, also where the path has a space."""
    said = new("change", cwd=tmp_path, env={"LOCKGATE_REGISTRY": str(tmp_path / "a b")})
    assert said.code == 3
    assert new.follow(said, cwd=tmp_path).code == 0
    assert (tmp_path / "a b" / ".lockgate" / "registry.db").is_file()


def test_no_registry_anywhere(new: Desk, tmp_path: Path) -> None:
    """Outside every registry the hint names the ways to one."""
    said = new("change", cwd=tmp_path)
    assert said == Said(
        3,
        "",
        f"error: there is no registry in `{tmp_path}` or above it\n"
        "hint: make one with `lockgate init`, name one with --registry, or try `lockgate demo`\n",
    )


SEVERAL = (
    "error: this registry holds several systems: desk, filter\n"
    "hint: say which with -s SYSTEM, or go into its folder\n"
)


@pytest.mark.parametrize(
    "words",
    [
        ["change"],
        ["register", "-m", "x"],
        ["evaluate"],
        ["gate", "v1", "--to", "staging"],
        ["promote", "v1", "--to", "staging"],
        ["ship", "--to", "staging"],
        ["approve", "v1", "--to", "production"],
        ["reject", "v1", "--to", "production"],
    ],
)
def test_several_systems_are_listed_and_none_is_guessed(busy: Desk, words: list[str]) -> None:
    """Without -s, at the root of a registry of two systems, nothing is done."""
    before = busy.state()
    assert busy(*words) == Said(2, "", SEVERAL)
    assert busy.state() == before


def test_the_folder_one_is_in_says_which_system(busy: Desk) -> None:
    """In a system's folder, or below it, no -s is needed."""
    said = busy.done("change", cwd=busy.root / "systems/desk/prompts")
    assert said.out == "✔ desk is exactly v2\n"
    assert busy.done("change", cwd=busy.root / "systems/filter").out == "✔ filter is exactly v1\n"
    body = busy("gate", "--to", "staging", "--json", cwd=busy.root / "systems/filter").json
    assert (body["decision"]["system"], body["version"]) == ("filter", "v1")


def test_the_system_that_is_named_wins(busy: Desk) -> None:
    """-s is about that system wherever one is, -C about that folder."""
    inside = busy.root / "systems/desk"
    assert busy.done("change", "-s", "filter", cwd=inside).out == "✔ filter is exactly v1\n"
    assert busy.done("change", "-C", "../filter", cwd=inside).out == "✔ filter is exactly v1\n"


def test_system_and_folder_that_contradict_each_other(busy: Desk) -> None:
    """-s and -C about different systems are refused."""
    for words in (["change"], ["register", "-m", "x"], ["ship", "--to", "staging"]):
        assert busy(*words, "-C", "systems/filter", "-s", "desk") == Said(
            2,
            "",
            "error: `systems/filter` holds system `filter`, not `desk`\nhint: leave out -s or -C\n",
        )


def test_a_system_nobody_knows(busy: Desk) -> None:
    """The systems there are stand in the hint."""
    assert busy("evaluate", "-s", "dsek") == Said(
        2, "", "error: there is no system `dsek` in this registry\nhint: there are desk, filter\n"
    )
    assert busy("change", "-s", "dsek") == Said(
        2,
        "",
        f"error: no folder of system `dsek` was found below `{busy.root}`\n"
        "hint: there are desk, filter; or name a folder: -C DIR\n",
    )


def test_a_folder_that_is_no_system(busy: Desk) -> None:
    """-C needs a folder with lockgate.toml in it."""
    for named in ("suites", "nowhere", "policy.toml"):
        assert busy("change", "-C", named) == Said(
            2,
            "",
            f"error: there is no lockgate.toml in `{named}`\n"
            "hint: name a system's folder: -C DIR\n",
        )


def test_a_registry_without_any_system_folder(new: Desk) -> None:
    """The hint writes a first one."""
    for path in sorted((new.root / "systems").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    said = new("change")
    assert said == Said(
        2,
        "",
        f"error: there is no lockgate.toml here, above, or in a folder of `{new.root}/systems`\n"
        "hint: `lockgate init` writes a first one, `lockgate checkout VERSION DIR` one that is "
        "registered\n",
    )
    assert new.follow(said).code == 0
    assert new("change").code == 0


def test_the_actor_is_who_the_environment_says(new: Desk) -> None:
    """LOCKGATE_ACTOR is recorded as the registrar; without it the login name is."""
    body = new.done("register", "-m", "x", "--json", actor="ci@build-7").json
    assert body["version"]["registrar"] == "ci@build-7"
    said = process("status", "--json", cwd=new.root, env={"LOCKGATE_ACTOR": None})
    assert said.returncode == 0


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a/b", "../x", "-x", "x" * 65, "ünï", "[/]", "a\nb", "a\x1b[31mb", "a\u202eb"],
)
def test_a_name_that_steers_or_pretends_is_refused(new: Desk, name: str) -> None:
    """A hostile LOCKGATE_ACTOR is shown spelled out, and nothing is recorded under it."""
    before = new.state()
    said = new("register", "-m", "x", actor=name)
    assert said.code == 2
    assert said.err.startswith("error: LOCKGATE_ACTOR `")
    assert said.hint == "set it to your name, like `export LOCKGATE_ACTOR=ml-team`"
    assert said.err.count("\n") == 2 and said.err.replace("\n", "").isprintable()
    assert new.state() == before


def test_a_folder_that_is_gone(new: Desk, tmp_path: Path) -> None:
    """A shell that stands in a deleted folder gets a clear error."""
    gone = tmp_path / "gone"
    gone.mkdir()

    done = process("change", cwd=gone, preexec_fn=gone.rmdir)
    assert done.returncode == 3
    assert done.stderr == (
        b"error: the folder you are in is gone\nhint: go into one that exists: `cd`\n"
    )
