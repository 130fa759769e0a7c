"""`lockgate recheck`: is what is live still as good as when it was approved?"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

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
    tell,
    with_system,
)
from lockgate.cli.gate import name_width, show_finding
from lockgate.cli.live import follow
from lockgate.domain.upkeep import FELL, HELD, OPEN_QUESTION
from lockgate.evals.progress import Progress
from lockgate.upkeep.recheck import Rechecked, recheck

EXIT_CODES = {HELD: 0, FELL: 1, OPEN_QUESTION: 4}
_STATES = {HELD: "pass", FELL: "fail", OPEN_QUESTION: "inconclusive"}


@click.command(
    "recheck", short_help="Evaluate what is live again and hold it against its approval."
)
@click.argument("environment", metavar="ENV")
@click.option("-j", "--jobs", type=click.IntRange(1, 1000), help="How many questions at once.")
@system_option
@registry_option
@json_option
def recheck_command(
    environment: str,
    jobs: int | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> int:
    """Ask what is live in ENV the cases that approved it again, and hold the answers against those.

    A hosted model can change behind its name; nothing of ours would show it. Exit code 0 when it
    held, 1 when a metric fell, 4 when there is nothing to hold it against. Ctrl-C keeps what was
    answered.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        policy = wiring.applied_policy(at.registry)
        opener = wiring.runner_opener(at.root, at.registry, jobs)
        steps = recheck(at.registry, name, environment, policy, opener, actor=at.actor)
        done = _followed(steps, environment)
    if as_json:
        emit(
            {
                "recheck": done.record,
                "version": done.version.label,
                "voided": [
                    {
                        "decision": one.decision.id,
                        "version": one.label,
                        "environment": one.decision.environment,
                    }
                    for one in done.voided
                ],
                "hint": done.hint,
            }
        )
    else:
        _show(done)
    return EXIT_CODES[done.record.outcome]


def _followed(steps: Iterator[Progress | Rechecked], environment: str) -> Rechecked:
    """Show each run as it goes, and return what was found at the end."""
    assert isinstance(steps, Generator)
    ended: list[Rechecked] = []

    def one_run(first: Progress) -> Generator[Progress, None, None]:
        yield first
        last = first
        while last.end is None:
            last = next(steps)
            yield last

    with closing(steps):
        try:
            for step in steps:
                if isinstance(step, Rechecked):
                    ended.append(step)
                else:
                    follow(one_run(step), f"what is live in {environment}", None)
        except KeyboardInterrupt as stopped:
            steps.throw(stopped)
            raise
    (done,) = ended  # a recheck gives its end, or raises
    return done


def _show(done: Rechecked) -> None:
    record = done.record
    words = {
        HELD: "is as good as when it was approved",
        FELL: "is worse than when it was approved",
        OPEN_QUESTION: "cannot be held against what approved it",
    }[record.outcome]
    say(
        f"{mark(_STATES[record.outcome])} recheck: {done.version.label} in {record.environment} "
        f"{words}",
        bold=True,
    )
    width = name_width(record.findings)
    for finding in record.findings:
        show_finding(finding, width)
    for one in done.voided:
        say(
            f"  {mark('inconclusive')} void now: the decision about {one.label} for "
            f"{one.decision.environment} rests on what {done.version.label} answered before"
        )
    if done.hint:
        tell(with_system(f"next: {done.hint}", asked_system()))
