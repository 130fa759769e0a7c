"""The registry host's own key: it signs receipts, and nobody is ever asked for it.

- It is made once, without a passphrase, readable by its owner alone; made again it stays the same.
- A team that shares the host may let its group read the key (`chmod g+r`); everybody may not.
- The public half beside it is what this host trusts; copies elsewhere are for convenience.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from lockgate.deploy.files import read_file, replace_file, sync_folder
from lockgate.deploy.sshsig import MAX_TRUST_CHARACTERS, PRINCIPAL, trusted_keys
from lockgate.errors import IntegrityBroken, Refused, RegistryTrouble
from lockgate.ports import Signing
from lockgate.shown import shown

KEY_NAME = "host_key"
_MAX_KEY_BYTES = 64 << 10


def make_host_key(folder: Path, make_key: Callable[[Path, str], str]) -> Path:
    """Make the host's key in a folder unless there is one.

    Args:
        folder: The registry's `.lockgate`.
        make_key: Writes an ed25519 key without a passphrase, and its public half beside it.

    Returns:
        The private key's path.

    Raises:
        Refused: There is no `ssh-keygen`; receipts stay unsigned.
        RegistryTrouble: The folder cannot be written.
    """
    path = folder / KEY_NAME
    if path.exists():
        return path
    scratch = folder / f".{KEY_NAME}-{secrets.token_hex(4)}"
    try:
        scratch.mkdir(mode=0o700)
        make_key(scratch / KEY_NAME, PRINCIPAL)
        # The private half comes last: where it is, both are.
        (scratch / f"{KEY_NAME}.pub").replace(folder / f"{KEY_NAME}.pub")
        (scratch / KEY_NAME).replace(path)
        sync_folder(str(folder))
    except OSError as error:
        raise RegistryTrouble(
            f"the key of this host cannot be written: {error.strerror}",
            hint=f"check space and rights: `ls -ld {shown(folder)}`",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


class HostKey:
    """Signs with the host's key and knows its public half."""

    def __init__(self, folder: Path, signing: Signing) -> None:
        """Use the key of a registry's `.lockgate` folder; it may not be there."""
        self._path = folder / KEY_NAME
        self._public = folder / f"{KEY_NAME}.pub"
        self._signing = signing

    def exists(self) -> bool:
        """Tell whether this host has a key; without one receipts are not signed."""
        return os.path.lexists(self._path)

    def public(self) -> str:
        """Return the public key, as type and base64.

        Raises:
            IntegrityBroken: The public half is missing or damaged.
        """
        try:
            text = read_file(str(self._public), MAX_TRUST_CHARACTERS).decode("ascii")
            return trusted_keys(text)[0]
        except (OSError, ValueError) as error:
            raise IntegrityBroken(
                f"the public half of this host's key, `{shown(self._public)}`, cannot be used",
                problems=[shown(error)],
                hint=f"ssh-keygen -y -f {shown(self._path)} > {shown(self._public)}",
            ) from error

    def published_problem(self, folder: Path, wanted: str) -> str | None:
        """Say how the public half beside what is published differs; `None` when it does not.

        Args:
            folder: Where it lies, once something was published there.
            wanted: The public key, as `public` returns it.
        """
        target = folder / f"{KEY_NAME}.pub"
        try:
            text = read_file(str(target), MAX_TRUST_CHARACTERS).decode("ascii")
            is_same = trusted_keys(text)[0] == wanted
        except FileNotFoundError:
            return f"`{shown(target)}` is missing: no new server can trust what is published"
        except (OSError, ValueError) as error:
            return f"`{shown(target)}` cannot be used: {shown(error)}"
        return None if is_same else f"`{shown(target)}` is another key than this host signs with"

    def sign(self, message: bytes) -> str:
        """Return the armoured signature over a message.

        Raises:
            Refused: This user may not read the key, everybody may, or it cannot sign.
            RegistryTrouble: The temporary folder cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="lockgate-") as scratch:
            # OpenSSH refuses a key its group can read, but only to the key's owner.
            private = Path(scratch) / KEY_NAME
            descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(self._read())
            return self._signing.sign(message, key=private).armored

    def _read(self) -> bytes:
        try:
            if stat.S_IMODE(self._path.stat().st_mode) & stat.S_IRWXO:
                raise Refused(
                    f"everybody on this machine can read the host's key `{shown(self._path)}`",
                    hint=f"chmod 600 {shown(self._path)}",
                )
            return read_file(str(self._path), _MAX_KEY_BYTES)
        except OSError as error:
            raise Refused(
                f"the host's key `{shown(self._path)}` cannot be read: {error.strerror}",
                hint=f"its owner lets the team sign: chmod g+r {shown(self._path)}",
            ) from error

    def copy_public(self, folder: Path) -> None:
        """Lay the public half beside what is published, where a new server finds it.

        Raises:
            IntegrityBroken: As `public`.
            OSError: The folder cannot be written.
        """
        line = f"{self.public()} {PRINCIPAL}\n".encode("ascii")
        target = folder / f"{KEY_NAME}.pub"
        try:
            if target.read_bytes() == line:
                return
        except OSError:
            pass
        replace_file(str(target), line)
