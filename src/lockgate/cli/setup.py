"""`lockgate init` and `demo`: a registry to begin with, and one with a story."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from lockgate import wiring
from lockgate.cli.applied import apply_new_suites, apply_policy_file
from lockgate.cli.change import show_change
from lockgate.cli.common import (
    SYSTEM,
    Desk,
    asked_system,
    emit,
    json_option,
    mark,
    say,
    tell,
    with_system,
    wrapped,
)
from lockgate.cli.gate import name_width, show_decision, show_finding
from lockgate.cli.live import show_run
from lockgate.cli.promote import show_promoted
from lockgate.cli.register import show_registered
from lockgate.domain.version import person_problem, system_name_problem
from lockgate.errors import (
    Inconclusive,
    Interrupted,
    LockgateError,
    Refused,
    RegistryTrouble,
    UsageMistake,
    WaitingForPerson,
)
from lockgate.ports import Registry
from lockgate.shown import shown
from lockgate.story.replay import Event, Stage
from lockgate.story.sample import copy_sample
from lockgate.story.starter import write_starter


@click.command("init", short_help="Make a registry with a small system that runs.")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("-s", "--system", metavar="NAME", help="The system's name; else first-system.")
@click.option("--owner", metavar="NAME", help="Who answers for it; else you.")
@json_option
def init_command(folder: str | None, system: str | None, owner: str | None, as_json: bool) -> None:
    """Make a registry in DIR, with a policy, a small system and a suite that judges it.

    Files that are there already are left alone. In a registry it writes what is missing, the
    policy as it is applied. The loop can be walked at once: `lockgate ship`.
    """
    root = Path(folder).expanduser().absolute() if folder else _nearest_root()
    actor = wiring.actor()
    owner = owner or actor
    name_problem = system_name_problem(system) if system is not None else None
    if name_problem:
        raise UsageMistake(f"system name `{system}` {name_problem}", hint="pass -s NAME")
    owner_problem = person_problem(owner)
    if owner_problem:
        raise UsageMistake(f"owner `{owner}` {owner_problem}", hint="pass --owner NAME")
    is_new, registry = _made_or_opened(root, actor)
    try:
        known = registry.versions.systems()
        name = system or _only_system(root, known) or "first-system"
        written = _restore_policy(root, registry)
        if not any(registry.versions.page(one, limit=1) for one in known):
            written += write_starter(root, name, owner)
        at = Desk(root, registry, actor)
        applied = []
        if wiring.applied_policy_or_none(registry) is None:
            apply_policy_file(at)
            applied.append("policy applied")
        if is_new:
            apply_new_suites(at, name, quietly=True)
            applied += [
                f"suite {suite.name} applied: {suite.cases} cases"
                for suite in registry.applied.suites(name).values()
            ]
        has_suite = bool(registry.applied.suites(name))
    finally:
        registry.close()
    if not is_new and not written:
        raise Refused(
            f"there is a registry in `{root}` already, and nothing is missing",
            hint=f"`lockgate status --registry {shlex.quote(str(root))}`",
        )
    paths = [str(path.relative_to(root)) for path in written]
    if as_json:
        emit({"root": root, "is_new": is_new, "written": paths})
        return
    what = "registry made in" if is_new else "written into the registry's folder"
    say(f"{mark('pass')} {what} {shown(root)}")
    for line in applied:
        say(f"{mark('pass')} {shown(line)}")
    for path in paths:
        say(f"    {shown(path)}")
    if is_new:
        there = f"`cd {shown(shlex.quote(folder))}`, then " if folder and root != Path.cwd() else ""
        then = f'`lockgate ship -s {name} --to staging -m "First version"`'
        if not has_suite:
            then = "write suites/NAME.toml with cases, then `lockgate suite apply`"
        tell(f"next: {there}{then}")


def _nearest_root() -> Path:
    """Return the folder of the registry one is in, else the folder one is in."""
    try:
        return wiring.find_root(None)
    except RegistryTrouble:
        if os.environ.get(wiring.REGISTRY_VARIABLE):
            raise
        return Path.cwd()


def _only_system(root: Path, known: Sequence[str]) -> str | None:
    names = {*known, *wiring.folders_by_system(root)[0]} - {""}
    return names.pop() if len(names) == 1 else None


def _made_or_opened(root: Path, actor: str) -> tuple[bool, Registry]:
    if (root / ".lockgate" / "registry.db").is_file():
        return False, wiring.open_registry(root)
    if (root / "policy.toml").exists():
        from lockgate.workspace.policies import read_policy

        read_policy(root)  # a mistake in it shows before anything is made
    return True, wiring.create_registry(root, actor=actor)


def _restore_policy(root: Path, registry: Registry) -> list[Path]:
    """Write the policy that is applied, and its signers files, where they are missing."""
    applied, policy = registry.applied.policy(), wiring.applied_policy_or_none(registry)
    if applied is None or policy is None:
        return []
    contents = {root / "policy.toml": applied.policy}
    for environment in policy.environments.values():
        if environment.signers and environment.signers_digest:
            contents[root / environment.signers] = environment.signers_digest
    missing = {path: digest for path, digest in contents.items() if not path.exists()}
    for path, digest in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(registry.objects.read(digest))
    return list(missing)


@click.command("demo", short_help="Copy the sample and replay its story with real evals.")
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("--no-tui", is_flag=True, help="Print the story, and open no screens.")
@json_option
def demo_command(folder: str | None, no_tui: bool, as_json: bool) -> None:
    """Copy the sample registry into DIR and replay its story through the real loop.

    Two systems, ten releases, two experiments: every score is measured here and now, every
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
