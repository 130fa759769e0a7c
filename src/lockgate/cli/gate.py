"""`lockgate gate`: decide whether a version may go to an environment."""

from __future__ import annotations

from collections.abc import Iterable

import click

from lockgate import wiring
from lockgate.cli.common import (
    Desk,
    asked_system,
    desk,
    emit,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
    with_system,
    wrapped,
)
from lockgate.cli.evaluate import choose_candidate
from lockgate.cli.live import follow
from lockgate.domain.policy import Environment
from lockgate.domain.release import Decision, Finding
from lockgate.domain.version import Version
from lockgate.loop.gate import decide, gaps
from lockgate.loop.promote import settled_on, standing
from lockgate.loop.ship import fill_gap
from lockgate.shown import shown
from lockgate.upkeep.closing import open_glass, retro

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 4}
WAITING = 7
WIDTH = 79
NARROWEST_NAME, USUAL_NAME, WIDEST_NAME = 16, 23, 30
"""Between these the column of the rules' names is as wide as the longest of them."""


@click.command("gate", short_help="Decide whether a version may go to an environment.")
@click.argument("version", required=False, metavar="[V]")
@click.option("--to", "environment", required=True, metavar="ENV", help="The environment.")
@click.option("--reverting", metavar="V", help="State that this reverts what is live.")
@click.option("--again", is_flag=True, help="Decide anew; reviewers are then asked anew.")
@click.option("-j", "--jobs", type=click.IntRange(1, 1000), help="Questions at once, if any run.")
@system_option
@registry_option
@json_option
def gate_command(
    version: str | None,
    environment: str,
    reverting: str | None,
    again: bool,
    jobs: int | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> int:
    """Compare a version's runs with the policy and with what is live, and say why.

    Step 4 of 5. It only decides. What is live is evaluated first if it lacks a run on the same
    suite. Exit code 0 pass, 1 fail, 4 inconclusive, 7 passed but waiting for a reviewer.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        candidate = choose_candidate(at, name, version)
        policy = wiring.applied_policy(at.registry)
        target = policy.environment(environment)
        _evaluate_live(at, candidate, environment, jobs)
        decision = decide(
            at.registry,
            candidate,
            environment,
            policy,
            actor=at.actor,
            reverting=reverting,
            again=again,
        )
        broken = open_glass(at.registry, name, environment, candidate.id)
        is_live = settled_on(at.registry, candidate, environment, None) is not None
        if broken is not None:
            extra = retro(at.registry, broken.attempt, candidate, decision, target)
        else:
            # What is live already is not promoted again, so nothing else has to hold for it.
            extra = [] if is_live else standing(at.registry, decision, target, promoter=at.actor)
        apart = wiring.unapplied(at.root, at.registry, name, policy)
    code = exit_code(decision, extra)
    for what in apart:
        tell(f"note: {what}; the gate decides by what is applied: {what_shows(what)}")
    if as_json:
        emit(decision_body(decision, candidate, extra, code))
    else:
        show_decision(decision, candidate.label, extra)
        if broken is not None and code == 0:
            tell(
                f"next: somebody else than {broken.attempt.actor} ends the break-glass: "
                f"`lockgate close {environment} -s {name} -m REASON`"
            )
        elif is_live:
            tell(f"{candidate.label} is live in {environment} already: there is nothing to promote")
        else:
            tell(with_system(next_line(decision, candidate, target, extra), asked_system()))
    return code


def what_shows(what: str) -> str:
    """Return the command that shows how a file differs from what is applied."""
    return "`lockgate suite`" if what.startswith("suite ") else "`lockgate policy`"


def _evaluate_live(at: Desk, candidate: Version, environment: str, jobs: int | None) -> None:
    """Evaluate what is live where the comparison needs it; the candidate's own runs are its step."""
    policy = wiring.applied_policy(at.registry)
    missing = gaps(at.registry, candidate, environment, policy)
    if any(not gap.is_live for gap in missing):
        return
    opener = wiring.runner_opener(at.root, at.registry, jobs)
    for gap in missing:
        label = gap.version.label
        tell(f"{label} is live in {environment} and was never asked these cases: evaluating it now")
        last = follow(fill_gap(at.registry, gap, policy, opener, at.actor), label, None)
        tell(f"{label} on {gap.suite.name}: done, {last.done} answers")


def exit_code(decision: Decision, extra: list[Finding]) -> int:
    """Return the exit code of a decision together with what else has to hold."""
    if not decision.promotable:
        return EXIT_CODES["inconclusive" if decision.outcome == "inconclusive" else "fail"]
    if any(finding.outcome == "fail" for finding in extra):
        return EXIT_CODES["fail"]
    return WAITING if any(finding.outcome == "waiting" for finding in extra) else 0


def decision_body(
    decision: Decision, version: Version, extra: list[Finding], code: int
) -> dict[str, object]:
    """Return a decision as a JSON value."""
    return {
        "decision": decision,
        "version": version.label,
        "standing": extra,
        "exit_code": code,
    }


def show_decision(decision: Decision, label: str, extra: list[Finding] | None = None) -> None:
    """Print a decision with every finding, numbers included."""
    state = {"pass": "pass", "fail": "fail"}.get(decision.outcome, "inconclusive")
    word = {"pass": "passes", "fail": "refused", "inconclusive": "inconclusive"}[decision.outcome]
    say(f"{mark(state)} gate: {label} to {decision.environment} {word}", bold=True)
    findings = (*decision.findings, *(extra or [] if decision.promotable else []))
    width = name_width(findings)
    for finding in findings:
        show_finding(finding, width)


def name_width(findings: Iterable[Finding]) -> int:
    """Return how wide the column of the rules' names has to be."""
    names = [len(shown(finding.rule)) for finding in findings]
    return min(max([NARROWEST_NAME, *names]), WIDEST_NAME)


def show_finding(finding: Finding, width: int = USUAL_NAME) -> None:
    """Print one finding, its reason wrapped in a column, with its hint where it did not pass."""
    name = shown(finding.rule)
    indent = width + 6
    lines = wrapped(finding.reason, WIDTH - indent)
    if len(name) > width:
        say(f"  {mark(finding.outcome)} {name}")
    else:
        say(f"  {mark(finding.outcome)} {name:<{width}}  {lines.pop(0)}")
    for line in lines:
        say(f"{'':<{indent}}{line}")
    if finding.hint and finding.outcome in ("fail", "inconclusive", "waiting"):
        for number, line in enumerate(
            wrapped(with_system(finding.hint, asked_system()), WIDTH - 10)
        ):
            say(f"    {'      ' if number else 'hint: '}{line}", dim=True)


def next_line(
    decision: Decision, version: Version, environment: Environment, extra: list[Finding]
) -> str:
    """Return what to do next, as an exact command."""
    if not decision.promotable:
        hint = next((finding.hint for finding in decision.obstacles() if finding.hint), "")
        return f"next: {hint or 'change the version and register it again'}"
    stopped = [f for f in extra if f.outcome in ("fail", "waiting")]
    if stopped:
        return f"next: {stopped[0].hint}"
    return f"next: `lockgate promote {version.label} --to {environment.name} -s {version.system}`"
