"""Opening, looking and writing when the file, the disk or the rights are not as one would wish."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import SYSTEM, FixedClock, add_version, hold, make_live, make_registry
from lockgate.errors import Refused, RegistryTrouble, Rejected
from lockgate.storage import registry as registry_module
from lockgate.storage.mounts import network_filesystem
from lockgate.storage.registry import FILE, FOLDER, Registry, create_registry, open_registry
from tests.storage import children

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike the one tests usually get."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-test-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def told_as_nobody(act: Callable[..., Any], *args: Any) -> tuple[str, Any]:
    """Run a function of `children` as a user without rights and return what it tells."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=children.as_nobody, args=(act, theirs, *args))
    process.start()
    theirs.close()
    told: tuple[str, Any] = ours.recv()
    process.join(30)
    ours.close()
    return told


def only_to_read(root: Path) -> None:
    """Take away everybody's right to write."""
    folder = root / FOLDER
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


def test_a_registry_is_where_it_was_made(tmp_path: Path) -> None:
    """A new registry has an identity, is for its owner alone, and opens again."""
    registry = make_registry(tmp_path)
    identity = registry.id
    registry.close()
    registry.close()
    assert (tmp_path / FOLDER / FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [FILE]
    again = open_registry(tmp_path)
    assert again.id == identity
    assert again.is_writable
    again.close()


def test_records_are_synced_and_batches_are_not(registry: Registry) -> None:
    """A record waits for the disk; a batch of answers does not."""

    def level() -> int:
        return int(registry._connection.execute("PRAGMA synchronous").fetchone()[0])

    full, normal = 2, 1
    with registry.write():
        assert level() == full
    with registry.write(durable=False):
        assert level() == normal
    with registry.write():
        assert level() == full
    for pragma in ("foreign_keys", "recursive_triggers"):
        assert registry._connection.execute(f"PRAGMA {pragma}").fetchone() == (1,)


def test_a_failed_write_leaves_nothing(registry: Registry) -> None:
    """Whatever ends a write early, nothing of it is there, and the next one works."""
    before = registry.ledger.head()
    with pytest.raises(KeyboardInterrupt), registry.write() as writing:
        writing.ensure_system("half", "support-dev")
        raise KeyboardInterrupt
    assert registry.ledger.head() == before
    assert registry.versions.systems() == []
    assert add_version(registry).label == "v1"


def test_a_view_does_not_change_while_it_is_held(tmp_path: Path) -> None:
    """Queries within one read see one state, whatever others write; `changed` tells afterwards."""
    registry = make_registry(tmp_path)
    add_version(registry, "one")
    other = open_registry(tmp_path)
    seen = registry.changed()
    with registry.read():
        assert registry.versions.count(SYSTEM) == 1
        add_version(other, "two")
        assert registry.versions.count(SYSTEM) == 1
    assert registry.versions.count(SYSTEM) == 2
    assert registry.changed() != seen
    seen = registry.changed()
    add_version(registry, "three")
    assert registry.changed() == seen  # one's own writes are no news
    other.close()
    registry.close()


def test_no_registry_says_how_to_make_one(tmp_path: Path) -> None:
    """A folder without a registry is told so, with the command that makes one."""
    with pytest.raises(RegistryTrouble, match="there is no registry in") as refusal:
        open_registry(tmp_path)
    assert refusal.value.hint == "make one: `lockgate init`"


@pytest.mark.parametrize(
    "content",
    [b"", b"just some words\n" * 500, b"SQLite format 3\x00" + b"\x00" * 4000],
    ids=["empty", "words", "header only"],
)
def test_what_is_no_registry_is_not_touched(tmp_path: Path, content: bytes) -> None:
    """An empty file, garbage, or a header alone is refused and stays byte for byte as it was."""
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / FILE
    path.write_bytes(content)
    with pytest.raises(RegistryTrouble, match="is not a Lockgate registry") as refusal:
        open_registry(tmp_path)
    assert "--registry" in refusal.value.hint
    assert path.read_bytes() == content
    assert [other.name for other in (tmp_path / FOLDER).iterdir()] == [FILE]


def test_another_programs_database_is_not_touched(tmp_path: Path) -> None:
    """Somebody else's SQLite file is refused and keeps its journal mode and its tables."""
    (tmp_path / FOLDER).mkdir()
    path = tmp_path / FOLDER / FILE
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(RegistryTrouble, match="is not a Lockgate registry"):
            open_registry(tmp_path, read_only=read_only)
    assert path.read_bytes() == before
    with pytest.raises(Refused):
        create_registry(tmp_path, actor="support-dev")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A closed registry of some size."""
    registry = make_registry(tmp_path)
    parent = None
    for number in range(120):
        parent = add_version(registry, f"prompt {number}", parent=parent, reason="because " * 20)
    registry.close()
    return tmp_path


def test_a_truncated_file_is_told_as_damage(many: Path) -> None:
    """A file that lost its end is called damaged, with what helps; never a traceback."""
    path = many / FOLDER / FILE
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 // 4096 * 4096])
    with pytest.raises(RegistryTrouble, match="is damaged") as refusal:
        registry = open_registry(many)
        try:
            registry.versions.page(SYSTEM, limit=500)
        finally:
            registry.close()
    assert "restore a backup of `.lockgate/`" in refusal.value.hint
    assert refusal.value.exit_code == 3


def test_garbage_in_the_middle_is_told_as_damage(many: Path) -> None:
    """Pages that were overwritten are called damaged by every kind of query."""
    path = many / FOLDER / FILE
    connection = sqlite3.connect(path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1").fetchall()
    connection.close()
    data = bytearray(path.read_bytes())
    for (page,) in roots:
        data[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(data)
    asked: list[Callable[[Registry], object]] = [
        lambda registry: registry.versions.page(SYSTEM),
        lambda registry: list(registry.versions.ancestors("a" * 64)),
        lambda registry: registry.versions.search(SYSTEM, "because"),
        lambda registry: list(registry.ledger.entries()),
        lambda registry: registry.objects.read("a" * 64),
        lambda registry: registry.releases.deployments(SYSTEM, "production"),
    ]
    told = []
    for ask in asked:
        registry = open_registry(many)
        try:
            ask(registry)
        except RegistryTrouble as trouble:
            told.append(trouble.what)
        finally:
            registry.close()
    assert len(told) == len(asked)
    assert all("is damaged" in what for what in told)


def test_looking_only_refuses_to_write(tmp_path: Path) -> None:
    """A registry opened for looking refuses to write and says how to go on."""
    make_registry(tmp_path).close()
    registry = open_registry(tmp_path, read_only=True)
    assert not registry.is_writable
    with pytest.raises(RegistryTrouble, match="opened for looking only") as refusal:
        add_version(registry)
    assert refusal.value.hint == "leave --read-only away"
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        registry._connection.execute("DELETE FROM lease")
    registry.close()


def test_a_reader_without_rights_looks_at_an_idle_registry(open_folder: Path) -> None:
    """Whoever may not write can still look when nobody is at work, and is told about writing."""
    registry = make_registry(open_folder)
    add_version(registry)
    registry.close()
    only_to_read(open_folder)
    kind, told = told_as_nobody(children.look, open_folder)
    assert (kind, told["labels"]) == ("returned", ["v1"])
    assert told["why_not"] == "you may not write to it"
    assert told["refusal"] == (
        "the registry cannot be written: you may not write to it\n"
        "hint: looking still works; ask its owner for write rights to go on"
    )
    assert [path.name for path in (open_folder / FOLDER).iterdir()] == [FILE]


@pytest.fixture
def in_use(open_folder: Path) -> Iterator[Path]:
    """A registry that somebody else has open and has just written to."""
    registry = make_registry(open_folder)
    add_version(registry)
    only_to_read(open_folder)
    yield open_folder
    registry.close()


def test_a_reader_without_rights_sees_what_is_in_the_log(in_use: Path) -> None:
    """While somebody works, a reader who may read the log sees what is committed."""
    kind, told = told_as_nobody(children.look, in_use)
    assert (kind, told["labels"]) == ("returned", ["v1"])


def test_a_reader_without_rights_to_the_log_is_told(in_use: Path) -> None:
    """A log that may not be read could hold news: looking is refused, and whom to ask is said."""
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (in_use / FOLDER / name).chmod(0)
    kind, told = told_as_nobody(children.look, in_use)
    assert kind == "RegistryTrouble"
    assert "cannot be read without write rights while it is in use" in told
    assert "hint: ask its owner to add you to the registry's group" in told


def test_an_object_without_rights_is_told(open_folder: Path) -> None:
    """An object's file that may not be read is trouble with rights, not damage."""
    registry = make_registry(open_folder)
    with registry.write() as writing:
        digest = writing.put(b"weights" * 100_000)
    registry.close()
    only_to_read(open_folder)
    (open_folder / FOLDER / "objects" / digest[:2] / digest).chmod(0)
    kind, told = told_as_nobody(children.read_object, open_folder, digest)
    assert kind == "RegistryTrouble"
    assert told.startswith(f"object {digest[:12]} cannot be read: Permission denied")
    assert "hint: check rights with `ls -l" in told


def test_a_folder_that_may_not_be_written_makes_no_registry(open_folder: Path) -> None:
    """Making a registry where one may not write names the folder and leaves nothing."""
    open_folder.chmod(0o555)
    kind, told = told_as_nobody(children.make, open_folder)
    assert kind == "RegistryTrouble"
    assert told.startswith(f"cannot make `{open_folder / FOLDER}`: Permission denied")
    assert "hint: check the folder's rights with `ls -ld" in told
    assert list(open_folder.iterdir()) == []


def told_with_limit(act: Callable[..., Any], limit: int, *args: Any) -> tuple[str, Any]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=children.with_file_limit, args=(act, limit, theirs, *args))
    process.start()
    theirs.close()
    told: tuple[str, Any] = ours.recv()
    process.join(30)
    ours.close()
    return told


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    """When no more can be written the message says so; what was there stays readable."""
    registry = make_registry(tmp_path)
    add_version(registry)
    registry.close()
    limit = (tmp_path / FOLDER / FILE).stat().st_size + 300_000
    kind, (what, hint, labels) = told_with_limit(children.fill, limit, tmp_path)
    assert kind == "returned"
    assert what.startswith(f"the disk below `{tmp_path / FOLDER}` is full or failing")
    assert hint == "make room, see `df -h`, then run it again: nothing half-written remains"
    assert labels == ["v1"]
    registry = open_registry(tmp_path)
    assert registry._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    held = len(registry.releases.holds(SYSTEM))
    head = registry.ledger.head()
    assert held > 0
    assert head is not None
    assert head.seq == 3 + held
    hold(registry)
    registry.close()


def test_a_full_disk_keeps_no_half_object(tmp_path: Path) -> None:
    """A large object that does not fit leaves neither a file nor a row."""
    make_registry(tmp_path).close()
    limit = (tmp_path / FOLDER / FILE).stat().st_size + 100_000
    kind, told = told_with_limit(children.store_large, limit, tmp_path, 3_000_000)
    assert kind == "RegistryTrouble"
    assert told.startswith("cannot store an object of 3000000 bytes: File too large")
    assert [path for path in (tmp_path / FOLDER / "objects").rglob("*") if path.is_file()] == []
    registry = open_registry(tmp_path)
    assert registry._connection.execute("SELECT count(*) FROM object").fetchone() == (0,)
    registry.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_small_disk(tmp_path: Path) -> None:
    """On a disk that is really full a write is refused, and works again when there is room."""
    code = (
        "import sys; sys.path[:0] = {path!r}\n"
        "from pathlib import Path\n"
        "from builders import make_registry, add_version, hold\n"
        "from tests.storage import children\n"
        "root = Path({root!r})\n"
        "registry = make_registry(root); add_version(registry); registry.close()\n"
        "ballast = root / 'ballast'; ballast.write_bytes(b'0' * 500_000)\n"
        "what, hint, labels = children.fill(root)\n"
        "assert 'is full or failing' in what, what\n"
        "assert labels == ['v1'], labels\n"
        "ballast.unlink()\n"
        "from lockgate.storage.registry import open_registry\n"
        "registry = open_registry(root); hold(registry); registry.close()\n"
        "print('went on')\n"
    )
    script = code.format(path=sys.path, root=str(tmp_path))
    mounted = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && exec "$1" -c "$2"']
        + [str(tmp_path), sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in mounted.stderr or "unshare" in mounted.stderr:
        pytest.skip("mounting is not allowed here")
    assert (mounted.stdout, mounted.returncode) == ("went on\n", 0), mounted.stderr


MOUNTS = """/dev/vda / ext4 rw 0 0
fileserver:/home /home nfs4 rw 0 0
/dev/vdb /home/local ext4 rw 0 0
//office/team /mnt/the\\040team cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
portal /run/portal fuse.portal rw 0 0
fileserver:/x /srv nfs rw 0 0
/dev/vdc /srv xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/registry", None),
        ("/home/ml/registry", "nfs4"),
        ("/home/local/registry", None),
        ("/homes/registry", None),
        ("/mnt/the team/registry", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/run/portal/x", None),
        ("/srv/registry", None),
    ],
)
def test_network_filesystems_are_known(path: str, kind: str | None) -> None:
    """The mount that is nearest to a path, and seen there, says whether it is a network's."""
    assert network_filesystem(Path(path), MOUNTS) == kind


def test_a_registry_on_a_network_filesystem_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is one made there nor opened, and what to do instead is said."""
    make_registry(tmp_path / "before").close()
    mounts = f"fileserver:/x {tmp_path} nfs4 rw 0 0"
    monkeypatch.setattr(
        registry_module, "network_filesystem", lambda root: network_filesystem(root, mounts)
    )
    for act in (make_registry, open_registry):
        with pytest.raises(RegistryTrouble, match="lies on a network filesystem .nfs4") as refusal:
            act(tmp_path / "before")
        assert "over ssh" in refusal.value.hint


def test_a_refusal_names_the_rule_and_the_way_on(registry: Registry) -> None:
    """What a rule refuses is told in the rule's words, with a hint and exit code 1."""
    version, _ = make_live(registry)
    with pytest.raises(Rejected) as refusal:
        add_version(registry, parent=version)
    assert refusal.value.what == "the registry refused it: an empty change is no version"
    assert refusal.value.hint == "`lockgate status` shows what is next"
    assert refusal.value.exit_code == 1


def test_a_programmers_mistake_stays_a_traceback(tmp_path: Path) -> None:
    """Using a closed registry is not dressed up as trouble with the disk."""
    registry = make_registry(tmp_path, FixedClock())
    registry.close()
    with pytest.raises(sqlite3.ProgrammingError):
        registry.versions.systems()
