"""One version with everything that is known about it, and the cases it got wrong.

- Where several completed runs count together, what they say together is shown besides each.
- A case is wrong when its mean score over all completed runs is below 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lockgate.domain.components import Definition
from lockgate.domain.evidence import Answer, MetricSummary, RunRecord
from lockgate.domain.policy import Policy
from lockgate.domain.release import Approval, Decision, Deployment, Quarantine
from lockgate.domain.suite import ScorerSpec, Suite
from lockgate.domain.upkeep import Closing, Note, Removal
from lockgate.domain.version import Version
from lockgate.errors import Refused, UsageMistake
from lockgate.evals.judges import MISSING, at_path
from lockgate.evals.stats import FEWEST_SLICE_CASES
from lockgate.look.facts import recorded_at, yardstick
from lockgate.loop.contents import expiry_of
from lockgate.loop.standing import why_not_standing

if TYPE_CHECKING:
    from lockgate.ports import Registry

_RIGHT = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a version."""

    path: str
    digest: str
    size_bytes: int | None
    """`None` when the content is no longer here."""
    is_executable: bool


@dataclass(frozen=True, slots=True)
class ComponentView:
    """One component of a version."""

    name: str
    settings: Mapping[str, Any]
    files: tuple[FileView, ...]


@dataclass(frozen=True, slots=True)
class RunView:
    """One run of a version."""

    record: RunRecord
    suite: str
    is_applied: bool
    """Whether the suite it ran on is the one applied now."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """What all completed runs on one suite say together: what the gate judges."""

    suite: str
    digest: str
    runs: int
    metrics: tuple[MetricSummary, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """The cases of one tag."""

    tag: str
    cases: int
    value: float
    is_small: bool
    """Whether it has too few cases to prove a drop below 5 points, even when none changed."""


@dataclass(frozen=True, slots=True)
class Sliced:
    """What all completed runs on one suite say by tag, by its first metric; no rule looks at it."""

    suite: str
    digest: str
    metric: str
    slices: tuple[Slice, ...]
    """The worst first."""


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One decision about a version."""

    decision: Decision
    moved: str | None
    """Why nothing can rest on it any more; `None` while it stands."""
    used_by: int | None
    """The generation that was promoted on it."""
    approvals: tuple[Approval, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which the version was live somewhere."""

    environment: str
    generation: int
    kind: str
    actor: str
    since: datetime
    until: datetime | None
    """`None` while it is live."""
    is_ungated: bool
    """Whether somebody broke the glass for it."""
    ticket: str | None
    closing: Closing | None
    """What ended that break-glass."""
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class VersionView:
    """Everything about one version."""

    version: Version
    parent: str | None
    children: tuple[Version, ...]
    same_definition: tuple[str, ...]
    """Labels of other versions with exactly these components."""
    components: tuple[ComponentView, ...]
    runs: tuple[RunView, ...]
    pooled: tuple[Pooled, ...]
    """Only for suites with more than one completed run."""
    sliced: tuple[Sliced, ...]
    """Only for applied suites whose cases have tags."""
    decisions: tuple[DecisionView, ...]
    spans: tuple[Span, ...]
    quarantines: tuple[Quarantine, ...]
    expired: Removal | None = None
    """How its contents went; `None` while they are here."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One case that a version did not get fully right."""

    case: str
    input: Any
    expected: Any
    """What the scorer compared with."""
    got: Any
    """What the scorer looked at, of the first answer that was not right."""
    error: str | None
    score: float | None
    """Mean over repeats and runs; `None` when there never was an answer."""
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failing:
    """The wrong cases of one suite, by its first metric."""

    suite: str
    metric: str
    runs: tuple[str, ...]
    cases: int
    wrong: tuple[Wrong, ...]


def show(registry: Registry, version: Version) -> VersionView:
    """Return everything about a version."""
    parent = registry.versions.get(version.parent) if version.parent else None
    same = registry.versions.with_definition(version.system, version.definition)
    histories = {
        name: registry.releases.deployments(version.system, name, limit=500)
        for name in registry.releases.environments(version.system)
    }
    used_by = {
        found.attempt.decision: found.attempt.generation
        for history in histories.values()
        for found in history
        if found.outcome == "live"
    }
    records = registry.runs.of_version(version.id)
    return VersionView(
        version,
        parent.label if parent else None,
        tuple(registry.versions.children(version.id)),
        tuple(other.label for other in same if other.id != version.id),
        tuple(_components(registry, registry.versions.definition(version.definition))),
        tuple(_run_views(registry, version.system, records)),
        tuple(_pooled(registry, records)),
        tuple(_sliced(registry, version.system, records)),
        tuple(
            DecisionView(
                decision,
                why_not_standing(registry, decision),
                used_by.get(decision.id),
                tuple(registry.releases.approvals(decision.id)),
            )
            for decision in registry.releases.decisions(version.system, version_id=version.id)
        ),
        tuple(_spans(registry, version, histories)),
        tuple(registry.releases.quarantines(version.system, definition=version.definition)),
        expiry_of(registry, version),
    )


def _components(registry: Registry, definition: Definition) -> Iterable[ComponentView]:
    for name in definition.ordered():
        part = definition.components[name]
        files = tuple(
            FileView(path, digest, registry.objects.size(digest), path in part.executables)
            for path, digest in sorted(part.paths().items())
        )
        yield ComponentView(name, dict(part.settings), files)


def _run_views(registry: Registry, system: str, records: list[RunRecord]) -> Iterable[RunView]:
    applied = {suite.digest for suite in registry.applied.suites(system).values()}
    for record in reversed(records):
        suite = registry.applied.suite_name(record.run.suite)
        yield RunView(record, suite, record.run.suite in applied)


def _pooled(registry: Registry, records: list[RunRecord]) -> Iterable[Pooled]:
    by_suite: dict[str, list[str]] = {}
    for record in records:
        if record.is_completed:
            by_suite.setdefault(record.run.suite, []).append(record.run.id)
    for digest, runs in by_suite.items():
        if len(runs) > 1:
            from lockgate.evals.metrics import summarise

            suite = stored_suite(registry, digest)
            metrics = summarise(suite, registry.runs.pooled(runs))
            yield Pooled(suite.name, digest, len(runs), metrics)


def _sliced(registry: Registry, system: str, records: list[RunRecord]) -> Iterable[Sliced]:
    from lockgate.evals.metrics import slices

    for info in registry.applied.suites(system).values():
        runs = [r.run.id for r in records if r.is_completed and r.run.suite == info.digest]
        if not runs:
            continue
        try:
            suite = registry.applied.suite(info.digest)
        except LookupError:  # cases that were redacted have no tags any more
            continue
        metric = suite.metrics[0]
        found = [
            Slice(tag, cases, value, cases < FEWEST_SLICE_CASES)
            for tag, cases, value in slices(suite, registry.runs.pooled(runs), metric)
        ]
        if found:
            found.sort(key=lambda one: (one.value, one.tag))
            yield Sliced(suite.name, info.digest, metric, tuple(found))


def _spans(
    registry: Registry, version: Version, histories: Mapping[str, Sequence[Deployment]]
) -> list[Span]:
    found: list[Span] = []
    for environment, history in histories.items():
        until: datetime | None = None
        for deployment in history:
            if deployment.outcome != "live":
                continue
            attempt, since = deployment.attempt, recorded_at(deployment)
            if attempt.version == version.id:
                key = (version.system, environment, attempt.generation)
                found.append(
                    Span(
                        environment,
                        attempt.generation,
                        attempt.kind,
                        attempt.actor,
                        since,
                        until,
                        deployment.is_ungated,
                        attempt.ticket,
                        registry.upkeep.closing(*key) if deployment.is_ungated else None,
                        tuple(registry.upkeep.notes(*key)),
                    )
                )
            until = since
    return sorted(found, key=lambda span: span.since, reverse=True)


def stored_suite(registry: Registry, digest: str) -> Suite:
    """Return a suite with its cases.

    Raises:
        Refused: Some of its cases were redacted, so it can no longer be read.
    """
    try:
        return registry.applied.suite(digest)
    except LookupError as error:
        raise Refused(
            f"the cases of suite {digest[:8]} are no longer here: {error}",
            hint="`lockgate suite` shows what is applied",
        ) from error


def failing(
    registry: Registry, version: Version, policy: Policy | None, run: str | None = None
) -> list[Failing]:
    """Return the cases a version got wrong, the suite that matters most first.

    Args:
        registry: Where runs and suites are.
        version: Whose answers.
        policy: Says which suite matters most; `None` takes any.
        run: Only this run, by its id or the beginning of it; it may be still open.

    Raises:
        Refused: There is no run to look at.
        UsageMistake: The run is of another version.
    """
    if run is not None:
        record = run_of(registry, version, run)
        return [_failing(registry, record.run.suite, [record.run.id])]
    completed: dict[str, list[str]] = {}
    for record in registry.runs.of_version(version.id):
        if record.is_completed:
            completed.setdefault(record.run.suite, []).append(record.run.id)
    applied = {suite.digest for suite in registry.applied.suites(version.system).values()}
    chosen = {digest: runs for digest, runs in completed.items() if digest in applied}
    if not completed:
        raise Refused(
            f"version `{version.label}` has no completed run",
            hint=f"`lockgate evaluate {version.label} -s {version.system}`",
        )
    by = yardstick(registry, version.system, policy)
    found = [_failing(registry, digest, runs) for digest, runs in (chosen or completed).items()]
    return sorted(found, key=lambda suite: (by is None or suite.suite != by.suite, suite.suite))


def run_of(registry: Registry, version: Version, text: str) -> RunRecord:
    """Return the run of a version that an id, or the beginning of one, names.

    Raises:
        UsageMistake: There is none, or it is of another version.
    """
    record = registry.runs.get(text)
    if record.run.version != version.id:
        other = registry.versions.get(record.run.version)
        label = other.label if other else record.run.version[:8]
        raise UsageMistake(
            f"run `{text}` is a run of `{label}`, not of `{version.label}`",
            hint=f"`lockgate show {label} --run {text}`",
        )
    return record


def _failing(registry: Registry, digest: str, runs: list[str]) -> Failing:
    suite = stored_suite(registry, digest)
    spec = suite.scorers[0]
    pool = registry.runs.pooled(runs)
    scores = pool.scores.get(spec.metric, {})
    wrong = {case for case, score in scores.items() if score < _RIGHT}
    first = _first_wrong_answers(registry, runs, wrong, spec.metric, set(scores))
    return Failing(
        suite.name,
        spec.metric,
        tuple(runs),
        len(scores),
        tuple(
            _wrong(suite, spec, answer, scores.get(case)) for case, answer in sorted(first.items())
        ),
    )


def _first_wrong_answers(
    registry: Registry, runs: list[str], wrong: set[str], metric: str, scored: set[str]
) -> dict[str, Answer]:
    first: dict[str, Answer] = {}
    for run in runs:
        failed = {
            answer.case
            for answer in registry.runs.raw_answers(run)
            if answer.scores is None and answer.case not in scored
        }
        for answer in registry.runs.answers(run, wrong | failed):
            is_wrong = answer.scores is None or answer.scores.get(metric, 1.0) < _RIGHT
            if is_wrong and not (answer.scores is None and answer.case in scored):
                first.setdefault(answer.case, answer)
    return first


def _wrong(suite: Suite, spec: ScorerSpec, answer: Answer, score: float | None) -> Wrong:
    case = suite.by_id[answer.case]
    return Wrong(
        case.id,
        case.input,
        part_shown(case.expected, spec.expected),
        part_shown(answer.output, spec.field),
        answer.error,
        score,
        case.tags,
    )


def part_shown(value: Any, path: str | None) -> Any:
    """Return what a scorer looks at in a JSON value; the whole value when its path leads nowhere."""
    found = at_path(value, path, read_text=True)
    return value if found is MISSING else found
