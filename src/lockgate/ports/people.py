"""Signatures by people."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    pass


class Signature(Protocol):
    """An armoured signature and the fingerprint of the key that made it."""

    @property
    def armored(self) -> str:
        """The signature as text."""
        ...

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint."""
        ...


class Signing(Protocol):
    """Makes and checks signatures by people; never asks anything."""

    def sign(self, message: bytes, *, key: Path | None) -> Signature:
        """Sign a message with a key file, or with the caller's usual key.

        Raises:
            Refused: There is no usable key; the hint says how to get one.
        """
        ...

    def verify(
        self,
        message: bytes,
        armored: str,
        allowed_signers: bytes,
        principal: str,
        *,
        at: datetime,
    ) -> str:
        """Return the fingerprint of the key that signed, checked for one name.

        Raises:
            Refused: It is not this name's signature over this message.
        """
        ...

    def principals(
        self, message: bytes, armored: str, allowed_signers: bytes, *, at: datetime
    ) -> list[str]:
        """Return the names whose signature over a message this is; none when it is nobody's."""
        ...
