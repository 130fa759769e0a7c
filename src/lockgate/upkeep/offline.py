"""Roll back without the registry: two signed receipts, the bytes beside them, and nothing else.

- It goes to the version that the way-back receipt names, if that receipt counts, is of the same
  registry and environment as what is live, and its folder is whole.
- It takes a generation above every one that was ever published, staged or given to a hook, so that
  none is reused whatever the registry thinks; an attempt under way is stopped first.
- What was left is never kept as the way back, and what is a rollback already is not rolled back
  again: a further target is the registry's to name. Taking a rehearsal back is no rollback: the way
  back that is kept beside what it put back counts.
- Who, why and when are noted beside the receipt; `settle` takes them into the registry later.
- What is larger than can be hashed at once is hashed after the switch, and told loudly if wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from lockgate.domain.offline import MAX_WORDS, OfflineNote
from lockgate.domain.receipt import Receipt, going_back
from lockgate.errors import (
    InfrastructureFailed,
    IntegrityBroken,
    Interrupted,
    LockgateError,
    Refused,
    UsageMistake,
)
from lockgate.loop.deployment import DeployEvent
from lockgate.loop.way_back import FULLY_CHECKED_BYTES
from lockgate.ports import OfflineTarget, Target

_HOOKS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class OfflineWayBack:
    """Where a rollback without the registry would go, and what it would leave."""

    system: str
    environment: str
    to: Receipt
    """The way-back receipt."""
    leaving: Receipt | None
    """What is live; `None` when its receipt cannot be read."""
    unread: str | None
    """Why the live receipt cannot be read."""
    stops: tuple[int, ...]
    """Generations of attempts under way, which are stopped."""
    size_bytes: int

    @property
    def kind(self) -> str:
        """`revert` when a rehearsal is left, else `rollback`."""
        return "revert" if self.leaving and self.leaving.kind == "rehearsal" else "rollback"


def find_offline(place: OfflineTarget, system: str, environment: str) -> OfflineWayBack:
    """Return where a rollback without the registry would go; looking changes nothing.

    Args:
        place: What the environment publishes.
        system: The system.
        environment: The environment.

    Raises:
        Refused: There is no way-back receipt, what is live is a rollback already, or is the very
            version that the way back leads to.
        IntegrityBroken: The way-back receipt does not count, is of another registry or
            environment, or its folder is not whole.
    """
    leaving, unread = _live(place, system)
    _check_not_back_already(leaving, system, environment)
    to = _way_back(place, system, environment)
    _check_same_origin(to, leaving, system, environment)
    if leaving is not None and leaving.definition == to.definition:
        raise Refused(
            f"the way back from {leaving.label} leads to the same definition, {to.label}; "
            "nothing was changed",
            hint=_with_registry(system, environment),
        )
    wrong = place.problems(to, budget_bytes=FULLY_CHECKED_BYTES)
    if wrong:
        raise IntegrityBroken(
            f"{to.label}, the way back for {environment}, is not whole in `{to.folder}`; "
            "nothing was changed",
            problems=wrong,
            hint="bring these files back from a backup, or bring the registry back: "
            + _with_registry(system, environment),
        )
    stops = tuple(_under_way(place, system, leaving))
    return OfflineWayBack(system, environment, to, leaving, unread, stops, place.size_bytes(to))


def _live(place: OfflineTarget, system: str) -> tuple[Receipt | None, str | None]:
    try:
        found = place.current(system)
    except IntegrityBroken as error:
        return None, error.what
    return found, None if found else "there is no receipt of what is live"


def _way_back(place: OfflineTarget, system: str, environment: str) -> Receipt:
    try:
        found = place.way_back(system)
    except IntegrityBroken as error:
        raise IntegrityBroken(
            f"the way back for {environment} cannot be trusted: {error.what}",
            hint="bring the registry back from a backup; then "
            + _with_registry(system, environment),
        ) from error
    if found is None:
        raise Refused(
            f"there is no way-back receipt for {system} in {environment}: only one version was "
            "ever published there, or it was rolled back already",
            hint="bring the registry back from a backup; then "
            + _with_registry(system, environment),
        )
    return found


def _with_registry(system: str, environment: str) -> str:
    return f"`lockgate rollback {environment} -s {system}` finds a target in it"


def _check_not_back_already(leaving: Receipt | None, system: str, environment: str) -> None:
    if leaving is None or leaving.kind != "rollback":
        return
    raise Refused(
        f"{environment} was rolled back already, to {leaving.label} as generation "
        f"{leaving.generation}; nothing was changed",
        hint="a further target is the registry's to name: `lockgate rollback "
        f"{environment} -s {system} --to VERSION`",
    )


def _check_same_origin(to: Receipt, leaving: Receipt | None, system: str, environment: str) -> None:
    problems = []
    if to.environment != environment:
        problems.append(f"the way back is for {to.environment}, not {environment}")
    if leaving is not None and leaving.environment != environment:
        problems.append(f"what is live there is for {leaving.environment}, not {environment}")
    if leaving is not None and leaving.registry != to.registry:
        problems.append(
            f"the way back is of registry `{to.registry[:8]}`, and what is live of "
            f"`{leaving.registry[:8]}`"
        )
    if problems:
        raise IntegrityBroken(
            f"the receipts of {system} in {environment} do not belong together; "
            "nothing was changed",
            problems=problems,
            hint="name the folder that this environment publishes to: "
            f"`lockgate rollback {environment} -s {system} --offline --publish DIR`",
        )


def _under_way(place: OfflineTarget, system: str, live: Receipt | None) -> Iterator[int]:
    """Give the generations whose attempt may still be doing something."""
    newest = place.newest_taken(system)
    first = live.generation + 1 if live else 1
    try:
        staged = place.staged(system)
    except IntegrityBroken:
        staged = None
    for generation in range(max(first, newest - _HOOKS_LOOKED_AT), newest + 1):
        is_staged = staged is not None and staged.generation == generation
        if is_staged or (
            place.has_hook and place.hook_status(system, generation).state == "running"
        ):
            yield generation


def roll_back_offline(
    place: OfflineTarget,
    way_back: OfflineWayBack,
    *,
    actor: str,
    now: datetime,
    reason: str | None = None,
    incident: str | None = None,
) -> Iterator[DeployEvent]:
    """Go back without the registry; the caller walks what happens.

    Args:
        place: What the environment publishes.
        way_back: As `find_offline` returned it; if anything moved since, it is refused.
        actor: Who rolls back.
        now: The time, for the receipt and the note.
        reason: Why.
        incident: The incident's id.

    Raises:
        Busy: Somebody else goes back without the registry right now.
        Refused: The receipt cannot be signed, or an attempt's hook cannot be stopped.
        InfrastructureFailed: The hook failed; what was published before still is.
        IntegrityBroken: The version is live, and what was hashed after the switch is not whole.
    """
    system, environment = way_back.system, way_back.environment
    with place.alone_offline(system):
        if replace(find_offline(place, system, environment), stops=()) != replace(
            way_back, stops=()
        ):
            raise UsageMistake(
                "what is published has changed since this rollback was looked at; nothing was "
                "changed",
                hint=f"look again: `lockgate rollback {environment} -s {system} --offline`",
            )
        generation = place.newest_taken(system) + 1
        live = going_back(way_back.to, way_back.leaving, generation, now)
        words, ticket = (text and text[:MAX_WORDS] for text in (reason, incident))
        note = OfflineNote(system, environment, generation, live.version, actor, words, ticket, now)
        try:
            yield from _carried_out(place, way_back, live, note)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"generation {generation} of {environment} is not finished; what was begun goes on",
                hint=f"again, with the next generation: `lockgate rollback {environment} "
                f"-s {system} --offline`",
            ) from error


def _carried_out(
    place: OfflineTarget, way_back: OfflineWayBack, live: Receipt, note: OfflineNote
) -> Iterator[DeployEvent]:
    system, generation = way_back.system, live.generation
    if place.has_hook:
        for other in _under_way(place, system, way_back.leaving):
            place.stop_hook(system, other)
    place.write_offline_note(note)
    yield DeployEvent("taken", generation)
    try:
        place.stage(replace(live, state="staged"))
    except LockgateError:
        place.drop_offline_note(system, generation)
        raise
    if place.has_hook:
        yield from _hooked(place, way_back, live, note)
    place.publish(live, None)
    place.unstage(system, generation)
    yield DeployEvent("published", generation)
    if place.observes:
        known = [live.version, *([way_back.leaving.version] if way_back.leaving else [])]
        yield DeployEvent("observed", generation, place.observe(live.version, known))
    if way_back.size_bytes > FULLY_CHECKED_BYTES:
        check_after_switch(place, live)
        yield DeployEvent("hashed", generation, way_back.size_bytes)


def _hooked(
    place: OfflineTarget, way_back: OfflineWayBack, live: Receipt, note: OfflineNote
) -> Iterator[DeployEvent]:
    system, generation = way_back.system, live.generation
    try:
        place.start_hook(live, way_back.leaving)
        for told in place.follow_hook(system, generation):
            yield DeployEvent("hook", generation, told)
        status = place.hook_status(system, generation)
        if status.is_success:
            return
        words = status.words()
    except InfrastructureFailed as error:
        words = error.what
    place.write_offline_note(replace(note, failed=f"the hook {words}"))
    place.unstage(system, generation)
    raise InfrastructureFailed(
        f"the deploy hook of generation {generation} {words}; "
        f"what was published in {way_back.environment} before still is",
        hint="mend what it complains about, then run it again; its output is in "
        f"`.lockgate/hooks/{system}.{way_back.environment}.{generation:08d}.log`",
    )


def check_after_switch(place: Target, live: Receipt) -> None:
    """Hash what was not hashed before a version was switched to.

    Raises:
        IntegrityBroken: A file is not what the receipt says; the version is live all the same.
    """
    wrong = place.problems(live)
    if wrong:
        raise IntegrityBroken(
            f"{live.label} IS LIVE in {live.environment} as generation {live.generation}, "
            f"and is not whole",
            problems=wrong,
            hint=f"`lockgate settle {live.environment} -s {live.system}` writes it again from the "
            "registry; where nothing of it is left: `lockgate rollback "
            f"{live.environment} -s {live.system} --to VERSION`",
        )
