"""`lockgate policy` and `suite`: what is applied, what differs, and making files count."""

from __future__ import annotations

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    columns,
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
)
from lockgate.domain.policy import Environment, Policy, Rule
from lockgate.errors import LockgateError
from lockgate.loop.apply import Application, apply_policy, apply_suite
from lockgate.shown import shown


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
            say(f"    {shown(line)}")
        tell(f"hint: {_POLICY_HINTS[state]}")


@policy_command.command("apply", short_help="Make policy.toml count.")
@registry_option
@json_option
def policy_apply_command(registry: str | None, as_json: bool) -> None:
    """Make policy.toml count from here on.

    Where the applied policy has environments with reviewers, this proposes the change and exits
    with 7 until they have approved it; then it applies.
    """
    with desk(registry) as at:
        done = apply_policy_file(at)
    if as_json:
        emit(done)
    else:
        _say_applied(done)


def apply_policy_file(at: Desk) -> Application:
    """Apply the policy file of a registry's folder."""
    from lockgate.workspace.policies import read_policy

    file = read_policy(at.root)
    return apply_policy(
        at.registry,
        file.policy,
        file.data,
        file.signers,
        wiring.applied_policy_or_none(at.registry),
        actor=at.actor,
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
    if as_json:
        emit(states)
        return
    rows = [
        (state["system"], state["name"], state["cases"], (state["digest"] or "")[:8], state["file"])
        for state in states
    ]
    for line in columns(rows, right=(2,)):
        say(line)
    if any(state["file"] not in ("applied",) for state in states):
        tell("hint: `lockgate suite apply` makes the files count")


@suite_command.command("apply", short_help="Make the suite files count.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@registry_option
@json_option
def suite_apply_command(names: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Make suite files count from here on; all of them, or those named.

    A new suite applies at once. A change to one that counts waits for reviewers where the policy
    has any, and voids runs made with the old cases.
    """
    with desk(registry) as at:
        done, waiting = [], []
        for name in names or tuple(wiring.suite_files(at.root)):
            try:
                done.append(_apply_suite_file(at, name))
            except LockgateError as error:
                if error.exit_code != 7:
                    raise
                waiting.append(error)
    if as_json:
        emit(done)
    else:
        for application in done:
            _say_applied(application)
    if waiting:
        raise waiting[0]


def apply_new_suites(at: Desk, system: str) -> None:
    """Apply suites under names that count nowhere yet: they only add to what is asked."""
    for name in wiring.suite_files(at.root):
        if wiring.suite_file_system(at.root, name) != system:
            continue
        if name in at.registry.applied.suites(system):
            continue
        _say_applied(_apply_suite_file(at, name), to_stderr=True)


def _apply_suite_file(at: Desk, name: str) -> Application:
    from lockgate.workspace.suites import read_suite

    file = read_suite(at.root, name)
    return apply_suite(
        at.registry,
        file.suite,
        file.scorer_files,
        wiring.applied_policy_or_none(at.registry),
        actor=at.actor,
    )


def _say_applied(done: Application, *, to_stderr: bool = False) -> None:
    what = "applied" if done.is_new else "is applied already"
    line = f"{mark('pass')} {done.name} {what}  {done.digest[:8]}"
    (tell if to_stderr else say)(line)


def _show_policy(policy: Policy) -> None:
    for environment in policy.environments.values():
        say(f"{environment.name}  {environment.stakes} stakes", bold=True)
        for line in _asks(environment):
            say(f"    {shown(line)}")


def _asks(environment: Environment) -> list[str]:
    from lockgate.domain.times import duration_text

    lines = [f"a decision stands for {duration_text(environment.max_age)}"]
    if environment.requires:
        lines.append(f"requires a promotion to {', '.join(environment.requires)} first")
    if environment.approvals:
        claimed = ", a claimed name counts" if environment.accept_claimed else ""
        lines.append(
            f"{environment.approvals} of {', '.join(environment.reviewers)} must approve{claimed}"
        )
    for freeze in environment.freeze:
        lines.append(f"frozen {freeze.start} to {freeze.until} {freeze.tz}: {freeze.reason}")
    for name, rules in environment.systems.items():
        lines += [f"{name}: {_rule_text(rule)}" for rule in rules.rules]
        lines.append(f"{name}: at most {rules.max_errors} failed cases in a run")
    return lines


def _rule_text(rule: Rule) -> str:
    parts = [f"{rule.suite} {rule.metric}"]
    if rule.min is not None:
        parts.append(f"at least {rule.min:g}")
    if rule.max is not None:
        parts.append(f"at most {rule.max:g}")
    if rule.max_drop is not None:
        parts.append(f"may drop by {rule.max_drop:g}")
    if rule.confidence is not None:
        parts.append(f"shown with {rule.confidence:.0%} confidence")
        parts.append(f"else {rule.on_inconclusive}")
    return ", ".join(parts)
