"""Rehearse until a step, then be killed there: run as a process of its own.

python dying.py ROOT STEP [EVENT]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from lockgate.storage.registry import SystemClock, open_registry
from loop.world import World
from tests.upkeep.test_rehearse import heated, rehearsing, until


def main(root: Path, name: str, kind: str | None) -> None:
    """Walk to a step and end as by `kill -9`."""
    world = World(root, open_registry(root), SystemClock(), root, heated)  # type: ignore[arg-type]
    steps = rehearsing(world)  # kept: a walk that is given up would put things back
    until(steps, name, kind)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
