"""`lockgate policy` and `suite`: what counts, what differs, and making files count."""

from __future__ import annotations

from cli.desks import Desk, Said, normal


def test_policy(busy: Desk) -> None:
    """What each environment asks, in columns that fit 80, and the state of the file."""
    said = busy.done("policy")
    assert (
        said.out
        == """\
staging  low stakes
    a decision stands for 7d
    desk
        desk accuracy  at least .600, drop at most .100 (95% sure, else allow)
        failed cases   at most 0 in a run
production  high stakes
    a decision stands for 7d
    requires a promotion to staging first
    1 of ml-lead, support-lead must approve
    desk
        desk accuracy  at least .600, drop at most .050
        failed cases   at most 0 in a run
✔ policy.toml is what is applied
"""
    )
    assert said.err == ""


def test_policy_as_json(busy: Desk) -> None:
    """The applied policy and the state of the file."""
    body = busy.done("policy", "--json").json
    assert (body["file"], body["trouble"]) == ("applied", [])
    names = [environment["name"] for environment in body["applied"]["environments"]]
    assert names == ["staging", "production"]


def test_a_policy_that_differs_and_is_applied(new: Desk) -> None:
    """Where nobody reviews, `policy apply` makes the file count, once."""
    new.edit("policy.toml", "min = 0.60", "min = 0.65")
    said = new.done("policy")
    assert said.out.endswith("⚠ policy.toml differs from what is applied\n")
    assert "at least .600" in said.out
    applied = new.follow(said)
    assert normal(applied.out) == "✔ policy applied  ID\n"
    assert "at least .650" in new.done("policy").out
    before = new.state()
    assert normal(new.done("policy", "apply").out) == "✔ policy is applied already  ID\n"
    assert new.done("policy", "--json", "apply").json["is_new"] is False
    assert new.done("policy", "apply", "--json").json["name"] == "policy"
    assert new.state() == before


def test_a_policy_that_waits_for_reviewers(busy: Desk) -> None:
    """Where reviewers are, a change is proposed; their yes lets the same command apply it."""
    busy.edit("policy.toml", "approvals = 1", "approvals = 2")
    said = busy("policy", "apply")
    assert said.code == 7
    assert (
        said.err.splitlines()[1] == "  - production: 0 of 1 approvals, from ml-lead or support-lead"
    )
    listed = busy.done("approve").out
    assert said.command in listed
    again = busy("policy", "apply")
    assert again == said
    agreed = busy.follow(said, **busy.signing("support-lead"))
    assert agreed.code == 0
    assert agreed.err == "next: `lockgate policy apply`\n"
    assert busy.follow(agreed).code == 0
    assert "2 of ml-lead, support-lead must approve" in busy.done("policy").out


def test_a_proposed_policy_that_is_rejected(busy: Desk) -> None:
    """A no ends the proposal; the old policy counts."""
    busy.edit("policy.toml", "approvals = 1", "approvals = 2")
    proposal = busy("policy", "apply").command.split()[-1]
    said = busy.done("reject", "--proposal", proposal, "-m", "slow", **busy.signing("ml-lead"))
    assert normal(said.out).startswith("✖ ml-lead says no to proposal ")
    refused = busy("policy", "apply")
    assert refused == Said(
        1,
        "",
        "error: ml-lead said no to this policy: slow\n"
        "hint: change the policy file and apply that\n",
    )


def test_a_policy_with_mistakes(busy: Desk) -> None:
    """`policy` shows every mistake, `policy apply` refuses; what is applied stays."""
    busy.edit("policy.toml", 'stakes = "low"', 'stakes = "lo"')
    busy.edit("policy.toml", "approvals = 1", "aprovals = 1")
    before = busy.state()
    said = busy.done("policy")
    assert "⚠ policy.toml cannot be read\n    `environments.staging.stakes` is" in said.out
    assert said.err == "hint: correct it, then `lockgate policy apply`\n"
    refused = busy("policy", "apply")
    assert refused.code == 2
    assert refused.err.count("\n  - ") == 2
    assert busy.state() == before


def test_suite(busy: Desk) -> None:
    """System, name, cases, digest and state, under each other."""
    busy.edit("suites/desk.jsonl", "bank transfer", "bank order")
    busy.write("suites/more.toml", (busy.root / "suites/filter.toml").read_text(encoding="utf-8"))
    said = busy.done("suite")
    assert (
        normal(said.out)
        == """\
system  suite   cases  digest    file
desk    desk       16  ID  differs
filter  filter      3  ID  applied
filter  more        3  -         new
"""
    )
    assert said.err == "hint: `lockgate suite apply` makes the files count\n"
    only = busy.done("suite", "-s", "filter", "--json").json
    assert [(one["name"], one["file"]) for one in only] == [("filter", "applied"), ("more", "new")]


def test_a_new_suite_counts_at_once(busy: Desk) -> None:
    """A suite under a new name applies without reviewers; evaluate takes it along by itself."""
    busy.write("suites/more.toml", (busy.root / "suites/filter.toml").read_text(encoding="utf-8"))
    said = busy.done("evaluate", "-s", "filter")
    assert normal(said.err).splitlines()[0] == "✔ more applied  ID"
    assert "✔ evaluated v1 on more: 3 answers" in said.out
    assert normal(busy.done("suite", "apply", "more").out) == "✔ more is applied already  ID\n"


def test_a_changed_suite_waits_for_reviewers(busy: Desk) -> None:
    """It is proposed; with --json the one value holds what was applied and what waits."""
    busy.edit("suites/desk.jsonl", "bank transfer", "bank order")
    said = busy("suite", "apply", "--json")
    assert said.code == 7
    assert [one["name"] for one in said.json["applied"]] == ["filter"]
    assert said.json["error"] == "the suite `desk` is proposed and waits for reviewers"
    words = busy("suite", "apply")
    assert words.code == 7
    assert normal(words.out) == "✔ filter is applied already  ID\n"
    assert busy.follow(words, **busy.signing("ml-lead")).code == 0
    assert normal(busy.done("suite", "apply", "desk").out) == "✔ desk applied  ID\n"


def test_suites_are_all_read_before_the_first_is_applied(new: Desk) -> None:
    """Every mistake of every file is told, and none of the files was applied."""
    text = (new.root / "suites/desk.toml").read_text(encoding="utf-8")
    new.write("suites/a-good.toml", text)
    new.write("suites/bad.toml", text.replace("[[scorers]]", "[[scorer]]"))
    new.write("suites/worse.toml", text.replace("desk.jsonl", "gone.jsonl"))
    before = new.state()
    said = new("suite", "apply")
    assert said.code == 2
    assert said.err.startswith("error: 2 suite files cannot be read\n")
    assert "bad.toml" in said.err and "gone.jsonl" in said.err
    assert new.state() == before


def test_a_suite_that_does_not_exist(new: Desk) -> None:
    """A name without a file is told, and nothing is applied."""
    before = new.state()
    said = new("suite", "apply", "nosuch")
    assert said.code == 2
    assert said.err.startswith("error: ") and "nosuch" in said.err
    assert new.state() == before


def test_the_gate_says_that_a_file_is_not_applied(busy: Desk) -> None:
    """It decides by what is applied, and whoever edited a file hears of it."""
    busy.edit("policy.toml", 'max_age = "7d"', 'max_age = "6d"')
    cases = busy.root / "suites" / "desk.jsonl"
    cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:-1]))
    said = busy("gate", "v2", "--to", "production", "-s", "desk")
    assert said.code == 7
    assert said.err.startswith(
        "note: `policy.toml` differs from what is applied; the gate decides by what is applied: "
        "`lockgate policy`\n"
        "note: suite `desk` differs from what is applied; the gate decides by what is applied: "
        "`lockgate suite`\n"
    )
