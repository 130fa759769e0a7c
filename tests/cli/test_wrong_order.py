"""The loop in a wrong order: each step is refused, and the command in the hint takes it on."""

from __future__ import annotations

import pytest

from cli.desks import Desk, Said

TO = ("--to", "production", "-s", "desk")


@pytest.mark.parametrize(
    "words", [["evaluate"], ["gate", "--to", "staging"], ["promote", "--to", "staging"]]
)
def test_nothing_goes_before_register(new: Desk, words: list[str]) -> None:
    """Without a version there is nothing to evaluate, gate or promote; the hint registers one."""
    before = new.state()
    said = new(*words)
    assert said == Said(
        2,
        "",
        "error: nothing of `desk` is registered yet\nhint: `lockgate register -s desk -m REASON`\n",
    )
    assert new.state() == before
    assert new.follow(said).code == 0
    assert new.labels() == ["v1"]


def test_a_version_that_does_not_exist(new: Desk) -> None:
    """A label nobody gave is refused with the way to the first one."""
    said = new("evaluate", "v1")
    assert said.code == 2
    assert said.err.startswith("error: there is no version `v1` in `desk`\n")
    assert new.follow(said).code == 0


@pytest.mark.parametrize("step", ["gate", "promote"])
def test_nothing_goes_before_evaluate(new: Desk, step: str) -> None:
    """A version without a run is neither judged nor promoted; the hint evaluates it."""
    new.done("register", "-m", "First version")
    before = new.state()
    said = new(step, "v1", "--to", "staging")
    assert said == Said(
        1,
        "",
        "error: version `v1` has no completed run on `desk`\nhint: `lockgate evaluate v1 -s desk`\n",
    )
    assert new.state() == before
    assert new.follow(said).code == 0
    assert new(step, "v1", "--to", "staging").code == 0


def test_hints_lead_from_a_promotion_to_the_first_version(new: Desk) -> None:
    """Whoever begins at the end and follows each hint arrives."""
    said = new("promote", "--to", "staging")
    taken = []
    for _ in range(6):
        if said.code == 0:
            break
        taken.append(said.command.split()[1])
        new.follow(said)
        said = new("promote", "--to", "staging")
    assert taken == ["register", "evaluate"]
    assert said.out == "✔ v1 is live in staging  generation 1\n"


def test_a_required_environment_is_not_skipped(new: Desk) -> None:
    """production asks for staging first; the hint promotes there."""
    new.done("register", "-m", "First version")
    new.done("evaluate")
    said = new("promote", "v1", "--to", "production")
    assert said == Said(
        1,
        "",
        "error: the gate did not pass v1 for production: fail\n"
        "  - staging: this definition was never promoted to staging by a passing gate\n"
        "hint: `lockgate promote v1 --to staging`\n",
    )
    assert new("gate", "v1", "--to", "production").code == 1
    assert new.follow(said).code == 0
    assert new("promote", "v1", "--to", "production").code == 0


@pytest.mark.parametrize("step", ["gate", "promote"])
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_experiment_reaches_no_environment(busy: Desk, step: str, environment: str) -> None:
    """Evaluated or not, it is refused; the hint makes a release of it."""
    busy.done("evaluate", "x1", "-s", "desk")
    before = busy.state()
    said = busy(step, "x1", "--to", environment, "-s", "desk")
    assert said == Said(
        1,
        "",
        "error: `x1` is an experiment: it reaches no environment\n"
        "hint: make a winner a release: `lockgate register --from x1 -m REASON -s desk`\n",
    )
    assert busy.state() == before
    assert busy.follow(said).code == 0


def test_the_score_of_an_experiment_is_no_evidence_for_its_release(busy: Desk) -> None:
    """A winner is evaluated again as itself."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\n")
    busy.done("register", "-s", "desk", "--experiment", "-m", "Fewer words")
    busy.done("evaluate", "x2", "-s", "desk")
    busy.done("register", "-s", "desk", "--from", "x2", "-m", "Fewer words won")
    said = busy("promote", "v3", "--to", "staging", "-s", "desk")
    assert said.code == 1
    assert said.command == "lockgate evaluate v3 -s desk"


def test_an_empty_change_is_refused(busy: Desk) -> None:
    """The same definition on the same track is no new version."""
    before = busy.state()
    said = busy("register", "-s", "desk", "--from", "v2", "-m", "again")
    assert said.code == 1
    assert said.err.startswith("error: an empty change: this is exactly `v2`, its parent\n")
    assert busy("register", "-s", "desk", "--parent", "v2", "-m", "again").code == 1
    assert busy.state() == before
    assert busy.follow(said).code == 0


def test_a_release_needs_a_reason(new: Desk) -> None:
    """Without a reason, or with a blank one, nothing is registered."""
    before = new.state()
    for words in (["register"], ["register", "-m", "  "], ["register", "-m", "x" * 10_001]):
        said = new(*words)
        assert said.code == 2
        assert "reason" in said.err
    assert new.state() == before


def test_what_would_silently_revert_is_refused_unless_stated(busy: Desk) -> None:
    """A version that does not descend from what is live says so before it is promoted."""
    said = busy("promote", "v1", "--to", "staging", "-s", "desk")
    assert said.code == 1
    assert (
        "  - contains live: it does not descend from v2, which is live, and would silently "
        "revert it\n" in said.err
    )
    assert "--reverting v2" in said.hint
    stated = busy("promote", "v1", "--to", "staging", "-s", "desk", "--reverting", "v2")
    assert stated.out == "✔ v1 is live in staging  generation 3, before it v2\n"


def test_promoting_twice_changes_nothing_the_second_time(busy: Desk) -> None:
    """A promotion is idempotent, for what waits as well as for what is live."""
    before = busy.state()
    first = busy("promote", "v2", *TO)
    assert first.code == 7
    assert busy("promote", "v2", *TO) == first
    assert busy("promote", "v1", *TO).out == "✔ v1 is live in production already (generation 1)\n"
    assert busy.state() == before


def test_a_promotion_waits_for_its_reviewer(busy: Desk) -> None:
    """Exit 7; the reviewer who runs the hint's command lets the promotion pass."""
    said = busy("promote", "v2", *TO)
    assert said == Said(
        7,
        "",
        "waiting: v2 waits for production: 0 of 1 approvals, from ml-lead or support-lead\n"
        "hint: a reviewer runs `lockgate approve v2 --to production -s desk`\n",
    )
    busy.follow(said, **busy.signing("support-lead"))
    assert busy("promote", "v2", *TO).code == 0


def test_nothing_is_approved_before_the_gate_decided(busy: Desk) -> None:
    """A reviewer answers a decision; without one the hint makes it."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\nbest\ngreat\nlove\nperfect\nthank\n")
    busy.done("ship", "-s", "desk", "--to", "staging", "-m", "Other words")
    said = busy("approve", "v3", *TO, **busy.signing("ml-lead"))
    assert said == Said(
        1,
        "",
        "error: the gate has not decided about v3 and production yet\n"
        "hint: `lockgate gate v3 --to production -s desk`\n",
    )
    assert busy.follow(said).code == 7
    assert busy("approve", "v3", *TO, **busy.signing("ml-lead")).code == 0


def test_who_registered_a_version_does_not_review_it(busy: Desk) -> None:
    """The registrar's key is refused; another reviewer's is taken."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\nbest\ngreat\nlove\nperfect\nthank\n")
    how = {"actor": "ml-lead"}
    busy.done("register", "-s", "desk", "-m", "Other words", **how)
    assert busy("ship", "-s", "desk", "--to", "production", **how).code == 7
    said = busy("approve", "v3", *TO, **busy.signing("ml-lead"))
    assert said == Said(
        1,
        "",
        "error: `ml-lead` registered v3 and cannot review it\n"
        "hint: another reviewer says yes: support-lead\n",
    )
    assert busy("approve", "v3", *TO, **busy.signing("support-lead")).code == 0


def test_the_owner_does_not_review_either(busy: Desk) -> None:
    """Nor does the person who answers for the version."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\nbest\ngreat\nlove\nperfect\nthank\n")
    busy.done("register", "-s", "desk", "-m", "Other words", "--owner", "support-lead")
    assert busy("ship", "-s", "desk", "--to", "production").code == 7
    said = busy("approve", "v3", *TO, **busy.signing("support-lead"))
    assert said.err.startswith("error: `support-lead` owns v3 and cannot review it\n")


def test_the_promoter_s_own_yes_does_not_count(busy: Desk) -> None:
    """Whoever approved needs somebody else to promote."""
    busy.done("approve", "v2", *TO, **busy.signing("ml-lead"))
    said = busy("promote", "v2", *TO, actor="ml-lead")
    assert said.code == 7
    assert "ml-lead promotes it and does not count" in said.err
    assert busy("promote", "v2", *TO).code == 0


def test_a_rejected_version_is_not_promoted(busy: Desk) -> None:
    """A no stands against a yes, and against asking the gate again without saying so."""
    busy.done("reject", "v2", *TO, "-m", "wait", **busy.signing("ml-lead"))
    busy.done("approve", "v2", *TO, **busy.signing("support-lead"))
    for words in (["promote", "v2", *TO], ["ship", "-s", "desk", "--to", "production"]):
        said = busy(*words)
        assert said.code == 1
        assert "  - approval: ml-lead said no: wait\n" in said.err
    assert busy("gate", "v2", *TO).code == 1
    assert busy("gate", "v2", *TO, "--again").code == 7


def test_what_the_gate_refused_cannot_be_approved(busy: Desk) -> None:
    """A reviewer cannot say yes to a refusal; the hint shows the reasons."""
    busy.write("systems/desk/prompts/praise.txt", "the\ni\na\n")
    assert busy("ship", "-s", "desk", "--to", "staging", "-m", "Common words").code == 1
    assert busy("gate", "v3", *TO).code == 1
    said = busy("approve", "v3", *TO, **busy.signing("ml-lead"))
    assert said.code == 1
    assert said.err.startswith("error: the gate said fail: there is nothing to approve\n")
    assert busy.follow(said).code == 0


def test_a_decision_that_no_longer_stands_cannot_be_approved(busy: Desk) -> None:
    """Once something else is live, the old decision is void; the hint decides again."""
    busy.write("systems/desk/prompts/praise.txt", "thanks\nbest\ngreat\nlove\nperfect\nthank\n")
    assert busy("ship", "-s", "desk", "--to", "production", "-m", "Other words").code == 7
    busy.done("approve", "v3", *TO, **busy.signing("ml-lead"))
    busy.done("promote", "v3", *TO)
    said = busy("approve", "v2", *TO, **busy.signing("ml-lead"))
    assert said.code == 1
    assert "no longer stands: something else is live now" in said.err
    assert busy.follow(said).code == 1


def test_a_run_that_has_ended_is_not_resumed(busy: Desk) -> None:
    """The hint starts a new one."""
    run = busy("evaluate", "v2", "-s", "desk", "--json").json["runs"][0]["run"]["id"]
    said = busy("evaluate", "v2", "-s", "desk", "--resume", run)
    assert said.code == 1
    assert said.err.startswith(f"error: run `{run}` is completed already\n")


def test_a_run_of_another_version_is_not_resumed(busy: Desk) -> None:
    """A run belongs to its version and system; the hint names both."""
    run = busy("evaluate", "v1", "-s", "desk", "--json").json["runs"][0]["run"]["id"]
    expected = (
        f"error: run `{run}` is of `v1` of `desk`\n"
        f"hint: `lockgate evaluate v1 -s desk --resume {run}`\n"
    )
    assert busy("evaluate", "v2", "-s", "desk", "--resume", run) == Said(2, "", expected)
    assert busy("evaluate", "-s", "filter", "--resume", run) == Said(2, "", expected)


def test_a_run_that_does_not_exist(busy: Desk) -> None:
    """An id nobody gave is refused."""
    said = busy("evaluate", "-s", "desk", "--resume", "nosuch")
    assert said.code == 2
    assert said.err.startswith("error: there is no run `nosuch`\n")


def test_nothing_is_gated_before_a_policy_is_applied(new: Desk, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    """Without a policy the gate has no rules; the hint applies one."""
    from lockgate.storage.registry import create_registry

    root = tmp_path_factory.mktemp("bare")
    create_registry(root, actor="ml-team").close()
    for part in ("systems", "suites", "policy.toml"):
        (new.root / part).rename(root / part)
    new.root = root
    new.done("register", "-m", "First version")
    new.done("evaluate")
    for words in (["gate", "--to", "staging"], ["promote", "--to", "staging"], ["approve"]):
        said = new(*words)
        assert said.code == 1
        assert said.err == (
            "error: no policy is applied yet, so nothing can be gated\n"
            "hint: write policy.toml, then `lockgate policy apply`\n"
        )
    assert new.follow(said).code == 0
    assert new("gate", "--to", "staging").code == 0
