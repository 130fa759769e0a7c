"""Words on stderr, data on stdout, and streams that are closed, full, or no longer read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.desks import Desk, environment, process


def shell(script: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `lockgate` is the command under test."""
    lockgate = f'lockgate() {{ "{sys.executable}" -m lockgate "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", lockgate + script, "bash", *words],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def live(new: Desk) -> Desk:
    """v1 is live in staging."""
    new.done("ship", "--to", "staging", "-m", "First version")
    return new


@pytest.mark.parametrize(
    "words",
    [
        ["change"],
        ["register", "-m", "x"],
        ["evaluate"],
        ["gate", "--to", "production"],
        ["promote", "--to", "staging"],
        ["ship", "--to", "production"],
        ["policy"],
        ["policy", "apply"],
        ["suite"],
        ["suite", "apply"],
        ["approve"],
        ["status"],
    ],
)
def test_json_alone_is_on_stdout(live: Desk, words: list[str]) -> None:
    """With --json stdout holds one JSON value and nothing else; without, no line begins `error`."""
    assert live.done(*words, "--json").json is not None
    said = live.done(*words)
    assert not any(line.startswith(("error:", "hint:", "next:")) for line in said.out.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ["register"],
        ["evaluate", "v9"],
        ["gate", "v1", "--to", "nowhere"],
        ["promote", "v9", "--to", "staging"],
        ["ship", "--to", "nowhere"],
        ["approve", "v1", "--to", "staging"],
        ["suite", "apply", "nosuch"],
        ["init"],
    ],
)
def test_an_error_with_json(live: Desk, words: list[str]) -> None:
    """It is the same in the value on stdout and in the words on stderr."""
    plain, said = live(*words), live(*words, "--json")
    assert plain.out == ""
    body = said.json
    assert said.code == plain.code == body["exit_code"] > 0
    assert said.err == plain.err
    assert plain.err.startswith(f"error: {body['error']}\n")
    assert plain.err.endswith(f"hint: {body['hint']}\n")


@pytest.mark.parametrize(
    "words", [["--help"], ["gate", "v1", "--to", "staging"], ["suite", "--json"]]
)
def test_a_reader_that_goes_away(live: Desk, words: list[str]) -> None:
    """`lockgate ... | true` complains about nothing, and its code is not that of a refusal."""
    done = shell('lockgate "$@" | true; exit "${PIPESTATUS[0]}"', *words, cwd=live.root)
    assert done.returncode in (0, 141)
    assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr


def test_a_reader_of_both_streams_that_goes_away(live: Desk) -> None:
    """Nor with 2>&1."""
    done = shell(
        'lockgate ship --to production 2>&1 | head -c 5; exit "${PIPESTATUS[0]}"', cwd=live.root
    )
    assert done.returncode in (0, 141)
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_streams_that_were_closed_beforehand(live: Desk, closed: str) -> None:
    """The command does its work and leaves its exit code; the registry is not written into."""
    done = shell(f"lockgate gate v1 --to staging {closed}", cwd=live.root)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    done = shell(f"lockgate gate v9 --to staging {closed}", cwd=live.root)
    assert done.returncode == 2
    assert live.done("evaluate").code == 0


def test_a_full_disk_behind_stdout(live: Desk) -> None:
    """Data that cannot be delivered is exit 3 with words; an error keeps its own code."""
    done = shell("lockgate gate v1 --to staging >/dev/full", cwd=live.root)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: the disk is full: no space left on device\n")
    assert shell("lockgate gate v9 --to staging 2>/dev/full", cwd=live.root).returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_other_encodings(live: Desk, encoding: str) -> None:
    """What an encoding cannot say is replaced; nothing crashes, and JSON stays JSON."""
    live.edit("systems/desk/lockgate.toml", '"question"', '"größer → 問"')
    env = {"PYTHONIOENCODING": encoding}
    for words in (["change"], ["register", "-m", "größer → 問"], ["status"], ["log"], ["tree"]):
        done = process(*words, cwd=live.root, env=env)
        assert done.returncode == 0, (words, done.stderr.decode(encoding))
        done.stdout.decode(encoding)
    done = process("show", "v2", "--json", cwd=live.root, env=env)
    assert '"gr' in done.stdout.decode(encoding)


def test_ascii_instead_of_glyphs(live: Desk) -> None:
    """The fallbacks are glyphs of ASCII, arrows and dots."""
    live.edit("systems/desk/lockgate.toml", '"question"', '"praise"')
    done = process("change", cwd=live.root, env={"LC_ALL": "C"})
    assert done.stdout == (b"o desk against v1\n    generation: fallback question -> praise\n")


def test_nothing_is_asked_on_stdin(live: Desk) -> None:
    """No command of the loop waits for an answer on the terminal."""
    loop: Sequence[Sequence[str]] = (["ship", "--to", "production"], ["approve"], ["evaluate"])
    for words in loop:
        done = process(*words, cwd=live.root)
        assert done.returncode == 0


def test_the_module_and_the_script_are_the_same(live: Desk) -> None:
    """`python -m lockgate` is `lockgate`."""
    script = Path(sys.executable).with_name("lockgate")
    if not script.exists():
        pytest.skip("the script is not installed beside this interpreter")
    done = subprocess.run(
        [script, "suite"], cwd=live.root, env=environment(), capture_output=True, check=False
    )
    assert done.stdout == process("suite", cwd=live.root).stdout
    assert os.access(script, os.X_OK)
