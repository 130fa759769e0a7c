"""The ledger is dense and chained, says what the records say, and never goes back in time."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, FixedClock, add_version, hold, make_live
from lockgate.canonical import digest_bytes, instant
from lockgate.storage import tables
from lockgate.storage.ledger import ORIGIN
from lockgate.storage.registry import Registry
from lockgate.storage.rows import payload_digest


def stored_row(registry: Registry, table: str, seq: int) -> dict[str, Any]:
    connection = registry._connection
    cursor = connection.execute(f'SELECT * FROM "{table}" WHERE seq = ?', (seq,))
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))


def test_every_record_has_its_ledger_row_and_every_row_its_record(registry: Registry) -> None:
    """The ledger is dense, each entry names the one before, and covers what its record holds."""
    make_live(registry)
    hold(registry)
    previous = ORIGIN
    for number, entry in enumerate(registry.ledger.entries(), start=1):
        assert entry.seq == number
        assert entry.prev == previous
        row = stored_row(registry, entry.kind, entry.seq)
        parts = (
            registry._connection.execute(
                "SELECT run, version, role FROM decision_run WHERE decision = ?", (row["id"],)
            ).fetchall()
            if entry.kind == "decision"
            else []
        )
        assert entry.payload_digest == payload_digest(entry.kind, row, sorted(map(list, parts)))
        assert row["at"] == entry.at
        previous = entry.digest()
    assert number == registry.ledger.head().seq  # type: ignore[union-attr]
    records = sum(
        registry._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        for table in tables.RECORD_KEYS
    )
    assert records == number


@pytest.mark.parametrize("column", ["version", "decision", "actor", "kind"])
def test_the_ledger_covers_each_column_of_a_record(registry: Registry, column: str) -> None:
    """A changed column changes the digest that the ledger holds."""
    make_live(registry)
    live = registry.releases.live("support-desk", "production")
    assert live is not None
    row = stored_row(registry, "attempt", live.attempt.seq)
    changed = {**row, column: "other"}
    assert payload_digest("attempt", row) != payload_digest("attempt", changed)


def test_recorded_time_never_goes_back(registry: Registry, clock: FixedClock) -> None:
    """A clock that is set back is not believed: records keep the newest recorded time."""
    first = add_version(registry, "one")
    clock.move(days=-400)
    second = add_version(registry, "two", parent=first)
    assert first.at == second.at == NOW
    clock.move(days=400, hours=1)
    third = add_version(registry, "three", parent=second)
    assert (third.at - second.at).total_seconds() == 3600
    times = [entry.at for entry in registry.ledger.entries()]
    assert times == sorted(times)


def test_an_entry_can_be_recomputed_by_a_stranger(registry: Registry) -> None:
    """The digest of an entry is the SHA-256 of its RFC 8785 JSON."""
    head = registry.ledger.head()
    assert head is not None
    body = {
        "seq": head.seq,
        "prev": head.prev,
        "kind": head.kind,
        "payload": head.payload_digest,
        "at": head.at,
    }
    assert head.digest() == digest_bytes(rfc8785.dumps(body))


PLAIN = st.none() | st.text() | st.integers(-(2**53) + 1, 2**53 - 1)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), PLAIN))
def test_the_digest_of_a_row_is_the_canonical_one(row: dict[str, Any]) -> None:
    """Whatever text and whole numbers a row holds, a stranger's RFC 8785 gives its digest."""
    row.pop("seq", None)
    body = {"kind": "hold", "row": row, "parts": [["a", "ü"]]}
    covered = {name: row[name] for name in row if name not in ("previous", "promotable")}
    expected = digest_bytes(rfc8785.dumps({**body, "row": covered}))
    assert payload_digest("hold", row, [["a", "ü"]]) == expected


@pytest.mark.parametrize("value", [1.5, 1e30, 2.0])
def test_other_numbers_keep_their_canonical_form(value: float) -> None:
    """Floats are written as RFC 8785 says."""
    body = {"kind": "hold", "row": {"score": value}, "parts": []}
    assert payload_digest("hold", {"score": value}) == digest_bytes(rfc8785.dumps(body))


def test_integers_without_canonical_form_have_no_digest() -> None:
    """An integer beyond 2^53 is refused, as everywhere."""
    with pytest.raises(ValueError, match="exceeds"):
        payload_digest("hold", {"count": 2**53})


def test_the_origin_names_nothing(registry: Registry) -> None:
    """The first entry names 64 zeros and is the registry's own identity."""
    first = next(registry.ledger.entries())
    assert (first.prev, first.kind) == ("0" * 64, "registry")
    assert first.at == instant(NOW)
    assert len(registry.id) == 32


def test_entries_come_in_pages(registry: Registry) -> None:
    """Entries are given from just after a number, oldest first, no more than asked for."""
    make_live(registry)
    assert [entry.seq for entry in registry.ledger.entries(after=2, limit=3)] == [3, 4, 5]


def test_a_plain_connection_cannot_forge_the_chain(registry: Registry) -> None:
    """The same predecessor is not named twice, so that the chain never forks."""
    head = registry.ledger.head()
    assert head is not None
    other = sqlite3.connect(registry._path)
    with pytest.raises(sqlite3.IntegrityError, match="ledger prev exists already"):
        other.execute(
            "INSERT INTO ledger VALUES (?, ?, 'hold', 'x', ?)", (head.seq + 1, head.prev, head.at)
        )
    other.close()
