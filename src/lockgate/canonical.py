"""Canonical bytes and digests: RFC 8785 JSON, SHA-256, and the instants records carry.

- Two values that are equal as JSON have the same bytes, whatever order or spacing they came in.
- NaN, infinities and integers beyond 2^53 - 1 have no canonical form and are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
"""A SHA-256 in lower-case hexadecimal, without a prefix."""


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        ValueError: The value holds NaN, an infinity, an integer beyond 2^53 - 1, a lone surrogate
            or something that is not JSON.
    """
    if _is_plain(value):
        return _PLAIN_JSON.encode(value).encode()
    import rfc8785  # looking commands never need it

    return rfc8785.dumps(value)


_MAX_INTEGER = 2**53 - 1
_PLAIN_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _is_plain(value: Any) -> bool:
    """Tell whether the standard library writes a value exactly as RFC 8785 does, only faster.

    It does unless there is a float, a large integer, or a key whose order depends on UTF-16.
    """
    kind = type(value)
    if kind is dict:
        if not set(map(type, value)) <= {str} or not "".join(value).isascii():
            return False
        return set(map(type, value.values())) <= {str} or all(map(_is_plain, value.values()))
    if kind is list:
        return all(map(_is_plain, value))
    if kind is int:
        return bool(-_MAX_INTEGER <= value <= _MAX_INTEGER)
    return kind in (str, bool) or value is None


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical bytes as 64 hexadecimal digits.

    Raises:
        ValueError: As `canonical_json`.
    """
    return digest_bytes(canonical_json(value))


def is_digest(text: str) -> bool:
    """Tell whether a text is a whole SHA-256 in lower-case hexadecimal."""
    return DIGEST_PATTERN.fullmatch(text) is not None


def instant(at: datetime) -> str:
    """Write an aware time as fixed-width UTC text, so that text order is time order.

    Returns:
        For example `2026-08-21T03:10:04.000000Z`.
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str) -> datetime:
    """Read a time written by `instant`."""
    return datetime.fromisoformat(text)
