"""The border between untrusted text and the terminal: `shown()` is the only way across.

- No control, C1, bidirectional, zero-width or unassigned character leaves this file raw.
- Each becomes visible: `\\x1b`, `\\u202e`; a newline or tab only where the caller keeps lines.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_VISIBLE_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_safe(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN and character not in _VISIBLE_FILLERS


def shown(text: object, *, limit: int = 10_000, lines: bool = False) -> str:
    """Return a text that is safe to print: every invisible or steering character is spelled out.

    Args:
        text: Anything; its `str()` is shown.
        limit: The most characters to keep; the rest is replaced by a count.
        lines: Keep newlines and tabs (as four spaces), for text that is shown as a block.
    """
    raw = str(text)
    cut = raw[:limit]
    if cut.isascii() and cut.isprintable():
        safe = cut
    else:
        safe = "".join(_shown_character(character, lines) for character in cut)
    return safe if len(raw) <= limit else f"{safe}… (+{len(raw) - limit} characters)"


def _shown_character(character: str, lines: bool) -> str:
    if lines and character == "\n":
        return character
    if lines and character == "\t":
        return "    "
    return character if _is_safe(character) else _escape(character)


def fitted(text: object, width: int) -> str:
    """Return safe one-line text cut to a number of characters, with `…` where it was cut."""
    safe = shown(text, limit=max(width * 4, 64))
    return safe if len(safe) <= width else safe[: max(width - 1, 0)] + "…"
