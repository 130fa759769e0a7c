"""A registry's folder with a host key, a publisher, and versions of one small system."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from lockgate.canonical import digest_bytes
from lockgate.deploy.hook_runner import process_mark
from lockgate.deploy.host_key import HostKey, make_host_key
from lockgate.deploy.publisher import Publisher
from lockgate.domain.components import Component, Definition
from lockgate.domain.receipt import Origin, Previous, Receipt, receipt_for, settled
from lockgate.domain.version import Version, version_id
from lockgate.signing import ssh
from lockgate.workspace.materialise import materialise

NOW = datetime(2026, 8, 21, 3, 10, 4, tzinfo=UTC)
SYSTEM = "support-desk"
ORIGIN = Origin("ab" * 16, 1, "production")
TOOL = b"#!/bin/sh\necho desk\n"


def is_gone(pid: int) -> bool:
    """Tell whether a process is gone within a second."""
    until = time.monotonic() + 1.0
    while process_mark(pid) is not None:
        if time.monotonic() > until:
            return False
    return True


def definition_of(prompt: str) -> Definition:
    """Return a definition with a prompt, a setting of each kind, and an executable tool."""
    return Definition(
        {
            "model": Component({"name": "small", "temperature": 0.7, "top_k": 5}),
            "prompt": Component(files={"prompts/system.md": digest_bytes(prompt.encode())}),
            "code": Component(
                {"run": {"kind": "command", "command": ["./tool"]}},
                executables={"tool": digest_bytes(TOOL)},
            ),
        }
    )


def version_of(prompt: str, system: str = SYSTEM, label: str = "v1") -> Version:
    """Return the version of a prompt."""
    digest = definition_of(prompt).digest
    named = version_id(system, digest, None, "release")
    return Version(named, system, digest, None, "release", label, "owner", "registrar", "why")


def receipt_of(
    generation: int,
    prompt: str = "Sort the ticket.",
    *,
    system: str = SYSTEM,
    origin: Origin = ORIGIN,
    **changes: Any,
) -> Receipt:
    """Return a live receipt; `changes` replace its fields."""
    version = version_of(prompt, system, f"v{generation}")
    staged = receipt_for(
        version,
        definition_of(prompt),
        origin,
        generation=generation,
        kind="promote",
        decision="d0",
        previous=Previous(generation - 1, "0" * 64) if generation > 1 else None,
        at=NOW,
    )
    return replace(settled(staged, NOW + timedelta(seconds=generation)), **changes)


class World:
    """The root of a registry, as far as publishing is concerned."""

    def __init__(self, root: Path, *, is_signed: bool = True) -> None:
        self.root = root
        (root / ".lockgate").mkdir(parents=True)
        if is_signed:
            make_host_key(root / ".lockgate", ssh.make_key)
        self.key = HostKey(root / ".lockgate", ssh)
        self.publisher = Publisher(root / "published" / "production", self.key, materialise)
        self.contents: dict[str, bytes] = {digest_bytes(TOOL): TOOL}

    @property
    def place(self) -> Path:
        """The published folder of the system."""
        return self.publisher.folder / SYSTEM

    @property
    def public_key(self) -> Path:
        return self.root / ".lockgate" / "host_key.pub"

    def open_content(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.contents[digest])

    def prepare(self, receipt: Receipt, prompt: str = "Sort the ticket.") -> Path:
        self.contents[digest_bytes(prompt.encode())] = prompt.encode()
        return self.publisher.prepare(receipt, definition_of(prompt), self.open_content)

    def go_live(
        self,
        generation: int,
        prompt: str = "Sort the ticket.",
        way_back: Receipt | None = None,
        **changes: Any,
    ) -> Receipt:
        """Publish a generation, as promote does."""
        receipt = receipt_of(generation, prompt, **changes)
        self.prepare(receipt, prompt)
        self.publisher.publish(receipt, way_back)
        return receipt
