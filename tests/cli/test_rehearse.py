"""`lockgate rehearse` and `recheck`: what they print, their exit codes, and what a cut-off one leaves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from cli.desks import Desk, Said, environment, normal

ALWAYS = {"LOCKGATE_ACTOR": "on-call"}


@pytest.fixture
def desk(new: Desk) -> Desk:
    """A system is live in staging, which takes rehearsals for production, and in production."""
    new.edit(
        "policy.toml",
        'stakes = "low"                    # a pass',
        'rehearsal = true\nprotects = "production"\npublish = "published/staging"\n'
        'stakes = "low"                    # a pass',
    )
    new.done("policy", "apply")
    new.done("ship", "--to", "production", "-m", "First version")
    return new


def timeless(text: str) -> str:
    """Return output without how long things took."""
    return re.sub(r"\b\d+\.\d s\b", "N.N s", normal(text))


def live(desk: Desk) -> tuple[str, int]:
    """Return what is live in staging, as the serving side sees it: label and generation."""
    told = desk.done("resolve", "desk", "staging", "--json").json
    return told["label"], told["generation"]


def test_a_rehearsal_that_is_detected(desk: Desk) -> None:
    """Each step has its line and its time; at the end what noticed it, and that all is back."""
    said = desk.done("rehearse", "staging", "--yes")
    assert timeless(said.out) == (
        """\
✔ registered  r1 from v1: drop-examples: 16 examples dropped             N.N s
              (prompts/complaint.txt and 2 more)
✔ live        r1 in staging, generation 2                                N.N s
✔ evaluated   r1 on desk: accuracy .312                                  N.N s
✔ refused     desk accuracy .312 [.13 .55], at least .700, 16 cases,     N.N s
              judged on the score alone
✔ reverted    r1 is gone, generation 3                                   N.N s
✔ verified    live: v1, definition ID · published: receipt and 4   N.N s
              files, every byte hashed
✔ detected in N.N s by desk accuracy (.312 [.13 .55], at least .700, 16 cases,
  judged on the score alone), restored in N.N s, 4 files verified
"""
    )
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert live(desk)[0] == "v1"
    body = desk.done("rehearse", "staging", "--yes", "--json").json
    assert (body["detected"], body["rehearsal"]["outcome"]) == (True, "detected")
    assert body["rehearsal"]["operator"] == "truncate-prompt"


def test_a_rehearsal_that_nobody_notices(desk: Desk) -> None:
    """Exit code 1, with the suites that saw nothing, and their numbers."""
    desk.edit("policy.toml", "min = 0.70, max_drop = 0.05", "min = 0.10, max_drop = 0.90")
    desk.done("policy", "apply")
    said = desk("rehearse", "staging", "--yes", "--operator", "drop-examples")
    assert said.code == 1
    assert "✖ not detected: drop-examples (16 examples dropped" in said.out
    assert "was not refused by desk;" in " ".join(said.out.split())
    assert "desk accuracy drop" in said.out
    assert (
        "next: add cases to desk that go wrong when we leave out the prompt's examples" in said.err
    )
    assert live(desk)[0] == "v1"
    only = desk("rehearse", "staging", "--gate-only")
    assert only.code == 1
    assert only.out.splitlines()[-1] == "✖ the gate catches 0 of 2 ways to get worse"


def test_without_a_terminal_it_needs_yes(desk: Desk) -> None:
    """What would happen is shown, nothing is changed, and the hint runs."""
    before = desk.state()
    said = desk("rehearse", "staging")
    assert said.code == 2
    assert said.out.splitlines()[0] == "rehearse desk staging: v1 is made worse and put back"
    assert "nobody is there to confirm the rehearsal" in said.err
    assert desk.state() == before
    assert desk.follow(said).code == 0


def test_the_gate_alone(desk: Desk) -> None:
    """A line for each operator; what does not apply says why; nothing goes live."""
    before = live(desk)
    said = desk.done("rehearse", "staging", "--gate-only")
    assert said.out.splitlines()[0] == (
        "✔ drop-examples     caught   r1  desk accuracy .312 [.13 .55], at least .700,"
    )
    assert "· lower-top-k       skipped  there is no `top_k` under [retrieval]" in said.out
    assert said.out.splitlines()[-1] == "✔ the gate catches 2 of 2 ways to get worse"
    assert live(desk) == before
    body = desk.done("rehearse", "staging", "--gate-only", "--json").json
    assert (body["caught"], body["tried"]) == (2, 2)
    assert {one["state"] for one in body["operators"]} == {"caught", "skipped"}


@pytest.mark.parametrize(
    ("words", "code", "what", "hint"),
    [
        (["production"], 1, "production takes no rehearsals", "`lockgate rehearse staging`"),
        (["stagin"], 2, "no environment `stagin`", "did you mean `staging`?"),
        (["staging", "--operator", "x"], 2, "there is no operator `x`", "there are drop-examples"),
        (["staging", "--operator", "lower-top-k"], 1, "v1 cannot be made worse", "--gate-only"),
    ],
)
def test_what_is_refused(desk: Desk, words: list[str], code: int, what: str, hint: str) -> None:
    """Nothing is recorded, and the hint says what helps."""
    before = desk.state()
    said = desk("rehearse", *words, "--yes")
    assert said.code == code
    assert what in said.err
    assert hint in said.err
    assert desk.state() == before


def begun(desk: Desk) -> subprocess.Popen[str]:
    """Start a rehearsal of a slow system as a process, and return once the worse one is live."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "rehearse", "staging", "--yes", "-j", "1"],
        cwd=desk.root,
        env=environment(**ALWAYS),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("    published as generation"):
            return process
    raise AssertionError(process.communicate())


@pytest.fixture
def slow(desk: Desk) -> Desk:
    """The same, and the system takes its time for each case."""
    desk.edit(
        "systems/desk/answer.py",
        "    message = input",
        "    import time\n\n    time.sleep(0.5)\n    message = input",
    )
    desk.done("ship", "--to", "staging", "-m", "Think before answering", "-j", "8")
    return desk


@pytest.mark.slow
def test_ctrl_c_puts_things_back_before_it_leaves(slow: Desk) -> None:
    """Exit code 130; what was live is live again, and the rehearsal is recorded as broken off."""
    process = begun(slow)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped: v2 is live in staging again, verified" in err
    assert "hint: `lockgate rehearse staging -s desk` rehearses anew" in err
    assert live(slow)[0] == "v2"
    assert slow("settle", "staging").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("settle", "staging"), ("rollback", "staging", "--yes"), ("rehearse", "staging")]
)
def test_a_killed_rehearsal_is_taken_back_first(slow: Desk, words: tuple[str, ...]) -> None:
    """Nothing is promoted until then; whichever command comes puts back what was live."""
    process = begun(slow)
    process.kill()
    process.communicate(timeout=60)
    assert live(slow)[0] == "r1"
    refused = slow("promote", "v1", "--to", "staging")
    assert refused.code == 1
    assert "the rehearsal r1 is live in staging, by on-call" in refused.err
    assert "`lockgate rehearse staging -s desk`" in refused.err
    said: Said = slow(*words)
    if words[0] == "rehearse":  # it asks before it touches anything
        assert said.code == 2
        said = slow.follow(said)
    assert said.code == 0
    assert "✔ taken back" in said.out
    assert live(slow)[0] == "v2"
    assert slow.done("show", "v2").out
    assert slow.done("status", "--json").json


def test_recheck(desk: Desk) -> None:
    """It says what it is held against, each change with its interval, and what it could not see."""
    said = desk.done("recheck", "staging")
    lines = normal(said.out).splitlines()
    assert lines[0] == "✔ recheck: v1 in staging is as good as when it was approved"
    assert lines[1] == "  ✔ approved by       decision ID for staging"
    assert lines[2].startswith("  ✔ desk accuracy     .875, +.000 [-.171 +.171]; better 0, worse 0")
    assert desk.done("recheck", "staging", "--json").json["recheck"]["outcome"] == "held"


def test_a_recheck_that_finds_a_fall(desk: Desk) -> None:
    """Exit code 1, and what to do next."""
    counter = desk.root / "behind-its-name"
    desk.edit(
        "systems/desk/answer.py",
        "    message = input",
        f"    if Path({str(counter)!r}).exists():\n"
        '        return {"label": "complaint"}\n    message = input',
    )
    desk.done("ship", "--to", "production", "-m", "Ask what others host")
    counter.touch()
    said = desk("recheck", "production")
    assert said.code == 1
    assert said.out.splitlines()[0] == (
        "✖ recheck: v2 in production is worse than when it was approved"
    )
    assert "would not help by itself: v1 asks the same model" in " ".join(said.out.split())
    assert "next: pin the model" in said.err
    assert desk("recheck", "production", "--json").json["recheck"]["outcome"] == "fell"
    assert desk("recheck", "nowhere").code == 2
