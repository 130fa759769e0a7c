"""`lockgate init` and `demo`: a registry to begin with, and one with a story."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.applied import apply_new_suites, apply_policy_file
from lockgate.cli.change import show_change
from lockgate.cli.common import Desk, emit, json_option, mark, say, tell
from lockgate.cli.gate import name_width, show_decision, show_finding
from lockgate.cli.live import show_run
from lockgate.cli.promote import show_promoted
from lockgate.cli.register import show_registered
from lockgate.domain.version import system_name_problem
from lockgate.errors import LockgateError, UsageMistake
from lockgate.shown import shown
from lockgate.story.replay import Event, Stage
from lockgate.story.sample import copy_sample
from lockgate.story.starter import write_starter


@click.command("init", short_help="Make a registry with a small system that runs.")
@click.argument("folder", default=".", metavar="[DIR]")
@click.option("-s", "--system", default="first-system", metavar="NAME", help="The system's name.")
@click.option("--owner", metavar="NAME", help="Who answers for it; else you.")
@json_option
def init_command(folder: str, system: str, owner: str | None, as_json: bool) -> None:
    """Make a registry in DIR, with a policy, a small system and a suite that judges it.

    Files that are there already are left alone. The loop can be walked at once: `lockgate ship`.
    """
    problem = system_name_problem(system)
    if problem:
        raise UsageMistake(f"system name `{system}` {problem}", hint="pass -s NAME")
    root = Path(folder).expanduser().absolute()
    actor = wiring.actor()
    registry = wiring.create_registry(root, actor=actor)
    try:
        written = write_starter(root, system, owner or actor)
        at = Desk(root, registry, actor)
        apply_policy_file(at)
        if any("suites" in path.parts for path in written):
            apply_new_suites(at, system)
    finally:
        registry.close()
    if as_json:
        emit({"root": root, "written": [str(path.relative_to(root)) for path in written]})
        return
    say(f"{mark('pass')} registry made in {shown(root)}")
    for path in written:
        say(f"    {shown(path.relative_to(root))}")
    tell(
        f'next: cd {shown(folder)}, then `lockgate ship -s {system} --to staging -m "First version"`'
    )


@click.command("demo", short_help="Copy the sample and replay its story with real evals.")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("--no-tui", is_flag=True, help="Print the story instead of opening the screens.")
@json_option
def demo_command(folder: str | None, no_tui: bool, as_json: bool) -> None:
    """Copy the sample registry into DIR and replay its story through the real loop.

    Two systems, nine releases, two experiments: every score is measured here and now, every
    decision made by the gate, every approval signed with a key made for the occasion.
    """
    where = folder or tempfile.mkdtemp(prefix="lockgate-demo-")
    root = Path(where).expanduser().absolute()
    has_keys = copy_sample(root)
    registry = wiring.create_registry(root, actor="ml-lead")
    try:
        told = []
        scene = 0
        for event in Stage(root, registry).play():
            if as_json:
                told.append(_body(event))
                continue
            if event.scene != scene:
                scene = event.scene
                say()
                say(f"{scene}. {event.title}", bold=True)
            _tell_event(event)
    finally:
        registry.close()
    if as_json:
        emit({"root": root, "signed": has_keys, "events": told})
        return
    say()
    if not has_keys:
        tell("note: ssh-keygen is missing here, so the reviewers' names are only claimed")
    say(f"{mark('pass')} the story is in {shown(root)}: look around with")
    say(f"    cd {shown(root)}")
    say("    lockgate status -s support-desk")
    say("    lockgate tree -s support-desk")
    say("    lockgate diff v3 v4 -s support-desk")


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


def _tell_event(event: Event) -> None:
    if event.command:
        say(f"  $ {event.command}", dim=True)
    if event.kind == "refused":
        error = event.result
        state = "waiting" if error.exit_code == 7 else "fail"
        say(f"{mark(state)} {shown(error.what)}  (exit code {error.exit_code})")
        for problem in error.problems:
            say(f"    {shown(problem)}")
        if error.hint:
            say(f"    hint: {shown(error.hint)}", dim=True)
    elif event.kind == "change":
        show_change(event.result)
    elif event.kind == "register":
        show_registered(event.result)
    elif event.kind == "evaluate":
        show_run(event.result, event.label, event.more.label if event.more else None)
    elif event.kind == "gate":
        _tell_decision(event)
    elif event.kind == "approve":
        approval = event.result
        how = "signed" if approval.key else "claimed"
        state = "pass" if approval.word == "yes" else "fail"
        say(f"{mark(state)} {approval.signer} says {approval.word} ({how}): {shown(approval.note)}")
    elif event.kind == "promote":
        show_promoted(event.result)


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
