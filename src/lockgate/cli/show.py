"""`lockgate show`, `diff` and `checkout`: one version, two versions, and a version as a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lockgate import wiring
from lockgate.canonical import canonical_json
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
)
from lockgate.cli.difference import SELDOM_ASKED, show_comparison
from lockgate.cli.looking import (
    Cell,
    Marked,
    cut,
    policy_of,
    screen_width,
    short_time,
    table,
)
from lockgate.domain import figures
from lockgate.domain.times import shown_time
from lockgate.errors import Refused, UsageMistake
from lockgate.shown import shown

if TYPE_CHECKING:
    from lockgate.domain.evidence import MetricSummary, RunRecord
    from lockgate.domain.version import Version
    from lockgate.look.compare import Side
    from lockgate.look.show import (
        ComponentView,
        Failing,
        RunView,
        Sliced,
        VersionView,
        Wrong,
    )

_FILES_SHOWN = 6
_CHILDREN_SHOWN = 8
_SLICES_SHOWN = 12


@click.command(
    "show", short_help="Show one version: components, runs, decisions, where it is live."
)
@click.argument("version", metavar="V")
@click.option("--failing", "only_failing", is_flag=True, help="List the cases it got wrong.")
@click.option("--definition", is_flag=True, help="Print the exact bytes of its digest, no more.")
@click.option("--run", "run", metavar="RUN", help="Only this run, also one that has not ended.")
@system_option
@registry_option
@json_option
def show_command(
    version: str,
    only_failing: bool,
    definition: bool,
    run: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Show one version: what it is made of, its runs, decisions, and where it was live.

    V is a label, the beginning of an id, or an environment: then it is what is live there.
    """
    with desk(registry, read_only=True) as at:
        from lockgate.look.show import failing, run_of, show

        name = wiring.choose_system(at.registry, system)
        chosen = wiring.choose_version(at.registry, name, version)
        now = at.registry.now()
        if definition:
            body = at.registry.versions.definition(chosen.definition).body()
            click.echo(canonical_json(body), nl=False)
            return
        if only_failing:
            found = failing(at.registry, chosen, policy_of(at.registry), run)
            if as_json:
                emit(found)
                return
            for suite in found:
                _show_failing(suite, chosen.label)
            return
        if run is not None:
            record = run_of(at.registry, chosen, run)
            if as_json:
                emit(record)
                return
            _show_run(record, chosen, at.registry.applied.suite_name(record.run.suite))
            return
        view = show(at.registry, chosen)
    if as_json:
        emit(view)
    else:
        show_version(view, now)


def show_version(view: VersionView, now: datetime) -> None:
    """Print everything about one version."""
    version = view.version
    width = min(screen_width(), 100)
    say(f"{version.label}  {version.system}  {version.track}", bold=True)
    facts = [
        ("id", version.id[:12]),
        ("definition", version.definition[:12]),
        ("parent", view.parent or "none, the first of its line"),
        ("owner", f"{version.owner}, registered by {version.registrar}"),
        ("registered", shown_time(version.at)),
        *[("reason" if i == 0 else "", line) for i, line in enumerate(version.reason.splitlines())],
    ]
    if view.same_definition:
        facts.append(("same as", f"{', '.join(view.same_definition)}: the same definition"))
    if view.children:
        labels = [child.label for child in view.children]
        more = f" (+{len(labels) - _CHILDREN_SHOWN} more)" if len(labels) > _CHILDREN_SHOWN else ""
        facts.append(("children", ", ".join(labels[:_CHILDREN_SHOWN]) + more))
    for name, text in facts:
        say(f"  {name:<11} {shown(text)}")
    if view.expired is not None:
        text = f"contents expired on {shown_time(view.expired.at)} by {view.expired.actor}"
        say(
            f"  {mark('skipped')} {cut(f'{text}; records, scores and digests are kept', width - 5)}"
        )
    for quarantine in view.quarantines:
        text = f"quarantined by {quarantine.actor}: {quarantine.reason}"
        say(f"  {mark('fail')} {cut(text, width - 5)}")
    _show_spans(view, now)
    for component in view.components:
        _show_component(component, width)
    _show_runs(view, now)
    _show_decisions(view, width, now)


def _show_spans(view: VersionView, now: datetime) -> None:
    if not view.spans:
        say("  live        never")
        return
    width = min(screen_width(), 100)
    for index, span in enumerate(view.spans):
        name = "live" if index == 0 else ""
        until = f"until {short_time(span.until, now)}" if span.until else "until now"
        state = "skipped" if span.until else "pass"
        word = "" if span.kind == "promote" else f", {span.kind}"
        if span.is_ungated:
            state, word = "inconclusive", f", UNGATED, ticket {span.ticket}"
        text = (
            f"{span.environment} since {short_time(span.since, now)} "
            f"{until}, generation {span.generation} by {span.actor}{word}"
        )
        say(f"  {name:<11} {mark(state)} {shown(text)}")
        if span.is_ungated:
            closing = span.closing
            closed = f"closed by {closing.actor}: {closing.reason}" if closing else "not closed yet"
            say(f"  {'':<13} {cut(closed, width - 17)}")
        for note in span.notes:
            text = f"note {short_time(note.at, now)} {note.actor}: {note.text}"
            say(f"  {'':<13} {cut(text, width - 17)}")


def _show_component(component: ComponentView, width: int) -> None:
    say()
    say(f"[{component.name}]", bold=True)
    for key, value in sorted(component.settings.items()):
        say(f"  {cut(f'{key} = {json.dumps(value, ensure_ascii=False)}', width - 3)}")
    rows: list[tuple[str, str, str]] = []
    for file in component.files[:_FILES_SHOWN]:
        size = figures.size(file.size_bytes) if file.size_bytes is not None else "removed"
        path = f"{file.path} (executable)" if file.is_executable else file.path
        rows.append((size, file.digest[:8], path))
    for line in table(rows, right=(0,), less=2):
        say(f"  {line}")
    rest = component.files[_FILES_SHOWN:]
    if rest:
        size = figures.size(sum(file.size_bytes or 0 for file in rest))
        say(f"  (+{len(rest)} files, {size}; --json lists all)")


def _show_runs(view: VersionView, now: datetime) -> None:
    say()
    say("runs", bold=True)
    if not view.runs:
        say(f"  none: `lockgate evaluate {view.version.label} -s {view.version.system}`")
        return
    heads = table([_run_row(run, now) for run in view.runs], less=2)
    for run, head in zip(view.runs, heads, strict=True):
        say(f"  {head}")
        _show_metrics(run.record.end.summary if run.record.end else ())
    for pool in view.pooled:
        say(f"  all {pool.runs} runs on {pool.suite} together, as the gate judges them")
        _show_metrics(pool.metrics)
    for sliced in view.sliced:
        _show_slices(sliced)


def _show_slices(sliced: Sliced) -> None:
    from lockgate.evals.stats import FEWEST_SLICE_CASES

    say(f"  {cut(f'{sliced.metric} on {sliced.suite} by tag; no rule looks at it', 77)}")
    few = click.unstyle(mark("inconclusive"))
    rows = [
        (
            figures.score(one.value),
            f"{one.cases} case{'' if one.cases == 1 else 's'}",
            few if one.is_small else "",
            one.tag,
        )
        for one in sliced.slices[:_SLICES_SHOWN]
    ]
    for line in table(rows, right=(1,), less=6):
        say(f"      {line}")
    rest = len(sliced.slices) - _SLICES_SHOWN
    if rest > 0:
        say(f"      (+{rest} tags with higher scores; --json lists all)")
    if any(one.is_small for one in sliced.slices):
        say(
            f"      {mark('inconclusive')} fewer than {FEWEST_SLICE_CASES} cases cannot prove a drop below 5 points"
        )


def _run_row(run: RunView, now: datetime) -> tuple[Cell, ...]:
    record, end = run.record, run.record.end
    suite = run.suite if run.is_applied else f"{run.suite} (earlier)"
    state = Marked("running", f"not ended, by {record.run.actor}")
    if end is not None:
        cases = f", {end.summary[0].n} cases" if end.summary else ""
        errors = f", {end.errors} errors" if end.errors else ""
        state = Marked("pass" if record.is_completed else "fail", f"{end.outcome}{cases}{errors}")
    return (record.run.id[:8], suite, short_time(record.run.at, now), state)


def _show_metrics(summaries: Iterable[MetricSummary]) -> None:
    for metric in main_metrics(summaries):
        say(f"      {cut(metric.metric, 16):<16}  {_metric_text(metric)}")


def main_metrics(summaries: Iterable[MetricSummary]) -> list[MetricSummary]:
    """Return the metrics worth a line: every score, the slow end of latency, tokens out."""
    return [summary for summary in summaries if summary.metric not in SELDOM_ASKED]


def _metric_text(metric: MetricSummary) -> str:
    text = figures.metric(metric.metric, metric.value)
    if metric.lower is not None and metric.upper is not None:
        text = f"{text:<4} {figures.interval(metric.lower, metric.upper)}"
    return text


def _show_decisions(view: VersionView, width: int, now: datetime) -> None:
    if not view.decisions:
        return
    from lockgate.cli.gate import show_finding

    shown_already: set[str] = set()
    for found in view.decisions:
        decision = found.decision
        word = {"pass": "pass", "fail": "fail"}.get(decision.outcome, "inconclusive")
        say()
        when = f"{short_time(decision.at, now)} by {decision.actor}"
        say(f"{mark(word)} gate to {decision.environment}: {decision.outcome}  {when}", bold=True)
        if found.used_by is not None:
            say(f"  promoted as generation {found.used_by}")
        elif found.moved and decision.promotable:
            say(f"  no longer stands: {found.moved}")
        # The newest decision about an environment in full, older ones by what spoke against them.
        is_newest = decision.environment not in shown_already
        shown_already.add(decision.environment)
        for finding in decision.findings:
            if is_newest or finding.outcome in ("fail", "inconclusive"):
                show_finding(finding)
        for approval in found.approvals:
            claimed = "" if approval.key else " (claimed, no key)"
            note = f": {approval.note}" if approval.note else ""
            state = "pass" if approval.word == "yes" else "fail"
            text = f"{approval.signer} said {approval.word}{claimed}{note}"
            say(f"  {mark(state)} {cut(text, width - 5)}")


def _show_run(record: RunRecord, version: Version, suite: str) -> None:
    run, end = record.run, record.end
    state = end.outcome if end else "not ended"
    glyph = "pass" if record.is_completed else "fail" if end else "running"
    say(f"run {run.id}  {version.label} on {suite}", bold=True)
    say(f"  {mark(glyph)} {state}, begun {shown_time(run.at)} by {run.actor}")
    say(f"  suite {run.suite[:8]}, {run.repeats} answer{'s' if run.repeats > 1 else ''} a case")
    if end is not None:
        say(f"  {end.answers} answers, {end.errors} cases without a score in some repeat")
        rows = [(metric.metric, _metric_text(metric)) for metric in end.summary]
        for line in table(rows, less=4):
            say(f"    {line}")
    say("  under")
    width = screen_width()
    for key, value in sorted(run.environment.items()):
        say(f"    {cut(f'{key} = {json.dumps(value, ensure_ascii=False)}', width - 5)}")
    if end is None:
        tell(f"next: `lockgate evaluate {version.label} -s {version.system} --resume {run.id[:8]}`")
    else:
        tell(f"`lockgate show {version.label} --failing --run {run.id[:8]}` lists what went wrong")


def _show_failing(found: Failing, label: str) -> None:
    from lockgate.cli.live import compact

    count = len(found.wrong)
    runs = f"run {found.runs[0][:8]}" if len(found.runs) == 1 else f"{len(found.runs)} runs"
    say(
        f"{label} on {found.suite}, {found.metric}: {count} of {found.cases} not right ({runs})",
        bold=True,
    )
    if not found.wrong:
        return
    width = screen_width()
    ids = min(max(len(wrong.case) for wrong in found.wrong), 16)
    answers = [(_plain(wrong.expected), _got(wrong)) for wrong in found.wrong]
    room = max((width - ids - 10) // 4, 8)
    expected = min(max(len(cut(text, room)) for text, _ in answers), room)
    got = min(max(len(cut(text, room)) for _, text in answers), room)
    expected, got = max(expected, 8), max(got, 3)
    asked = max(width - ids - expected - got - 8, 12)
    rows: list[tuple[Cell, ...]] = [("case", "expected", "got", "input")]
    for wrong, (right, answer) in zip(found.wrong, answers, strict=True):
        rows.append(
            (
                cut(wrong.case, ids),
                cut(right, expected),
                cut(answer, got),
                " ".join(cut(" ".join(compact(wrong.input).split()), asked).split()),
            )
        )
    for line in table(rows):
        say(line)


def _plain(value: object) -> str:
    """Return a JSON value as people write it: a list of names without brackets and quotes."""
    from lockgate.cli.live import compact

    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return compact(value)


def _got(wrong: Wrong) -> str:
    if wrong.error is not None:
        return f"error: {wrong.error}"
    text = _plain(wrong.got)
    if wrong.score is not None and 0 < wrong.score < 1:
        return f"{text} ({figures.score(wrong.score)})"
    return text


@click.command("diff", short_help="Show what differs between two versions and what it did.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", required=False)
@click.option("--full", is_flag=True, help="Every line, case and file.")
@system_option
@registry_option
@json_option
def diff_command(
    before: str,
    after: str | None,
    full: bool,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Show what differs between A and B, and what that did to the scores.

    With A alone it is held against its parent. A or B may be `.`, the folder as it is now, and an
    environment stands for what is live there. Differences of scores are over the same cases.
    """
    with desk(registry, read_only=True) as at:
        from lockgate.look.compare import compare_sides

        name, left, right = _sides(at, system, before, after)
        compared = compare_sides(at.registry, name, left, right, policy_of(at.registry))
    if as_json:
        emit(compared)
    else:
        show_comparison(compared, full=full)


def _sides(at: Desk, system: str | None, first: str, second: str | None) -> tuple[str, Side, Side]:
    from lockgate.look.compare import side_of, side_of_folder
    from lockgate.loop.change import parent_of

    draft = None
    if "." in (first, second):
        draft = wiring.read_draft(at.root, wiring.system_folder(at.root, system, None))
    name = wiring.choose_system(at.registry, draft.system if draft else system)

    def side(text: str) -> Side:
        if text == "." and draft is not None:
            return side_of_folder(draft)
        return side_of(at.registry, wiring.choose_version(at.registry, name, text))

    if second is not None:
        return name, side(first), side(second)
    if draft is not None:
        base = parent_of(at.registry, draft)
        if base is None:
            raise UsageMistake("nothing is registered to compare the folder with", hint="")
        return name, side_of(at.registry, base), side(first)
    version = wiring.choose_version(at.registry, name, first)
    parent = at.registry.versions.get(version.parent) if version.parent else None
    if parent is None:
        raise UsageMistake(
            f"`{version.label}` is the first of its line and has no parent to compare with",
            hint=f"name two: `lockgate diff {version.label} B`",
        )
    return name, side_of(at.registry, parent), side_of(at.registry, version)


@click.command("checkout", short_help="Write a version's files into a folder.")
@click.argument("version", metavar="V")
@click.argument("folder", metavar="DIR")
@system_option
@registry_option
@json_option
def checkout_command(
    version: str, folder: str, system: str | None, registry: str | None, as_json: bool
) -> None:
    """Write a version's files into a new or empty folder, every byte hashed again.

    The folder is complete: lockgate.toml lists its files one by one, and lockgate.lock names the
    version, so that a change made there is registered on top of it.
    """
    with desk(registry, read_only=True) as at:
        name = wiring.choose_system(at.registry, system)
        chosen = wiring.choose_version(at.registry, name, version)
        target = Path(folder).expanduser().absolute()
        count = _check_out(at, chosen, target)
    if as_json:
        emit({"version": chosen.id, "label": chosen.label, "folder": target, "files": count})
        return
    place = os.path.relpath(target) if target.is_relative_to(Path.cwd()) else str(target)
    say(
        f"{mark('pass')} {chosen.label} of {name} is in {shown(place)}: {count} files, lockgate.toml"
    )
    where = f" --registry {shown(at.root)}" if not target.is_relative_to(at.root) else ""
    tell(f"next: change something there, then `lockgate change -C {shown(place)}{where}`")


def _check_out(at: Desk, version: Version, target: Path) -> int:
    from lockgate.loop.contents import check_contents
    from lockgate.workspace.settings import SETTINGS_FILE, settings_text

    check_contents(at.registry, version)
    definition = at.registry.versions.definition(version.definition)
    code = definition.components.get("code")
    if code is None or "run" not in code.settings:
        raise Refused(
            f"`{version.label}` does not say how it is run, so it makes no folder",
            hint=f"`lockgate show {version.label}` lists its files",
        )
    try:
        wiring.materialise(at.registry, definition, target)
    except LookupError as error:
        raise Refused(
            f"contents of `{version.label}` are no longer here: {error}",
            hint="restore a backup of `.lockgate/`",
        ) from error
    text = settings_text(version.system, version.owner, definition)
    (target / SETTINGS_FILE).write_text(text, encoding="utf-8")
    wiring.write_lock(target, at.registry, version)
    return len(definition.files())
