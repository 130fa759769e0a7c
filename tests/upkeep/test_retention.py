"""Expiring: what goes of old experiments and rehearsals, what stays, and what still works then."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from builders import append
from lockgate.domain.release import Attempt
from lockgate.domain.version import Version
from lockgate.errors import Refused, UsageMistake
from lockgate.loop.contents import check_contents, expiry_of
from lockgate.loop.register import register_from
from lockgate.storage.objects import LARGE_BYTES
from lockgate.upkeep import retention
from lockgate.upkeep.retention import check_clock, expire, plan, sweep, told
from loop.world import DEV, LEAD, PRODUCTION, STAGING, SYSTEM, World

KEEP = timedelta(days=14)


def trial(
    world: World, prompt: str, *, right: int = 12, evaluated: bool = True, **how: Any
) -> Version:
    """Register an experiment with a prompt of its own, and evaluate it."""
    world.write(right, prompt=prompt)
    version = world.register(track="experiment", **how)
    if evaluated:
        world.evaluate(version)
    return version


def lines(world: World, named: list[Version] | None = None) -> list[str]:
    """Return what would become of every experiment and rehearsal."""
    found = plan(world.registry, SYSTEM, KEEP, named=named)
    return [told(verdict, is_done=False) for verdict in found.verdicts]


def expired(world: World, named: list[Version] | None = None, **how: Any) -> list[str]:
    """Expire, and return what was told."""
    looked_at = plan(world.registry, SYSTEM, KEEP, named=named)
    done = expire(world.registry, looked_at, actor=LEAD, **how)
    return [told(verdict, is_done=True) for verdict in done.verdicts]


def here(world: World, version: Version) -> dict[str, bool]:
    """Return which of a version's files are in the registry."""
    files = world.registry.versions.definition(version.definition).files()
    return {path: world.registry.objects.size(digest) is not None for path, digest in files.items()}


@pytest.fixture
def base(world: World) -> Version:
    """A release that is live in staging; its folder is what experiments begin from."""
    world.apply_policy(STAGING)
    world.apply_suite()
    return world.make_live(16)


def test_contents_go_when_they_are_old_enough(world: World, base: Version) -> None:
    """Not a second before; what a release has stays, and so do digests, scores and records."""
    tried = trial(world, "Try this.\n")
    world.clock.move(days=14, seconds=-1)
    assert lines(world) == ["x1 kept: until Fri 2026-09-04 09:00 UTC"]
    world.clock.move(seconds=1)
    assert expired(world) == [
        "x1 expired: 1 file, last used Fri 2026-08-21 09:00 UTC; 1 file stays: v1 has it"
    ]
    assert here(world, tried) == {"answer.py": True, "prompts/system.md": False}
    assert here(world, base) == {"answer.py": True, "prompts/system.md": True}
    assert world.registry.versions.get(tried.id) == tried
    (run,) = world.registry.runs.of_version(tried.id)
    assert run.end is not None and run.end.summary[0].value == 0.6
    assert not list(world.registry.upkeep.verify_ledger())[-1].breaks


def test_what_expired_is_told_only_when_it_is_named(world: World, base: Version) -> None:
    """The next round has nothing to say about it; whoever names it hears since when."""
    tried = trial(world, "Try this.\n")
    world.clock.move(days=15)
    expired(world)
    assert lines(world) == []
    assert lines(world, [tried]) == ["x1 kept: expired Sat 2026-09-05 09:00 UTC by ml-lead already"]


def test_age_counts_from_the_last_run(world: World, base: Version) -> None:
    """An experiment that somebody still evaluates is in use."""
    tried = trial(world, "Try this.\n")
    world.clock.move(days=10)
    world.evaluate(tried)
    world.clock.move(days=10)
    assert lines(world) == ["x1 kept: until Mon 2026-09-14 09:00 UTC"]


def test_answers_go_unless_another_run_has_the_same(world: World, base: Version) -> None:
    """Outputs are contents too; one that a release gave as well stays for the release."""
    world.answers = lambda question, settings: f"only here {question.input['n']}"
    tried = trial(world, "Try this.\n")
    world.clock.move(days=15)
    assert expired(world) == [
        "x1 expired: 1 file and 20 answers, last used Fri 2026-08-21 09:00 UTC; "
        "1 file stays: v1 has it"
    ]
    (run,) = world.registry.runs.of_version(tried.id)
    assert {answer.output for answer in world.registry.runs.answers(run.run.id)} == {"(expired)"}
    (run,) = world.registry.runs.of_version(base.id)
    assert {answer.output for answer in world.registry.runs.answers(run.run.id)} == {
        "billing",
        "other",
    }


class TestKept:
    """What keeps the contents of an experiment, however old."""

    def test_a_release_that_descends_from_it(self, world: World, base: Version) -> None:
        """Also over other experiments in between."""
        first = trial(world, "First.\n")
        second = trial(world, "Second.\n", parent=first)
        winner = register_from(world.registry, second, reason="it won", actor=DEV).version
        world.clock.move(days=100)
        assert winner.label == "v2"
        assert lines(world) == ["x1 kept: v2 descends from it", "x2 kept: v2 descends from it"]
        assert lines(world, [first]) == ["x1 kept: v2 descends from it"]

    def test_an_open_run(self, world: World, base: Version) -> None:
        """Whoever resumes the run needs the files."""
        tried = trial(world, "Try this.\n", evaluated=False)
        walk = world.evaluating(tried)
        next(walk)
        walk.close()
        world.clock.move(days=100)
        assert lines(world) == ["x1 kept: a run is open"]

    def test_a_release_with_the_same_files(self, world: World, base: Version) -> None:
        """An experiment that differs in settings alone has nothing of its own."""
        world.write(12)
        world.register(track="experiment")
        world.clock.move(days=100)
        assert lines(world) == ["x1 kept: shares 2 files with v1"]

    def test_a_younger_experiment_keeps_what_it_shares(self, world: World, base: Version) -> None:
        """And when that is too old as well, the last of it goes."""
        old = trial(world, "Shared.\n")
        world.clock.move(days=10)
        young = trial(world, "Shared.\n", right=13, parent=old)
        world.clock.move(days=10)
        assert lines(world) == [
            "x1 kept: shares 1 file with v1 and shares 1 file with x2",
            "x2 kept: until Mon 2026-09-14 09:00 UTC",
        ]
        world.clock.move(days=10)
        expired(world)
        assert here(world, old) == here(world, young)
        assert here(world, young) == {"answer.py": True, "prompts/system.md": False}

    def test_what_expired_before_keeps_nothing(self, world: World, base: Version) -> None:
        """What a younger one kept goes with the younger one, whoever else had it once."""
        extra = world.folder / "prompts" / "extra.md"
        extra.write_text("Its own.\n")
        old = trial(world, "Shared.\n")
        extra.unlink()
        world.clock.move(days=10)
        young = trial(world, "Shared.\n", right=13, parent=old)
        world.clock.move(days=5)
        assert expired(world) == [
            "x1 expired: 1 file, last used Fri 2026-08-21 09:00 UTC; 1 file stays: v1 has it; "
            "1 file stays: x2 has it"
        ]
        expired(world, [young], reason="enough")
        assert not here(world, young)["prompts/system.md"]
        assert not any(here(world, old)[path] for path in ("prompts/system.md", "prompts/extra.md"))

    def test_a_release_is_refused_by_name(self, world: World, base: Version) -> None:
        """Nothing expires a release, whatever reason is given."""
        with pytest.raises(Refused) as caught:
            plan(world.registry, SYSTEM, KEEP, named=[base])
        assert caught.value.what == "`v1` is a release: its contents never expire"
        assert "--track experiment" in caught.value.hint

    def test_what_is_live(self, world: World, base: Version) -> None:
        """A rehearsal that nobody took back is live, and an attempt with one may become it."""
        flags = 'stakes = "low"\nrehearsal = true\nprotects = "production"'
        text = PRODUCTION.replace('stakes = "low"', flags, 1)
        (world.root / "signers").write_text((world.keys / "signers").read_text())
        world.apply_policy(text)
        world.write(3, prompt="Worse.\n")
        worse = world.register(track="rehearsal")
        live = world.registry.releases.live(SYSTEM, "staging")
        assert live is not None
        generation = live.attempt.generation + 1
        append(
            world.registry,
            Attempt(
                SYSTEM, "staging", generation, "rehearsal", worse.id, None, None, None, None, LEAD
            ),
        )
        world.clock.move(days=100)
        assert lines(world) == [f"r1 kept: generation {generation} of staging is open with it"]
        from builders import settle

        attempt = world.registry.releases.newest(SYSTEM, "staging")
        assert attempt is not None
        settle(world.registry, attempt.attempt)
        assert lines(world) == ["r1 kept: live in staging"]


class TestNamed:
    """What somebody names goes at once, for a reason."""

    def test_at_any_age(self, world: World, base: Version) -> None:
        """Only what was named goes, and its reason is recorded with each object."""
        tried = trial(world, "Try this.\n")
        other = trial(world, "Or this.\n")
        assert expired(world, [tried], reason="it held a customer's name") == [
            "x1 expired: 1 file, last used Fri 2026-08-21 09:00 UTC; 1 file stays: v1 has it"
        ]
        assert not here(world, tried)["prompts/system.md"]
        assert here(world, other)["prompts/system.md"]
        removal = expiry_of(world.registry, tried)
        assert removal is not None
        assert (removal.kind, removal.actor) == ("expire", LEAD)
        assert removal.reason == (
            "contents of x1 of support-desk expired: it held a customer's name"
        )

    def test_what_an_old_one_shares_with_it_stays(self, world: World, base: Version) -> None:
        """Another experiment that was not named loses nothing, old as it may be."""
        old = trial(world, "Shared.\n")
        world.clock.move(days=100)
        named = trial(world, "Shared.\n", right=13, parent=old)
        assert lines(world, [named]) == ["x2 kept: shares 1 file with v1 and shares 1 file with x1"]


class TestAfterwards:
    """What still works, and what says why it does not."""

    @pytest.fixture
    def gone(self, world: World, base: Version) -> Version:
        tried = trial(world, "Try this.\n")
        expired(world, [tried], reason="enough")
        return tried

    def test_it_cannot_be_used(self, world: World, gone: Version) -> None:
        """Evaluating it, or making it a release, says when and by whom its contents went."""
        for use in (
            lambda: check_contents(world.registry, gone),
            lambda: world.evaluate(gone),
            lambda: register_from(world.registry, gone, reason="late", actor=DEV),
        ):
            with pytest.raises(Refused) as caught:
                use()
            assert caught.value.what == (
                "contents of `x1` expired on Fri 2026-08-21 09:00 UTC by ml-lead; its records, "
                "scores and digests are kept"
            )
            assert "`lockgate show x1 -s support-desk`" in caught.value.hint

    def test_the_same_bytes_bring_it_back(self, world: World, gone: Version, base: Version) -> None:
        """Registering the folder again returns the same version, with its contents."""
        done = world.register_as(track="experiment", parent=base)
        assert (done.version, done.is_new) == (gone, False)
        assert all(here(world, gone).values())
        assert expiry_of(world.registry, gone) is None
        world.evaluate(gone)

    def test_the_same_bytes_under_another_version(self, world: World, gone: Version) -> None:
        """A new version with the same file has it."""
        world.write(14, prompt="Try this.\n")
        again = world.register(track="experiment", parent=gone)
        assert all(here(world, again).values())

    def test_it_expires_again(self, world: World, gone: Version, base: Version) -> None:
        """What came back goes once more, with a record of its own."""
        world.register_as(track="experiment", parent=base)
        world.clock.move(days=15)
        assert len(expired(world)) == 1
        removal = expiry_of(world.registry, gone)
        assert removal is not None and "last used" in removal.reason


class TestLarge:
    """Large objects are files of their own, which go after the records."""

    @pytest.fixture
    def large(self, world: World, base: Version) -> Version:
        return trial(world, "x" * LARGE_BYTES)

    def stored(self, world: World, version: Version) -> Any:
        digest = world.registry.versions.definition(version.definition).files()["prompts/system.md"]
        return world.root / ".lockgate" / "objects" / digest[:2] / digest

    def test_its_file_goes(self, world: World, large: Version) -> None:
        """Nothing of it is left on the disk."""
        assert self.stored(world, large).exists()
        expired(world, [large])
        assert not self.stored(world, large).exists()

    def test_what_was_cut_off_is_swept_the_next_time(
        self, world: World, large: Version, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the records and the file the process may die; the next one goes on."""
        with monkeypatch.context() as patch:
            patch.setattr(retention, "sweep", lambda registry: 0)
            expired(world, [large])
        assert self.stored(world, large).exists()
        assert sweep(world.registry) == 1
        assert not self.stored(world, large).exists()
        assert sweep(world.registry) == 0

    def test_what_came_back_is_not_swept(
        self, world: World, large: Version, base: Version, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bytes that somebody registered meanwhile are theirs."""
        with monkeypatch.context() as patch:
            patch.setattr(retention, "sweep", lambda registry: 0)
            expired(world, [large])
        world.register_as(track="experiment", parent=base)
        assert sweep(world.registry) == 0
        assert self.stored(world, large).exists()


def test_all_of_it_goes_or_nothing(
    world: World, base: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is stopped half-way has removed nothing."""
    world.answers = lambda question, settings: f"only here {question.input['n']}"
    tried = trial(world, "Try this.\n")
    looked_at = plan(world.registry, SYSTEM, KEEP, named=[tried])
    head = world.registry.ledger.head()
    from lockgate.storage.writer import Writer

    true_removal, count = Writer.remove_content, []

    def stopped(self: Writer, *args: Any) -> None:
        count.append(args)
        if len(count) == 5:
            raise KeyboardInterrupt
        true_removal(self, *args)

    monkeypatch.setattr(Writer, "remove_content", stopped)
    with pytest.raises(KeyboardInterrupt):
        expire(world.registry, looked_at, actor=LEAD)
    assert all(here(world, tried).values())
    assert world.registry.ledger.head() == head


def test_many_go_in_several_transactions(
    world: World, base: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for all of it; versions that share an object go together."""
    first = trial(world, "Shared.\n")
    second = trial(world, "Other.\n", parent=base)
    third = trial(world, "Shared.\n", right=13, parent=base)
    world.clock.move(days=15)
    monkeypatch.setattr(retention, "MOST_AT_ONCE", 1)
    looked_at = plan(world.registry, SYSTEM, KEEP)
    batches = [
        [one.version.label for one in batch] for batch in retention._batches(looked_at.going)
    ]
    assert sorted(map(sorted, batches)) == [["x1", "x3"], ["x2"]]
    done = expire(world.registry, looked_at, actor=LEAD)
    assert [verdict.version.label for verdict in done.going] == ["x1", "x2", "x3"]
    assert not any(here(world, one)["prompts/system.md"] for one in (first, second, third))


def test_what_changed_since_somebody_looked_is_looked_at_again(world: World, base: Version) -> None:
    """A winner that was registered meanwhile keeps its experiment; what got old meanwhile stays."""
    first = trial(world, "First.\n")
    second = trial(world, "Second.\n", parent=base)
    world.clock.move(days=15)
    late = trial(world, "Third.\n", parent=base)
    looked_at = plan(world.registry, SYSTEM, KEEP)
    assert [verdict.version.label for verdict in looked_at.going] == ["x1", "x2"]
    register_from(world.registry, first, reason="it won", actor=DEV)
    world.clock.move(days=15)
    done = expire(world.registry, looked_at, actor=LEAD)
    assert [told(verdict, is_done=True).partition(":")[0] for verdict in done.verdicts] == [
        "x1 kept",
        "x2 expired",
    ]
    assert all(here(world, first).values())
    assert not here(world, second)["prompts/system.md"]
    assert all(here(world, late).values())


class TestClock:
    """Nothing goes by age while nobody knows what day it is."""

    def test_within_what_is_kept_it_is_believed(self, world: World) -> None:
        """A registry that was used lately knows the day."""
        world.clock.move(days=14)
        check_clock(world.registry, KEEP, None)

    def test_a_jump_ahead(self, world: World) -> None:
        """Beyond that it is not, unless somebody says the day."""
        world.clock.move(days=14, seconds=1)
        with pytest.raises(Refused) as caught:
            check_clock(world.registry, KEEP, None)
        assert caught.value.what == (
            "the clock says Fri 2026-09-04 09:00 UTC, 14 days after the newest record of Fri "
            "2026-08-21 09:00 UTC; by a clock that jumped, everything would be too old, and "
            "nothing was removed"
        )
        assert caught.value.hint == "if it really is that day: `lockgate expire --today 2026-09-04`"
        check_clock(world.registry, KEEP, date(2026, 9, 4))

    def test_a_jump_back(self, world: World) -> None:
        """A clock before the newest record is wrong, too."""
        world.clock.move(days=-1)
        with pytest.raises(Refused, match="before the newest record"):
            check_clock(world.registry, KEEP, None)

    def test_another_day_than_the_clocks(self, world: World) -> None:
        """Saying a day does not make it so."""
        with pytest.raises(UsageMistake) as caught:
            check_clock(world.registry, KEEP, date(2026, 8, 22))
        assert caught.value.what == "the clock says 2026-08-21, not 2026-08-22; nothing was removed"
