"""Check that one of some public keys signed a text, with `ssh-keygen` and nothing else.

- The keys stand in the text of a trust file: public key lines, as `ssh-keygen` writes them.
- A signature counts only in the namespace `lockgate`, so one made for another use never does.
- No file is left behind, nothing is asked, and there is a time limit.

Standard library only and cheap to import: it is what the serving side runs. What is published is
read back by this same code.
"""

# ruff: noqa: PTH123
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import os
import select
import time
from contextlib import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO

NAMESPACE = "lockgate"
PRINCIPAL = "lockgate-host"
"""The name that the registry host's own key signs under."""
MAX_SIGNATURE_CHARACTERS = 8_000
MAX_TRUST_CHARACTERS = 16_000
"""With `MAX_SIGNATURE_CHARACTERS`, small enough for the buffer of a pipe."""
TIME_LIMIT_S = 10.0
_GOOD = f'Good "{NAMESPACE}" signature for {PRINCIPAL} with '.encode()
_CHUNK_BYTES = 65_536
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_TYPE_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-@."


class CannotVerify(Exception):
    """No `ssh-keygen` could be run, so nothing is known about a signature."""


def trusted_keys(text: str) -> list[str]:
    """Return the public keys of a trust file, each as type and base64; comments are left out.

    Raises:
        ValueError: It holds no key, or is too large.
    """
    if len(text) > MAX_TRUST_CHARACTERS:
        raise ValueError(f"it has more than {MAX_TRUST_CHARACTERS} characters")
    keys = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        for kind, blob in zip(words, words[1:], strict=False):
            if kind.startswith(_TYPES) and not kind.strip(_TYPE_LETTERS) and _is_blob(blob):
                keys.append(f"{kind} {blob}")
                break
    if not keys:
        raise ValueError("it holds no public key")
    return keys


def _is_blob(word: str) -> bool:
    return word.startswith("AAAA") and not word.strip(_BASE64)


def signature_problem(message: bytes, armored: str, keys: Sequence[str]) -> str | None:
    """Say why a signature over a message is none of these keys'; `None` when it is.

    Args:
        message: The bytes that were signed.
        armored: The signature as `ssh-keygen` wrote it.
        keys: From `trusted_keys`.

    Raises:
        CannotVerify: `ssh-keygen` is missing or did not answer.
    """
    text = armored.strip()
    is_armored = text.startswith(_BEGIN) and text.endswith(_END) and text.isascii()
    if not is_armored or len(text) > MAX_SIGNATURE_CHARACTERS:
        return "its signature is not an SSH signature"
    signers = "".join(f'{PRINCIPAL} namespaces="{NAMESPACE}" {key}\n' for key in keys)
    code, said = _verify(message, f"{text}\n", signers)
    # A program that ignores SIGCHLD never learns an exit code, so the words have to be there too.
    if code in (0, None) and said.startswith(_GOOD):
        return None
    if b"usage:" in said:
        raise CannotVerify("`ssh-keygen` is older than OpenSSH 8.2 and cannot verify")
    if b"incorrect signature" in said:
        return "its text is not the one that was signed"
    if b"namespace does not match" in said:
        return "its signature was made for another use"
    return "its signature is not by a key that is trusted"


def _verify(message: bytes, armored: str, signers: str) -> tuple[int | None, bytes]:
    """Run `ssh-keygen -Y verify`; return its exit code, if it can be known, and what it said.

    `subprocess` would do the same and take as long to import as all the rest.
    """
    with ExitStack() as opened:
        signature_end, signers_end = (_piped(text, opened) for text in (armored, signers))
        given = _readable(message, opened)
        reading, writing = os.pipe()
        out = opened.enter_context(open(reading, "rb", buffering=0))
        with open(writing, "wb"):
            argv = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", PRINCIPAL]
            argv += ["-s", f"/dev/fd/{signature_end}", "-f", f"/dev/fd/{signers_end}"]
            try:
                child = os.posix_spawnp(
                    argv[0],
                    argv,
                    {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                    file_actions=[
                        (os.POSIX_SPAWN_DUP2, given, 0),
                        (os.POSIX_SPAWN_DUP2, writing, 1),
                        (os.POSIX_SPAWN_DUP2, writing, 2),
                    ],
                )
            except FileNotFoundError:
                raise CannotVerify("`ssh-keygen` is not on the PATH") from None
            except OSError as error:
                raise CannotVerify(f"`ssh-keygen` cannot be started: {error.strerror}") from error
        said = _read(out, time.monotonic() + TIME_LIMIT_S)
        if said is None:
            os.kill(child, 9)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except ChildProcessError:
            code = None
        if said is None:
            raise CannotVerify(f"`ssh-keygen` did not answer within {TIME_LIMIT_S:g} s")
        return code, said


def _read(out: FileIO, until: float) -> bytes | None:
    """Return all that is said until the end; `None` when the end does not come in time."""
    said = b""
    while True:
        ready, _, _ = select.select([out], [], [], max(until - time.monotonic(), 0))
        if not ready:
            return None
        data = out.read(_CHUNK_BYTES)
        if not data:
            return said
        said += data


def _piped(text: str, opened: ExitStack) -> int:
    """Return the reading end of a pipe that holds a whole text, for a child to open by number."""
    reading, writing = os.pipe()
    opened.callback(os.close, reading)
    os.set_inheritable(reading, True)
    with open(writing, "wb", buffering=0) as end:
        end.write(text.encode("ascii"))
    return reading


def _readable(data: bytes, opened: ExitStack) -> int:
    """Return a descriptor that bytes of any length can be read from."""
    if hasattr(os, "memfd_create"):
        file = open(os.memfd_create("lockgate"), "w+b")  # noqa: SIM115 - the stack closes it
    else:
        import tempfile

        file = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    opened.enter_context(file)
    file.write(data)
    file.seek(0)
    return file.fileno()
