"""`lockgate rollback` and `settle`: the way back, and finding out how something ended."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    confirm,
    desk,
    emit,
    json_option,
    mark,
    plain,
    registry_option,
    say,
    system_option,
    tell,
    wrapped,
)
from lockgate.cli.deploying import rollback_words, tell_event
from lockgate.cli.offline import Asked, roll_back_without_registry, with_offline_way
from lockgate.domain.difference import difference
from lockgate.domain.figures import size
from lockgate.domain.policy import Environment
from lockgate.domain.times import ago, shown_time
from lockgate.errors import IntegrityBroken, Refused, RegistryTrouble, UsageMistake
from lockgate.loop.deployment import DeployEvent, tell_each
from lockgate.loop.unrecorded import Unrecorded, unrecorded
from lockgate.loop.way_back import is_large, size_bytes
from lockgate.ports import Target
from lockgate.shown import shown
from lockgate.upkeep.reconcile import reconcile
from lockgate.upkeep.rollback import WayBack, find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle, settle_as

SHOWN_DIFFERENCES = 6
WIDTH = 79


@click.command("rollback", short_help="Make the version before live again, verified.")
@click.argument("environment", metavar="ENV")
@click.option("--to", "target_version", metavar="V", help="Another eligible version.")
@click.option("-m", "--reason", metavar="REASON", help="Why; can be added later.")
@click.option("--incident", metavar="ID", help="The incident's id.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--offline", is_flag=True, help="From the signed receipts, without the registry.")
@click.option("--publish", metavar="DIR", help="With --offline: the published folder.")
@system_option
@registry_option
@json_option
def rollback_command(
    environment: str,
    target_version: str | None,
    reason: str | None,
    incident: str | None,
    yes: bool,
    offline: bool,
    publish: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Go back to the newest version that passed the gate there before what is live now.

    Needs no eval and no approval; a freeze or a hold never blocks it. What is left is quarantined
    and the environment held, so that nothing undoes it by accident. A promotion under way is
    stopped. A rehearsal is taken back: nothing is quarantined or held for it. Without a terminal it
    needs --yes.

    With --offline it needs no registry: it goes back to the version of the signed way-back receipt.
    `lockgate settle` records that later.
    """
    context = click.get_current_context()
    asked = Asked(environment, system, registry or context.obj, publish, reason, incident, yes)
    if offline:
        if target_version is not None:
            raise UsageMistake(
                "--to needs the registry, which knows what may be gone back to; --offline goes to "
                "the version of the way-back receipt",
                hint="leave out --to or --offline",
            )
        return roll_back_without_registry(asked, as_json=as_json)
    if publish is not None:
        raise UsageMistake("--publish is for --offline only", hint="leave it out")
    try:
        return _roll_back(asked, target_version, as_json)
    except (RegistryTrouble, IntegrityBroken) as error:
        if target_version is not None:
            raise
        raise with_offline_way(error, asked) from error


def _roll_back(asked: Asked, target_version: str | None, as_json: bool) -> None:
    environment, reason, incident = asked.environment, asked.reason, asked.incident
    with desk(asked.registry) as at:
        name = wiring.choose_system(at.registry, asked.system)
        settings = _environment(at, name, environment)
        place = wiring.target(at.root, name, settings)
        _record_offline(at, place, name, environment, yes=asked.yes)
        if target_version is None and _ended_rehearsal(
            at, name, settings, asked=asked, as_json=as_json
        ):
            return
        wanted = (
            wiring.choose_version(at.registry, name, target_version) if target_version else None
        )
        way_back = find_way_back(at.registry, name, environment, to=wanted)
        if not asked.yes:
            _ask(at, way_back, asked, target_version, as_json=as_json)
        began = time.monotonic()
        happened: list[DeployEvent] = []

        def hear(event: DeployEvent) -> None:
            happened.append(event)
            if not as_json:
                _tell(event, way_back)

        rollback = roll_back(
            at.registry, way_back, actor=at.actor, target=place, reason=reason, incident=incident
        )
        tell_each(rollback, hear)
        generation = happened[-1].generation
        took = time.monotonic() - began
    if as_json:
        emit(
            {
                "environment": environment,
                "from": way_back.leaving.label,
                "to": way_back.to.label,
                "generation": generation,
                "kind": way_back.kind,
                "took_s": round(took, 3),
            }
        )
        return
    left, to = way_back.leaving.label, way_back.to.label
    say(
        f"{mark('pass')} {to} is live in {environment}  generation {generation}, {took:.1f} s, "
        f"left {left}",
        bold=True,
    )
    if way_back.kind == "rollback":
        tell(f"still open: {left} is quarantined and {environment} held")
        tell(
            f"wrong call? `lockgate lift {left} -s {name} -m REASON`, then roll back with --to {left}"
        )


def _ended_rehearsal(
    at: Desk,
    system: str,
    environment: Environment,
    *,
    as_json: bool,
    asked: Asked | None = None,
) -> bool:
    """Put back what was live before a rehearsal that is not over; tell whether there was one.

    Args:
        at: The registry.
        system: The system.
        environment: Where it rehearses.
        as_json: How to tell it.
        asked: The rollback that somebody asked for, which stops a rehearsal under way; `None` when
            only one that was cut off is ended.
    """
    from lockgate.upkeep.restore import unfinished

    place = wiring.target(at.root, system, environment)
    if unfinished(at.registry, system, environment.name, place) is None:
        return False
    yes = asked is None or asked.yes
    _record_offline(at, place, system, environment.name, yes=yes)
    found = unfinished(at.registry, system, environment.name, place)
    if found is None or found.is_back:
        return False
    from lockgate.cli.rehearse import take_back

    restored = take_back(
        at,
        found,
        place,
        yes=yes,
        as_json=as_json,
        forced=asked is not None,
        reason=asked.reason if asked else None,
        incident=asked.incident if asked else None,
    )
    if as_json:
        emit(
            {
                "environment": environment.name,
                "from": found.worse.label,
                "to": restored.version.label,
                "generation": restored.generation,
                "kind": "revert",
                "took_s": round(restored.took_s, 3),
            }
        )
    return True


def _record_offline(at: Desk, place: Target, system: str, environment: str, *, yes: bool) -> None:
    """Record a rollback that was made without the registry, before anything is decided on top of it.

    What cannot be recorded stops nobody: the rollback takes a generation above it.
    """
    found = unrecorded(at.registry, place, system, environment)
    if found is None:
        return
    if not yes:
        _ask_to_record(found, system, environment)
    try:
        done = reconcile(at.registry, place, system, environment, actor=at.actor)
    except Refused as error:
        tell(f"not recorded: {error.what}")
        return
    if done is not None:
        tell_event(DeployEvent("recorded", done.generation, done))


def _ask_to_record(found: Unrecorded, system: str, environment: str) -> None:
    """Show what was done without the registry, and ask: where to go back to depends on it."""
    receipt = found.published or found.staged
    actor = next((note.actor for note in found.notes if note.generation == found.top), None)
    state = "live" if found.published else "not live" if receipt else "nothing of it is left"
    say(
        f"would record generation {found.top} of {environment}, made without the registry"
        f"{f' by {shown(actor)}, as claimed' if actor else ''}: "
        f"{f'{receipt.label}, ' if receipt else ''}{state}"
    )
    tell("where a rollback leads is looked at after that, and asked about again")
    confirm(
        "record it?",
        refusal=f"generation {found.top} of {environment} is not recorded, and nobody is there to "
        "confirm that it is; nothing was changed",
        hint=f"`lockgate settle {environment} -s {system}` records it",
    )


def _environment(at: Desk, system: str, name: str) -> Environment:
    """Return an environment as applied; one that the policy lost and that was used is a bare one.

    Raises:
        UsageMistake: There is no such environment.
    """
    policy = wiring.applied_policy_or_none(at.registry)
    was_used = name in at.registry.releases.environments(system)
    if policy is not None and (name in policy.environments or not was_used):
        return policy.environment(name)
    return Environment(name, "low")


def _ask(
    at: Desk, way_back: WayBack, asked: Asked, target_version: str | None, *, as_json: bool
) -> None:
    words = rollback_words(
        way_back.environment,
        way_back.system,
        to=target_version,
        reason=asked.reason,
        incident=asked.incident,
    )
    if as_json:
        raise UsageMistake("with --json nobody is asked; nothing was changed", hint=f"`{words}`")
    _show(at, way_back)
    confirm(
        "roll back?",
        refusal="nobody is there to confirm the rollback; nothing was changed",
        hint=f"`{words}`",
    )


def _show(at: Desk, way_back: WayBack) -> None:
    now = datetime.now(UTC)
    live_for = ago(now - way_back.leaving_deployment.attempt.at)
    was_live = ago(now - way_back.to_deployment.attempt.at)
    left, to = way_back.leaving.label, way_back.to.label
    say(f"roll back {way_back.system} {way_back.environment}:  {left} → {to}", bold=True)
    _row("leaves", f"{left}, live {live_for}")
    _row("back to", f"{to}, promoted {was_live} ago")
    before = at.registry.versions.definition(way_back.leaving.definition)
    after = at.registry.versions.definition(way_back.to.definition)
    for line in difference(before, after).summary()[:SHOWN_DIFFERENCES]:
        _row("goes back", line)
    _row("intact", f"{len(after.files())} files checked{_last_full_check(at, way_back, now)}")
    if way_back.open_attempt is not None:
        attempt = way_back.open_attempt.attempt
        stopped = at.registry.versions.get(attempt.version or "")
        _row(
            "stops",
            f"{stopped.label if stopped else 'a version'} (generation {attempt.generation}, begun "
            f"by {attempt.actor})",
        )
        since = shown_time(way_back.leaving_deployment.settled_at or attempt.at)
        _row("leaves", f"{left} as well, live since {since}")
    for label, why in way_back.skipped:
        _row("skipped", f"{label}: {why}")
    if way_back.kind == "rollback":
        _row("then", f"{left} quarantined, {way_back.environment} held")


def _row(name: str, text: str) -> None:
    """Print a line of what a rollback would do; a long one goes on below itself."""
    for number, line in enumerate(wrapped(text, WIDTH - 14, items=True)):
        say(f"  {'' if number else name:<12}{line}")


def _last_full_check(at: Desk, way_back: WayBack, now: datetime) -> str:
    """Say of what is too large to be hashed now when it last was; the rest follows the switch."""
    definition = way_back.to.definition
    if not is_large(at.registry, definition):
        return ""
    noted = at.registry.upkeep.full_check(definition)
    all_of_it = f"all {size(size_bytes(at.registry, definition))}"
    if noted is None:
        return f"; {all_of_it} were never hashed at once, and are after the switch"
    return f"; {all_of_it} hashed {ago(now - noted.at)} ago, all well; again after the switch"


def _tell(event: DeployEvent, way_back: WayBack) -> None:
    if event.kind == "taken" and way_back.kind == "rollback":
        say(
            f"{mark('pass')} held      {way_back.leaving.label} quarantined, promotions to "
            f"{way_back.environment} held"
        )
    elif event.kind == "rebuilt":
        say(f"{mark('pass')} rebuilt   {way_back.to.label}: {event.detail} files re-hashed")
    else:
        tell_event(event)


@click.command("settle", short_help="Find out how an attempt that was cut off ended.")
@click.argument("environment", metavar="ENV")
@click.option(
    "--as",
    "outcome",
    type=click.Choice(["live", "failed"]),
    help="What the instances run, where nobody saw the hook's end.",
)
@click.option("-m", "--reason", metavar="REASON", help="With --as: what was looked at.")
@system_option
@registry_option
@json_option
def settle_command(
    environment: str,
    outcome: str | None,
    reason: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Find out how an attempt that was cut off ended, and finish it. Safe to repeat.

    A rehearsal that was cut off is taken back. Exit code 4 when nobody can tell how a hook ended:
    then somebody looks at the instances, and says with --as what they run: `live` is the version of
    the attempt, which is published; `failed` is what was live before, which stays. Where it can be
    found out, --as is refused.
    """
    if outcome is None and reason is not None:
        raise UsageMistake(
            "-m is for --as only", hint="leave it out, or say what the instances run"
        )
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        settings = _environment(at, name, environment)
        if outcome is None and _ended_rehearsal(at, name, settings, as_json=as_json):
            return
        place = wiring.target(at.root, name, settings)
        found: list[Settled] = []

        def hear(event: DeployEvent | Settled) -> None:
            if isinstance(event, Settled):
                found.append(event)
            elif not as_json:
                tell_event(event)

        events = settle(at.registry, name, environment, place, actor=at.actor)
        if outcome is not None:
            events = settle_as(
                at.registry,
                name,
                environment,
                place,
                outcome=outcome,
                reason=reason or "",
                actor=at.actor,
            )
        tell_each(events, hear)
    (ended,) = found  # settle always says what it found
    if as_json:
        emit(ended)
        return
    state = {"failed": "fail", "abandoned": "inconclusive"}.get(ended.outcome, "pass")
    say(
        f"{mark(state)} {environment} generation {ended.generation} ({ended.label}): "
        f"{ended.outcome}, {plain(shown(ended.words))}"
    )
