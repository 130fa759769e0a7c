"""Triggers: every key, CHECK and rule of the order again, on whatever connection a row comes.

Foreign keys and checks are settings of each connection, and `INSERT OR REPLACE` would slip past
delete triggers: so each append-only table also refuses an insert over any of its keys.
"""

from __future__ import annotations

import re

from lockgate.storage.order_rules import ORDER_RULES
from lockgate.storage.tables import CONTENT_KEYS, PART_KEYS, RECORD_KEYS, SCHEMAS

_FOLLOW_UP = (
    """CREATE TRIGGER "version_has_line" AFTER INSERT ON "version"
BEGIN INSERT INTO lineage (seq, parent, version, label)
    SELECT NEW.seq, (SELECT p.seq FROM version p WHERE p.id = NEW.parent), NEW.id, NEW.label;
END;""",
    """CREATE TRIGGER "run_is_open" AFTER INSERT ON "run"
BEGIN INSERT INTO run_open (system, seq) VALUES (NEW.system, NEW.seq); END;""",
    """CREATE TRIGGER "run_is_over" AFTER INSERT ON "run_end"
BEGIN DELETE FROM run_open WHERE (system, seq) IN
    (SELECT system, seq FROM run WHERE id = NEW.run); END;""",
)
"""Keep `lineage`, narrow rows to walk from parent to parent, ten times as fast as by the wide rows
with their hashed ids, and `run_open`, an index of the runs without an end. Both repeat records.
"""


def _trigger(name: str, event: str, table: str, when: str, says: str) -> str:
    return (
        f'CREATE TRIGGER "{name}" BEFORE {event} ON "{table}" WHEN {when}\n'
        f"BEGIN SELECT RAISE(ABORT, 'lockgate: {says}'); END;"
    )


def _once(table: str, key: tuple[str, ...]) -> str:
    same = " AND ".join(f't."{column}" = NEW."{column}"' for column in key)
    return _trigger(
        f"{table}_{'_'.join(key)}_once",
        "INSERT",
        table,
        f'EXISTS (SELECT 1 FROM "{table}" t WHERE {same})',
        f"{table} {' and '.join(key)} exists already",
    )


def _balanced(text: str, start: int) -> str:
    """Return what stands in the parentheses that open at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 1 : position]
    raise ValueError(f"no end of the parenthesis in `{text[start : start + 60]}`")


def _body(table: str) -> str:
    """Return what stands between the parentheses of a table's newest definition."""
    opening = f"CREATE TABLE {table} ("
    script = next(script for script in reversed(SCHEMAS) if opening in script)
    return _balanced(script, script.index("(", script.index(opening)))


def checks(table: str) -> list[str]:
    """Return the CHECKs that a table's rows have to meet, as written."""
    body = _body(table)
    return [_balanced(body, match.end() - 1) for match in re.finditer(r"\bCHECK \(", body)]


def _columns(table: str) -> list[str]:
    return list(re.findall(r"^    ([a-z_]+) [A-Z]", _body(table), re.MULTILINE))


def _in_shape(table: str) -> list[str]:
    """Return the trigger that repeats a table's CHECKs, if it has any."""
    words = re.compile(rf"'[^']*'|\b({'|'.join(_columns(table))})\b")
    refusals = []
    for check in checks(table):
        if check.startswith("place "):  # SQLite has not chosen it yet: it is -1 here
            continue
        on_new = words.sub(lambda found: f"NEW.{found[1]}" if found[1] else found[0], check)
        says = " ".join(check.split()).replace("'", "''")
        refusals.append(
            f"SELECT RAISE(ABORT, 'lockgate: {table} needs {says}') WHERE NOT ({on_new});"
        )
    if not refusals:
        return []
    return [
        f'CREATE TRIGGER "{table}_in_shape" BEFORE INSERT ON "{table}"\n'
        f"BEGIN {' '.join(refusals)} END;"
    ]


def _in_ledger(table: str) -> str:
    return _trigger(
        f"{table}_in_ledger",
        "INSERT",
        table,
        "NOT EXISTS (SELECT 1 FROM ledger l WHERE l.seq = (SELECT max(seq) FROM ledger) "
        f"AND l.seq = NEW.seq AND l.kind = '{table}' AND l.at = NEW.at)",
        f"{table} has no ledger row of its own",
    )


def triggers() -> list[str]:
    """Return every trigger of the schema as SQL, in a fixed order.

    SQLite fires the trigger that was made last first. Nothing rests on that but which of several
    refusals is said: keys that are taken come before rules, so that a racer hears of the winner.
    """
    statements: list[str] = []
    for table in (*RECORD_KEYS, *PART_KEYS, "content"):
        statements += _in_shape(table)
    for table, rule, when, says in reversed(ORDER_RULES):
        statements.append(_trigger(f"{table}_{rule}", "INSERT", table, when, says))
    statements += [_in_ledger(table) for table in RECORD_KEYS]
    for table, keys in (*RECORD_KEYS.items(), *PART_KEYS.items()):
        for event, word in (("UPDATE", "updated"), ("DELETE", "deleted")):
            says = f"{table} is append-only"
            statements.append(_trigger(f"{table}_never_{word}", event, table, "1", says))
        statements += [_once(table, key) for key in reversed(keys)]
    statements.append(
        _trigger("content_never_updated", "UPDATE", "content", "1", "content never changes")
    )
    statements.append(
        _trigger(
            "content_goes_only_after_removal",
            "DELETE",
            "content",
            "NOT EXISTS (SELECT 1 FROM removal r WHERE r.digest = OLD.digest "
            "AND r.seq = (SELECT max(seq) FROM ledger))",
            "content goes only right after its recorded removal",
        )
    )
    statements += [_once("content", key) for key in CONTENT_KEYS]
    statements += _FOLLOW_UP
    return statements
