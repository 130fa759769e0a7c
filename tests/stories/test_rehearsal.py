"""The sample, its real model and its real index: made worse in every way there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate import wiring
from lockgate.story.sample import copy_sample

pytestmark = pytest.mark.slow


def lockgate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a real command in the sample's folder."""
    return subprocess.run(
        [sys.executable, "-m", "lockgate", *words],
        cwd=root,
        env={**os.environ, wiring.ACTOR_VARIABLE: "on-call", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first version of both systems is live in staging."""
    root = tmp_path_factory.mktemp("rehearsed") / "sample"
    copy_sample(root)
    wiring.create_registry(root, actor="ml-lead").close()
    for words in (("suite", "apply"), ("policy", "apply")):
        done = lockgate(root, *words)
        assert done.returncode == 0, done.stderr
    for system in ("support-desk", "enquiry-filter"):
        done = lockgate(root, "ship", "-s", system, "--to", "staging", "-m", "First version")
        assert done.returncode == 0, done.stderr
    return root


def test_what_the_gate_catches_and_what_it_is_blind_to(sample: Path) -> None:
    """Queues and articles are judged, letters are not: a prompt that is gone passes unnoticed."""
    done = lockgate(sample, "rehearse", "staging", "-s", "support-desk", "--gate-only", "--json")
    asked = {one["operator"]: one["state"] for one in json.loads(done.stdout)["operators"]}
    assert asked == {
        "drop-examples": "caught",
        "shuffle-index": "caught",
        "blank-prompt": "missed",
        "break-tools": "caught",
        "raise-temperature": "caught",
        "lower-top-k": "caught",
        "truncate-prompt": "missed",
    }


def test_the_default_rehearsal_is_detected(sample: Path) -> None:
    """With the real model, and what was live is live again, for both systems."""
    for system in ("support-desk", "enquiry-filter"):
        done = lockgate(sample, "rehearse", "staging", "-s", system, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        body = json.loads(done.stdout)
        assert body["rehearsal"]["operator"] == "drop-examples"
        assert body["rehearsal"]["outcome"] == "detected"
        live = lockgate(sample, "resolve", system, "staging", "--json")
        assert json.loads(live.stdout)["label"] == "v1"
        checked = lockgate(sample, "deploy-check", "staging", "-s", system)
        assert checked.returncode == 0, checked.stderr
