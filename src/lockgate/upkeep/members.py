"""The files a bundle is made of, and the JSON that records become in it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lockgate.canonical import digest_bytes, instant

if TYPE_CHECKING:
    from lockgate.ports import Registry


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle."""

    path: str
    data: bytes | None
    """`None` where the content is an object of the registry."""
    digest: str
    """SHA-256 of its bytes."""
    size_bytes: int


def file_of(path: str, data: bytes) -> Member:
    """Return a file with some bytes."""
    return Member(path, data, digest_bytes(data), len(data))


def json_file(path: str, value: Any) -> Member:
    """Return a file with a JSON value, laid out to be read."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return file_of(path, f"{text}\n".encode())


def body_of(record: Any) -> Any:
    """Return a record as a JSON value, without the place of its row."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {
            field.name: body_of(getattr(record, field.name))
            for field in dataclasses.fields(record)
            if field.name != "seq"
        }
    if isinstance(record, datetime):
        return instant(record)
    if isinstance(record, list | tuple):
        return [body_of(part) for part in record]
    if isinstance(record, dict):
        return {str(key): body_of(value) for key, value in record.items()}
    return record


def gone(registry: Registry, digest: str) -> str:
    """Say why an object's content is not here."""
    removal = registry.upkeep.removal(digest)
    if removal is None:
        return "its content is not here, and no record says why"
    how = {"expire": "expired", "redact": "redacted"}.get(removal.kind, removal.kind)
    return f"{how} {instant(removal.at)[:10]} by {removal.actor}: {removal.reason}"
