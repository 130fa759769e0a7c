"""`lockgate ready`: the start of a shift: would the way back work right now."""

from __future__ import annotations

import click

from lockgate import wiring
from lockgate.cli.common import (
    asked_system,
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    with_system,
    wrapped,
)
from lockgate.cli.looking import policy_of, screen_width
from lockgate.domain.policy import Environment
from lockgate.domain.release import Finding
from lockgate.errors import UsageMistake
from lockgate.upkeep.ready import is_ready, ready

_WORDS = {"pass": "ok", "fail": "repair", "inconclusive": "look", "skipped": "-"}
_NAME = 17
NOT_READY = 1


@click.command("ready", short_help="Start of a shift: would the way back work right now.")
@click.argument("environment", metavar="ENV")
@system_option
@registry_option
@json_option
def ready_command(environment: str, system: str | None, registry: str | None, as_json: bool) -> int:
    """Ask whether you could roll back right now, and say of each thing how it stands.

    It writes and undoes it, hashes every byte of the way back and of what is published, tries your
    key and this host's, and looks for the hook, room on the disk and what is half done. Exit code
    0: ready; 1: something has to be repaired, and the line says by which command.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        policy = policy_of(at.registry)
        settings = policy.environments.get(environment) if policy else None
        if settings is None:
            used = at.registry.releases.environments(name)
            if environment not in used:
                there = ", ".join(dict.fromkeys([*(policy.environments if policy else ()), *used]))
                raise UsageMistake(
                    f"there is no environment `{environment}`",
                    hint=f"the environments are {there}" if there else "`lockgate policy apply`",
                )
            settings = Environment(environment, "low")
        around = wiring.ready_around(at.root, name, settings)
        found: list[Finding] = []
        for step in ready(at.registry, name, settings, policy, around, actor=at.actor):
            if isinstance(step, Finding):
                found.append(step)
                if not as_json:
                    _show(step)
    is_well = is_ready(found)
    if as_json:
        emit({"system": name, "environment": environment, "ready": is_well, "checks": found})
    else:
        bad = sum(finding.outcome == "fail" for finding in found)
        text = "ready" if is_well else f"not ready: {bad} to repair"
        say(f"{mark('pass' if is_well else 'fail')} {environment} of {name}: {text}", bold=True)
    return 0 if is_well else NOT_READY


def _show(finding: Finding) -> None:
    room = max(min(screen_width(), 120) - _NAME - 12, 40)
    word = _WORDS.get(finding.outcome, finding.outcome)
    first, *others = wrapped(finding.reason, room)
    say(f"{mark(finding.outcome)} {word:<6} {finding.rule:<{_NAME}} {first}")
    for line in others:
        say(f"{'':<{_NAME + 10}}{line}")
    if finding.hint and finding.outcome in ("fail", "inconclusive"):
        for line in wrapped(with_system(finding.hint, asked_system()), room):
            say(f"{'':<{_NAME + 10}}{line}", dim=True)
