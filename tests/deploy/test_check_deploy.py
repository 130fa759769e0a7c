"""What stands between a pipeline and its credentials: each kind of wrong has its own message."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.world import NOW, ORIGIN, SYSTEM, World, receipt_of
from lockgate.deploy.check import check_deploy
from lockgate.domain.receipt import Origin
from lockgate.errors import IntegrityBroken, LockgateError, Refused, StaleGeneration


def refusal(world: World, **named: object) -> LockgateError:
    with pytest.raises(LockgateError) as caught:
        check_deploy(world.publisher, SYSTEM, ORIGIN, **named)
    return caught.value


def test_what_is_live_passes(world: World) -> None:
    """A redeploy of what is live needs nothing but files."""
    live = world.go_live(2)
    assert check_deploy(world.publisher, SYSTEM, ORIGIN) == live
    assert check_deploy(world.publisher, SYSTEM, ORIGIN, newest_generation=2) == live


def test_a_rollback_passes(world: World) -> None:
    """A rollback is a newer generation, whatever its version's age."""
    first = world.go_live(1)
    world.go_live(2, "New.", way_back=first)
    back = receipt_of(3, folder=first.folder, kind="rollback", decision=None)
    world.publisher.publish(back, None)
    assert check_deploy(world.publisher, SYSTEM, ORIGIN, newest_generation=3) == back


def test_an_attempts_own_receipt_is_checked_when_it_is_named(world: World) -> None:
    """A hook names its staged receipt; whoever names none is asking about what is live."""
    live = world.go_live(1)
    staged = receipt_of(2, state="staged", at=NOW)
    world.prepare(staged)
    path = world.publisher.stage(staged)
    assert check_deploy(world.publisher, SYSTEM, ORIGIN, newest_generation=1) == live
    assert check_deploy(world.publisher, SYSTEM, ORIGIN, receipt_file=path) == staged


def test_a_pipelines_own_copy_is_checked(world: World, tmp_path: Path) -> None:
    """The folder that is really going to be deployed may be another one than was published."""
    live = world.go_live(1)
    copy = tmp_path / "copy"
    shutil.copytree(world.publisher.folder_of(live), copy)
    assert check_deploy(world.publisher, SYSTEM, ORIGIN, folder=copy) == live
    (copy / "extra").write_text("")
    assert refusal(world, folder=copy).problems == ("`extra` should not be there",)


def test_a_tampered_folder_is_named_file_by_file(world: World) -> None:
    """Integrity broken, exit code 6, every file at once."""
    folder = world.publisher.folder_of(world.go_live(4))
    (folder / "tool").chmod(0o755)
    (folder / "tool").write_text("evil")
    (folder / "prompts/system.md").unlink()
    error = refusal(world)
    assert (type(error), error.exit_code) == (IntegrityBroken, 6)
    assert error.what == f"{folder} is not what the receipt of generation 4 says"
    assert error.problems == ("`prompts/system.md` is missing", "`tool` was changed")
    assert error.hint


@pytest.mark.parametrize(
    ("origin", "problem"),
    [
        (Origin("cd" * 16, 1, "production"), f"its registry is `{'cd' * 16}`, not `{'ab' * 16}`"),
        (Origin("ab" * 16, 2, "production"), "its epoch is 2, and the registry's is 1"),
        (Origin("ab" * 16, 1, "staging"), "its environment is `staging`, not `production`"),
    ],
)
def test_a_foreign_receipt_is_told_as_such(world: World, origin: Origin, problem: str) -> None:
    """Another registry, epoch or environment: exit code 6, and which."""
    world.go_live(1, origin=origin)
    error = refusal(world)
    assert (type(error), error.exit_code) == (IntegrityBroken, 6)
    assert error.what == f"the receipt `{world.place / 'receipt.json'}` is foreign"
    assert error.problems == (problem,)
    assert error.hint == (
        "have what is live published again: `lockgate settle production -s support-desk`"
    )


def test_a_receipt_of_another_system_is_foreign(world: World, tmp_path: Path) -> None:
    """A receipt of the neighbour, handed in as a file."""
    other = receipt_of(1, system="order-desk")
    world.prepare(other)
    world.publisher.publish(other, None)
    error = refusal(world, receipt_file=world.publisher.receipt_path("order-desk"))
    assert error.problems == ("its system is `order-desk`, not `support-desk`",)


def test_a_receipt_by_another_key_is_foreign(world: World, tmp_path: Path) -> None:
    """A receipt that another host signed does not count, exit code 6."""
    stranger = World(tmp_path / "stranger")
    stranger.go_live(1)
    error = refusal(world, receipt_file=stranger.publisher.receipt_path(SYSTEM))
    assert (error.exit_code, "not by a key that is trusted" in error.what) == (6, True)


def test_a_replayed_receipt_is_told_as_such(world: World, tmp_path: Path) -> None:
    """It was true once, so it is refused rather than broken: exit code 1."""
    first = world.go_live(1)
    kept = tmp_path / "kept.json"
    shutil.copy(world.publisher.receipt_path(SYSTEM), kept)
    world.go_live(2, "New.", way_back=first)
    error = refusal(world, receipt_file=kept)
    assert (type(error), error.exit_code) == (StaleGeneration, 1)
    assert error.what == (
        "the receipt of generation 1 is replayed: generation 2 of production is live"
    )
    assert error.hint == (
        "take the receipt that this registry published: "
        "`lockgate deploy-check production -s support-desk`"
    )


def test_a_replay_over_what_is_published_is_seen_by_the_registrys_word(world: World) -> None:
    """An old receipt put back in place is caught where the registry says what is newest."""
    first = world.go_live(1)
    old = world.publisher.receipt_path(SYSTEM).read_bytes()
    world.go_live(2, "New.", way_back=first)
    world.publisher.receipt_path(SYSTEM).write_bytes(old)
    error = refusal(world, newest_generation=2)
    assert (type(error), error.exit_code) == (StaleGeneration, 1)


def test_a_receipt_from_before_a_restore_is_replayed(world: World) -> None:
    """The epoch before the restore is over."""
    world.go_live(28)
    with pytest.raises(StaleGeneration, match="before the registry was restored into epoch 2"):
        check_deploy(world.publisher, SYSTEM, replace(ORIGIN, epoch=2))


def test_an_old_attempt_is_replayed(world: World) -> None:
    """The staged receipt of an attempt that was overtaken is refused."""
    staged = receipt_of(2, state="staged", at=NOW)
    world.prepare(staged)
    path = world.publisher.stage(staged)
    world.go_live(3)
    error = refusal(world, receipt_file=path)
    assert isinstance(error, StaleGeneration)


def test_nothing_published_is_refused(world: World) -> None:
    """Without a receipt there is nothing to deploy: exit code 1 and how to get one."""
    error = refusal(world)
    assert (type(error), error.exit_code) == (Refused, 1)
    assert "there is no receipt at" in error.what
    assert error.hint == "promote a version first: `lockgate promote VERSION --to production`"
