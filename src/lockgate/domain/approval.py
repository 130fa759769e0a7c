"""Approvals: the text a reviewer signs, and whose key counts.

- The text names everything the word is about: registry, system, version, environment, what was
  live, policy, findings and the decision itself, so that no yes can be used for anything else.
- It has one form: fixed keys in a fixed order, printable ASCII, one `key: value` a line.
- An allowed signers file gives each key to one name: no patterns, no certificate authorities, no
  other namespace, no key under two names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lockgate.canonical import digest_json
from lockgate.domain.release import Decision, Proposal
from lockgate.domain.version import person_problem
from lockgate.shown import shown

NAMESPACE = "lockgate"
"""What every signature is bound to, so that one made for another tool never counts here."""
WORDS = ("yes", "no")
MAX_TEXT_BYTES = 8_192
MAX_SIGNERS_BYTES = 1_048_576
KEY_TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)

_FORM = "1"
_NONE = "-"
_DECISION_KEYS = (
    "lockgate decision",
    "registry",
    "system",
    "version",
    "version id",
    "environment",
    "compared with generation",
    "policy",
    "outcome",
    "findings",
    "decision",
    "word",
)
_PROPOSAL_KEYS = (
    "lockgate proposal",
    "registry",
    "kind",
    "system",
    "name",
    "before",
    "after",
    "proposal",
    "word",
)
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SIGNER = re.compile(
    r"(?P<name>[^ \t]+)[ \t]+(?:(?P<options>[a-zA-Z][^ \t=]*=[^ \t]*|cert-authority[^ \t]*)[ \t]+)?"
    r"(?P<type>[^ \t]+)[ \t]+(?P<key>[^ \t]+)(?:[ \t].*)?"
)
_OPTION = re.compile(r'(?P<name>[a-zA-Z-]+)(?:="(?P<value>[^"\\]*)")?')
_TIMESTAMP = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z?")


def findings_digest(decision: Decision) -> str:
    """Return the SHA-256 of a decision's findings as canonical JSON."""
    return digest_json([finding.body() for finding in decision.findings])


def decision_text(decision: Decision, *, registry_id: str, label: str, word: str) -> bytes:
    """Return the text that says yes or no to one decision.

    Args:
        decision: What the gate said.
        registry_id: The registry the word counts in.
        label: The version's label, such as `v14`, for whoever reads the text.
        word: `yes` or `no`.

    Raises:
        ValueError: The word is another one, or a value is not printable ASCII.
    """
    values = (
        _FORM,
        registry_id,
        decision.system,
        label,
        decision.version,
        decision.environment,
        str(decision.baseline_generation),
        decision.policy,
        decision.outcome,
        findings_digest(decision),
        decision.id,
        word,
    )
    return _text(_DECISION_KEYS, values)


def proposal_text(proposal: Proposal, *, registry_id: str, word: str) -> bytes:
    """Return the text that says yes or no to one change of policy or suite.

    Raises:
        ValueError: As `decision_text`.
    """
    values = (
        _FORM,
        registry_id,
        proposal.kind,
        proposal.system or _NONE,
        proposal.name,
        proposal.before or _NONE,
        proposal.after,
        proposal.id,
        word,
    )
    return _text(_PROPOSAL_KEYS, values)


def parse_approval_text(data: bytes) -> dict[str, str]:
    """Read an approval text back into its keys and values.

    Returns:
        Every key in order; the first, `lockgate decision` or `lockgate proposal`, holds the form.

    Raises:
        ValueError: One byte differs from what `decision_text` or `proposal_text` would write.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"an approval text has at most {MAX_TEXT_BYTES} bytes, this {len(data)}")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as problem:
        raise ValueError(f"byte {problem.start + 1} of the approval text is not ASCII") from None
    if not text.endswith("\n"):
        raise ValueError("the approval text does not end with a newline")
    pairs = [line.partition(": ")[::2] for line in text[:-1].split("\n")]
    keys = tuple(key for key, _ in pairs)
    if keys not in (_DECISION_KEYS, _PROPOSAL_KEYS):
        raise ValueError(
            f"the lines `{shown(', '.join(keys), limit=300)}` are not those of an approval text"
        )
    _text(keys, tuple(value for _, value in pairs))
    return dict(pairs)


def _text(keys: Sequence[str], values: Sequence[str]) -> bytes:
    for key, value in zip(keys, values, strict=True):
        if _VALUE.fullmatch(value) is None:
            raise ValueError(f"`{key}` needs printable ASCII, not `{shown(value, limit=100)}`")
    if values[0] != _FORM:
        raise ValueError(f"an approval text of form `{values[0]}` is not known, only `{_FORM}`")
    if values[-1] not in WORDS:
        raise ValueError(f"the word is `yes` or `no`, not `{values[-1]}`")
    return "".join(f"{key}: {value}\n" for key, value in zip(keys, values, strict=True)).encode()


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """One key that may sign under one name."""

    name: str
    fingerprint: str
    """As `ssh-keygen -l` shows it: `SHA256:...`."""
    key: str
    """Type and base64, as in a `.pub` file."""
    line: int
    """From 1."""


class SignersMistake(ValueError):
    """An allowed signers file has lines that cannot count; `problems` names every one."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Hold what is wrong, one text a line."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def fingerprint(public_key: str) -> str:
    """Return the SHA-256 fingerprint of a public key line, as `ssh-keygen -l` shows it.

    Args:
        public_key: `ssh-ed25519 AAAA... comment`, as in a `.pub` file.

    Raises:
        ValueError: It is not a public key of a known type.
    """
    parts = public_key.split()
    if len(parts) < 2:
        raise ValueError(f"`{shown(public_key, limit=60)}` is not a public key: type and base64")
    kind, encoded = parts[0], parts[1]
    if kind not in KEY_TYPES:
        raise ValueError(f"`{shown(kind, limit=60)}` is not a key type: {', '.join(KEY_TYPES)}")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != kind.encode() or len(blob) <= 4 + length:
        raise ValueError(f"the base64 after `{kind}` is not a key of that type")
    return blob_fingerprint(blob)


def blob_fingerprint(blob: bytes) -> str:
    """Return the fingerprint of a public key in its binary form."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def signer_line(name: str, public_key: str) -> str:
    """Return the line of an allowed signers file that lets a key sign under a name.

    Raises:
        ValueError: The name or the key cannot stand there.
    """
    if problem := person_problem(name):
        raise ValueError(f"`{shown(name, limit=80)}` {problem}")
    fingerprint(public_key)
    return f'{name} namespaces="{NAMESPACE}" {" ".join(public_key.split()[:2])}\n'


def parse_signers(data: bytes) -> tuple[AllowedSigner, ...]:
    """Read an allowed signers file.

    Raises:
        SignersMistake: A line is not in the format or gives a key to more than one name.
    """
    problems: list[str] = []
    found: dict[str, AllowedSigner] = {}
    for number, line in enumerate(_signer_lines(data), start=1):
        if not line.strip(" \t") or line.lstrip(" \t").startswith("#"):
            continue
        try:
            signer = _signer(line, number)
            other = found.setdefault(signer.fingerprint, signer)
            if other is not signer:
                raise ValueError(f"has the key of line {other.line} again: one key, one name")
        except ValueError as problem:
            problems.append(f"line {number} {problem}")
    if problems:
        raise SignersMistake(problems)
    return tuple(found.values())


def _signer_lines(data: bytes) -> list[str]:
    if len(data) > MAX_SIGNERS_BYTES:
        raise SignersMistake([f"has {len(data)} bytes; at most {MAX_SIGNERS_BYTES} are read"])
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise SignersMistake([f"line {line} is not UTF-8"]) from None


def _signer(line: str, number: int) -> AllowedSigner:
    if line.endswith("\r"):
        raise ValueError("ends the Windows way: save the file with plain newlines")
    hidden = next((sign for sign in line if not sign.isprintable() and sign != "\t"), None)
    if hidden is not None:
        raise ValueError(f"has a control character `{shown(hidden)}`")
    match = _SIGNER.fullmatch(line.strip(" \t"))
    if match is None:
        raise ValueError(f'needs: NAME namespaces="{NAMESPACE}" TYPE BASE64')
    _check_name(match["name"])
    _check_options(match["options"] or "")
    key = f"{match['type']} {match['key']}"
    return AllowedSigner(match["name"], fingerprint(key), key, number)


def _check_name(name: str) -> None:
    quoted = f"`{shown(name, limit=80)}`"
    if any(sign in name for sign in "*?!"):
        raise ValueError(f"names {quoted}: a pattern is nobody's name; write one line a person")
    if "," in name:
        raise ValueError(f"names {quoted}: one key is one person; write one name")
    if problem := person_problem(name):
        raise ValueError(f"names {quoted}, which {problem}")


def _check_options(text: str) -> None:
    options: dict[str, str | None] = {}
    for part in text.split(",") if text else []:
        match = _OPTION.fullmatch(part)
        name = match["name"].lower() if match else ""
        known = ("namespaces", "valid-after", "valid-before")
        if match is None or name not in known or name in options:
            raise ValueError(
                f"has the option `{shown(part, limit=80)}`; known, each once, are "
                'namespaces="lockgate", valid-after="..." and valid-before="..."'
            )
        options[name] = match["value"]
    if options.get("namespaces") != NAMESPACE:
        raise ValueError(f'needs the option namespaces="{NAMESPACE}", and no other namespace')
    after, before = _timestamp(options, "valid-after"), _timestamp(options, "valid-before")
    if after is not None and before is not None and after >= before:
        raise ValueError("is never valid: valid-before is not later than valid-after")


def _timestamp(options: Mapping[str, str | None], name: str) -> datetime | None:
    """Return one end of a key's validity; ssh-keygen is always asked to read it as UTC."""
    if name not in options:
        return None
    text = options[name] or ""
    forms = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    try:
        if _TIMESTAMP.fullmatch(text) is None or text < "1970":
            raise ValueError
        return datetime.strptime(text.rstrip("Z"), forms[len(text.rstrip("Z"))])
    except ValueError:
        raise ValueError(f'has {name}="{text}"; write a day in UTC as in "20260821"') from None
