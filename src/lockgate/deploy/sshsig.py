"""Check that one of some public keys signed a text, with `ssh-keygen` and nothing else.

- The keys stand in the text of a trust file: public key lines, as `ssh-keygen` writes them.
- A signature counts only in the namespace `lockgate`, so one made for another use never does.
- Nothing is written to disk, nothing is asked, and there is a time limit.

Standard library only and cheap to import: it is what the serving side runs. What is published is
read back by this same code.
"""

# ruff: noqa: PTH123
# pathlib takes longer to import than everything this file needs

from __future__ import annotations

import os
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "lockgate"
PRINCIPAL = "lockgate-host"
"""The name that the registry host's own key signs under."""
MAX_SIGNATURE_CHARACTERS = 8_000
MAX_TRUST_CHARACTERS = 16_000
"""With `MAX_SIGNATURE_CHARACTERS`, small enough for the buffer of a pipe."""
TIME_LIMIT_S = 10.0
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
    ended = _verify(message, f"{text}\n", signers)
    if ended.returncode == 0:
        return None
    said = ended.stderr + ended.stdout
    if b"usage:" in said:
        raise CannotVerify("`ssh-keygen` is older than OpenSSH 8.2 and cannot verify")
    if b"incorrect signature" in said:
        return "its text is not the one that was signed"
    if b"namespace does not match" in said:
        return "its signature was made for another use"
    return "its signature is not by a key that is trusted"


def _verify(message: bytes, armored: str, signers: str) -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen -Y verify`; what is small goes through pipes, so that no file is left."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    given: list[int] = []
    try:
        signature_end, signers_end = (_piped(text, given) for text in (armored, signers))
        return subprocess.run(
            [
                *("ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", PRINCIPAL),
                *("-s", f"/dev/fd/{signature_end}", "-f", f"/dev/fd/{signers_end}"),
            ],
            input=message,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
            env=environment,
            pass_fds=given,
        )
    except FileNotFoundError:
        raise CannotVerify("`ssh-keygen` is not on the PATH") from None
    except OSError as error:
        raise CannotVerify(f"`ssh-keygen` cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise CannotVerify(f"`ssh-keygen` did not answer within {TIME_LIMIT_S:g} s") from None
    finally:
        for descriptor in given:
            os.close(descriptor)


def _piped(text: str, given: list[int]) -> int:
    """Return the reading end of a pipe that holds a whole text."""
    reading, writing = os.pipe()
    given.append(reading)
    with open(writing, "wb", buffering=0) as end:
        end.write(text.encode("ascii"))
    return reading
