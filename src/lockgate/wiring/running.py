"""What asks versions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import UsageMistake

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.suite import Suite
    from lockgate.domain.version import Version
    from lockgate.loop.deployment import DeployEvent
    from lockgate.loop.evaluate import OpenRunner
    from lockgate.loop.register import Registered
    from lockgate.loop.ship import Tools
    from lockgate.ports import Registry, Runner
from lockgate.wiring.deploying import target
from lockgate.wiring.folders import find_secrets, materialise, write_lock
from lockgate.wiring.people import signing


def ship_tools(
    root: Path,
    folder: Path,
    registry: Registry,
    concurrency: int | None,
    tell: Callable[[DeployEvent], None] | None = None,
) -> Tools:
    """Return what `loop.ship` needs from outside."""
    from functools import partial

    from lockgate.loop.ship import Tools

    def note(registered: Registered) -> None:
        write_lock(folder, registry, registered.version)

    return Tools(
        runner_opener(root, registry, concurrency),
        find_secrets,
        note,
        partial(target, root),
        signing(),
        tell,
    )


def runner_opener(root: Path, registry: Registry, concurrency: int | None = None) -> OpenRunner:
    """Return what makes a version ready to be asked, on this machine."""

    @contextlib.contextmanager
    def open_runner(version: Version, suite: Suite) -> Iterator[Runner]:
        from lockgate.workspace.where import read_where

        where = read_where(root, version.system)
        definition = registry.versions.definition(version.definition)
        at_once = concurrency or where.concurrency or min(os.cpu_count() or 1, 4)
        with registry.scratch() as scratch:
            materialise(registry, definition, scratch / "definition")
            limit_s = where.timeout_s or suite.timeout_s
            yield _runner(definition, scratch, suite.seed, limit_s, at_once)

    return open_runner


def _runner(
    definition: Definition, scratch: Path, seed: int, timeout_s: float, concurrency: int
) -> Runner:
    settings, folder = definition.settings(), scratch / "definition"
    run = settings.get("code", {}).get("run", {})
    kind = run.get("kind")
    if kind == "python":
        from lockgate.runners.python import PythonRunner

        return PythonRunner(
            folder,
            run["target"],
            settings,
            seed=seed,
            timeout_s=timeout_s,
            concurrency=concurrency,
            scratch=scratch,
        )
    if kind == "command":
        from lockgate.runners.command import CommandRunner

        return CommandRunner(
            folder,
            list(run["command"]),
            settings,
            seed=seed,
            timeout_s=timeout_s,
            concurrency=concurrency,
            scratch=scratch,
        )
    raise UsageMistake(
        f"this release cannot run versions of kind `{kind}`",
        hint='use [run] kind = "python" or "command"',
    )
