"""Compute the definition digest a second time, with nothing but `hashlib` and `json`.

This is what a stranger would write from the README: none of the product's code is used.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def number(value: float) -> str:
    """Write a number as ECMAScript does: the shortest digits, an exponent from 1e21 and 1e-7."""
    if isinstance(value, int) or value == 0:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa.removesuffix(".0")
    power, digits = int(exponent), mantissa.replace(".", "")
    if 0 < power < 21:
        return digits + "0" * (power + 1 - len(digits))
    if -7 < power < 0:
        return f"0.{'0' * (-power - 1)}{digits}"
    return f"{mantissa}e{power:+d}"


def canonical(value: Any) -> str:
    """Write a JSON value in the one form that is hashed: RFC 8785."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(entry) for entry in value) + "]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def definition_digest(components: dict[str, dict[str, Any]]) -> str:
    """Hash components that are given as settings, files and executables with their bytes."""
    body: dict[str, Any] = {"format": 1, "components": {}}
    for name, part in components.items():
        body["components"][name] = {"settings": part.get("settings", {}), "files": {}}
        for kind in ("files", "executables"):
            for path, data in part.get(kind, {}).items():
                digest = hashlib.sha256(data.encode()).hexdigest()
                body["components"][name].setdefault(kind, {})[path] = digest
    return hashlib.sha256(canonical(body).encode()).hexdigest()
