"""The notes that a rollback without the registry leaves beside the receipts.

<publish>/<system>/offline-<generation>.json   who went back, why and when, as claimed
<publish>/<system>/.offline.lock               held while somebody goes back without the registry
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lockgate.deploy.files import locked, read_file, remove_file, replace_file, sync_folder
from lockgate.domain.offline import OfflineNote, read_note
from lockgate.errors import Busy, RegistryTrouble
from lockgate.shown import shown

_MAX_BYTES = 64 << 10
_LOCK = ".offline.lock"


def notes(place: Path) -> list[OfflineNote]:
    """Return the notes in a system's published folder, oldest generation first."""
    found = []
    for path in place.glob("offline-*.json"):
        with suppress(OSError):
            note = read_note(read_file(str(path), _MAX_BYTES))
            if note is not None and path == _path(place, note.generation):
                found.append(note)
    return sorted(found, key=lambda note: note.generation)


def write_note(place: Path, note: OfflineNote) -> None:
    """Write a note, or replace it.

    Raises:
        RegistryTrouble: The disk refuses.
    """
    path = _path(place, note.generation)
    try:
        replace_file(str(path), note.text().encode("utf-8"))
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
