"""What was published or begun without the registry, and is not recorded in it yet.

- Only what this host signed, for this registry in its present epoch, counts: a note beside it says
  who and why, never what.
- Until it is recorded nothing is promoted over it: the registry would compare with a version that
  is no longer live. A rollback that takes a generation above it is never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.domain.offline import OfflineNote
from lockgate.domain.receipt import BACK, Receipt
from lockgate.domain.release import Attempt, Deployment
from lockgate.errors import IntegrityBroken, Refused
from lockgate.ports import Registry, Target


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Generations that files speak of and the registry does not."""

    published: Receipt | None
    """The published receipt, when the registry does not say the same of its generation."""
    staged: Receipt | None
    """The receipt of a rollback that was begun, and is neither published nor recorded."""
    notes: tuple[OfflineNote, ...]
    """Of generations above the newest that is recorded."""
    newest: int
    """The newest generation that is recorded."""

    @property
    def top(self) -> int:
        """The highest generation of all these."""
        receipts = [one.generation for one in (self.published, self.staged) if one]
        return max([*receipts, *(note.generation for note in self.notes), 0])


def valid(read: Callable[[str], Receipt | None], system: str) -> Receipt | None:
    """Return a receipt if it counts; one that does not is as good as none."""
    try:
        return read(system)
    except IntegrityBroken:
        return None


def unrecorded(
    registry: Registry, target: Target, system: str, environment: str
) -> Unrecorded | None:
    """Return what was done without the registry; `None` when it knows everything."""
    if not target.publishes:
        return None
    newest = registry.releases.newest(system, environment)
    known = newest.attempt.generation if newest else 0

    def ours(receipt: Receipt | None) -> Receipt | None:
        origin = (registry.id, registry.epoch, environment)
        named = receipt and (receipt.registry, receipt.epoch, receipt.environment)
        return receipt if named == origin else None

    published = ours(valid(target.current, system))
    if published is not None and _is_known(registry, published):
        published = None
    staged = ours(valid(target.staged, system))
    if staged is not None and (staged.generation <= known or staged.kind not in BACK):
        staged = None
    notes = tuple(note for note in target.offline_notes(system) if note.generation > known)
    if published is None and staged is None and not notes:
        return None
    return Unrecorded(published, staged, notes, known)


def _is_known(registry: Registry, published: Receipt) -> bool:
    """Tell whether the registry says what a receipt says, or has gone on from there."""
    place = (published.system, published.environment)
    if _agrees(registry.releases.deployment(*place, published.generation), published):
        return True
    live = registry.releases.live(*place)
    return (
        live is not None
        and live.attempt.generation > published.generation
        and live.attempt.kind in BACK
        and live.attempt.version == published.version
    )


def _agrees(deployment: Deployment | None, published: Receipt) -> bool:
    return (
        deployment is not None
        and deployment.outcome in ("live", None)
        and (deployment.attempt.version, deployment.attempt.kind)
        == (published.version, published.kind)
    )


def refuse_unrecorded(registry: Registry, target: Target, attempt: Attempt) -> None:
    """Stop an attempt that would go over what somebody did without the registry.

    Raises:
        Refused: Something is not recorded; nothing was begun.
        IntegrityBroken: The published receipt does not count, so that nobody can tell; a way back
            is never stopped by it.
    """
    if target.publishes and attempt.kind not in BACK:
        target.current(attempt.system)
    found = unrecorded(registry, target, attempt.system, attempt.environment)
    if found is None or (attempt.kind in BACK and attempt.generation > found.top):
        return
    what = f"generation {found.top} of {attempt.environment} was taken without the registry"
    if found.published is not None:
        what += f", and {found.published.label} is published"
    raise Refused(
        f"{what}; nothing was begun",
        hint=f"`lockgate settle {attempt.environment} -s {attempt.system}` records it",
    )
