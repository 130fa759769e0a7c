"""Running instances are asked by a command of the team's own, and each answer has a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.world import is_gone
from lockgate.deploy.observe import Instance, classify, observe
from lockgate.errors import InfrastructureFailed, LockgateError

LIVE, OLD = "a" * 64, "b" * 64


def script(root: Path, text: str) -> list[str]:
    path = root / "observe.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return ["./observe.sh"]


def refusal(root: Path, argv: list[str], timeout_s: float = 10.0) -> LockgateError:
    with pytest.raises(InfrastructureFailed) as caught:
        observe(root, argv, timeout_s)
    assert caught.value.exit_code == 5
    return caught.value


def test_each_line_is_an_instance(tmp_path: Path) -> None:
    """A name and an id, or an id alone; blank lines are nothing."""
    argv = script(tmp_path, f"echo desk-1 {LIVE}; echo; echo '  {OLD}  '; echo desk-3 no answer")
    assert observe(tmp_path, argv, 10.0) == [
        Instance("desk-1", LIVE),
        Instance("2", OLD),
        Instance("desk-3", "no answer"),
    ]


def test_it_runs_in_the_root_and_knows_what_it_asks_about(tmp_path: Path) -> None:
    """No shell, the registry's folder, the facts that were given, and nothing else of ours."""
    argv = script(tmp_path, 'echo "$LOCKGATE_SYSTEM" "$1-$(pwd)-$SECRET"')
    os.environ["SECRET"] = "hidden"
    try:
        found = observe(tmp_path, [*argv, "$HOME"], 10.0, {"LOCKGATE_SYSTEM": "support-desk"})
    finally:
        del os.environ["SECRET"]
    assert found == [Instance("support-desk", f"$HOME-{tmp_path}-")]


def test_no_instances_is_an_answer(tmp_path: Path) -> None:
    """A command that prints nothing says that nothing runs."""
    assert observe(tmp_path, script(tmp_path, "true"), 10.0) == []


def test_a_command_that_fails_says_nothing(tmp_path: Path) -> None:
    """Its exit code and what it last said are told, safe to show."""
    error = refusal(
        tmp_path, script(tmp_path, f"echo {LIVE}; printf 'no \\033[31mroute' >&2; exit 3")
    )
    assert error.what == "the instances could not be asked: it ended with exit code 3"
    assert error.problems == ("no \\x1b[31mroute",)
    assert "`observe`" in error.hint


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """The time limit holds, and nothing is left behind."""
    argv = script(tmp_path, "sleep 60 & echo $! > child; exec sleep 60")
    error = refusal(tmp_path, argv, timeout_s=0.3)
    assert error.what.endswith("it did not answer within 0.3 s")
    assert is_gone(int((tmp_path / "child").read_text()))


def test_a_command_that_closes_its_output_is_ended_too(tmp_path: Path) -> None:
    """Closing the output is not ending."""
    error = refusal(tmp_path, script(tmp_path, "exec sleep 60 >&- 2>&-"))
    assert error.what.endswith("it closed its output and went on")


def test_a_flood_is_cut_off(tmp_path: Path) -> None:
    """Output without end does not fill the memory."""
    error = refusal(tmp_path, script(tmp_path, "exec cat /dev/zero"))
    assert "wrote more than 1048576 bytes" in error.what


def test_a_flood_of_complaints_is_not_kept(tmp_path: Path) -> None:
    """Standard error is read to its end, and only its end is kept."""
    argv = script(tmp_path, f"head -c 3000000 /dev/zero >&2; echo {LIVE}")
    assert observe(tmp_path, argv, 10.0) == [Instance("1", LIVE)]


@pytest.mark.parametrize("argv", [["./none.sh"], ["no-such-program-anywhere"], []])
def test_a_command_that_is_not_there_is_named(tmp_path: Path, argv: list[str]) -> None:
    """Before anything runs."""
    assert "the instances cannot be asked: `" in refusal(tmp_path, argv).what


def test_each_answer_has_a_name() -> None:
    """What is live, what was, what no receipt named, and what is no id."""
    instances = [
        Instance(str(place), text)
        for place, text in enumerate([LIVE, LIVE[:8], OLD, "c" * 64, LIVE[:7], "v14", "?"])
    ]
    found = classify(instances, LIVE, {LIVE, OLD})
    assert [(seen.state, seen.version) for seen in found] == [
        ("match", LIVE),
        ("match", LIVE),
        ("stale", OLD),
        ("unreceipted", "c" * 64),
        ("unknown", None),
        ("unknown", None),
        ("unknown", None),
    ]


def test_nothing_matches_while_nothing_is_live() -> None:
    """Before the first promotion an instance is at best stale."""
    assert [seen.state for seen in classify([Instance("1", OLD)], None, {OLD})] == ["stale"]
