"""`lockgate policy` and `suite`: what is applied, what differs, and making files count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
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
from lockgate.cli.exits import fail
from lockgate.cli.looking import cells, cut, screen_width, table
from lockgate.domain import figures
from lockgate.domain.policy import Environment, Policy, Rule, SystemRules
from lockgate.errors import LockgateError, UsageMistake, WaitingForPerson
from lockgate.loop.apply import (
    Application,
    apply_policy,
    apply_suite,
    misspelt,
    needs_consent,
    policy_doubts,
)
from lockgate.shown import shown

if TYPE_CHECKING:
    from lockgate.workspace.suites import SuiteFile


_WIDTH = 79
_BESIDE_NAMES = 48
"""How many columns of a suite's row are not its names."""
_FILE_STATES = ("applied", "differs", "new", "missing")
_POLICY_HINTS = {
    "differs from what is applied": "`lockgate policy apply` makes the file count",
    "is missing": "`lockgate init` writes it back",
    "cannot be read": "correct it, then `lockgate policy apply`",
}


@click.group(
    "policy",
    short_help="Show the applied policy; `policy apply` makes the file count.",
    invoke_without_command=True,
)
@registry_option
@json_option
@click.pass_context
def policy_command(ctx: click.Context, registry: str | None, as_json: bool) -> None:
    """Show what each environment asks, and whether policy.toml differs from what is applied."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = registry or ctx.obj
        return
    with desk(registry, read_only=True) as at:
        applied = wiring.applied_policy_or_none(at.registry)
        state, trouble = wiring.policy_state(at.root, at.registry)
        doubts = _doubts(at)
    if as_json:
        emit({"file": state, "trouble": trouble, "applied": applied.body() if applied else None})
        return
    if applied is not None:
        _show_policy(applied)
    else:
        say(f"{mark('fail')} no policy is applied")
    if state == "applied":
        say(f"{mark('pass')} policy.toml is what is applied")
    else:
        say(f"{mark('inconclusive')} policy.toml {state}")
        for line in trouble:
            _say_wrapped(line, "    ", "      ")
        tell(f"hint: {_POLICY_HINTS[state]}")
    _tell_doubts(doubts)


@policy_command.command("apply", short_help="Make policy.toml count.")
@registry_option
@json_option
@click.pass_context
def policy_apply_command(ctx: click.Context, registry: str | None, as_json: bool) -> None:
    """Make policy.toml count from here on.

    Where the applied policy has environments with reviewers, this proposes the change and exits
    with 7 until they have approved it; then it applies.
    """
    with desk(registry) as at:
        done = apply_policy_file(at)
        doubts = _doubts(at)
    if as_json or _asked_before(ctx):
        emit(done)
    else:
        _say_applied(done)
    _tell_doubts(doubts)


def _doubts(at: Desk) -> list[str]:
    """Return what in the applied policy cannot mean what it says."""
    policy = wiring.applied_policy_or_none(at.registry)
    if policy is None:
        return []
    return policy_doubts(at.registry, policy, _folder_systems(at))


def _folder_systems(at: Desk) -> list[str]:
    """Return the systems that have a folder: they are known before they are registered."""
    return [name for name in wiring.folders_by_system(at.root)[0] if name]


def _tell_doubts(doubts: list[str]) -> None:
    for doubt in doubts:
        for number, line in enumerate(wrapped(doubt, _WIDTH - 6)):
            tell(f"{'      ' if number else 'note: '}{line}")


def _asked_before(ctx: click.Context) -> bool:
    """Tell whether `--json` stood between the group and `apply`."""
    return bool(ctx.parent and ctx.parent.params.get("as_json"))


def apply_policy_file(at: Desk) -> Application:
    """Apply the policy file of a registry's folder."""
    from lockgate.workspace.policies import read_policy

    file = read_policy(at.root)
    return apply_policy(
        at.registry,
        file.policy,
        file.data,
        file.signers,
        actor=at.actor,
        signing=wiring.signing(),
        folders=_folder_systems(at),
    )


@click.group(
    "suite",
    short_help="Show the suites; `suite apply` makes the files count.",
    invoke_without_command=True,
)
@system_option
@registry_option
@json_option
@click.pass_context
def suite_command(
    ctx: click.Context, system: str | None, registry: str | None, as_json: bool
) -> None:
    """List the suites that count, and whether the files below suites/ differ from them."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = registry or ctx.obj
        return
    with desk(registry, read_only=True) as at:
        states = wiring.suite_states(at.root, at.registry, system)
        if system is not None and not states:
            wiring.choose_system(at.registry, system)
    if as_json:
        emit(states)
        return
    _show_suites(states)
    if not states:
        say("there is no suite yet")
        tell("next: write suites/NAME.toml with its cases, then `lockgate suite apply`")
    elif any(state["file"] in ("new", "differs") for state in states):
        tell("hint: `lockgate suite apply` makes the files count")
    elif any(state["file"] not in _FILE_STATES for state in states):
        tell("hint: correct the file, then `lockgate suite apply`")


def _show_suites(states: Sequence[dict[str, Any]]) -> None:
    """Print a row a suite, and below them what is wrong with files that cannot be read."""
    names = max((cells(state["system"]) + cells(state["name"]) for state in states), default=0)
    room = screen_width() - _BESIDE_NAMES
    most = room if names <= room else room // 2
    rows = [
        (
            cut(state["system"], most),
            cut(state["name"], most),
            "-" if state["cases"] is None else str(state["cases"]),
            (state["digest"] or "-")[:8],
            state["file"] if state["file"] in _FILE_STATES else "cannot be read",
        )
        for state in states
    ]
    head = [("system", "suite", "cases", "digest", "file")] if rows else []
    for line in table([*head, *rows], right=(2,)):
        say(line)
    for state in states:
        if state["file"] not in _FILE_STATES:
            _say_wrapped(state["file"], f"{mark('inconclusive')} ", "  ")


@suite_command.command("apply", short_help="Make the suite files count.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@registry_option
@json_option
@click.pass_context
def suite_apply_command(
    ctx: click.Context, names: tuple[str, ...], registry: str | None, as_json: bool
) -> int:
    """Make suite files count from here on; all of them, or those named.

    A new suite applies at once. A change to one that counts waits for reviewers where the policy
    has any, and voids runs made with the old cases.
    """
    as_json = as_json or _asked_before(ctx)
    done: list[Application] = []
    waiting: list[LockgateError] = []
    with desk(registry) as at:
        files = _read_all(at, names or tuple(wiring.suite_files(at.root)))
        _check_systems(at, files)
        for file in files:
            try:
                done.append(_apply_suite_file(at, file))
            except WaitingForPerson as error:
                waiting.append(error)
    if waiting:
        if not as_json:
            for application in done:
                _say_applied(application)
        problem = WaitingForPerson(
            "; ".join(error.what for error in waiting),
            problems=[line for error in waiting for line in error.problems],
            hint=waiting[0].hint,
        )
        return fail(problem, as_json=as_json, data={"applied": done})
    if as_json:
        emit(done)
    elif not done:
        say("there is no suite file in suites/")
    else:
        for application in done:
            _say_applied(application)
    return 0


def apply_new_suites(at: Desk, system: str, *, quietly: bool = False) -> None:
    """Apply suites under names that count nowhere yet, where nobody has to agree to that.

    Args:
        at: The registry, and who applies.
        system: Only suites of this system.
        quietly: Leave it to the caller to tell what was applied.
    """
    policy = wiring.applied_policy_or_none(at.registry)
    known = at.registry.applied.suites(system)
    new = [
        name
        for name in wiring.suite_files(at.root)
        if name not in known and wiring.suite_file_system(at.root, name) == system
    ]
    for name in list(new):
        if policy is not None and needs_consent(at.registry, policy, system, name):
            new.remove(name)
            tell(f"note: suite {name} counts once reviewers agree: `lockgate suite apply {name}`")
    for file in _read_all(at, new):
        done = _apply_suite_file(at, file)
        if not quietly:
            _say_applied(done, to_stderr=True)


def _read_all(at: Desk, names: Sequence[str]) -> list[SuiteFile]:
    """Read suite files, all of them before the first is applied; every mistake is told."""
    from lockgate.workspace.suites import read_suite

    files, mistakes = [], []
    for name in names:
        try:
            files.append(read_suite(at.root, name))
        except LockgateError as error:
            mistakes.append(error)
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise UsageMistake(
            f"{len(mistakes)} suite files cannot be read",
            problems=[line for error in mistakes for line in (error.what, *error.problems)],
            hint="correct them, then `lockgate suite` says what is left",
        )
    return files


def _check_systems(at: Desk, files: Sequence[SuiteFile]) -> None:
    """Refuse suites of systems that nobody wrote: applying one would make it up."""
    known = [*at.registry.versions.systems(), *_folder_systems(at)]
    strange = [file for file in files if file.suite.system not in known]
    if strange:
        near = {misspelt(file.suite.system, known) for file in strange}
        meant = [f"did you mean `{name}`?" for name in sorted(filter(None, near))]
        raise UsageMistake(
            "there is no system "
            + ", ".join(
                f"`{file.suite.system}`, which suites/{file.suite.name}.toml is for"
                for file in strange
            ),
            hint=" ".join(meant)
            or "write its lockgate.toml first: below the registry's folder, in systems/NAME/",
        )


def _apply_suite_file(at: Desk, file: SuiteFile) -> Application:
    return apply_suite(
        at.registry,
        file.suite,
        file.scorer_files,
        actor=at.actor,
        signing=wiring.signing(),
    )


def _say_applied(done: Application, *, to_stderr: bool = False) -> None:
    what = "applied" if done.is_new else "is applied already"
    line = f"{mark('pass')} {done.name} {what}  {done.digest[:8]}"
    (tell if to_stderr else say)(line)


def _show_policy(policy: Policy) -> None:
    for environment in policy.environments.values():
        say(f"{environment.name}  {environment.stakes} stakes", bold=True)
        for line in _asks(environment):
            _say_wrapped(line, "    ", "      ")
        for name, rules in environment.systems.items():
            say(f"    {shown(name)}")
            _show_rules(rules)


def _say_wrapped(text: str, first: str, further: str) -> None:
    for number, line in enumerate(wrapped(text, _WIDTH - len(further))):
        say(f"{further if number else first}{line}")


def _show_rules(rules: SystemRules) -> None:
    rows = [(f"{rule.suite} {rule.metric}", _limits(rule)) for rule in rules.rules]
    rows.append(("failed cases", f"at most {rules.max_errors} in a run"))
    width = max(len(shown(name)) for name, _ in rows)
    for name, limits in rows:
        lines = wrapped(limits, max(_WIDTH - width - 10, 30))
        say(f"        {shown(name):<{width}}  {lines[0]}")
        for line in lines[1:]:
            say(f"        {'':<{width}}  {line}")


def _asks(environment: Environment) -> list[str]:
    from lockgate.domain.times import duration_text

    lines = [f"a decision stands for {duration_text(environment.max_age)}"]
    if environment.rehearsal:
        lines.append(f"rehearsals happen here, for {environment.protects or 'no other'}")
    if environment.requires:
        lines.append(f"requires a promotion to {', '.join(environment.requires)} first")
    if environment.approvals:
        claimed = ", a claimed name counts" if environment.accept_claimed else ""
        lines.append(
            f"{environment.approvals} of {', '.join(environment.reviewers)} must approve{claimed}"
        )
    for freeze in environment.freeze:
        lines.append(f"frozen {freeze.start} to {freeze.until} {freeze.tz}: {freeze.reason}")
    return lines


def _limits(rule: Rule) -> str:
    parts = []
    if rule.min is not None:
        parts.append(f"at least {figures.metric(rule.metric, rule.min)}")
    if rule.max is not None:
        parts.append(f"at most {figures.metric(rule.metric, rule.max)}")
    if rule.max_drop is not None:
        parts.append(f"drop at most {figures.metric(rule.metric, rule.max_drop)}")
    text = ", ".join(parts)
    if rule.confidence is not None:
        text += f" ({rule.confidence:.0%} sure, else {rule.on_inconclusive})"
    return text
