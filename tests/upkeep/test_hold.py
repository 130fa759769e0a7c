"""Hold and lift: what stops promotions, and how it ends."""

from __future__ import annotations

import pytest

from builders import append
from lockgate.domain.release import Hold, Lift, Quarantine
from lockgate.errors import Refused, UsageMistake
from lockgate.upkeep.hold import Lifted, hold, lift_hold, lift_quarantine
from lockgate.upkeep.rollback import find_way_back, roll_back
from tests.loop.world import STAGING, SYSTEM, World

ON_CALL, LEAD = "on-call", "ml-lead"


@pytest.fixture
def two(world: World) -> World:
    """v1, then v2, live in staging."""
    world.apply_policy(STAGING)
    world.make_live(14)
    world.make_live(15)
    return world


def holding(world: World, reason: str = "month end") -> Hold:
    """Hold staging."""
    return hold(world.registry, SYSTEM, "staging", reason=reason, actor=ON_CALL)


def lifting(world: World, reason: str = "over", actor: str = LEAD) -> list[Lifted]:
    """Lift the hold of staging."""
    return lift_hold(world.registry, SYSTEM, "staging", reason=reason, actor=actor)


@pytest.mark.parametrize("reason", ["", " \n", "​"])
def test_both_take_a_reason(two: World, reason: str) -> None:
    """Nothing said, nothing done."""
    before = two.head()
    with pytest.raises(UsageMistake, match="a reason is needed") as refused:
        holding(two, reason)
    assert refused.value.hint == "say why: -m REASON"
    append(two.registry, Hold(SYSTEM, "staging", "x", ON_CALL))
    with pytest.raises(UsageMistake, match="a reason is needed"):
        lifting(two, reason)
    assert two.head() == before + 1


def test_what_is_held_is_not_held_again(two: World) -> None:
    """The refusal says why it is held, and the command that ends it."""
    holding(two, "month end\nsecond line")
    with pytest.raises(Refused, match="staging is held already: month end") as refused:
        holding(two)
    assert refused.value.what.endswith("month end")
    assert refused.value.hint == f"`lockgate lift staging -s {SYSTEM} -m REASON` ends it"


def test_nothing_to_lift(two: World) -> None:
    """Neither a hold nor a quarantine that is not there."""
    with pytest.raises(Refused, match="staging is not held") as refused:
        lifting(two)
    assert refused.value.hint == f"`lockgate status -s {SYSTEM}`"
    v1 = two.registry.versions.named(SYSTEM, "v1")
    with pytest.raises(Refused, match="v1 is not quarantined") as refused:
        lift_quarantine(two.registry, v1, reason="over", actor=LEAD)
    assert refused.value.hint == "`lockgate show v1`"


def test_several_holds_end_at_once(two: World) -> None:
    """Two who held at the same time; one lift ends both, and says what each had stood for."""
    append(two.registry, Hold(SYSTEM, "staging", "one", ON_CALL))
    append(two.registry, Hold(SYSTEM, "staging", "two", LEAD))
    assert lifting(two) == [Lifted("hold", "two"), Lifted("hold", "one")]
    assert two.registry.releases.holds(SYSTEM, "staging") == []


def test_what_a_rollback_made_is_lifted_like_any_other(two: World) -> None:
    """Hold and quarantine each end on their own; then v2 may be promoted again."""
    for _ in roll_back(two.registry, find_way_back(two.registry, SYSTEM, "staging"), actor=ON_CALL):
        pass
    v2 = two.registry.versions.named(SYSTEM, "v2")
    lift_quarantine(two.registry, v2, reason="it was the network", actor=LEAD)
    assert two.registry.releases.holds(SYSTEM, "staging")
    lifting(two)
    assert two.promote(v2, decision=two.decide(v2)).is_new


def test_of_two_who_lift_the_second_is_told(two: World) -> None:
    """Who was faster, and when; nothing more is recorded."""
    held = holding(two)
    v2 = two.registry.versions.named(SYSTEM, "v2")
    (bad,) = append(two.registry, Quarantine(SYSTEM, v2.definition, v2.id, "bad", ON_CALL))
    releases = type(two.registry.releases)

    def late(name: str, ended: Hold | Quarantine):  # type: ignore[no-untyped-def]
        real = getattr(releases, name)

        def ask(self: object, *words: object, **more: object) -> object:
            found = real(self, *words, **more)
            if found:
                append(two.registry, Lift(ended.seq, "mine", "second"))
            return found

        return ask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "holds", late("holds", held))
        with pytest.raises(Refused, match="second ended the hold of staging first, at ") as lost:
            lifting(two)
    assert lost.value.hint == "`lockgate status` shows what stands now"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "quarantines", late("quarantines", bad))
        with pytest.raises(Refused, match="second ended the quarantine of v2 first"):
            lift_quarantine(two.registry, v2, reason="over", actor=LEAD)
