"""Step 2, register: give a change an identity that never changes again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.domain.release import Hold
from lockgate.domain.version import version_id
from lockgate.errors import IntegrityBroken, Refused, Rejected, UsageMistake
from lockgate.loop.register import register_from
from lockgate.storage.registry import open_registry
from lockgate.workspace.lock import read_lock
from loop.world import DEV, OWNER, SYSTEM, World

KEY = "ghp_" + "A1b2C3d4E5f6" * 3
"""Looks like a personal access token; made up, and put together so that no scanner finds it."""
WORD = "q9$" + "Lm2!z" + "Xw7#"
SECRET = f"token = {KEY}"


def test_the_first_version_has_an_id_anyone_can_compute(world: World) -> None:
    """A version's id covers system, definition, parent and track, and nothing else."""
    draft = world.draft()
    version = world.register(reason="the first one")
    assert version.id == version_id(SYSTEM, draft.definition.digest, None, "release")
    assert (version.label, version.parent, version.track) == ("v1", None, "release")
    assert (version.owner, version.registrar, version.reason) == (OWNER, DEV, "the first one")
    assert version.at == world.clock.now()


def test_what_was_registered_can_be_read_back_byte_by_byte(world: World) -> None:
    """Every file of the definition is in the registry, whatever becomes of the folder."""
    world.write(16, prompt="Sort, please.\n")
    version = world.register()
    world.write(16, prompt="changed since\n")
    definition = world.registry.versions.definition(version.definition)
    stored = {path: world.registry.objects.read(d) for path, d in definition.files().items()}
    assert stored["prompts/system.md"] == b"Sort, please.\n"
    assert stored["answer.py"] == (world.folder / "answer.py").read_bytes()


def test_the_next_version_builds_on_the_one_its_lock_names(world: World) -> None:
    """Registering a changed folder makes its lock's version the parent."""
    first = world.version(12)
    second = world.version(14)
    assert (second.parent, second.label) == (first.id, "v2")
    lock = read_lock(world.folder)
    assert lock is not None
    assert lock.version == second.id


def test_registering_an_unchanged_folder_returns_its_version(world: World) -> None:
    """A folder that is exactly its lock's version is that version; nothing new is recorded."""
    first = world.version(12)
    head = world.head()
    again = world.register_as(reason="another word", owner="somebody-else")
    assert (again.version, again.is_new, world.head()) == (first, False, head)


def test_registering_twice_without_the_lock_in_between_gives_the_same_version(
    world: World,
) -> None:
    """When the lock could not be written, registering again finds the version that is there."""
    world.version(12)
    lock = (world.folder / "lockgate.lock").read_bytes()
    world.write(14)
    second = world.register()
    (world.folder / "lockgate.lock").write_bytes(lock)
    again = world.register_as()
    assert (again.version, again.is_new) == (second, False)
    assert again.parent is not None
    assert again.parent.label == "v1"


def test_going_back_to_an_old_definition_is_a_version_of_its_own(world: World) -> None:
    """History is kept: the old text on top of the new one is a new version with that parent."""
    first = world.version(12)
    second = world.version(14)
    third = world.version(12)
    assert third.definition == first.definition
    assert (third.parent, third.label) == (second.id, "v3")
    assert third.id != first.id


def test_a_parent_can_be_named(world: World) -> None:
    """Whoever names a parent builds on that one, whatever the lock says."""
    first = world.version(12)
    world.version(14)
    third = world.version(15, parent=first)
    assert (third.parent, third.label) == (first.id, "v3")


def test_the_same_definition_as_a_named_parent_is_an_empty_change(world: World) -> None:
    """A version has to differ from its parent."""
    first = world.version(12)
    with pytest.raises(Refused) as refused:
        world.register(parent=first)
    assert refused.value.what == "an empty change: this is exactly `v1`, its parent"
    assert refused.value.hint == "`lockgate show v1`; change something first"
    assert world.registry.versions.count(SYSTEM) == 1


def test_a_parent_is_of_the_same_system(world: World) -> None:
    """A history stays within its system."""
    ours = world.version(12)
    toml = world.folder / "lockgate.toml"
    toml.write_text(toml.read_text().replace(f'name = "{SYSTEM}"', 'name = "other-desk"'))
    (world.folder / "lockgate.lock").unlink()
    with pytest.raises(UsageMistake) as mistake:
        world.register(parent=ours)
    assert mistake.value.what == (
        "`v1` is a version of `support-desk`; a parent is of the same system, here `other-desk`"
    )
    assert mistake.value.hint == (
        "`lockgate log --all -s other-desk` lists those that can be a parent"
    )
    assert world.registry.versions.systems() == [SYSTEM]


def test_labels_of_each_track_count_by_themselves(world: World) -> None:
    """Releases are v1, v2; experiments x1, x2, between them or not."""
    labels = [world.version(10).label]
    for right, track in ((11, "experiment"), (12, "release"), (13, "experiment")):
        world.write(right)
        labels.append(world.register(track=track).label)
    assert labels == ["v1", "x1", "v2", "x2"]


def test_an_experiment_may_hold_what_its_parent_holds(world: World) -> None:
    """The same definition on another track is another version, and no empty change."""
    first = world.version(12)
    experiment = world.register(track="experiment")
    assert (experiment.definition, experiment.parent) == (first.definition, first.id)
    assert experiment.label == "x1"


@pytest.mark.parametrize("reason", ["", "   ", "\n\t"])
def test_a_version_needs_a_reason(world: World, reason: str) -> None:
    """A version without a word of why is refused, and nothing is recorded."""
    head = world.head()
    with pytest.raises(UsageMistake) as mistake:
        world.register(reason=reason)
    assert (mistake.value.what, mistake.value.hint) == (
        "a version needs a reason",
        "say why: -m REASON",
    )
    assert world.head() == head


def test_a_reason_has_an_end(world: World) -> None:
    """A reason of more than 10,000 characters belongs into a file."""
    with pytest.raises(UsageMistake) as mistake:
        world.register(reason="x" * 10_001)
    assert mistake.value.what == "the reason has 10001 characters, at most 10000 are kept"
    assert mistake.value.hint == "keep the long story in a file of the definition"
    assert world.register(reason="x" * 10_000).reason == "x" * 10_000


def test_a_reason_that_is_no_text_is_refused(world: World) -> None:
    """Bytes that came through a terminal as halves of characters cannot be kept."""
    with pytest.raises(UsageMistake) as mistake:
        world.register(reason="caf\udce9")
    assert mistake.value.what == "the reason is not valid UTF-8"


def test_a_version_needs_an_owner(world: World) -> None:
    """Somebody answers for every version; the message says where to name them."""
    toml = world.folder / "lockgate.toml"
    toml.write_text(toml.read_text().replace(f'owner = "{OWNER}"\n', ""))
    with pytest.raises(UsageMistake) as mistake:
        world.register()
    assert mistake.value.what == "a version needs an owner"
    assert mistake.value.hint == (
        'pass --owner NAME, or write owner = "NAME" under [system] in lockgate.toml'
    )
    assert world.register(owner="night-shift").owner == "night-shift"


def test_an_owner_has_a_plain_name(world: World) -> None:
    """Names that could look alike are refused."""
    with pytest.raises(UsageMistake) as mistake:
        world.register(owner="ml lead")
    assert mistake.value.what == (
        "owner `ml lead` needs 1 to 64 of A-Z, a-z, 0-9 and `._@+-`, with a letter or digit at "
        "both ends"
    )
    assert mistake.value.hint == "pass --owner NAME"


def test_secrets_are_refused_before_a_byte_is_stored(world: World) -> None:
    """The message names file and line of every one, and nothing is recorded."""
    (world.folder / "prompts" / "a.md").write_text(f"Hello.\n{SECRET}\n")
    (world.folder / "prompts" / "b.md").write_text(f"{SECRET}\n")
    head = world.head()
    with pytest.raises(Refused) as refused:
        world.register()
    assert refused.value.what == "2 possible secrets in the folder; nothing was stored"
    assert [line.split()[0] for line in refused.value.problems] == [
        "prompts/a.md:2",
        "prompts/b.md:1",
    ]
    assert SECRET not in str(refused.value)
    assert refused.value.hint == ("take them out, or say why they are none: --keep-secrets REASON")
    assert world.head() == head
    assert not world.registry.objects.has(world.draft().definition.files()["prompts/a.md"])


def test_keeping_a_secret_is_recorded_with_its_reason(world: World) -> None:
    """Who overrides the check leaves why, and where, in the version itself."""
    (world.folder / "prompts" / "a.md").write_text(f"{SECRET}\n")
    version = world.register(keep_secrets="an example from the handbook")
    lines = version.reason.splitlines()
    assert lines[:3] == [
        "better queues",
        "",
        "kept in spite of the secret check: an example from the handbook",
    ]
    assert lines[3].startswith("prompts/a.md:1 ")
    assert SECRET not in version.reason


def test_a_secret_far_down_a_long_file_is_found(world: World) -> None:
    """A text is searched to its end, whatever comes before."""
    text = "All work and no play.\n" * 60_000
    (world.folder / "prompts" / "a.md").write_text(f"{text}{SECRET}\n")
    with pytest.raises(Refused) as refused:
        world.register()
    assert [line.split()[0] for line in refused.value.problems] == ["prompts/a.md:60001"]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (f'note = "{KEY}"', "[generation] note:1 GitHub token: note = "),
        (f'api_key = "{WORD}"', "[generation] api_key:1 value of a `api_key`: api_key = "),
        (f'stop = ["x", "{KEY}"]', "[generation] stop.2:1 GitHub token: stop = "),
        (f'call = {{ with = "{KEY}" }}', "[generation] call.with:1 GitHub token: with = "),
        (f'note = """one\ntwo {KEY}"""', "[generation] note:2 GitHub token: two "),
    ],
    ids=["vendor", "word", "list", "table", "lines"],
)
def test_secrets_in_settings_are_refused(world: World, setting: str, told: str) -> None:
    """A setting is registered for ever as well; the message names its component and key."""
    toml = world.folder / "lockgate.toml"
    toml.write_text(toml.read_text().replace("[generation]\n", f"[generation]\n{setting}\n"))
    head = world.head()
    with pytest.raises(Refused) as refused:
        world.register()
    (problem,) = refused.value.problems
    assert problem.startswith(f"lockgate.toml {told}")
    assert KEY not in problem
    assert WORD not in problem
    assert world.head() == head
    assert world.register(keep_secrets="made up").reason.splitlines()[3] == problem


def test_secrets_in_the_command_are_refused(world: World) -> None:
    """What is run is part of the version, and named as the file names it."""
    toml = world.folder / "lockgate.toml"
    run = f'kind = "command"\ncommand = ["python3", "--key={KEY}"]'
    text = toml.read_text().replace('kind = "python"\ntarget = "answer:answer"', run)
    toml.write_text(text)
    with pytest.raises(Refused) as refused:
        world.register()
    assert refused.value.problems == (
        'lockgate.toml [run] command.2:1 GitHub token: command = "--key=ghp_********"',
    )


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_keeping_a_secret_needs_a_reason(world: World, reason: str) -> None:
    """An override without a word of why is none, whether there is a secret or not."""
    for text in ("Hello.\n", f"{SECRET}\n"):
        (world.folder / "prompts" / "a.md").write_text(text)
        with pytest.raises(UsageMistake) as mistake:
            world.register(keep_secrets=reason)
        assert mistake.value.what == "keeping what looks like a secret needs a reason"
        assert mistake.value.hint == "say why it is none: --keep-secrets REASON"
    assert world.registry.versions.count(SYSTEM) == 0


def test_nobody_waits_while_a_large_file_is_copied(world: World) -> None:
    """Others can write until the moment the version itself is recorded."""
    (world.folder / "prompts" / "z.md").write_bytes(b"a" * 300_000)
    other = open_registry(world.root)

    def write(_: Path) -> None:
        with other.write() as writing:
            writing.append(Hold(SYSTEM, "staging", "while it is copied", DEV))

    with world.registry.write() as writing:
        writing.ensure_system(SYSTEM, DEV)
    draft = Meanwhile(world.draft(), write, at=None)
    version = world.register_as(draft).version
    assert len(world.registry.releases.holds(SYSTEM)) == draft.opened == 3
    digest = world.registry.versions.definition(version.definition).files()["prompts/z.md"]
    assert world.registry.objects.is_intact(digest)
    other.close()


def test_a_file_is_copied_once(world: World) -> None:
    """Putting a large file in place beforehand is no second reading of it."""
    (world.folder / "prompts" / "z.md").write_bytes(b"a" * 300_000)
    draft = Meanwhile(world.draft(), lambda _: None)
    world.register_as(draft)
    assert draft.opened == len(["searched for secrets", "copied", "made searchable"])


@pytest.mark.parametrize("size_bytes", [20, 300_000], ids=["small", "large"])
def test_a_file_that_changes_while_it_is_stored_stops_the_registration(
    world: World, size_bytes: int
) -> None:
    """What is stored is what was hashed; if a file moved in between, nothing is recorded."""
    (world.folder / "prompts" / "z.md").write_bytes(b"a" * size_bytes)
    draft = Meanwhile(world.draft(), lambda path: path.write_bytes(b"b" * size_bytes))
    head = world.head()
    with pytest.raises(IntegrityBroken) as broken:
        world.register_as(draft)
    assert (broken.value.what, broken.value.hint) == (
        "a file changed while it was stored",
        "run it again",
    )
    assert world.head() == head
    for digest in draft.definition.files().values():
        assert not world.registry.objects.has(digest)


def test_a_file_that_goes_away_stops_the_registration(world: World) -> None:
    """A file that vanished after it was read leaves nothing behind in the registry."""
    (world.folder / "prompts" / "z.md").write_text("soon gone\n")
    draft = Meanwhile(world.draft(), Path.unlink)
    head = world.head()
    with pytest.raises(UsageMistake, match=r"`prompts/z\.md` "):
        world.register_as(draft)
    assert world.head() == head


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ('name = "gpt-4o"', "model `gpt-4o` floats: nothing says which weights answer"),
        (
            'name = "small"\nrevision = "main"',
            "model `small` floats: revision `main` moves",
        ),
    ],
)
def test_a_floating_model_is_refused(world: World, model: str, says: str) -> None:
    """A name alone could change behind everybody's back; the folder does not even read."""
    toml = world.folder / "lockgate.toml"
    toml.write_text(toml.read_text().replace('name = "counter"\nrevision = "1"', model))
    with pytest.raises(UsageMistake) as mistake:
        world.register()
    assert says in str(mistake.value)
    assert world.registry.versions.systems() == [SYSTEM]
    assert world.registry.versions.count(SYSTEM) == 0


def test_a_floating_model_is_accepted_with_a_reason_that_is_part_of_the_version(
    world: World,
) -> None:
    """The override stands in the definition, for everybody to read."""
    toml = world.folder / "lockgate.toml"
    toml.write_text(
        toml.read_text().replace('revision = "1"', 'floating = "the vendor has no snapshots"')
    )
    version = world.register()
    settings = world.registry.versions.definition(version.definition).settings()
    assert settings["model"] == {"name": "counter", "floating": "the vendor has no snapshots"}


def test_a_version_is_found_by_its_prompt_and_reason(world: World) -> None:
    """Registering makes a version searchable."""
    world.write(12, prompt="Mind the umlauts.\n")
    version = world.register(reason="for customers abroad")
    for text in ("umlauts", "abroad", OWNER):
        assert world.registry.versions.search(SYSTEM, text) == [version]
    assert world.registry.versions.search(SYSTEM, "umlauts nowhere") == []


class TestAWinner:
    """`--from x1`: an experiment becomes a release with the experiment as its parent."""

    def test_comes_from_the_registry_and_not_from_the_folder(self, world: World) -> None:
        """A release from an experiment is what was measured, whatever the folder holds now."""
        world.version(12)
        experiment = self._experiment(world)
        world.write(3)
        done = register_from(world.registry, experiment, reason="it won", actor=DEV)
        assert (done.version.definition, done.version.parent) == (
            experiment.definition,
            experiment.id,
        )
        assert (done.version.label, done.version.track, done.is_new) == ("v2", "release", True)
        assert (done.version.owner, done.version.registrar) == (OWNER, DEV)

    def test_is_registered_once(self, world: World) -> None:
        """Doing it again returns the release that is there."""
        experiment = self._experiment(world)
        first = register_from(world.registry, experiment, reason="it won", actor=DEV)
        again = register_from(world.registry, experiment, reason="really", actor="other")
        assert (again.version, again.is_new) == (first.version, False)

    def test_cannot_be_a_release_already(self, world: World) -> None:
        """From a release there is nothing to make."""
        release = world.version(12)
        with pytest.raises(Refused) as refused:
            register_from(world.registry, release, reason="again", actor=DEV)
        assert refused.value.what == "an empty change: this is exactly `v1`, its parent"

    def test_needs_a_reason_and_may_get_another_owner(self, world: World) -> None:
        """It is a registration like any other."""
        experiment = self._experiment(world)
        with pytest.raises(UsageMistake, match="a version needs a reason"):
            register_from(world.registry, experiment, reason=" ", actor=DEV)
        done = register_from(
            world.registry, experiment, reason="it won", actor=DEV, owner="night-shift"
        )
        assert done.version.owner == "night-shift"

    def test_is_found_by_its_prompt(self, world: World) -> None:
        """The release is as searchable as the experiment."""
        experiment = self._experiment(world, prompt="Mind the umlauts.\n")
        done = register_from(world.registry, experiment, reason="it won", actor=DEV)
        found = world.registry.versions.search(SYSTEM, "umlauts")
        assert [version.id for version in found] == [done.version.id, experiment.id]

    @staticmethod
    def _experiment(world: World, **other: Any) -> Any:
        world.write(14, **other)
        return world.register(track="experiment")


def test_a_registration_that_fails_at_its_last_record_leaves_nothing(world: World) -> None:
    """Either everything is stored, or nothing is: a refusal at the end undoes the files too."""
    nowhere = replace(world.version(12), id="f" * 64)
    (world.folder / "prompts" / "new.md").write_text("only here\n")
    draft = world.draft()
    with pytest.raises(Rejected) as refused:
        world.register_as(draft, parent=nowhere)
    assert refused.value.what == (
        "the registry refused it: the parent is not a registered version of this system"
    )
    assert not world.registry.objects.has(draft.definition.files()["prompts/new.md"])
    with pytest.raises(LookupError):
        world.registry.versions.definition(draft.definition.digest)


@dataclass
class Meanwhile:
    """A draft whose `prompts/z.md` meets with something after it was searched for secrets."""

    draft: Any
    happens: Callable[[Path], Any]
    at: int | None = 2
    """At which opening; `None` at each."""
    opened: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.draft, name)

    def open(self, path: str) -> Any:
        if path == "prompts/z.md":
            self.opened += 1
            if self.at in (None, self.opened):
                self.happens(self.draft.root / path)
        return self.draft.open(path)
