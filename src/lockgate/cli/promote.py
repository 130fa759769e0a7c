"""`lockgate promote` and `ship`: make a version live, or walk the whole loop to there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from lockgate import wiring
from lockgate.cli.applied import apply_new_suites
from lockgate.cli.change import change_body, show_change
from lockgate.cli.common import (
    Desk,
    desk,
    emit,
    folder_option,
    json_option,
    mark,
    registry_option,
    say,
    system_option,
    tell,
    wrapped,
)
from lockgate.cli.deploying import tell_event
from lockgate.cli.evaluate import choose_candidate
from lockgate.cli.exits import fail
from lockgate.cli.gate import show_decision
from lockgate.cli.live import follow, show_run
from lockgate.cli.register import registered_body, show_registered
from lockgate.errors import LockgateError, Refused, UsageMistake
from lockgate.loop.gate import decide, gaps
from lockgate.loop.promote import Promoted, promote, settled_on
from lockgate.loop.ship import ShipStep, ship


@click.command("promote", short_help="Make a version that passed the gate live.")
@click.argument("version", required=False, metavar="[V]")
@click.option("--to", "environment", required=True, metavar="ENV", help="The environment.")
@click.option("-m", "--reason", metavar="REASON", help="A word for the record.")
@click.option("--reverting", metavar="V", help="State that this reverts what is live.")
@click.option("--break-glass", is_flag=True, help="Go past the gate, on record and ungated.")
@click.option("--ticket", metavar="ID", help="What tracks a break-glass. Required for one.")
@click.option("--yes", is_flag=True, help="Do not ask before breaking the glass.")
@system_option
@registry_option
@json_option
def promote_command(
    version: str | None,
    environment: str,
    reason: str | None,
    reverting: str | None,
    break_glass: bool,
    ticket: str | None,
    yes: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Make a version live in an environment, resting on a decision that stands.

    Step 5 of 5. Decides first if no decision stands. Exit code 1 when the gate said no, 7 when it
    waits for a reviewer. Promoting what is live already changes nothing.

    --break-glass V --ticket ID -m REASON is for the night when the gate is in the way: it bypasses
    decision, approvals, freeze and hold, never registration, quarantine or damaged bytes. The
    version stays marked `ungated`, and nothing else is promoted there until somebody else runs
    `lockgate close`.
    """
    if break_glass:
        from lockgate.cli.break_glass import GlassWords, break_the_glass

        words = GlassWords(version, environment, ticket or "", reason or "", yes, reverting)
        break_the_glass(words, system, registry, as_json)
        return
    if ticket is not None or yes:
        raise UsageMistake(
            "--ticket and --yes belong to --break-glass: a promotion by the gate asks nothing",
            hint="leave them out",
        )
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        candidate = choose_candidate(at, name, version)
        policy = wiring.applied_policy(at.registry)
        target = policy.environment(environment)
        place = wiring.target(at.root, name, target)
        live = settled_on(at.registry, candidate, environment, place)
        if live is not None:
            done = Promoted(
                candidate, environment, live.attempt.generation, candidate, is_new=False
            )
        else:
            _check_live_evaluated(at, candidate, environment)
            decision = decide(
                at.registry, candidate, environment, policy, actor=at.actor, reverting=reverting
            )
            done = promote(
                at.registry,
                candidate,
                target,
                decision,
                actor=at.actor,
                reason=reason,
                signing=wiring.signing(),
                target=wiring.target(at.root, name, target),
                tell=tell_event,
            )
    if as_json:
        emit(promoted_body(done))
        return
    show_promoted(done)


def _check_live_evaluated(at: Desk, candidate: Any, environment: str) -> None:
    policy = wiring.applied_policy(at.registry)
    missing = gaps(at.registry, candidate, environment, policy)
    lacking = [gap for gap in missing if gap.is_live]
    if lacking and len(lacking) == len(missing):
        raise Refused(
            f"{lacking[0].version.label}, which is live in {environment}, has no run on "
            f"`{lacking[0].suite.name}` to compare with",
            hint=f"`lockgate gate {candidate.label} --to {environment} -s {candidate.system}` "
            "evaluates it first",
        )


def promoted_body(done: Promoted) -> dict[str, object]:
    """Return a promotion as a JSON value."""
    return {
        "version": done.version.label,
        "id": done.version.id,
        "environment": done.environment,
        "generation": done.generation,
        "before": done.before.label if done.before else None,
        "is_new": done.is_new,
    }


def show_promoted(done: Promoted, *, is_ungated: bool = False) -> None:
    """Print what a promotion came to."""
    if not done.is_new:
        say(
            f"{mark('pass')} {done.version.label} is live in {done.environment} already "
            f"(generation {done.generation})"
        )
        return
    before = f", before it {done.before.label}" if done.before else ""
    if done.before is not None and done.before.id == done.version.id:
        before = ", by the gate now; until now it was ungated"
    ungated = "UNGATED, " if is_ungated else ""
    say(
        f"{mark('inconclusive' if is_ungated else 'pass')} {done.version.label} is live in "
        f"{done.environment}  {ungated}generation {done.generation}{before}",
        bold=True,
    )


@click.command("ship", short_help="Walk the whole loop in order, as far as it goes.")
@click.option("--to", "environment", required=True, metavar="ENV", help="Where it should arrive.")
@click.option("-m", "--reason", metavar="REASON", help="Why; needed when something changed.")
@click.option("--owner", metavar="NAME", help="Who answers for it; else lockgate.toml or git.")
@click.option("--reverting", metavar="V", help="State that this reverts what is live.")
@click.option("--keep-secrets", metavar="REASON", help="Register in spite of the secret check.")
@click.option("-j", "--jobs", type=click.IntRange(1, 1000), help="How many questions at once.")
@click.option("--explain", is_flag=True, help="Say of each step what it does, and why.")
@folder_option
@system_option
@registry_option
@json_option
def ship_command(
    environment: str,
    reason: str | None,
    owner: str | None,
    reverting: str | None,
    keep_secrets: str | None,
    jobs: int | None,
    explain: bool,
    folder: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> int:
    """Change, register, evaluate, gate, promote: in order, through every required environment.

    It stops at the first refusal, or where a reviewer has to say yes (exit code 7). Run it again
    and it goes on from there; nothing that is done is done twice.
    """
    with desk(registry) as at:
        where = wiring.system_folder(at.root, system, folder)
        draft = wiring.read_draft(at.root, where)
        policy = wiring.applied_policy(at.registry)
        apply_new_suites(at, draft.system)
        steps = ship(
            at.registry,
            draft,
            environment,
            policy,
            wiring.ship_tools(at.root, where, at.registry, jobs, tell_event),
            reason=reason,
            actor=at.actor,
            owner=owner or draft.owner or wiring.git_user(where),
            reverting=reverting,
            keep_secrets=keep_secrets,
        )
        done: list[dict[str, object]] = []
        label, above = "", set[str]()
        try:
            told = _explained(steps) if explain else steps
            for step in _runs_followed(at, draft.system, told, as_json):
                done.append(_step_body(step))
                if step.step == "register":
                    label = step.result.version.label
                elif step.step == "gate":
                    above = {f"{found.rule}: {found.reason}" for found in step.result.findings}
                if not as_json:
                    _show_step(step, label)
        except LockgateError as error:
            if not as_json:
                raise _without_told(error, above) from error
            return fail(error, as_json=True, data={"steps": done})
    if as_json:
        emit({"steps": done})
    return 0


def _explained(steps: Iterator[ShipStep]) -> Iterator[ShipStep]:
    """Say of each step what it does and why, the first time it comes."""
    from lockgate.domain.guide import STEPS

    guide = {step.name: step for step in STEPS}
    for step in steps:
        about = guide.pop(step.step, None)
        if about is not None:
            for number, line in enumerate(wrapped(f"{about.does} {about.because}", 69)):
                tell(f"{'' if number else about.name:<9} {line}")
        yield step


def _without_told(error: LockgateError, told: set[str]) -> LockgateError:
    """Return an error without the findings that stand above it already."""
    left = [problem for problem in error.problems if problem not in told]
    return type(error)(error.what, hint=error.hint, problems=left)


def _runs_followed(
    at: Desk, system: str, steps: Iterator[ShipStep], as_json: bool
) -> Iterator[ShipStep]:
    """Show runs as they go and hand on the other steps, and each run's end."""
    for step in steps:
        if step.step != "evaluate" or step.state == "skipped":
            yield step
            continue
        gap, first = step.result
        ended = [step] if step.state == "done" else []

        def progresses(ended: list[ShipStep] = ended, first: Any = first) -> Iterator[Any]:
            yield first
            while not ended:
                following = next(steps)
                if following.state == "done":
                    ended.append(following)
                yield following.result[1]

        baseline = None if gap.is_live else _live_label(at, system, step.environment or "")
        last = follow(progresses(), gap.version.label, baseline)
        if not as_json:
            show_run(last, gap.version.label, baseline)
        yield ended[0]


def _live_label(at: Desk, system: str, environment: str) -> str | None:
    live = at.registry.releases.live(system, environment)
    version = at.registry.versions.get(live.attempt.version or "") if live else None
    return version.label if version else None


def _show_step(step: ShipStep, label: str) -> None:
    if step.step == "change":
        show_change(step.result)
    elif step.step == "register":
        show_registered(step.result)
    elif step.step == "evaluate" and step.state == "skipped":
        say(f"{mark('pass')} evaluated already, nothing to run for {step.environment}")
    elif step.step == "gate":
        show_decision(step.result, label)
    elif step.step == "promote" and step.state == "skipped":
        say(f"{mark('pass')} live in {step.environment} already")
    elif step.step == "promote":
        show_promoted(step.result)


def _step_body(step: ShipStep) -> dict[str, object]:
    body: dict[str, object] = {
        "step": step.step,
        "state": step.state,
        "environment": step.environment,
    }
    if step.step == "change":
        body["result"] = change_body(step.result)
    elif step.step == "register":
        body["result"] = registered_body(step.result)
    elif step.step == "evaluate" and step.state == "done":
        gap, progress = step.result
        body["result"] = {"version": gap.version.label, "end": progress.end}
    elif step.step == "gate":
        body["result"] = step.result
    elif step.step == "promote" and step.state == "done":
        body["result"] = promoted_body(step.result)
    return body
