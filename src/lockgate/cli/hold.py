"""`lockgate hold` and `lift`: stop promotions to an environment, and end holds and quarantines."""

from __future__ import annotations

import click

from lockgate import wiring
from lockgate.cli.common import (
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
)
from lockgate.shown import shown
from lockgate.upkeep.hold import hold, lift_hold, lift_quarantine


@click.command("hold", short_help="Stop promotions to an environment.")
@click.argument("environment", metavar="ENV")
@click.option("-m", "--reason", default="", metavar="REASON", help="Why. Required.")
@system_option
@registry_option
@json_option
def hold_command(
    environment: str, reason: str, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Stop promotions to an environment until the hold is lifted. Rollback is never stopped."""
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        wiring.applied_policy(at.registry).environment(environment)
        record = hold(at.registry, name, environment, reason=reason, actor=at.actor)
    if as_json:
        emit(record)
        return
    say(
        f"{mark('inconclusive')} {environment} of {name} takes no promotion: {shown(record.reason)}"
    )


@click.command("lift", short_help="End a quarantine or a hold, with a reason.")
@click.argument("what", metavar="V|ENV")
@click.option("-m", "--reason", default="", metavar="REASON", help="Why. Required.")
@system_option
@registry_option
@json_option
def lift_command(
    what: str, reason: str, system: str | None, registry: str | None, as_json: bool
) -> None:
    """End the quarantine of a version's definition, or the hold of an environment."""
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        policy = wiring.applied_policy_or_none(at.registry)
        named = policy is not None and what in policy.environments
        if named or what in at.registry.releases.environments(name):
            ended = lift_hold(at.registry, name, what, reason=reason, actor=at.actor)
        else:
            version = at.registry.versions.named(name, what)
            ended = lift_quarantine(at.registry, version, reason=reason, actor=at.actor)
    if as_json:
        emit(ended)
        return
    for lifted in ended:
        say(
            f"{mark('pass')} {lifted.what} of {shown(what)} ended; it had stood for: "
            f"{shown(lifted.reason.splitlines()[0])}"
        )
