"""What the command line says of itself, and what it says to a slip of the fingers."""

from __future__ import annotations

import click
import pytest

from cli.desks import Desk, Said
from lockgate import __version__
from lockgate.cli.main import COMMANDS, cli
from lockgate.shown import shown

NAMES = list(COMMANDS)


def command_of(name: str) -> click.Command:
    """Return a command as its own file defines it."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", NAMES)
def test_short_help_is_the_same_in_both_places(name: str) -> None:
    """The table that makes `--help` fast says what the command itself says."""
    assert command_of(name).short_help == COMMANDS[name][1]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(new: Desk, name: str) -> None:
    """`--help` exits 0, fits 80 columns, and says what each option is for."""
    said = new.done(name, "--help")
    assert said.out.startswith(f"Usage: lockgate {name} ")
    assert max(map(len, said.out.splitlines()[1:])) <= 80
    assert not said.err
    for option in command_of(name).params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize("name", NAMES)
def test_every_command_speaks_json(new: Desk, name: str) -> None:
    """Every command has `--json`."""
    assert "  --json  " in new.done(name, "--help").out


def test_the_page_of_all_commands(new: Desk) -> None:
    """`--help` lists every command once, in sections, with the exit codes."""
    said = new.done("--help")
    for name, (_, short_help) in COMMANDS.items():
        assert said.out.count(f"\n  {name} ") == 1
        assert short_help in said.out
    assert "2 usage, 3 registry or disk, 4 inconclusive" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert new.done("-h").out == said.out


def test_help_keeps_its_lines_as_written() -> None:
    """Short help is a sentence: it begins with a capital and ends with a full stop."""
    for _, short_help in COMMANDS.values():
        assert short_help[0].isupper() and short_help.endswith(".")


def test_the_version(new: Desk) -> None:
    """`--version` names the release."""
    assert new.done("--version").out == f"lockgate, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        (["regster"], "there is no command `regster`", "did you mean `lockgate register`?"),
        (["xyzzy"], "there is no command `xyzzy`", "`lockgate --help` lists them"),
        (["gate"], "`lockgate gate` needs `--to ENV`", "`lockgate gate --help`"),
        (["gate", "--to"], "option `--to` requires an argument", "`lockgate gate --help`"),
        (["gate", "--tooo", "x"], "`lockgate gate` has no option `--tooo`", "did you mean `--to`?"),
        (["-s", "desk"], "`lockgate` has no option `-s`", "`lockgate --help`"),
        (
            ["evaluate", "-j", "0"],
            "`--jobs`: 0 is not in the range 1<=x<=1000",
            "`lockgate evaluate --help`",
        ),
        (
            ["evaluate", "--repeats", "many"],
            "`--repeats`: `many` is not a valid integer range",
            "`lockgate evaluate --help`",
        ),
        (["policy", "aply"], "no such command `aply`", "`lockgate policy --help`"),
        (
            ["change", "here"],
            "got unexpected extra argument (here)",
            "`lockgate change --help`",
        ),
        (["reject"], "say what to reject", "`lockgate approve` lists what waits"),
        (
            ["register", "--from", "x1", "--parent", "v1", "-m", "x"],
            "--from takes the definition and parent from the registry",
            "leave out --experiment, --parent and --folder",
        ),
        (
            ["evaluate", "--resume", "abc", "--fresh"],
            "--resume goes on with a run as it was begun",
            "leave out --fresh, --repeats and --suite",
        ),
    ],
)
def test_slips_are_told_like_every_error(
    new: Desk, arguments: list[str], what: str, hint: str
) -> None:
    """A slip exits with 2 and says in our words what is off and what helps."""
    assert new(*arguments) == Said(2, "", f"error: {what}\nhint: {hint}\n")


def test_a_slip_is_data_too(new: Desk) -> None:
    """With `--json` a slip is one JSON value on stdout, and still words on stderr."""
    said = new("gate", "--json")
    assert said.json == {
        "error": "`lockgate gate` needs `--to ENV`",
        "problems": [],
        "hint": "`lockgate gate --help`",
        "exit_code": 2,
    }
    assert said.err.startswith("error: ")


def test_every_option_has_the_same_words_everywhere() -> None:
    """Options that several commands share say the same in each of them."""
    said: dict[str, set[str | None]] = {}
    for name in COMMANDS:
        for param in command_of(name).params:
            if isinstance(param, click.Option) and param.opts[-1] in ("--registry", "--json"):
                said.setdefault(param.opts[-1], set()).add(param.help)
    assert {option: len(words) for option, words in said.items()} == {"--registry": 1, "--json": 1}


def test_nothing_the_command_line_says_steers_a_terminal() -> None:
    """The pages of help hold no control character."""
    context = click.Context(cli, info_name="lockgate")
    assert shown(cli.get_help(context), lines=True) == cli.get_help(context)
