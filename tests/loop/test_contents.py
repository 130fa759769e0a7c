"""A version's contents: what is not in the registry in full is neither gated nor promoted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockgate.errors import IntegrityBroken
from lockgate.loop import way_back as way_back_module
from lockgate.loop.way_back import damaged_files
from loop.world import STAGING, World

WEIGHTS = "prompts/weights.bin"
SIZE = 300_000


@pytest.fixture(autouse=True)
def little_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weights here be as large, against what is hashed, as real ones."""
    monkeypatch.setattr(way_back_module, "FULLY_CHECKED_BYTES", SIZE - 1)


def with_weights(world: World, right: int = 16) -> Any:
    """Register and evaluate a version with a large file."""
    world.write(right)
    toml = world.folder / "lockgate.toml"
    toml.write_text(toml.read_text().replace('"prompts/*.md"', '"prompts/*"'))
    (world.folder / WEIGHTS).write_bytes(bytes([right]) * SIZE)
    version = world.register()
    world.evaluate(version)
    return version


def stored(world: World, version: Any) -> Path:
    """Return the file that holds the weights."""
    digest = world.registry.versions.definition(version.definition).files()[WEIGHTS]
    return world.root / ".lockgate" / "objects" / digest[:2] / digest


def cut_short(path: Path) -> None:
    os.truncate(path, SIZE - 1)


@pytest.mark.parametrize("lose", [Path.unlink, cut_short])
def test_a_large_file_that_is_not_here_does_not_pass_the_gate(
    world: World, lose: Callable[[Path], None]
) -> None:
    """Weights beyond what is hashed are looked for all the same."""
    world.apply_policy(STAGING)
    version = with_weights(world)
    lose(stored(world, version))
    decision = world.decide(version)
    finding = next(found for found in decision.findings if found.rule == "contents here")
    assert (decision.outcome, finding.outcome) == ("fail", "fail")
    assert finding.reason == f"1 of 3 files are gone: {WEIGHTS}"


@pytest.mark.parametrize("lose", [Path.unlink, cut_short])
def test_a_large_file_that_went_after_the_gate_is_not_promoted(
    world: World, lose: Callable[[Path], None]
) -> None:
    """A decision that passed is no reason not to look again."""
    world.apply_policy(STAGING)
    version = with_weights(world)
    decision = world.decide(version)
    lose(stored(world, version))
    with pytest.raises(IntegrityBroken) as broken:
        world.promote(version, decision=decision)
    assert broken.value.problems == (f"{WEIGHTS}: its {SIZE} bytes are missing or cut short",)
    assert world.live() is None


def test_no_promotion_without_a_way_back_in_full(world: World) -> None:
    """What is live now has to have all of its large files, or there is nothing to go back to."""
    world.apply_policy(STAGING)
    first = with_weights(world)
    world.promote(first, decision=world.decide(first))
    second = with_weights(world, 17)
    decision = world.decide(second)
    stored(world, first).unlink()
    with pytest.raises(IntegrityBroken) as broken:
        world.promote(second, decision=decision)
    assert broken.value.problems == (
        f"way back: v1 could not be restored: {WEIGHTS}: its {SIZE} bytes are missing or cut short",
    )
    assert world.live() == first.id


def test_files_are_hashed_as_far_as_it_is_quick(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong bytes of the right length are found in what is hashed; the rest is left for later."""
    version = with_weights(world)
    path = stored(world, version)
    path.chmod(0o600)
    path.write_bytes(b"?" * SIZE)
    assert damaged_files(world.registry, version) == []
    monkeypatch.setattr(way_back_module, "FULLY_CHECKED_BYTES", 2 * SIZE)
    assert damaged_files(world.registry, version) == [
        f"{WEIGHTS}: its bytes are not what was registered"
    ]
