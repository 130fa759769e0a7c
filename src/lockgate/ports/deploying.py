"""Where versions are published and deployed to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.offline import OfflineNote
    from lockgate.domain.policy import Environment
    from lockgate.domain.receipt import Receipt


class HookTold(Protocol):
    """How a deploy hook stands."""

    @property
    def state(self) -> str:
        """`absent`, `running` or `ended`."""
        ...

    @property
    def ending(self) -> str | None:
        """Of an ended one, how; `lost` when nobody saw it."""
        ...

    @property
    def is_success(self) -> bool:
        """Whether it ran to its end and said that all went well."""
        ...

    def words(self) -> str:
        """Return how it stands as the end of a sentence."""
        ...


class HookLines(Protocol):
    """What a hook wrote since the last look."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Whole lines, safe to show."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Since it started."""
        ...


class InstanceTold(Protocol):
    """A running instance and what its answer means."""

    @property
    def name(self) -> str:
        """As the observe command named it; not safe to show."""
        ...

    @property
    def state(self) -> str:
        """`match`, `stale`, `unreceipted` or `unknown`."""
        ...

    @property
    def version(self) -> str | None:
        """The whole version id, where it is known."""
        ...


class Target(Protocol):
    """Where one environment's versions are published and deployed to."""

    @property
    def publishes(self) -> bool:
        """Whether receipts and definitions are published."""
        ...

    @property
    def has_hook(self) -> bool:
        """Whether a deploy hook is run."""
        ...

    @property
    def observes(self) -> bool:
        """Whether running instances can be asked which version they are."""
        ...

    def hook_digest(self) -> str | None:
        """Return a digest of the hook's words and scripts; `None` without a hook."""
        ...

    def current(self, system: str) -> Receipt | None:
        """Return the receipt of what is live; `IntegrityBroken` when it does not count."""
        ...

    def way_back(self, system: str) -> Receipt | None:
        """Return the receipt of the version to go back to."""
        ...

    def staged(self, system: str) -> Receipt | None:
        """Return the receipt of an attempt that is not published."""
        ...

    def newest_generation(self, system: str) -> int:
        """Return the highest generation that anything published speaks of; 0 for none."""
        ...

    def problems(self, receipt: Receipt, *, budget_bytes: int | None = None) -> Sequence[str]:
        """Return what is wrong with a receipt's folder; without a budget every byte is hashed."""
        ...

    def key_problem(self) -> str | None:
        """Say what is wrong with the host's key as it is published; `None` when nothing is."""
        ...

    def prepare(
        self,
        receipt: Receipt,
        definition: Definition,
        open_content: Callable[[str], BinaryIO],
        *,
        hash_all: bool = False,
    ) -> None:
        """Have a receipt's definition stand whole in its folder; safe to repeat.

        What is written is always hashed; of a folder that is there already only so much as is
        quick, unless `hash_all`.
        """
        ...

    def offline_notes(self, system: str) -> Sequence[OfflineNote]:
        """Return what rollbacks without the registry left for it to record, oldest first."""
        ...

    def strays(self, system: str) -> Sequence[str]:
        """Return the files beside the receipts that look like a generation and count for nothing."""
        ...

    def set_aside_notes(self, system: str, *, all_of_them: bool = False) -> Sequence[str]:
        """Rename the notes that count for nothing, or all; return those that were."""
        ...

    def drop_offline_note(self, system: str, generation: int) -> None:
        """Remove a note that is recorded; safe to repeat."""
        ...

    def elsewhere(self, environment: Environment) -> Target:
        """Return where the same system's versions go in another environment."""
        ...

    def alone_offline(self, system: str) -> AbstractContextManager[None]:
        """Be the only one who goes back without the registry, or records it; else `Busy`."""
        ...

    def stage(self, receipt: Receipt) -> None:
        """Write the receipt of an attempt that is under way; safe to repeat."""
        ...

    def publish(self, receipt: Receipt, way_back: Receipt | None) -> None:
        """Make a receipt the one that the serving side trusts; safe to repeat.

        Raises:
            StaleGeneration: A newer generation is published; nothing was written.
        """
        ...

    def unstage(self, system: str, generation: int) -> None:
        """Take an attempt's receipt away; safe to repeat."""
        ...

    def start_hook(self, receipt: Receipt, previous: Receipt | None) -> None:
        """Start the deploy hook; it outlives this process.

        Raises:
            InfrastructureFailed: It cannot be started; nothing ran.
            StaleGeneration: A later generation's hook was started already.
        """
        ...

    def follow_hook(self, system: str, generation: int) -> Iterator[HookLines]:
        """Give what a hook writes as it writes it, until it has ended."""
        ...

    def hook_status(self, system: str, generation: int) -> HookTold:
        """Return how a hook stands, whoever started it."""
        ...

    def stop_hook(self, system: str, generation: int) -> HookTold:
        """Stop a hook, or make sure that it never starts; safe to repeat."""
        ...

    def observe(self, live: str | None, receipted: Iterable[str]) -> Sequence[InstanceTold]:
        """Ask the running instances which version they are."""
        ...


class OfflineTarget(Target, Protocol):
    """What going back without the registry needs besides."""

    def newest_taken(self, system: str) -> int:
        """Return the highest generation that any file speaks of, a hook's too; 0 for none."""
        ...

    def size_bytes(self, receipt: Receipt) -> int:
        """Return how large the files of a receipt's folder are, as far as they are there."""
        ...

    def write_offline_note(self, note: OfflineNote) -> None:
        """Leave a note for the registry; replaces the one of the same generation."""
        ...
