"""Records around the loop: what is kept, what may go, and what comes back.

- Notes, closings, rehearsals, reviews and rechecks are found again, the newest first.
- A break-glass promotion counts as open until it is closed, whatever came after it.
- Content that expired leaves its record and its digest, and may come back; redacted it may not.
- The file of a large object goes in a transaction after the one that recorded its removal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from builders import (
    NOW,
    SYSTEM,
    FixedClock,
    add_version,
    append,
    apply_policy,
    make_live,
    make_registry,
    promote,
)
from lockgate.canonical import digest_bytes
from lockgate.domain.release import Finding
from lockgate.domain.upkeep import Closing, FullCheck, Note, Recheck, Review
from lockgate.domain.version import Version
from lockgate.errors import Rejected
from lockgate.storage.objects import LARGE_BYTES
from lockgate.storage.registry import Registry

FINDING = Finding("ledger", "fail", "entry 7 differs", "restore a backup", {"seq": 7})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with a policy."""
    made = make_registry(tmp_path, FixedClock())
    apply_policy(made)
    yield made
    made.close()


def remove(registry: Registry, digest: str, kind: str = "expire") -> None:
    """Remove an object's content."""
    with registry.write() as writing:
        writing.remove_content(digest, kind, "no longer needed", "ml-team")


def broken(registry: Registry, version: Version, ticket: str) -> int:
    """Make a version live in `practice` by break-glass; return its generation."""
    reason = {"ticket": ticket, "reason": "nothing else would help"}
    made = promote(registry, version, kind="break_glass", environment="practice", **reason)
    return made.attempt.generation


def test_notes_stay_with_their_deployment(registry: Registry) -> None:
    """Notes on a deployment come back in the order they were written, and nobody else's."""
    make_live(registry)
    make_live(registry, "another")
    append(registry, *(Note(SYSTEM, "production", 2, text, "on-call") for text in ("one", "two")))
    append(registry, Note(SYSTEM, "production", 1, "before", "on-call"))
    notes = registry.upkeep.notes(SYSTEM, "production", 2)
    assert [(note.text, note.actor) for note in notes] == [("one", "on-call"), ("two", "on-call")]


def test_a_broken_glass_stays_open_until_it_is_closed(registry: Registry) -> None:
    """A break-glass promotion is open also when another version is live, until it is closed."""
    first = broken(registry, add_version(registry, "one"), "INC-1")
    second = broken(registry, add_version(registry, "two"), "INC-2")

    def unclosed() -> list[int]:
        found = registry.upkeep.unclosed(SYSTEM, "practice")
        return [deployment.attempt.generation for deployment in found]

    assert unclosed() == [second, first]
    closing = Closing(SYSTEM, "practice", first, None, "the second took its place", "ml-lead")
    append(registry, closing)
    assert unclosed() == [second]
    found = registry.upkeep.closing(SYSTEM, "practice", first)
    assert found is not None
    assert found.reason == closing.reason
    assert registry.upkeep.closing(SYSTEM, "practice", second) is None


def test_what_a_review_found_is_kept(registry: Registry) -> None:
    """A review and a recheck come back with every finding, the newest first."""
    version, _ = make_live(registry)
    append(
        registry,
        Review(SYSTEM, "findings", (FINDING,), "ml-lead"),
        Review(SYSTEM, "clean", (), "ml-lead"),
        Recheck(SYSTEM, "production", 1, version.id, "fell", (FINDING,), "ci"),
    )
    assert [review.outcome for review in registry.upkeep.reviews(SYSTEM)] == ["clean", "findings"]
    assert registry.upkeep.reviews(SYSTEM)[1].findings == (FINDING,)
    (recheck,) = registry.upkeep.rechecks(SYSTEM, "production")
    assert (recheck.outcome, recheck.findings) == ("fell", (FINDING,))


def test_content_that_expired_may_come_back(registry: Registry) -> None:
    """Expired content is gone under its digest, with who and why, until it is put again."""
    with registry.write() as writing:
        digest = writing.put(b"an old try")
    remove(registry, digest)
    with pytest.raises(LookupError):
        registry.objects.read(digest)
    removal = registry.upkeep.removal(digest)
    assert removal is not None
    assert (removal.kind, removal.actor, removal.reason) == (
        "expire",
        "ml-team",
        "no longer needed",
    )
    with registry.write() as writing:
        assert writing.put(b"an old try") == digest
    assert registry.objects.read(digest) == b"an old try"
    remove(registry, digest)
    assert not registry.objects.has(digest)


def test_what_was_redacted_does_not_come_back(registry: Registry) -> None:
    """Redacted content is refused when somebody puts it again."""
    with registry.write() as writing:
        digest = writing.put(b"a password")
    remove(registry, digest, "redact")
    with pytest.raises(Rejected, match="redacted"), registry.write() as writing:
        writing.put(b"a password")


def test_the_content_of_a_release_stays(registry: Registry) -> None:
    """Removing a file that a release needs is refused, and nothing is lost."""
    version = add_version(registry)
    (digest, *_) = registry.versions.definition(version.definition).files().values()
    with pytest.raises(Rejected, match="never expires"):
        remove(registry, digest)
    assert registry.objects.is_intact(digest)


def test_the_file_of_a_large_object_goes_afterwards(registry: Registry, tmp_path: Path) -> None:
    """Undone, a removal leaves the file; done, a later transaction deletes it."""
    data = b"x" * LARGE_BYTES
    with registry.write() as writing:
        digest = writing.put(data)
    path = tmp_path / ".lockgate" / "objects" / digest[:2] / digest
    with pytest.raises(RuntimeError), registry.write() as writing:
        writing.remove_content(digest, "expire", "old", "ml-team")
        raise RuntimeError("somebody stopped it")
    assert registry.objects.is_intact(digest)
    with registry.write() as writing:
        assert writing.sweep_files([digest]) == 0
    assert path.exists()
    remove(registry, digest)
    assert path.exists()
    with registry.write() as writing:
        assert writing.sweep_files([digest]) == 1
    assert not path.exists()


def test_objects_that_others_need_are_told(registry: Registry) -> None:
    """Shared is what another definition, or any record's text, needs too."""
    add_version(registry, "one")
    experiment = add_version(registry, "two", track="experiment")
    ones, twos = digest_bytes(b"one"), digest_bytes(b"two")
    with registry.write() as writing:
        free = writing.put(b"nobody needs this")
        reason = writing.put(experiment.reason.encode())
    asked = {ones, twos, free, reason}
    others = set(registry.upkeep.shared(asked, {experiment.definition}))
    assert others == {ones, reason}
    assert set(registry.upkeep.shared(asked, set())) == {ones, twos, reason}


def test_the_newest_full_check_counts(registry: Registry) -> None:
    """A note of what was hashed replaces the one before it."""
    version = add_version(registry)
    assert registry.upkeep.full_check(version.definition) is None
    for check in (
        FullCheck(version.definition, NOW, 12, "answer.py: its bytes are not what was registered"),
        FullCheck(version.definition, NOW + timedelta(hours=1), 12, None),
    ):
        with registry.write() as writing:
            writing.note_full_check(check)
        assert registry.upkeep.full_check(version.definition) == check
