"""What was applied when something was last published, for when the registry cannot be asked.

<publish>/<system>/place.json   the folder, the hook, its timeout, whom to ask what runs; signed

- A rollback without the registry takes its commands from here: policy.toml may say something that
  nobody applied.
- It is written whenever something is published, and only where the applied policy is at hand.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lockgate.deploy.files import read_file
from lockgate.deploy.host_key import HostKey
from lockgate.deploy.policy_file import environment_from
from lockgate.deploy.receipts import signature_trouble
from lockgate.domain.payload import opened, sealed
from lockgate.domain.policy import Environment
from lockgate.errors import IntegrityBroken, UsageMistake

PLACE = "place.json"
_FORMAT = 1
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AppliedPlace:
    """Where a system's versions went in an environment, and by which commands."""

    system: str
    environment: Environment
    hook_digest: str | None

    def text(self) -> str:
        """Return the text that is signed: JSON, in ASCII."""
        settings = self.environment
        body = {
            "format": _FORMAT,
            "about": "place",
            "system": self.system,
            "environment": settings.name,
            "publish": settings.publish,
            "deploy": list(settings.deploy),
            "deploy_timeout": f"{settings.deploy_timeout // timedelta(seconds=1)}s",
            "observe": list(settings.observe),
            "hook_digest": self.hook_digest,
        }
        return json.dumps(body, sort_keys=True)

    def sealed(self, key: HostKey) -> bytes:
        """Return the file's bytes, signed where this host has a key.

        Raises:
            Refused: The host's key cannot be used.
        """
        text = self.text()
        return sealed(text, key.sign(text.encode("ascii")) if key.exists() else None)

    def differences(self, other: Environment) -> list[str]:
        """Return the keys of policy.toml that say something else than what was applied."""
        keys = ("publish", "deploy", "deploy_timeout", "observe")
        return [key for key in keys if getattr(self.environment, key) != getattr(other, key)]


def read_applied(folder: Path, key: HostKey, environment: str) -> AppliedPlace | None:
    """Return what was applied for a system's published folder; `None` when nothing counts."""
    with suppress(OSError, ValueError, KeyError, TypeError, IntegrityBroken, UsageMistake):
        payload, signature = opened(read_file(str(folder / PLACE), _MAX_BYTES))
        if signature_trouble(payload, signature, key) is not None:
            return None
        body = json.loads(payload)
        about = (body["format"], body["about"], body["system"], body["environment"])
        if about == (_FORMAT, "place", folder.name, environment):
            settings = environment_from(environment, body)
            return AppliedPlace(folder.name, settings, body["hook_digest"])
    return None
