"""The story's script: scenes with a title, each a few steps in and around the loop, from story.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from lockgate.errors import UsageMistake

STEPS = (
    "change",
    "register",
    "register_from",
    "evaluate",
    "gate",
    "approve",
    "reject",
    "promote",
    "rollback",
    "note",
    "lift",
    "expire",
    "rehearse",
    "review",
)


@dataclass(frozen=True, slots=True)
class Cue:
    """One step of a scene."""

    do: str
    by: str
    """The role that takes the step."""
    files: str | None = None
    """Folder below `story/` whose files replace those of the system."""
    version: str | None = None
    """Label; the version registered last when left out."""
    to: str | None = None
    reason: str = ""
    track: str = "release"
    parent: str | None = None
    """Label of the parent; the folder's lock says when left out."""
    reverting: str | None = None
    incident: str | None = None
    generation: int | None = None
    """What a note is about."""
    operator: str | None = None
    """How a rehearsal makes the version worse; the one whose turn it is when left out."""
    expect: str | None = None
    """What the loop should say here; a test holds the story to it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: what happens, in which order."""

    title: str
    system: str
    steps: tuple[Cue, ...]


def read_script(root: Path) -> list[Scene]:
    """Return the scenes of a copied sample.

    Raises:
        UsageMistake: story.toml is missing or has a step nobody knows.
    """
    path = root / "story.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return [_scene(scene) for scene in data["scene"]]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise UsageMistake(
            f"`{path}` is no story: {error}", hint="copy the sample again: `lockgate demo DIR`"
        ) from error


def _scene(scene: dict[str, object]) -> Scene:
    cues = []
    for step in scene["steps"]:  # type: ignore[attr-defined]
        cue = Cue(**{"by": scene["by"], **step})
        if cue.do not in STEPS:
            raise KeyError(f"no step `{cue.do}`")
        cues.append(cue)
    return Scene(str(scene["title"]), str(scene["system"]), tuple(cues))
