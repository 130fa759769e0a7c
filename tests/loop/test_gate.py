"""Step 4, gate: decide whether a version may go to an environment, and say why with numbers."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from builders import lift, quarantine, settle, take
from lockgate.domain.release import Decision, Finding
from lockgate.errors import InfrastructureFailed, Refused, UsageMistake
from lockgate.loop.gate import Gap, decide, gaps, standing_decision
from lockgate.loop.register import register_from
from lockgate.ports import CaseFailed, Question
from loop.world import DEV, PRODUCTION, STAGING, SYSTEM, World, rules_text, settled_answer


def said(decision: Decision, rule: str) -> Finding:
    """Return the one finding about a rule."""
    (finding,) = [finding for finding in decision.findings if finding.rule == rule]
    return finding


TOLERANT_SANDBOX = (
    STAGING
    + rules_text('suite = "triage", metric = "accuracy", min = 0.5', environment="sandbox")
    + "max_errors = 5\n"
)
"""Staging, and a sandbox that accepts runs with a few errors."""


def test_a_pass_names_every_rule_with_its_numbers(world: World) -> None:
    """The first release: limits count, and what has nothing to compare with says so."""
    world.apply_policy(STAGING)
    version = world.evaluated(16)
    decision = world.decide(version)
    assert (decision.outcome, decision.promotable, decision.approvals_needed) == ("pass", True, 0)
    assert [(f.rule, f.outcome, f.reason) for f in decision.findings] == [
        ("registered", "pass", f"{version.id[:8]} first of its line by support-ml: better queues"),
        ("contents here", "pass", "2 files"),
        ("contains live", "skipped", "nothing is live in staging"),
        ("triage evaluated", "pass", "1 completed run on 20 cases, 0 errors, at most 0"),
        (
            "triage accuracy",
            "pass",
            ".800 [.59 .93], at least .600, 20 cases, judged on the score alone",
        ),
        (
            "triage accuracy drop",
            "skipped",
            "nothing is live there, so there is nothing to drop from",
        ),
    ]


def test_a_decision_is_bound_to_all_that_it_looked_at(world: World) -> None:
    """Version, environment, policy, runs, what was live, who asked, and until when it holds."""
    world.apply_policy(STAGING)
    first = world.make_live(16)
    second = world.evaluated(17)
    decision = world.decide(second, actor="night-shift")
    (ours,) = world.registry.runs.of_version(second.id)
    (theirs,) = world.registry.runs.of_version(first.id)
    applied = world.registry.applied.policy()
    assert applied is not None
    assert (decision.system, decision.version, decision.environment) == (
        SYSTEM,
        second.id,
        "staging",
    )
    assert decision.policy == applied.policy
    assert (decision.baseline_generation, decision.baseline_version) == (1, first.id)
    assert {(run.run, run.role) for run in decision.runs} == {
        (ours.run.id, "candidate"),
        (theirs.run.id, "baseline"),
    }
    assert decision.actor == "night-shift"
    assert decision.expires_at == world.clock.now() + timedelta(days=7)


def test_deciding_changes_nothing_that_anybody_uses(world: World) -> None:
    """The gate only decides: nothing is live afterwards that was not before."""
    world.apply_policy(STAGING)
    world.decide(world.evaluated(16))
    assert world.registry.releases.newest(SYSTEM, "staging") is None


def test_too_low_a_score_fails_with_a_hint_for_this_version(world: World) -> None:
    """The failed rule comes with its numbers and where to look."""
    world.apply_policy(STAGING)
    decision = world.decide(world.evaluated(11))
    assert (decision.outcome, decision.promotable) == ("fail", False)
    (failed,) = decision.obstacles()
    assert failed.rule == "triage accuracy"
    assert failed.reason == ".550 [.34 .75], at least .600, 20 cases, judged on the score alone"
    assert failed.hint == "`lockgate show v1 --failing` lists the cases that went wrong"


def test_a_drop_against_what_is_live_fails_although_the_limit_is_met(world: World) -> None:
    """A candidate is held against what is live, on the same cases."""
    world.apply_policy(STAGING)
    world.make_live(18)
    decision = world.decide(world.evaluated(15))
    (failed,) = decision.obstacles()
    assert failed.rule == "triage accuracy drop"
    assert (
        failed.reason
        == "-.150, allowed -.100; won 0, lost 3, tied 17 against v1; judged on the score alone"
    )
    assert failed.hint == "`lockgate diff v1 v2` shows the change and the lost cases"


def test_all_that_failed_is_told_at_once(world: World) -> None:
    """Nobody mends one thing to hear of the next."""
    world.apply_policy(PRODUCTION)
    first = world.make_live(18, ("staging", "production"))
    world.make_live(19, ("staging", "production"))
    stray = world.evaluated(10, parent=first)
    quarantine(world.registry, stray)
    decision = world.decide(stray, "production")
    assert [finding.rule for finding in decision.obstacles()] == [
        "contains live",
        "staging",
        "not quarantined",
        "triage accuracy",
        "triage accuracy drop",
    ]


class TestTheOrder:
    """No step can be skipped."""

    def test_a_version_without_a_run_is_not_decided_on(self, world: World) -> None:
        """The gate asks for evidence and names the suites and the command."""
        world.apply_policy(STAGING)
        version = world.version(16)
        head = world.head()
        with pytest.raises(Refused) as refused:
            world.decide(version)
        assert refused.value.what == "version `v1` has no completed run on `triage`"
        assert refused.value.hint == f"`lockgate evaluate v1 -s {SYSTEM}`"
        assert world.head() == head

    def test_a_run_that_was_cut_short_is_no_evidence(self, world: World) -> None:
        """An open run counts as none."""
        world.apply_policy(STAGING)
        version = world.version(16)
        world.answers = _broken_at("t005")
        with pytest.raises(InfrastructureFailed):
            world.evaluate(version)
        with pytest.raises(Refused, match="`v1` has no completed run on `triage`"):
            world.decide(version)

    def test_a_run_on_the_suite_as_it_was_is_no_evidence(self, world: World) -> None:
        """Another case is another suite."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        world.apply_suite(cases=21)
        with pytest.raises(Refused, match="`v1` has no completed run on `triage`"):
            world.decide(version)

    def test_a_run_of_the_parent_is_no_evidence_for_the_child(self, world: World) -> None:
        """A version is judged by its own runs."""
        world.apply_policy(STAGING)
        world.evaluated(16)
        with pytest.raises(Refused, match="`v2` has no completed run"):
            world.decide(world.version(17))

    def test_without_a_policy_nothing_is_decided(self, world: World) -> None:
        """What counts has to be applied first."""
        version = world.evaluated(16)
        with pytest.raises(Refused) as refused:
            world.decide(version)
        assert refused.value.what == "no policy is applied yet, so nothing can be gated"
        assert refused.value.hint == "write policy.toml, then `lockgate policy apply`"

    def test_a_policy_that_was_only_read_decides_nothing(self, world: World) -> None:
        """A policy in the hand of the caller is no applied policy."""
        from lockgate.workspace.policies import read_policy

        version = world.evaluated(16)
        (world.root / "policy.toml").write_text(STAGING)
        with pytest.raises(Refused) as refused:
            decide(world.registry, version, "staging", read_policy(world.root).policy, actor=DEV)
        assert (refused.value.what, refused.value.hint) == (
            "no policy is applied yet",
            "`lockgate policy apply`",
        )

    def test_without_a_suite_nothing_can_be_shown_to_be_good(self, world: World) -> None:
        """A system without suites passes no gate."""
        text = STAGING.replace(SYSTEM, "other-desk")
        world.apply_policy(text)
        toml = world.folder / "lockgate.toml"
        toml.write_text(toml.read_text().replace(f'name = "{SYSTEM}"', 'name = "other-desk"'))
        version = world.register()
        with pytest.raises(Refused) as refused:
            world.decide(version)
        assert refused.value.what == (
            "the policy asks for `triage`, which is not applied for `other-desk`"
        )
        assert refused.value.hint == "write suites/NAME.toml, then `lockgate suite apply`"

    def test_an_unknown_environment_is_a_mistake(self, world: World) -> None:
        """The one that was probably meant is named."""
        world.apply_policy(STAGING)
        with pytest.raises(UsageMistake) as mistake:
            world.decide(world.evaluated(16), "stagging")
        assert mistake.value.what == "no environment `stagging` in the policy"
        assert mistake.value.hint == "did you mean `staging`?"

    def test_an_experiment_reaches_no_environment(self, world: World) -> None:
        """Its way is to become a release first."""
        world.apply_policy(STAGING)
        experiment = world.register(track="experiment")
        world.evaluate(experiment)
        with pytest.raises(Refused) as refused:
            world.decide(experiment)
        assert refused.value.what == "`x1` is an experiment: it reaches no environment"
        assert refused.value.hint == (
            "make a winner a release: `lockgate register --from x1 -m REASON`"
        )

    def test_a_release_from_an_experiment_is_evaluated_as_itself(self, world: World) -> None:
        """The winner's runs are not the release's."""
        world.apply_policy(STAGING)
        experiment = world.register(track="experiment")
        world.evaluate(experiment)
        release = register_from(world.registry, experiment, reason="it won", actor=DEV).version
        with pytest.raises(Refused, match="`v1` has no completed run"):
            world.decide(release)
        world.evaluate(release)
        decision = world.decide(release)
        assert decision.outcome == "pass"
        assert said(decision, "registered").reason.startswith(f"{release.id[:8]} from x1 by ")

    def test_a_rehearsal_reaches_only_an_environment_for_rehearsals(self, world: World) -> None:
        """Where the policy takes none, it is refused."""
        world.apply_policy(STAGING)
        rehearsal = world.register(track="rehearsal")
        world.evaluate(rehearsal)
        with pytest.raises(Refused) as refused:
            world.decide(rehearsal)
        assert refused.value.what == "`r1` is a rehearsal: `staging` takes none"
        assert refused.value.hint == "rehearse where the policy says `rehearsal = true`"

    def test_a_rehearsal_is_judged_by_what_its_environment_protects(self, world: World) -> None:
        """Production's rules decide about a rehearsal in staging; releases there are not."""
        text = PRODUCTION.replace(
            'stakes = "low"\n', 'stakes = "low"\nrehearsal = true\nprotects = "production"\n'
        ).replace('requires = ["staging"]\n', "")
        world.apply_policy(text)
        world.write(13)
        rehearsal = world.register(track="rehearsal")
        world.evaluate(rehearsal)
        failed = world.decide(rehearsal)
        assert failed.outcome == "fail"
        assert said(failed, "triage accuracy").reason.endswith(
            "at least .700, 20 cases, judged on the score alone"
        )
        release = world.register()
        world.evaluate(release)
        assert world.decide(release).outcome == "pass"


class TestWhatIsLive:
    """A candidate contains what is live, or says that it does not."""

    def test_its_child_contains_it(self, world: World) -> None:
        """The usual way."""
        world.apply_policy(STAGING)
        world.make_live(16)
        decision = world.decide(world.evaluated(17))
        assert said(decision, "contains live").reason == "v1 is its parent"

    def test_its_grandchild_contains_it(self, world: World) -> None:
        """However many steps lie between."""
        world.apply_policy(STAGING)
        world.make_live(16)
        world.version(12)
        decision = world.decide(world.evaluated(17))
        assert said(decision, "contains live").reason == "it descends from v1"

    def test_a_sibling_would_silently_revert_it(self, world: World) -> None:
        """Refused, with both ways out."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.make_live(17)
        decision = world.decide(world.evaluated(18, parent=first))
        (failed,) = decision.obstacles()
        assert failed.rule == "contains live"
        assert failed.reason == (
            "it does not descend from v2, which is live, and would silently revert it"
        )
        assert failed.hint == (
            "register it again on top: `lockgate register --parent v2 -m REASON`, "
            "or state it: --reverting v2"
        )

    def test_its_parent_would_revert_it_too(self, world: World) -> None:
        """Going back by the gate is a revert like any other."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.make_live(17)
        assert [f.rule for f in world.decide(first).obstacles()] == ["contains live"]

    def test_reverting_can_be_stated(self, world: World) -> None:
        """Who names what is live reverts it knowingly."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.make_live(17)
        sibling = world.evaluated(18, parent=first)
        decision = world.decide(sibling, reverting="v2")
        assert decision.outcome == "pass"
        assert said(decision, "contains live").reason == "it reverts v2, as stated"

    def test_reverting_something_else_is_no_statement(self, world: World) -> None:
        """What is live may have moved since somebody wrote the command."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.make_live(17)
        sibling = world.evaluated(18, parent=first)
        assert world.decide(sibling, reverting="v1").outcome == "fail"

    def test_the_same_definition_needs_no_descent_and_no_statistics(self, world: World) -> None:
        """What is live already cannot be reverted or dropped by itself."""
        world.apply_policy(
            rules_text('suite = "triage", metric = "accuracy", max_drop = 0.01, confidence = 0.95')
        )
        first = world.make_live(16)
        world.version(17)
        back = world.evaluated(16)
        assert back.definition == first.definition
        decision = world.decide(back)
        assert said(decision, "contains live").reason == "same definition as v1, which is live"
        assert said(decision, "triage accuracy drop").reason == (
            "same definition as v1, which is live"
        )
        assert decision.outcome == "pass"
        world.apply_suite(cases=25)
        assert [gap.version for gap in gaps(world.registry, back, "staging", world.policy)] == [
            back
        ]

    def test_without_a_run_on_this_suite_the_comparison_fails_and_names_the_gap(
        self, world: World
    ) -> None:
        """What is live is evaluated first; until then nothing is compared."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.apply_suite(cases=25)
        second = world.evaluated(20)
        triage = world.registry.applied.suites(SYSTEM)["triage"]
        assert gaps(world.registry, second, "staging", world.policy) == [
            Gap(first, triage, is_live=True)
        ]
        failed = said(world.decide(second), "triage accuracy drop")
        assert (failed.outcome, failed.reason) == (
            "fail",
            "no case of `triage` has a score in both versions",
        )
        world.evaluate(first)
        assert gaps(world.registry, second, "staging", world.policy) == []
        assert world.decide(second).outcome == "pass"

    def test_gaps_name_the_candidates_own_runs_first(self, world: World) -> None:
        """Everything that has to be run is known before anything is."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.apply_suite(cases=25)
        second = world.version(20)
        found = gaps(world.registry, second, "staging", world.policy)
        assert [(gap.version, gap.is_live) for gap in found] == [(second, False), (first, True)]

    def test_needs_no_run_where_no_rule_compares(self, world: World) -> None:
        """Without a drop to judge, what is live is not evaluated for it."""
        world.apply_policy(rules_text('suite = "triage", metric = "accuracy", min = 0.5'))
        world.make_live(16)
        world.apply_suite(cases=25)
        second = world.evaluated(20)
        assert gaps(world.registry, second, "staging", world.policy) == []
        assert world.decide(second).outcome == "pass"


class TestRuns:
    """Only completed runs on the applied suites count, and all of them."""

    def test_nobody_rerolls_until_it_passes(self, world: World) -> None:
        """A lucky second run does not replace the first; both count, case by case."""
        world.apply_policy(rules_text('suite = "triage", metric = "accuracy", min = 0.90'))
        version = world.evaluated(14)
        assert world.decide(version).outcome == "fail"
        world.answers = lambda question, settings: "billing"
        world.evaluate(version)
        decision = world.decide(version)
        assert decision.outcome == "fail"
        assert said(decision, "triage accuracy").reason == (
            ".850 [.70 .94], at least .900, 20 cases, judged on the score alone"
        )
        assert said(decision, "triage evaluated").reason == (
            "2 completed runs on 20 cases, 0 errors, at most 0"
        )
        assert len(decision.runs) == 2

    def test_runs_of_what_is_live_pool_as_well(self, world: World) -> None:
        """The comparison uses everything that is known of both."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        world.answers = lambda question, settings: "billing"
        world.evaluate(first)
        world.answers = settled_answer
        decision = world.decide(world.evaluated(16, prompt="Anew.\n"))
        assert said(decision, "triage accuracy drop").reason == (
            "-.100, allowed -.100; won 0, lost 4, tied 16 against v1; judged on the score alone"
        )
        assert len(decision.runs) == 3

    def test_a_run_with_more_errors_than_this_environment_allows_fails(self, world: World) -> None:
        """A run that another environment accepts is not enough here."""
        world.apply_policy(TOLERANT_SANDBOX)
        version = world.version(16)
        world.answers = _broken_at("t005", "t006")
        assert world.evaluate(version).errors == 2
        decision = world.decide(version)
        (failed,) = decision.obstacles()
        assert failed.rule == "triage evaluated"
        assert failed.reason == "1 completed run on 20 cases, 2 errors, at most 0"
        assert failed.hint == "`lockgate evaluate v1 --fresh`"
        assert world.decide(version, "sandbox").outcome == "pass"

    def test_the_fresh_run_of_the_hint_helps(self, world: World) -> None:
        """Once every case was answered in one run, the run with errors only adds to it."""
        world.apply_policy(TOLERANT_SANDBOX)
        version = world.version(16)
        world.answers = _broken_at("t005", "t006")
        world.evaluate(version)
        world.answers = settled_answer
        world.evaluate(version)
        decision = world.decide(version)
        assert decision.outcome == "pass"
        assert said(decision, "triage evaluated").reason == (
            "2 completed runs on 20 cases, 0 errors, at most 0"
        )

    def test_a_rule_about_a_suite_that_is_not_applied_fails(self, world: World) -> None:
        """What the policy asks for has to exist."""
        world.apply_policy(
            rules_text(
                'suite = "triage", metric = "accuracy", min = 0.5',
                'suite = "tone", metric = "accuracy", min = 0.5',
            )
        )
        (failed,) = world.decide(world.evaluated(16)).obstacles()
        assert failed.rule == "tone applied"
        assert failed.reason == (
            "the policy asks for suite `tone`, which is not applied for this system"
        )
        assert failed.hint == "`lockgate suite apply`, or correct policy.toml"

    def test_without_rules_every_suite_of_the_system_is_asked_for(self, world: World) -> None:
        """An environment that says nothing still wants a completed run on everything."""
        world.apply_policy('[environments.staging]\nstakes = "low"\n')
        world.apply_suite("tone", cases=3)
        version = world.evaluated(16)
        with pytest.raises(Refused, match="no completed run on `tone`"):
            world.decide(version)
        world.evaluate(version, "tone")
        decision = world.decide(version)
        assert decision.outcome == "pass"
        assert {run.role for run in decision.runs} == {"candidate"}
        assert len(decision.runs) == 2

    def test_suites_without_a_rule_are_not_asked_for_where_there_are_rules(
        self, world: World
    ) -> None:
        """Where the policy names suites, those count."""
        world.apply_policy(STAGING)
        world.apply_suite("tone", cases=3)
        assert world.decide(world.evaluated(16)).outcome == "pass"


class TestAnOpenQuestion:
    """What the evidence does not settle blocks, asks a reviewer, or is let through."""

    limit = 'suite = "triage", metric = "accuracy", min = 0.75, confidence = 0.95'
    drop = 'suite = "triage", metric = "accuracy", max_drop = 0.05, confidence = 0.95'

    def test_blocks_unless_the_policy_says_otherwise(self, world: World) -> None:
        """Without a word, nobody promotes on a guess; the hint says what would settle it."""
        world.apply_policy(rules_text(self.limit))
        decision = world.decide(world.evaluated(17))
        assert (decision.outcome, decision.promotable) == ("inconclusive", False)
        (open_point,) = decision.obstacles()
        assert open_point.rule == "triage accuracy"
        assert open_point.hint.endswith("more cases would settle it if the score stays the same")

    def test_is_let_through_where_the_policy_allows_it(self, world: World) -> None:
        """The finding stays open, the outcome is a pass."""
        world.apply_policy(rules_text(self.limit + ', on_inconclusive = "allow"'))
        decision = world.decide(world.evaluated(17))
        assert (decision.outcome, decision.promotable) == ("pass", True)
        assert said(decision, "triage accuracy").outcome == "inconclusive"

    def test_asks_a_reviewer_where_the_policy_says_so(self, world: World) -> None:
        """Even where the stakes are low, somebody has to say yes."""
        world.apply_policy(
            rules_text(
                self.limit + ', on_inconclusive = "review"',
                reviewers='["ml-lead"]',
                signers='"signers"',
            )
        )
        decision = world.decide(world.evaluated(17))
        assert (decision.outcome, decision.promotable, decision.approvals_needed) == (
            "inconclusive",
            True,
            1,
        )

    def test_asks_no_more_reviewers_than_the_stakes_do(self, world: World) -> None:
        """Where reviewers are asked anyway, their number stays."""
        world.apply_policy(
            rules_text(
                self.limit + ', on_inconclusive = "review"',
                stakes="high",
                approvals="2",
                reviewers='["ml-lead", "support-lead"]',
                signers='"signers"',
            )
        )
        decision = world.decide(world.evaluated(17))
        assert (decision.promotable, decision.approvals_needed) == (True, 2)

    def test_of_one_rule_is_not_waved_through_by_another(self, world: World) -> None:
        """Two rules about one metric each speak for their own limit, in either order."""
        strict, lax = self.limit, self.drop + ', on_inconclusive = "allow"'
        for rules in ((strict, lax), (lax, strict)):
            world.apply_policy(rules_text(*rules))
            decision = world.decide(world.evaluated(17, prompt=f"{rules[0]}\n"))
            assert said(decision, "triage accuracy").outcome == "inconclusive"
            assert (decision.outcome, decision.promotable) == ("inconclusive", False)

    def test_of_a_drop_is_handled_as_its_own_rule_says(self, world: World) -> None:
        """The open drop may pass although the strict limit beside it would block."""
        world.apply_policy(
            rules_text(
                'suite = "triage", metric = "accuracy", min = 0.5, confidence = 0.95',
                self.drop + ', on_inconclusive = "allow"',
            )
        )
        world.make_live(17)
        decision = world.decide(world.evaluated(17, prompt="Anew.\n"))
        assert said(decision, "triage accuracy drop").outcome == "inconclusive"
        assert (decision.outcome, decision.promotable) == ("pass", True)

    def test_of_a_limit_does_not_ask_what_the_drop_asks(self, world: World) -> None:
        """A drop that blocks has no say about a limit that is allowed to stay open."""
        world.apply_policy(rules_text(self.limit + ', on_inconclusive = "allow"', self.drop))
        decision = world.decide(world.evaluated(17))
        assert said(decision, "triage accuracy").outcome == "inconclusive"
        assert (decision.outcome, decision.promotable) == ("pass", True)

    def test_that_two_rules_ask_alike_is_answered_by_the_stricter(self, world: World) -> None:
        """Of two rules that limit the same, the one that blocks counts, in either order."""
        strict, lax = self.limit, self.limit + ', on_inconclusive = "allow"'
        for rules in ((strict, lax), (lax, strict)):
            world.apply_policy(rules_text(*rules))
            assert not world.decide(world.evaluated(17, prompt=f"{rules[0]}\n")).promotable

    def test_weighs_less_than_a_failure(self, world: World) -> None:
        """With one rule failed, the whole is failed, whatever is open."""
        world.apply_policy(
            rules_text(
                self.limit + ', on_inconclusive = "allow"',
                'suite = "triage", metric = "p95_ms", max = 1',
            )
        )
        decision = world.decide(world.evaluated(17))
        assert (decision.outcome, decision.promotable) == ("fail", False)


class TestRequirements:
    """What is required elsewhere was promoted there, with this very definition."""

    def test_are_not_met_by_passing_a_gate(self, world: World) -> None:
        """A pass in staging is no promotion to staging."""
        world.apply_policy(PRODUCTION)
        version = world.evaluated(16)
        world.decide(version)
        decision = world.decide(version, "production")
        (failed,) = decision.obstacles()
        assert failed.rule == "staging"
        assert failed.reason == ("this definition was never promoted to staging by a passing gate")
        assert failed.hint == "`lockgate promote v1 --to staging`"

    def test_are_met_by_a_promotion(self, world: World) -> None:
        """The generation that met them is named."""
        world.apply_policy(PRODUCTION)
        decision = world.decide(world.make_live(16), "production")
        assert said(decision, "staging").reason == (
            "promoted there as generation 1, same definition"
        )

    def test_are_met_although_something_newer_is_there_now(self, world: World) -> None:
        """What passed there passed there."""
        world.apply_policy(PRODUCTION)
        first = world.make_live(16)
        world.make_live(17)
        assert world.decide(first, "production").outcome == "pass"

    @pytest.mark.parametrize("outcome", ["failed", "abandoned"])
    def test_are_not_met_by_an_attempt_that_did_not_arrive(
        self, world: World, outcome: str
    ) -> None:
        """Only what became live there counts."""
        world.apply_policy(PRODUCTION)
        version = world.evaluated(16)
        passed = world.decide(version)
        settle(
            world.registry, take(world.registry, version, passed, environment="staging"), outcome
        )
        decision = world.decide(version, "production")
        assert [finding.rule for finding in decision.obstacles()] == ["staging"]

    def test_are_not_met_by_breaking_the_glass(self, world: World) -> None:
        """What went past the gate has not passed it."""
        world.apply_policy(PRODUCTION)
        version = world.evaluated(16)
        attempt = take(
            world.registry,
            version,
            kind="break_glass",
            environment="staging",
            ticket="INC-7",
            reason="the site is down",
        )
        settle(world.registry, attempt)
        decision = world.decide(version, "production")
        assert [finding.rule for finding in decision.obstacles()] == ["staging"]

    def test_are_not_met_by_another_definition(self, world: World) -> None:
        """The parent's promotion is not the child's."""
        world.apply_policy(PRODUCTION)
        world.make_live(16)
        decision = world.decide(world.evaluated(17), "production")
        assert [finding.rule for finding in decision.obstacles()] == ["staging"]


def test_a_quarantined_definition_fails_until_it_is_lifted(world: World) -> None:
    """Everywhere, under whatever version, with who said it and why."""
    world.apply_policy(STAGING)
    first = world.evaluated(16)
    imposed = quarantine(world.registry, first, "it hurt users\nin two countries")
    decision = world.decide(first)
    (failed,) = decision.obstacles()
    assert failed.rule == "not quarantined"
    assert failed.reason == "quarantined by on-call: it hurt users"
    assert failed.hint == "`lockgate lift v1 -m REASON` if that was wrong"
    lift(world.registry, imposed)
    assert world.decide(first).outcome == "pass"


def test_lost_contents_fail_before_anybody_promotes(world: World) -> None:
    """A version whose files are gone from the registry is told so, with their names."""
    world.apply_policy(STAGING)
    version = world.evaluated(16)
    definition = world.registry.versions.definition(version.definition)
    remove_content(world, definition.files()["prompts/system.md"])
    (failed,) = world.decide(version).obstacles()
    assert failed.rule == "contents here"
    assert failed.reason == "1 of 2 files are gone: prompts/system.md"
    assert failed.hint == "restore the objects from a backup, or register the folder again"


class TestADecisionThatStands:
    """It is returned as it is, so that neither a yes nor a no is lost."""

    def test_is_not_made_twice(self, world: World) -> None:
        """Asking again gives the same decision and records nothing."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        first = world.decide(version)
        head = world.head()
        assert world.decide(version) == first
        assert standing_decision(world.registry, version, "staging") == first
        assert world.head() == head

    def test_is_made_anew_when_asked_for(self, world: World) -> None:
        """`--again` asks reviewers anew."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        first = world.decide(version)
        assert world.decide(version, again=True).id != first.id

    @pytest.mark.parametrize(
        "moves", ["policy", "suite", "own run", "run of live", "live", "quarantine", "time"]
    )
    def test_falls_when_what_it_rests_on_moves(self, world: World, moves: str) -> None:
        """Policy, suite, runs, what is live, quarantine and time each end it."""
        world.apply_policy(STAGING)
        live = world.make_live(16)
        version = world.evaluated(17)
        other = world.evaluated(18, parent=live)
        world.decide(version)
        _move(world, moves, live, version, other)
        assert standing_decision(world.registry, version, "staging") is None

    def test_stands_until_the_very_last_moment(self, world: World) -> None:
        """It holds as long as the policy says, to the microsecond."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        decision = world.decide(version)
        world.clock.at = decision.expires_at
        assert standing_decision(world.registry, version, "staging") == decision
        world.clock.move(microseconds=1)
        assert standing_decision(world.registry, version, "staging") is None

    def test_does_not_come_back_to_life_when_a_clock_is_set_back(self, world: World) -> None:
        """Time that was recorded stays; a decision made afterwards holds its full age."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        first = world.decide(version)
        late = world.clock.move(days=30)
        world.version(17)
        world.clock.move(days=-30)
        assert standing_decision(world.registry, version, "staging") is None
        second = world.decide(version)
        assert second.id != first.id
        assert second.expires_at == late + timedelta(days=7)
        assert world.promote(version).is_new

    def test_is_none_of_a_failed_one(self, world: World) -> None:
        """A no of the gate is looked at again each time."""
        world.apply_policy(STAGING)
        version = world.evaluated(11)
        world.decide(version)
        assert standing_decision(world.registry, version, "staging") is None


def _move(world: World, what: str, live: Any, version: Any, other: Any) -> None:
    if what == "policy":
        world.apply_policy(STAGING + "# a word more\n")
    elif what == "suite":
        world.apply_suite("tone", cases=3)
    elif what == "own run":
        world.evaluate(version)
    elif what == "run of live":
        world.evaluate(live)
    elif what == "live":
        world.decide(other)
        world.promote(other)
    elif what == "quarantine":
        quarantine(world.registry, version)
    else:
        world.clock.move(days=7, microseconds=1)


def _broken_at(*cases: str) -> Any:
    def answers(question: Question, settings: Any) -> Any:
        if question.case in cases:
            raise CaseFailed("the endpoint is down")
        return settled_answer(question, settings)

    return answers


def remove_content(world: World, digest: str) -> None:
    """Take an object's bytes away, as a lost disk would; triggers and all."""
    connection = sqlite3.connect(world.root / ".lockgate" / "registry.db")
    (trigger,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'content_goes_only_after_removal'"
    ).fetchone()
    connection.execute("DROP TRIGGER content_goes_only_after_removal")
    connection.execute("DELETE FROM content WHERE digest = ?", (digest,))
    connection.execute(trigger)
    connection.commit()
    connection.close()


def test_what_is_built_on_a_quarantined_version_says_so(world: World) -> None:
    """A mended version may pass; who decides about it is told what it was built on."""
    world.apply_policy(STAGING)
    first = world.make_live(16)
    hurt = world.evaluated(17, parent=first)
    quarantine(world.registry, hurt, "it promised refunds\nin an hour")
    mended = world.evaluated(18, parent=hurt)
    found = {finding.rule: finding for finding in world.decide(mended).findings}
    assert found["built on quarantined"].outcome == "skipped"
    assert found["built on quarantined"].reason == (
        "v2 is quarantined: it promised refunds; see that this is mended: `lockgate diff v2 v3`"
    )
    assert world.decide(mended).outcome == "pass"
    beside = world.evaluated(19, parent=first)
    assert "built on quarantined" not in {f.rule for f in world.decide(beside).findings}
