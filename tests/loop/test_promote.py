"""Step 5, promote: make an approved version live, and keep the one before one step away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import hold, lift, quarantine, settle, take
from lockgate.errors import (
    IntegrityBroken,
    LockgateError,
    Refused,
    StaleGeneration,
    WaitingForPerson,
)
from lockgate.loop.promote import promote, standing
from lockgate.storage.registry import open_registry
from loop.test_gate import remove_content
from loop.world import (
    CI,
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

HIGH = rules_text(
    'suite = "triage", metric = "accuracy", min = 0.5',
    environment="production",
    stakes="high",
    signers='"signers"',
    reviewers='["ml-lead", "support-lead"]',
)
"""One environment where a reviewer says yes with a key."""


def refusal(world: World, *promotion: Any, **how: Any) -> LockgateError:
    """Return the error of a promotion that has to fail, and check that it changed nothing."""
    head, live = world.head(), {e: world.live(e) for e in world.policy.environments}
    with pytest.raises(LockgateError) as error:
        world.promote(*promotion, **how)
    assert world.head() == head
    assert {e: world.live(e) for e in world.policy.environments} == live
    return error.value


def test_a_pass_becomes_live(world: World) -> None:
    """Attempt and settlement are recorded with who did it and on which decision."""
    world.apply_policy(STAGING)
    version = world.evaluated(16)
    decision = world.decide(version)
    done = world.promote(version, decision=decision, reason="before the weekend")
    assert (done.version, done.environment, done.generation) == (version, "staging", 1)
    assert (done.before, done.is_new) == (None, True)
    live = world.registry.releases.live(SYSTEM, "staging")
    assert live is not None
    attempt = live.attempt
    assert (attempt.kind, attempt.version, attempt.decision) == ("promote", version.id, decision.id)
    assert (attempt.actor, attempt.reason, live.outcome) == (CI, "before the weekend", "live")


def test_the_next_one_takes_the_next_generation_and_names_the_one_before(world: World) -> None:
    """Generations are dense; what was live before is known."""
    world.apply_policy(STAGING)
    first = world.make_live(16)
    second = world.evaluated(17)
    world.decide(second)
    done = world.promote(second)
    assert (done.generation, done.before) == (2, first)
    assert world.live() == second.id


def test_environments_count_their_generations_by_themselves(world: World) -> None:
    """The second place begins at 1."""
    world.apply_policy(PRODUCTION)
    world.make_live(16)
    world.make_live(17, ("staging", "production"))
    production = world.registry.releases.live(SYSTEM, "production")
    assert production is not None
    assert production.attempt.generation == 1


def test_what_is_live_already_stays_as_it_is(world: World) -> None:
    """Promoting it again does nothing and needs nothing: no decision, no free environment."""
    world.apply_policy(STAGING)
    version = world.make_live(16)
    hold(world.registry, "staging")
    world.clock.move(days=30)
    head = world.head()
    done = world.promote(version)
    assert (done.is_new, done.generation, world.head()) == (False, 1, head)


class TestTheDecision:
    """A promotion rests on a decision about this version and environment that still stands."""

    def test_of_another_version_cannot_be_borrowed(self, world: World) -> None:
        """A pass is not passed on."""
        world.apply_policy(STAGING)
        passed = world.decide(world.evaluated(16))
        other = world.evaluated(3)
        error = refusal(world, other, "staging", passed)
        assert isinstance(error, Refused)
        assert error.what == f"decision `{passed.id}` is not about v2 and staging"
        assert error.hint == "`lockgate gate v2 --to staging`"

    def test_of_another_environment_cannot_be_borrowed(self, world: World) -> None:
        """What is good enough for staging is not for production."""
        world.apply_policy(PRODUCTION)
        version = world.evaluated(16)
        passed = world.decide(version)
        error = refusal(world, version, "production", passed)
        assert error.what == f"decision `{passed.id}` is not about v1 and production"

    def test_of_another_system_cannot_be_borrowed(self, world: World) -> None:
        """A version of another system has another id, even with the same definition."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        passed = world.decide(version)
        stranger = replace(version, id="f" * 64, system="other-desk")
        error = refusal(world, stranger, "staging", passed)
        assert error.what == f"decision `{passed.id}` is not about v1 and staging"

    def test_forged_in_memory_is_refused_by_the_registry(self, world: World) -> None:
        """A failed decision that somebody calls passed is still the one that is recorded."""
        world.apply_policy(STAGING)
        version = world.evaluated(3)
        failed = world.decide(version)
        forged = replace(failed, outcome="pass", promotable=True, findings=())
        error = refusal(world, version, "staging", forged)
        assert error.what == (
            "the registry refused it: a promotion needs a passing decision about this version and "
            "environment"
        )

    def test_that_was_never_recorded_is_refused_by_the_registry(self, world: World) -> None:
        """A decision that only looks like one promotes nothing."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        made_up = replace(world.decide(version), id="0" * 16)
        error = refusal(world, version, "staging", made_up)
        assert error.what.startswith(
            "the registry refused it: a promotion needs a passing decision"
        )

    def test_that_failed_is_refused_with_all_its_reasons(self, world: World) -> None:
        """What the gate said is said again, with the first thing that helps."""
        world.apply_policy(PRODUCTION)
        version = world.evaluated(12)
        failed = world.decide(version, "production")
        error = refusal(world, version, "production", failed)
        assert error.what == "the gate did not pass v1 for production: fail"
        assert error.problems == (
            "staging: this definition was never promoted to staging by a passing gate",
            "triage accuracy: .600 [.39 .79], at least .700, 20 cases, judged on the score alone",
        )
        assert error.hint == "`lockgate promote v1 --to staging`"

    def test_that_is_open_is_refused_with_what_would_settle_it(self, world: World) -> None:
        """An open question that blocks is not promoted."""
        world.apply_policy(
            rules_text('suite = "triage", metric = "accuracy", min = 0.75, confidence = 0.95')
        )
        version = world.evaluated(17)
        error = refusal(world, version, "staging", world.decide(version))
        assert error.what == "the gate did not pass v1 for staging: inconclusive"
        assert error.problems == ("triage accuracy: .850 [.65 .96], at least .750, 20 cases",)
        assert error.hint.endswith("more cases would settle it if the score stays the same")

    @pytest.mark.parametrize(
        ("moves", "says"),
        [
            ("policy", "void: a newer policy applies"),
            ("suite", "void: a newer suite applies"),
            ("own run", "void: a newer run was completed"),
            ("run of live", "void: a newer run was completed"),
            (
                "live",
                "void: something else is live now: v3 as generation 2, by ci at "
                "Fri 2026-08-21 09:00 UTC",
            ),
            ("time", "expired Fri 2026-08-28 09:00 UTC"),
        ],
    )
    def test_falls_with_what_it_rests_on(self, world: World, moves: str, says: str) -> None:
        """Policy, suite, runs, what is live, and time: each ends it, and is named."""
        world.apply_policy(STAGING)
        live = world.make_live(16)
        version = world.evaluated(17)
        other = world.evaluated(18, parent=live)
        decision = world.decide(version)
        if moves == "policy":
            world.apply_policy(STAGING + "# a word more\n")
        elif moves == "suite":
            world.apply_suite("tone", cases=3)
        elif moves == "own run":
            world.evaluate(version)
        elif moves == "run of live":
            world.evaluate(live)
        elif moves == "live":
            world.decide(other)
            world.promote(other)
        else:
            world.clock.move(days=7, microseconds=1)
        error = refusal(world, version, "staging", decision)
        assert error.what == "v2 cannot be promoted to staging now"
        assert error.problems == (f"decision stands: {says}",)
        assert error.hint == "`lockgate gate` decides again on what is true now"

    def test_holds_until_the_very_last_moment(self, world: World) -> None:
        """At its end it still stands."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        world.clock.at = world.decide(version).expires_at
        assert world.promote(version).is_new

    def test_does_not_come_back_to_life_when_a_clock_is_set_back(self, world: World) -> None:
        """What has expired by recorded time is expired."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        decision = world.decide(version)
        world.clock.move(days=30)
        world.version(17)
        world.clock.move(days=-30)
        error = refusal(world, version, "staging", decision)
        assert error.problems == ("decision stands: expired Fri 2026-08-28 09:00 UTC",)

    def test_on_an_older_policy_is_void_even_when_the_old_one_is_back(self, world: World) -> None:
        """There and back again is still a change."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        decision = world.decide(version)
        world.apply_policy(STAGING + "# a word more\n")
        world.apply_policy(STAGING)
        error = refusal(world, version, "staging", decision)
        assert error.problems == ("decision stands: void: a newer policy applies",)


class TestPeople:
    """Where the stakes are high, others say yes first."""

    def test_are_waited_for(self, world: World) -> None:
        """Without them the promotion waits, with who may speak and how."""
        version, _ = self._decided(world)
        error = refusal(world, version, "production")
        assert isinstance(error, WaitingForPerson)
        assert error.what == (
            "v1 waits for production: 0 of 1 approvals, from ml-lead or support-lead"
        )
        assert error.hint == (f"a reviewer runs `lockgate approve v1 --to production -s {SYSTEM}`")

    def test_say_yes_and_it_is_live(self, world: World) -> None:
        """One signed yes is enough where one is asked for."""
        version, decision = self._decided(world)
        world.say(decision)
        assert world.promote(version, "production").is_new

    def test_say_no_and_it_is_refused(self, world: World) -> None:
        """One no outweighs every yes; its words are told."""
        version, decision = self._decided(world)
        world.say(decision)
        world.say(decision, "no", by=OTHER_LEAD, note="it promises too much")
        error = refusal(world, version, "production")
        assert error.what == "v1 cannot be promoted to production now"
        assert error.problems == ("approval: support-lead said no: it promises too much",)
        assert error.hint == (
            "change the version, or talk and ask anew: `lockgate gate v1 --to production --again`"
        )

    def test_are_asked_anew_after_a_no_was_talked_about(self, world: World) -> None:
        """A new decision takes a yes again; the old no stays on record."""
        version, decision = self._decided(world)
        world.say(decision, "no")
        again = world.decide(version, "production", again=True)
        assert isinstance(refusal(world, version, "production", again), WaitingForPerson)
        world.say(again)
        assert world.promote(version, "production", again).is_new
        assert [a.word for a in world.registry.releases.approvals(decision.id)] == ["no"]

    def test_who_promote_do_not_count_as_reviewers(self, world: World) -> None:
        """Nobody approves and promotes alone."""
        version, decision = self._decided(world)
        world.say(decision)
        error = refusal(world, version, "production", actor=LEAD)
        assert isinstance(error, WaitingForPerson)
        assert error.what == (
            "v1 waits for production: 0 of 1 approvals, from support-lead; ml-lead promotes it "
            "and does not count"
        )
        assert world.promote(version, "production", actor=CI).is_new

    def test_have_to_be_as_many_as_asked(self, world: World) -> None:
        """Two are two."""
        version, decision = self._decided(
            world, HIGH.replace('"signers"\n', '"signers"\napprovals = 2\n')
        )
        world.say(decision)
        error = refusal(world, version, "production")
        assert error.what == (
            "v1 waits for production: 1 of 2 approvals, from ml-lead or support-lead"
        )
        world.say(decision, by=OTHER_LEAD)
        assert world.promote(version, "production").is_new

    def test_leave_nobody_who_could_say_yes(self, world: World) -> None:
        """Where everybody is barred, the message says so instead of waiting for ever."""
        world.apply_policy(HIGH.replace('["ml-lead", "support-lead"]', '["ml-lead"]'))
        version = world.register(actor=LEAD)
        world.evaluate(version)
        world.decide(version, "production")
        error = refusal(world, version, "production")
        assert error.what == "v1 waits for production: 0 of 1 approvals, from nobody left"

    def test_are_shown_as_claimed_without_a_key(self, world: World) -> None:
        """Whoever reads the finding sees that nobody proved who they were."""
        version, decision = self._decided(world, CLAIMED)
        world.say(decision, key=None, signer=LEAD)
        environment = world.policy.environment("production")
        found = standing(world.registry, decision, environment, promoter=CI)
        assert [f.reason for f in found if f.rule == "approval"] == ["1 of 1: ml-lead (claimed)"]
        assert world.promote(version, "production").is_new

    def test_registrars_yes_does_not_count_in_the_registry_either(self, world: World) -> None:
        """Even a yes that was written past the steps promotes nothing."""
        from builders import approve

        version, decision = self._decided(world)
        approve(world.registry, decision, signer=DEV)
        forged = replace(decision, approvals_needed=0)
        error = refusal(world, version, "production", forged)
        assert error.what == (
            "the registry refused it: the decision lacks the approvals it needs, or a reviewer "
            "said no"
        )

    @staticmethod
    def _decided(world: World, text: str = HIGH) -> tuple[Any, Any]:
        world.apply_policy(text)
        version = world.evaluated(16)
        return version, world.decide(version, "production")


class TestAFreeze:
    """A weekly window without promotions."""

    text = STAGING.replace(
        'stakes = "low"\n',
        'stakes = "low"\nfreeze = [{ from = "fri 16:00", until = "mon 08:00", '
        'tz = "Europe/Berlin", reason = "weekend" }]\n',
        1,
    )

    def test_refuses_and_says_until_when(self, world: World) -> None:
        """With its reason, and with what is never frozen."""
        world.apply_policy(self.text)
        version = world.evaluated(16)
        world.decide(version)
        world.clock.at = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)  # 16:00 in Berlin
        error = refusal(world, version)
        assert error.what == "v1 cannot be promoted to staging now"
        assert error.problems == ("no freeze: frozen until Mon 2026-08-24 06:00 UTC: weekend",)
        assert error.hint == "run it again after that; `lockgate rollback` is never frozen"

    @pytest.mark.parametrize(
        "moment",
        [datetime(2026, 8, 21, 13, 59, 59, tzinfo=UTC), datetime(2026, 8, 24, 6, tzinfo=UTC)],
        ids=["before", "after"],
    )
    def test_is_over_where_it_ends(self, world: World, moment: datetime) -> None:
        """A second before it begins, and from the moment it ends, promotions are free."""
        world.apply_policy(self.text)
        version = world.evaluated(16)
        world.decide(version)
        world.clock.at = moment
        assert world.promote(version).is_new


def test_a_hold_stops_promotions_until_it_is_lifted(world: World) -> None:
    """Who holds it, since when and why is told, and what ends it."""
    world.apply_policy(STAGING)
    version = world.evaluated(16)
    world.decide(version)
    held = hold(world.registry, "staging")
    error = refusal(world, version)
    assert error.problems == (
        "not held: held by on-call since Fri 2026-08-21 09:00 UTC: under investigation",
    )
    assert error.hint == "`lockgate lift staging -m REASON` once it is safe"
    lift(world.registry, held)
    assert world.promote(version).is_new


def test_a_hold_elsewhere_stops_nothing_here(world: World) -> None:
    """A hold binds one environment."""
    world.apply_policy(PRODUCTION)
    hold(world.registry, "production")
    assert world.make_live(16).label == "v1"


def test_a_quarantine_stops_every_version_with_this_definition(world: World) -> None:
    """Registered anew, it is the same behaviour."""
    world.apply_policy(STAGING)
    first = world.version(16)
    world.version(12)
    again = world.evaluated(16)
    world.decide(again)
    imposed = quarantine(world.registry, first)
    error = refusal(world, again)
    assert error.problems == ("not quarantined: quarantined by on-call: it hurt users",)
    assert error.hint == "`lockgate lift v3 -m REASON` if that was wrong"
    lift(world.registry, imposed)
    assert world.promote(again).is_new


def test_everything_that_stands_in_the_way_is_told_at_once(world: World) -> None:
    """Nobody lifts a hold to hear of the freeze."""
    world.apply_policy(TestAFreeze.text)
    version = world.evaluated(16)
    world.decide(version)
    hold(world.registry, "staging")
    quarantine(world.registry, version)
    world.clock.move(days=8)
    error = refusal(world, version)
    assert [problem.split(":")[0] for problem in error.problems] == [
        "decision stands",
        "no freeze",
        "not held",
        "not quarantined",
    ]


class TestBytes:
    """They are hashed again first, the candidate's and those of the way back."""

    def test_of_the_candidate_that_are_missing_stop_it(self, world: World) -> None:
        """What is not there cannot run."""
        world.apply_policy(STAGING)
        version = world.evaluated(16)
        world.decide(version)
        self._lose(world, version)
        error = refusal(world, version)
        assert isinstance(error, IntegrityBroken)
        assert error.what == "v1 is not intact in the registry; nothing was promoted"
        assert error.problems == ("prompts/system.md: not in the registry",)
        assert error.hint == "restore the objects from a backup"
        assert error.exit_code == 6

    def test_of_the_candidate_that_are_damaged_stop_it(self, world: World) -> None:
        """One flipped byte of a large file is found before anything is touched."""
        world.apply_policy(STAGING)
        version = self._large(world)
        world.decide(version)
        self._damage(world, version)
        error = refusal(world, version)
        assert isinstance(error, IntegrityBroken)
        assert error.problems == ("prompts/big.md: its bytes are not what was registered",)

    def test_of_the_way_back_that_are_missing_stop_it(self, world: World) -> None:
        """A promotion that would leave no way back is refused beforehand."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        second = world.evaluated(17, prompt="Sort it anew.\n")
        world.decide(second)
        self._lose(world, first)
        error = refusal(world, second)
        assert isinstance(error, IntegrityBroken)
        assert error.what == "v2 cannot be promoted to staging now"
        assert error.problems == (
            "way back: v1 could not be restored: prompts/system.md: not in the registry",
        )
        assert error.hint == "restore its objects from a backup first, or there is no way back"

    def test_of_the_way_back_that_are_damaged_stop_it(self, world: World) -> None:
        """The way back is hashed, not only counted."""
        world.apply_policy(STAGING)
        first = self._large(world)
        world.decide(first)
        world.promote(first)
        (world.folder / "prompts" / "big.md").unlink()
        second = world.evaluated(17)
        world.decide(second)
        self._damage(world, first)
        error = refusal(world, second)
        assert isinstance(error, IntegrityBroken)
        assert error.problems == (
            "way back: v1 could not be restored: prompts/big.md: its bytes are not what was "
            "registered",
        )

    def test_are_named_beside_another_refusal(self, world: World) -> None:
        """With another reason as well it is a refusal that names both."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        second = world.evaluated(17, prompt="Sort it anew.\n")
        world.decide(second)
        self._lose(world, first)
        hold(world.registry, "staging")
        error = refusal(world, second)
        assert isinstance(error, Refused)
        assert [problem.split(":")[0] for problem in error.problems] == ["not held", "way back"]

    @staticmethod
    def _large(world: World) -> Any:
        world.write(16)
        (world.folder / "prompts" / "big.md").write_bytes(b"long story\n" * 30_000)
        version = world.register()
        world.evaluate(version)
        return version

    @staticmethod
    def _lose(world: World, version: Any) -> None:
        files = world.registry.versions.definition(version.definition).files()
        remove_content(world, files["prompts/system.md"])

    @staticmethod
    def _damage(world: World, version: Any) -> None:
        files = world.registry.versions.definition(version.definition).files()
        digest = files["prompts/big.md"]
        path = world.root / ".lockgate" / "objects" / digest[:2] / digest
        data = bytearray(path.read_bytes())
        data[1000] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)


class TestTwoPromoters:
    """Exactly one takes the generation; the other one is told who did."""

    @pytest.mark.parametrize("at_holds", [True, False], ids=["while checking", "at the last"])
    def test_the_loser_hears_who_won_with_what_and_when(self, world: World, at_holds: bool) -> None:
        """Both looked before either acted."""
        world.apply_policy(STAGING)
        first = world.make_live(16)
        ours, theirs = world.evaluated(17), world.evaluated(18, parent=first)
        decision = world.decide(ours)
        world.decide(theirs)
        late = Late(
            world.registry, lambda: world.promote(theirs, actor="night-shift"), at_holds=at_holds
        )
        with pytest.raises(StaleGeneration) as stale:
            promote(late, ours, world.policy.environment("staging"), decision, actor=CI)
        assert stale.value.what == (
            "night-shift took generation 2 of staging first, with v3 at Fri 2026-08-21 09:00 UTC; "
            "nothing was changed"
        )
        assert stale.value.hint == "`lockgate status`, then `lockgate gate v2 --to staging`"
        assert world.live() == theirs.id

    def test_the_first_generation_is_taken_once_as_well(self, world: World) -> None:
        """Where nothing was ever live, the empty origin is raced for too."""
        world.apply_policy(STAGING)
        ours, theirs = world.evaluated(17), world.evaluated(18)
        decision = world.decide(ours)
        world.decide(theirs)
        late = Late(world.registry, lambda: world.promote(theirs, actor="night-shift"))
        with pytest.raises(StaleGeneration, match="night-shift took generation 1 of staging first"):
            promote(late, ours, world.policy.environment("staging"), decision, actor=CI)
        assert [
            d.attempt.version for d in world.registry.releases.deployments(SYSTEM, "staging")
        ] == [theirs.id]

    def test_an_attempt_that_is_open_blocks_the_next_one(self, world: World) -> None:
        """Whoever is promoting, or was cut off, is named."""
        world.apply_policy(STAGING)
        ours, theirs = world.evaluated(17), world.evaluated(18)
        decision = world.decide(ours)
        attempt = take(
            world.registry, theirs, world.decide(theirs), environment="staging", actor="night-shift"
        )
        error = refusal(world, ours, "staging", decision)
        assert error.what == (
            "generation 1 of staging is not settled: night-shift is promoting or was cut off"
        )
        assert error.hint == f"`lockgate settle staging -s {SYSTEM}` finds out"
        settle(world.registry, attempt, "abandoned")
        assert world.promote(ours, "staging", decision).generation == 2


class Late:
    """A registry that somebody else writes to while this one is promoting."""

    def __init__(self, registry: Any, happens: Any, *, at_holds: bool = False) -> None:
        """Look at a registry through a connection of its own.

        Args:
            registry: The one that is open.
            happens: What the other one does, once.
            at_holds: Between looking at the decision and looking at holds; else just before the
                generation is taken.
        """
        self._registry = open_registry(registry.root, clock=registry.clock)
        self._happens = happens
        self._at_holds = at_holds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def _once(self) -> None:
        happens, self._happens = self._happens, lambda: None
        happens()

    @property
    def releases(self) -> Any:
        return Watched(self._registry.releases, self._once if self._at_holds else lambda: None)

    def write(self, **how: Any) -> Any:
        self._once()
        return self._registry.write(**how)


class Watched:
    """Queries that let something happen before they look at holds."""

    def __init__(self, releases: Any, before_holds: Any) -> None:
        """Pass everything on."""
        self._releases = releases
        self._before_holds = before_holds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._releases, name)

    def holds(self, *of: Any) -> Any:
        self._before_holds()
        return self._releases.holds(*of)


def test_an_experiment_cannot_be_promoted_past_the_gate(world: World) -> None:
    """Even a decision that was written past the steps does not bring it live."""
    from builders import pass_decision

    world.apply_policy(STAGING)
    experiment = world.register(track="experiment")
    world.evaluate(experiment)
    runs = world.registry.runs.of_version(experiment.id)
    decision = pass_decision(world.registry, experiment, runs, environment="staging")
    error = refusal(world, experiment, "staging", decision)
    assert error.what == "the registry refused it: only a release reaches an environment"
