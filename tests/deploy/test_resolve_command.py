"""`lockgate resolve` for start scripts: the folder on stdout, words on stderr, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.world import World
from lockgate.cli import resolve as command
from lockgate.cli.resolve import USAGE, run


@pytest.fixture
def options(world: World, tmp_path: Path) -> list[str]:
    where = str(world.publisher.folder)
    return [f"--root={where}", "--state", str(tmp_path / "s"), "--trust", str(world.public_key)]


def test_the_folder_alone_is_printed(
    world: World, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A start script takes stdout as it is."""
    world.go_live(1)
    assert run(["support-desk", "production", *options]) == 0
    assert capsys.readouterr() == (f"{world.place}/generations/00000001\n", "")


def test_json_has_everything(
    world: World, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON value with the receipt."""
    live = world.go_live(1)
    assert run(["--json", "support-desk", *options, "production"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["label"], told["generation"]) == (live.version, "v1", 1)
    assert (told["stale"], told["note"], told["receipt"]["kind"]) == (None, None, "promote")


def test_a_kept_version_is_served_with_a_warning(
    world: World, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that starts with the last good version is better than none."""
    world.go_live(1)
    run(["support-desk", "production", *options])
    (world.place / "receipt.json").write_text("damaged")
    capsys.readouterr()
    assert run(["support-desk", "production", *options]) == 0
    told = capsys.readouterr()
    assert told.out == f"{world.place}/generations/00000001\n"
    assert told.err == (
        "warning: v1 is kept, generation 1\n"
        "  - the receipt does not count: it is not JSON: "
        "Expecting value: line 1 column 1 (char 0)\n"
    )


def test_the_first_use_is_noted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Trust at first use is said on stderr."""
    world.go_live(1)
    assert run(["support-desk", "production", f"--root={world.root}"]) == 0
    assert capsys.readouterr().err.startswith("note: the key beside the receipt was trusted at")


def test_an_error_has_a_hint_and_a_code(
    world: World, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing published is exit code 3, and nothing is on stdout."""
    assert run(["support-desk", "production", *options]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "error: support-desk in production cannot be resolved: nothing is published for "
        f"support-desk in production: `{world.place}/receipt.json` is missing\n"
        "hint: name the published folder: root=, --root or LOCKGATE_PUBLISHED\n"
    )


def test_a_tampered_folder_is_exit_code_6(
    world: World, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json` the error is data too."""
    folder = world.place / "generations/00000001"
    world.go_live(1)
    (folder / "x\x1b[2J").write_text("")
    assert run(["support-desk", "production", *options, "--json"]) == 6
    told = capsys.readouterr()
    assert json.loads(told.out)["exit_code"] == 6
    assert "\x1b" not in told.out + told.err
    assert "`x\\x1b[2J` should not be there" in told.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "`lockgate resolve` needs a system and an environment, not 0 words"),
        (["desk", "production", "more"], "not 3 words"),
        (["desk", "production", "--force"], "there is no option `--force`"),
        (["desk", "production", "--state"], "`--state` needs a value"),
        (["desk", "production", "--state="], "`--state` needs a value"),
        (["../desk", "production"], "`../desk` is no name of a system or an environment"),
    ],
)
def test_wrong_words_are_exit_code_2(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the command names the word."""
    assert run(words) == 2
    told = capsys.readouterr().err
    assert what in told
    assert "hint: `lockgate resolve SYSTEM ENV`" in told


def test_help_is_the_same_by_both_doors(capsys: pytest.CaptureFixture[str]) -> None:
    """The fast door and the ordinary parser run one command."""
    assert run(["--help"]) == 0
    assert capsys.readouterr().out == USAGE
    done = CliRunner().invoke(command.resolve_command, ["desk", "--help"], standalone_mode=False)
    assert (done.output, done.return_value) == (USAGE, 0)
