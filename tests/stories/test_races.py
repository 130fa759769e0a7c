"""Two people promote at the same moment, again and again: exactly one of them wins."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.domain.version import Version
from lockgate.storage.registry import SystemClock
from loop.world import SYSTEM, World, new_world, rules_text
from stories.racer import race

ROUNDS = 200
RACERS = ("racer-a", "racer-b")


@pytest.fixture
def arena(tmp_path: Path, keys: Path) -> Iterator[World]:
    """A registry on the computer's own clock."""
    made = new_world(tmp_path, keys, SystemClock())
    yield made
    made.registry.close()


@pytest.mark.slow
def test_of_two_racers_exactly_one_takes_the_generation(arena: World) -> None:
    """200 races from the empty origin on: one winner each, and the other one hears who it was."""
    arena.apply_policy(rules_text('suite = "triage", metric = "accuracy", min = 0.5'))
    versions = [arena.evaluated(right) for right in (16, 17, 18)]
    context = multiprocessing.get_context("spawn")
    starts, results = context.Barrier(2), context.Queue()
    orders = {name: context.Queue() for name in RACERS}
    processes = [
        context.Process(
            target=race, args=(str(arena.root), name, starts, orders[name], results), daemon=True
        )
        for name in RACERS
    ]
    for process in processes:
        process.start()
    try:
        wins = [_one_race(arena, versions, orders, results) for _ in range(ROUNDS)]
    finally:
        for queue in orders.values():
            queue.put(None)
        for process in processes:
            process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    _check_history(arena, wins)


def _one_race(
    arena: World, versions: list[Version], orders: dict[str, Any], results: Any
) -> tuple[str, int, str]:
    """Let both promote, each with a valid decision against what is live; return who won what."""
    live = next((version for version in versions if version.id == arena.live()), None)
    runners = dict(zip(RACERS, (v for v in versions if v is not live), strict=False))
    for name, version in runners.items():
        reverting = live.label if live else None
        decision = arena.decide(version, actor=name, reverting=reverting)
        assert decision.promotable
        assert arena.registry.releases.is_void(decision) is None
        orders[name].put(decision.id)
    told = [results.get(timeout=60) for _ in RACERS]
    won = [(name, what) for name, word, what in told if word == "won"]
    lost = [(word, text) for _, word, text in told if word != "won"]
    assert len(won) == 1, told
    winner, generation = won[0]
    assert lost[0][0] in ("StaleGeneration", "Refused"), told
    assert winner in lost[0][1], told
    assert runners[winner].label in lost[0][1], told
    assert f"generation {generation}" in lost[0][1], told
    assert arena.live() == runners[winner].id
    return winner, generation, runners[winner].id


def _check_history(arena: World, wins: list[tuple[str, int, str]]) -> None:
    """Generations are dense, and each is what its winner was told."""
    history = [
        arena.registry.releases.deployment(SYSTEM, "staging", generation)
        for generation in range(1, ROUNDS + 1)
    ]
    assert arena.registry.releases.deployment(SYSTEM, "staging", ROUNDS + 1) is None
    assert [
        (d.attempt.actor, d.attempt.generation, d.attempt.version) for d in history if d is not None
    ] == wins
    assert {d.outcome for d in history if d is not None} == {"live"}
    assert min(Counter(name for name, _, _ in wins).values()) > 0
