"""Publish definitions and receipts below one environment's folder, so that old or new is live.

    <publish>/host_key.pub                 the host's public key, for a new server to find
    <publish>/<system>/generations/<n>/    the definitions: what is live, and the way back
    <publish>/<system>/receipt.json        what the serving side trusts
    <publish>/<system>/way-back.json       the receipt of the version to go back to
    <publish>/<system>/staged.json         while an attempt is under way
    <publish>/<system>/place.json          what was applied when it was last published

- `receipt.json` is replaced by one rename, after its folder is whole, and then read back.
- A generation below the published one, or the same with other content, is refused; a receipt that
  does not count any more stands in nobody's way.
- Of a new generation the receipt is written first and the way back after it: in between, the older
  way back still is one.
- A folder that is whole already is used as it is; one that was changed is repaired file by file,
  so that it is never missing while it is live.
- Nothing that a receipt here names is ever removed, nor the newest generations, nor what the receipt
  before names: a server may still read them. Older folders go after a publish.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lockgate.deploy.applied_place import PLACE, AppliedPlace, read_applied
from lockgate.deploy.files import locked, read_file, remove_file, replace_file, sync_folder
from lockgate.deploy.folders import remove_folder, stand_whole
from lockgate.deploy.host_key import HostKey
from lockgate.deploy.intact import folder_problems
from lockgate.deploy.receipts import read_as_signed, write_receipt
from lockgate.domain.components import Definition
from lockgate.domain.offline import NEAR
from lockgate.domain.payload import GENERATIONS, MAX_BYTES, checked, opened
from lockgate.domain.receipt import BACK, Previous, Receipt
from lockgate.errors import (
    Busy,
    IntegrityBroken,
    LockgateError,
    Refused,
    RegistryTrouble,
    StaleGeneration,
)
from lockgate.shown import shown

RECEIPT, WAY_BACK, STAGED = "receipt.json", "way-back.json", "staged.json"
PATIENCE_S = 10.0
"""How long to wait for another process that is writing here right now."""
KEPT_GENERATIONS = 3
"""How many of the newest folders stay in any case."""

Materialise = Callable[[Definition, Callable[[str], BinaryIO], Path], None]
"""Writes a definition's files, re-hashed and durable, into a folder that appears whole."""


class Publisher:
    """What one environment publishes, of any system."""

    def __init__(
        self,
        folder: Path,
        key: HostKey,
        materialise: Materialise,
        environment: str | None = None,
    ) -> None:
        """Publish below a folder.

        Args:
            folder: The environment's `publish`, joined to the registry's root.
            key: Signs the receipts, and says which ones count.
            materialise: Writes definitions.
            environment: What receipts here have to be about; `None` takes any.
        """
        self.environment = environment
        self.folder = folder.absolute()
        self.key = key
        self._materialise = materialise

    def receipt_path(self, system: str) -> Path:
        """Return where the receipt of what is live stands."""
        return self.folder / system / RECEIPT

    def staged_path(self, system: str) -> Path:
        """Return where the receipt of an attempt stands."""
        return self.folder / system / STAGED

    def folder_of(self, receipt: Receipt) -> Path:
        """Return the folder of a receipt's definition."""
        return self.folder / receipt.system / receipt.folder

    def has_lost_key(self, system: str) -> bool:
        """Tell whether a receipt here is signed, and this host has no key to sign the next one."""
        if self.key.exists():
            return False
        for name in (RECEIPT, WAY_BACK):
            with suppress(OSError, ValueError):
                _, signature = opened(read_file(str(self.folder / system / name), MAX_BYTES))
                if signature is not None:
                    return True
        return False

    def current(self, system: str) -> Receipt | None:
        """Return the receipt of what is live; `None` when nothing was ever published.

        Raises:
            IntegrityBroken: The receipt there does not count.
        """
        return self._read(system, RECEIPT, "live")

    def current_as_signed(self, system: str) -> tuple[Receipt, bytes] | None:
        """Return the receipt of what is live, with the bytes that were checked.

        Raises:
            IntegrityBroken: The receipt there does not count.
        """
        return self._read_as_signed(system, RECEIPT, "live")

    def way_back(self, system: str) -> Receipt | None:
        """Return the receipt of the version to go back to; `None` when there is none.

        Raises:
            IntegrityBroken: The receipt there does not count.
        """
        return self._read(system, WAY_BACK, "live")

    def staged(self, system: str) -> Receipt | None:
        """Return the receipt of an attempt that is not published; `None` when there is none.

        Raises:
            IntegrityBroken: The receipt there does not count.
        """
        staged = self._read(system, STAGED, "staged")
        live = self._valid(system, RECEIPT)
        if staged is None or (live is not None and not live.is_before(staged)):
            return None
        return staged

    def newest_signed(self, system: str) -> int:
        """Return the highest generation that a receipt here speaks of; 0 for none."""
        receipts = (self._valid(system, name) for name in (RECEIPT, WAY_BACK, STAGED))
        return max((receipt.generation for receipt in receipts if receipt is not None), default=0)

    def newest_generation(self, system: str, known: int = 0) -> int:
        """Return the highest generation that anything published here speaks of; 0 for none.

        A folder that nobody signed counts too, for a rollback without the registry takes the next
        generation; but not one that lies far above all that is known.

        Args:
            system: The system.
            known: The newest generation that is known otherwise.
        """
        known = max(known, self.newest_signed(system))
        near = (number for number in self._folders(system) if number <= known + NEAR)
        return max(known, *near, 0)

    def stray_folders(self, system: str, known: int) -> list[str]:
        """Return the folders that lie too far above what is known to count."""
        known = max(known, self.newest_signed(system))
        found = self._folders(system)
        return sorted(name for number, name in found.items() if number > known + NEAR)

    def _folders(self, system: str) -> dict[int, str]:
        """Return the generations that there is a folder of, or what is left of one."""
        found = {}
        with suppress(OSError):
            for entry in os.scandir(self.folder / system / GENERATIONS):
                digits = entry.name.lstrip(".")[:8]
                if digits.isascii() and digits.isdigit():
                    found[int(digits)] = f"{GENERATIONS}/{entry.name}"
        return found

    def key_problem(self) -> str | None:
        """Say what is wrong with the host's key, here or as it is published for servers."""
        if not self.key.exists():
            return None
        try:
            wanted = self.key.public()
        except IntegrityBroken as error:
            return error.what
        return self.key.published_problem(self.folder, wanted)

    def verify_folder(self, receipt: Receipt, *, budget_bytes: int | None = None) -> list[str]:
        """Return what is wrong with a receipt's folder: each changed, missing or extra file.

        Args:
            receipt: Names the folder and its files.
            budget_bytes: The most bytes to hash; `None` hashes all.
        """
        folder = str(self.folder_of(receipt))
        return folder_problems(
            folder, receipt.files, receipt.executables, budget_bytes=budget_bytes
        )

    def prepare(
        self,
        receipt: Receipt,
        definition: Definition,
        open_content: Callable[[str], BinaryIO],
        *,
        budget_bytes: int | None = None,
    ) -> Path:
        """Have a receipt's definition stand whole in its folder; safe to repeat.

        Args:
            receipt: Names the folder.
            definition: The receipt's definition.
            open_content: Opens the bytes of a digest.
            budget_bytes: Of a folder that is there already, the most bytes to hash again; `None`
                hashes all. What is written is always hashed.

        Returns:
            The folder.

        Raises:
            IntegrityBroken: The definition is another one, or its bytes are missing or damaged.
            RegistryTrouble: The disk refuses.
        """
        if definition.digest != receipt.definition:
            raise IntegrityBroken(
                f"the receipt of {shown(receipt.label)} names another definition than the one "
                "that is to be published",
                hint=f"`lockgate show {receipt.label} -s {receipt.system}` gives what was registered",
            )
        folder = self.folder_of(receipt)
        with self._told(folder):
            stand_whole(
                folder,
                definition,
                lambda target: self._materialise(definition, open_content, target),
                budget_bytes,
            )
        return folder

    def stage(self, receipt: Receipt) -> Path:
        """Write the receipt of an attempt that is under way; safe to repeat.

        Returns:
            The receipt's path.

        Raises:
            StaleGeneration: A newer generation is published or staged; nothing was written.
            Refused: Another registry publishes here.
            Busy: Another process is writing here.
        """
        assert receipt.state == "staged"
        with self._writing(receipt.system):
            self._refuse_stale(receipt)
            self._refuse_foreign(receipt)
            self._refuse_overtaken(receipt)
            path = self.staged_path(receipt.system)
            write_receipt(path, receipt, self.key)
            return path

    def publish(self, receipt: Receipt, way_back: Receipt | None) -> None:
        """Make a receipt the one that the serving side trusts; safe to repeat.

        Args:
            receipt: Live, with its folder prepared.
            way_back: The receipt of the version to go back to, kept beside it; `None` for none.

        Raises:
            StaleGeneration: A newer generation is published, or this one with other content;
                nothing was written.
            IntegrityBroken: The folder is not whole, or something else was read back.
            RegistryTrouble: The disk refuses; the old receipt stands.
            Busy: Another process is writing here.
        """
        assert receipt.state == "live"
        assert way_back is None or way_back.state == "live"
        with self._writing(receipt.system):
            current = self._refuse_stale(receipt)
            missing = self.verify_folder(receipt, budget_bytes=0)
            if missing:
                raise IntegrityBroken(
                    f"generation {receipt.generation} of {shown(receipt.system)} is not whole; "
                    "it was not published",
                    problems=missing,
                    hint=f"write it again: {self._settle(receipt.system)}",
                )
            if self.key.exists():
                self.key.copy_public(self.folder)
            if current is None or not current.is_same_release(receipt):
                write_receipt(self.receipt_path(receipt.system), receipt, self.key)
            self._keep_way_back(receipt.system, way_back)
            self._prune(receipt, current)

    def keep_place(self, applied: AppliedPlace) -> None:
        """Lay down what was applied, unless that lies there; without it nobody is stopped."""
        place = self.folder / applied.system
        kept = read_applied(place, self.key, applied.environment.name)
        if kept is not None and kept.text() == applied.text():
            return
        with suppress(LockgateError), self._writing(applied.system):
            remove_file(str(place / PLACE))  # rather none than one that is not true any more
            replace_file(str(place / PLACE), applied.sealed(self.key))

    def _keep_way_back(self, system: str, way_back: Receipt | None) -> None:
        path = self.folder / system / WAY_BACK
        if way_back is not None:
            if self._valid(system, WAY_BACK) != way_back:
                write_receipt(path, way_back, self.key)
        elif path.exists():
            path.unlink()
            sync_folder(str(path.parent))

    def unstage(self, system: str, generation: int) -> None:
        """Take an attempt's receipt away, if it is this generation's; safe to repeat.

        Raises:
            Busy: Another process is writing here.
        """
        path = self.staged_path(system)
        if not path.exists():
            return
        with self._writing(system):
            staged = self._valid(system, STAGED)
            if staged is None or staged.generation == generation:
                remove_file(str(path))
                sync_folder(str(path.parent))

    def _prune(self, live: Receipt, replaced: Receipt | None) -> None:
        """Remove the folders of older generations that nobody needs.

        While a receipt here cannot be read nobody knows what it names, and all stay. Whether it is
        signed does not matter: it can only name more that stays.
        """
        place = self.folder / live.system
        try:
            names = sorted(entry.name for entry in (place / GENERATIONS).iterdir())
            told = [_unverified(place / name) for name in (WAY_BACK, STAGED)]
        except (OSError, ValueError):
            return
        kept = set([name for name in names if not name.startswith(".")][-KEPT_GENERATIONS:])
        for receipt in (live, replaced):
            kept |= _needed(receipt.folder, receipt.previous) if receipt else set()
        for body in filter(None, told):
            kept.add(Path(body["folder"]).name)
        for name in names:
            if name not in kept and _is_older(name, live.generation):
                remove_folder(place / GENERATIONS / name)

    def _read(self, system: str, name: str, state: str | None = None) -> Receipt | None:
        found = self._read_as_signed(system, name, state)
        return found[0] if found else None

    def _read_as_signed(
        self, system: str, name: str, state: str | None = None
    ) -> tuple[Receipt, bytes] | None:
        path = self.folder / system / name
        hint = f"publish what is live again: {self._settle(system)}"
        try:
            found = read_as_signed(path, self.key)
        except IntegrityBroken as error:
            raise IntegrityBroken(error.what, hint=hint) from error
        if found is None:
            return None
        receipt = found[0]
        wrong = None
        if receipt.system != system:
            wrong = f"it is about system `{shown(receipt.system)}`"
        elif self.environment not in (None, receipt.environment):
            wrong = f"it is about environment `{shown(receipt.environment)}`"
        elif state is not None and receipt.state != state:
            wrong = f"it says `{receipt.state}`, not `{state}`"
        if wrong is not None:
            raise IntegrityBroken(
                f"the receipt `{shown(path)}` does not count: {wrong}",
                hint=hint,
            )
        return found

    def _settle(self, system: str) -> str:
        return f"`lockgate settle {self.environment or 'ENV'} -s {shown(system)}`"

    def _valid(self, system: str, name: str) -> Receipt | None:
        """Return a receipt if it counts; one that does not is as good as none."""
        with suppress(IntegrityBroken):
            return self._read(system, name)
        return None

    def _refuse_stale(self, receipt: Receipt) -> Receipt | None:
        """Return what is published, if it counts, unless a receipt may not follow it."""
        current = self._valid(receipt.system, RECEIPT)
        if current is None or current.registry != receipt.registry or current.is_before(receipt):
            return current
        if receipt.is_before(current):
            raise StaleGeneration(
                f"generation {receipt.generation} of {shown(receipt.environment)} is older than "
                f"generation {current.generation}, which is published; nothing was changed",
                hint="`lockgate status` shows what is live now",
            )
        if receipt.state == "live" and not receipt.is_same_release(current):
            raise StaleGeneration(
                f"generation {receipt.generation} of {shown(receipt.environment)} is published "
                f"already, with other content: {shown(current.label)} by {current.kind}; "
                "nothing was changed",
                hint="`lockgate status` shows what is live now",
            )
        return current

    def _refuse_overtaken(self, receipt: Receipt) -> None:
        """Keep what overtook an attempt staged; a way back only gives way to another one."""
        staged = self._valid(receipt.system, STAGED)
        if staged is None or staged.origin != receipt.origin or not receipt.is_before(staged):
            return
        if receipt.kind in BACK and staged.kind not in BACK:
            return
        raise StaleGeneration(
            f"generation {receipt.generation} of {shown(receipt.environment)} was overtaken: "
            f"generation {staged.generation}, {shown(staged.label)} by {staged.kind}, is under "
            "way; nothing was changed",
            hint=f"how that ends: {self._settle(receipt.system)}",
        )

    def _refuse_foreign(self, receipt: Receipt) -> None:
        """Stop all but a way back where another registry publishes."""
        if receipt.kind in BACK:
            return
        path = self.receipt_path(receipt.system)
        try:
            payload, _ = opened(read_file(str(path), MAX_BYTES))
            registry = checked(payload)["registry"]
        except (OSError, ValueError):
            return
        if registry != receipt.registry:
            raise Refused(
                f"another registry, `{registry}`, publishes {shown(receipt.system)} in "
                f"{shown(self.folder)}",
                hint="give `publish` a folder of its own in policy.toml, "
                f"or move this one away: mv {shown(self.folder)} {shown(self.folder)}.old",
            )

    @contextmanager
    def _writing(self, system: str) -> Iterator[None]:
        """Be the only one who writes a system's receipts."""
        place = self.folder / system
        with self._told(place):
            place.mkdir(parents=True, exist_ok=True)
            try:
                with locked(str(place / ".lock"), PATIENCE_S):
                    yield
            except TimeoutError as error:
                raise Busy(
                    f"another process has been writing to {shown(place)} for {PATIENCE_S:g} s",
                    hint=f"run the command again; who it is: fuser -v {shown(place / '.lock')}",
                ) from error

    @contextmanager
    def _told(self, place: Path) -> Iterator[None]:
        """Turn what the disk says into words."""
        try:
            yield
        except OSError as error:
            where = error.filename or place
            raise RegistryTrouble(
                f"{shown(where)} cannot be used: {(error.strerror or 'unknown error').lower()}",
                hint=f"check space and rights: `df {shown(self.folder)}`, "
                f"`ls -ld {shown(self.folder)}`",
            ) from error


def _unverified(path: Path) -> dict[str, Any] | None:
    """Return what a receipt says, whoever signed it; `None` when there is none.

    Raises:
        OSError, ValueError: It cannot be read.
    """
    try:
        payload, _ = opened(read_file(str(path), MAX_BYTES))
    except FileNotFoundError:
        return None
    return checked(payload)


def _needed(folder: str, previous: Previous | None) -> set[str]:
    """Return the names of a receipt's own folder and of that of what was live before it."""
    before = {f"{previous.generation:08d}"} if previous else set()
    return {Path(folder).name} | before


def _is_older(name: str, generation: int) -> bool:
    """Tell whether a folder, or what an interrupted writer left of one, is of an older generation."""
    digits = name.lstrip(".")[:8]
    return len(digits) == 8 and digits.isdigit() and int(digits) < generation
