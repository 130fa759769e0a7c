"""Receipts: the signed statement that the serving side trusts, as a value.

- A receipt is made only from a definition whose digest it names, and one that was read counts only
  if its files and settings still have that digest.
- Two receipts are of the same release when nothing but their time differs.
- Going back needs nothing but two receipts: a generation above what is live, for the definition
  that the way-back receipt names, in the folder that is kept for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lockgate.canonical import instant, parse_instant
from lockgate.domain.payload import FORMAT, checked, generation_folder

if TYPE_CHECKING:
    from lockgate.domain.components import Definition
    from lockgate.domain.version import Version

BACK = ("rollback", "revert")
"""The kinds that are a way back: nothing stops them."""


@dataclass(frozen=True, slots=True)
class Previous:
    """What was live before."""

    generation: int
    version: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who publishes: a registry in one of its epochs, for one environment."""

    registry: str
    epoch: int
    environment: str


@dataclass(frozen=True)
class Receipt:
    """What is live, or is about to be: which version, its bytes, and how it got there."""

    registry: str
    epoch: int
    system: str
    environment: str
    generation: int
    kind: str
    """`promote`, `rollback`, `rehearsal`, `revert` or `break_glass`."""
    state: str
    """`staged` while an attempt is under way, then `live`."""
    version: str
    label: str
    definition: str
    """The definition digest."""
    folder: str
    """Where the definition stands, relative to the system's folder: `generations/00000028`."""
    files: Mapping[str, str]
    executables: Mapping[str, str]
    components: Mapping[str, Mapping[str, Any]]
    """Component to its `settings` and the `paths` of its files."""
    decision: str | None
    ungated: bool
    previous: Previous | None
    at: datetime

    @property
    def origin(self) -> Origin:
        """The registry, epoch and environment that it names."""
        return Origin(self.registry, self.epoch, self.environment)

    def payload(self) -> str:
        """Return the text that is signed.

        Raises:
            ValueError: A value is not one a receipt may have.
        """
        previous = self.previous
        body = {
            "format": FORMAT,
            "registry": self.registry,
            "epoch": self.epoch,
            "system": self.system,
            "environment": self.environment,
            "generation": self.generation,
            "kind": self.kind,
            "state": self.state,
            "version": self.version,
            "label": self.label,
            "definition": self.definition,
            "folder": self.folder,
            "files": dict(self.files),
            "executables": dict(self.executables),
            "components": {name: dict(part) for name, part in self.components.items()},
            "decision": self.decision,
            "ungated": self.ungated,
            "previous": previous
            and {"generation": previous.generation, "version": previous.version},
            "at": instant(self.at),
        }
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        checked(text)
        return text

    def contents(self) -> Definition:
        """Return the definition that the files and settings make.

        Raises:
            ValueError: They make none, or one with another digest than the receipt names.
        """
        from lockgate.domain.components import Component, Definition

        definition = Definition(
            {
                name: Component(
                    part["settings"],
                    {path: self.files[path] for path in part["paths"] if path in self.files},
                    {p: self.executables[p] for p in part["paths"] if p in self.executables},
                )
                for name, part in self.components.items()
            }
        )
        if definition.digest != self.definition:
            raise ValueError(
                f"its files and settings have the digest `{definition.digest}`, "
                f"not `{self.definition}`"
            )
        return definition

    def is_same_release(self, other: Receipt) -> bool:
        """Tell whether two receipts say the same, whenever they were written."""
        return replace(self, at=other.at) == other

    def is_before(self, other: Receipt) -> bool:
        """Tell whether this receipt is older than another one of the same registry."""
        return (self.epoch, self.generation) < (other.epoch, other.generation)


def receipt_for(
    version: Version,
    definition: Definition,
    origin: Origin,
    *,
    generation: int,
    kind: str,
    decision: str | None,
    previous: Previous | None,
    at: datetime,
    folder: str | None = None,
    is_ungated: bool = False,
) -> Receipt:
    """Return the staged receipt of an attempt.

    Args:
        version: What is to become live.
        definition: Its definition.
        origin: Which registry says so, and for which environment.
        generation: As the attempt took it.
        kind: The attempt's kind.
        decision: The decision it rests on, if any.
        previous: What is live now.
        at: When the attempt began.
        folder: Where the definition stands already; `None` names the generation's own folder.
        is_ungated: Whether no gate let the version in there.

    Raises:
        ValueError: The definition is not the version's.
    """
    if definition.digest != version.definition:
        raise ValueError(f"{version.label} has another definition than `{definition.digest}`")
    return Receipt(
        registry=origin.registry,
        epoch=origin.epoch,
        system=version.system,
        environment=origin.environment,
        generation=generation,
        kind=kind,
        state="staged",
        version=version.id,
        label=version.label,
        definition=definition.digest,
        folder=folder or generation_folder(generation),
        files={p: d for part in definition.components.values() for p, d in part.files.items()},
        executables={
            path: digest
            for part in definition.components.values()
            for path, digest in part.executables.items()
        },
        components={
            name: {"settings": dict(part.settings), "paths": sorted(part.paths())}
            for name, part in definition.components.items()
        },
        decision=decision,
        ungated=is_ungated,
        previous=previous,
        at=at,
    )


def read_payload(payload: str) -> Receipt:
    """Return the receipt that a payload is the text of; its signature is somebody else's business.

    Raises:
        ValueError: It is not a receipt, or its files and settings do not have its digest.
    """
    body = checked(payload)
    del body["format"]
    previous = body.pop("previous")
    receipt = Receipt(
        **{**body, "at": parse_instant(body["at"])},
        previous=Previous(**previous) if previous else None,
    )
    receipt.contents()
    return receipt


def settled(staged: Receipt, at: datetime) -> Receipt:
    """Return the live receipt that a staged one becomes."""
    return replace(staged, state="live", at=at)


def going_back(way_back: Receipt, live: Receipt | None, generation: int, at: datetime) -> Receipt:
    """Return the live receipt of a rollback that is made from receipts alone.

    Args:
        way_back: The receipt of the version to go back to.
        live: The receipt of what is live and is being left; `None` when it cannot be read.
        generation: Above every one that was published.
        at: Now.
    """
    return replace(
        way_back,
        epoch=live.epoch if live else way_back.epoch,
        generation=generation,
        kind="revert" if live and live.kind == "rehearsal" else "rollback",
        state="live",
        decision=None,
        previous=Previous(live.generation, live.version) if live else None,
        at=at,
    )
