"""A command is killed at any moment: what was acknowledged is there, and the next one works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate import wiring
from lockgate.domain.version import Version
from lockgate.loop.promote import promote
from lockgate.storage.registry import SystemClock, open_registry
from loop.invariants import all_problems
from loop.world import DEV, SYSTEM, World, new_world, rules_text

pytestmark = pytest.mark.slow

KILLS = 10
"""How often each command is killed, spread over the time it takes."""

CASES = 80

SLOW_ANSWER = '''\
"""Take a moment for each ticket, as a model does."""

import time


def answer(input, settings):
    time.sleep(0.006)
    return "billing" if input["n"] % 5 else "other"
'''


@pytest.fixture
def shop(tmp_path: Path, keys: Path) -> Iterator[World]:
    """A registry on the computer's own clock, with a system that takes its time to answer."""
    made = new_world(tmp_path, keys, SystemClock())
    made.apply_suite(cases=CASES)
    made.apply_policy(rules_text('suite = "triage", metric = "accuracy", min = 0.5'))
    (made.folder / "answer.py").write_text(SLOW_ANSWER)
    yield made
    made.registry.close()


def begin(world: World, *words: str) -> subprocess.Popen[str]:
    """Start a real command in the registry's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "lockgate", *words],
        cwd=world.root,
        env={**os.environ, wiring.ACTOR_VARIABLE: DEV, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(world: World, *words: str) -> str:
    """Run a real command to its end, check that it went well, and return what it printed."""
    process = begin(world, *words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def timed(world: World, *words: str) -> float:
    """Run a command undisturbed and return how many seconds it took."""
    began = time.monotonic()
    command(world, *words)
    return time.monotonic() - began


def killed(process: subprocess.Popen[str], after_s: float) -> bool:
    """Kill a process after a while, as a power cut would; tell whether it was still at work."""
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def moments(takes_s: float) -> list[float]:
    """Return moments spread over a command's time, each at a random place within its part.

    They begin at a third of it: before that, Python itself is still starting.
    """
    chance = random.Random(7)
    parts = [(n + chance.random()) / KILLS for n in range(KILLS)]
    return [takes_s * (0.33 + 0.67 * part) for part in parts]


def at_rest(world: World) -> World:
    """Open the registry anew, as the next command does, and check that it is sound."""
    world.registry.close()
    world.registry = open_registry(world.root)
    assert world.registry.is_writable
    assert all_problems(world.root) == []
    return world


def test_a_registration_happens_whole_or_not_at_all(shop: World) -> None:
    """After any kill the version is there with all its bytes, or nothing of it is."""
    big = shop.folder / "prompts" / "big.md"
    big.write_bytes(b"0" * 12_000_000)
    takes_s = timed(shop, "register", "-m", "undisturbed", "-s", SYSTEM)
    was_killed = []
    for number, moment in enumerate(moments(takes_s), 1):
        big.write_bytes(str(number).encode() * 12_000_000)
        before = shop.registry.versions.count(SYSTEM)
        wanted = shop.draft().definition
        was_killed.append(
            killed(begin(shop, "register", "-m", f"take {number}", "-s", SYSTEM), moment)
        )
        at_rest(shop)
        found = shop.registry.versions.with_definition(SYSTEM, wanted.digest)
        assert len(found) == shop.registry.versions.count(SYSTEM) - before
        assert shop.registry.objects.has(wanted.files()["prompts/big.md"]) == bool(found)
        for version in found:
            files = shop.registry.versions.definition(version.definition).files()
            assert all(shop.registry.objects.is_intact(digest) for digest in files.values())
            assert version.reason == f"take {number}"
        again = shop.register_as()
        assert again.version.definition == wanted.digest
        assert again.is_new == (not found)
    assert sum(was_killed) >= 2  # on a busy machine some come too late


def test_an_evaluation_goes_on_and_ends_with_the_same_scores(shop: World) -> None:
    """Whatever was answered is kept; the rest is asked, and the run is as if nothing happened."""
    first = shop.register()
    takes_s = timed(shop, "evaluate", first.label, "-s", SYSTEM, "-j", "2")
    undisturbed = scores(shop, first)
    assert len(undisturbed) == CASES
    was_killed, cut_within = [], 0
    for number, moment in enumerate(moments(takes_s), 1):
        version = another(shop, number)
        was_killed.append(
            killed(begin(shop, "evaluate", version.label, "-s", SYSTEM, "-j", "2"), moment)
        )
        at_rest(shop)
        records = shop.registry.runs.of_version(version.id)
        kept = scores(shop, version)
        cut_within += 0 < len(kept) < CASES
        assert len(records) <= 1
        assert all(record.is_completed == (len(kept) == CASES) for record in records) or (
            records[0].end is None
        )
        assert kept.items() <= undisturbed.items()
        command(shop, "evaluate", version.label, "-s", SYSTEM)
        assert scores(shop, version) == undisturbed
        (record,) = shop.registry.runs.of_version(version.id)
        assert record.end is not None
        assert (record.end.outcome, record.end.answers, record.end.errors) == (
            "completed",
            CASES,
            0,
        )
        assert [run.run.id for run in records] in ([], [record.run.id])
    assert sum(was_killed) >= 2  # on a busy machine some come too late
    assert cut_within > 0


def test_a_promotion_happened_or_did_not(shop: World) -> None:
    """After any kill one version is live, the old one or the new one, and the next one works."""
    versions = [shop.register(), another(shop, 0)]
    for version in versions:
        shop.evaluate(version, open_runner=shop.real(2))
    shop.decide(versions[0])
    shop.promote(versions[0])
    takes_s = timed_promotion(shop, versions)
    was_killed = []
    for moment in moments(takes_s):
        new, old = sorted(versions, key=lambda version: version.id == shop.live())
        generation = generation_of(shop)
        words = ("promote", new.label, "--to", "staging", "--reverting", old.label, "-s", SYSTEM)
        was_killed.append(killed(begin(shop, *words), moment))
        at_rest(shop)
        assert (shop.live(), generation_of(shop)) in (
            (old.id, generation),
            (new.id, generation + 1),
        )
        happened = shop.live() == new.id
        decision = shop.decide(new, reverting=old.label)
        environment = shop.policy.environment("staging")
        done = promote(shop.registry, new, environment, decision, actor=DEV)
        assert (done.is_new, done.generation) == (not happened, generation + 1)
    assert sum(was_killed) >= 2  # on a busy machine some come too late


def test_ctrl_c_keeps_what_was_answered_and_says_how_to_go_on(shop: World) -> None:
    """The command ends with 130, the run stays open, and the hint finishes it."""
    version = shop.register()
    process = begin(shop, "evaluate", version.label, "-s", SYSTEM, "-j", "1")
    while process.poll() is None and not scores(shop, version):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (record,) = at_rest(shop).registry.runs.of_version(version.id)
    kept = len(scores(shop, version))
    assert record.end is None
    assert 0 < kept < CASES
    assert f"stopped: {kept}/{CASES} answers of `triage` are kept" in err
    assert f"hint: `lockgate evaluate {version.label} -s {SYSTEM} --resume {record.run.id}`" in err
    command(shop, "evaluate", version.label, "-s", SYSTEM, "--resume", record.run.id)
    assert len(scores(shop, version)) == CASES
    assert shop.registry.runs.get(record.run.id).is_completed


def another(world: World, number: int) -> Version:
    """Register the same behaviour under another prompt."""
    (world.folder / "prompts" / "system.md").write_text(f"Sort it, take {number}.\n")
    return world.register(reason=f"take {number}")


def scores(world: World, version: Version) -> dict[str, Any]:
    """Return what was stored for each case: output and scores."""
    return {
        answer.case: (answer.output, answer.scores)
        for record in world.registry.runs.of_version(version.id)
        for answer in world.registry.runs.answers(record.run.id)
    }


def generation_of(world: World) -> int:
    """Return the newest generation, which has to be settled."""
    newest = world.registry.releases.newest(SYSTEM, "staging")
    assert newest is not None
    assert not newest.is_open
    return newest.attempt.generation


def timed_promotion(world: World, versions: list[Version]) -> float:
    """Promote the second version undisturbed and return how long that took."""
    old, new = versions
    words = ("promote", new.label, "--to", "staging", "--reverting", old.label, "-s", SYSTEM)
    return timed(world, *words)
