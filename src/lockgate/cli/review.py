"""`lockgate review`: three questions, each answered with what was looked at and what was found."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import click

from lockgate import wiring
from lockgate.cli.common import (
    desk,
    emit,
    folder_option,
    json_of,
    json_option,
    mark,
    plain,
    registry_option,
    say,
    system_option,
    tell,
    with_system,
    wrapped,
)
from lockgate.cli.looking import policy_of, screen_width
from lockgate.domain.release import Finding
from lockgate.domain.times import shown_time
from lockgate.shown import shown
from lockgate.upkeep.review import QUESTIONS, Reviewed, review
from lockgate.upkeep.review_look import Progress

FOUND, BROKEN = 1, 6
_EVERY_S = 2.0
_NAME = 24


@click.command("review", short_help="Ask whether gate, definition and way back still hold.")
@folder_option
@system_option
@registry_option
@json_option
def review_command(
    folder: str | None, system: str | None, registry: str | None, as_json: bool
) -> int:
    """Ask three questions: does anything reach production outside the gate, has the definition
    drifted from what teams do, does the way back still work.

    Every record is held against the ledger, every byte of what is live and of the way back is
    hashed, running instances are asked. What is found is recorded. Exit code 0: clean. 1: somebody
    has to look at something. 6: a byte, a receipt or a record is not what it was.
    """
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        policy = policy_of(at.registry)
        around = wiring.surroundings(at.root, at.registry, name, policy, folder)
        done = _followed(review(at.registry, name, policy, around, actor=at.actor))
    if as_json:
        emit(_body(done))
    else:
        show_review(done)
    if done.is_broken:
        return BROKEN
    return 0 if done.review.outcome == "clean" else FOUND


def _followed(steps: Iterator[Progress | Reviewed]) -> Reviewed:
    """Walk a review to its end; what takes long tells how far it is."""
    redraws = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    told = time.monotonic()
    drawn = False
    for step in steps:
        if isinstance(step, Reviewed):
            if drawn:
                click.echo("\r\x1b[K", nl=False, err=True)
            return step
        if time.monotonic() - told < (0.1 if redraws else _EVERY_S):
            continue
        told = time.monotonic()
        line = plain(f"{shown(step.what)}: {step.done} of {step.total}")
        if redraws:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
            drawn = True
        else:
            tell(line)
    raise AssertionError("a review ends with what it found")


def show_questions(done: Reviewed, *, only_bad: bool = False) -> None:
    """Print each question, and what was looked at for it."""
    width = min(screen_width(), 100)
    for question, findings in done.answers.items():
        bad = [one for one in findings if one.outcome not in ("pass", "skipped")]
        words = f"{len(bad)} of {len(findings)} need a look" if bad else "nothing found"
        say(
            f"{mark('fail' if bad else 'pass')} {QUESTIONS.get(question, question)}  {words}",
            bold=True,
        )
        for finding in bad if only_bad else findings:
            _show_finding(finding, width)
        if not only_bad:
            say()


def show_review(done: Reviewed) -> None:
    """Print a review: the questions with their findings, and the one before."""
    record = done.review
    show_questions(done)
    when = shown_time(record.at) if done.is_recorded else "not recorded"
    say(f"review of {record.system}: {record.outcome}, {when} by {record.actor}")
    if done.previous is None:
        tell("this is the first review: what happened counts from the beginning")
    else:
        tell(f"the one before: {shown_time(done.previous.at)}, {done.previous.outcome}")
    if not done.is_recorded:
        tell("the registry cannot be written, so this review is not recorded")


def _show_finding(finding: Finding, width: int) -> None:
    indent = " " * 4
    first, *others = wrapped(finding.reason, width - _NAME - 6)
    say(f"  {mark(finding.outcome)} {shown(finding.rule):<{_NAME}} {first}")
    for line in others:
        say(f"{indent}{'':<{_NAME}} {line}")
    if finding.hint and finding.outcome not in ("pass", "skipped"):
        for line in wrapped(f"hint: {with_system(finding.hint, None)}", width - _NAME - 6):
            say(f"{indent}{'':<{_NAME}} {line}")


def _body(done: Reviewed) -> dict[str, object]:
    return {
        "system": done.review.system,
        "outcome": done.review.outcome,
        "is_broken": done.is_broken,
        "is_recorded": done.is_recorded,
        "at": done.review.at if done.is_recorded else None,
        "previous": done.previous.at if done.previous else None,
        "actor": done.review.actor,
        "questions": [
            {
                "question": QUESTIONS.get(question, question),
                "findings": [json_of(finding.body()) for finding in findings],
            }
            for question, findings in done.answers.items()
        ],
    }
