"""The registry's schema: its number, the migrations that build it, and how a changed one is seen.

The tables are in `tables`, the rules of the order in `order_rules`; `triggers` makes both hold on
every connection.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x4C4F434B
"""`LOCK` in ASCII: marks the file as a registry."""

SCHEMA_NUMBER = 2
"""`PRAGMA user_version` of a registry that this release writes."""


def schema_digest(connection: sqlite3.Connection) -> str:
    """Return a digest of all tables, indexes and triggers, to see that none was dropped."""
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_*' "
        "AND tbl_name <> '_sqlite_migrations' "
        # FTS5 makes these itself, and not the same in every release of SQLite.
        "AND tbl_name NOT GLOB 'version_text_*' ORDER BY type, name"
    )
    text = "\n".join(f"{kind} {name} {sql}" for kind, name, sql in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def migrate(database: Database) -> None:
    """Bring a registry to this release's schema, one numbered migration after the other.

    The caller holds the transaction. A migration makes tables; the triggers, which are rules about
    all of them, are made anew after the last one.
    """
    from sqlite_utils.migrations import Migrations

    from lockgate.storage import tables

    migrations = Migrations("lockgate")

    @migrations(name="0001_the_loop")
    def _the_loop(db: Database) -> None:
        _execute(db.conn, tables.SCHEMA_1)

    @migrations(name="0002_around_the_loop")
    def _around_the_loop(db: Database) -> None:
        _execute(db.conn, tables.SCHEMA_2)

    if not migrations.pending(database):
        return
    _drop_triggers(database.conn)
    migrations.apply(database)
    make_triggers(database.conn)
    database.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.conn.execute(f"PRAGMA user_version = {SCHEMA_NUMBER}")


def stand_in(connection: sqlite3.Connection, number: int) -> None:
    """Let today's questions be asked of an older registry that may not be changed.

    The tables it lacks are there for this connection alone, and empty. So are those that were made
    anew since: no release that wrote the older schema recorded anything in them.

    Args:
        connection: To look through.
        number: The registry's schema.
    """
    from lockgate.storage import tables

    for script in tables.SCHEMAS[number:]:
        for statement in script.split(";\n"):
            if statement.strip().startswith("CREATE TABLE "):
                connection.execute(statement.replace("CREATE TABLE ", "CREATE TEMP TABLE ", 1))


def _execute(connection: sqlite3.Connection, script: str) -> None:
    """Run statement after statement in the transaction that is open; a script would end it."""
    for statement in script.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _drop_triggers(connection: sqlite3.Connection) -> None:
    old = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in old:
        connection.execute(f'DROP TRIGGER "{name}"')


def make_triggers(connection: sqlite3.Connection) -> None:
    """Make every trigger that this release knows."""
    from lockgate.storage.triggers import triggers

    for statement in triggers():
        connection.execute(statement)
