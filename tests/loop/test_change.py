"""Step 1, change: see what differs between a folder and the version it came from."""

from __future__ import annotations

from lockgate.domain.difference import FileChange
from lockgate.loop.change import change
from lockgate.workspace.lock import Lock, write_lock
from loop.world import SYSTEM, World


def test_the_first_folder_has_no_parent_and_everything_is_new(world: World) -> None:
    """Before the first registration the whole folder is the change."""
    seen = change(world.registry, world.draft())
    assert seen.parent is None
    assert not seen.is_empty
    assert seen.difference.components() == ["model", "prompt", "generation", "code"]


def test_a_folder_is_held_against_the_version_its_lock_names(world: World) -> None:
    """The lock says where a folder came from, even when newer versions exist."""
    first = world.version(12)
    second = world.version(14)
    write_lock(world.folder, _lock_of(world, first.id, first.label))
    world.write(15)
    seen = change(world.registry, world.draft())
    assert (seen.parent, second.label) == (first, "v2")
    assert seen.difference.summary() == ["generation: right 12 → 15"]


def test_without_a_lock_the_newest_release_is_the_parent(world: World) -> None:
    """A folder that was never registered is held against the newest release, not an experiment."""
    world.version(12)
    second = world.version(14)
    world.write(15)
    world.register(track="experiment")
    (world.folder / "lockgate.lock").unlink()
    assert change(world.registry, world.draft()).parent == second


def test_a_lock_of_another_registry_does_not_count(world: World) -> None:
    """A folder that was copied from elsewhere is held against what is registered here."""
    first = world.version(12)
    write_lock(world.folder, _lock_of(world, "a" * 64, "v7"))
    assert change(world.registry, world.draft()).parent == first


def test_another_version_can_be_named_to_compare_with(world: World) -> None:
    """Whoever names a version sees the difference from that one."""
    first = world.version(12)
    world.version(14)
    seen = change(world.registry, world.draft(), parent=first)
    assert seen.parent == first
    assert not seen.is_empty


def test_a_folder_that_is_its_version_is_no_change(world: World) -> None:
    """Right after registering, nothing has changed."""
    world.version(12)
    assert change(world.registry, world.draft()).is_empty


def test_a_changed_file_is_named_with_both_digests(world: World) -> None:
    """A difference says which file of which component it is."""
    version = world.version(12)
    before = world.registry.versions.definition(version.definition).files()["prompts/system.md"]
    world.write(12, prompt="Sort the ticket with care.\n")
    draft = world.draft()
    after = draft.definition.files()["prompts/system.md"]
    seen = change(world.registry, draft).difference
    assert list(seen.files) == [FileChange("prompt", "prompts/system.md", before, after)]


def test_a_file_that_no_component_claims_is_listed(world: World) -> None:
    """What is not part of the version is said, because a definition drifts that way."""
    (world.folder / "notes.txt").write_text("remember")
    assert change(world.registry, world.draft()).unclaimed == ("notes.txt",)


def test_looking_at_a_change_records_nothing(world: World) -> None:
    """A change is only looked at: no record, no object, no lock."""
    world.version(12)
    world.write(13)
    head, lock = world.head(), (world.folder / "lockgate.lock").read_bytes()
    changed = world.registry.changed()
    change(world.registry, world.draft())
    assert (world.head(), world.registry.changed()) == (head, changed)
    assert (world.folder / "lockgate.lock").read_bytes() == lock


def _lock_of(world: World, version: str, label: str) -> Lock:
    definition = world.draft().definition
    return Lock(SYSTEM, version, label, definition.digest, definition.component_digests)
