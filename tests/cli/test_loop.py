"""The five steps by hand, each with the whole of what it prints, and the same facts as JSON."""

from __future__ import annotations

from cli.desks import Desk, Said, normal


def test_change_of_a_folder_nobody_registered(new: Desk) -> None:
    """Everything in it is new; the next step is named."""
    said = new.done("change")
    assert (
        said.out
        == """\
◐ desk against nothing registered yet
    model: component added · name = keyword-counter · revision = 1
    prompt: component added · prompts/complaint.txt added ·
      prompts/praise.txt added · prompts/question.txt added
    generation: component added · fallback = question
    code: component added ·
      run = {"kind": "python", "target": "answer:answer"} · answer.py added
"""
    )
    assert said.err == "next: `lockgate register -s desk -m REASON`\n"


def test_change_says_what_differs_and_what_nobody_claims(busy: Desk) -> None:
    """Settings with both values, files by name, and files that are no part of the version."""
    busy.edit("systems/desk/lockgate.toml", 'fallback = "question"', 'fallback = "praise"')
    busy.write("systems/desk/prompts/praise.txt", "thanks\n")
    busy.write("systems/desk/notes.md", "to do")
    said = busy.done("change", "-s", "desk")
    assert (
        said.out
        == """\
◐ desk against v2
    prompt: prompts/praise.txt edited
    generation: fallback question → praise
⚠ 1 file that no component claims:
    notes.md
"""
    )
    assert (
        said.err == "hint: claim them in lockgate.toml, or list them under [ignore] files = [...]\n"
        "next: `lockgate register -s desk -m REASON`\n"
    )
    body = busy.done("change", "-s", "desk", "--json").json
    assert body["parent"] == "v2" and body["is_empty"] is False
    assert body["settings"] == [
        {"component": "generation", "key": "fallback", "before": "question", "after": "praise"}
    ]
    assert body["files"] == [
        {"component": "prompt", "path": "prompts/praise.txt", "kind": "edited"}
    ]
    assert body["unclaimed"] == ["notes.md"]


def test_change_against_another_version(busy: Desk) -> None:
    """--parent compares with any version, by label or by the environment where it is live."""
    by_label = busy.done("change", "-s", "desk", "--parent", "v1")
    assert by_label.out == "◐ desk against v1\n    prompt: prompts/praise.txt edited\n"
    assert busy.done("change", "-s", "desk", "--parent", "production") == by_label


def test_an_unchanged_folder(busy: Desk) -> None:
    """A folder that is its lock's version says so."""
    said = busy.done("change", "-s", "desk")
    assert said == Said(0, "✔ desk is exactly v2\n", "next: edit the folder, then run this again\n")


def test_looking_at_a_change_writes_nothing(new: Desk) -> None:
    """`change` leaves the registry and the folder as they are."""
    before, files = new.state(), sorted(new.root.rglob("*"))
    new.done("change")
    assert new.state() == before
    known = {new.root / ".lockgate" / "hashes.json"}
    assert set(new.root.rglob("*")) - set(files) <= known | {
        new.root / ".lockgate" / f"registry.db-{part}" for part in ("wal", "shm")
    }


def test_register(new: Desk) -> None:
    """Label, id, origin, owner and reason; a second time it is the same version."""
    said = new.done("register", "-m", "First version")
    assert (
        normal(said.out)
        == """\
✔ registered v1  ID  the first of its line by ml-team
    First version
"""
    )
    assert said.err == "next: `lockgate evaluate v1 -s desk`\n"
    assert (new.root / "systems/desk/lockgate.lock").is_file()
    before = new.state()
    again = new.done("register", "-m", "Said differently")
    assert normal(again.out) == "✔ v1  ID  is registered already\n"
    assert new.state() == before


def test_register_as_json(busy: Desk) -> None:
    """The whole version, its parent's label and whether it is new."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\n")
    body = busy.done(
        "register", "-s", "desk", "-m", "Fewer\nwords", "--owner", "support-ml", "--json"
    ).json
    assert body["is_new"] is True and body["parent"] == "v2"
    version = body["version"]
    assert len(version["id"]) == len(version["definition"]) == 64
    assert (version["label"], version["track"]) == ("v3", "release")
    assert (version["owner"], version["registrar"]) == ("support-ml", "ml-team")
    assert version["reason"] == "Fewer\nwords"
    assert busy.labels() == ["v3", "v2", "x1", "v1"]


def test_an_experiment_and_its_winner(busy: Desk) -> None:
    """An experiment has a label of its own; as a release it descends from it."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\n")
    said = busy.done("register", "-s", "desk", "--experiment", "-m", "Fewer words")
    assert normal(said.out) == "✔ registered x2  ID  from v2 by ml-team\n    Fewer words\n"
    won = busy.done("register", "-s", "desk", "--from", "x2", "-m", "Fewer words won")
    assert normal(won.out) == "✔ registered v3  ID  from x2 by ml-team\n    Fewer words won\n"
    assert busy.done("change", "-s", "desk").out == "✔ desk is exactly v3\n"


def test_evaluate(new: Desk) -> None:
    """How it goes on stderr, how it ended on stdout, the next step, exit 0."""
    new.done("register", "-m", "First version")
    said = new.done("evaluate")
    assert (
        normal(said.out)
        == """\
✔ evaluated v1 on desk: 16 answers, 0 errors, 0:00  (run ID)
    accuracy   .875    [.65 .98]
    p95_ms     N ms
"""
    )
    assert (
        normal(said.err)
        == """\
v1 on desk: 16/16 · accuracy .875 · 0 errors · 0:00
next: `lockgate gate v1 --to ENV -s desk`
"""
    )


def test_a_second_evaluation_is_told_and_not_run(busy: Desk) -> None:
    """A completed run is not repeated, unless --fresh; then both count."""
    before = busy.state()
    said = busy.done("evaluate", "v1", "-s", "desk")
    assert (
        normal(said.out)
        == """\
✔ v1 on desk: evaluated already (run ID)
    accuracy   .875    [.65 .98]
    p95_ms     N ms
"""
    )
    assert busy.state() == before
    assert (
        "✔ evaluated v1 on desk: 16 answers"
        in busy.done("evaluate", "v1", "--fresh", "-s", "desk").out
    )
    gate = busy("gate", "v1", "--to", "staging", "-s", "desk")
    assert "2 completed runs on 16 cases" in gate.out


def test_evaluate_against_what_is_live(busy: Desk) -> None:
    """Each score stands beside that of what is live on the same cases."""
    said = busy.done("evaluate", "v2", "--fresh", "-s", "desk")
    assert (
        normal(said.out)
        == """\
✔ evaluated v2 on desk: 16 answers, 0 errors, 0:00  (run ID)
    accuracy   .938    [.73 1.0]  v1 .875   won 1, lost 0, tied 15
    p95_ms     N ms
"""
    )


def test_evaluate_as_json(new: Desk) -> None:
    """Runs with their ends, and whether each was made now."""
    new.done("register", "-m", "First version")
    body = new.done("evaluate", "--json").json
    run = body["runs"][0]
    assert (body["version"], len(body["id"])) == ("v1", 64)
    assert run["is_new"] is True
    assert run["end"]["outcome"] == "completed"
    assert (run["end"]["answers"], run["end"]["errors"]) == (16, 0)
    scores = {one["metric"]: one for one in run["end"]["summary"]}
    assert scores["accuracy"]["value"] == 0.875
    assert new.done("evaluate", "--json").json["runs"][0]["is_new"] is False


def test_evaluate_repeats_and_one_suite(new: Desk) -> None:
    """--repeats asks each case so often; --suite takes one of them, or lists what there is."""
    new.done("register", "-m", "First version")
    assert "32 answers" in new.done("evaluate", "--repeats", "2", "--suite", "desk").out
    said = new("evaluate", "--suite", "other")
    assert said == Said(
        2,
        "",
        "error: no suite `other` is applied for `desk`\n"
        "hint: applied are desk; `lockgate suite` lists the files too\n",
    )


def test_without_a_name_it_is_the_folder_then_the_newest_release(busy: Desk) -> None:
    """The lock decides; where no folder is found the newest release, not an experiment."""
    assert busy.done("evaluate", "-s", "desk", "--json").json["version"] == "v2"
    busy.edit("systems/desk/prompts/praise.txt", "best\n", "")
    busy.done("register", "-s", "desk", "--experiment", "-m", "Without it", "--parent", "v2")
    assert busy.done("evaluate", "-s", "desk", "--json").json["version"] == "x2"
    (busy.root / "systems/desk/lockgate.lock").unlink()
    assert busy.done("evaluate", "-s", "desk", "--json").json["version"] == "v2"


def test_gate(new: Desk) -> None:
    """Every finding with its numbers, what else has to hold, and the next step."""
    new.done("register", "-m", "First version")
    new.done("evaluate")
    said = new.done("gate", "--to", "staging")
    assert (
        normal(said.out)
        == """\
✔ gate: v1 to staging passes
  ✔ registered          ID first of its line by ml-team: First version
  ✔ contents here       4 files
  · contains live       nothing is live in staging
  ✔ desk evaluated      1 completed run on 16 cases, 0 errors, at most 0
  ✔ desk accuracy       .875 [.65 .98], at least .600, 16 cases, judged on the
                        score alone
  · desk accuracy drop  nothing is live there, so there is nothing to drop from
  ✔ decision stands     until WHEN
  ✔ approval            none needed
  ✔ no freeze           none is planned
  · way back            the first promotion has nothing to go back to
"""
    )
    assert said.err == "next: `lockgate promote v1 --to staging -s desk`\n"


def test_gate_that_waits(busy: Desk) -> None:
    """Where reviewers are asked, a pass exits with 7 and names the reviewer's command."""
    said = busy("gate", "v2", "--to", "production", "-s", "desk")
    assert said.code == 7
    assert normal(said.out).splitlines()[-4:] == [
        "  · approval            0 of 1 approvals, from ml-lead or support-lead",
        "    hint: a reviewer runs `lockgate approve v2 --to production -s desk`",
        "  ✔ no freeze           none is planned",
        "  ✔ way back            v1 intact, 4 files checked",
    ]
    assert said.err == "next: a reviewer runs `lockgate approve v2 --to production -s desk`\n"
    assert busy("gate", "v2", "--to", "production", "-s", "desk", "--json").json["exit_code"] == 7


def test_gate_that_refuses(busy: Desk) -> None:
    """A refusal exits with 1, shows what was lost, and one JSON value says the same."""
    busy.write("systems/desk/prompts/praise.txt", "the\ni\na\n")
    busy.done("register", "-s", "desk", "-m", "Common words")
    busy.done("evaluate", "-s", "desk")
    said = busy("gate", "--to", "staging", "-s", "desk")
    assert said.code == 1
    assert (
        normal(said.out)
        == """\
✖ gate: v3 to staging refused
  ✔ registered          ID from v2 by ml-team: Common words
  ✔ contents here       4 files
  ✔ contains live       v2 is its parent
  ✔ desk evaluated      1 completed run on 16 cases, 0 errors, at most 0
  ⚠ desk accuracy       .375 [.17 .61], at least .600, 16 cases
    hint: the score is not above .600: improve the version
  ✖ desk accuracy drop  -.562 [-.773 -.226], allowed -.100; won 0, lost 9, tied
                        7 against v2; smallest visible drop about .561
    hint: `lockgate diff v2 v3 -s desk` shows the change and the lost cases
"""
    )
    body = busy("gate", "--to", "staging", "-s", "desk", "--json").json
    assert (body["version"], body["exit_code"]) == ("v3", 1)
    assert (body["decision"]["outcome"], body["decision"]["promotable"]) == ("fail", False)
    drop = body["decision"]["findings"][-1]
    assert (drop["rule"], drop["outcome"]) == ("desk accuracy drop", "fail")
    assert (drop["numbers"]["won"], drop["numbers"]["lost"]) == (0, 9)
    assert busy.follow(said).code == 0


def test_too_little_evidence(new: Desk) -> None:
    """Where the rule blocks on it, gate, promote and ship exit with 4 and say how much would do."""
    new.edit(
        "policy.toml", "min = 0.60,", 'min = 0.80, confidence = 0.95, on_inconclusive = "block",'
    )
    new.done("policy", "apply")
    new.done("register", "-m", "First version")
    new.done("evaluate")
    said = new("gate", "--to", "staging")
    assert said.code == 4
    assert said.out.startswith("⚠ gate: v1 to staging inconclusive\n")
    assert "  ⚠ desk accuracy       .875 [.65 .98], at least .800, 16 cases\n" in said.out
    assert said.hint == "about 72 more cases would settle it if the score stays the same"
    assert new("gate", "--to", "staging", "--json").json["exit_code"] == 4
    promoted = new("promote", "--to", "staging")
    assert promoted == Said(
        4,
        "",
        "error: the gate did not pass v1 for staging: inconclusive\n"
        "  - desk accuracy: .875 [.65 .98], at least .800, 16 cases\n"
        "hint: about 72 more cases would settle it if the score stays the same\n",
    )
    shipped = new("ship", "--to", "staging")
    assert "desk accuracy       .875 [.65 .98], at least .800, 16 cases" in shipped.out
    told_once = [line for line in promoted.err.splitlines() if not line.startswith("  - ")]
    assert (shipped.code, shipped.err.splitlines()) == (4, told_once)


def test_promote(new: Desk) -> None:
    """A pass is made live; what is live already stays as it is."""
    new.done("register", "-m", "First version")
    new.done("evaluate")
    said = new.done("promote", "v1", "--to", "staging", "-m", "good")
    assert said == Said(0, "✔ v1 is live in staging  generation 1\n", "")
    before = new.state()
    assert new.done("promote", "v1", "--to", "staging") == Said(
        0, "✔ v1 is live in staging already (generation 1)\n", ""
    )
    assert new.state() == before


def test_promote_as_json(new: Desk) -> None:
    """Version, environment, generation, what was live before, and whether anything was done."""
    new.done("register", "-m", "First version")
    first = new.done("evaluate", "--json").json
    body = {
        "version": "v1",
        "id": first["id"],
        "environment": "staging",
        "generation": 1,
        "before": None,
        "is_new": True,
    }
    assert new.done("promote", "--to", "staging", "--json").json == body
    assert new.done("promote", "--to", "staging", "--json").json == body | {
        "before": "v1",
        "is_new": False,
    }


def test_gate_of_what_is_live(busy: Desk) -> None:
    """What is live already is judged, and neither a promotion nor an approval is asked for."""
    said = busy("gate", "v1", "--to", "production", "-s", "desk")
    assert said.code == 0
    assert "approval" not in said.out
    assert said.err == "v1 is live in production already: there is nothing to promote\n"
    assert "v1 to production" not in busy.done("approve").out


def ask_for_more(busy: Desk) -> None:
    """Let the policy of staging judge by a suite `more`, with a reviewer's consent."""
    rule = '{ suite = "desk", metric = "accuracy", min = 0.60, max_drop = 0.10,'
    busy.edit("policy.toml", rule, rule.replace('"desk"', '"more"'))
    proposed = busy("policy", "apply")
    assert proposed.code == 7
    busy.follow(proposed, **busy.signing("ml-lead"))
    busy.done("policy", "apply")


def test_the_live_version_is_evaluated_first_where_it_lacks_a_run(busy: Desk) -> None:
    """A new suite is asked of what is live too, or promote says which command does that."""
    busy.write("suites/more.toml", (busy.root / "suites/desk.toml").read_bytes())
    busy.done("suite", "apply", "more")
    ask_for_more(busy)
    busy.write("systems/desk/prompts/praise.txt", "thanks\n")
    busy.done("register", "-s", "desk", "-m", "Fewer words")
    busy.done("evaluate", "-s", "desk")
    said = busy("promote", "v3", "--to", "staging", "-s", "desk")
    assert said.code == 1
    assert said.err == (
        "error: v2, which is live in staging, has no run on `more` to compare with\n"
        "hint: `lockgate gate v3 --to staging -s desk` evaluates it first\n"
    )
    gate = busy.follow(said)
    assert "v2 is live in staging and was never asked these cases: evaluating it now" in gate.err
    assert "against v2" in gate.out


def test_a_suite_the_policy_waits_for_needs_its_reviewers(busy: Desk) -> None:
    """Nobody makes the exam that a rule already asks for alone; evaluate says who has to agree."""
    ask_for_more(busy)
    busy.write("suites/more.toml", (busy.root / "suites/desk.toml").read_bytes())
    said = busy.done("evaluate", "-s", "desk")
    assert "more" not in said.out
    assert said.err.splitlines()[0] == (
        "note: suite more counts once reviewers agree: `lockgate suite apply more`"
    )
    assert busy("suite", "apply", "more").code == 7
