"""Make policy and suite files count: applied for good, with the reviewers' consent."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate import wiring
from lockgate.canonical import digest_bytes
from lockgate.domain.release import Proposal
from lockgate.errors import Refused, WaitingForPerson
from lockgate.loop.approve import Word, approve_proposal
from loop.world import DEV, LEAD, OTHER_LEAD, PRODUCTION, STAGING, SYSTEM, World, rules_text

TWO_PLACES = PRODUCTION + rules_text(
    'suite = "triage", metric = "accuracy", min = 0.5',
    environment="bank",
    stakes="high",
    signers='"signers"',
    reviewers='["support-lead"]',
)
"""Staging, production and a bank; the last two have reviewers of their own."""


def agree(world: World, by: str, word: str = "yes", note: str = "") -> Proposal:
    """Record a reviewer's signed word on the newest proposal."""
    proposal = world.registry.releases.proposals()[0]
    said = Word(word, note, key=world.key(by))
    approve_proposal(
        world.registry, proposal, world.policy, said, signing=wiring.signing(), actor=by
    )
    return proposal


def waits(world: World, apply: Any) -> WaitingForPerson:
    """Check that applying waits for a person and changes nothing that counts."""
    policy, suites = world.registry.applied.policy(), world.registry.applied.suites(SYSTEM)
    with pytest.raises(WaitingForPerson) as waiting:
        apply()
    assert world.registry.applied.policy() == policy
    assert world.registry.applied.suites(SYSTEM) == suites
    return waiting.value


class TestAPolicy:
    """policy.toml counts only once it is applied."""

    def test_counts_from_the_first_time_on(self, world: World) -> None:
        """The first policy needs nobody's consent: before it, nothing could be gated."""
        done = world.apply_policy(PRODUCTION)
        assert (done.name, done.is_new) == ("policy", True)
        assert done.digest == digest_bytes(PRODUCTION.encode())
        assert list(world.policy.environments) == ["staging", "production"]

    def test_that_is_applied_already_changes_nothing(self, world: World) -> None:
        """Applying it twice is applying it once."""
        world.apply_policy(STAGING)
        head = world.head()
        assert world.apply_policy(STAGING).is_new is False
        assert world.head() == head

    def test_in_a_file_is_only_text(self, world: World) -> None:
        """Changing the file changes no rule."""
        world.apply_policy(STAGING)
        (world.root / "policy.toml").write_text(STAGING.replace("0.60", "0.01"))
        assert world.decide(world.evaluated(11)).outcome == "fail"

    def test_is_applied_at_once_where_nobody_reviews(self, world: World) -> None:
        """Without reviewers there is nobody to ask."""
        world.apply_policy(STAGING)
        assert world.apply_policy(PRODUCTION).is_new
        assert "production" in world.policy.environments

    def test_keeps_its_bytes_and_its_signers(self, world: World) -> None:
        """What counted once can be read for ever, whatever becomes of the files."""
        done = world.apply_policy(PRODUCTION)
        assert world.registry.objects.read(done.digest) == PRODUCTION.encode()
        signers = world.policy.environment("production").signers_digest
        assert signers is not None
        assert world.registry.objects.read(signers) == (world.root / "signers").read_bytes()

    def test_waits_for_the_reviewers_of_the_one_that_counts(self, world: World) -> None:
        """The old rules decide about the new ones."""
        world.apply_policy(PRODUCTION)
        waiting = waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        (proposal,) = world.registry.releases.proposals()
        assert waiting.what == "the policy `policy` is proposed and waits for reviewers"
        assert waiting.problems == ("production: 0 of 1 approvals, from ml-lead or support-lead",)
        assert waiting.hint == (
            f"a reviewer runs `lockgate approve --proposal {proposal.id[:12]}`, then run this again"
        )
        assert waiting.exit_code == 7

    def test_is_applied_after_they_agreed(self, world: World) -> None:
        """Run again, it counts, and says on whose consent."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        proposal = agree(world, LEAD)
        assert world.apply_policy(STAGING, actor=DEV).is_new
        applied = world.registry.applied.policy()
        assert applied is not None
        assert applied.proposal == proposal.id

    def test_is_proposed_once(self, world: World) -> None:
        """Asking again while it waits does not ask anew."""
        world.apply_policy(PRODUCTION)
        for _ in range(2):
            waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        assert len(world.registry.releases.proposals()) == 1

    def test_is_agreed_to_in_every_place_that_has_reviewers(self, world: World) -> None:
        """Each environment's reviewers speak for it; all that lack are named."""
        world.apply_policy(TWO_PLACES)
        waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        agree(world, LEAD)
        waiting = waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        assert waiting.problems == ("bank: 0 of 1 approvals, from support-lead",)
        agree(world, OTHER_LEAD)
        assert world.apply_policy(STAGING, actor=DEV).is_new

    def test_is_not_agreed_to_by_who_proposed_it(self, world: World) -> None:
        """The proposer's own word is not asked for."""
        world.apply_policy(PRODUCTION)
        waiting = waits(world, lambda: world.apply_policy(STAGING, actor=LEAD))
        assert waiting.problems == ("production: 0 of 1 approvals, from support-lead",)

    def test_that_somebody_refused_is_refused(self, world: World) -> None:
        """A no ends the proposal, with its words."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        agree(world, OTHER_LEAD, "no", "who would look then?")
        agree(world, LEAD)
        with pytest.raises(Refused) as refused:
            world.apply_policy(STAGING, actor=DEV)
        assert refused.value.what == "support-lead said no to this policy: who would look then?"
        assert refused.value.hint == "change the policy file and apply that"
        assert "production" in world.policy.environments

    def test_needs_consent_again_each_time(self, world: World) -> None:
        """A yes that was used is not used a second time, even for the very same change."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        agree(world, LEAD)
        world.apply_policy(STAGING, actor=DEV)
        world.apply_policy(PRODUCTION, actor=DEV)
        waits(world, lambda: world.apply_policy(STAGING, actor=DEV))
        assert len(world.registry.releases.proposals()) == 2

    def test_with_another_signers_file_is_another_policy(self, world: World) -> None:
        """Who may sign is part of the rules, so adding a key needs consent too."""
        world.apply_policy(PRODUCTION)
        with (world.root / "signers").open("a") as file:
            file.write("# nobody new, but other bytes\n")
        waits(world, lambda: world.apply_policy(PRODUCTION, actor=DEV))

    def test_with_other_comments_is_applied_with_consent_as_well(self, world: World) -> None:
        """Bytes that nobody agreed to do not count, even when they ask the same."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_policy(PRODUCTION + "# a word\n", actor=DEV))


class TestASuite:
    """A suite counts under its name once it is applied."""

    def test_under_a_new_name_counts_at_once(self, world: World) -> None:
        """It only adds to what is asked."""
        world.apply_policy(PRODUCTION)
        done = world.apply_suite("tone", cases=3, actor=DEV)
        assert (done.name, done.is_new) == ("tone", True)
        info = world.registry.applied.suites(SYSTEM)["tone"]
        assert (info.digest, info.cases) == (done.digest, 3)

    def test_that_is_applied_already_changes_nothing(self, world: World) -> None:
        """Applying it twice is applying it once."""
        head = world.head()
        assert world.apply_suite().is_new is False
        assert world.head() == head

    def test_that_changes_what_is_asked_waits_for_reviewers(self, world: World) -> None:
        """Fewer cases are easier to pass, so the reviewers see them first."""
        world.apply_policy(PRODUCTION)
        waiting = waits(world, lambda: world.apply_suite(cases=5, actor=DEV))
        assert waiting.what == "the suite `triage` is proposed and waits for reviewers"
        assert waiting.problems == ("production: 0 of 1 approvals, from ml-lead or support-lead",)
        proposal = agree(world, OTHER_LEAD)
        assert (proposal.kind, proposal.system, proposal.name) == ("suite", SYSTEM, "triage")
        assert world.apply_suite(cases=5, actor=DEV).is_new
        assert world.registry.applied.suites(SYSTEM)["triage"].cases == 5

    def test_that_is_proposed_can_be_read_by_who_decides(self, world: World) -> None:
        """Its cases are stored with the proposal, before anybody agreed."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_suite(cases=5, actor=DEV))
        (proposal,) = world.registry.releases.proposals()
        assert len(world.registry.applied.suite(proposal.after).cases) == 5

    def test_changes_at_once_where_nobody_reviews(self, world: World) -> None:
        """Without reviewers there is nobody to ask."""
        world.apply_policy(STAGING)
        assert world.apply_suite(cases=21).is_new
        assert world.suite().digest == world.registry.applied.suites(SYSTEM)["triage"].digest

    def test_that_somebody_refused_is_refused(self, world: World) -> None:
        """A no to a suite is a no."""
        world.apply_policy(PRODUCTION)
        waits(world, lambda: world.apply_suite(cases=5, actor=DEV))
        agree(world, LEAD, "no")
        with pytest.raises(Refused) as refused:
            world.apply_suite(cases=5, actor=DEV)
        assert refused.value.what == "ml-lead said no to this suite: no note"
        assert refused.value.hint == "change the suite file and apply that"

    def test_needs_consent_again_each_time(self, world: World) -> None:
        """Going back and forth asks every time."""
        world.apply_policy(PRODUCTION)
        for cases in (5, 20, 5):
            waits(world, lambda cases=cases: world.apply_suite(cases=cases, actor=DEV))
            agree(world, LEAD)
            assert world.apply_suite(cases=cases, actor=DEV).is_new
        assert len(world.registry.releases.proposals()) == 3
        history = world.registry.applied.suite_history(SYSTEM, "triage")
        assert [applied.suite for applied in history[:3:2]] == [history[0].suite] * 2

    def test_keeps_what_was_measured_with_it_before(self, world: World) -> None:
        """A suite that no longer counts still explains the runs that were made on it."""
        version = world.evaluated(16)
        before = world.suite()
        world.apply_suite(cases=21)
        (record,) = world.registry.runs.of_version(version.id)
        assert world.registry.applied.suite(record.run.suite) == before
