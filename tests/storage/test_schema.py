"""The schema is whole: every key is guarded, every check repeated, every migration all or nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils import Database

from builders import FixedClock, add_version, append, make_registry
from lockgate.domain.upkeep import Note
from lockgate.errors import RegistryTrouble
from lockgate.storage import registry as registry_module
from lockgate.storage import schema, tables, triggers
from lockgate.storage.registry import FILE, FOLDER, SCHEMA_DIGEST, open_registry

FREE_TABLES = {"run_open", "lease", "full_check", "_sqlite_migrations"}
"""Tables that may change: an index, who is at work, what was hashed, and sqlite-utils' own."""


@pytest.fixture
def empty() -> sqlite3.Connection:
    """A database in memory with the schema and nothing in it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(Database(connection, recursive_triggers=False))
    return connection


def table_names(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' "
        "AND name NOT GLOB 'version_text*'"
    )
    return [name for (name,) in rows]


def test_the_digest_of_the_schema_is_the_one_that_is_checked(empty: sqlite3.Connection) -> None:
    """A new registry has the schema that opening one compares with."""
    assert schema.schema_digest(empty) == SCHEMA_DIGEST


def test_every_table_is_append_only_or_known_to_change(empty: sqlite3.Connection) -> None:
    """No table is forgotten: each is a record, a part of one, content, or free to change."""
    known = {*tables.RECORD_KEYS, *tables.PART_KEYS, "content"}
    assert set(table_names(empty)) == known | FREE_TABLES


def test_every_unique_key_is_guarded(empty: sqlite3.Connection) -> None:
    """No unique key that SQLite knows could be replaced: each holds one that triggers guard."""
    guarded = {**tables.RECORD_KEYS, **tables.PART_KEYS, "content": tables.CONTENT_KEYS}
    for table, keys in guarded.items():
        unique = [
            {column[2] for column in empty.execute(f'PRAGMA index_info("{index[1]}")')}
            for index in empty.execute(f'PRAGMA index_list("{table}")')
            if index[2]
        ]
        primary = {row[1] for row in empty.execute(f'PRAGMA table_info("{table}")') if row[5]}
        for columns in (*unique, primary):
            assert any(set(key) <= columns for key in keys), (table, columns)
        for key in keys:
            assert set(key) in (*unique, primary), (table, key)


def test_no_table_has_a_hidden_key(empty: sqlite3.Connection) -> None:
    """Each guarded table names its rows itself, so that no hidden rowid can be replaced."""
    for table in (*tables.RECORD_KEYS, *tables.PART_KEYS, "content"):
        (sql,) = empty.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        assert "WITHOUT ROWID" in sql or "INTEGER PRIMARY KEY" in sql, table


def test_every_check_is_repeated_as_a_trigger(empty: sqlite3.Connection) -> None:
    """Whatever a table CHECKs, a trigger refuses, too."""
    for table in (*tables.RECORD_KEYS, *tables.PART_KEYS, "content"):
        (sql,) = empty.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        repeated = empty.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (f"{table}_in_shape",)
        ).fetchone()
        count = repeated[0].count("RAISE(ABORT") if repeated else 0
        assert count == sql.count("CHECK (") - sql.count("CHECK (place > 0)"), table


def test_every_foreign_key_points_at_something_there(empty: sqlite3.Connection) -> None:
    """The keys that records point with are complete: SQLite finds no mismatch in them."""
    empty.execute("PRAGMA foreign_keys = ON")
    for table in table_names(empty):
        assert empty.execute(f'PRAGMA foreign_key_check("{table}")').fetchall() == []
        empty.execute(f'EXPLAIN DELETE FROM "{table}"')  # prepares all that points here


@pytest.mark.parametrize(
    "change",
    [
        'DROP TRIGGER "attempt_follows_settlement"',
        'DROP TRIGGER "ledger_never_deleted"',
        "DROP INDEX version_by_parent",
        "CREATE TRIGGER sqliteXquiet BEFORE INSERT ON lift BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER version_text_x BEFORE INSERT ON lift BEGIN SELECT RAISE(IGNORE); END",
        "ALTER TABLE hold ADD COLUMN note TEXT",
        "CREATE VIEW approved AS SELECT * FROM approval",
    ],
)
def test_a_changed_schema_is_seen(tmp_path: Path, change: str) -> None:
    """A registry that lost or gained a rule is looked at but not written to."""
    make_registry(tmp_path).close()
    with_change = sqlite3.connect(tmp_path / FOLDER / FILE, isolation_level=None)
    with_change.execute(change)
    with_change.close()
    registry = open_registry(tmp_path)
    assert not registry.is_writable
    assert registry.versions.systems() == []
    with pytest.raises(RegistryTrouble, match="missing or changed") as refusal:
        registry.write().__enter__()
    assert "restore a backup" in refusal.value.hint
    registry.close()


def test_statistics_do_not_change_the_schema(tmp_path: Path) -> None:
    """ANALYZE leaves tables of SQLite's own; they are no change."""
    make_registry(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FOLDER / FILE)
    connection.execute("ANALYZE")
    connection.close()
    registry = open_registry(tmp_path)
    assert registry.is_writable
    registry.close()


def test_a_newer_schema_is_only_looked_at(tmp_path: Path, clock: FixedClock) -> None:
    """A registry that a newer release wrote opens for looking; writing says to upgrade."""
    registry = make_registry(tmp_path, clock)
    add_version(registry)
    registry.close()
    newer = sqlite3.connect(tmp_path / FOLDER / FILE)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    registry = open_registry(tmp_path, clock=clock)
    assert [version.label for version in registry.versions.page("support-desk")] == ["v1"]
    with pytest.raises(RegistryTrouble, match="newer release of lockgate wrote it .schema 99"):
        registry.write().__enter__()
    with pytest.raises(RegistryTrouble) as refusal:
        add_version(registry, "two")
    assert refusal.value.hint == "looking still works; upgrade lockgate to go on"
    registry.close()


def test_migrations_build_everything_from_an_empty_file(tmp_path: Path) -> None:
    """The numbered migrations make an empty file a registry of this release, and run once."""
    connection = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    database = Database(connection, recursive_triggers=False)
    schema.migrate(database)
    assert schema.schema_digest(connection) == SCHEMA_DIGEST
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_NUMBER,)
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    applied = connection.execute("SELECT name FROM _sqlite_migrations").fetchall()
    assert applied == [("0001_the_loop",), ("0002_around_the_loop",)]
    schema.migrate(database)
    assert connection.execute("SELECT name FROM _sqlite_migrations").fetchall() == applied
    connection.close()


WRITTEN = Path(__file__).parent / "written"
"""Registries as earlier schemas wrote them, as SQL text; never written anew."""


@pytest.fixture
def of_schema_1(tmp_path: Path) -> Path:
    """The root of a registry that schema 1 wrote."""
    (tmp_path / FOLDER).mkdir()
    connection = sqlite3.connect(tmp_path / FOLDER / FILE, isolation_level=None)
    connection.executescript((WRITTEN / "schema-1.sql").read_text())
    connection.close()
    return tmp_path


def test_a_registry_of_schema_1_is_brought_up_to_date(of_schema_1: Path) -> None:
    """A registry that schema 1 wrote keeps all it says, and takes every record of today."""
    before = sqlite3.connect(of_schema_1 / FOLDER / FILE)
    ledger = before.execute("SELECT * FROM ledger ORDER BY seq").fetchall()
    removals = before.execute("SELECT seq, digest FROM removal").fetchall()
    before.close()
    registry = open_registry(of_schema_1, clock=FixedClock())
    assert registry.why_not is None
    live = registry.releases.live("support-desk", "production")
    assert live is not None
    assert live.attempt.generation == 2
    assert registry.upkeep.unclosed("support-desk", "practice")[0].attempt.ticket == "INC-1"
    version = registry.versions.named("support-desk", "v2")
    added = add_version(registry, "seven", parent=version, reason="from the dump")
    assert added.label == "v7"
    assert registry.versions.search("support-desk", "dump") == [added]
    append(registry, Note("support-desk", "production", 2, "still there", "on-call"))
    assert [note.text for note in registry.upkeep.notes("support-desk", "production", 2)] == [
        "still there"
    ]
    registry.close()
    after = sqlite3.connect(of_schema_1 / FOLDER / FILE)
    assert after.execute("SELECT * FROM ledger ORDER BY seq").fetchall()[: len(ledger)] == ledger
    assert after.execute("SELECT seq, digest FROM removal").fetchall() == removals
    assert removals
    assert schema.schema_digest(after) == SCHEMA_DIGEST
    after.close()


def test_a_registry_of_schema_1_can_be_looked_at_without_write_rights(of_schema_1: Path) -> None:
    """Who may only look sees an older registry as it is; it is not brought up to date."""
    registry = open_registry(of_schema_1, clock=FixedClock(), read_only=True)
    assert registry.versions.named("support-desk", "v2").label == "v2"
    assert registry.upkeep.notes("support-desk", "production", 2) == []
    assert registry.upkeep.unclosed("support-desk", "practice") != []
    assert registry.upkeep.rehearsals("support-desk") == []
    assert registry.upkeep.reviews("support-desk") == []
    registry.close()
    connection = sqlite3.connect(of_schema_1 / FOLDER / FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_migration_that_is_refused_leaves_schema_1(
    of_schema_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that breaks off leaves an older registry whole, with its triggers."""
    path = of_schema_1 / FOLDER / FILE
    before = sqlite3.connect(path)
    digest = schema.schema_digest(before)
    before.close()
    monkeypatch.setattr(triggers, "triggers", lambda: ["CREATE TABLE version (again)"])
    with pytest.raises(RegistryTrouble):
        open_registry(of_schema_1)
    after = sqlite3.connect(path)
    assert schema.schema_digest(after) == digest
    assert after.execute("PRAGMA user_version").fetchone() == (1,)
    after.close()


def test_a_migration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that breaks off leaves the file as it was, and no registry under its name."""
    statements = [*triggers.triggers(), "CREATE TABLE version (again)"]
    monkeypatch.setattr(triggers, "triggers", lambda: statements)
    with pytest.raises(RegistryTrouble):
        make_registry(tmp_path)
    assert list((tmp_path / FOLDER).iterdir()) == []
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        registry_module._migrate(connection, tmp_path / "old.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


KILLED_WHILE_MIGRATING = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from builders import make_registry
from lockgate.storage import schema
build = schema.make_triggers
def die(connection):
    build(connection)
    os.kill(os.getpid(), signal.SIGKILL)
schema.make_triggers = die
make_registry(Path({root!r}))
"""


def test_a_migration_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """A process that dies while it makes a registry leaves none; the next one makes it."""
    code = KILLED_WHILE_MIGRATING.format(path=sys.path, root=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / FOLDER / FILE).exists()
    with pytest.raises(RegistryTrouble, match="there is no registry"):
        open_registry(tmp_path)
    registry = make_registry(tmp_path)
    assert registry.is_writable
    registry.close()
