"""The notes that a rollback without the registry leaves beside the receipts.

<publish>/<system>/offline-<generation>.json   who went back, why and when, signed like a receipt
<publish>/<system>/offline-*.json.ignored      what counted for nothing, set aside by `settle`
<publish>/<system>/.offline.lock               held while somebody goes back without the registry

- On a host with a key an unsigned note counts for nothing, nor does one of another system or
  environment. Without a key it counts up to `NEAR` generations above what is known otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lockgate.deploy.files import locked, read_file, remove_file, replace_file, sync_folder
from lockgate.deploy.host_key import HostKey
from lockgate.deploy.receipts import signature_trouble
from lockgate.domain.offline import NEAR, OfflineNote, read_note
from lockgate.domain.payload import opened, sealed
from lockgate.errors import Busy, IntegrityBroken, RegistryTrouble
from lockgate.shown import shown

_MAX_BYTES = 64 << 10
_LOCK = ".offline.lock"


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes in a system's published folder."""

    counted: tuple[OfflineNote, ...]
    """Oldest generation first."""
    strays: tuple[Path, ...]
    """Files that are named like notes and count for nothing."""


def read_notes(place: Path, key: HostKey, environment: str, known: int) -> Notes:
    """Return the notes in a system's published folder, and what only looks like one.

    Args:
        place: The folder; its name is the system's.
        key: Of this host.
        environment: What the notes have to be about.
        known: The newest generation that anything signed, or a hook, speaks of.
    """
    counted, strays = [], []
    for path in sorted(place.glob("offline-*.json")):
        note = _signed(path, key)
        if note is None or path != _path(place, note.generation):
            strays.append(path)
            continue
        is_ours = (note.system, note.environment) == (place.name, environment)
        if is_ours and (key.exists() or note.generation <= known + NEAR):
            counted.append(note)
        else:
            strays.append(path)
    return Notes(tuple(sorted(counted, key=lambda note: note.generation)), tuple(strays))


def _signed(path: Path, key: HostKey) -> OfflineNote | None:
    """Return the note in a file if this host signed it."""
    with suppress(OSError, ValueError, IntegrityBroken):
        payload, signature = opened(read_file(str(path), _MAX_BYTES))
        if signature_trouble(payload, signature, key) is None:
            return read_note(payload.encode("utf-8"))
    return None


def set_aside(path: Path) -> bool:
    """Rename a file that is named like a note, so that nobody asks about it any more."""
    try:
        path.replace(path.with_name(f"{path.name}.ignored"))
    except OSError:
        return False
    return True


def write_note(place: Path, note: OfflineNote, key: HostKey) -> None:
    """Sign a note and write it, or replace it.

    Raises:
        RegistryTrouble: The disk refuses.
        Refused: The host's key cannot be used.
    """
    path = _path(place, note.generation)
    text = note.text()
    signature = key.sign(text.encode("ascii")) if key.exists() else None
    try:
        replace_file(str(path), sealed(text, signature))
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(path)} cannot be written: {(error.strerror or 'unknown error').lower()}",
            hint=f"check space and rights: `df {shown(place)}`, `ls -ld {shown(place)}`",
        ) from error


def drop_note(place: Path, generation: int) -> None:
    """Remove the note of a generation; safe to repeat."""
    path = _path(place, generation)
    if path.exists():
        remove_file(str(path))
        sync_folder(str(place))


@contextmanager
def alone(place: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Be the only one who goes back without the registry, or who records that somebody did.

    Raises:
        Busy: Somebody else is at it.
    """
    try:
        with locked(str(place / _LOCK), patience_s):
            yield
    except TimeoutError as error:
        raise Busy(
            f"somebody is going back in {shown(place)} without the registry right now",
            hint=f"wait for it and run this again; who it is: fuser -v {shown(place / _LOCK)}",
        ) from error
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(error.filename or place)} cannot be used: "
            f"{(error.strerror or 'unknown error').lower()}",
            hint=f"check space and rights: `df {shown(place)}`, `ls -ld {shown(place)}`",
        ) from error


def _path(place: Path, generation: int) -> Path:
    return place / f"offline-{generation}.json"
