"""`lockgate status`, `lockgate why` and the bare `lockgate`, as people see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import (
    FixedClock,
    add_version,
    answers_of,
    hold,
    make_registry,
    pass_decision,
    settle,
    start_run,
    take,
)
from cli.looking_desk import Lockgate, runner
from lockgate.storage.registry import Registry
from look.stories import evaluated, go_live, released, set_up


@pytest.fixture
def lockgate(
    registry: Registry,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Lockgate:
    """What runs a command on the test's registry."""
    return runner(registry.root, clock, capsys, monkeypatch)


def body(text: str) -> str:
    """Return a page without its first line, which names the machine."""
    return "\n" + text.partition("\n")[2].rstrip()


def test_the_page_of_one_system(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """On 80 by 24 the page says what is live, what changed, what is next and what waits."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=range(1, 6))
    clock.move(days=4)
    second = released(registry, suite, "two", wrong=range(1, 3), parent=first)
    clock.move(minutes=26)
    third = add_version(registry, "three", parent=second, reason="shorter refunds answer")
    run = evaluated(registry, third, suite, wrong=[1])
    go_live(registry, third, run, "staging")
    pass_decision(registry, third, [run], approvals_needed=1)
    said = lockgate("status")
    assert said.code == 0
    assert said.out.startswith("Lockgate · support-desk ")
    assert said.out.splitlines()[0].endswith("Tue 2026-08-25 09:26:00 UTC")
    assert "oncall@" in said.out.splitlines()[0]
    assert (
        body(said.out)
        == """
───────────────────────────────────────────────────────────────────────────────
 production  v2  ⚠ changed 26 min ago by ci  .900 [.71 .99]  back to v1
 staging     v3  ⚠ changed 0 s ago by ci     .950 [.78 1.0]  back to v2

 last change  production v1 → v2  08-25 09:00  ci, approved by ml-lead
              prompt: prompts/system.md edited

 in work      v3  register ✔  evaluate ✔  gate ✔  promote ·  to production
 waiting      v3 to production: gate pass
              0 of 1 approvals, from ml-lead or support-lead

 triage       v1   v2   v3
              .750 .900 .950
              ▁    ▆    █

 08-25 09:26  gate passed v3 → production                          support-dev
 08-25 09:26  promoted v3 → staging                                         ci
 08-25 09:26  gate passed v3 → staging                             support-dev
 08-25 09:26  evaluated v3 on triage                               support-dev
 08-25 09:26  registered v3 from v2: shorter refunds answer        support-dev

 next         lockgate approve v3 --to production"""
    )
    assert len(said.out.splitlines()) <= 24
    assert max(map(len, said.out.splitlines())) < 80


def test_a_quiet_system_says_that_rolling_back_is_unlikely_to_help(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """With nothing changed lately, the page says so before anybody rolls back."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    clock.move(days=3)
    said = lockgate("status")
    assert " production  v1  ✔ live 3 days, ci  1.00 [.86 1.0]  no way back\n" in said.out
    assert "no change for 3 days: rolling back is unlikely to help\n" in said.out


def test_trouble_stands_at_its_environment(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """Holds, open attempts and open runs have a glyph and words."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = add_version(registry, "two", parent=first)
    run = evaluated(registry, second, suite)
    go_live(registry, second, run, "staging")
    decision = pass_decision(registry, second, [run])
    take(registry, second, decision, actor="pipeline")
    hold(registry)
    third = add_version(registry, "three", parent=second)
    going = start_run(registry, third, suite)
    with registry.write(durable=False) as writing:
        writing.add_answers(answers_of(going, suite)[:8])
    clock.move(minutes=6)
    said = lockgate("status")
    assert "  ? unknown: generation 2 is open: pipeline, promote v2\n" in said.out
    assert "  ✖ held by on-call: under investigation\n" in said.out
    assert " open run     ◐ v3 on triage, 8 of 20 answered, 6 min ago by support-dev\n" in said.out
    assert f" next         lockgate evaluate v3 --resume {going.id[:8]}\n" in said.out


def test_several_systems_are_all_shown_briefly(registry: Registry, lockgate: Lockgate) -> None:
    """Without -s in a registry of several systems each has its few lines."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    add_version(registry, "other", system="order-extract")
    said = lockgate("status")
    assert said.code == 0
    assert (
        body(said.out)
        == """

support-desk  (1 version)
 production  v1  ⚠ changed 0 s ago by ci  1.00 [.86 1.0]  no way back
 staging     v1  ⚠ changed 0 s ago by ci  1.00 [.86 1.0]  no way back

order-extract  (1 version)
 production  -  · nothing is live
 staging     -  · nothing is live
   next  lockgate suite apply"""
    )
    assert said.err == "\none of them in full: `lockgate status -s SYSTEM`\n"
    assert "order-extract (2 of 2)" in lockgate("status", "-s", "order-extract").out


def test_the_folder_says_which_system(
    registry: Registry, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a system's folder its own page is shown, although there are others."""
    set_up(registry)
    add_version(registry)
    add_version(registry, "other", system="order-extract")
    folder = registry.root / "systems" / "order-extract"
    folder.mkdir(parents=True)
    (folder / "lockgate.toml").write_text('[system]\nname = "order-extract"\n')
    monkeypatch.chdir(folder)
    assert "order-extract (2 of 2)" in lockgate("status").out


def test_an_empty_registry_says_how_to_begin(registry: Registry, lockgate: Lockgate) -> None:
    """With nothing registered the page says so and what to do, and is no error."""
    said = lockgate("status")
    assert (said.code, said.out.splitlines()[1]) == (0, " nothing is registered here yet")
    assert said.err == "next: go into a system's folder, then `lockgate register -m REASON`\n"


def test_an_unknown_system_is_refused(registry: Registry, lockgate: Lockgate) -> None:
    """A misspelt system names those there are."""
    set_up(registry)
    said = lockgate("status", "-s", "suport-desk")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: there is no system `suport-desk` in this registry\nhint: there are support-desk\n"
    )


def test_status_as_json(registry: Registry, lockgate: Lockgate) -> None:
    """With --json there is a list with one object a system, times and scores in full."""
    _, suite = set_up(registry)
    released(registry, suite, "one", wrong=[1])
    (page,) = lockgate("status", "--json").json
    assert page["system"] == "support-desk"
    place = page["places"][0]
    assert (place["environment"], place["label"], place["generation"]) == ("production", "v1", 1)
    assert (place["score"]["metric"], place["score"]["value"]) == ("accuracy", 0.95)
    assert place["since"] == "2026-08-21T09:00:00.000000Z"
    assert page["last_change"]["approved_by"] == ["ml-lead"]
    assert page["events"][0]["text"] == "promoted v1 → production"


def test_looking_never_writes(registry: Registry, lockgate: Lockgate) -> None:
    """Looking commands work on a registry that is opened for reading only, and add no record."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    head = registry.ledger.head()
    for command in ("status", "log", "tree"):
        assert lockgate(command).code == 0
    for command in (("why", "production"), ("show", "v1"), ("search", "one")):
        assert lockgate(*command).code == 0
    assert registry.ledger.head() == head


def test_a_bare_lockgate_shows_the_status(registry: Registry, lockgate: Lockgate) -> None:
    """Where there is a registry, a bare `lockgate` is its status."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    assert lockgate().out == lockgate("status").out


def test_a_bare_lockgate_elsewhere_says_how_to_begin(
    tmp_path: Path,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is no registry it names the three ways to begin, and is no error."""
    said = runner(tmp_path, clock, capsys, monkeypatch)()
    assert said.code == 0
    assert (
        said.out
        == """\
Lockgate keeps versions of AI behaviour. There is no registry here or above.
  open a registry      lockgate --registry DIR
  make one here        lockgate init
  practise first       lockgate demo, on a sample with real evals
"""
    )
    assert said.err == "`lockgate --help` lists the commands\n"


def test_a_registry_that_was_named_has_to_be_there(
    tmp_path: Path,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A named registry that is missing is an error, never the friendly page."""
    said = runner(tmp_path, clock, capsys, monkeypatch)("--registry", "nowhere")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("error: there is no registry at `nowhere`\n")


def test_without_utf8_the_page_is_ascii(
    registry: Registry,
    lockgate: Lockgate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a terminal without UTF-8 every glyph has its ASCII form."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    monkeypatch.setattr("lockgate.cli.common.is_utf8", lambda: False)
    monkeypatch.setattr("lockgate.cli.status.is_utf8", lambda: False)
    assert lockgate("status").out.isascii()


def test_names_cannot_steer_the_terminal(registry: Registry, lockgate: Lockgate) -> None:
    """Whatever a reason holds, no control or bidirectional character is printed."""
    set_up(registry)
    add_version(registry, reason="nice \x1b[31mred\x07 \u202etxt")
    for command in (("status",), ("log",), ("tree",), ("show", "v1")):
        said = lockgate(*command)
        assert said.code == 0
        assert not set(said.out) & {"\x1b", "\x07", "\u202e"}
        assert "\\x1b" in said.out


def test_why_gives_the_decision_and_who_said_yes(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """The answer goes from what is live down to the runs and the policy."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    clock.move(days=1)
    second = released(
        registry, suite, "two", parent=first, wrong=[1], reason="shorter\nrefunds answer"
    )
    clock.move(hours=2)
    said = lockgate("why", "production")
    decision = registry.releases.newest_decision(second.id, "production")
    policy = registry.applied.policy()
    assert decision is not None
    assert policy is not None
    run = decision.runs[0].run[:8]
    assert (said.code, said.err) == (0, "")
    assert (
        said.out
        == f"""\
support-desk production: v2 is live, generation 2
  since      Sat 2026-08-22 09:00:00 UTC, 2 h ago
  how        promoted by ci, after v1
  version    {second.id[:8]} by support-dev, owner support-ml: shorter refunds answer
  changed    prompt: prompts/system.md edited

  decision   ✔ pass, {decision.id[:8]} by support-dev, Sat 2026-08-22 09:00 UTC
    ✔ accuracy >= 0.80                2 of 2 right
  approval   ✔ ml-lead said yes, key SHA256:lead: looks right
  run        {run} v2 on triage, accuracy .950 (candidate)
  policy     {policy.policy[:8]}, compared with generation 1
"""
    )


def test_why_says_back_how_it_read_the_time(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """A time is said back on stderr, so that a misreading shows."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    clock.move(days=1)
    released(registry, suite, "two", parent=first)
    clock.move(hours=2)
    said = lockgate("why", "production@yesterday 09:30")
    assert said.err == "`yesterday 09:30` read as Fri 2026-08-21 09:30 UTC, 25 h ago\n"
    assert said.out.startswith("support-desk production: v1 was live, generation 1\n")
    assert "  until      Sat 2026-08-22 09:00:00 UTC, promotion of v2 by ci\n" in said.out


def test_why_before_the_first_promotion(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """Nothing was live is an answer too."""
    _, suite = set_up(registry)
    clock.move(days=1)
    released(registry, suite, "one")
    said = lockgate("why", "production@2026-08-01")
    assert said.code == 0
    assert (
        said.out
        == """\
nothing was live in production of support-desk
  the first promotion there came Sat 2026-08-22 09:00 UTC
"""
    )


def test_why_after_a_rollback(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """A rollback says that it needs no decision, and which promotion had let the version in."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    released(registry, suite, "two", parent=first)
    clock.move(minutes=5)
    attempt = take(registry, first, kind="rollback", actor="oncall", reason="worse answers")
    settle(registry, attempt)
    out = lockgate("why", "production").out
    assert "  how        rolled back by oncall, after v2; a rollback needs no decision\n" in out
    assert "  reason     worse answers\n" in out
    assert "for its promotion as generation 1" in out


def test_why_names_what_came_in_past_the_gate(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """Ungated, by whom, on which ticket, whether anybody closed it, and that no gate let it in."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    second = released(registry, suite, "two", parent=first)
    clock.move(minutes=5)
    broken = take(
        registry, first, kind="break_glass", actor="oncall", ticket="INC-7", reason="it is down"
    )
    settle(registry, broken)
    clock.move(hours=1)
    out = lockgate("why", "production").out
    how = "  how        ungated: oncall broke the glass, after v2; no gate let it in\n"
    assert how in out
    assert "  ticket     INC-7\n" in out
    assert "`lockgate close production -s support-desk -m REASON`" in out
    assert out.rstrip().endswith("none: no gate let it in")
    settle(registry, take(registry, second, kind="rollback", reason="up again"))
    clock.move(minutes=1)
    said = lockgate("why", "production@30 min ago")
    assert "how        ungated: oncall broke the glass, after v2" in said.out
    assert "rollback to v2 by promoter" in said.out


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rehearsal", "rehearsal by promoter, after v1: made worse on purpose"),
        ("revert", "reverted by promoter, after v1, at the end of a rehearsal; needs no decision"),
    ],
)
def test_why_names_rehearsals(kind: str, words: str) -> None:
    """Each way to become live has words of its own."""
    from dataclasses import replace

    from lockgate.cli.status import _how
    from lockgate.domain.release import Attempt, Deployment
    from lockgate.look.why import Why

    attempt = Attempt("desk", "staging", 2, kind, "id", None, None, None, None, "promoter")
    nothing = Why("desk", "staging", attempt.at, *[None] * 6, None, (), (), (), None, None)  # type: ignore[arg-type]
    told = replace(nothing, deployment=Deployment(attempt, "live", attempt.at), before="v1")
    assert _how(told) == words


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("prod", "there is no environment `prod`\nhint: the environments are staging, production"),
        ("production@soon", "`soon` is not a time: write"),
        ("production@", "say a time after `@`\nhint: such as `lockgate why production@02:44`"),
        ("production@2026-03-29 02:30 Europe/Berlin", "`2026-03-29 02:30 Europe/Berlin` never was"),
        ("production@2027-01-01", "`2027-01-01` lies in the future: Fri 2027-01-01 00:00 UTC\n"),
    ],
)
def test_why_refuses_what_it_cannot_read(
    registry: Registry, lockgate: Lockgate, place: str, error: str
) -> None:
    """A misspelt environment, a time that is none and a time to come are usage mistakes."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    said = lockgate("why", place)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {error}")


def test_why_as_json(registry: Registry, lockgate: Lockgate) -> None:
    """With --json the deployment, decision, approvals and runs are whole records."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    value = lockgate("why", "production", "--json").json
    assert value["version"]["label"] == "v1"
    assert value["deployment"]["attempt"]["generation"] == 1
    assert value["approvals"][0]["signer"] == "ml-lead"
    assert value["runs"][0]["suite"] == "triage"


def test_a_second_registry_can_be_named(
    registry: Registry, tmp_path: Path, clock: FixedClock, lockgate: Lockgate
) -> None:
    """--registry may stand before or after the command."""
    other = make_registry(tmp_path / "other", clock)
    set_up(other)
    add_version(other)
    other.close()
    for arguments in (("--registry", "other", "log"), ("log", "--registry", "other")):
        assert "v1" in lockgate(*arguments).out


def test_what_is_due(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """A line each, with its command; where both do not fit, the command has a line of its own."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one")
    take(registry, first, kind="break_glass", ticket="T", reason="r")
    clock.move(days=31)
    said = lockgate("status")
    assert [line for line in said.out.splitlines() if "due" in line or "`lockgate" in line] == [
        " due          ⚠ generation 2 of production is open: nobody knows how it ended",
        "                `lockgate settle production -s support-desk`",
        " due          ⚠ review: never reviewed, every 7 days",
        "                `lockgate review -s support-desk`",
        " due          ⚠ rehearsal of staging: never rehearsed, every 30 days",
        "                `lockgate rehearse staging -s support-desk`",
    ]
    assert lockgate("status", "--json").json[0]["due"][1] == {
        "what": "review: never reviewed, every 7 days",
        "command": "lockgate review -s support-desk",
    }


def test_a_policy_file_that_is_not_applied(registry: Registry, lockgate: Lockgate) -> None:
    """Its bytes alone are looked at; a registry without the file has nothing to compare."""
    _, suite = set_up(registry)
    released(registry, suite, "one")
    assert " due " not in lockgate("status").out
    (registry.root / "policy.toml").write_text("# another one\n")
    said = lockgate("status")
    assert (
        " due          ⚠ `policy.toml` differs from what is applied: `lockgate policy`\n"
        in said.out
    )
