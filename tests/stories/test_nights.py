"""Nights on call in any order: ship, roll back, hold, lift, break things, crash, settle, again.

A model that reads nothing but the raw rows says where a rollback has to go; the product has to go
there, whatever happened before. Above all it never lands on a version that a rollback ever left,
that is quarantined, or that is not intact.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lockgate
from lockgate import wiring
from lockgate.domain.policy import Environment
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.ports import Target
from lockgate.upkeep.break_glass import break_glass, look
from lockgate.upkeep.closing import close
from lockgate.upkeep.hold import hold, lift_hold, lift_quarantine
from lockgate.upkeep.rehearse import plan_rehearsal, rehearse
from lockgate.upkeep.retention import check_clock, expire
from lockgate.upkeep.retention import plan as plan_expiry
from lockgate.upkeep.rollback import find_way_back, roll_back
from lockgate.upkeep.settle import settle
from loop.invariants import Row, Rows, all_problems, requirement_problems, way_back_problems
from loop.world import CI, LEAD, SYSTEM, World, new_world

PLACES = ("staging", "production")
NOBODY, ON_CALL = "passer-by", "on-call"

POLICY = f"""\
[environments.staging]
stakes = "low"
rehearsal = true
protects = "production"
publish = "published/staging"
[environments.staging.systems.{SYSTEM}]
rules = [{{ suite = "triage", metric = "accuracy", min = 0.5, max_drop = 0.3 }}]

[environments.production]
stakes = "high"
requires = ["staging"]
reviewers = ["ml-lead", "support-lead"]
accept_claimed = true
approvals = 1
publish = "published/production"
[environments.production.systems.{SYSTEM}]
rules = [{{ suite = "triage", metric = "accuracy", min = 0.5, max_drop = 0.3 }}]

[experiments]
keep = "14d"
"""


class Died(BaseException):
    """The process is gone."""


class Nights(RuleBasedStateMachine):
    """Everybody does anything; now and then a process dies."""

    reached: ClassVar[Counter[str]] = Counter()
    """How often each step went well, and how often it was refused, over all examples."""

    world: World

    @initialize()
    def begin(self) -> None:
        """Make a registry that publishes, with two versions that went all the way."""
        self.folder = Path(tempfile.mkdtemp(prefix="lockgate-nights-"))
        (self.folder / "keys").mkdir()
        (self.folder / "keys" / "signers").write_text("")
        self.world = new_world(self.folder / "registry", self.folder / "keys")
        assert wiring.make_host_key(self.world.root)
        self.world.apply_policy(POLICY)
        self.count = 0
        self.versions: list[Version] = []
        self.dead: list[Iterator[Any]] = []
        self.damaged: dict[str, bytes] = {}
        for _ in range(2):
            self.ship(above=0, places=PLACES)

    def teardown(self) -> None:
        """Look at everything that was ever recorded."""
        if not hasattr(self, "world"):
            return
        try:
            root = self.world.root
            assert all_problems(root) == []
            assert list(requirement_problems(root, {"production": ["staging"]})) == []
            assert list(way_back_problems(Rows(root))) == []
        finally:
            self.world.registry.close()
            shutil.rmtree(self.folder)

    def attempted(self, step: str, act: Callable[[], Any]) -> Any:
        """Do something that may be refused; anything but a refusal is a fault of the product."""
        try:
            done = act()
        except LockgateError as error:
            assert error.what
            self.reached[f"{step} refused"] += 1
            return None
        self.reached[step] += 1
        return done

    def some(self, choice: int) -> Version:
        """Pick one of the newest six versions; 0 is the newest."""
        newest = self.versions[-6:]
        return newest[-1 - choice % len(newest)]

    def target(self, place: str) -> Target:
        """Return where a place's versions are published."""
        return wiring.target(self.world.root, SYSTEM, self.world.policy.environment(place))

    # What people do.

    @rule(
        above=st.integers(0, 5),
        places=st.sampled_from([PLACES, PLACES, PLACES[:1]]),
        back=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def ship(self, above: int, places: tuple[str, ...], back: int = 0) -> None:
        """Register a version on top of another one and take it as far as it goes.

        Now and then its definition is that of a version of before, with another parent.
        """
        self.count += not back
        self.world.write(16, prompt=f"Wording {max(self.count - back, 1)}.\n")
        parent = self.some(above) if self.versions else None
        version = self.attempted("register", lambda: self.world.register(parent=parent))
        if version is None:
            return
        self.versions.append(version)
        self.attempted("evaluate", lambda: self.world.evaluate(version))
        for place in places:
            if not self._promoted(version, place):
                return

    @rule(which=st.integers(0, 5), place=st.sampled_from(PLACES))
    def promote_again(self, which: int, place: str) -> None:
        """Take a version of before through gate and promote once more."""
        self._promoted(self.some(which), place)

    def _promoted(self, version: Version, place: str) -> bool:
        decision = self.attempted("gate", lambda: self._decided(version, place))
        if decision is None:
            return False
        done = self.attempted(
            f"promote {place}",
            lambda: self.world.promote(version, place, decision, target=self.target(place)),
        )
        return done is not None

    def _decided(self, version: Version, place: str) -> Any:
        live = self.world.registry.versions.get(self.world.live(place) or "")
        if live is not None and not self.world.registry.runs.completed(
            live.id, self.world.suite().digest
        ):
            self.world.evaluate(live)
        decision = self.world.decide(version, place, reverting=live.label if live else None)
        said = self.world.registry.releases.approvals(decision.id)
        if decision.approvals_needed and not said:
            self.world.say(decision, key=None, by=LEAD)
        return decision

    @rule(place=st.sampled_from(PLACES))
    def roll_back(self, place: str) -> None:
        """Go back by default: exactly to where the raw rows say, and refused only if nowhere."""
        rows = Rows(self.world.root)
        expected = default_target(rows, place, self._damaged_definitions())
        done = self.attempted(f"roll back {place}", lambda: self._gone_back(place, None))
        assert (done is not None) == (expected is not None), (done, expected)
        if expected is not None:
            assert self.world.live(place) == expected

    @rule(which=st.integers(0, 5), place=st.sampled_from(PLACES))
    def roll_back_to(self, which: int, place: str) -> None:
        """Go back to a version that is named: it was promoted there, and is whole and allowed."""
        to = self.some(which)
        rows = Rows(self.world.root)
        done = self.attempted(f"roll back {place} to", lambda: self._gone_back(place, to))
        if done is not None:
            assert to.id in {row["version"] for row in promoted_live(rows, place)}
            assert to.definition not in quarantined(rows)
            assert to.definition not in self._damaged_definitions()

    def _gone_back(self, place: str, to: Version | None) -> bool:
        registry = self.world.registry
        way_back = find_way_back(registry, SYSTEM, place, to=to)
        for _ in roll_back(registry, way_back, actor=ON_CALL, target=self.target(place)):
            pass
        return True

    @rule(
        which=st.integers(0, 5),
        place=st.sampled_from(PLACES),
        closer=st.sampled_from([ON_CALL, LEAD, LEAD]),
        judged=st.booleans(),
        fresh=st.sampled_from([True, True, True, False]),
    )
    def break_glass(self, which: int, place: str, closer: str, judged: bool, fresh: bool) -> None:
        """Make a version live past the gate; then somebody closes it, or may not."""
        if fresh:
            self.ship(above=which, places=())
        version = self.some(0 if fresh else which)
        self.attempted("break glass", lambda: self._broken(version, place))
        self._close(place, closer, judged)

    def _broken(self, version: Version, place: str) -> Any:
        registry, environment = self.world.registry, self.world.policy.environment(place)
        glass = look(registry, version, environment, self.world.policy, actor=ON_CALL)
        return break_glass(
            registry,
            glass,
            environment,
            ticket="INC-1",
            reason="nothing else helps",
            actor=ON_CALL,
            target=self.target(place),
        )

    @rule(place=st.sampled_from(PLACES), closer=st.sampled_from([ON_CALL, LEAD]))
    def close(self, place: str, closer: str) -> None:
        """Close what broke the glass, if it may be closed."""
        self._close(place, closer, judged=True)

    def _close(self, place: str, closer: str, judged: bool) -> None:
        registry = self.world.registry
        live = registry.versions.get(self.world.live(place) or "")
        if judged and live is not None:
            self.attempted("gate", lambda: self._decided(live, place))
        before = registry.upkeep.unclosed(SYSTEM, place)
        environment = self.world.policy.environment(place)
        done = self.attempted("close", lambda: self._closed(environment, closer))
        left = registry.upkeep.unclosed(SYSTEM, place)
        assert len(left) == len(before) - (done or 0)
        assert not (done and closer == ON_CALL)

    def _closed(self, environment: Environment, closer: str) -> int:
        done = close(self.world.registry, SYSTEM, environment, reason="looked at", actor=closer)
        trouble = done.trouble()
        if trouble is not None and not done.closings:
            raise trouble
        return len(done.closings)

    @rule(operator=st.sampled_from([None, "blank-prompt"]), stop=st.none() | st.integers(0, 12))
    def rehearse(self, operator: str | None, stop: int | None) -> None:
        """Rehearse, perhaps stopped on the way: what was live is live again, nothing else moved."""
        registry, before = self.world.registry, self.world.live("staging")
        stops = len(Rows(self.world.root).hold), len(Rows(self.world.root).quarantine)
        self.attempted("rehearse", lambda: self._rehearsed(operator, stop))
        newest = registry.releases.newest(SYSTEM, "staging")
        if newest is None or not newest.is_open:
            assert self.world.live("staging") == before
        rows = Rows(self.world.root)
        assert (len(rows.hold), len(rows.quarantine)) == stops

    def _rehearsed(self, operator: str | None, stop: int | None) -> bool:
        registry, policy = self.world.registry, self.world.policy
        plan = plan_rehearsal(registry, SYSTEM, "staging", policy, operator=operator)
        target = self.target("staging")
        steps = rehearse(registry, plan, policy, self.world.quick(), target, actor=CI)
        with contextlib.suppress(KeyboardInterrupt):  # before it began, or when it was done
            for number, _ in enumerate(steps):
                if number == stop:
                    steps.throw(KeyboardInterrupt())
        return True

    @rule(which=st.integers(0, 5), days=st.sampled_from([0, 0, 20]))
    def experiment(self, which: int, days: int) -> None:
        """Try something beside the releases, and clean up what is old."""
        registry = self.world.registry
        self.count += 1
        self.world.write(17, prompt=f"Try {self.count // 2}.\n")
        parent = self.some(which)
        made = self.attempted(
            "experiment", lambda: self.world.register(parent=parent, track="experiment")
        )
        if made is not None:
            self.attempted("promote staging", lambda: self._decided(made, "staging"))
        self.world.clock.move(days=days)
        today = self.world.clock.now().date()
        keep = self.world.policy.experiments_keep
        self.attempted("expire", lambda: check_clock(registry, keep, today))
        self.attempted(
            "expire", lambda: expire(registry, plan_expiry(registry, SYSTEM, keep), actor=LEAD)
        )

    @rule(place=st.sampled_from(PLACES))
    def hold(self, place: str) -> None:
        """Stop promotions to a place."""
        registry = self.world.registry
        self.attempted("hold", lambda: hold(registry, SYSTEM, place, reason="look", actor=ON_CALL))

    @rule(place=st.sampled_from(PLACES))
    def lift_hold(self, place: str) -> None:
        """Allow promotions to a place again."""
        registry = self.world.registry
        self.attempted(
            "lift hold", lambda: lift_hold(registry, SYSTEM, place, reason="ok", actor=LEAD)
        )

    @rule(which=st.integers(0, 5))
    def lift_quarantine(self, which: int) -> None:
        """Allow a definition again."""
        registry, version = self.world.registry, self.some(which)
        self.attempted(
            "lift quarantine",
            lambda: lift_quarantine(registry, version, reason="wrong call", actor=LEAD),
        )

    @rule(hours=st.integers(-48, 240))
    def clock_jumps(self, hours: int) -> None:
        """Set the clock forward or back: a rollback does not care."""
        self.world.clock.move(hours=hours)

    @rule(place=st.sampled_from(PLACES), hurt=st.booleans(), forgive=st.sampled_from([0, 1, 1, 2]))
    def bad_night(self, place: str, hurt: bool, forgive: int) -> None:
        """Ship, be paged, go back; perhaps the target is damaged, perhaps it was a wrong call."""
        registry = self.world.registry
        self.ship(above=0, places=PLACES)
        expected = default_target(Rows(self.world.root), place, self._damaged_definitions())
        if hurt and expected is not None:
            self._damage(registry.versions.get(expected))
        left = registry.versions.get(self.world.live(place) or "")
        self.roll_back(place)
        if forgive and left is not None:
            self.attempted(
                "lift quarantine",
                lambda: lift_quarantine(registry, left, reason="wrong call", actor=LEAD),
            )
        if forgive:
            self.lift_hold(place)
        if forgive == 2:
            self.restore()

    # What goes wrong.

    @rule(which=st.integers(0, 5))
    def damage(self, which: int) -> None:
        """Change the bytes of a version's own file behind the registry's back."""
        self._damage(self.some(which))

    def _damage(self, version: Version | None) -> None:
        digest = self._own_file(version) if version else None
        if digest is not None and digest not in self.damaged:
            self.damaged[digest] = self.world.registry.objects.read(digest)
            set_bytes(self.world.root, digest, b"\x00")

    @precondition(lambda self: self.damaged)
    @rule()
    def restore(self) -> None:
        """Bring back all bytes from a backup."""
        for digest, data in self.damaged.items():
            set_bytes(self.world.root, digest, data)
        self.damaged.clear()

    @rule(
        which=st.integers(0, 5), place=st.sampled_from(PLACES), way=st.sampled_from(["on", "back"])
    )
    def die(self, which: int, place: str, way: str) -> None:
        """Die after the generation was taken: nobody ever cleans up after this process."""
        registry, version = self.world.registry, self.some(which)
        if way == "back":
            acted = self.attempted("die back", lambda: self._first_step_back(place))
        else:
            acted = self.attempted("die on", lambda: self._first_step_on(version, place))
        if acted:
            newest = registry.releases.newest(SYSTEM, place)
            assert newest is not None
            assert newest.is_open

    def _first_step_back(self, place: str) -> bool:
        way_back = find_way_back(self.world.registry, SYSTEM, place)
        steps = roll_back(self.world.registry, way_back, actor=ON_CALL, target=self.target(place))
        self.dead.append(steps)  # kept, so that nothing of it is ever finished
        next(steps)
        return True

    def _first_step_on(self, version: Version, place: str) -> bool:
        decision = self._decided(version, place)
        if not decision.promotable:
            return self._first_step_back(place)

        def die(event: Any) -> None:
            raise Died

        with contextlib.suppress(Died):
            self.world.promote(version, place, decision, target=self.target(place), tell=die)
            return False
        return True

    @rule(place=st.sampled_from(PLACES), twice=st.booleans())
    def settle(self, place: str, twice: bool) -> None:
        """Find out what became of an attempt; nothing stays open, and a second time says nothing."""
        registry = self.world.registry
        for _ in range(1 + twice):
            self.attempted(
                "settle",
                lambda: list(settle(registry, SYSTEM, place, self.target(place), actor=ON_CALL)),
            )
        newest = registry.releases.newest(SYSTEM, place)
        assert newest is None or not newest.is_open

    # What is true all the time.

    def _own_file(self, version: Version) -> str:
        files = self.world.registry.versions.definition(version.definition).files()
        return files["prompts/system.md"]

    def _damaged_definitions(self) -> set[str]:
        return {
            version.definition
            for version in self.versions
            if self._own_file(version) in self.damaged
        }

    @invariant()
    def what_releases_hold_is_there(self) -> None:
        """Whatever was cleaned up, every release has all of its bytes, but for what we damaged."""
        for version in getattr(self, "versions", ()):
            files = self.world.registry.versions.definition(version.definition).files()
            for digest in set(files.values()) - self.damaged.keys():
                assert self.world.registry.objects.has(digest)

    @invariant()
    def what_is_published_is_what_is_live(self) -> None:
        """A server gets the live version, also while an attempt is open: old or new, never none."""
        if not hasattr(self, "world"):
            return
        for place in PLACES:
            live = self.world.registry.releases.live(SYSTEM, place)
            if live is None:
                continue
            found = lockgate.resolve(
                SYSTEM,
                place,
                root=self.world.root / "published" / place,
                state=self.folder / f"{place}.json",
            )
            assert found.stale is None
            assert (found.version, found.generation) == (
                live.attempt.version,
                live.attempt.generation,
            )


def set_bytes(root: Path, digest: str, data: bytes) -> None:
    """Write an object's stored bytes, and leave the schema as it was."""
    connection = sqlite3.connect(root / ".lockgate" / "registry.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    (rule_text,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = 'content_never_updated'"
    ).fetchone()
    connection.execute('DROP TRIGGER "content_never_updated"')
    connection.execute("UPDATE content SET bytes = ? WHERE digest = ?", (data, digest))
    connection.execute(rule_text)
    connection.execute("COMMIT")
    connection.close()


# The model: where a rollback goes, told by the rows alone.


def _settled_live(rows: Rows, place: str) -> list[Row]:
    """Return the attempts of a place that became live, oldest first."""
    live = {row["generation"] for row in rows.settlement if _is(row, place) and _is_live(row)}
    found = [row for row in rows.attempt if _is(row, place) and row["generation"] in live]
    return sorted(found, key=lambda row: row["generation"])


def _is(row: Row, place: str) -> bool:
    return (row["system"], row["environment"]) == (SYSTEM, place)


def _is_live(row: Row) -> bool:
    return bool(row["outcome"] == "live")


def promoted_live(rows: Rows, place: str) -> list[Row]:
    """Return the promotions by a passing gate that became live, oldest first."""
    return [row for row in _settled_live(rows, place) if row["kind"] == "promote"]


def quarantined(rows: Rows) -> set[str]:
    """Return the definitions under a quarantine that nobody lifted."""
    lifted = {row["lifts"] for row in rows.lift}
    return {row["definition"] for row in rows.quarantine if row["seq"] not in lifted}


def was_left(rows: Rows, place: str) -> set[str]:
    """Return the definitions that a rollback ever left there."""
    history = _settled_live(rows, place)
    definition = {row["id"]: row["definition"] for row in rows.version}
    return {
        definition[before["version"]]
        for before, after in zip(history, history[1:], strict=False)
        if after["kind"] == "rollback"
    }


def default_target(rows: Rows, place: str, damaged: set[str]) -> str | None:
    """Return the version that a rollback goes to by itself; `None` when it has to refuse."""
    history = _settled_live(rows, place)
    if not history:
        return None
    live = history[-1]
    lifted = {row["lifts"] for row in rows.lift}
    is_held = any(_is(row, place) and row["seq"] not in lifted for row in rows.hold)
    if live["kind"] == "rollback" and is_held:
        return None
    definition = {row["id"]: row["definition"] for row in rows.version}
    barred = quarantined(rows) | damaged | {definition[live["version"]]} | was_left(rows, place)
    for row in reversed(promoted_live(rows, place)):
        if row["generation"] >= live["generation"]:
            continue
        if definition[row["version"]] not in barred:
            return str(row["version"])
    return None


@pytest.mark.slow
def test_no_night_leads_back_to_what_was_left() -> None:
    """Hundreds of nights, deaths and damage included, and the way back is right each time."""
    Nights.reached.clear()
    run_state_machine_as_test(
        Nights,
        settings=settings(
            max_examples=40,
            stateful_step_count=16,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    went_well = ("roll back staging", "roll back production", "rehearse", "break glass", "settle")
    for step in (*went_well, "die on", "die back", "hold", "lift hold", "expire"):
        assert Nights.reached[step] > 0, Nights.reached
    refused = ("roll back staging", "roll back production", "rehearse", "promote staging", "close")
    for step in refused:
        assert Nights.reached[f"{step} refused"] > 0, Nights.reached
