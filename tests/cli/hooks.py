"""Deploy hooks in a registry that publishes, and promotions that are cut off while one runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cli.desks import Desk, environment


def hook(root: Path, text: str) -> None:
    """Write the deploy hook; `lockgate` in it is this one."""
    path = root / "deploy.sh"
    path.write_text(f'#!/bin/sh\nlockgate() {{ "{sys.executable}" -m lockgate "$@"; }}\n{text}\n')
    path.chmod(0o755)


def praise(root: Path, word: str) -> None:
    """Change the system."""
    prompt = root / "systems/desk/prompts/praise.txt"
    prompt.write_text(prompt.read_text(encoding="utf-8") + f"{word}\n", encoding="utf-8")


def ready(desk: Desk) -> None:
    """Register and evaluate v3, so that a promotion is all that is left."""
    praise(desk.root, "superb")
    desk.done("register", "-m", "One more word of praise")
    desk.done("evaluate")


def promotion_under_way(desk: Desk) -> subprocess.Popen[str]:
    """Begin to promote v3 with a hook that waits for `go_on`, and return once it says so."""
    os.mkfifo(desk.root / "go")
    hook(desk.root, 'cp "$LOCKGATE_RECEIPT" staged.json; echo up; read go < go; echo done')
    ready(desk)
    return under_way(desk, "promote", "--to", "production")


def under_way(desk: Desk, *words: str) -> subprocess.Popen[str]:
    """Begin a command whose hook says `up`, and return once it did."""
    command = subprocess.Popen(
        [sys.executable, "-m", "lockgate", *words],
        cwd=desk.root,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    told = ""
    while "up" not in told.split():
        line = command.stderr.readline()
        assert line, told
        told += line
    return command


def promotion_cut_off(desk: Desk) -> Path:
    """Kill a promotion of v3 while its hook runs; return a copy of its staged receipt."""
    promotion = promotion_under_way(desk)
    promotion.send_signal(signal.SIGKILL)
    promotion.communicate()
    return desk.root / "staged.json"


def go_on(desk: Desk) -> None:
    """Let the hook that waits go on to its end."""
    (desk.root / "go").write_text("\n")
