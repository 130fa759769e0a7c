"""Who may not review: whoever registered or owns anything that would go live by a yes."""

from __future__ import annotations

import pytest

from lockgate.domain.version import Version
from lockgate.errors import Refused, WaitingForPerson
from lockgate.loop.promote import standing
from lockgate.loop.standing import barred_reviewers
from loop.world import CI, DEV, LEAD, OTHER_LEAD, OWNER, World

REVIEWED = """\
[environments.production]
stakes = "high"
signers = "signers"
reviewers = ["ml-lead", "support-lead"]
"""


def on_top(world: World, parent: Version) -> Version:
    """Register and evaluate something trivial on top of a version, as somebody else."""
    world.write(17, prompt="Sort the ticket, please.\n")
    version = world.register(parent=parent, actor=DEV)
    world.evaluate(version)
    return version


def leads_own(world: World) -> Version:
    """Register a version as the reviewer ml-lead."""
    world.write(17)
    return world.register(actor=LEAD)


def approval(world: World, version: Version, promoter: str = CI) -> tuple[str, str]:
    """Return reason and hint of the finding about approvals."""
    decision = world.registry.releases.newest_decision(version.id, "production")
    assert decision is not None
    environment = world.policy.environment("production")
    found = standing(world.registry, decision, environment, promoter=promoter)
    (one,) = [finding for finding in found if finding.rule == "approval"]
    return one.reason, one.hint


def test_who_registered_a_part_of_it_does_not_review(world: World) -> None:
    """Something trivial on top of one's own version is no way to approve that version."""
    world.apply_policy(REVIEWED)
    version = on_top(world, leads_own(world))
    decision = world.decide(version, "production")
    with pytest.raises(Refused) as refused:
        world.say(decision)
    assert refused.value.what == (
        "`ml-lead` registered v1, which is part of this and cannot review it"
    )
    assert refused.value.hint == "another reviewer says yes: support-lead"
    assert approval(world, version)[0] == "0 of 1 approvals, from support-lead"
    world.say(decision, by=OTHER_LEAD)
    assert world.promote(version, "production").is_new


def test_what_is_live_already_is_no_part_of_it(world: World) -> None:
    """Who registered what is live may review what comes next."""
    world.apply_policy(REVIEWED)
    first = leads_own(world)
    world.evaluate(first)
    world.say(world.decide(first, "production"), by=OTHER_LEAD)
    world.promote(first, "production")
    version = on_top(world, first)
    assert barred_reviewers(world.registry, version, "production") == {
        DEV: "registered v2",
        OWNER: "owns v2",
    }
    assert world.say(world.decide(version, "production")).word == "yes"


def test_where_it_does_not_contain_what_is_live_what_was_live_bounds_it(world: World) -> None:
    """A version beside what is live brings no more than what was never promoted there."""
    world.apply_policy(REVIEWED)
    first = leads_own(world)
    world.evaluate(first)
    world.say(world.decide(first, "production"), by=OTHER_LEAD)
    world.promote(first, "production")
    second = on_top(world, first)
    world.say(world.decide(second, "production"))
    world.promote(second, "production")
    world.write(18)
    beside = world.register(parent=first, actor=CI)
    assert barred_reviewers(world.registry, beside, "production") == {
        CI: "registered v3",
        OWNER: "owns v3",
    }


def test_who_owns_a_part_of_it_does_not_review(world: World) -> None:
    """The owner of what goes live with it is as near to it as who registered it."""
    world.apply_policy(REVIEWED)
    world.write(17)
    version = on_top(world, world.register(owner=OTHER_LEAD))
    with pytest.raises(Refused) as refused:
        world.say(world.decide(version, "production"), by=OTHER_LEAD)
    assert refused.value.what == (
        "`support-lead` owns v1, which is part of this and cannot review it"
    )


def test_where_nobody_is_left_the_hint_says_what_helps(world: World) -> None:
    """Neither the refusal nor the finding names nobody and stops there."""
    world.apply_policy(REVIEWED.replace(', "support-lead"', ""))
    version = leads_own(world)
    world.evaluate(version)
    decision = world.decide(version, "production")
    helps = "add a reviewer to policy.toml and the signers file, then `lockgate policy apply`"
    with pytest.raises(Refused) as refused:
        world.say(decision)
    assert refused.value.hint == helps
    assert approval(world, version) == ("0 of 1 approvals, from nobody left", helps)


def test_a_yes_to_an_earlier_decision_is_told(world: World) -> None:
    """Whoever said yes learns why it no longer counts."""
    world.apply_policy(REVIEWED)
    version = world.evaluated(17)
    world.say(world.decide(version, "production"))
    world.evaluate(version)
    decision = world.decide(version, "production")
    assert approval(world, version)[0] == (
        "0 of 1 approvals, from ml-lead or support-lead; ml-lead's yes was for an earlier "
        "decision: a newer run was completed"
    )
    with pytest.raises(WaitingForPerson):
        world.promote(version, "production", decision)
    world.decide(version, "production", again=True)
    assert approval(world, version)[0].endswith("a newer run was completed")
    world.say(world.registry.releases.newest_decision(version.id, "production"))  # type: ignore[arg-type]
    assert approval(world, version)[0] == "1 of 1: ml-lead"
