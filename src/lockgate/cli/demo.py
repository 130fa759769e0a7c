"""`lockgate demo`: a registry with a story, told as it happens."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lockgate import wiring
from lockgate.cli.change import show_change
from lockgate.cli.common import (
    SYSTEM,
    asked_system,
    emit,
    json_option,
    mark,
    say,
    tell,
    with_system,
    wrapped,
)
from lockgate.cli.expire import show_verdicts
from lockgate.cli.gate import name_width, show_decision, show_finding
from lockgate.cli.live import show_run
from lockgate.cli.promote import show_promoted
from lockgate.cli.register import show_registered
from lockgate.cli.rehearse import show_rehearsed
from lockgate.cli.review import show_questions
from lockgate.errors import (
    Inconclusive,
    Interrupted,
    LockgateError,
    Refused,
    WaitingForPerson,
)
from lockgate.shown import shown
from lockgate.story.replay import Event, Stage
from lockgate.story.sample import copy_sample


@click.command("demo", short_help="Copy the sample and replay its story with real evals.")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("--no-tui", is_flag=True, help="Print the story, and open no screens.")
@json_option
def demo_command(folder: str | None, no_tui: bool, as_json: bool) -> None:
    """Copy the sample registry into DIR and replay its story through the real loop.

    Two systems, eleven releases, two experiments, a rollback and a rehearsal: every score is
    measured here and now, every decision made by the gate, every approval signed with a key made
    for the occasion.
    """
    where = folder or tempfile.mkdtemp(prefix="lockgate-demo-")
    root = Path(where).expanduser().absolute()
    has_keys = copy_sample(root)
    registry = wiring.create_registry(root, actor="ml-lead")
    try:
        told = []
        scene = 0
        for event in Stage(root, registry).play():
            if isinstance(event.result, LockgateError):
                _check_belongs(event.result)
            if as_json:
                told.append(_body(event))
                continue
            if event.scene != scene:
                scene = event.scene
                say()
                say(f"{scene}. {event.title}", bold=True)
            _tell_event(event)
    except KeyboardInterrupt as stopped:
        raise _cut_short() from stopped
    finally:
        registry.close()
    if as_json:
        emit({"root": root, "signed": has_keys, "events": told})
        return
    say()
    if not has_keys:
        tell("note: ssh-keygen is missing here, so the reviewers' names are only claimed")
    say(f"{mark('pass')} the story is told: look around with")
    say(f"    cd {shown(shlex.quote(str(root)))}")
    say("    lockgate status -s support-desk")
    say("    lockgate tree -s support-desk")
    say("    lockgate diff v3 v4 -s support-desk")


def _check_belongs(error: LockgateError) -> None:
    """Go on only where a refusal is part of the story: not when a person or the disk stopped it."""
    if isinstance(error, Interrupted):
        raise _cut_short() from error
    if not isinstance(error, (Refused, Inconclusive, WaitingForPerson)):
        raise error


def _cut_short() -> Interrupted:
    return Interrupted(
        "stopped: the story is not told to its end",
        hint="begin again in a new folder: `lockgate demo`",
    )


def _body(event: Event) -> dict[str, object]:
    result = event.result
    if isinstance(result, LockgateError):
        result = {"error": result.what, "problems": result.problems, "hint": result.hint}
    elif event.kind == "change":
        result = result.difference.summary()
    return {
        "scene": event.scene,
        "command": event.command,
        "by": event.by,
        "kind": event.kind,
        "version": event.label,
        "expect": event.expect,
        "result": result,
    }


_SYSTEM = re.compile(r" -s ([a-z0-9-]+)")


def _tell_event(event: Event) -> None:
    if event.command:
        say(f"  $ {event.command}", dim=True)
        # What would be typed names the system, and so do the hints that follow.
        click.get_current_context().meta[SYSTEM] = _SYSTEM.findall(event.command)[0]
    if event.kind == "refused":
        error = event.result
        state = "waiting" if error.exit_code == 7 else "fail"
        _wrap(f"{mark(state)} ", f"exit code {error.exit_code}: {error.what}")
        for problem in error.problems:
            _wrap("    ", problem)
        if error.hint:
            _wrap("    hint: ", with_system(error.hint, asked_system()))
    else:
        _TOLD[event.kind](event)


def _wrap(begin: str, text: str) -> None:
    indent = len(click.unstyle(begin))
    for number, line in enumerate(wrapped(text, 79 - indent)):
        say(f"{'' if number else begin}{' ' * indent if number else ''}{line}")


def _tell_decision(event: Event) -> None:
    """Tell a decision: whole when it refuses, in the numbers alone when it passes."""
    decision = event.result
    if not decision.promotable:
        show_decision(decision, event.label)
        return
    say(f"{mark('pass')} gate: {event.label} to {decision.environment} passes", bold=True)
    findings = (*decision.findings, *event.more)
    for finding in findings:
        if finding.numbers is not None or finding.outcome == "waiting":
            show_finding(finding, name_width(findings))


def _tell_word(event: Event) -> None:
    approval = event.result
    how = "signed" if approval.key else "claimed"
    state = "pass" if approval.word == "yes" else "fail"
    say(f"{mark(state)} {approval.signer} says {approval.word} ({how}): {shown(approval.note)}")


def _tell_rollback(event: Event) -> None:
    way_back, generation = event.result.way_back, event.result.generation
    left, to, place = way_back.leaving.label, way_back.to.label, way_back.environment
    say(f"{mark('pass')} {to} is live in {place}  generation {generation}, left {left}", bold=True)
    say(f"    {left} is quarantined and {place} held: nothing brings it back by accident")


def _tell_lift(event: Event) -> None:
    for lifted in event.result:
        _wrap(f"{mark('pass')} ", f"{lifted.what} lifted: {lifted.reason.splitlines()[0]}")


_TOLD: dict[str, Callable[[Event], Any]] = {
    "change": lambda event: show_change(event.result),
    "register": lambda event: show_registered(event.result),
    "evaluate": lambda event: show_run(
        event.result, event.label, event.more.label if event.more else None
    ),
    "gate": _tell_decision,
    "approve": _tell_word,
    "promote": lambda event: show_promoted(event.result),
    "rollback": _tell_rollback,
    "note": lambda event: say(f"{mark('pass')} noted on generation {event.result.generation}"),
    "lift": _tell_lift,
    "expire": lambda event: show_verdicts(event.result, is_done=True),
    "rehearse": lambda event: show_rehearsed(event.more, event.result),
    "review": lambda event: show_questions(event.result, only_bad=True),
}
"""How each step of the story is told."""
