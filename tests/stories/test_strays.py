"""What anybody could have laid beside the receipts stops nobody, and is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.deploy.receipts import write_receipt
from lockgate.domain.payload import sealed
from lockgate.errors import Refused
from lockgate.storage.registry import SystemClock
from lockgate.upkeep.offline import find_offline
from loop.world import SYSTEM, new_world
from stories.published import PUBLISHED, Published
from stories.test_offline import OFFLINE, plain, plain_root, type_in
from stories.test_reconcile import go_offline

__all__ = ["plain", "plain_root", "type_in"]

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="receipts are signed with ssh-keygen"
)

ROLLBACK = ("rollback", "staging", "-s", SYSTEM, "--yes")


def stray(place: Path, generation: int, *, is_sealed: bool = True, **more: Any) -> None:
    """Lay a note down that nobody signed."""
    body = {
        "format": 1,
        "system": SYSTEM,
        "environment": "staging",
        "generation": generation,
        "version": "0" * 64,
        "actor": "mallory",
        "reason": None,
        "incident": None,
        "at": "2026-01-01T00:00:00.000000Z",
        "failed": None,
        **more,
    }
    text = json.dumps(body)
    data = sealed(text, None) if is_sealed else text.encode()
    (place / f"offline-{generation}.json").write_bytes(data)


@pytest.mark.parametrize("generation", [4, 5000, 99999999])
@pytest.mark.parametrize("is_sealed", [True, False])
class TestANoteThatNobodySigned:
    """It neither names people nor takes generations."""

    def test_stops_no_rollback(
        self,
        plain: Published,
        type_in: Any,
        generation: int,
        is_sealed: bool,
    ) -> None:
        """The next generation is the next one."""
        stray(plain.place, generation, is_sealed=is_sealed)
        said = type_in(plain, *ROLLBACK, "--json")
        assert said.code == 0, said
        assert said.json["generation"] == 4
        assert plain.history()[-1] == (4, "rollback", "live")

    def test_stops_none_without_the_registry(
        self, plain: Published, type_in: Any, generation: int, is_sealed: bool
    ) -> None:
        """Nor is it counted there."""
        stray(plain.place, generation, is_sealed=is_sealed)
        plain.lose_registry()
        said = type_in(plain, *OFFLINE, "--json")
        assert said.code == 0, said
        assert said.json["generation"] == 4

    def test_stops_no_promotion(
        self, plain: Published, type_in: Any, generation: int, is_sealed: bool
    ) -> None:
        """And `settle` sets it aside and says so."""
        stray(plain.place, generation, is_sealed=is_sealed)
        plain.promote(plain.ready())
        said = type_in(plain, "settle", "staging")
        assert said.code == 0, said
        name = f"offline-{generation}.json"
        assert f"set aside {name}: this host did not sign it for this environment" in said.err
        assert plain.notes() == []
        assert (plain.place / f"{name}.ignored").exists()
        assert "set aside" not in type_in(plain, "settle", "staging").err


def test_a_signed_note_of_another_environment_counts_for_nothing(
    plain: Published, type_in: Any
) -> None:
    """It was copied: nobody who is named in it did anything here."""
    publisher = plain.target.publisher
    assert publisher is not None
    go_offline(plain, until="taken")
    path = plain.place / "offline-4.json"
    body = plain.note(4)
    for change in ({"environment": "production"}, {"system": "other"}, {"generation": 5}):
        text = json.dumps(body | change)
        path.write_bytes(sealed(text, publisher.key.sign(text.encode())))
        assert plain.target.offline_notes(SYSTEM) == []
    assert type_in(plain, *ROLLBACK, "--json").json["generation"] == 4


def test_who_records_is_the_actor(plain: Published) -> None:
    """Who is named in a note stands in the reason, as a claim."""
    go_offline(plain, actor="ml-lead")
    plain.settle()
    found = plain.world.registry.releases.deployment(SYSTEM, "staging", 4)
    assert found is not None
    assert found.attempt.actor == "lead"
    assert (found.attempt.reason or "").startswith("made offline, as ml-lead claims at ")


@pytest.mark.parametrize("name", ["99999999", "00000900"])
class TestAFolderFarAbove:
    """An empty folder takes no generation."""

    def test_stops_nobody(self, plain: Published, type_in: Any, name: str) -> None:
        """With and without the registry."""
        (plain.place / "generations" / name).mkdir()
        plain.lose_registry()
        assert type_in(plain, *OFFLINE, "--json").json["generation"] == 4
        plain.find_registry()
        assert plain.settle().outcome == "recorded"

    def test_is_told_by_a_review(self, plain: Published, name: str, type_in: Any) -> None:
        """With what helps."""
        (plain.place / "generations" / name).mkdir()
        stray(plain.place, 7)
        said = type_in(plain, "review", "--json")
        found = next(
            one
            for question in said.json["questions"]
            for one in question["findings"]
            if one["rule"] == "strays staging"
        )
        assert found["outcome"] == "fail"
        assert f"generations/{name}" in found["reason"]
        assert "offline-7.json" in found["reason"]
        assert found["hint"].startswith(f"`lockgate settle staging -s {SYSTEM}` sets notes aside")


def test_a_folder_just_above_is_counted(plain: Published) -> None:
    """Somebody wrote it and was cut off before the receipt."""
    (plain.place / "generations" / "00000009").mkdir()
    assert plain.target.newest_taken(SYSTEM) == 9


def test_a_signed_receipt_far_above_is_gone_over(plain: Published, type_in: Any) -> None:
    """However many generations lie in between: a rollback is never blocked."""
    from dataclasses import replace

    publisher = plain.target.publisher
    assert publisher is not None
    far = replace(plain.current(), generation=1500, kind="rollback")
    write_receipt(plain.place / "receipt.json", far, publisher.key)
    with pytest.raises(Refused, match="lies 1497 above generation 3"):
        plain.settle()
    said = type_in(plain, *ROLLBACK, "--json")
    assert said.code == 0, said
    assert said.json["generation"] == 1501
    assert plain.current().generation == 1501


def test_a_stray_note_where_nothing_was_ever_live(tmp_path: Path, keys: Path) -> None:
    """The first promotion goes live all the same."""
    root = tmp_path / "registry"
    root.mkdir()
    world = new_world(root, keys, SystemClock())
    wiring.make_host_key(root)
    world.apply_policy(PUBLISHED)
    first = Published.__new__(Published)
    first.world = world
    first.place.mkdir(parents=True)
    stray(first.place, 7)
    first.promote(world.evaluated(14))
    assert first.live() == (1, "v1", "promote")
    world.registry.close()


def test_without_a_key_only_near_notes_count(plain: Published) -> None:
    """Nothing is signed there: what is far above is still nobody's generation."""
    for name in ("host_key", "host_key.pub"):
        (plain.root / ".lockgate" / name).unlink()
    for receipt in ("receipt.json", "way-back.json"):
        text = json.loads((plain.place / receipt).read_text())["payload"]
        (plain.place / receipt).write_bytes(sealed(text, None))
    stray(plain.place, 103)
    stray(plain.place, 104)
    assert [note.generation for note in plain.target.offline_notes(SYSTEM)] == [103]
    assert plain.target.strays(SYSTEM) == ["offline-104.json"]
    assert find_offline(plain.target, SYSTEM, "staging").to.label == "v2"
