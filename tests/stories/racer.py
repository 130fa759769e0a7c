"""A process that promotes what it is told, at the same moment as another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockgate import wiring
from lockgate.errors import LockgateError
from lockgate.loop.promote import promote


def race(root: str, name: str, starts: Any, orders: Any, results: Any) -> None:
    """Promote one decision after the other until told to stop.

    Args:
        root: The registry's folder.
        name: Who promotes.
        starts: A barrier that both racers wait at.
        orders: A queue of decision ids; `None` ends it.
        results: Takes (name, "won", generation) or (name, error's class, its text).
    """
    registry = wiring.open_registry(Path(root))
    environment = wiring.applied_policy(registry).environment("staging")
    while (order := orders.get()) is not None:
        decision = registry.releases.decision(order)
        version = registry.versions.get(decision.version)
        assert version is not None
        starts.wait(60)
        try:
            done = promote(registry, version, environment, decision, actor=name)
        except LockgateError as error:
            results.put((name, type(error).__name__, str(error)))
        else:
            results.put((name, "won", done.generation))
    registry.close()
