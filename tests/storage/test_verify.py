"""The ledger, held against itself and against every record: each kind of damage has a name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from builders import FixedClock, add_version, make_live, make_registry, quarantine
from lockgate.domain.upkeep import LedgerBreak, Removal
from lockgate.storage import verify
from lockgate.storage.registry import FILE, FOLDER, Registry, open_registry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A registry with a record of most kinds."""
    registry = make_registry(tmp_path, FixedClock())
    first, _ = make_live(registry)
    make_live(registry, "two", parent=first)
    quarantine(registry, first)
    trial = add_version(registry, "try", parent=first, track="experiment")
    prompt = registry.versions.definition(trial.definition).files()["prompts/system.md"]
    with registry.write() as writing:
        writing.remove_content(prompt, "expire", "it is old", "ml-lead")
    registry.close()
    return tmp_path


def damage(root: Path, *statements: str) -> None:
    """Change the file as no lockgate would, with the rules taken away."""
    with closing(sqlite3.connect(root / FOLDER / FILE)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in names.fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def breaks(registry: Registry) -> list[LedgerBreak]:
    """Return everything that is wrong."""
    with registry.read():
        return [one for check in registry.upkeep.verify_ledger() for one in check.breaks]


def found(root: Path) -> list[str]:
    """Return what is wrong, as words."""
    with closing(open_registry(root)) as registry:
        return [f"{one.kind}: {one.what}" for one in breaks(registry)]


def test_a_registry_that_nobody_touched_is_whole(root: Path) -> None:
    """Every entry is counted, and the last word names the time of the newest."""
    with closing(open_registry(root)) as registry, registry.read():
        head = registry.ledger.head()
        assert head is not None
        (check,) = registry.upkeep.verify_ledger()
        assert (check.checked, check.total, check.until) == (head.seq, head.seq, head.at)
        assert check.breaks == ()


def test_it_tells_how_far_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long ledger is told about on the way, and each break once."""
    damage(root, "UPDATE version SET owner = 'somebody' WHERE label = 'v1'")
    monkeypatch.setattr(verify, "_EVERY", 5)
    with closing(open_registry(root)) as registry, registry.read():
        told = list(registry.upkeep.verify_ledger())
    assert [check.checked for check in told][:3] == [5, 10, 15]
    assert sum(len(check.breaks) for check in told) == 1


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (
            "UPDATE version SET owner = 'somebody' WHERE label = 'v1'",
            ["version: its record is not what was recorded"],
        ),
        (
            "UPDATE decision_run SET role = 'baseline' WHERE decision = (SELECT min(id) FROM decision)",
            ["decision: its record is not what was recorded"],
        ),
        ("DELETE FROM quarantine", ["quarantine: its record is gone"]),
        (
            "UPDATE quarantine SET at = '2026-01-01T00:00:00.000000Z'",
            ["quarantine: its record has another time"],
        ),
        (
            "INSERT INTO hold (seq, system, environment, reason, actor, at) SELECT 999, system, "
            "'production', reason, actor, at FROM quarantine",
            ["hold: no entry of the ledger speaks of it"],
        ),
        (
            "UPDATE ledger SET payload_digest = prev WHERE kind = 'system'",
            [
                "system: its record is not what was recorded",
                "suite_applied: the chain is broken: it does not follow from the entry before",
            ],
        ),
        (
            "UPDATE ledger SET kind = 'wish' WHERE kind = 'quarantine'",
            [
                "wish: nobody knows records of kind `wish`",
                "version: the chain is broken: it does not follow from the entry before",
                "quarantine: no entry of the ledger speaks of it",
            ],
        ),
        (
            "DELETE FROM ledger WHERE kind = 'quarantine'",
            [
                "version: entries are missing after entry 18",
                "quarantine: no entry of the ledger speaks of it",
            ],
        ),
    ],
)
def test_each_damage_has_a_name(root: Path, statement: str, says: list[str]) -> None:
    """What a hand that knows SQLite changed is named by its kind and its number."""
    damage(root, statement)
    assert sorted(found(root)) == sorted(says)


def test_an_older_removal_had_no_kind(root: Path) -> None:
    """What schema 1 recorded about a redaction is still what was recorded."""
    from lockgate.storage.rows import payload_digest

    with closing(open_registry(root)) as registry:
        prompt = add_version(registry, "gone")
        digest = registry.versions.definition(prompt.definition).files()["prompts/system.md"]
        with registry.write() as writing:
            removal = writing.append(Removal(digest, "redact", "a name", "ml-lead"))
        head = registry.ledger.head()
        assert head is not None
    with closing(sqlite3.connect(root / FOLDER / FILE)) as connection:
        names = ("digest", "reason", "actor", "at")
        row = connection.execute(
            f"SELECT {', '.join(names)} FROM removal WHERE seq = ?", (removal.seq,)
        ).fetchone()
        older = payload_digest("removal", dict(zip(names, row, strict=True)))
    damage(root, f"UPDATE ledger SET payload_digest = '{older}' WHERE seq = {head.seq}")
    assert found(root) == []
    damage(root, f"UPDATE removal SET actor = 'somebody' WHERE seq = {head.seq}")
    assert found(root) == ["removal: its record is not what was recorded"]
