"""`lockgate expire`: the contents of old experiments and rehearsals go, their records never."""

from __future__ import annotations

from datetime import date, datetime

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    confirm,
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
from lockgate.domain.policy import DEFAULT_KEEP
from lockgate.errors import UsageMistake
from lockgate.shown import shown
from lockgate.upkeep.retention import Plan, Verdict, check_clock, expire, plan, sweep, told

_WIDTH = 79


@click.command("expire", short_help="Remove the contents of old experiments; records stay.")
@click.argument("versions", metavar="[V]...", nargs=-1)
@click.option("-m", "--reason", metavar="REASON", help="Why; required for named versions.")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--today", metavar="DAY", help="The day it is, where the clock made a jump.")
@system_option
@registry_option
@json_option
def expire_command(
    versions: tuple[str, ...],
    reason: str | None,
    dry_run: bool,
    yes: bool,
    today: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Remove the contents of experiments and rehearsals that nobody used for `[experiments] keep`.

    Their files and answers go; records, scores and digests stay. Kept is what a release descends
    from or shares, what is live, and what has an open run. Named versions go whatever their age,
    for a reason. Without a terminal it needs --yes.
    """
    if versions and not (reason or "").strip() and not dry_run:
        raise UsageMistake(
            "contents that go before their time need a reason",
            hint=f"say why: `lockgate expire {' '.join(versions)} -m REASON`",
        )
    if reason is not None and not versions:
        raise UsageMistake(
            "a reason belongs to versions that are named; age is the reason of all others",
            hint="name them: `lockgate expire V -m REASON`, or leave -m out",
        )
    with desk(registry, read_only=dry_run) as at:
        name = wiring.choose_system(at.registry, system)
        policy = wiring.applied_policy_or_none(at.registry)
        keep = policy.experiments_keep if policy else DEFAULT_KEEP
        named = None
        if versions:
            named = [wiring.choose_version(at.registry, name, text) for text in versions]
            named = list({version.id: version for version in named}.values())
        else:
            check_clock(at.registry, keep, _day(today))
        found = plan(at.registry, name, keep, named=named)
        if not dry_run:
            sweep(at.registry)
            if found.going:
                if not yes:
                    _ask(found, versions, reason, today)
                found = _done(at, found, reason)
    if as_json:
        emit(
            {"system": name, "is_done": not dry_run, "versions": [_body(v) for v in found.verdicts]}
        )
        return
    _show(found, is_done=not dry_run)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError as error:
        raise UsageMistake(
            f"`{shown(text)}` is not a day", hint="write it like --today 2026-08-21"
        ) from error


def _ask(found: Plan, versions: tuple[str, ...], reason: str | None, today: str | None) -> None:
    """Have a person confirm what goes; every line of it is shown first."""
    for verdict in found.verdicts:
        click.echo(shown(told(verdict, is_done=False)), err=True)
    import shlex

    words = ["expire", *versions, *(["-m", reason] if reason else [])]
    words += ["--today", today] if today else []
    confirm(
        "remove these contents for good?",
        refusal="nobody is there to confirm that contents go; nothing was removed",
        hint=f"`lockgate {shlex.join([*words, '-s', found.system, '--yes'])}`",
    )


def _done(at: Desk, found: Plan, reason: str | None) -> Plan:
    done = {
        v.version.id: v for v in expire(at.registry, found, actor=at.actor, reason=reason).verdicts
    }
    verdicts = tuple(done.get(verdict.version.id, verdict) for verdict in found.verdicts)
    return Plan(found.system, found.keep, found.is_named, verdicts)


def show_verdicts(found: Plan, *, is_done: bool) -> None:
    """Print what went, what stays, and why."""
    for verdict in found.verdicts:
        glyph = "skipped" if verdict.kept else "pass"
        first, *others = wrapped(told(verdict, is_done=is_done), _WIDTH - 2)
        say(f"{mark(glyph)} {first}")
        for line in others:
            say(f"  {line}")


def _show(found: Plan, *, is_done: bool) -> None:
    show_verdicts(found, is_done=is_done)
    if not found.verdicts:
        say(f"`{found.system}` has no experiment or rehearsal with contents")
    elif not found.going:
        tell("nothing is to go")
    elif is_done:
        tell("records, scores and digests stay: `lockgate show V` still tells everything")


def _body(verdict: Verdict) -> dict[str, object]:
    return {
        "label": verdict.version.label,
        "version": verdict.version.id,
        "track": verdict.version.track,
        "expired": verdict.kept is None,
        "kept": verdict.kept,
        "last_used": verdict.last_used,
        "files": list(verdict.files),
        "answers": verdict.answers,
        "shared": [{"with": who, "files": count} for who, count in verdict.shared],
    }
