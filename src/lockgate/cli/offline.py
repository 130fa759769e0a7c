"""`lockgate rollback ENV --offline`: the way back when the registry is locked, damaged or gone.

Nothing here opens a database, nor imports what could.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lockgate import wiring
from lockgate.cli.common import confirm, emit, mark, say, tell
from lockgate.cli.deploying import tell_event
from lockgate.domain.difference import difference
from lockgate.domain.figures import size
from lockgate.domain.times import ago
from lockgate.errors import LockgateError, Refused
from lockgate.loop.way_back import FULLY_CHECKED_BYTES
from lockgate.shown import shown
from lockgate.upkeep.offline import OfflineWayBack, find_offline, roll_back_offline

if TYPE_CHECKING:
    from lockgate.wiring.deploying import OfflinePlace

SHOWN_DIFFERENCES = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked of `rollback`, as far as it makes sense without the registry."""

    environment: str
    system: str | None
    registry: str | None
    publish: str | None
    reason: str | None
    incident: str | None
    yes: bool

    def command(self, system: str, *, yes: bool = False) -> str:
        """Return the words that ask the same without the registry."""
        given = (("-m", self.reason), ("--incident", self.incident), ("--publish", self.publish))
        words = ["lockgate"]
        words += ["--registry", self.registry] if self.registry else []
        words += ["rollback", self.environment, "-s", system, "--offline"]
        words += ["--yes"] if self.yes or yes else []
        for option, text in given:
            words += [option, text] if text else []
        return shlex.join(words)


def roll_back_without_registry(asked: Asked, *, as_json: bool) -> None:
    """Show where the way back leads, ask, and go."""
    actor = wiring.actor()
    root = wiring.find_place(asked.registry)
    known = wiring.offline_target(root, asked.environment, asked.system, asked.publish)
    system, place = known.system, known.target
    found = find_offline(place, system, asked.environment)
    if not asked.yes:
        _ask(found, known, asked)
    else:
        _check_stated(known, asked)
        for doubt in known.doubts:
            tell(doubt)
    began = time.monotonic()
    generation = 0
    for event in roll_back_offline(
        place,
        found,
        actor=actor,
        now=datetime.now(UTC),
        reason=asked.reason,
        incident=asked.incident,
    ):
        generation = event.generation
        if not as_json:
            tell_event(event)
    took = time.monotonic() - began
    left = found.leaving.label if found.leaving else None
    if as_json:
        emit(
            {
                "environment": asked.environment,
                "from": left,
                "to": found.to.label,
                "generation": generation,
                "kind": found.kind,
                "took_s": round(took, 3),
                "offline": True,
            }
        )
        return
    say(
        f"{mark('pass')} {found.to.label} is live in {asked.environment}  generation {generation}, "
        f"{took:.1f} s, left {left or 'what could not be read'}, without the registry",
        bold=True,
    )
    tell("the registry does not know it yet; once it can be used again:")
    tell(f"  `lockgate settle {asked.environment} -s {system}`")


def _check_stated(known: OfflinePlace, asked: Asked) -> None:
    """Refuse to run, unasked, commands that perhaps nobody applied; a folder that is named is enough.

    Raises:
        Refused: Nobody looked and nothing says what was applied.
    """
    place = known.target
    if known.is_applied or asked.publish or not (place.has_hook or place.observes):
        return
    raise Refused(
        f"nothing says which commands were applied for {asked.environment}: the signed "
        "`place.json` beside the receipts is missing or does not count; nothing was changed",
        hint=f"look and confirm: `{replace(asked, yes=False).command(known.system)}`; or, if "
        f"policy.toml is right as it is: `{_stated(known, asked).command(known.system)}`",
    )


def _ask(found: OfflineWayBack, known: OfflinePlace, asked: Asked) -> None:
    _show(found, known)
    confirm(
        "roll back?",
        refusal="nobody is there to confirm the rollback; nothing was changed",
        hint=f"`{_stated(known, asked).command(found.system, yes=True)}`",
    )


def _stated(known: OfflinePlace, asked: Asked) -> Asked:
    """Return what was asked, with the folder where it has to be named to go on without asking."""
    if known.is_applied or asked.publish or known.target.publisher is None:
        return asked
    return replace(asked, publish=str(known.target.publisher.folder))


def _show(found: OfflineWayBack, known: OfflinePlace) -> None:
    place = known.target
    now = datetime.now(UTC)
    left = "what cannot be read"
    if found.leaving is not None:
        left = f"{found.leaving.label} (published {ago(now - found.leaving.at)} ago)"
    say(
        f"roll back {found.system} {found.environment} without the registry:  {left}  →  "
        f"{found.to.label} (was live {ago(now - found.to.at)} ago)",
        bold=True,
    )
    if found.unread is not None:
        say(f"  unread      {shown(found.unread)}")
    if found.leaving is not None:
        changes = difference(found.leaving.contents(), found.to.contents()).summary()
        for line in changes[:SHOWN_DIFFERENCES]:
            say(f"  goes back   {shown(line)}")
    files = len(found.to.files) + len(found.to.executables)
    later = ""
    if found.size_bytes > FULLY_CHECKED_BYTES:
        later = f"; what is left of {size(found.size_bytes)} is hashed after the switch"
    say(f"  intact      {files} files checked{later}")
    for generation in found.stops:
        say(f"  stops       generation {generation}, which is under way")
    if place.has_hook:
        whose = "as applied" if known.is_applied else "as policy.toml says"
        say(f"  hook        {shown(place.hook_words())}, {whose}")
    for doubt in known.doubts:
        say(f"  doubt       {doubt}")
    if found.kind == "rollback":
        say(
            f"  then        `lockgate settle {found.environment} -s {found.system}` quarantines "
            f"what is left and holds {found.environment}"
        )


def with_offline_way(error: LockgateError, asked: Asked) -> LockgateError:
    """Return an error of the registry with the command that does without it, where that would go."""
    try:
        root = wiring.find_place(asked.registry)
        known = wiring.offline_target(root, asked.environment, asked.system, asked.publish)
        system = known.system
        find_offline(known.target, system, asked.environment)
    except LockgateError:
        return error
    hints: Sequence[str] = (f"without the registry: `{asked.command(system)}`", error.hint)
    return type(error)(
        error.what, problems=error.problems, hint="; or ".join(hint for hint in hints if hint)
    )
