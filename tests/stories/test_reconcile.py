"""What was done without the registry is taken into it, once, whole, and as what it is."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.desks import Desk, Said
from lockgate.deploy.receipts import read_receipt, write_receipt
from lockgate.domain.offline import OfflineNote
from lockgate.domain.release import Attempt, Quarantine
from lockgate.errors import Busy, Refused
from lockgate.loop.deployment import carry_out
from lockgate.upkeep.hold import lift_hold, lift_quarantine
from lockgate.upkeep.offline import find_offline, roll_back_offline
from lockgate.upkeep.reconcile import reconcile
from lockgate.upkeep.rollback import find_way_back, roll_back
from loop.invariants import all_problems
from loop.world import SYSTEM
from stories.published import ENVIRONMENT, HOOKED, ON_CALL, PUBLISHED, Published

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)

NOW = datetime(2026, 8, 21, 3, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def hooked_root(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """With a hook; not to be changed."""
    root = tmp_path_factory.mktemp("hooked") / "registry"
    Published.make(root, keys, policy=HOOKED)
    return root


@pytest.fixture(scope="module")
def plain_root(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Path:
    """Without a hook; not to be changed."""
    root = tmp_path_factory.mktemp("plain") / "registry"
    Published.make(root, keys, policy=PUBLISHED)
    return root


@pytest.fixture
def hooked(hooked_root: Path, tmp_path: Path, keys: Path) -> Iterator[Published]:
    """v3 is live in staging, by a hook; v2 is the way back."""
    made = Published.copied(hooked_root, tmp_path / "registry", keys)
    yield made
    made.world.registry.close()


@pytest.fixture
def plain(plain_root: Path, tmp_path: Path, keys: Path) -> Iterator[Published]:
    """v3 is live in staging; v2 is the way back."""
    made = Published.copied(plain_root, tmp_path / "registry", keys)
    yield made
    made.world.registry.close()
    assert all_problems(made.root) == []


@pytest.fixture
def type_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Said]:
    """Return what types a command in a registry's folder."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("COLUMNS", "100")

    def command(at: Published, *words: str, **how: Any) -> Said:
        return Desk(at.root, capsys, monkeypatch)(*words, actor="lead", **how)

    return command


def go_offline(at: Published, until: str | None = None, **how: Any) -> int:
    """Go back without the registry, to the end or until something happened; return the generation."""
    place = at.target
    found = find_offline(place, SYSTEM, ENVIRONMENT)
    events = roll_back_offline(
        place, found, **({"actor": ON_CALL, "now": NOW, "reason": "answers got worse"} | how)
    )
    generation = 0
    for event in events:
        generation = event.generation
        if event.kind == until:
            break
    events.close()  # type: ignore[attr-defined]
    return generation


def attempts(at: Published, *generations: int) -> list[Attempt]:
    found = [at.world.registry.releases.deployment(SYSTEM, ENVIRONMENT, n) for n in generations]
    return [one.attempt for one in found if one is not None]


class TestARollbackThatIsPublished:
    """Attempt, settlement, quarantine and hold come in one transaction."""

    def test_is_recorded_as_it_was_made(self, plain: Published) -> None:
        """Under its own generation, with who, why and when as claimed."""
        assert go_offline(plain, incident="INC-7") == 4
        before = (plain.place / "receipt.json").read_bytes()
        found = plain.settle()
        assert (found.generation, found.label, found.outcome) == (4, "v2", "recorded")
        assert found.words == "made without the registry by on-call, as claimed"
        assert plain.live() == (4, "v2", "rollback")
        assert plain.stops() == (["v3"], 1)
        (attempt,) = attempts(plain, 4)
        assert (attempt.actor, attempt.ticket) == ("lead", "INC-7")
        assert attempt.reason == (
            "made offline, as on-call claims at Fri 2026-08-21 03:10 UTC: answers got worse"
        )
        assert (plain.place / "receipt.json").read_bytes() == before
        assert plain.notes() == []

    def test_with_more_words_than_are_kept(self, plain: Published) -> None:
        """Who did it is known all the same."""
        go_offline(plain, reason="x" * 10_000)
        plain.settle()
        (attempt,) = attempts(plain, 4)
        assert attempt.reason is not None
        assert attempt.reason.startswith("made offline, as on-call claims at ")
        assert attempt.reason.endswith("x" * 2000)

    def test_is_recorded_once(self, plain: Published) -> None:
        """A second `settle` finds nothing to do."""
        go_offline(plain)
        plain.settle()
        head = plain.world.head()
        assert plain.settle().outcome == "nothing"
        assert plain.world.head() == head

    def test_whose_note_was_left_is_recorded_once(self, plain: Published) -> None:
        """Cut off between the commit and the note, nothing is recorded twice."""
        go_offline(plain)
        note = (plain.place / "offline-4.json").read_bytes()
        plain.settle()
        (plain.place / "offline-4.json").write_bytes(note)
        assert plain.settle().outcome == "nothing"
        assert plain.history()[-1] == (4, "rollback", "live")
        assert plain.notes() == []

    @pytest.mark.parametrize("text", [None, "{}", '{"format": 1, "actor": "\\u001b[31m"}', "["])
    def test_without_a_note_that_counts(self, plain: Published, text: str | None) -> None:
        """The signed receipt is enough; who did it is not known."""
        go_offline(plain)
        note = plain.place / "offline-4.json"
        note.unlink()
        if text is not None:
            note.write_text(text)
        assert plain.settle().outcome == "recorded"
        (attempt,) = attempts(plain, 4)
        assert attempt.actor == "lead"
        assert attempt.reason == "made offline; nobody noted who did it"

    def test_over_a_promotion_that_was_open(self, hooked: Published) -> None:
        """The attempt of the promotion is abandoned, and says by what."""
        version = hooked.ready()
        leave_open(hooked, version, "hook", "sleep 60\n")
        assert go_offline(hooked) == 5
        assert hooked.settle().outcome == "recorded"
        assert hooked.history()[-2:] == [(4, "promote", "abandoned"), (5, "rollback", "live")]
        assert hooked.target.hook_status(SYSTEM, 4).state == "ended"
        assert hooked.stops() == (["v3"], 1)

    def test_after_ones_that_failed(self, hooked: Published) -> None:
        """Each generation that was taken is there: what failed as failed, with its reason."""
        hooked.write_hook("#!/bin/sh\nexit 3\n")
        with pytest.raises(Exception, match="exit code 3"):
            go_offline(hooked)
        hooked.write_hook("#!/bin/sh\nexit 0\n")
        assert go_offline(hooked, actor="second") == 5
        assert hooked.settle().outcome == "recorded"
        assert hooked.history()[-2:] == [(4, "rollback", "failed"), (5, "rollback", "live")]
        first, second = attempts(hooked, 4, 5)
        assert (first.actor, second.actor) == ("lead", "lead")
        assert [(one.reason or "")[:31] for one in (first, second)] == [
            "made offline, as on-call claims",
            "made offline, as second claims ",
        ]
        assert hooked.notes() == []

    def test_far_above_what_is_known(self, plain: Published) -> None:
        """The generations in between are recorded as taken; beyond a thousand it is refused."""
        hooks = plain.root / ".lockgate" / "hooks"
        hooks.mkdir(exist_ok=True)
        trace = hooks / f"{SYSTEM}.staging.00000007.lock"
        trace.touch()
        assert go_offline(plain) == 8
        plain.settle()
        assert [row[0] for row in plain.history()] == [*range(1, 9)]
        assert plain.history()[3:] == [
            *((n, "rollback", "abandoned") for n in range(4, 8)),
            (8, "rollback", "live"),
        ]

    def test_too_far_above_what_is_known(self, plain: Published) -> None:
        """More generations than anybody took are not recorded, and nothing is."""
        hooks = plain.root / ".lockgate" / "hooks"
        hooks.mkdir(exist_ok=True)
        (hooks / f"{SYSTEM}.staging.00002000.lock").touch()
        assert go_offline(plain) == 2001
        with pytest.raises(Refused, match="lies 1998 above generation 3") as caught:
            plain.settle()
        assert "restore a newer backup" in caught.value.hint
        assert plain.live() == (3, "v3", "promote")

    def test_can_be_followed_by_a_promotion(self, plain: Published) -> None:
        """Once what is wrong is lifted, the next version goes live on top."""
        go_offline(plain)
        plain.settle()
        lift_hold(plain.world.registry, SYSTEM, ENVIRONMENT, reason="mended", actor="lead")
        version = plain.world.evaluated(17, parent=plain.version("v2"))
        plain.promote(version)
        assert plain.live() == (5, "v4", "promote")
        way_back = plain.target.way_back(SYSTEM)
        assert way_back is not None
        assert (way_back.label, way_back.generation) == ("v2", 4)


class TestTheSameNumber:
    """The registry took a generation that left no trace, and so did somebody without it."""

    def test_while_it_was_open(self, plain: Published) -> None:
        """The registry's attempt is abandoned; what is published gets a generation above."""
        version = plain.ready()
        leave_open(plain, version, "taken")
        assert go_offline(plain) == 4
        assert plain.settle().outcome == "recorded"
        assert plain.history()[-2:] == [(4, "promote", "abandoned"), (5, "rollback", "live")]
        assert plain.live() == (5, "v2", "rollback")
        receipt = plain.current()
        assert (receipt.generation, receipt.label) == (5, "v2")
        assert plain.settle().outcome == "nothing"

    def test_for_the_same_version(self, plain: Published) -> None:
        """A rollback was cut off, and the same one made without the registry: it is that one."""
        registry = plain.world.registry
        events = roll_back(
            registry,
            find_way_back(registry, SYSTEM, ENVIRONMENT),
            actor="first",
            target=plain.target,
        )
        assert next(events).kind == "taken"
        events.close()  # type: ignore[attr-defined]
        assert go_offline(plain, incident="INC-9") == 4
        found = plain.settle()
        assert (found.outcome, found.words) == (
            "recorded",
            "made without the registry by on-call, as claimed",
        )
        assert plain.history()[-1] == (4, "rollback", "live")
        assert plain.stops() == (["v3"], 1)
        words = (
            "made offline, as on-call claims at Fri 2026-08-21 03:10 UTC: answers got worse "
            "(incident INC-9)"
        )
        (noted,) = registry.upkeep.notes(SYSTEM, ENVIRONMENT, 4)
        assert (noted.text, noted.actor) == (words, "lead")
        assert plain.notes() == []
        assert plain.settle().outcome == "nothing"

    def test_for_the_same_version_and_it_was_settled(self, plain: Published) -> None:
        """Cut off between the settlement and the receipt: what the note says stays beside it."""
        registry = plain.world.registry
        events = roll_back(
            registry,
            find_way_back(registry, SYSTEM, ENVIRONMENT),
            actor="first",
            target=plain.target,
        )
        assert any(event.kind == "settled" for event in events)
        events.close()  # type: ignore[attr-defined]
        note = OfflineNote(
            *(SYSTEM, ENVIRONMENT, 4, plain.version("v2").id, ON_CALL, "worse", "INC-9", NOW)
        )
        plain.target.write_offline_note(note)
        assert plain.settle().outcome == "published"
        (noted,) = registry.upkeep.notes(SYSTEM, ENVIRONMENT, 4)
        assert noted.text == f"{note.words()} (incident INC-9)"
        assert plain.notes() == []

    def test_and_it_was_settled_live(self, plain: Published) -> None:
        """What is really published wins: v4 was never seen by anybody, and is left like v3."""
        version = plain.ready()
        events = begin(plain, version)
        assert next(events).kind == "taken"
        assert go_offline(plain) == 4
        with pytest.raises(Refused, match="is published already, with other content"):
            deque(events, maxlen=0)
        assert plain.live() == (4, "v4", "promote")
        assert plain.settle().outcome == "recorded"
        assert plain.live() == (5, "v2", "rollback")
        assert plain.stops() == (["v3", "v4"], 1)
        assert plain.current().generation == 5

    def test_cut_off_before_it_is_published_again(self, plain: Published) -> None:
        """It is recorded already: the next `settle` only publishes."""
        version = plain.ready()
        leave_open(plain, version, "taken")
        go_offline(plain)
        reconcile(plain.world.registry, plain.target, SYSTEM, ENVIRONMENT, actor="lead")
        assert plain.current().generation == 4
        assert plain.settle().outcome == "published"
        assert plain.current().generation == 5
        assert plain.history()[-1] == (5, "rollback", "live")


class TestARollbackThatWasCutOff:
    """Begun without the registry and never published."""

    def test_before_anything_was_staged(self, plain: Published) -> None:
        """The generation is recorded as taken; what was live is live."""
        go_offline(plain, until="taken")
        found = plain.settle()
        assert (found.generation, found.outcome) == (4, "abandoned")
        assert plain.history()[-1] == (4, "rollback", "abandoned")
        assert plain.live() == (3, "v3", "promote")
        assert plain.notes() == []
        assert plain.settle().outcome == "nothing"

    def test_while_its_hook_ran(self, hooked: Published) -> None:
        """The hook is followed to its end, and what it deployed is live and published."""
        hooked.write_hook(
            "#!/bin/sh\necho up; while [ ! -e go ]; do sleep 0.05; done\n"
            'echo "$LOCKGATE_GENERATION $LOCKGATE_VERSION" > deployed\n'
        )
        go_offline(hooked, until="hook")
        (hooked.root / "go").touch()
        assert hooked.settle().outcome == "live"
        assert hooked.live() == (4, "v2", "rollback")
        assert hooked.current().generation == 4
        assert hooked.deployed() == (4, "v2")
        assert hooked.stops() == (["v3"], 1)
        assert hooked.notes() == []
        assert hooked.settle().outcome == "nothing"

    def test_while_its_hook_ran_and_it_failed(self, hooked: Published) -> None:
        """What was live is live; what somebody wanted to leave is stopped all the same."""
        hooked.write_hook("#!/bin/sh\necho up; while [ ! -e go ]; do sleep 0.05; done; exit 3\n")
        go_offline(hooked, until="hook")
        (hooked.root / "go").touch()
        assert hooked.settle().outcome == "failed"
        assert hooked.live() == (3, "v3", "promote")
        assert hooked.current().label == "v3"
        assert hooked.target.staged(SYSTEM) is None

    def test_is_still_at_work(self, hooked: Published) -> None:
        """Nobody records it while it is under way."""
        hooked.write_hook("#!/bin/sh\necho up; while [ ! -e go ]; do sleep 0.05; done\n")
        place = hooked.target
        events = roll_back_offline(
            place, find_offline(place, SYSTEM, ENVIRONMENT), actor=ON_CALL, now=NOW
        )
        assert [next(events).kind, next(events).kind] == ["taken", "hook"]
        with pytest.raises(Busy, match="without the registry right now"):
            hooked.settle()
        (hooked.root / "go").touch()
        deque(events, maxlen=0)
        assert hooked.settle().outcome == "recorded"


class TestBeforeItIsRecorded:
    """Nothing is begun over it, and no hook runs."""

    def test_a_promotion_is_refused(self, hooked: Published) -> None:
        """The registry would compare with a version that is no longer live."""
        version = hooked.ready()
        go_offline(hooked)
        deployed = hooked.deployed()
        with pytest.raises(Refused, match="generation 4 of staging was taken without") as caught:
            hooked.promote(version)
        assert caught.value.hint == f"`lockgate settle staging -s {SYSTEM}` records it"
        assert hooked.deployed() == deployed
        assert hooked.history()[-1] == (3, "promote", "live")

    def test_a_promotion_of_what_was_left_is_not_live_already(
        self, plain: Published, type_in: Callable[..., Said]
    ) -> None:
        """What the registry takes for live is not: the promotion is refused, and names settle."""
        go_offline(plain)
        said = type_in(plain, "promote", "v3", "--to", ENVIRONMENT)
        assert said.code == 1
        assert "generation 4 of staging was taken without the registry" in said.err
        assert "`lockgate settle staging -s support-desk`" in said.err

    def test_json_asks_nobody_and_unknown_places_are_told(
        self, plain: Published, type_in: Callable[..., Said]
    ) -> None:
        """A rollback with --json needs --yes; an environment nobody knows is a mistake."""
        said = type_in(plain, "rollback", ENVIRONMENT, "--json")
        assert (said.code, said.json["error"]) == (
            2,
            "with --json nobody is asked; nothing was changed",
        )
        for words in (("rollback", "nowhere", "--yes"), ("settle", "nowhere")):
            said = type_in(plain, *words)
            assert said.code == 2
            assert "no environment `nowhere` in the policy" in said.err

    def test_a_promotion_is_refused_over_one_that_was_cut_off(self, plain: Published) -> None:
        """A note alone says that a generation was taken."""
        version = plain.ready()
        go_offline(plain, until="taken")
        with pytest.raises(Refused, match="generation 4 of staging was taken without"):
            plain.promote(version)

    def test_a_rollback_records_it_first(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """And then says that staging was rolled back already, as it was."""
        go_offline(plain)
        said = type_in(plain, "rollback", "staging", "--yes")
        assert said.code == 1
        assert "recorded generation 4, made without the registry by on-call, as claimed" in said.err
        assert "staging was rolled back already and is held" in said.err
        assert said.command == f"lockgate rollback staging -s {SYSTEM} --to v1"
        done = type_in(plain, *said.command.split()[1:], "--yes")
        assert done.code == 0, done
        assert plain.live() == (5, "v1", "rollback")

    def test_status_and_settle_on_the_command_line(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """`status` says what is not recorded, `settle` what it recorded, in words and as JSON."""
        go_offline(plain)
        told = (
            "generation 4 of staging was taken without the registry and is not recorded: "
            f"`lockgate settle staging -s {SYSTEM}`\n"
        )
        assert told in type_in(plain, "status").err
        said = type_in(plain, "settle", "staging")
        assert told not in type_in(plain, "status").err
        assert said.out == (
            "✔ staging generation 4 (v2): recorded, made without the registry by on-call, "
            "as claimed\n"
        )
        assert type_in(plain, "settle", "staging", "--json").json["outcome"] == "nothing"


class TestWhatCannotBeRecorded:
    """It is said why, and a rollback goes over it all the same."""

    def test_a_version_that_is_quarantined_by_now(self, plain: Published, type_in) -> None:  # type: ignore[no-untyped-def]
        """Somebody quarantined v2 elsewhere, and it was gone back to without knowing."""
        go_offline(plain)
        v2 = plain.version("v2")
        with plain.world.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", "lead"))
        with pytest.raises(Refused, match="is quarantined: it leaks") as caught:
            plain.settle()
        assert f"`lockgate rollback staging -s {SYSTEM}`" in caught.value.hint
        said = type_in(plain, "rollback", "staging", "--yes")
        assert said.code == 0, said
        assert "not recorded: v2, which is live in staging as generation 4" in said.err
        assert plain.live() == (5, "v1", "rollback")
        assert plain.current().generation == 5
        assert plain.history()[-2:] == [(4, "rollback", "abandoned"), (5, "rollback", "live")]
        assert plain.settle().outcome == "nothing"

    def test_and_is_lifted(self, plain: Published) -> None:
        """The other way out of the same refusal."""
        go_offline(plain)
        v2 = plain.version("v2")
        with plain.world.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v2.definition, v2.id, "it leaks", "lead"))
        lift_quarantine(plain.world.registry, v2, reason="it does not", actor="lead")
        assert plain.settle().outcome == "recorded"

    def test_a_registry_that_is_older_than_its_receipts(
        self,
        plain: Published,
        tmp_path: Path,
        type_in,  # type: ignore[no-untyped-def]
    ) -> None:
        """An old copy was put back: what was promoted since is not in it."""
        plain.world.registry.close()
        shutil.copytree(plain.root / ".lockgate", tmp_path / "copy")
        newer = Published(plain.root, plain.world.keys)
        newer.promote(newer.ready())
        newer.world.registry.close()
        shutil.rmtree(plain.root / ".lockgate")
        shutil.copytree(tmp_path / "copy", plain.root / ".lockgate")
        plain.world.registry = Published(plain.root, plain.world.keys).world.registry
        with pytest.raises(Refused, match="this registry is older than what it published") as said:
            plain.settle()
        assert "restore a newer backup" in said.value.hint
        done = type_in(plain, "rollback", "staging", "--yes")
        assert done.code == 0, done
        assert plain.live() == (5, "v2", "rollback")
        assert plain.current().generation == 5

    def test_a_registry_that_does_not_know_what_was_left(
        self,
        plain: Published,
        tmp_path: Path,
        type_in,  # type: ignore[no-untyped-def]
    ) -> None:
        """An old copy was put back, and then gone back: v3 was not what was left, v4 was."""
        plain.world.registry.close()
        shutil.copytree(plain.root / ".lockgate", tmp_path / "copy")
        newer = Published(plain.root, plain.world.keys)
        v3 = newer.version("v3")
        with newer.world.registry.write() as writing:
            writing.append(Quarantine(SYSTEM, v3.definition, v3.id, "it leaks", "lead"))
        newer.promote(newer.ready())
        newer.world.registry.close()
        shutil.rmtree(plain.root / ".lockgate")
        shutil.copytree(tmp_path / "copy", plain.root / ".lockgate")
        plain.world.registry = Published(plain.root, plain.world.keys).world.registry
        assert go_offline(plain) == 5
        assert plain.current().label == "v2"
        with pytest.raises(Refused, match="this registry is older than what it published") as said:
            plain.settle()
        assert "staging left generation 4, `" in said.value.what
        assert said.value.hint.startswith("restore a newer backup of it; without one `lockgate ")
        assert plain.stops() == ([], 0)
        assert plain.live() == (3, "v3", "promote")
        assert plain.notes() == ["offline-5.json"]
        done = type_in(plain, "rollback", "staging", "--yes")
        assert done.code == 0, done
        assert "not recorded: this registry is older than what it published" in done.err
        assert plain.current().generation == 6

    def test_receipts_of_another_registry(self, plain: Published) -> None:
        """They are not this one's to record, nor to write over."""
        publisher = plain.target.publisher
        assert publisher is not None
        path = plain.place / "receipt.json"
        found = read_receipt(path, publisher.key)
        assert found is not None
        write_receipt(path, replace(found, registry="ab" * 16, generation=9), publisher.key)
        with pytest.raises(Refused, match="another registry, `abababab`, publishes"):
            plain.settle()
        assert plain.history()[-1] == (3, "promote", "live")


def begin(at: Published, version: Any) -> Iterator[Any]:
    """Begin a promotion and give its events."""
    decision = at.world.registry.releases.newest_decision(version.id, ENVIRONMENT)
    assert decision is not None
    newest = at.world.registry.releases.newest(SYSTEM, ENVIRONMENT)
    assert newest is not None
    place = at.target
    attempt = Attempt(
        *(SYSTEM, ENVIRONMENT, newest.attempt.generation + 1, "promote", version.id),
        *(decision.id, place.hook_digest(), None, None, "ci"),
    )
    return carry_out(at.world.registry, place, attempt, version, actor="ci")


def leave_open(at: Published, version: Any, until: str, hook: str | None = None) -> None:
    """Begin a promotion and leave it as a killed process would, once something happened."""
    if hook is not None:
        at.write_hook(f'#!/bin/sh\necho up\n[ "$LOCKGATE_GENERATION" = 4 ] || exit 0\n{hook}')
    events = begin(at, version)
    for event in events:
        if event.kind == until:
            break
    events.close()  # type: ignore[attr-defined]
