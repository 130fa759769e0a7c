"""`lockgate report`: what happened since a time, and what is open now."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    tell,
    wrapped,
)
from lockgate.cli.looking import policy_of, screen_width, short_time
from lockgate.domain.times import ago, parse_time, shown_time, time_reading
from lockgate.errors import UsageMistake
from lockgate.shown import shown

if TYPE_CHECKING:
    from datetime import datetime

    from lockgate.look.report import Entry, Report, SystemReport

_PLURALS = {
    "registered": "versions",
    "completed": "runs",
    "passed": "decisions",
    "given": "approvals",
}


@click.command("report", short_help="Tell what happened since a time, and what is open now.")
@click.option(
    "--since", default="12h", metavar="TIME", help="A duration or a time; 12h if left out."
)
@system_option
@registry_option
@json_option
def report_command(since: str, system: str | None, registry: str | None, as_json: bool) -> None:
    """Tell what happened since a time, oldest first, and what is open now: for a handover.

    TIME is `12h`, `3 days ago`, `2026-08-21`, `02:44` or `yesterday 18:00`; without a zone it is
    UTC, and how it was read is said back. Without -s all systems are told. It never writes.
    """
    with desk(registry, read_only=True) as at:
        from lockgate.look.report import report

        known = at.registry.versions.systems()
        names = known if system is None else [wiring.choose_system(at.registry, system)]
        now = at.registry.now()
        try:
            moment = parse_time(since, now)
        except ValueError as error:
            raise UsageMistake(str(error), hint="such as `lockgate report --since 12h`") from error
        if moment > now:
            raise UsageMistake(
                f"`{since}` lies in the future: {shown_time(moment)}",
                hint="`lockgate report --since 12h`",
            )
        told = report(at.registry, names, policy_of(at.registry), moment)
    tell(time_reading(since, moment, now))
    if as_json:
        emit({**told._asdict(), "is_quiet": told.is_quiet})
        return
    show_report(told)


def show_report(told: Report) -> None:
    """Print what happened, system by system, and what is open now."""
    width = min(screen_width(), 100)
    since = f"{shown_time(told.since)} ({ago(told.now - told.since)})"
    if told.is_quiet:
        say(f"nothing happened since {since}", bold=True)
    else:
        say(f"what happened since {since}", bold=True)
    if told.registry:
        say("all systems", bold=True)
        for entry in told.registry:
            _show_entry(entry, told.now, width)
    for one in told.systems:
        _show_system(one, told, width)


def _show_system(one: SystemReport, told: Report, width: int) -> None:
    is_quiet = not one.entries and not one.counts
    if is_quiet and not one.open:
        say(f"{shown(one.system)}: nothing happened, nothing is open")
        return
    say(shown(one.system), bold=True)
    for entry in one.entries:
        _show_entry(entry, told.now, width)
    if is_quiet:
        say("  nothing happened")
    elif one.counts:
        say(f"  besides: {', '.join(_counted(what, n) for what, n in one.counts.items())}")
    if not one.open:
        say("  nothing is open")
        return
    say("  open now")
    for point in one.open:
        first, *others = wrapped(point.text, width - 8)
        say(f"    {mark(point.mark)} {first}")
        for line in others:
            say(f"      {line}")
        if point.command:
            say(f"      `{shown(point.command)}`", dim=True)


def _counted(what: str, number: int) -> str:
    noun, _, verb = what.partition(" ")
    return f"{number} {noun if number == 1 else _PLURALS.get(verb, noun)} {verb}"


def _show_entry(entry: Entry, now: datetime, width: int) -> None:
    text = f"{entry.text} ({entry.actor})"
    first, *others = wrapped(f"open: {text}" if entry.is_open else text, width - 18)
    say(f"  {mark(entry.mark)} {short_time(entry.at, now)}  {first}")
    for line in others:
        say(f"{'':<17}{line}")
