"""A system's folder as it was read, and one write transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.evidence import (
        Answer,
        Answered,
        MetricSummary,
        Run,
        RunEnd,
    )
    from lockgate.domain.suite import Suite
    from lockgate.domain.upkeep import (
        FullCheck,
    )
    from lockgate.domain.version import Version


R = TypeVar("R")


class Clock(Protocol):
    """Tells the time; tests hold it still."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


class Draft(Protocol):
    """A system's folder as it was just read: what would be registered."""

    @property
    def system(self) -> str:
        """The system's name, as lockgate.toml says."""
        ...

    @property
    def owner(self) -> str | None:
        """The owner lockgate.toml names."""
        ...

    @property
    def definition(self) -> Definition:
        """The components as they are in the folder."""
        ...

    @property
    def unclaimed(self) -> tuple[str, ...]:
        """Files that no component claims and nothing says to ignore."""
        ...

    @property
    def is_unclaimed_complete(self) -> bool:
        """False when there are more such files than are named."""
        ...

    @property
    def locked_version(self) -> str | None:
        """The version id that lockgate.lock says this folder is."""
        ...

    def size_bytes(self, path: str) -> int:
        """Return the size of one of the definition's files."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Open one of the definition's files for reading, without following links."""
        ...


class Writing(Protocol):
    """One write transaction: everything in it happens, or nothing does."""

    def append(self, record: R) -> R:
        """Add one record and its ledger row; returns it with its `seq` and `at`.

        Raises:
            Rejected: A rule of the registry refused it.
        """
        ...

    def put(self, data: bytes) -> str:
        """Keep some bytes as an object and return their digest."""
        ...

    def put_file(self, source: Callable[[], BinaryIO], digest: str, size_bytes: int) -> None:
        """Keep a file's bytes, hashed again on the way; `IntegrityBroken` when they differ."""
        ...

    def ensure_system(self, name: str, actor: str) -> None:
        """Record a system unless it is there."""
        ...

    def add_definition(self, definition: Definition) -> None:
        """Store a definition whose files are stored already."""
        ...

    def next_label(self, system: str, track: str) -> str:
        """Return the next free label of a track."""
        ...

    def add_version(self, version: Version, prompt_text: str) -> Version:
        """Record a version and make it searchable."""
        ...

    def add_suite(self, suite: Suite, files: Mapping[str, bytes]) -> None:
        """Store a suite with its cases."""
        ...

    def add_answers(self, answers: Iterable[Answer]) -> None:
        """Store a batch of answers of open runs."""
        ...

    def end_run(
        self,
        run: Run,
        outcome: str,
        summary: tuple[MetricSummary, ...],
        actor: str,
        came_to: Answered | None = None,
    ) -> RunEnd:
        """End a run: from here on its answers are fixed.

        Args:
            run: An open run.
            outcome: `completed` or `voided`.
            summary: Its metrics; none of a voided run.
            actor: Who ends it.
            came_to: What its answers come to, read before this transaction.

        Raises:
            Rejected: Answers are missing, it has ended, or it has more of them by now.
        """
        ...

    def remove_content(self, digest: str, kind: str, reason: str, actor: str) -> None:
        """End an object's content, with a record; a large one's file goes with `sweep_files`.

        Raises:
            Rejected: A release needs it.
        """
        ...

    def sweep_files(self, digests: Iterable[str]) -> int:
        """Delete the files of objects that have no content any more; returns how many.

        In a transaction after the one that removed them: what is not committed may come back.
        """
        ...

    def note_full_check(self, check: FullCheck) -> None:
        """Note that every byte of a definition was hashed; replaces the note before it."""
        ...

    def take_lease(self, subject: str, holder: str) -> None:
        """Say that this process works on something; `Busy` when a living one does."""
        ...

    def renew_lease(self, subject: str) -> None:
        """Say that this process is still at work."""
        ...

    def drop_lease(self, subject: str) -> None:
        """Say that this process is done with something."""
        ...
