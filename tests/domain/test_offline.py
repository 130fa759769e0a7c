"""What a rollback without the registry notes for it, and what counts as such a note."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lockgate.domain.offline import MAX_WORDS, OfflineNote, read_note

NOTE = OfflineNote(
    "support-desk",
    "production",
    29,
    "ab" * 32,
    "on-call",
    "answers got worse",
    "INC-7",
    datetime(2026, 8, 21, 3, 10, 4, tzinfo=UTC),
)


def test_it_is_read_as_it_was_written() -> None:
    """Also one that failed, and one that says nothing but who."""
    for note in (NOTE, replace(NOTE, failed="exit code 3"), replace(NOTE, reason=None)):
        assert read_note(note.text().encode()) == note


def test_it_says_that_it_is_a_claim() -> None:
    """Who made it and when stand before the reason."""
    words = "made offline, as on-call claims at Fri 2026-08-21 03:10 UTC"
    assert NOTE.words() == f"{words}: answers got worse"
    assert replace(NOTE, reason=None).words() == words


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"actor": "\x1b[31m"},
        {"actor": None},
        {"actor": "a b"},
        {"generation": "29"},
        {"generation": True},
        {"reason": 7},
        {"reason": "x" * (MAX_WORDS + 1)},
        {"reason": "\ud800"},
        {"at": "yesterday"},
        {"at": None},
        {"more": 1},
    ],
)
def test_what_lockgate_does_not_write_is_none(change: dict[str, object]) -> None:
    """Anybody can write to the folder; such a note is as good as none."""
    body = json.loads(NOTE.text()) | change
    assert read_note(json.dumps(body).encode()) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_none(data: bytes) -> None:
    """Garbage raises nothing."""
    assert read_note(data) is None
