"""`lockgate rehearse`: deploy a worse version on purpose, and see whether it is noticed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

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
from lockgate.cli.deploying import rollback_words, tell_event
from lockgate.cli.gate import show_finding
from lockgate.cli.live import PIPE_EVERY_S
from lockgate.domain import figures
from lockgate.domain.policy import Policy
from lockgate.domain.release import Decision, Finding
from lockgate.loop.deployment import DeployEvent, tell_each
from lockgate.ports import Target
from lockgate.shown import shown
from lockgate.upkeep.operators import OPERATORS
from lockgate.upkeep.rehearse import (
    Asked,
    Plan,
    Rehearsed,
    Step,
    ask_the_gate,
    is_about_a_score,
    plan_rehearsal,
    rehearse,
    told_by,
)
from lockgate.upkeep.restore import Restored, Unfinished, restore, unfinished

WIDTH = 79
_NAME, _TIME = 12, 8
_STATES = {"caught": "pass", "missed": "fail", "skipped": "skipped"}


def _operators() -> str:
    return ", ".join(operator.name for operator in OPERATORS)


@click.command(
    "rehearse", short_help="See whether the gate notices a version made worse on purpose."
)
@click.argument("environment", metavar="ENV")
@click.option("--operator", metavar="NAME", help=f"How it is made worse: {_operators()}.")
@click.option("--gate-only", is_flag=True, help="Try every operator on the gate; deploy nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-j", "--jobs", type=click.IntRange(1, 1000), help="How many questions at once.")
@system_option
@registry_option
@json_option
def rehearse_command(
    environment: str,
    operator: str | None,
    gate_only: bool,
    yes: bool,
    jobs: int | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> int:
    """Make what is live in ENV worse on purpose, and see that the gate notices and it comes back.

    The worse version is deployed, evaluated and judged by the rules of the environment that ENV
    protects; then what was live is put back, and every byte of it verified. Without --operator it
    is the one that was never tried, or not for the longest time. A rehearsal that was cut off is
    taken back first. Exit code 0 when it was detected, 1 when it was not. Without a terminal it
    needs --yes.

    --gate-only deploys nothing and tries every operator: exit code 0 when all were caught.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        policy = wiring.applied_policy(at.registry)
        if gate_only:
            return _gate_only(at, name, environment, policy, operator, jobs, as_json)
        target = wiring.target(at.root, name, policy.environment(environment))
        left_over = unfinished(at.registry, name, environment, target)
        if left_over is not None:
            restored = take_back(at, left_over, target, yes=yes, as_json=as_json)
            tell(f"{restored.version.label} is live again; now the rehearsal that was asked for")
        plan = plan_rehearsal(at.registry, name, environment, policy, operator=operator)
        if not yes:
            _ask(plan)
        opener = wiring.runner_opener(at.root, at.registry, jobs)
        steps = rehearse(at.registry, plan, policy, opener, target, actor=at.actor)
        done = _walked(steps, plan, quiet=as_json)
    if as_json:
        emit(_body(plan, done))
    else:
        show_rehearsed(plan, done)
    return 0 if done.is_detected else 1


def _ask(plan: Plan) -> None:
    name = plan.environment.name
    say(
        f"rehearse {plan.system} {name}: {plan.version.label} is made worse and put back",
        bold=True,
    )
    _line("worse", f"{plan.operator.name}: {plan.worse.words}")
    suites = ", ".join(suite.name for suite in plan.suites)
    _line("judged", f"by the rules of {plan.protects}, on {suites}")
    _line("then", f"{plan.version.label} is live again and verified; nothing is held")
    for skipped, why in plan.skipped:
        _line("skipped", f"{skipped}: {why}")
    confirm(
        "rehearse?",
        refusal=f"nobody is there to confirm the rehearsal; nothing was changed in {name}",
        hint=f"`lockgate rehearse {name} -s {plan.system} --yes`",
    )


def _line(name: str, text: str) -> None:
    for number, line in enumerate(wrapped(text, WIDTH - _NAME - 2)):
        say(f"  {'' if number else name:<{_NAME - 2}}  {line}")


def take_back(
    at: Desk,
    found: Unfinished,
    target: Target,
    *,
    yes: bool,
    as_json: bool,
    forced: bool = False,
    reason: str | None = None,
    incident: str | None = None,
) -> Restored:
    """End a rehearsal that was cut off, and tell it."""
    name, system = found.environment, found.system
    what = (
        f"the rehearsal {found.worse.label} in {name} of {shown(found.deployment.attempt.actor)} "
        "was cut off"
    )
    if not yes:
        _line("cut off", what)
        _line("back", f"{found.to.label} is put back and verified")
        confirm(
            "put it back?",
            refusal=f"{what}; nobody is there to confirm that {found.to.label} is put back",
            hint=f"`{rollback_words(name, system, reason=reason, incident=incident)}`",
        )
    ended: list[Restored] = []
    began_s = time.monotonic()

    def hear(event: DeployEvent | Restored) -> None:
        if isinstance(event, Restored):
            ended.append(event)
        elif not as_json:
            tell_event(event)

    events = restore(
        at.registry,
        found,
        target,
        actor=at.actor,
        forced=forced,
        reason=reason,
        incident=incident,
    )
    tell_each(events, hear)
    (restored,) = ended  # or it had raised
    if not as_json:
        _row(
            "pass",
            "taken back",
            f"{what}; {restored.version.label} is live",
            time.monotonic() - began_s,
        )
        _row("pass", "verified", _verified_words(restored), time.monotonic() - began_s)
    return restored


def _walked(steps: Iterator[Step], plan: Plan, *, quiet: bool) -> Rehearsed:
    """Show each step as it comes, and hand Ctrl-C to the rehearsal, which puts things back."""
    assert isinstance(steps, Generator)
    done: Rehearsed | None = None
    shown_steps = _Shown(plan.environment.name, quiet)
    with closing(steps):
        try:
            for step in steps:
                if step.name == "done":
                    done = step.result
                shown_steps.show(step)
        except KeyboardInterrupt as stopped:
            steps.throw(stopped)
            raise
    assert done is not None  # a rehearsal gives its end, or raises
    return done


class _Shown:
    """Prints steps line by line, and a run that takes its time every few seconds."""

    def __init__(self, environment: str, quiet: bool) -> None:
        self._environment = environment
        self._quiet = quiet
        self._told_s = time.monotonic()
        self._label = ""

    def show(self, step: Step) -> None:
        """Print one step."""
        if self._quiet:
            return
        if step.name == "registered":
            registered = step.result
            self._label = registered.version.label
            again = "" if registered.is_new else ", as in an earlier rehearsal"
            _row(
                "pass",
                "registered",
                f"{self._label} from {registered.parent.label}: {registered.version.reason}{again}",
                step.elapsed_s,
            )
        elif step.name == "evaluated":
            self._run(step, *step.result)
        elif step.name in ("deployed", "reverted"):
            self._deploy(step, step.result)
        elif step.name == "judged":
            _row(*_judged(step.result), step.elapsed_s)
        elif step.name == "verified":
            state = "fail" if step.result.problems else "pass"
            _row(state, "verified", _verified_words(step.result), step.elapsed_s)

    def _run(self, step: Step, version: Any, progress: Any) -> None:
        scores = " · ".join(
            f"{shown(tally.metric)} {figures.score(tally.value)}" for tally in progress.tallies
        )
        if progress.end is not None:
            _row(
                "pass",
                "evaluated",
                f"{version.label} on {shown(progress.suite)}: {scores}",
                step.elapsed_s,
            )
        elif time.monotonic() - self._told_s >= PIPE_EVERY_S:
            self._told_s = time.monotonic()
            tell(
                f"    {version.label} on {shown(progress.suite)}: "
                f"{progress.done}/{progress.total} · {scores or 'no score yet'}"
            )

    def _deploy(self, step: Step, event: DeployEvent) -> None:
        tell_event(event)
        if event.kind != "settled":
            return
        if step.name == "deployed":
            words = f"{self._label} in {self._environment}, generation {event.generation}"
            _row("pass", "live", words, step.elapsed_s)
        else:
            _row(
                "pass",
                "reverted",
                f"{self._label} is gone, generation {event.generation}",
                step.elapsed_s,
            )


def _judged(decision: Decision) -> tuple[str, str, str]:
    if decision.promotable:
        return "fail", "not refused", f"the gate says {decision.outcome}"
    word = "refused" if decision.outcome == "fail" else "stopped"
    first = told_by(decision)[0]
    return "pass", word, f"{first.rule} {_numbers(first)}"


def _numbers(finding: Finding) -> str:
    """Return the figures of a finding: everything before what it was counted from."""
    return finding.reason.partition(";")[0]


def _row(state: str, name: str, text: str, elapsed_s: float) -> None:
    """Print a line of the progress: glyph, word, what, and when at the end of the line."""
    width = WIDTH - _NAME - 2 - _TIME
    lines = wrapped(text, width)
    for number, line in enumerate(lines):
        if number == 0:
            took = f"{elapsed_s:.1f} s"
            say(f"{mark(state)} {name:<{_NAME}}{line:<{width}}{took:>{_TIME - 1}}")
        else:
            say(f"{'':<{_NAME + 2}}{line}")


def _verified_words(restored: Restored) -> str:
    if restored.problems:
        return restored.problems[0]
    return " · ".join(f"{finding.rule}: {finding.reason}" for finding in restored.findings)


def show_rehearsed(plan: Plan, done: Rehearsed) -> None:
    """Print how a rehearsal went: what noticed it, or which suites are blind."""
    findings = told_by(done.decision)
    restored = done.restored
    back = f"restored in {restored.took_s:.1f} s, {restored.files} files verified"
    if done.is_detected:
        first = findings[0]
        only = "" if is_about_a_score(first) else "; no score noticed it"
        _sentence(
            "pass",
            f"detected in {done.detect_s:.1f} s by {first.rule} ({_numbers(first)}){only}, {back}",
        )
        return
    suites = sorted({str((f.numbers or {}).get("suite")) for f in findings} - {"None"})
    who = (
        f"{plan.protects} would have asked a reviewer"
        if done.decision.outcome == "inconclusive"
        else f"it would have passed the gate of {plan.protects}"
    )
    _sentence(
        "fail",
        f"not detected: {plan.operator.name} ({plan.worse.words}) was not refused by "
        f"{', '.join(suites)}; {who}; {back}",
    )
    for finding in findings:
        show_finding(finding)
    tell(
        f"next: add cases to {' or '.join(suites)} that go wrong when we "
        f"{plan.operator.words}, or write a stricter rule; `lockgate rehearse "
        f"{plan.environment.name} -s {plan.system} --gate-only` tries every operator"
    )


def _sentence(state: str, text: str) -> None:
    for number, line in enumerate(wrapped(text, WIDTH - 2)):
        say(f"{'  ' if number else mark(state) + ' '}{line}", bold=True)


def _body(plan: Plan, done: Rehearsed) -> dict[str, object]:
    return {
        "rehearsal": done.record,
        "version": done.version.label,
        "live": plan.version.label,
        "words": plan.worse.words,
        "detected": done.is_detected,
        "detect_s": round(done.detect_s, 3),
        "restore_s": round(done.restored.took_s, 3),
        "files": done.restored.files,
        "skipped": [{"operator": name, "reason": why} for name, why in plan.skipped],
    }


def _gate_only(
    at: Desk,
    system: str,
    environment: str,
    policy: Policy,
    operator: str | None,
    jobs: int | None,
    as_json: bool,
) -> int:
    opener = wiring.runner_opener(at.root, at.registry, jobs)
    steps = ask_the_gate(
        at.registry, system, environment, policy, opener, actor=at.actor, operator=operator
    )
    asked: list[Asked] = []
    told_s = time.monotonic()
    for step in _passing_on(steps):
        if step.name == "asked":
            asked.append(step.result)
            if not as_json:
                _show_asked(step.result)
        elif step.name == "evaluated" and time.monotonic() - told_s >= PIPE_EVERY_S:
            told_s = time.monotonic()
            version, progress = step.result
            tell(
                f"    {version.label} on {shown(progress.suite)}: {progress.done}/{progress.total}"
            )
    tried = [one for one in asked if one.state != "skipped"]
    caught = [one for one in tried if one.state == "caught"]
    is_good = bool(tried) and len(caught) == len(tried)
    if as_json:
        emit(
            {
                "system": system,
                "environment": environment,
                "caught": len(caught),
                "tried": len(tried),
                "operators": [_asked_body(one) for one in asked],
            }
        )
    else:
        ways = "way" if len(tried) == 1 else "ways"
        _sentence(
            "pass" if is_good else "fail",
            f"the gate catches {len(caught)} of {len(tried)} {ways} to get worse",
        )
    return 0 if is_good else 1


def _passing_on(steps: Iterator[Step]) -> Iterator[Step]:
    """Hand Ctrl-C between two steps to the run that is under way, which says how it goes on."""
    assert isinstance(steps, Generator)
    with closing(steps):
        try:
            yield from steps
        except KeyboardInterrupt as stopped:
            steps.throw(stopped)
            raise


def _show_asked(one: Asked) -> None:
    text = one.words
    if one.decision is not None:
        label = one.version.label if one.version else ""
        findings = told_by(one.decision)
        text = f"{label}  {findings[0].rule} {_numbers(findings[0])}" if findings else label
    name = f"{one.operator.name:<18}{one.state:<9}"
    width = WIDTH - 2 - len(name)
    for number, line in enumerate(wrapped(text, width)):
        say(f"{'' if number else mark(_STATES[one.state]):<1} {'' if number else name:<27}{line}")
    if one.state == "missed" and one.decision is not None:
        for finding in told_by(one.decision)[1:]:
            for number, line in enumerate(wrapped(f"{finding.rule} {_numbers(finding)}", width)):
                say(f"{'':<29}{'  ' if number else ''}{line}")


def _asked_body(one: Asked) -> dict[str, object]:
    return {
        "operator": one.operator.name,
        "state": one.state,
        "words": one.words,
        "version": one.version.label if one.version else None,
        "decision": one.decision.id if one.decision else None,
        "findings": told_by(one.decision) if one.decision else [],
    }
