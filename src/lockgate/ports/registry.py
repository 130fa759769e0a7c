"""Everything that was ever recorded, and the one way to add to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lockgate.ports.queries import (
        AppliedQueries,
        ObjectStore,
        ReleaseQueries,
        RunQueries,
        UpkeepQueries,
        VersionQueries,
    )
    from lockgate.ports.writing import Clock, Writing


class Registry(Protocol):
    """Everything that was ever recorded, and the one way to add to it."""

    root: Path
    why_not: str | None
    """Why nothing can be recorded; `None` when it can."""

    @property
    def id(self) -> str:
        """The registry's own id."""
        ...

    @property
    def epoch(self) -> int:
        """Counts the lives of a registry: `restore` begins a new one."""
        ...

    @property
    def clock(self) -> Clock:
        """What tells the time."""
        ...

    def now(self) -> datetime:
        """Return the time that rules are judged at: never before what is recorded already."""
        ...

    @property
    def versions(self) -> VersionQueries:
        """Systems, versions and definitions."""
        ...

    @property
    def runs(self) -> RunQueries:
        """Runs and answers."""
        ...

    @property
    def releases(self) -> ReleaseQueries:
        """Decisions, approvals and deployments."""
        ...

    @property
    def applied(self) -> AppliedQueries:
        """The policy and suites that count."""
        ...

    @property
    def upkeep(self) -> UpkeepQueries:
        """Notes, break-glass, rehearsals, reviews, rechecks and removals."""
        ...

    @property
    def objects(self) -> ObjectStore:
        """Bytes by digest."""
        ...

    def write(self, *, durable: bool = True) -> AbstractContextManager[Writing]:
        """Open one write transaction.

        Raises:
            Busy: Somebody else kept writing for too long.
            Rejected: A rule of the registry refused a record; nothing was written.
            StaleGeneration: Somebody else took the generation first; nothing was written.
            RegistryTrouble: The disk or the file cannot be written.
        """
        ...

    def read(self) -> AbstractContextManager[None]:
        """Hold one consistent view for several queries."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """Give an empty folder of this process's own; it goes with the block, or with the process.

        Raises:
            RegistryTrouble: It cannot be made.
        """
        ...

    def changed(self) -> int:
        """Return a number that differs when another connection has written since."""
        ...

    def close(self) -> None:
        """Close it; safe to call twice."""
        ...
