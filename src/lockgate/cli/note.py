"""`lockgate note`: a word about a deployment, added afterwards."""

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
from lockgate.upkeep.note import note

_HIGHEST = (1 << 62) - 1


@click.command("note", short_help="Add a word to a deployment, afterwards.")
@click.argument("generation", type=click.IntRange(1, _HIGHEST), metavar="GENERATION")
@click.option("-m", "--text", default="", metavar="TEXT", help="What there is to say. Required.")
@click.option("-e", "--environment", metavar="ENV", help="Where; else the one that has it.")
@system_option
@registry_option
@json_option
def note_command(
    generation: int,
    text: str,
    environment: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Add a word to a deployment: why it was rolled back, what users saw, where the talk went on.

    `lockgate why`, `show` and `report` show it with that deployment. It is never changed; another
    note may follow.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        record = note(
            at.registry, name, generation, text=text, actor=at.actor, environment=environment
        )
    if as_json:
        emit(record)
        return
    say(
        f"{mark('pass')} noted on generation {generation} of {record.environment}: "
        f"{shown(record.text.splitlines()[0], limit=200)}"
    )
