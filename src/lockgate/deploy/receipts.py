"""Receipt files: sign and write them whole, read them back, and refuse what nobody here signed.

- A receipt is on disk only after it was read back and found to be the same.
- On a host with a key an unsigned receipt is worth nothing; on a host without one all are unsigned.
"""

from __future__ import annotations

from pathlib import Path

from lockgate.deploy.files import read_file, replace_file
from lockgate.deploy.host_key import HostKey
from lockgate.deploy.sshsig import CannotVerify, signature_problem
from lockgate.domain.payload import MAX_BYTES, opened, sealed
from lockgate.domain.receipt import Receipt, read_payload
from lockgate.errors import IntegrityBroken, Refused, RegistryTrouble, UsageMistake
from lockgate.shown import shown


def write_receipt(path: Path, receipt: Receipt, key: HostKey) -> None:
    """Sign a receipt, replace a file with it, and read it back.

    Raises:
        UsageMistake: The receipt is too large, or says what no receipt may.
        Refused: The host's key cannot be used.
        RegistryTrouble: The disk refuses; what was there stands.
        IntegrityBroken: What was read back is something else.
    """
    try:
        payload = receipt.payload()
        signature = key.sign(payload.encode("ascii")) if key.exists() else None
        data = sealed(payload, signature)
    except ValueError as problem:
        raise UsageMistake(
            f"no receipt can be written for {shown(receipt.label)}: {shown(problem)}",
            hint=f"look at its files: `lockgate show {shown(receipt.label)}`",
        ) from problem
    try:
        replace_file(str(path), data)
    except OSError as error:
        raise RegistryTrouble(
            f"{shown(path)} cannot be written: {(error.strerror or 'unknown error').lower()}",
            hint=f"check space and rights: `df {shown(path.parent)}`, `ls -ld {shown(path.parent)}`",
        ) from error
    if read_receipt(path, key) != receipt:
        raise IntegrityBroken(
            f"{shown(path)} was written, but something else was read back",
            hint="somebody else writes there, or the disk is failing: run the command again",
        )


def read_receipt(path: Path, key: HostKey) -> Receipt | None:
    """Return the receipt in a file, checked; `None` when there is no file.

    Raises:
        IntegrityBroken: It cannot be read, is no receipt, or this host did not sign it.
        Refused: There is no `ssh-keygen` to check it with.
    """
    found = read_as_signed(path, key)
    return found[0] if found else None


def read_as_signed(path: Path, key: HostKey) -> tuple[Receipt, bytes] | None:
    """Return the receipt in a file, checked, and the very bytes that were; else as `read_receipt`.

    Raises:
        IntegrityBroken: As `read_receipt`.
        Refused: As `read_receipt`.
    """
    try:
        data = read_file(str(path), MAX_BYTES)
        payload, signature = opened(data)
        trouble = signature_trouble(payload, signature, key)
        if trouble is None:
            return read_payload(payload), data
    except FileNotFoundError:
        return None
    except OSError as error:
        trouble = (error.strerror or "it cannot be read").lower()
    except ValueError as problem:
        trouble = str(problem)
    raise IntegrityBroken(
        f"the receipt `{shown(path)}` does not count: {shown(trouble)}",
        hint="publish what is live again: `lockgate settle ENV`",
    )


def signature_trouble(payload: str, signature: str | None, key: HostKey) -> str | None:
    """Say why a signature over a payload does not count on this host; `None` when it does.

    Raises:
        Refused: There is no `ssh-keygen` to check it with.
    """
    if not key.exists():
        return None if signature is None else "it is signed, and this host has no key"
    if signature is None:
        return "it is not signed"
    try:
        return signature_problem(payload.encode("utf-8"), signature, [key.public()])
    except CannotVerify as error:
        raise Refused(
            f"no receipt can be checked: {error}",
            hint="install OpenSSH 8.9 or newer: apt install openssh-client",
        ) from error
