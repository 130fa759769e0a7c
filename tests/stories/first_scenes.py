"""A copy of the sample after its first scenes, and a shell in it, for tests of what follows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lockgate import wiring
from lockgate.story.replay import Stage
from lockgate.story.sample import copy_sample


@dataclass(frozen=True)
class Sample:
    """A copy of the sample after its first scenes, and a shell in it."""

    root: Path
    bin: Path

    def run(self, line: str, *codes: int, cwd: Path | None = None) -> str:
        """Run one line as a newcomer does, and return what it printed."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=cwd or self.root,
            env={
                **{name: value for name, value in os.environ.items() if "LOCKGATE" not in name},
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "LOCKGATE_ACTOR": "newcomer",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (codes or (0,)), f"$ {line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def play_first_scenes(folder: Path, scenes: int, *, last: bool = True) -> Sample:
    """Play some scenes of the story through the real loop.

    Args:
        folder: Where to.
        scenes: How many of the first ones.
        last: Whether the one of the second system comes, too.
    """
    root = folder / "sample"
    copy_sample(root)
    head, *every = (root / "story.toml").read_text().split("[[scene]]")
    kept = [*every[:scenes], *(every[-1:] if last else [])]
    (root / "story.toml").write_text("[[scene]]".join([head, *kept]))
    registry = wiring.create_registry(root, actor="ml-lead")
    for _ in Stage(root, registry).play():
        pass
    registry.close()
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "lockgate"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lockgate "$@"\n')
    script.chmod(0o755)
    return Sample(root, programs)
