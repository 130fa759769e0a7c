"""The text of a receipt: what is signed, and what everybody who reads one insists on.

- A receipt file is a JSON object with two keys: `payload`, a JSON text, and `signature`, the
  armoured signature over exactly the bytes of that text, or null. Who checks it needs no
  canonical form.
- A format that is not known, a key too many or too few, a key that stands twice, a wrong type and
  a file beyond the size limit are refused.
- No path leads out of the folder; each file belongs to exactly one component.

The serving side starts with this file, so it costs nothing but `json`. That the files and settings
have the definition digest is not checked here but where receipts are made and in `deploy-check`
(`domain.receipt`), which have the canonical JSON for it: the signature already binds the digest to
every file's own, and a second serialiser on every server would be one more thing to go wrong.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

FORMAT = 1
KINDS = ("promote", "rollback", "rehearsal", "revert", "break_glass")
STATES = ("staged", "live")
MAX_BYTES = 32 << 20
"""The largest receipt file that is read or written."""
MAX_GENERATION = 99_999_999
MAX_PATH_CHARACTERS = 1024
GENERATIONS = "generations"
"""The folder, beside the receipt, that holds the definitions."""


def generation_folder(generation: int) -> str:
    """Return where a generation's definition stands, relative to the system's folder."""
    return f"{GENERATIONS}/{generation:08d}"


def sealed(payload: str, signature: str | None) -> bytes:
    """Return the bytes of a receipt file.

    Raises:
        ValueError: They would be more than `MAX_BYTES`.
    """
    body = {"payload": payload, "signature": signature}
    data = (json.dumps(body, indent=1) + "\n").encode("ascii")
    if len(data) > MAX_BYTES:
        raise ValueError(f"the receipt has {len(data)} bytes; at most {MAX_BYTES} are read")
    return data


def opened(data: bytes) -> tuple[str, str | None]:
    """Return the payload and the signature of a receipt file's bytes; neither is checked yet.

    Raises:
        ValueError: It is not a receipt file.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    body = _loaded(text)
    if not isinstance(body, dict) or body.keys() != {"payload", "signature"}:
        raise ValueError("it is not an object with `payload` and `signature`")
    payload, signature = body["payload"], body["signature"]
    if not isinstance(payload, str) or not (signature is None or isinstance(signature, str)):
        raise ValueError("`payload` or `signature` is not a text")
    return payload, signature


def checked(payload: str) -> dict[str, Any]:
    """Return a payload's JSON object once everything about it is as it must be.

    Raises:
        ValueError: It is not; the message says what is wrong, without untrusted text.
    """
    if not payload.isascii():
        raise ValueError("the payload is not ASCII")
    body = _loaded(payload)
    if not isinstance(body, dict):
        raise ValueError("the payload is not a JSON object")
    form = body.get("format")
    if type(form) is not int or form != FORMAT:
        raise ValueError(
            f"the receipt's format is not {FORMAT}, the only one that this Lockgate knows"
        )
    problems = [
        f"`{key}` is missing" if key not in body else f"`{key}` is not what Lockgate writes"
        for key, is_right in _CHECKS.items()
        if key not in body or not is_right(body[key])
    ]
    if body.keys() - _CHECKS.keys():
        problems.append("it has keys that Lockgate does not write")
    if not problems:
        problems.extend(_contradictions(body))
    if problems:
        raise ValueError("; ".join(problems))
    return body


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"it is not JSON: {str(problem)[:100]}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key stands twice")
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _contradictions(body: dict[str, Any]) -> Iterator[str]:
    files, executables = body["files"], body["executables"]
    if files.keys() & executables.keys():
        yield "a file is listed both as executable and not"
    claimed = [path for part in body["components"].values() for path in part["paths"]]
    if len(claimed) != len(set(claimed)) or set(claimed) != files.keys() | executables.keys():
        yield "the files and the components do not name the same paths, each once"
    if body["previous"] is not None and body["previous"]["generation"] >= body["generation"]:
        yield "`previous` is not before it"
    if body["kind"] == "break_glass" and not body["ungated"]:
        yield "a break-glass receipt says that it passed the gate"


def path_trouble(path: object) -> str | None:
    """Say why a path cannot be below a folder, or `None` when it can.

    The full rule, with Unicode normal forms, is `components.path_problem`, which receipts pass
    when they are made; this is the part that keeps a reader inside its folder.
    """
    if not isinstance(path, str) or not 0 < len(path) <= MAX_PATH_CHARACTERS:
        return "is empty or longer than 1024 characters"
    if path.startswith("/") or "\\" in path or not _is_speakable(path):
        return "is not a relative POSIX path, or has a control character"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty, `.` or `..` part"
    return None


def _is_speakable(text: str) -> bool:
    """Tell whether a text has neither control characters nor halves of characters."""
    if text.isascii() and text.isprintable():
        return True
    return not any(
        character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"
        for character in text
    )


def _is_hex(value: object, *lengths: int) -> bool:
    return isinstance(value, str) and len(value) in lengths and not value.strip("0123456789abcdef")


def _is_name(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 40
        and not value.strip("abcdefghijklmnopqrstuvwxyz0123456789-")
        and value[0] != "-" != value[-1]
    )


def _is_label(value: object) -> bool:
    if not isinstance(value, str) or not 2 <= len(value) <= 10:
        return False
    return value[0] in "vxr" and value[1] != "0" and not value[1:].strip("0123456789")


def _is_word(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 128
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _is_number(value: object, least: int, most: int = MAX_GENERATION) -> bool:
    return type(value) is int and least <= value <= most


def _is_folder(value: object) -> bool:
    above, _, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    return above == GENERATIONS and len(name) == 8 and not name.strip("0123456789")


def _is_instant(value: object) -> bool:
    """Tell whether a text is a time as `canonical.instant` writes it."""
    if not isinstance(value, str) or len(value) != 27:
        return False
    digits = "".join("0" if character in "0123456789" else character for character in value)
    return digits == "0000-00-00T00:00:00.000000Z"


def _are_digests(value: object) -> bool:
    return isinstance(value, dict) and all(
        path_trouble(path) is None and _is_hex(digest, 64) for path, digest in value.items()
    )


def _are_components(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_name(name)
        and isinstance(part, dict)
        and part.keys() == {"settings", "paths"}
        and isinstance(part["settings"], dict)
        and isinstance(part["paths"], list)
        and all(isinstance(path, str) for path in part["paths"])
        for name, part in value.items()
    )


def _is_previous(value: object) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() == {"generation", "version"}
        and _is_number(value["generation"], 1)
        and _is_hex(value["version"], 64)
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: _is_number(value, FORMAT, FORMAT),
    "registry": lambda value: _is_hex(value, *range(16, 65)),
    "epoch": lambda value: _is_number(value, 1),
    "system": _is_name,
    "environment": _is_name,
    "generation": lambda value: _is_number(value, 1),
    "kind": lambda value: value in KINDS,
    "state": lambda value: value in STATES,
    "version": lambda value: _is_hex(value, 64),
    "label": _is_label,
    "definition": lambda value: _is_hex(value, 64),
    "folder": _is_folder,
    "files": _are_digests,
    "executables": _are_digests,
    "components": _are_components,
    "decision": lambda value: value is None or _is_word(value),
    "ungated": lambda value: isinstance(value, bool),
    "previous": _is_previous,
    "at": _is_instant,
}
"""Every key of a payload, and what its value must be."""
