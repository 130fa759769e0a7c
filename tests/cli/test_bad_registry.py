"""A registry that cannot be read or written: exit 3, or 6 where bytes are wrong, and nothing lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.desks import Desk, Said, environment
from lockgate.storage import registry

LOOKING = (["change"], ["status"], ["policy"], ["suite"], ["approve"])
WRITING = (
    ["register", "-m", "x"],
    ["evaluate"],
    ["gate", "--to", "staging"],
    ["promote", "--to", "staging"],
    ["ship", "--to", "staging", "-m", "x"],
    ["suite", "apply"],
)


def database(desk: Desk) -> Path:
    """Return the registry's file, with everything written into it and nobody at it."""
    path = desk.root / ".lockgate" / "registry.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def clear_error(said: Said, code: int = 3) -> None:
    """Hold what every trouble with the registry looks like."""
    assert said.code == code, said
    assert said.err.startswith("error: ") and "\nhint: " in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "data",
    [b"", b"not a database", bytes(range(256)) * 32, b"SQLite format 3\0"],
    ids=["empty", "words", "noise", "beginning"],
)
@pytest.mark.parametrize("words", [*LOOKING, *WRITING, ["init"]], ids=" ".join)
def test_a_file_that_is_no_registry(new: Desk, data: bytes, words: list[str]) -> None:
    """Garbage under the registry's name is told, and not overwritten."""
    path = database(new)
    path.write_bytes(data)
    said = new(*words)
    clear_error(said)
    assert said.err.splitlines()[0] == f"error: `{path}` is not a Lockgate registry"
    assert path.read_bytes() == data


def test_somebody_else_s_database(new: Desk) -> None:
    """A database of another program is not taken for a registry, and not touched."""
    path = database(new)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    for words in (*LOOKING, *WRITING):
        clear_error(new(*words))
    assert path.read_bytes() == before


def test_a_registry_of_a_newer_release(new: Desk) -> None:
    """Looking still works; writing is refused with the release as the reason."""
    new.done("register", "-m", "x")
    new.done("evaluate")
    with closing(sqlite3.connect(database(new))) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = new.state()
    assert new.done("change").out == "✔ desk is exactly v1\n"
    for words in (["evaluate", "--fresh"], *WRITING[2:5]):
        said = new(*words)
        clear_error(said)
        assert "a newer release of lockgate wrote it (schema 999)" in said.err
    assert new.state() == before


def test_a_registry_that_was_cut_off(new: Desk) -> None:
    """Half a file is damage: 3 or 6, never a traceback or a half truth."""
    new.done("ship", "--to", "staging", "-m", "x")
    path = database(new)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    for words in (*LOOKING, ["register", "-m", "y"], ["gate", "--to", "staging"]):
        said = new(*words)
        assert said.code in (3, 6), (words, said)
        assert "Traceback" not in said.err


def test_a_folder_where_the_registry_should_be(new: Desk) -> None:
    """A directory named like the file is no registry."""
    path = database(new)
    path.unlink()
    path.mkdir()
    clear_error(new("change"))


def test_a_registry_one_may_only_read(open_to_all: Desk, nobody: tuple[str, ...]) -> None:
    """Who may not write can look at everything, and each refusal says whose rights are missing."""
    desk = open_to_all
    desk.done("ship", "--to", "staging", "-m", "x")
    path = database(desk)
    data = path.read_bytes()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    for words in LOOKING:
        assert desk.outside(*words, before=nobody).code == 0, words
    desk.edit("policy.toml", 'max_age = "7d"', 'max_age = "6d"')
    for words in (
        ["evaluate", "--fresh"],
        ["gate", "--to", "production", "--again"],
        ["promote", "--to", "production"],
        ["policy", "apply"],
    ):
        said = desk.outside(*words, before=nobody)
        clear_error(said)
        assert said.err.startswith("error: the registry cannot be written: ")
    assert path.read_bytes() == data


def test_a_registry_one_may_not_even_read(open_to_all: Desk, nobody: tuple[str, ...]) -> None:
    """Without any right the path is named, with who can help."""
    (open_to_all.root / ".lockgate").chmod(0)
    said = open_to_all.outside("change", before=nobody)
    (open_to_all.root / ".lockgate").chmod(0o755)
    clear_error(said)
    path = open_to_all.root / ".lockgate/registry.db"
    assert said.err.startswith(f"error: `{path}` says no: permission denied\n")
    assert said.hint == f"its owner can let you in: `ls -ld {path}` shows who that is"


def full_disk() -> None:
    """Let a process write files of no more than 200 KiB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 * 1024, 200 * 1024))


def test_a_disk_that_takes_no_more(new: Desk) -> None:
    """A registration that does not fit is refused, nothing of it stays, and later it fits."""
    new.write("systems/desk/prompts/praise.txt", os.urandom(400_000))
    before = new.state()
    said = new.outside("register", "-m", "large", preexec_fn=full_disk)
    clear_error(said)
    assert "full" in said.err or "too large" in said.err or "space" in said.err
    assert new.state() == before
    assert not (new.root / "systems/desk/lockgate.lock").exists()
    assert new.done("register", "-m", "large").out.startswith("✔ registered v1")


def test_a_full_disk_while_evaluating(new: Desk) -> None:
    """Answers that do not fit end the run with exit 3; once there is room it goes on."""
    new.done("register", "-m", "x")
    database(new)
    tiny = new.root / ".lockgate" / "registry.db"

    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = tiny.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit))

    said = new.outside("evaluate", preexec_fn=no_room)
    clear_error(said)
    assert "16 answers" in new.done("evaluate").out


def test_a_registry_that_is_deleted_while_in_use(new: Desk) -> None:
    """An evaluation whose registry disappears ends with a clear error, not with a new registry."""
    new.write(
        "systems/desk/answer.py",
        "import shutil\n\n"
        "def answer(input, settings):\n"
        f"    shutil.rmtree({str(new.root / '.lockgate')!r}, ignore_errors=True)\n"
        "    return {'label': 'praise'}\n",
    )
    new.done("register", "-m", "deletes the registry")
    said = new.outside("evaluate")
    assert said.code in (3, 5, 6), said  # whichever missed it first
    assert "Traceback" not in said.err
    assert not (new.root / ".lockgate" / "registry.db").exists()


def test_a_registry_somebody_is_writing(new: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the registry is named; nothing that was asked for was begun."""
    assert registry._begin.__kwdefaults__ is not None
    monkeypatch.setitem(registry._begin.__kwdefaults__, "patience_s", 0.5)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys\n"
            f"c = sqlite3.connect({str(database(new))!r}, isolation_level=None)\n"
            "c.execute('BEGIN IMMEDIATE')\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        said = new("register", "-m", "x")
    finally:
        holder.communicate()
    clear_error(said)
    assert f"the registry is being written by process {holder.pid} (" in said.err
    assert new.labels() == []


def test_an_object_that_is_damaged(new: Desk) -> None:
    """A version whose bytes are not what was registered is neither evaluated nor promoted."""
    new.done("register", "-m", "x")
    new.done("evaluate")
    with closing(sqlite3.connect(database(new))) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'content'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        changed = connection.execute(
            "UPDATE content SET bytes ="
            " CAST(replace(CAST(bytes AS TEXT), 'thanks', 'THANKS') AS BLOB)"
            " WHERE instr(CAST(bytes AS TEXT), 'thanks') > 0"
        )
        assert changed.rowcount
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    for words in (["evaluate", "--fresh"], ["promote", "--to", "staging"]):
        said = new(*words)
        clear_error(said, code=6)
    assert "prompts/praise.txt" in said.err
