"""Step 4, for people: say yes or no to a decision or a proposal, signed with a key."""

from __future__ import annotations

from typing import Any

import pytest

from builders import quarantine
from lockgate import wiring
from lockgate.domain.release import Decision, Proposal
from lockgate.errors import Refused, UsageMistake, WaitingForPerson
from lockgate.loop.approve import Word, approve_proposal, request_text, requests
from lockgate.signing import ssh
from loop.world import (
    CLAIMED,
    DEV,
    LEAD,
    OTHER_LEAD,
    PRODUCTION,
    STAGING,
    SYSTEM,
    World,
    rules_text,
)

REVIEWED = rules_text(
    'suite = "triage", metric = "accuracy", min = 0.5',
    environment="production",
    stakes="high",
    signers='"signers"',
    reviewers='["ml-lead", "support-lead"]',
)
"""One environment where one of two reviewers says yes with a key."""


def decided(world: World, text: str = REVIEWED, **other: Any) -> Decision:
    """Return a decision about a new version that waits for a reviewer."""
    world.apply_policy(text)
    return world.decide(world.evaluated(16, **other), "production")


def signed(world: World, decision: Decision, key: str, word: str = "yes", label: str = "v1") -> str:
    """Sign the text of a decision elsewhere, as somebody with only ssh-keygen would."""
    text = request_text(world.registry, decision, word, label)
    return ssh.sign(text, key=world.key(key)).armored


def test_a_yes_is_signed_and_names_its_key(world: World) -> None:
    """Who said it is found from the key; the signature is kept with it."""
    decision = decided(world)
    approval = world.say(decision, note="reads well", actor=LEAD)
    assert (approval.subject, approval.signer, approval.word) == (decision.id, LEAD, "yes")
    assert approval.key == ssh.fingerprint(ssh.public_key(world.key(LEAD)))
    assert (approval.note, approval.actor) == ("reads well", LEAD)
    assert world.registry.releases.approvals(decision.id) == [approval]


def test_the_text_that_is_signed_names_everything(world: World) -> None:
    """Registry, system, version, environment, what was live, policy, findings, decision, word."""
    decision = decided(world)
    text = request_text(world.registry, decision, "yes", "v1").decode()
    values = dict(line.split(": ", 1) for line in text.splitlines())
    assert values["registry"] == world.registry.id
    assert (values["system"], values["version"], values["version id"]) == (
        SYSTEM,
        "v1",
        decision.version,
    )
    assert (values["environment"], values["compared with generation"]) == ("production", "0")
    assert (values["policy"], values["decision"], values["word"]) == (
        decision.policy,
        decision.id,
        "yes",
    )


def test_a_signature_made_elsewhere_counts(world: World) -> None:
    """A reviewer on another machine needs the text and ssh-keygen, nothing else."""
    decision = decided(world)
    armored = signed(world, decision, OTHER_LEAD)
    approval = world.say(decision, key=None, signature=armored, actor=DEV)
    assert (approval.signer, approval.signature, approval.actor) == (OTHER_LEAD, armored, DEV)


def test_a_no_is_signed_too(world: World) -> None:
    """A refusal is as much a word as a consent."""
    decision = decided(world)
    assert world.say(decision, "no", note="it promises too much").word == "no"


class TestASignatureFitsNothingElse:
    """A yes cannot be carried to another place."""

    said = "the signature fits no reviewer's key and this text"

    def refused(self, world: World, decision: Decision, armored: str, word: str = "yes") -> None:
        """Check that a signature is refused whole, and nothing recorded."""
        head = world.head()
        with pytest.raises(Refused) as refused:
            world.say(decision, word, key=None, signature=armored)
        assert refused.value.what == self.said
        assert refused.value.hint == (
            "sign the text of `lockgate approve VERSION --to ENV --ask` with a key that the "
            "signers file holds"
        )
        assert world.head() == head

    def test_not_another_decision_about_the_same_version(self, world: World) -> None:
        """A new decision asks anew."""
        first = decided(world)
        armored = signed(world, first, LEAD)
        version = world.registry.versions.get(first.version)
        assert version is not None
        second = world.decide(version, "production", again=True)
        self.refused(world, second, armored)

    def test_not_another_version(self, world: World) -> None:
        """The same words about another version are other words."""
        armored = signed(world, decided(world), LEAD)
        self.refused(world, world.decide(world.evaluated(17), "production"), armored)

    def test_not_another_environment(self, world: World) -> None:
        """Consent for one place is none for the next."""
        world.apply_policy(REVIEWED + REVIEWED.replace("production", "canary"))
        version = world.evaluated(16)
        armored = signed(world, world.decide(version, "canary"), LEAD)
        self.refused(world, world.decide(version, "production"), armored)

    def test_not_the_other_word(self, world: World) -> None:
        """A no cannot be turned into a yes."""
        decision = decided(world)
        self.refused(world, decision, signed(world, decision, LEAD, "no"))
        self.refused(world, decision, signed(world, decision, LEAD, "yes"), "no")

    def test_not_another_registry(self, world: World) -> None:
        """The registry's own id is part of the text."""
        from lockgate.domain.approval import decision_text

        decision = decided(world)
        text = decision_text(decision, registry_id="0" * 32, label="v1", word="yes")
        self.refused(world, decision, ssh.sign(text, key=world.key(LEAD)).armored)

    def test_not_from_a_key_that_no_reviewer_has(self, world: World) -> None:
        """A stranger's key signs nothing here."""
        decision = decided(world)
        self.refused(world, decision, signed(world, decision, "stranger"))

    def test_not_from_a_key_that_is_only_in_the_file(self, world: World) -> None:
        """A signers file counts as it was applied, not as it is now."""
        decision = decided(world)
        public = ssh.public_key(world.key("stranger"))
        with (world.root / "signers").open("a") as file:
            file.write(f'ml-lead namespaces="lockgate" {public}\n')
        self.refused(world, decision, signed(world, decision, "stranger"))


def test_a_strangers_key_at_hand_is_refused(world: World) -> None:
    """Signing here and now with a key that nobody knows is refused the same way."""
    with pytest.raises(Refused, match="the signature fits no reviewer's key and this text"):
        world.say(decided(world), by="stranger")


def test_a_key_speaks_for_its_own_name_only(world: World) -> None:
    """Naming another reviewer does not make the key theirs."""
    with pytest.raises(Refused) as refused:
        world.say(decided(world), signer=OTHER_LEAD)
    assert refused.value.what == "the key belongs to ml-lead, not to `support-lead`"
    assert refused.value.hint == "leave --as out, or sign with the other key: --key FILE"


def test_a_signer_has_to_be_a_reviewer(world: World) -> None:
    """A key in the file is not enough: the policy names who reviews."""
    text = REVIEWED.replace('["ml-lead", "support-lead"]', '["ml-lead"]')
    with pytest.raises(Refused) as refused:
        world.say(decided(world, text), by=OTHER_LEAD)
    assert refused.value.what == "`support-lead` is no reviewer here: ml-lead"
    assert refused.value.hint == (
        "a reviewer runs `lockgate approve`, or `--ask` prints a text to sign elsewhere"
    )


def test_who_registered_does_not_review(world: World) -> None:
    """Neither yes nor no to one's own work; the others are named."""
    world.apply_policy(REVIEWED)
    world.write(16)
    version = world.register(actor=LEAD)
    world.evaluate(version)
    decision = world.decide(version, "production")
    for word in ("yes", "no"):
        with pytest.raises(Refused) as refused:
            world.say(decision, word)
        assert refused.value.what == "`ml-lead` registered v1 and cannot review it"
        assert refused.value.hint == "another reviewer says yes: support-lead"


def test_who_owns_does_not_review(world: World) -> None:
    """The owner answers for it and cannot be the second pair of eyes."""
    world.apply_policy(REVIEWED)
    version = world.register(owner=OTHER_LEAD)
    world.evaluate(version)
    with pytest.raises(Refused) as refused:
        world.say(world.decide(version, "production"), by=OTHER_LEAD)
    assert refused.value.what == "`support-lead` owns v1 and cannot review it"
    assert refused.value.hint == "another reviewer says yes: ml-lead"


def test_a_reviewer_answers_once(world: World) -> None:
    """One word a reviewer: neither a second yes nor a change of mind."""
    decision = decided(world)
    world.say(decision)
    for word in ("yes", "no"):
        with pytest.raises(Refused) as refused:
            world.say(decision, word)
        assert refused.value.what == "`ml-lead`, or the same key, has answered this already"
        assert refused.value.hint == (
            "a new decision asks anew: `lockgate gate VERSION --to ENV --again`"
        )
    assert len(world.registry.releases.approvals(decision.id)) == 1


def test_one_key_is_one_person(world: World) -> None:
    """A key under two names does not even come into a policy."""
    key = ssh.public_key(world.key(LEAD))
    (world.root / "signers").write_text(
        "".join(f'{name} namespaces="lockgate" {key}\n' for name in (LEAD, OTHER_LEAD))
    )
    with pytest.raises(UsageMistake, match="has the key of line 1 again: one key, one name"):
        world.apply_policy(REVIEWED)


def test_one_key_in_two_files_answers_once(world: World) -> None:
    """Two environments that know a key under two names still hear one person."""
    key = ssh.public_key(world.key(LEAD))
    (world.root / "others").write_text(f'support-lead namespaces="lockgate" {key}\n')
    canary = (
        REVIEWED.replace("production", "canary")
        .replace('"signers"', '"others"')
        .replace('["ml-lead", "support-lead"]', '["support-lead"]')
    )
    world.apply_policy(REVIEWED + canary)
    with pytest.raises(WaitingForPerson):
        world.apply_policy(STAGING, actor=DEV)
    (proposal,) = world.registry.releases.proposals()
    say_to(world, proposal, LEAD, signer=LEAD)
    with pytest.raises(Refused, match="the key belongs to ml-lead, not to `support-lead`"):
        say_to(world, proposal, LEAD, signer=OTHER_LEAD)
    with pytest.raises(Refused, match="or the same key, has answered this already"):
        say_to(world, proposal, LEAD)


class TestADecisionThatNoLongerStands:
    """It cannot be approved: a yes would be about something that is not true any more."""

    @pytest.mark.parametrize(
        ("moves", "says"),
        [
            ("time", "it expired"),
            ("policy", "a newer policy applies"),
            ("suite", "a newer suite applies"),
            ("run", "a newer run was completed"),
        ],
    )
    def test_because_something_moved(self, world: World, moves: str, says: str) -> None:
        """What moved is said, and what decides again."""
        decision = decided(world, CLAIMED)
        version = world.registry.versions.get(decision.version)
        assert version is not None
        if moves == "time":
            world.clock.move(days=7, microseconds=1)
        elif moves == "policy":
            agree_to_policy(world, CLAIMED + 'max_age = "3d"\n')
        elif moves == "suite":
            world.apply_suite("tone", cases=3)
        else:
            world.evaluate(version)
        with pytest.raises(Refused) as refused:
            world.say(decision, key=None, signer=LEAD)
        assert refused.value.what == f"decision `{decision.id}` no longer stands: {says}"
        assert refused.value.hint == "`lockgate gate v1 --to production` decides again"

    def test_because_something_else_is_live(self, world: World) -> None:
        """What it compared with is gone."""
        decision = decided(world)
        other = world.evaluated(17)
        world.say(world.decide(other, "production"))
        world.promote(other, "production")
        with pytest.raises(Refused, match="no longer stands: something else is live now"):
            world.say(decision)


def test_there_is_nothing_to_approve_where_the_gate_said_no(world: World) -> None:
    """A failed decision takes no yes; a no may be recorded."""
    world.apply_policy(REVIEWED)
    decision = world.decide(world.evaluated(5), "production")
    with pytest.raises(Refused) as refused:
        world.say(decision)
    assert refused.value.what == "the gate said fail: there is nothing to approve"
    assert refused.value.hint == "`lockgate show v1` gives the reasons"
    assert world.say(decision, "no").word == "no"


class TestClaimedNames:
    """A name without a key counts only where the policy says so."""

    def test_are_not_accepted_where_keys_are_asked_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        """Without any key at hand there is no yes."""
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        monkeypatch.delenv("LOCKGATE_KEY", raising=False)
        decision = decided(world)
        with pytest.raises(Refused, match="there is no key to sign with"):
            world.say(decision, key=None, signer=LEAD)
        assert world.registry.releases.approvals(decision.id) == []

    def test_are_recorded_as_claimed(self, world: World) -> None:
        """Neither key nor signature: everybody can see that."""
        approval = world.say(decided(world, CLAIMED), key=None, signer=LEAD, actor=DEV)
        assert (approval.signer, approval.key, approval.signature) == (LEAD, None, None)

    def test_are_those_of_the_actor_when_no_name_is_given(self, world: World) -> None:
        """Who runs the command speaks."""
        approval = world.say(decided(world, CLAIMED), key=None, actor=OTHER_LEAD)
        assert approval.signer == OTHER_LEAD

    def test_have_to_be_reviewers_too(self, world: World) -> None:
        """A claim does not make anybody a reviewer."""
        with pytest.raises(Refused) as refused:
            world.say(decided(world, CLAIMED), key=None, actor="passer-by")
        assert refused.value.what == "`passer-by` is no reviewer here: ml-lead, support-lead"

    def test_have_to_be_plain_names(self, world: World) -> None:
        """What cannot be a name is a mistake, not a reviewer."""
        with pytest.raises(UsageMistake) as mistake:
            world.say(decided(world, CLAIMED), key=None, signer="ml lead")
        assert mistake.value.what.startswith("name `ml lead` needs 1 to 64 of A-Z")
        assert mistake.value.hint == "say who: --as NAME"

    def test_do_not_excuse_a_key_that_does_not_fit(self, world: World) -> None:
        """Who does sign has to sign rightly, even where a claim would do."""
        text = CLAIMED + 'signers = "signers"\n'
        with pytest.raises(Refused, match="the signature fits no reviewer's key"):
            world.say(decided(world, text), by="stranger")

    def test_answer_once(self, world: World) -> None:
        """A claimed name is still one name."""
        decision = decided(world, CLAIMED)
        world.say(decision, key=None, signer=LEAD)
        with pytest.raises(Refused, match="has answered this already"):
            world.say(decision, key=None, signer=LEAD)


def test_where_nobody_reviews_there_is_nothing_to_say(world: World) -> None:
    """An environment without reviewers takes no yes."""
    world.apply_policy(STAGING)
    with pytest.raises(Refused) as refused:
        world.say(world.decide(world.evaluated(16)))
    assert refused.value.what == "the applied policy names no keys of reviewers"
    assert refused.value.hint == "add them to the signers file, then `lockgate policy apply`"


class TestWhatWaitsForMe:
    """`lockgate approve` alone lists what lacks a word."""

    def test_lists_a_decision_until_it_has_its_yes(self, world: World) -> None:
        """With who may say it, and how many did."""
        decision = decided(world)
        (request,) = requests(world.registry, world.policy, [SYSTEM])
        assert request.what == f"{SYSTEM} v1 to production: gate pass"
        assert (request.reviewers, request.given, request.needed) == ((LEAD, OTHER_LEAD), 0, 1)
        world.say(decision)
        assert requests(world.registry, world.policy, [SYSTEM]) == []

    def test_does_not_list_what_was_refused_or_fell(self, world: World) -> None:
        """A no, and a decision that no longer stands, wait for nobody."""
        world.say(decided(world), "no")
        assert requests(world.registry, world.policy, [SYSTEM]) == []
        world.decide(world.evaluated(17), "production")
        assert len(requests(world.registry, world.policy, [SYSTEM])) == 1
        world.clock.move(days=8)
        assert requests(world.registry, world.policy, [SYSTEM]) == []

    def test_lists_only_the_newest_decision_of_a_version(self, world: World) -> None:
        """Asked again, the older one does not wait any more."""
        first = decided(world)
        version = world.registry.versions.get(first.version)
        assert version is not None
        second = world.decide(version, "production", again=True)
        found = requests(world.registry, world.policy, [SYSTEM])
        assert [request.subject for request in found] == [second.id]

    def test_lists_a_proposal_until_its_reviewers_agreed(self, world: World) -> None:
        """A change of policy waits like a decision."""
        world.apply_policy(REVIEWED)
        with pytest.raises(WaitingForPerson):
            world.apply_policy(STAGING, actor=DEV)
        (proposal,) = world.registry.releases.proposals()
        (request,) = requests(world.registry, world.policy, [SYSTEM])
        assert request.subject == proposal.id
        assert request.what == f"policy policy: {proposal.before[:8]} → {proposal.after[:8]}"
        say_to(world, proposal, LEAD)
        assert requests(world.registry, world.policy, [SYSTEM]) == []


class TestAProposal:
    """A change of policy or suite is approved under the policy that counts."""

    def test_is_approved_by_a_reviewer_with_a_key(self, world: World) -> None:
        """The same keys, the same rules."""
        proposal = self._proposed(world)
        approval = say_to(world, proposal, LEAD)
        assert (approval.subject, approval.signer) == (proposal.id, LEAD)

    def test_is_not_approved_by_who_made_it(self, world: World) -> None:
        """Nobody changes the rules alone."""
        proposal = self._proposed(world, actor=LEAD)
        with pytest.raises(Refused) as refused:
            say_to(world, proposal, LEAD)
        assert refused.value.what == "`ml-lead` proposed policy and cannot review it"
        assert refused.value.hint == "another reviewer says yes: support-lead"

    def test_is_not_approved_by_a_stranger(self, world: World) -> None:
        """The old policy's reviewers decide, not those the new one would like to have."""
        world.apply_policy(REVIEWED)
        new = REVIEWED.replace('"support-lead"]', '"support-lead", "stranger"]')
        public = ssh.public_key(world.key("stranger"))
        with (world.root / "signers").open("a") as file:
            file.write(f'stranger namespaces="lockgate" {public}\n')
        with pytest.raises(WaitingForPerson):
            world.apply_policy(new, actor=DEV)
        (proposal,) = world.registry.releases.proposals()
        with pytest.raises(Refused, match="the signature fits no reviewer's key"):
            say_to(world, proposal, "stranger")

    def test_of_a_decision_is_no_consent_to_a_proposal(self, world: World) -> None:
        """A signature about a version says nothing about the rules."""
        decision = decided(world)
        armored = signed(world, decision, LEAD)
        with pytest.raises(WaitingForPerson):
            world.apply_policy(STAGING, actor=DEV)
        (proposal,) = world.registry.releases.proposals()
        with pytest.raises(Refused, match="the signature fits no reviewer's key"):
            approve_proposal(
                world.registry,
                proposal,
                world.policy,
                Word("yes", signature=armored),
                signing=wiring.signing(),
                actor=DEV,
            )

    def test_that_was_applied_takes_no_further_word(self, world: World) -> None:
        """What it would replace is gone."""
        proposal = self._proposed(world)
        say_to(world, proposal, LEAD)
        world.apply_policy(STAGING, actor=DEV)
        world.apply_policy(REVIEWED, actor=DEV)
        with pytest.raises(Refused) as refused:
            say_to(world, proposal, OTHER_LEAD)
        assert refused.value.what == f"proposal `{proposal.id[:12]}` was applied or overtaken"
        assert refused.value.hint == "`lockgate approve`"

    @staticmethod
    def _proposed(world: World, actor: str = DEV) -> Proposal:
        world.apply_policy(REVIEWED)
        with pytest.raises(WaitingForPerson):
            world.apply_policy(STAGING, actor=actor)
        (proposal,) = world.registry.releases.proposals()
        return proposal


def test_a_quarantined_version_is_still_decided_on_anew_only(world: World) -> None:
    """A yes that was given before a quarantine promotes nothing afterwards."""
    decision = decided(world)
    world.say(decision)
    version = world.registry.versions.get(decision.version)
    assert version is not None
    quarantine(world.registry, version)
    with pytest.raises(Refused, match="v1 cannot be promoted to production now"):
        world.promote(version, "production", decision)


def test_reviewers_are_asked_by_the_environment_that_wants_them(world: World) -> None:
    """Low stakes ask nobody, so nothing waits."""
    world.apply_policy(PRODUCTION)
    assert world.decide(world.evaluated(16)).approvals_needed == 0
    assert requests(world.registry, world.policy, [SYSTEM]) == []


def say_to(world: World, proposal: Proposal, by: str, **how: Any) -> Any:
    """Record a reviewer's signed yes to a proposal."""
    word = Word("yes", key=world.key(by), **how)
    return approve_proposal(
        world.registry, proposal, world.policy, word, signing=wiring.signing(), actor=by
    )


def agree_to_policy(world: World, text: str) -> None:
    """Apply a policy after its claimed reviewers agreed."""
    with pytest.raises(WaitingForPerson):
        world.apply_policy(text, actor=DEV)
    (proposal,) = world.registry.releases.proposals()
    approve_proposal(
        world.registry,
        proposal,
        world.policy,
        Word("yes", signer=OTHER_LEAD),
        signing=wiring.signing(),
        actor=OTHER_LEAD,
    )
    world.apply_policy(text, actor=DEV)
