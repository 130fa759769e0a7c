"""`lockgate ship`: the whole loop in order, as far as it goes, and on from there."""

from __future__ import annotations

from cli.desks import Desk, Said, normal


def test_ship_walks_the_loop_through_what_is_required(new: Desk) -> None:
    """Change, register, evaluate, then gate and promote for staging and for production."""
    said = new.done("ship", "--to", "production", "-m", "First version")
    assert (
        normal(said.out)
        == """\
◐ desk against nothing registered yet
    model: component added · name = keyword-counter · revision = 1
    prompt: component added · prompts/complaint.txt added ·
      prompts/praise.txt added · prompts/question.txt added
    generation: component added · fallback = question
    code: component added ·
      run = {"kind": "python", "target": "answer:answer"} · answer.py added
✔ registered v1  ID  the first of its line by ml-team
    First version
✔ evaluated v1 on desk: 16 answers, 0 errors, 0:00  (run ID)
    accuracy   .875    [.65 .98]
    p95_ms     N ms
✔ gate: v1 to staging passes
  ✔ registered          ID first of its line by ml-team: First version
  ✔ contents here       4 files
  · contains live       nothing is live in staging
  ✔ desk evaluated      1 completed run on 16 cases, 0 errors, at most 0
  ✔ desk accuracy       .875 [.65 .98], at least .600, 16 cases, judged on the
                        score alone
  · desk accuracy drop  nothing is live there, so there is nothing to drop from
✔ v1 is live in staging  generation 1
✔ evaluated already, nothing to run for production
✔ gate: v1 to production passes
  ✔ registered          ID first of its line by ml-team: First version
  ✔ contents here       4 files
  · contains live       nothing is live in production
  ✔ staging             promoted there as generation 1, same definition
  ✔ desk evaluated      1 completed run on 16 cases, 0 errors, at most 0
  ✔ desk accuracy       .875 [.65 .98], at least .700, 16 cases, judged on the
                        score alone
  · desk accuracy drop  nothing is live there, so there is nothing to drop from
✔ v1 is live in production  generation 1
"""
    )
    assert normal(said.err) == "v1 on desk: 16/16 · accuracy .875 · 0 errors · 0:00\n"


def test_ship_again_does_nothing_twice(busy: Desk) -> None:
    """What is done is told and skipped; the registry stays as it is, and no reason is needed."""
    busy.done("ship", "-s", "filter", "--to", "staging")
    before = busy.state()
    said = busy.done("ship", "-s", "filter", "--to", "staging")
    assert (
        normal(said.out)
        == """\
✔ filter is exactly v1
✔ v1  ID  is registered already
✔ live in staging already
"""
    )
    assert busy.state() == before


def test_ship_stops_for_a_reviewer_and_goes_on(busy: Desk) -> None:
    """Exit 7 names the reviewer's command; after it the same command reaches production."""
    stopped = busy("ship", "-s", "desk", "--to", "production")
    assert stopped.code == 7
    assert stopped.err == (
        "waiting: v2 waits for production: 0 of 1 approvals, from ml-lead or support-lead\n"
        "hint: a reviewer runs `lockgate approve v2 --to production -s desk`\n"
    )
    said = busy.follow(stopped, **busy.signing("ml-lead"))
    assert said.code == 0
    done = busy.done("ship", "-s", "desk", "--to", "production")
    assert done.out.endswith("✔ v2 is live in production  generation 2, before it v1\n")


def test_ship_as_json_is_one_value(busy: Desk) -> None:
    """Every step that was taken, in order, in one value."""
    busy.edit("systems/filter/words.txt", "casino", "casino lottery")
    steps = busy.done("ship", "-s", "filter", "--to", "staging", "-m", "One more", "--json").json[
        "steps"
    ]
    assert [(one["step"], one["state"]) for one in steps] == [
        ("change", "done"),
        ("register", "done"),
        ("evaluate", "done"),
        ("gate", "done"),
        ("promote", "done"),
    ]
    assert steps[0]["result"]["files"][0]["path"] == "words.txt"
    assert steps[1]["result"]["version"]["label"] == "v2"
    assert steps[2]["result"]["end"]["answers"] == 3
    assert steps[3]["result"]["outcome"] == "pass"
    assert steps[4]["result"]["generation"] == 2


def test_a_refused_ship_as_json_is_one_value_too(busy: Desk) -> None:
    """The steps that were taken and the refusal stand in the same value."""
    said = busy("ship", "-s", "desk", "--to", "production", "--json")
    assert said.code == 7
    body = said.json
    assert [one["step"] for one in body["steps"]] == [
        "change",
        "register",
        "promote",
        "evaluate",
        "gate",
    ]
    assert body["error"].startswith("v2 waits for production")
    assert body["exit_code"] == 7
    assert said.err.startswith("waiting: v2 waits for production")


def test_ship_with_a_change_needs_a_reason(busy: Desk) -> None:
    """Without one it stops after showing the change; nothing is registered."""
    busy.edit("systems/filter/words.txt", "casino", "casino lottery")
    before = busy.state()
    said = busy("ship", "-s", "filter", "--to", "staging")
    assert said == Said(
        2,
        "◐ filter against v1\n    prompt: words.txt edited\n",
        "error: a version needs a reason\nhint: say why: -m REASON\n",
    )
    assert busy.state() == before


def test_ship_stops_where_the_gate_refuses(busy: Desk) -> None:
    """Exit 1 at the first refusal; what was registered and evaluated stays."""
    busy.write("systems/desk/prompts/praise.txt", "the\ni\na\n")
    said = busy("ship", "-s", "desk", "--to", "production", "-m", "Common words")
    assert said.code == 1
    assert "✖ gate: v3 to staging refused\n" in said.out
    assert said.err.splitlines()[1:] == [
        "error: the gate did not pass v3 for staging: fail",
        "hint: `lockgate diff v2 v3 -s desk` shows the change and the lost cases",
    ]
    assert busy.labels() == ["v3", "v2", "x1", "v1"]
    again = busy("ship", "-s", "desk", "--to", "production")
    assert again.code == 1
    assert "✔ evaluated already, nothing to run for staging\n" in again.out


def test_ship_to_an_environment_nobody_knows(new: Desk) -> None:
    """A slip in the name is told before anything is registered."""
    before = new.state()
    said = new("ship", "--to", "prodution", "-m", "x")
    assert said == Said(
        2, "", "error: no environment `prodution` in the policy\nhint: did you mean `production`?\n"
    )
    assert new.state() == before
