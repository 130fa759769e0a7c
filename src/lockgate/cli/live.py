"""A run as it goes: redrawn in place on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from lockgate.cli.common import is_utf8, mark, plain, say, tell
from lockgate.domain import figures
from lockgate.domain.evidence import MetricSummary
from lockgate.evals.progress import Failing, Progress
from lockgate.shown import fitted, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPE_EVERY_S = 2.0
SHOWN_FAILURES = 6


def follow(steps: Iterator[Progress], label: str, baseline: str | None) -> Progress:
    """Walk a run to its end and show how it goes; returns its last progress.

    Raises:
        Interrupted: A person stopped it, also while it was being drawn; the hint resumes it.
    """
    redraws = sys.stderr.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    try:
        return _on_terminal(steps, label, baseline) if redraws else _in_pipe(steps, label)
    except KeyboardInterrupt as stopped:
        # It came between two steps: the run itself has to hear of it, to say how it is resumed.
        if isinstance(steps, Generator):
            steps.throw(stopped)
        raise


def _in_pipe(steps: Iterator[Progress], label: str) -> Progress:
    last: Progress | None = None
    told = time.monotonic()
    for last in steps:
        if time.monotonic() - told >= PIPE_EVERY_S and last.end is None:
            told = time.monotonic()
            tell(_one_line(last, label))
    assert last is not None  # a run gives at least its end
    tell(_one_line(last, label))
    return last


def _one_line(progress: Progress, label: str) -> str:
    scores = " · ".join(
        f"{tally.metric} {figures.score(tally.value)}" for tally in progress.tallies
    )
    return (
        f"{label} on {progress.suite}: {progress.done}/{progress.total} · {scores or 'no score yet'}"
        f" · {progress.errors} errors · {figures.duration(progress.elapsed_s)}"
    )


def _on_terminal(steps: Iterator[Progress], label: str, baseline: str | None) -> Progress:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False, markup=False)
    failures: list[Failing] = []
    last: Progress | None = None
    # What redirects the streams hides their encoding, which decides about the glyphs.
    with Live(
        console=console,
        refresh_per_second=10,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        for last in steps:
            failures += last.failing
            live.update(_screen(last, failures, label, baseline, console.width))
    assert last is not None  # a run gives at least its end
    return last


def _screen(
    progress: Progress, failures: list[Failing], label: str, baseline: str | None, width: int
) -> RenderableType:
    from rich.text import Text

    lines = [f" Evaluate {label} on {shown(progress.suite)}", _bar(progress, width), ""]
    versus = f"{baseline} live, same cases" if baseline else ""
    lines.append(f" {'':<11}{label:<19}{versus:<22}{'won  lost  tied' if baseline else ''}")
    for tally in progress.tallies:
        shown_score = (
            f"{figures.score(tally.value)} "
            f"{figures.interval(tally.interval.lower, tally.interval.upper)}"
        )
        against = ""
        if tally.baseline is not None:
            against = f"{figures.score(tally.baseline):<22}{tally.won:>3}  {tally.lost:>4}  {tally.tied:>4}"
        lines.append(f" {fitted(tally.metric, 10):<11}{shown_score:<19}{against}")
    p95 = figures.metric("p95_ms", progress.p95_ms)
    lines.append(f" {'p95':<11}{p95:<19}{progress.errors} errors")
    if failures:
        lines += ["", f" failing  {len(failures)} so far"]
        lines += [failing_line(failing, width) for failing in failures[-SHOWN_FAILURES:]]
    lines += ["", " ctrl+c stops; what was answered is kept and can be resumed"]
    return Text("\n".join(plain(line) for line in lines), no_wrap=True, overflow="crop")


def _bar(progress: Progress, width: int) -> str:
    share = progress.done / progress.total if progress.total else 1.0
    room = max(min(width - 42, 60), 10)
    full, empty = ("━", "╌") if is_utf8() else ("#", "-")
    bar = full * round(room * share) + empty * (room - round(room * share))
    left = f"{figures.duration(progress.left_s)} left" if progress.left_s is not None else ""
    count = f"{progress.done}/{progress.total}"
    return f" {'◐' if is_utf8() else 'o'} {count:<9} {bar} {share:>4.0%}  {figures.duration(progress.elapsed_s)}  {left}"


def failing_line(failing: Failing, width: int = 80) -> str:
    """Return one failing case on one line: id, expected, got."""
    got = failing.error if failing.error is not None else compact(failing.got)
    room = max((width - 26) // 2, 12)
    other = {True: "live was right", False: "live too", None: ""}[failing.baseline_was_right]
    case = fitted(failing.case, 8)
    expected, answer = fitted(compact(failing.expected), room - 8), fitted(got, room)
    return f"  {case:<9}{expected:<{room - 6}}{answer:<{room + 2}}{other}"


def compact(value: object) -> str:
    """Return a JSON value on one line, without the braces of a one-key object."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def show_run(progress: Progress, label: str, baseline: str | None) -> None:
    """Print how a run ended: every metric with its interval, wins and losses."""
    end = progress.end
    if end is None:
        return
    cases = f"{progress.done} answers, {end.errors} errors"
    say(
        f"{mark('pass')} evaluated {label} on {shown(progress.suite)}: {cases}, "
        f"{figures.duration(progress.elapsed_s)}  (run {progress.run[:8]})"
    )
    tallies = {tally.metric: tally for tally in progress.tallies}
    for summary in end.summary:
        if not is_told(summary.metric):
            continue
        line = metric_line(summary)
        tally = tallies.get(summary.metric)
        if tally is not None and tally.baseline is not None and baseline:
            line = (
                f"{line:<34}{baseline} {figures.score(tally.baseline)}   "
                f"won {tally.won}, lost {tally.lost}, tied {tally.tied}"
            )
        say(line)


def is_told(metric: str) -> bool:
    """Tell whether a metric is worth a line here; the others are in `lockgate show`."""
    return metric not in ("p50_ms", "mean_ms")


def metric_line(summary: MetricSummary) -> str:
    """Return one metric with its interval, as a line of a run."""
    line = f"    {shown(summary.metric):<10} {figures.metric(summary.metric, summary.value):<8}"
    if summary.lower is not None and summary.upper is not None:
        line += figures.interval(summary.lower, summary.upper)
    return line.rstrip()
