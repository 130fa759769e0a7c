"""Old or new is live, never neither, and what is on disk is what the receipt says."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.world import NOW, ORIGIN, SYSTEM, World, definition_of, receipt_of
from lockgate.deploy import publisher as publishing
from lockgate.deploy.files import locked
from lockgate.deploy.publisher import Publisher
from lockgate.domain.payload import opened, sealed
from lockgate.domain.receipt import Origin, Previous, Receipt
from lockgate.errors import (
    Busy,
    IntegrityBroken,
    LockgateError,
    Refused,
    RegistryTrouble,
    StaleGeneration,
)
from lockgate.workspace.materialise import materialise


def staged(generation: int, prompt: str = "Sort the ticket.", **changes: object) -> Receipt:
    return receipt_of(generation, prompt, state="staged", at=NOW, **changes)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def rewrite(path: Path, **changes: object) -> None:
    """Change a receipt's payload without being able to sign it."""
    payload, signature = opened(path.read_bytes())
    body = json.loads(payload) | changes
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    path.write_bytes(sealed(text, signature))


class TestFolders:
    """The definition stands whole in its folder, or not at all."""

    def test_a_definition_is_written_with_its_modes(self, world: World) -> None:
        """Bytes and executable bits are the definition's; files are read-only."""
        folder = world.prepare(staged(1))
        assert folder == world.place / "generations" / "00000001"
        assert names(folder) == ["prompts", "prompts/system.md", "tool"]
        assert os.access(folder / "tool", os.X_OK)
        assert (folder / "prompts/system.md").stat().st_mode & 0o333 == 0

    def test_preparing_again_writes_nothing(self, world: World) -> None:
        """A folder that is whole is used as it is, even when the objects are gone."""
        folder = world.prepare(staged(1))
        before = (folder / "tool").stat().st_mtime_ns, (folder / "tool").stat().st_ino
        world.contents.clear()
        world.publisher.prepare(staged(1), definition_of("Sort the ticket."), world.open_content)
        assert ((folder / "tool").stat().st_mtime_ns, (folder / "tool").stat().st_ino) == before

    def test_a_kept_folder_serves_a_new_generation(self, world: World) -> None:
        """Going back copies nothing: the receipt names the folder that was kept."""
        world.prepare(staged(1))
        back = staged(3, folder="generations/00000001")
        assert world.prepare(back) == world.place / "generations" / "00000001"
        assert [p.name for p in (world.place / "generations").iterdir()] == ["00000001"]

    @pytest.mark.parametrize(
        ("tamper", "problem"),
        [
            (lambda f: _put(f / "prompts/system.md", "Praise."), "`prompts/system.md` was changed"),
            (lambda f: (f / "prompts/system.md").unlink(), "`prompts/system.md` is missing"),
            (lambda f: _put(f / "extra.py", "x"), "`extra.py` should not be there"),
            (lambda f: (f / "empty").mkdir(), "`empty` should not be there"),
            (lambda f: (f / "tool").chmod(0o644), "`tool` should be executable"),
            (
                lambda f: (f / "prompts/system.md").chmod(0o755),
                "`prompts/system.md` should not be executable",
            ),
            (lambda f: _link(f / "tool", "/bin/true"), "`tool` is a link, a folder or a device"),
            (lambda f: _link(f / "more", "/etc"), "`more` should not be there"),
            (
                lambda f: _put(f / "__pycache__" / "x.pyc", "x"),
                "`__pycache__/x.pyc` should not be there: import from the folder with "
                "PYTHONDONTWRITEBYTECODE=1",
            ),
            (lambda f: _put(f / "a\x1b[31m\nb", "x"), "`a\\x1b[31m\\x0ab` should not be there"),
        ],
    )
    def test_every_kind_of_change_is_named_and_repaired(
        self, world: World, tamper: Callable[[Path], object], problem: str
    ) -> None:
        """Changed, missing, extra, linked: each is one line, and `prepare` puts it right."""
        receipt = staged(1)
        folder = world.prepare(receipt)
        tamper(folder)
        found = world.publisher.verify_folder(receipt)
        assert len(found) == 1
        assert found[0].startswith(problem)
        world.prepare(receipt)
        assert world.publisher.verify_folder(receipt) == []
        assert names(folder) == ["prompts", "prompts/system.md", "tool"]
        assert [path.name for path in folder.parent.iterdir()] == ["00000001"]

    def test_all_changes_are_named_at_once(self, world: World) -> None:
        """Two changes are two lines, by path."""
        folder = world.prepare(staged(1))
        _put(folder / "prompts/system.md", "Praise.")
        _put(folder / "a", "x")
        assert world.publisher.verify_folder(staged(1)) == [
            "`a` should not be there",
            "`prompts/system.md` was changed",
        ]

    def test_a_folder_that_is_a_link_is_not_the_folder(self, world: World, tmp_path: Path) -> None:
        """A link to an intact folder is refused, and replaced by the real thing."""
        folder = world.prepare(staged(1))
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        assert "is a link or a file, not a folder" in world.publisher.verify_folder(staged(1))[0]
        world.prepare(staged(1))
        assert not folder.is_symlink()
        assert world.publisher.verify_folder(staged(1)) == []

    def test_a_budget_hashes_small_files_and_looks_for_all(self, world: World) -> None:
        """With a budget a large changed file is trusted until later, a missing one never."""
        folder = world.prepare(staged(1))
        _put(folder / "prompts/system.md", "Sort the tickeT.")
        assert world.publisher.verify_folder(staged(1), budget_bytes=1) == []
        (folder / "tool").unlink()
        assert world.publisher.verify_folder(staged(1), budget_bytes=1) == ["`tool` is missing"]

    def test_damaged_objects_leave_no_folder(self, world: World) -> None:
        """What the registry cannot give as registered is not published in part."""
        world.prepare(staged(1))
        world.contents = dict.fromkeys(world.contents, b"damaged")
        with pytest.raises(IntegrityBroken, match="the stored bytes of"):
            world.publisher.prepare(
                staged(2), definition_of("Sort the ticket."), world.open_content
            )
        assert [path.name for path in (world.place / "generations").iterdir()] == ["00000001"]

    def test_a_receipt_of_another_definition_is_refused(self, world: World) -> None:
        """A receipt and a definition that do not belong together publish nothing."""
        with pytest.raises(IntegrityBroken, match="names another definition"):
            world.publisher.prepare(staged(1), definition_of("Other."), world.open_content)
        assert not world.place.exists()


class TestReceipts:
    """What is live is what `receipt.json` says, signed, and nothing older ever replaces it."""

    def test_nothing_is_live_at_first(self, world: World) -> None:
        """An environment that nothing was published to has no receipts."""
        assert world.publisher.current(SYSTEM) is None
        assert world.publisher.way_back(SYSTEM) is None
        assert world.publisher.staged(SYSTEM) is None
        assert world.publisher.newest_generation(SYSTEM) == 0

    def test_an_attempt_is_staged_then_live(self, world: World) -> None:
        """Staging changes nothing that is live; publishing does, and ends the attempt."""
        first = world.go_live(1)
        attempt = staged(2)
        world.prepare(attempt)
        assert world.publisher.stage(attempt) == world.place / "staged.json"
        assert (world.publisher.current(SYSTEM), world.publisher.staged(SYSTEM)) == (first, attempt)
        second = world.go_live(2, way_back=first)
        assert world.publisher.current(SYSTEM) == second
        assert world.publisher.way_back(SYSTEM) == first
        assert world.publisher.staged(SYSTEM) is None
        assert (world.place / "staged.json").exists()
        world.publisher.unstage(SYSTEM, 2)
        assert names(world.place) == [
            ".lock",
            "generations",
            "generations/00000001",
            "generations/00000001/prompts",
            "generations/00000001/prompts/system.md",
            "generations/00000001/tool",
            "generations/00000002",
            "generations/00000002/prompts",
            "generations/00000002/prompts/system.md",
            "generations/00000002/tool",
            "receipt.json",
            "way-back.json",
        ]

    def test_anybody_can_check_a_receipt_with_ssh_keygen(self, world: World) -> None:
        """The signature is over the payload's bytes, so a shell and a JSON reader are enough."""
        world.go_live(1)
        document = json.loads((world.place / "receipt.json").read_text())
        (world.root / "sig").write_text(document["signature"])
        (world.root / "allowed").write_text(f"lockgate-host {world.public_key.read_text()}")
        checked = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-n", "lockgate", "-I", "lockgate-host"]
            + ["-s", world.root / "sig", "-f", world.root / "allowed"],
            input=document["payload"].encode(),
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr

    def test_publishing_again_changes_nothing(self, world: World) -> None:
        """`settle` may repeat it: the file stays as it is, whatever the time says."""
        live = world.go_live(1)
        before = (world.place / "receipt.json").read_bytes()
        world.publisher.publish(replace(live, at=live.at + timedelta(days=1)), None)
        assert (world.place / "receipt.json").read_bytes() == before

    def test_an_older_generation_is_refused(self, world: World) -> None:
        """A late promotion does not undo a rollback, neither staged nor published."""
        live = world.go_live(3)
        late = receipt_of(2)
        world.prepare(late)
        for act in (
            lambda: world.publisher.publish(late, None),
            lambda: world.publisher.stage(staged(2)),
        ):
            with pytest.raises(StaleGeneration, match="generation 2 of production is older"):
                act()
        assert world.publisher.current(SYSTEM) == live

    def test_one_generation_has_one_content(self, world: World) -> None:
        """A second version for a published generation is refused."""
        live = world.go_live(3)
        other = receipt_of(3, "Other.")
        world.prepare(other, "Other.")
        with pytest.raises(StaleGeneration, match="published already, with other content: v3 by"):
            world.publisher.publish(other, None)
        assert world.publisher.current(SYSTEM) == live

    def test_a_newer_epoch_may_begin_lower(self, world: World) -> None:
        """After a restore generations start where the backup ended."""
        world.go_live(28)
        restored = world.go_live(20, origin=replace(ORIGIN, epoch=2))
        assert world.publisher.current(SYSTEM) == restored
        with pytest.raises(StaleGeneration):
            world.publisher.publish(receipt_of(28), None)

    def test_a_receipt_without_its_folder_is_not_published(self, world: World) -> None:
        """The old receipt stands when the new folder is not whole."""
        live = world.go_live(1)
        with pytest.raises(IntegrityBroken, match="generation 2 of support-desk is not whole"):
            world.publisher.publish(receipt_of(2), live)
        assert world.publisher.current(SYSTEM) == live

    @pytest.mark.parametrize(
        ("damage", "why"),
        [
            (lambda path: path.write_bytes(b"{"), "it is not JSON"),
            (lambda path: rewrite(path, label="v9"), "its text is not the one that was signed"),
            (lambda path: _unsign(path), "it is not signed"),
            (lambda path: _become_link(path), "too many levels"),
        ],
    )
    def test_a_receipt_that_nobody_here_signed_does_not_count(
        self, world: World, damage: Callable[[Path], object], why: str
    ) -> None:
        """It is refused with the reason, and the next publication replaces it."""
        world.go_live(1)
        damage(world.place / "receipt.json")
        with pytest.raises(IntegrityBroken, match=why) as caught:
            world.publisher.current(SYSTEM)
        assert caught.value.hint == (
            "publish what is live again: `lockgate settle ENV -s support-desk`"
        )
        second = world.go_live(2)
        assert world.publisher.current(SYSTEM) == second

    def test_a_staged_receipt_is_not_live_under_another_name(self, world: World) -> None:
        """Renaming the attempt's receipt publishes nothing."""
        world.prepare(staged(1))
        world.publisher.stage(staged(1)).rename(world.place / "receipt.json")
        with pytest.raises(IntegrityBroken, match="it says `staged`, not `live`"):
            world.publisher.current(SYSTEM)

    def test_a_receipt_of_another_system_does_not_count(self, world: World) -> None:
        """A receipt that was copied between systems is refused."""
        world.go_live(1)
        (world.publisher.folder / "other-desk").mkdir()
        other = world.publisher.folder / "other-desk" / "receipt.json"
        other.write_bytes((world.place / "receipt.json").read_bytes())
        with pytest.raises(IntegrityBroken, match="it is about system `support-desk`"):
            world.publisher.current("other-desk")

    def test_another_registrys_folder_is_left_alone_by_promotions(
        self, world: World, tmp_path: Path
    ) -> None:
        """Two registries that publish to one folder are told so; a way back is never stopped."""
        world.go_live(1)
        stranger = World(tmp_path / "stranger")
        stranger.publisher.folder = world.publisher.folder
        elsewhere = Origin("cd" * 16, 1, "production")
        stranger.prepare(staged(2, origin=elsewhere))
        for changes in ({}, {"kind": "rehearsal"}, {"kind": "break_glass", "ungated": True}):
            with pytest.raises(Refused, match=f"another registry, `{ORIGIN.registry}`, publishes"):
                stranger.publisher.stage(staged(2, origin=elsewhere, **changes))
        stranger.publisher.stage(staged(2, origin=elsewhere, kind="rollback"))

    def test_a_promotion_that_was_overtaken_leaves_the_newer_receipt(self, world: World) -> None:
        """What a hook asks for while a rollback is under way is the rollback's receipt."""
        back = staged(6, kind="rollback")
        world.publisher.stage(back)
        with pytest.raises(StaleGeneration, match="generation 5 of production was overtaken") as no:
            world.publisher.stage(staged(5))
        assert "generation 6, v6 by rollback, is under way" in no.value.what
        assert no.value.hint == "how that ends: `lockgate settle ENV -s support-desk`"
        assert world.publisher.staged(SYSTEM) == back

    def test_a_way_back_is_not_overtaken_by_a_promotion(self, world: World) -> None:
        """A registry that is older than what was staged still goes back."""
        world.publisher.stage(staged(6))
        back = staged(5, kind="rollback")
        world.publisher.stage(back)
        assert world.publisher.staged(SYSTEM) == back

    def test_an_attempt_of_an_earlier_life_overtakes_nobody(self, world: World) -> None:
        """After a restore generations start again, and what was staged before says nothing."""
        world.publisher.stage(staged(6, kind="rollback"))
        again = staged(5, origin=replace(ORIGIN, epoch=2))
        world.publisher.stage(again)
        assert world.publisher.staged(SYSTEM) == again

    def test_the_bytes_that_were_checked(self, world: World) -> None:
        """Evidence takes what was verified, whatever is written there a moment later."""
        live = world.go_live(1)
        data = (world.place / "receipt.json").read_bytes()
        assert world.publisher.current_as_signed(SYSTEM) == (live, data)
        assert world.publisher.current_as_signed("nobody") is None

    def test_a_host_without_a_key_publishes_unsigned(self, tmp_path: Path) -> None:
        """Where `init` found no `ssh-keygen`, receipts are unsigned and still checked for sense."""
        world = World(tmp_path / "plain", is_signed=False)
        live = world.go_live(1)
        assert json.loads((world.place / "receipt.json").read_text())["signature"] is None
        assert world.publisher.current(SYSTEM) == live
        assert not (world.publisher.folder / "host_key.pub").exists()

    def test_no_way_back_takes_the_old_one_away(self, world: World) -> None:
        """What may not be gone back to any more is not kept as if it might."""
        first = world.go_live(1)
        world.go_live(2, way_back=first)
        world.go_live(3)
        assert world.publisher.way_back(SYSTEM) is None

    def test_unstaging_another_generation_does_nothing(self, world: World) -> None:
        """A late command does not take the receipt of a newer attempt away."""
        world.prepare(staged(2))
        world.publisher.stage(staged(2))
        world.publisher.unstage(SYSTEM, 1)
        assert world.publisher.staged(SYSTEM) == staged(2)
        world.publisher.unstage(SYSTEM, 2)
        world.publisher.unstage(SYSTEM, 2)
        assert world.publisher.staged(SYSTEM) is None

    def test_what_was_seen_counts_even_when_it_cannot_be_read(self, world: World) -> None:
        """A rollback without the registry takes a generation above every trace."""
        world.go_live(27)
        world.prepare(staged(28))
        (world.place / "receipt.json").write_text("damaged")
        assert world.publisher.newest_generation(SYSTEM) == 28

    def test_a_full_disk_leaves_the_old_receipt(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the new receipt cannot be written the old one is live, and no scrap stays."""
        live = world.go_live(1)
        world.prepare(receipt_of(2))
        before = names(world.place)

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lockgate.deploy.files.os.fsync", full)
        with pytest.raises(RegistryTrouble, match="no space left on device"):
            world.publisher.publish(receipt_of(2), live)
        monkeypatch.undo()
        assert world.publisher.current(SYSTEM) == live
        assert names(world.place) == before

    def test_whoever_waits_too_long_is_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that hangs while it writes is named by its lock."""
        world.go_live(1)
        monkeypatch.setattr(publishing, "PATIENCE_S", 0.05)
        with locked(str(world.place / ".lock"), 1.0), pytest.raises(Busy) as caught:
            world.publisher.publish(receipt_of(1), None)
        assert caught.value.hint.endswith(f"fuser -v {world.place / '.lock'}")


def test_a_receipt_of_another_environment_does_not_count(world: World) -> None:
    """The same host signs for both; laid in the wrong place it is as good as none, and replaced."""
    own = Publisher(world.publisher.folder, world.key, materialise, "production")
    staging = replace(ORIGIN, environment="staging")
    world.go_live(7, origin=staging)
    with pytest.raises(IntegrityBroken, match="it is about environment `staging`") as caught:
        own.current(SYSTEM)
    assert caught.value.hint == (
        "publish what is live again: `lockgate settle production -s support-desk`"
    )
    live = receipt_of(2)
    world.prepare(live)
    own.publish(live, None)
    assert own.current(SYSTEM) == live


class TestPruning:
    """Each publish takes old folders away, but none that anybody may still need."""

    def kept(self, world: World) -> list[int]:
        return [int(path.name) for path in sorted((world.place / "generations").iterdir())]

    def test_published_folders_do_not_grow_without_bound(self, world: World) -> None:
        """After many promotions the newest three are left: live, the way back, and one more."""
        live = world.go_live(1)
        for generation in range(2, 9):
            live = world.go_live(generation, way_back=live)
            assert world.publisher.verify_folder(live) == []
        assert self.kept(world) == [6, 7, 8]

    def test_failed_attempts_do_not_push_out_what_is_served(self, world: World) -> None:
        """Generations 4 to 8 failed: a server may still read 3, and go back to 2."""
        world.go_live(1)
        second = world.go_live(2)
        world.go_live(3, way_back=second)
        for generation in range(4, 9):
            world.prepare(staged(generation))
        world.go_live(9, way_back=second, previous=Previous(3, "0" * 64))
        assert self.kept(world) == [2, 3, 7, 8, 9]

    def test_what_was_live_before_a_rollback_stays(self, world: World) -> None:
        """A rollback keeps no way back; what it left is still read until all have heard of it."""
        world.go_live(1)
        for generation in range(2, 6):
            world.prepare(staged(generation))
        world.go_live(6, kind="rollback", decision=None, previous=Previous(1, "0" * 64))
        assert self.kept(world) == [1, 4, 5, 6]

    def test_what_an_attempt_prepares_stays(self, world: World) -> None:
        """The folder of the staged receipt is needed, wherever it is."""
        world.prepare(staged(1))
        world.publisher.stage(staged(1))
        for generation in range(2, 7):
            world.prepare(staged(generation))
        world.go_live(7, previous=None)
        assert self.kept(world) == [1, 5, 6, 7]

    def test_what_a_killed_writer_left_is_removed(self, world: World) -> None:
        """Half a folder of an older generation goes; one that is being written stays."""
        world.prepare(staged(2))
        for name in (".00000001-0011223344556677", ".00000003-0011223344556677"):
            (world.place / "generations" / name).mkdir()
        world.go_live(2)
        left = sorted(path.name for path in (world.place / "generations").iterdir())
        assert left == [".00000003-0011223344556677", "00000002"]

    def test_nothing_is_removed_while_a_receipt_cannot_be_read(self, world: World) -> None:
        """A damaged receipt may name any folder, so all stay."""
        for generation in range(1, 5):
            world.prepare(staged(generation))
        (world.place / "staged.json").write_text("damaged")
        world.go_live(5, previous=None)
        assert self.kept(world) == [1, 2, 3, 4, 5]

    def test_a_folder_that_cannot_be_removed_stops_no_publish(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Tidying up is no reason to fail; the next publish tries again."""
        for generation in range(1, 5):
            world.prepare(staged(generation))
        with monkeypatch.context() as patch:
            patch.setattr(publishing, "remove_folder", lambda folder: False)
            live = world.go_live(5, previous=None)
        assert world.publisher.current(SYSTEM) == live
        world.go_live(6)
        assert self.kept(world) == [4, 5, 6]


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do something in a process that is killed at its n-th change of the disk; tell if it was."""
    child = os.fork()
    if child == 0:
        made = 0

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*words: object, **named: object) -> object:
                nonlocal made
                made += 1
                if made == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*words, **named)

            return call

        for name in ("rename", "replace", "fsync", "unlink", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))
        try:
            act()
        except BaseException:  # noqa: BLE001 - a child must never go on as a second test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, how = os.waitpid(child, 0)
    assert how in (0, signal.SIGKILL)
    return how != 0


@pytest.mark.slow
def test_a_kill_anywhere_leaves_old_or_new_live(world: World, tmp_path: Path) -> None:
    """At every change of the disk: one of the two is live and whole, and repeating ends it."""
    first = world.go_live(1)
    world.publisher.stage(staged(2, "New."))
    origin = tmp_path / "origin"
    shutil.copytree(world.root, origin, symlinks=True)
    second = receipt_of(2, "New.")

    def promote() -> None:
        world.go_live(2, "New.", way_back=first)
        world.publisher.unstage(SYSTEM, 2)

    seen = []
    for step in itertools.count(1):
        was_killed = killed_at(step, promote)
        live = world.publisher.current(SYSTEM)
        assert live in (first, second), step
        assert live is not None
        assert world.publisher.verify_folder(live) == [], step
        way_back = world.publisher.way_back(SYSTEM)
        assert way_back is None or world.publisher.verify_folder(way_back) == [], step
        seen.append(live.generation)
        if not was_killed:
            break
        if step % 5 == 0:
            promote()
            assert world.publisher.current(SYSTEM) == second
            assert world.publisher.way_back(SYSTEM) == first
            assert world.publisher.staged(SYSTEM) is None
        shutil.rmtree(world.root)
        shutil.copytree(origin, world.root, symlinks=True)
    assert seen == sorted(seen)
    assert seen.count(1) > 10 and seen.count(2) > 5


def test_two_publishers_at_once_end_with_the_newer(world: World) -> None:
    """Whatever the order, the newest generation is live and the older one was refused or first."""
    for generation in range(1, 7):
        world.prepare(receipt_of(generation))
    refused: list[int] = []

    def publish(generation: int) -> None:
        own = Publisher(world.publisher.folder, world.key, lambda *_: None)
        try:
            own.publish(receipt_of(generation), None)
        except LockgateError as error:
            assert isinstance(error, StaleGeneration)
            refused.append(generation)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live = world.publisher.current(SYSTEM)
    assert live is not None and live.generation == 6
    assert 6 not in refused


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _unsign(path: Path) -> None:
    path.write_bytes(sealed(opened(path.read_bytes())[0], None))


def _become_link(path: Path) -> None:
    path.rename(path.with_name("real.json"))
    path.symlink_to("real.json")
