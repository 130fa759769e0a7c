"""The way back that is kept beside what is live: the right one, or none.

- What is quarantined is no way back in any environment, wherever it was left.
- Putting one right never fails a rollback: `review` tells of it, and `settle` tries again.
- What a rehearsal took the place of stays its way back, whatever is said of it.
"""

from __future__ import annotations

from contextlib import suppress

from lockgate.domain.receipt import Receipt
from lockgate.domain.release import Attempt
from lockgate.errors import IntegrityBroken, LockgateError
from lockgate.loop.deployment import gated_way_back, kept_way_back
from lockgate.loop.standing import applied_policy
from lockgate.loop.unrecorded import valid
from lockgate.ports import Registry, Target


def wanted_way_back(registry: Registry, target: Target, attempt: Attempt) -> Receipt | None:
    """Return the receipt to keep beside that of an attempt, as it would have been kept."""
    if attempt.kind == "rollback":
        return None
    to = registry.versions.get(attempt.version or "")
    before = registry.releases.live_before(attempt.system, attempt.environment, attempt.generation)
    try:
        return kept_way_back(registry, target, before, besides=to)
    except IntegrityBroken:
        return None  # what is live is to be published all the same


def keep_right(registry: Registry, target: Target, attempt: Attempt, current: Receipt) -> bool:
    """Keep the right way back beside what is live; tell whether another one was there.

    Args:
        registry: Knows what was live.
        target: Where the environment's versions go.
        attempt: What is live there.
        current: Its published receipt.
    """
    kept = valid(target.way_back, attempt.system)
    if attempt.kind == "revert" and not _is_quarantined(registry, kept):
        return False  # that of what it put back
    wanted = None
    if attempt.kind != "rollback":
        before = registry.releases.live_before(
            attempt.system, attempt.environment, attempt.generation
        )
        to = registry.versions.get(attempt.version or "")
        wanted = gated_way_back(registry, before, besides=to)
    if (kept.version if kept else None) == (wanted.attempt.version if wanted else None):
        return False
    receipt = wanted_way_back(registry, target, attempt)
    if receipt is None and kept is None:
        return False
    target.publish(current, receipt)
    return True


def is_of(published: Receipt, registry: Registry, attempt: Attempt) -> bool:
    """Tell whether a published receipt is that of an attempt."""
    return (
        published.registry,
        published.epoch,
        published.environment,
        published.generation,
        published.version,
    ) == (registry.id, registry.epoch, attempt.environment, attempt.generation, attempt.version)


def leave_no_quarantined(
    registry: Registry, target: Target, system: str, environment: str
) -> list[str]:
    """Have no other environment keep a way back that was just quarantined; never fails.

    Args:
        registry: Knows what is quarantined, and the applied policy.
        target: Where the environment's versions go that somebody rolled back.
        system: The system.
        environment: That environment, whose own way back went with the rollback.

    Returns:
        The environments whose way back is another one now, or none any more.
    """
    policy = applied_policy(registry)
    mended = []
    for name, settings in policy.environments.items() if policy else ():
        if name == environment or not settings.publish:
            continue
        with suppress(LockgateError):
            if _left_right(registry, target.elsewhere(settings), system, name):
                mended.append(name)
    return mended


def _left_right(registry: Registry, place: Target, system: str, environment: str) -> bool:
    live = registry.releases.live(system, environment)
    if live is None or live.attempt.kind == "rehearsal" or not place.publishes:
        return False
    if not _is_quarantined(registry, valid(place.way_back, system)):
        return False
    current = place.current(system)
    if current is None or not is_of(current, registry, live.attempt):
        return False  # `settle` publishes what is live, with the right way back
    return keep_right(registry, place, live.attempt, current)


def _is_quarantined(registry: Registry, receipt: Receipt | None) -> bool:
    return receipt is not None and bool(
        registry.releases.quarantines(receipt.system, definition=receipt.definition)
    )
