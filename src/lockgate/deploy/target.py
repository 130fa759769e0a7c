"""One environment's target: what it publishes, which hook it runs, whom it asks what is running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from lockgate.deploy import hook, offline_notes
from lockgate.deploy.applied_place import AppliedPlace
from lockgate.deploy.host_key import HostKey
from lockgate.deploy.observe import Observed, classify, observe
from lockgate.deploy.offline_notes import Notes
from lockgate.deploy.publisher import Materialise, Publisher
from lockgate.domain.components import Definition
from lockgate.domain.offline import OfflineNote
from lockgate.domain.policy import Environment
from lockgate.domain.receipt import Receipt

OBSERVE_TIMEOUT_S = 20.0
HASHED_AT_ONCE_BYTES = 64 << 20
"""Of a published folder that is there already, how much is hashed before it is switched to."""


class EnvironmentTarget:
    """Where one environment's versions are published and deployed to; see `ports.Target`."""

    def __init__(
        self,
        root: Path,
        system: str,
        environment: Environment,
        key: HostKey,
        materialise: Materialise,
        *,
        is_applied: bool = False,
    ) -> None:
        """Serve one system in one environment of the applied policy.

        Args:
            root: The registry's folder.
            system: Whose versions.
            environment: Says what is published and which commands are run.
            key: Signs the receipts.
            materialise: Writes a definition's files.
            is_applied: Whether the environment is one of the applied policy: then what it says is
                kept beside what is published.
        """
        self._root = root
        self._system = system
        self._environment = environment
        self._key = key
        self._materialise = materialise
        self._is_applied = is_applied
        folder = root / environment.publish if environment.publish else None
        self.publisher = Publisher(folder, key, materialise, environment.name) if folder else None

    def elsewhere(self, environment: Environment) -> EnvironmentTarget:
        """Return where the same system's versions go in another environment."""
        return EnvironmentTarget(
            *(self._root, self._system, environment, self._key, self._materialise),
            is_applied=self._is_applied,
        )

    @property
    def publishes(self) -> bool:
        """Whether receipts and definitions are published."""
        return self.publisher is not None

    @property
    def has_hook(self) -> bool:
        """Whether a deploy hook is run."""
        return bool(self._environment.deploy)

    @property
    def observes(self) -> bool:
        """Whether running instances can be asked which version they are."""
        return bool(self._environment.observe)

    def hook_words(self) -> str:
        """Return the words of the deploy hook, as the policy gives them."""
        return " ".join(self._environment.deploy)

    def hook_digest(self) -> str | None:
        """Return a digest of the hook's words and scripts; `None` without a hook."""
        if not self.has_hook:
            return None
        return hook.hook_digest(self._root, self._environment.deploy)

    def current(self, system: str) -> Receipt | None:
        """Return the receipt of what is live."""
        return self.publisher.current(system) if self.publisher else None

    def way_back(self, system: str) -> Receipt | None:
        """Return the receipt of the version to go back to."""
        return self.publisher.way_back(system) if self.publisher else None

    def staged(self, system: str) -> Receipt | None:
        """Return the receipt of an attempt that is not published."""
        return self.publisher.staged(system) if self.publisher else None

    def newest_generation(self, system: str) -> int:
        """Return the highest generation that anything published speaks of; 0 for none."""
        return self.publisher.newest_generation(system) if self.publisher else 0

    def problems(self, receipt: Receipt, *, budget_bytes: int | None = None) -> list[str]:
        """Return what is wrong with a receipt's folder; without a budget every byte is hashed."""
        place = self.publisher
        return place.verify_folder(receipt, budget_bytes=budget_bytes) if place else []

    def key_problem(self) -> str | None:
        """Say what is wrong with the host's key as it is published; `None` when nothing is."""
        return self.publisher.key_problem() if self.publisher else None

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
        if self.publisher:
            budget = None if hash_all else HASHED_AT_ONCE_BYTES
            self.publisher.prepare(receipt, definition, open_content, budget_bytes=budget)

    def stage(self, receipt: Receipt) -> None:
        """Write the receipt of an attempt that is under way; safe to repeat."""
        if self.publisher:
            self.publisher.stage(receipt)

    def publish(self, receipt: Receipt, way_back: Receipt | None) -> None:
        """Make a receipt the one that the serving side trusts; safe to repeat."""
        if self.publisher:
            self.publisher.publish(receipt, way_back)
            if self._is_applied:
                settings, digest = self._environment, self.hook_digest()
                self.publisher.keep_place(AppliedPlace(self._system, settings, digest))

    def unstage(self, system: str, generation: int) -> None:
        """Take an attempt's receipt away; safe to repeat."""
        if self.publisher:
            self.publisher.unstage(system, generation)

    def size_bytes(self, receipt: Receipt) -> int:
        """Return how large the files of a receipt's folder are, as far as they are there."""
        if self.publisher is None:
            return 0
        folder, total = self.publisher.folder_of(receipt), 0
        for path in (*receipt.files, *receipt.executables):
            with suppress(OSError):
                total += (folder / path).stat().st_size
        return total

    def has_lost_key(self, system: str) -> bool:
        """Tell whether receipts here are signed, and this host has no key to sign the next one."""
        place = self.publisher
        return place is not None and place.has_lost_key(system)

    def offline_notes(self, system: str) -> list[OfflineNote]:
        """Return what rollbacks without the registry left for it to record, oldest first."""
        return list(self._notes(system).counted)

    def _notes(self, system: str) -> Notes:
        if self.publisher is None:
            return Notes((), ())
        return offline_notes.read_notes(
            self.publisher.folder / system, self._key, self._environment.name, self._known(system)
        )

    def _known(self, system: str) -> int:
        """Return the newest generation that a receipt or a hook speaks of."""
        signed = self.publisher.newest_signed(system) if self.publisher else 0
        return max(signed, hook.newest_generation(self._run(0)))

    def strays(self, system: str) -> list[str]:
        """Return the files beside the receipts that look like a generation and count for nothing."""
        if self.publisher is None:
            return []
        notes = self._notes(system)
        known = max(self._known(system), *(note.generation for note in notes.counted), 0)
        names = [path.name for path in notes.strays]
        return names + self.publisher.stray_folders(system, known)

    def set_aside_notes(self, system: str, *, all_of_them: bool = False) -> list[str]:
        """Rename the notes that count for nothing, or all; return those that were."""
        notes = self._notes(system)
        paths = list(notes.strays)
        if all_of_them and self.publisher is not None:
            place = self.publisher.folder / system
            paths += [place / f"offline-{note.generation}.json" for note in notes.counted]
        return [path.name for path in paths if offline_notes.set_aside(path)]

    def write_offline_note(self, note: OfflineNote) -> None:
        """Leave a note for the registry; replaces the one of the same generation."""
        if self.publisher:
            offline_notes.write_note(self.publisher.folder / note.system, note, self._key)

    def drop_offline_note(self, system: str, generation: int) -> None:
        """Remove a note that is recorded; safe to repeat."""
        if self.publisher:
            offline_notes.drop_note(self.publisher.folder / system, generation)

    def alone_offline(self, system: str) -> AbstractContextManager[None]:
        """Be the only one who goes back without the registry, or records it; else `Busy`."""
        if self.publisher is None:
            return nullcontext()
        return offline_notes.alone(self.publisher.folder / system)

    def newest_taken(self, system: str) -> int:
        """Return the highest generation that any file speaks of, a hook's too; 0 for none."""
        noted = [note.generation for note in self.offline_notes(system)]
        known = max(self._known(system), *noted, 0)
        return self.publisher.newest_generation(system, known) if self.publisher else known

    def _run(self, generation: int) -> hook.HookRun:
        folder = self._root / ".lockgate" / "hooks"
        return hook.HookRun(folder, self._system, self._environment.name, generation)

    def start_hook(self, receipt: Receipt, previous: Receipt | None) -> None:
        """Start the deploy hook; it outlives this process."""
        place = self.publisher
        missing = self._root / ".lockgate" / "unpublished"
        job = hook.Job(
            place.staged_path(receipt.system) if place else missing,
            place.folder_of(receipt) if place else missing,
            receipt.version,
            place.folder_of(previous) if place and previous else None,
        )
        hook.start(
            self._root,
            self._run(receipt.generation),
            self._environment.deploy,
            job,
            timeout_s=self._environment.deploy_timeout.total_seconds(),
        )

    def follow_hook(self, system: str, generation: int) -> Iterator[hook.HookProgress]:
        """Give what a hook writes as it writes it, until it has ended."""
        return hook.follow(self._run(generation))

    def hook_status(self, system: str, generation: int) -> hook.HookStatus:
        """Return how a hook stands, whoever started it."""
        return hook.status(self._run(generation))

    def stop_hook(self, system: str, generation: int) -> hook.HookStatus:
        """Stop a hook, or make sure that it never starts; safe to repeat."""
        return hook.stop(self._run(generation))

    def observe(self, live: str | None, receipted: Iterable[str]) -> list[Observed]:
        """Ask the running instances which version they are."""
        facts = {
            "LOCKGATE_SYSTEM": self._system,
            "LOCKGATE_ENVIRONMENT": self._environment.name,
        }
        told = observe(self._root, self._environment.observe, OBSERVE_TIMEOUT_S, facts)
        return classify(told, live, list(receipted))
