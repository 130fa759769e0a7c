"""Find secrets before they are registered: a version never changes, so neither would a leak.

- Vendor keys are known by their shape; other secrets by the word in front of them.
- A placeholder, the name of a variable, plain words, a path or a digest is no secret.
- What is found is shown masked; no secret of the same line is repeated.
- A text is searched to its end, however long, a piece at a time.
"""

from __future__ import annotations

import codecs
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lockgate.shown import shown

SCAN_BYTES = 1 << 20
"""In a binary file larger than this, only vendor keys are sought, and only up to here."""

AROUND = 40
"""How many bytes of the line an excerpt shows on either side."""

_OVERLAP = 64 * 1024
"""How much of a piece is looked at again together with the next one: nothing that begins in it
is longer, save a token without end, of which the beginning is enough."""
_LOOK_BACK = 4 * 1024
"""How much before what is looked at stays in sight: the telling word, and the line for people."""

_HIDDEN = re.compile(r"(?=[\w/+=.-]*(?:[0-9/+]|[a-z][A-Z]))[\w/+=.-]{12,}")
"""A longer run of characters that is no word: digits, slashes or capitals within it."""
_HEAD = rb"(?<![A-Za-z0-9_-])"
_TAIL = rb"(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class SecretFound:
    """One place in a file that looks like a secret."""

    path: str
    line: int
    """From 1."""
    rule: str
    """What it looks like."""
    excerpt: str
    """The text around it, every secret masked; safe to print."""


@dataclass(frozen=True, slots=True)
class _Vendor:
    name: str
    marks: tuple[bytes, ...]
    """One of these is in every match; looking for them first is what makes a scan cheap."""
    pattern: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    rule: str


def _vendor(name: str, marks: str, pattern: bytes, *, tail: bytes = _TAIL) -> _Vendor:
    return _Vendor(name, tuple(marks.encode().split()), re.compile(_HEAD + pattern + tail))


_VENDORS = (
    _vendor("AWS access key", "AKIA ASIA", rb"A(?:KI|SI)A[A-Z2-7]{16}"),
    _vendor("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", rb"gh[pousr]_[A-Za-z0-9]{36,251}"),
    _vendor("GitHub token", "github_pat_", rb"github_pat_[A-Za-z0-9_]{50,255}"),
    _vendor("GitLab token", "glpat-", rb"glpat-[A-Za-z0-9_-]{20,}"),
    _vendor("Slack token", "xox", rb"xox[abeoprs]-[A-Za-z0-9-]{20,}"),
    _vendor("Slack webhook", "hooks.slack.com", rb"hooks\.slack\.com/services/[A-Za-z0-9/]{30,}"),
    _vendor("Stripe live key", "sk_live_ rk_live_", rb"[rs]k_live_[A-Za-z0-9]{16,}"),
    _vendor("Google API key", "AIza", rb"AIza[A-Za-z0-9_-]{35}"),
    _vendor("Google client secret", "GOCSPX-", rb"GOCSPX-[A-Za-z0-9_-]{28}"),
    _vendor("Azure storage key", "AccountKey=", rb"AccountKey=[A-Za-z0-9+/]{80,}={0,2}"),
    _vendor("Anthropic key", "sk-ant-", rb"sk-ant-[A-Za-z0-9_-]{24,}"),
    _vendor("OpenAI key", "sk-", rb"sk-(?=[A-Za-z0-9_-]*[A-Za-z0-9]{16})[A-Za-z0-9_-]{20,}"),
    _vendor("Hugging Face token", "hf_", rb"hf_[A-Za-z]{34,40}"),
    _vendor("Groq key", "gsk_", rb"gsk_[A-Za-z0-9]{40,}"),
    _vendor("xAI key", "xai-", rb"xai-[A-Za-z0-9]{40,}"),
    _vendor("Replicate token", "r8_", rb"r8_[A-Za-z0-9]{37,40}"),
    _vendor("Databricks token", "dapi", rb"dapi[0-9a-f]{32}(?:-[0-9])?"),
    _vendor("DigitalOcean token", "dop_v1_", rb"dop_v1_[0-9a-f]{64}"),
    _vendor("npm token", "npm_", rb"npm_[A-Za-z0-9]{36}"),
    _vendor("PyPI token", "pypi-", rb"pypi-[A-Za-z0-9_-]{60,}"),
    _vendor("SendGrid key", "SG.", rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _vendor(
        "JSON web token",
        "eyJ",
        rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}",
    ),
    _vendor(
        "private key",
        "PRIVATE",
        rb"(?<!-)-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        rb"(?:\\[rn]|[\s\"'+,>|])*(?:[A-Z][A-Za-z-]{2,20}: ?[^\r\n]*\s+)*[A-Za-z0-9+/=]{32,}",
        tail=b"",
    ),
    _vendor(
        "password in an address",
        "://",
        rb"[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>{}$%]{1,64}:"
        rb"(?!(?:password|passwd|secret|token)@)(?P<value>[^\s/:@'\"<>{}$]{6,128})@",
        tail=b"",
    ),
    _vendor(
        "bearer token",
        "earer EARER",
        rb"(?i:bearer) +(?P<value>(?=[A-Za-z0-9._~+/=-]*[0-9])"
        rb"(?=[A-Za-z0-9._~+/=-]*[A-Za-z0-9]{16})[A-Za-z0-9._~+/=-]{24,})",
    ),
)

_WORDS = (
    b"password",
    b"passwd",
    b"passphrase",
    b"pwd",
    b"secret",
    b"token",
    b"credential",
    b"api_key",
    b"api-key",
    b"apikey",
    b"access_key",
    b"access-key",
    b"accesskey",
    b"private_key",
    b"private-key",
    b"privatekey",
)
_ASSIGNED = re.compile(
    rb"""(?x)
    (?: [_-]? [Kk][Ee][Yy] )? s? ["']? [ \t]{0,8} (?: => | := | [:=] ) [ \t]{0,8}
    (?: [rbu]{0,2} (?P<quote>["'`]) (?P<quoted> [^"'`\s]{8,256} ) (?P=quote)
      | (?P<bare> [^\s"'`,;()\[\]{}<>&|]{16,256} ) )
    """
)
_FILLER = re.compile(
    rb"(?i)example|placeholder|dummy|redacted|your[_-]|x{5,}|\*{3,}|\.{3}|\xe2\x80\xa6|0{8}"
)
_PLACEHOLDER = re.compile(
    rb"(?i)change[_-]?(?:me|this)|sample|insert|replace|todo|fixme|x{3,}|fake|not[_-]?(?:a[_-]?)?real"
    rb"|(?<![a-z])(?:none|null|true|false|test|demo|local|default)(?![a-z])"
)
_REFERENCE = re.compile(rb"\A[$%<{@]|\$\{|\{\{|%\(|<[^>]+>|://|\(\)|\A(?:env|vault|op|ref)[:.]")
_WORDED = re.compile(rb"[A-Za-z]+[0-9]{0,3}(?:[_./:-]+(?:[A-Za-z]+[0-9]{0,3}|[0-9]{1,3}))*[.!?]?")
_DIGEST = re.compile(
    rb"(?i)(?:sha(?:1|256|384|512)|md5)[:-][0-9a-z+/=]{20,}|[0-9a-f]{64}"
    rb"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)


def find_secrets(path: str, data: bytes) -> list[SecretFound]:
    """Return every place in some bytes that looks like a secret; see `secrets_in`."""
    return list(secrets_in(path, io.BytesIO(data)))


def secrets_in(path: str, stream: BinaryIO) -> Iterator[SecretFound]:
    """Give every place in a file that looks like a secret, in the order of its bytes.

    Args:
        path: The file's path, for the report.
        stream: Its bytes; a few MiB of them are held at a time. Of a binary file above 1 MiB only
            the first MiB is looked at, and only for vendor keys.
    """
    pieces = _pieces(stream)
    piece, window = next(pieces, b""), b""
    following = next(pieces, b"")
    if following and b"\0" in piece:
        yield from _reports(path, 1, piece, _apart(list(_vendor_spans(piece))))
        return
    line, looked_at = 1, 0  # the window's first line, and how much of it is done with
    while piece:
        window += piece
        until = max(len(window) - _OVERLAP, looked_at) if following else len(window)
        spans = _apart([*_vendor_spans(window), *_assigned_spans(window)])
        for span, found in zip(spans, _reports(path, line, window, spans), strict=True):
            if looked_at <= span.start < until:
                yield found
        cut = max(until - _LOOK_BACK, 0)
        line += window.count(b"\n", 0, cut)
        window, looked_at = window[cut:], until - cut
        piece, following = following, next(pieces, b"")


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Give a file a piece at a time; UTF-16, which would hide every pattern, as UTF-8."""
    piece = _read(stream)
    if not piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        while piece:
            yield piece
            piece = _read(stream)
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    while piece:
        following = _read(stream)
        text = decoder.decode(piece, final=not following)
        yield text.encode("utf-8", "replace") or b" "  # a piece of none would end the file
        piece = following


def _read(stream: BinaryIO) -> bytes:
    """Return the next piece, as long as there is enough for it."""
    read = bytearray()
    while len(read) < SCAN_BYTES and (some := stream.read(SCAN_BYTES - len(read))):
        read += some
    return bytes(read)


def _vendor_spans(data: bytes) -> Iterator[_Span]:
    for vendor in _VENDORS:
        if not any(mark in data for mark in vendor.marks):
            continue
        for match in vendor.pattern.finditer(data):
            group = "value" if "value" in vendor.pattern.groupindex else 0
            value = match[group]
            if not _FILLER.search(value) and not _REFERENCE.search(value) and _entropy(value) > 2.5:
                yield _Span(match.start(group), match.end(group), vendor.name)


def _assigned_spans(data: bytes) -> Iterator[_Span]:
    """Find values that a telling word is set to."""
    lowered = data.lower()
    for word in _WORDS:
        at = lowered.find(word)
        while at >= 0:
            match = _ASSIGNED.match(data, at + len(word))
            if match:
                group = "quoted" if match["quoted"] is not None else "bare"
                is_password = word.startswith((b"pass", b"pwd"))
                if _looks_secret(match[group], group == "quoted", is_password):
                    name = f"value of a `{word.decode()}`"
                    yield _Span(match.start(group), match.end(group), name)
            at = lowered.find(word, at + len(word))


def _looks_secret(value: bytes, is_quoted: bool, is_password: bool) -> bool:
    for harmless in (_FILLER, _PLACEHOLDER, _REFERENCE):
        if harmless.search(value):
            return False
    if _WORDED.fullmatch(value) or _DIGEST.fullmatch(value):
        return False
    text = value.decode("utf-8", "replace")
    has_digit = any(character.isdigit() for character in text)
    kinds = sum(
        (
            has_digit,
            any(character.islower() for character in text),
            any(character.isupper() for character in text),
            any(not character.isalnum() for character in text),
        )
    )
    if is_password and is_quoted:
        return kinds >= 2 and _entropy(value) >= 2.5
    if not is_quoted or len(text) >= 12:
        return kinds >= 2 and has_digit and _entropy(value) >= 3.0
    return kinds >= 3 and has_digit and _entropy(value) >= 2.75


def _entropy(value: bytes) -> float:
    """Return the bits per byte that a value's own frequencies carry."""
    return -sum(
        count / len(value) * math.log2(count / len(value)) for count in Counter(value).values()
    )


def _apart(spans: list[_Span]) -> list[_Span]:
    """Keep one finding for each stretch of bytes, vendor keys first, in the order of the file."""
    kept: list[_Span] = []
    end = -1
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if span.start >= end:
            kept.append(span)
            end = span.end
        elif kept[-1].rule.startswith("value of") and not span.rule.startswith("value of"):
            kept[-1] = _Span(kept[-1].start, max(end, span.end), span.rule)
            end = kept[-1].end
        else:
            end = max(end, span.end)
            kept[-1] = _Span(kept[-1].start, end, kept[-1].rule)
    return kept


def _reports(path: str, line: int, data: bytes, spans: list[_Span]) -> list[SecretFound]:
    found = []
    counted = 0
    for index, span in enumerate(spans):
        line += data.count(b"\n", counted, span.start)
        counted = span.start
        found.append(SecretFound(path, line, span.rule, _excerpt(data, spans, index)))
    return found


def _excerpt(data: bytes, spans: list[_Span], index: int) -> str:
    """Show a finding on its line; whatever else was found nearby is masked as well."""
    span = spans[index]
    start = max(data.rfind(b"\n", 0, span.start) + 1, span.start - AROUND)
    if index and spans[index - 1].end > start:
        start = spans[index - 1].end
    end = data.find(b"\n", span.end)
    end = min(len(data) if end < 0 else end, span.end + AROUND)
    if index + 1 < len(spans):
        end = min(end, spans[index + 1].start)
    before, after = data[start : span.start], data[span.end : end]
    # Another secret may stand beside it that no rule knows: only what looks like words is shown.
    text = _HIDDEN.sub("…", before.decode("utf-8", "replace"))
    text += _mask(data[span.start : span.end])
    return shown((text + _HIDDEN.sub("…", after.decode("utf-8", "replace"))).strip())


def _mask(secret: bytes) -> str:
    """Keep at most four characters, and those only of something long."""
    first = secret[:4].decode("ascii", "replace") if len(secret) >= 20 else ""
    return f"{first}********"
