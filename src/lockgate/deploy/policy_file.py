"""Read from policy.toml where an environment's versions go, for when nobody can say what is applied.

- Only the keys that say so are read; nothing else in the file has to be right.
- A folder inside the registry's root, and a command without a shell, or it is refused.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.deploy.files import read_file
from lockgate.domain.policy import DEFAULT_DEPLOY_TIMEOUT, Environment
from lockgate.domain.times import parse_duration
from lockgate.errors import UsageMistake
from lockgate.shown import shown

POLICY_NAME = "policy.toml"
_MAX_BYTES = 1 << 20


def read_place(root: Path, environment: str) -> Environment:
    """Return what policy.toml says about publishing and deploying in one environment.

    Raises:
        UsageMistake: The file cannot be read, does not name the environment, or one of these keys
            is not what it may be.
    """
    path = root / POLICY_NAME
    try:
        data = read_file(str(path), _MAX_BYTES)
        if len(data) > _MAX_BYTES:
            raise ValueError("it is too large")
        named = tomllib.loads(data.decode("utf-8")).get("environments")
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageMistake(
            f"`{shown(path)}` cannot be read: {shown((said or 'unknown error').lower(), limit=200)}",
            hint="mend it, or bring it back from version control or a backup",
        ) from error
    environments = named if isinstance(named, dict) else {}
    body = environments.get(environment)
    if not isinstance(body, dict):
        known = ", ".join(f"`{shown(name)}`" for name in environments)
        raise UsageMistake(
            f"no environment `{shown(environment, limit=60)}` in `{shown(path)}`",
            hint=f"the environments are {known}" if known else "it names no environment at all",
        )
    return environment_from(environment, body)


def environment_from(name: str, body: dict[str, Any]) -> Environment:
    """Return where an environment goes, as the keys of policy.toml say it.

    Raises:
        UsageMistake: One of them is not what it may be.
    """
    problems = []
    publish = body.get("publish")
    if publish is not None and not _is_inside(publish):
        problems.append("`publish` is not a folder inside the registry's root")
    commands: dict[str, tuple[str, ...]] = {}
    for key in ("deploy", "observe"):
        words = body.get(key, [])
        if isinstance(words, list) and all(isinstance(word, str) and word for word in words):
            commands[key] = tuple(words)
        else:
            problems.append(f"`{key}` is not a list of words")
    limit: timedelta = DEFAULT_DEPLOY_TIMEOUT
    if "deploy_timeout" in body:
        try:
            limit = parse_duration(str(body["deploy_timeout"]))
        except ValueError as error:
            problems.append(f"`deploy_timeout`: {error}")
    if problems:
        raise UsageMistake(
            f"policy.toml does not say where `{shown(name)}` goes",
            problems=problems,
            hint=f"mend `[environments.{shown(name)}]` in policy.toml",
        )
    return Environment(
        name,
        "low",
        publish=publish,
        deploy=commands["deploy"],
        deploy_timeout=limit,
        observe=commands["observe"],
    )


def _is_inside(path: object) -> bool:
    if not isinstance(path, str) or not path.strip("./") or "\\" in path or "\0" in path:
        return False
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts
