"""What somebody meets who knows only the README: slips that must be told, hints that must work."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cli.desks import Desk, normal

SAMPLE = Path(__file__).parents[2] / "sample_registry"


class TestPolicyTypos:
    """A typo in policy.toml is told before it lets anything through."""

    def test_a_misspelt_system_is_refused(self, busy: Desk) -> None:
        """Rules for `filtre` would leave `filter` without any."""
        rules = '[{ suite = "filter", metric = "accuracy", min = 0.5 }]'
        busy.write(
            "policy.toml",
            (busy.root / "policy.toml").read_text(encoding="utf-8")
            + f"\n[environments.staging.systems.filtre]\nrules = {rules}\n",
        )
        before = busy.state()
        said = busy("policy", "apply")
        assert said.code == 2
        assert said.err.startswith(
            "error: the policy has rules for `filtre`, which is no system here\n"
            "hint: did you mean `filter`? "
        )
        assert busy.state() == before

    def test_rules_for_a_system_that_is_to_come_are_noted(self, new: Desk) -> None:
        """Nothing is registered for it yet, and its name is like no other."""
        text = (new.root / "policy.toml").read_text(encoding="utf-8")
        new.write("policy.toml", text + "\n[environments.staging.systems.summaries]\nrules = []\n")
        note = "note: staging: rules for `summaries`, which is not registered\n"
        assert new.done("policy", "apply").err == note
        assert new.done("policy").err == note

    def test_a_system_with_a_folder_may_have_rules_before_it_is_registered(self, new: Desk) -> None:
        """Its name may be as near to another one as it likes."""
        text = (new.root / "policy.toml").read_text(encoding="utf-8")
        new.write("systems/desks/lockgate.toml", '[system]\nname = "desks"\n')
        new.write("policy.toml", text + "\n[environments.staging.systems.desks]\nrules = []\n")
        assert new.done("policy", "apply").err == ""

    @pytest.mark.parametrize(
        ("suite", "metric", "note"),
        [
            ("dsek", "accuracy", "suite `dsek` is not applied: did you mean `desk`?"),
            ("other", "accuracy", "suite `other` is not applied"),
            (
                "desk",
                "acuracy",
                "suite `desk` does not measure `acuracy`: did you mean `accuracy`?",
            ),
        ],
    )
    def test_a_rule_that_nothing_can_meet_is_noted(
        self, new: Desk, suite: str, metric: str, note: str
    ) -> None:
        """Its suite is not applied, or does not measure its metric."""
        new.edit(
            "policy.toml",
            'suite = "desk", metric = "accuracy", min = 0.60',
            f'suite = "{suite}", metric = "{metric}", min = 0.60',
        )
        said = new.done("policy", "apply")
        assert " ".join(said.err.split()) == f"note: staging, desk: {note}"

    def test_a_metric_like_no_other_is_noted_with_those_there_are(self, new: Desk) -> None:
        """What the suite measures stands in the note."""
        new.edit("policy.toml", '"accuracy", min = 0.60', '"zeal", min = 0.60')
        said = " ".join(new.done("policy", "apply").err.split())
        assert said.startswith(
            "note: staging, desk: suite `desk` does not measure `zeal`: it measures accuracy, p50_ms"
        )

    def test_the_gate_says_when_it_judged_by_no_rule(self, busy: Desk) -> None:
        """`filter` has no rules in staging: that it passes says little, and the gate says that."""
        said = busy("gate", "v1", "--to", "staging", "-s", "filter", "--again")
        assert (
            "· rules             no rule for filter in staging: a completed run on every\n"
            in normal(said.out)
        )


class TestSuiteTypos:
    """A suite belongs to a system that somebody wrote."""

    @pytest.mark.parametrize(
        ("system", "hint"),
        [
            ("dsek", "did you mean `desk`?"),
            (
                "billing",
                "write its lockgate.toml first: below the registry's folder, in systems/NAME/",
            ),
        ],
    )
    def test_a_system_that_nobody_wrote_is_refused(self, new: Desk, system: str, hint: str) -> None:
        """Applying its suite would make it up."""
        text = (new.root / "suites/desk.toml").read_text(encoding="utf-8")
        new.write("suites/other.toml", text.replace('system = "desk"', f'system = "{system}"'))
        before = new.state()
        said = new("suite", "apply")
        assert said.code == 2
        assert said.err == (
            f"error: there is no system `{system}`, which suites/other.toml is for\nhint: {hint}\n"
        )
        assert new.state() == before

    def test_a_system_that_is_written_may_have_its_suite_before_it_is_registered(
        self, new: Desk
    ) -> None:
        """Its lockgate.toml below the registry's folder is enough."""
        text = (new.root / "suites/desk.toml").read_text(encoding="utf-8")
        new.write("suites/other.toml", text.replace('system = "desk"', 'system = "billing"'))
        new.write("systems/billing/lockgate.toml", '[system]\nname = "billing"\n')
        assert new.done("suite", "apply", "other").out.startswith("✔ other applied")


def test_after_an_experiment_comes_a_release_and_no_gate(busy: Desk) -> None:
    """The gate refuses every experiment, so what is next is to register a winner."""
    said = busy.done("evaluate", "x1", "-s", "desk")
    assert said.hint == (
        "if it won, make it a release: `lockgate register --from x1 -s desk -m REASON`"
    )
    assert busy.follow(said).out.startswith("✔ v2 ")


def test_the_help_of_demo_counts_what_its_story_registers(new: Desk) -> None:
    """As many releases and experiments as are in the script."""
    words = " ".join(new.done("demo", "--help").out.split())
    assert "Two systems, eleven releases, two experiments, a rollback and a rehearsal" in words
    assert "open no screens" in words
    story = tomllib.loads((SAMPLE / "story.toml").read_text(encoding="utf-8"))
    cues = [cue for scene in story["scene"] for cue in scene["steps"]]
    registered = [cue.get("track") for cue in cues if cue["do"].startswith("register")]
    assert (registered.count(None), registered.count("experiment")) == (11, 2)
