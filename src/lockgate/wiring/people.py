"""Who is at the keyboard, and what signs for people."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import UsageMistake

if TYPE_CHECKING:
    from lockgate.ports import Signing

REGISTRY_VARIABLE = "LOCKGATE_REGISTRY"
ACTOR_VARIABLE = "LOCKGATE_ACTOR"


def actor() -> str:
    """Return who is at the keyboard: `LOCKGATE_ACTOR`, else the login name."""
    name = os.environ.get(ACTOR_VARIABLE)
    if name is not None:
        from lockgate.domain.version import person_problem

        problem = person_problem(name)
        if problem:
            raise UsageMistake(
                f"{ACTOR_VARIABLE} `{name}` {problem}",
                hint=f"set it to your name, like `export {ACTOR_VARIABLE}=ml-team`",
            )
        return name
    import getpass

    try:
        login = getpass.getuser()
    except (OSError, KeyError):
        login = f"uid{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._@+-]", "-", login).strip("-._@+") or f"uid{os.getuid()}"


def git_user(folder: Path) -> str | None:
    """Return the name git would commit under in a folder, as an owner's id; `None` without git."""
    import subprocess

    for key in ("user.email", "user.name"):
        try:
            asked = subprocess.run(
                ["git", "config", "--get", key],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=5,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", asked.stdout.strip())[:64].strip("-._@+")
        if name:
            return name
    return None


def signing() -> Signing:
    """Return what makes and checks signatures."""
    from lockgate.signing import ssh

    return ssh
