"""`lockgate rollback` and `settle`: the way back, and finding out how something ended."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    confirmed,
    desk,
    emit,
    json_option,
    mark,
    plain,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.cli.promote import tell_event
from lockgate.domain.difference import difference
from lockgate.domain.policy import Environment
from lockgate.domain.times import ago
from lockgate.errors import UsageMistake
from lockgate.loop.deployment import DeployEvent, tell_each
from lockgate.shown import shown
from lockgate.upkeep.restore import unfinished
from lockgate.upkeep.rollback import WayBack, find_way_back, roll_back
from lockgate.upkeep.settle import Settled, settle

SHOWN_DIFFERENCES = 6


@click.command("rollback", short_help="Make the version before live again, verified.")
@click.argument("environment", metavar="ENV")
@click.option("--to", "target_version", metavar="V", help="Another eligible version.")
@click.option("-m", "--reason", metavar="REASON", help="Why; can be added later.")
@click.option("--incident", metavar="ID", help="The incident's id.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@system_option
@registry_option
@json_option
def rollback_command(
    environment: str,
    target_version: str | None,
    reason: str | None,
    incident: str | None,
    yes: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Go back to the newest version that passed the gate there before what is live now.

    Needs no eval and no approval; a freeze or a hold never blocks it. What is left is quarantined
    and the environment held, so that nothing undoes it by accident. A promotion under way is
    stopped. A rehearsal is taken back: nothing is quarantined or held for it. Without a terminal it
    needs --yes.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        settings = _environment(at, environment)
        if target_version is None and _ended_rehearsal(
            at, name, settings, yes=yes, as_json=as_json, forced=True
        ):
            return
        wanted = (
            wiring.choose_version(at.registry, name, target_version) if target_version else None
        )
        way_back = find_way_back(at.registry, name, environment, to=wanted)
        if not yes:
            _ask(at, way_back)
        began = time.monotonic()
        place = wiring.target(at.root, name, settings)
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
    yes: bool,
    as_json: bool,
    forced: bool = False,
) -> bool:
    """Put back what was live before a rehearsal that is not over; tell whether there was one."""
    place = wiring.target(at.root, system, environment)
    found = unfinished(at.registry, system, environment.name, place)
    if found is None or found.is_back:
        return False
    from lockgate.cli.rehearse import take_back

    restored = take_back(at, found, place, yes=yes, as_json=as_json, forced=forced)
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


def _environment(at: Desk, name: str) -> Environment:
    policy = wiring.applied_policy_or_none(at.registry)
    if policy is not None and name in policy.environments:
        return policy.environment(name)
    return Environment(name, "low")


def _ask(at: Desk, way_back: WayBack) -> None:
    _show(at, way_back)
    if not sys.stdin.isatty():
        raise UsageMistake(
            "nobody is there to confirm the rollback; nothing was changed",
            hint=f"`lockgate rollback {way_back.environment} -s {way_back.system} --yes`",
        )
    if not confirmed("roll back?"):
        raise click.exceptions.Abort


def _show(at: Desk, way_back: WayBack) -> None:
    now = datetime.now(UTC)
    live_for = ago(now - way_back.leaving_deployment.attempt.at)
    was_live = ago(now - way_back.to_deployment.attempt.at)
    say(
        f"roll back {way_back.system} {way_back.environment}:  {way_back.leaving.label} (live "
        f"{live_for})  →  {way_back.to.label} (promoted {was_live} ago)",
        bold=True,
    )
    before = at.registry.versions.definition(way_back.leaving.definition)
    after = at.registry.versions.definition(way_back.to.definition)
    for line in difference(before, after).summary()[:SHOWN_DIFFERENCES]:
        say(f"  goes back   {shown(line)}")
    files = len(after.files())
    say(f"  intact      {files} files checked")
    if way_back.open_attempt is not None:
        attempt = way_back.open_attempt.attempt
        say(f"  stops       generation {attempt.generation}, which {shown(attempt.actor)} began")
    for label, why in way_back.skipped:
        say(f"  skipped     {label}: {shown(why)}")
    if way_back.kind == "rollback":
        say(f"  then        {way_back.leaving.label} quarantined, {way_back.environment} held")


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
@system_option
@registry_option
@json_option
def settle_command(
    environment: str, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Find out how an attempt that was cut off ended, and finish it. Safe to repeat.

    A rehearsal that was cut off is taken back. Exit code 4 when nobody can tell: the message then says how to make it certain.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        settings = _environment(at, environment)
        if _ended_rehearsal(at, name, settings, yes=True, as_json=as_json):
            return
        place = wiring.target(at.root, name, settings)
        found: list[Settled] = []

        def hear(event: DeployEvent | Settled) -> None:
            if isinstance(event, Settled):
                found.append(event)
            elif not as_json:
                tell_event(event)

        tell_each(settle(at.registry, name, environment, place, actor=at.actor), hear)
    (ended,) = found  # settle always says what it found
    if as_json:
        emit(ended)
        return
    state = {"failed": "fail", "abandoned": "inconclusive"}.get(ended.outcome, "pass")
    say(
        f"{mark(state)} {environment} generation {ended.generation} ({ended.label}): "
        f"{ended.outcome}, {plain(shown(ended.words))}"
    )
