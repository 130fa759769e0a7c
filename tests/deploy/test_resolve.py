"""The serving side gets only what the gate let through, and keeps the last good one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import lockgate
from deploy.world import ORIGIN, SYSTEM, World, receipt_of
from lockgate.deploy import resolve as serving
from lockgate.deploy.resolve import Resolved, ResolveError, resolve
from lockgate.domain.payload import opened, sealed
from lockgate.domain.receipt import Origin

OLD, NEW = "Sort the ticket.", "Sort the ticket, and be kind."


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def ask(world: World, state: Path, **named: object) -> Resolved:
    """Resolve with the registry's key given, as a careful server does."""
    options = {"root": world.publisher.folder, "state": state, "trust": world.public_key}
    return resolve(SYSTEM, "production", **{**options, **named})


def refusal(world: World, state: Path, **named: object) -> ResolveError:
    with pytest.raises(ResolveError) as caught:
        ask(world, state, **named)
    return caught.value


def saved(world: World) -> bytes:
    return (world.place / "receipt.json").read_bytes()


def replay(world: World, data: bytes) -> None:
    (world.place / "receipt.json").write_bytes(data)


class TestGood:
    """What is live and whole is returned, with everything a server wants to report."""

    def test_what_is_live_is_returned(self, world: World, state: Path) -> None:
        """Folder, version, label, generation and the receipt itself."""
        live = world.go_live(1)
        found = ask(world, state)
        assert found.folder == world.place / "generations/00000001"
        assert (found.folder / "prompts/system.md").read_text() == OLD
        assert (found.version, found.label, found.generation) == (live.version, "v1", 1)
        assert (found.stale, found.note) == (None, None)
        assert found.receipt["definition"] == live.definition

    def test_it_is_offered_by_the_package(self) -> None:
        """`lockgate.resolve` is all a serving app has to know."""
        assert lockgate.resolve is resolve
        assert lockgate.ResolveError is ResolveError
        with pytest.raises(AttributeError, match="no attribute `promote`"):
            _ = lockgate.promote

    def test_a_newer_generation_is_followed(self, world: World, state: Path) -> None:
        """A promotion and a rollback are both just a newer generation."""
        first = world.go_live(1, OLD)
        ask(world, state)
        world.go_live(2, NEW, way_back=first)
        assert ask(world, state).label == "v2"
        back = replace(
            receipt_of(3, OLD), folder=first.folder, kind="rollback", decision=None, label="v1"
        )
        world.publisher.publish(back, None)
        found = ask(world, state)
        assert (found.label, found.generation, found.stale) == ("v1", 3, None)
        assert found.folder.name == "00000001"

    def test_nothing_is_written_while_nothing_changes(self, world: World, state: Path) -> None:
        """A server may ask as often as it likes, also with a state file it cannot write then."""
        world.go_live(1)
        ask(world, state)
        before = state.stat().st_mtime_ns, state.stat().st_ino
        assert ask(world, state).label == "v1"
        assert (state.stat().st_mtime_ns, state.stat().st_ino) == before

    def test_the_same_release_signed_again_is_no_other_content(
        self, world: World, state: Path
    ) -> None:
        """Only the time differs when a settlement was repeated."""
        live = world.go_live(1)
        ask(world, state)
        (world.place / "receipt.json").unlink()
        world.publisher.publish(replace(live, at=live.at.replace(hour=9)), None)
        assert ask(world, state).stale is None

    @pytest.mark.parametrize("above", ["published/production", "published", "."])
    def test_any_folder_above_will_do(self, world: World, state: Path, above: str) -> None:
        """The environment's folder, the one above it, or the registry's root."""
        world.go_live(1)
        assert ask(world, state, root=world.root / above).label == "v1"

    def test_the_folder_is_found_upward(
        self, world: World, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a name it is looked for from where the server was started."""
        world.go_live(1)
        (world.root / "app" / "inner").mkdir(parents=True)
        monkeypatch.chdir(world.root / "app" / "inner")
        assert ask(world, state, root=None).folder == world.place / "generations/00000001"

    def test_variables_name_folder_and_key(
        self, world: World, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A container is set up without touching the code."""
        world.go_live(1)
        monkeypatch.setenv("LOCKGATE_PUBLISHED", str(world.publisher.folder))
        monkeypatch.setenv("LOCKGATE_TRUST", str(world.public_key))
        found = resolve(SYSTEM, "production", state=state)
        assert (found.label, found.note) == ("v1", None)

    def test_a_state_file_of_its_own_is_kept(self, world: World, tmp_path: Path) -> None:
        """Without `state` each published folder has one below the user's state folder."""
        world.go_live(1)
        resolve(SYSTEM, "production", root=world.root, trust=world.public_key)
        (kept,) = (tmp_path / "state" / "lockgate").glob("*.json")
        assert kept.name.startswith("production-support-desk-")

    def test_several_systems_share_a_state_file(self, world: World, state: Path) -> None:
        """Each system has its own mark."""
        world.go_live(5)
        other = receipt_of(1, system="order-desk")
        world.prepare(other)
        world.publisher.publish(other, None)
        assert ask(world, state).generation == 5
        found = resolve(
            "order-desk",
            "production",
            root=world.publisher.folder,
            state=state,
            trust=world.public_key,
        )
        assert found.generation == 1
        assert ask(world, state).generation == 5


class TestRefused:
    """What does not hold is not served: the last good version is, or none."""

    @pytest.mark.parametrize(
        ("damage", "why", "code"),
        [
            (
                lambda w: (w.place / "receipt.json").unlink(),
                "nothing is published for support-desk in production",
                3,
            ),
            (lambda w: replay(w, b"{"), "the receipt does not count: it is not JSON", 6),
            (lambda w: replay(w, saved(w)[:-40]), "the receipt does not count: it is not JSON", 6),
            (
                lambda w: replay(w, sealed(opened(saved(w))[0], None)),
                "the receipt does not count: it is not signed",
                6,
            ),
            (
                lambda w: replay(
                    w, sealed(opened(saved(w))[0].replace('"v2"', '"v3"'), opened(saved(w))[1])
                ),
                "the receipt does not count: its text is not the one that was signed",
                6,
            ),
            (
                lambda w: _put(w.place / "generations/00000002/prompts/system.md", "Praise."),
                "generation 2 is not what its receipt says: `prompts/system.md` was changed",
                6,
            ),
            (
                lambda w: _put(w.place / "generations/00000002/helper.py", "x"),
                "generation 2 is not what its receipt says: `helper.py` should not be there",
                6,
            ),
            (
                lambda w: shutil.rmtree(w.place / "generations/00000002"),
                "generation 2 is not what its receipt says: the folder",
                6,
            ),
        ],
    )
    def test_the_last_good_version_is_kept(
        self, world: World, state: Path, damage: Callable[[World], object], why: str, code: int
    ) -> None:
        """With a version served before: that one, and why. Without: an error that says the same."""
        first = world.go_live(1, OLD)
        ask(world, state)
        world.go_live(2, NEW, way_back=first)
        damage(world)
        found = ask(world, state)
        assert (found.label, found.generation) == ("v1", 1)
        assert (found.folder / "prompts/system.md").read_text() == OLD
        assert found.stale is not None and found.stale.startswith(why)
        error = refusal(world, state.with_name("fresh.json"))
        assert (error.exit_code, why in error.what) == (code, True)
        assert error.hint

    def test_a_last_good_version_that_was_changed_is_not_served(
        self, world: World, state: Path
    ) -> None:
        """Keeping the last good one means verifying it again; both reasons are told."""
        world.go_live(1)
        ask(world, state)
        _put(world.place / "generations/00000001/tool", "evil")
        error = refusal(world, state)
        assert "generation 1 is not what its receipt says: `tool`" in error.what
        assert error.problems[0].startswith("the last good version does not hold either:")

    def test_a_replayed_receipt_is_refused(self, world: World, state: Path) -> None:
        """A receipt that was true once, with its folder intact, does not bring a version back."""
        first = world.go_live(1, OLD)
        old = saved(world)
        ask(world, state)
        world.go_live(2, NEW, way_back=first)
        ask(world, state)
        replay(world, old)
        found = ask(world, state)
        assert found.label == "v2"
        assert found.stale == (
            "the receipt is replayed: generation 1 of epoch 1, and generation 2 of epoch 1 was "
            "served here before"
        )

    def test_a_replay_is_noticed_after_a_restart_by_another_process(
        self, world: World, state: Path
    ) -> None:
        """The mark is on disk: a server that starts anew knows it."""
        world.go_live(1)
        old = saved(world)
        world.go_live(2)
        ask(world, state)
        replay(world, old)
        shutil.rmtree(world.place / "generations/00000002")
        error = refusal(world, state)
        assert error.exit_code == 1
        assert "the receipt is replayed" in error.what

    def test_one_generation_has_one_content(self, world: World, state: Path) -> None:
        """A second version under a generation that was served is refused."""
        world.go_live(1, OLD)
        ask(world, state)
        shutil.rmtree(world.place)
        world.go_live(1, NEW)
        error = refusal(world, state)
        assert "generation 1 was served here before with other content" in error.what

    def test_a_newer_epoch_may_begin_lower(self, world: World, state: Path) -> None:
        """After a restore, signed by the same host, a lower generation is right."""
        world.go_live(28)
        old = saved(world)
        ask(world, state)
        world.go_live(20, NEW, origin=replace(ORIGIN, epoch=2))
        assert (ask(world, state).generation, ask(world, state).stale) == (20, None)
        replay(world, old)
        assert "replayed: generation 28 of epoch 1" in str(ask(world, state).stale)

    @pytest.mark.parametrize(
        ("origin", "why"),
        [
            (Origin("cd" * 16, 1, "production"), f"from another registry, `{'cd' * 16}`"),
            (replace(ORIGIN, environment="staging"), "is about environment `staging`"),
        ],
    )
    def test_a_receipt_for_somebody_else_is_refused(
        self, world: World, state: Path, origin: Origin, why: str
    ) -> None:
        """Another registry's or environment's receipt counts nothing, though the key is trusted."""
        world.go_live(1)
        ask(world, state)
        shutil.rmtree(world.place)
        world.go_live(2, origin=origin)
        assert why in refusal(world, state).what

    def test_a_receipt_of_another_system_is_refused(self, world: World, state: Path) -> None:
        """A receipt that was copied between systems counts nothing."""
        receipt = receipt_of(1, system="order-desk")
        world.prepare(receipt)
        world.publisher.publish(receipt, None)
        shutil.copytree(world.publisher.folder / "order-desk", world.place)
        assert "is about system `order-desk`" in refusal(world, state).what

    def test_a_staged_receipt_is_not_live(self, world: World, state: Path) -> None:
        """The receipt of an attempt, put in place by hand, is refused."""
        attempt = receipt_of(1, state="staged")
        world.prepare(attempt)
        world.publisher.stage(attempt).rename(world.place / "receipt.json")
        assert "only staged" in refusal(world, state).what

    def test_a_receipt_of_another_host_is_refused(
        self, world: World, state: Path, tmp_path: Path
    ) -> None:
        """Whoever can write to the folder but not sign publishes nothing."""
        stranger = World(tmp_path / "stranger")
        stranger.publisher.folder = world.publisher.folder
        stranger.go_live(9)
        assert "not by a key that is trusted" in refusal(world, state).what

    def test_without_ssh_keygen_nothing_is_served(
        self, world: World, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signature that cannot be checked does not count as checked."""
        world.go_live(1)
        monkeypatch.setenv("PATH", "/nowhere")
        error = refusal(world, state)
        assert (error.exit_code, "`ssh-keygen` is not on the PATH" in error.what) == (3, True)
        assert "apt install openssh-client" in error.hint

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            '{"format": 2, "marks": {}}',
            '{"format": 1, "marks": {"production/support-desk": {}}}',
            '{"format": 1, "marks": {"production/support-desk": 7}}',
            '{"format": 1, "marks": []}',
        ],
    )
    def test_a_damaged_state_file_is_not_guessed_at(
        self, world: World, state: Path, text: str
    ) -> None:
        """Without its mark an old receipt would go unnoticed, so a person has to decide."""
        world.go_live(1)
        state.write_text(text)
        error = refusal(world, state)
        assert error.exit_code == 3
        assert error.hint.endswith(f"rm {state}")
        assert state.read_text() == text

    def test_a_state_file_with_a_lowered_mark_is_refused(self, world: World, state: Path) -> None:
        """The mark has to be that of the receipt it keeps."""
        world.go_live(2)
        ask(world, state)
        body = json.loads(state.read_text())
        body["marks"]["production/support-desk"]["generation"] = 1
        state.write_text(json.dumps(body))
        assert "damaged" in refusal(world, state).what

    def test_a_state_file_that_cannot_be_written_stops_the_first_use(
        self, world: World, tmp_path: Path
    ) -> None:
        """Without a mark there is no protection, so nothing is served."""
        world.go_live(1)
        (tmp_path / "file").write_text("")
        error = refusal(world, tmp_path / "file" / "state.json")
        assert error.exit_code == 3
        assert "cannot be" in error.what


class TestTrust:
    """Whose key counts: the one that was given, else the one of the first use."""

    def test_the_first_use_pins_the_key_and_says_so(self, world: World, state: Path) -> None:
        """Once; afterwards the pinned key counts silently."""
        world.go_live(1)
        note = ask(world, state, trust=None).note
        assert note is not None
        assert f"trusted at first use and pinned in `{state}`" in note
        assert ask(world, state, trust=None).note is None

    def test_a_key_that_was_exchanged_later_is_not_trusted(
        self, world: World, state: Path, tmp_path: Path
    ) -> None:
        """A new key beside the receipt changes nothing for a server that pinned the old one."""
        world.go_live(1)
        ask(world, state, trust=None)
        stranger = World(tmp_path / "stranger")
        stranger.publisher.folder = world.publisher.folder
        stranger.go_live(2)
        assert stranger.key.public() in (world.publisher.folder / "host_key.pub").read_text()
        found = ask(world, state, trust=None)
        assert (found.generation, "not by a key that is trusted" in str(found.stale)) == (1, True)

    def test_a_given_key_wins_over_the_pinned_one(
        self, world: World, state: Path, tmp_path: Path
    ) -> None:
        """A host that got a new key is followed once a person hands it over."""
        world.go_live(1)
        ask(world, state)
        renewed = World(tmp_path / "renewed")
        renewed.publisher.folder = world.publisher.folder
        renewed.go_live(2)
        both = tmp_path / "both"
        both.write_text(world.public_key.read_text() + renewed.public_key.read_text())
        assert ask(world, state, trust=both).generation == 2
        assert ask(world, state, trust=None).stale is None

    def test_a_key_that_is_no_longer_trusted_has_no_last_good_version(
        self, world: World, state: Path, tmp_path: Path
    ) -> None:
        """After a key was lost and replaced, nothing that it signed is served any more."""
        world.go_live(1)
        ask(world, state)
        (world.place / "receipt.json").write_text("damaged")
        renewed = World(tmp_path / "renewed")
        error = refusal(world, state, trust=renewed.public_key)
        assert "not by a key that is trusted" in error.problems[0]

    def test_no_key_anywhere_means_no(self, world: World, state: Path) -> None:
        """A signed receipt without any key to check it against is not served."""
        world.go_live(1)
        (world.publisher.folder / "host_key.pub").unlink()
        error = refusal(world, state, trust=None)
        assert "there is no key to trust" in error.what
        assert "LOCKGATE_TRUST" in error.hint

    @pytest.mark.parametrize("text", [None, "", "nonsense"])
    def test_a_trust_file_without_a_key_is_an_error(
        self, world: World, state: Path, tmp_path: Path, text: str | None
    ) -> None:
        """A wrong path never falls back to trusting whoever comes."""
        world.go_live(1)
        if text is not None:
            (tmp_path / "trust").write_text(text)
        error = refusal(world, state, trust=tmp_path / "trust")
        assert (error.exit_code, "the trust file" in error.what) == (2, True)

    def test_unsigned_receipts_count_only_where_no_key_ever_did(
        self, tmp_path: Path, state: Path
    ) -> None:
        """A host without `ssh-keygen` can be served from, with a note; a signed past forbids it."""
        plain = World(tmp_path / "plain", is_signed=False)
        plain.go_live(1)
        found = ask(plain, state, trust=None)
        assert found.note == "the receipt is not signed, and no key was ever trusted here"
        signed = World(tmp_path / "signed")
        signed.publisher.folder = plain.publisher.folder
        signed.go_live(2)
        assert "trusted at first use" in str(ask(plain, state, trust=None).note)
        (plain.place / "receipt.json").unlink()
        plain.go_live(3)
        assert "it is not signed" in str(ask(plain, state, trust=None).stale)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen, once, while a server is verifying a folder."""
    real, left = serving.folder_problems, [act]

    def problems(*words: object, **named: object) -> list[str]:
        while left:
            left.pop()()
        return real(*words, **named)

    monkeypatch.setattr(serving, "folder_problems", problems)


def test_a_promotion_under_its_eyes_is_followed(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that went because something newer came is no damage: the newer one is served."""
    world.go_live(1)

    def promote_again_and_again() -> None:
        for generation in (2, 3, 4):
            world.go_live(generation)
        assert not (world.place / "generations" / "00000001").exists()

    meanwhile(monkeypatch, promote_again_and_again)
    found = ask(world, state)
    assert (found.generation, found.stale) == (4, None)


def test_a_slow_server_never_lowers_the_mark(
    world: World, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was still verifying the old version serves what another one found since."""
    world.go_live(1)

    def another_is_faster() -> None:
        world.go_live(2, NEW)
        assert ask(world, state).generation == 2

    meanwhile(monkeypatch, another_is_faster)
    assert ask(world, state).generation == 2
    assert json.loads(state.read_text())["marks"]["production/support-desk"]["generation"] == 2


_ASK = """
import sys, lockgate
for _ in range(int(sys.argv[4])):
    found = lockgate.resolve("support-desk", "production",
                             root=sys.argv[1], state=sys.argv[2], trust=sys.argv[3])
    print(found.generation, found.stale or "", flush=True)
"""


def serve(world: World, state: Path, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _ASK, world.publisher.folder, state, world.public_key, str(times)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_share_a_state_file_while_versions_change(world: World, state: Path) -> None:
    """No answer is stale or goes back, and the file ends with the newest mark."""
    way_back = world.go_live(1)
    servers = [serve(world, state, 12) for _ in range(3)]
    for generation in range(2, 8):
        way_back = world.go_live(generation, f"{OLD} {generation}", way_back=way_back)
    for server in servers:
        out, err = server.communicate(timeout=60)
        assert server.returncode == 0, err
        answers = [line.split(" ", 1) for line in out.splitlines()]
        assert [stale for _, stale in answers] == [""] * 12
        generations = [int(generation) for generation, _ in answers]
        assert generations == sorted(generations)
    assert ask(world, state).generation == 7
    assert json.loads(state.read_text())["marks"]["production/support-desk"]["generation"] == 7


@pytest.mark.slow
def test_a_kill_never_damages_the_state_file(world: World, state: Path) -> None:
    """A server that is killed at any change of the disk leaves the old mark or the new one."""
    world.go_live(1)
    ask(world, state)
    world.go_live(2, NEW)
    old = state.read_bytes()
    step = 0
    while True:
        step += 1
        state.write_bytes(old)
        child = os.fork()
        if child == 0:
            _kill_at(step)
            ask(world, state)
            os._exit(0)
        _, how = os.waitpid(child, 0)
        mark = json.loads(state.read_text())["marks"]["production/support-desk"]
        assert mark["generation"] in (1, 2)
        if how == 0:
            break
        assert how == signal.SIGKILL
    assert step > 4
    assert mark["generation"] == 2


def _kill_at(step: int) -> None:
    made = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*words: object, **named: object) -> object:
            nonlocal made
            made += 1
            if made == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **named)

        return call

    for name in ("replace", "fsync", "unlink", "open"):
        setattr(os, name, counted(getattr(os, name)))


def test_serving_needs_next_to_nothing(world: World, state: Path) -> None:
    """`resolve` imports neither click nor pathlib nor subprocess, nor anything from outside."""
    world.go_live(1)
    code = (
        "import sys; before = set(sys.modules)\n"
        "from lockgate.cli.resolve import run\n"
        f"assert run(['support-desk', 'production', '--root', {str(world.publisher.folder)!r}, "
        f"'--state', {str(state)!r}, '--trust', {str(world.public_key)!r}]) == 0\n"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {_src()!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    slow = {
        "click",
        "subprocess",
        "pathlib",
        "dataclasses",
        "typing",
        "tempfile",
        "datetime",
        "sqlite3",
    }
    assert loaded & slow == set()
    outside = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names
    assert outside == {"lockgate"}


def _src() -> str:
    return str(Path(lockgate.__file__).parents[1])


def _put(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)
