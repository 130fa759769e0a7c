"""Facts that several views tell: a version's score, its state, and the way back of an environment.

- A score is that of the newest completed run, as the run's end recorded it; nothing is recomputed.
- Scores are compared on the same cases only: on one suite digest.
- The way back is the newest other definition promoted there by a passing gate, not quarantined and
  never itself left by a rollback.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from lockgate.domain.evidence import MetricSummary, RunRecord
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Policy
from lockgate.domain.release import Deployment
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.loop.standing import why_not_standing

if TYPE_CHECKING:
    from lockgate.ports import Registry

FAR_BACK = 100
"""How many generations of an environment are looked through for a way back."""


class Yardstick(NamedTuple):
    """What the versions of a system are measured by where there is room for one number only."""

    suite: str
    digest: str
    metric: str | None
    """`None` takes the first metric of the suite."""
    cases: int


class Score(NamedTuple):
    """One metric of one completed run, as it was recorded when the run ended."""

    suite: str
    metric: str
    value: float
    lower: float | None
    upper: float | None
    n: int
    run: str
    digest: str
    """Of the suite; scores on different ones are not comparable."""


class State(NamedTuple):
    """Where a version stands: the name of a glyph, and words."""

    mark: str
    """`pass`, `fail`, `inconclusive`, `waiting`, `running`, `skipped` or `unknown`."""
    words: str


class Situation(NamedTuple):
    """What is true of a whole system now, looked up once for a page of versions."""

    live: dict[str, list[str]]
    """Version id to the environments where it is live, the one nearest to users first."""
    way_back: str | None
    """Id of the version that the environment nearest to users would go back to."""
    was_live: frozenset[str]
    quarantined: frozenset[str]
    """Definition digests."""
    open_runs: frozenset[str]
    """Version ids with a run that has not ended."""
    ungated: frozenset[str]
    """Version ids that somebody broke the glass for."""


def yardstick(registry: Registry, system: str, policy: Policy | None) -> Yardstick | None:
    """Return what to measure by: the first score the last environment asks for, else any suite."""
    applied = registry.applied.suites(system)
    for environment in reversed(list(policy.environments.values()) if policy else []):
        rules = environment.rules_for(system)
        for rule in rules.rules if rules else ():
            suite = applied.get(rule.suite)
            if suite is not None and is_score(rule.metric):
                return Yardstick(suite.name, suite.digest, rule.metric, suite.cases)
    for suite in applied.values():
        return Yardstick(suite.name, suite.digest, None, suite.cases)
    return None


def score_of(registry: Registry, version_id: str, by: Yardstick | None) -> Score | None:
    """Return a version's newest score on the yardstick, else its newest on any other suite."""
    records = registry.runs.of_version(version_id)
    completed = [record for record in records if record.is_completed]
    if not completed:
        return None
    if by is None:
        return _score(registry, completed[-1], None)
    same = [record for record in completed if record.run.suite == by.digest]
    if same:
        return _score(registry, same[-1], by)
    named = [r for r in completed if registry.applied.suite_name(r.run.suite) == by.suite]
    return _score(registry, (named or completed)[-1], by if named else None)


def _score(registry: Registry, record: RunRecord, by: Yardstick | None) -> Score | None:
    summary = main_metric(record, by.metric if by else None)
    if summary is None:
        return None
    return Score(
        registry.applied.suite_name(record.run.suite),
        summary.metric,
        summary.value,
        summary.lower,
        summary.upper,
        summary.n,
        record.run.id,
        record.run.suite,
    )


def main_metric(record: RunRecord, metric: str | None = None) -> MetricSummary | None:
    """Return one metric of a completed run: the one that is named, else the suite's first."""
    summary = record.end.summary if record.end else ()
    named = next((found for found in summary if found.metric == metric), None)
    return named or next(iter(summary), None)


def way_back(
    registry: Registry,
    deployments: Sequence[Deployment],
    live: Deployment | None,
    quarantined: frozenset[str],
) -> Version | None:
    """Return the version a rollback would go to.

    Args:
        registry: Where the versions are.
        deployments: Of one environment, newest first.
        live: What is live there.
        quarantined: Definition digests.
    """
    if live is None:
        return None
    now_live = registry.versions.get(live.attempt.version or "")
    was_live = [found for found in deployments if found.outcome == "live"]
    left = {
        older.attempt.version
        for newer, older in zip(was_live, was_live[1:], strict=False)
        if newer.attempt.kind == "rollback"
    }
    for found in was_live:
        attempt = found.attempt
        if attempt.generation >= live.attempt.generation or attempt.kind != "promote":
            continue
        if attempt.version in left or attempt.version == live.attempt.version:
            continue
        version = registry.versions.get(attempt.version or "")
        if version is None or version.definition in quarantined:
            continue
        if now_live is None or version.definition != now_live.definition:
            return version
    return None


def environments_of(registry: Registry, system: str, policy: Policy | None) -> list[str]:
    """Return the environments of a system, the one nearest to users first."""
    named = list(policy.environments) if policy else []
    used = registry.releases.environments(system)
    return [*reversed(named), *(name for name in used if name not in named)]


def situation(registry: Registry, system: str, policy: Policy | None) -> Situation:
    """Return what is live, was live, is quarantined and is being evaluated in a system."""
    quarantined = frozenset(q.definition for q in registry.releases.quarantines(system))
    live: dict[str, list[str]] = {}
    back: Version | None = None
    was_live: set[str] = set()
    ungated: set[str] = set()
    for environment in environments_of(registry, system, policy):
        deployments = registry.releases.deployments(system, environment, limit=FAR_BACK)
        now = registry.releases.live(system, environment)
        if now is not None and now.attempt.version is not None:
            live.setdefault(now.attempt.version, []).append(environment)
        if back is None:
            back = way_back(registry, deployments, now, quarantined)
        was_live |= {
            found.attempt.version
            for found in deployments
            if found.outcome == "live" and found.attempt.version is not None
        }
        ungated |= {
            found.attempt.version
            for found in registry.upkeep.ungated(system, environment)
            if found.attempt.version is not None
        }
    running = frozenset(record.run.version for record in registry.runs.open(system))
    return Situation(
        live,
        back.id if back else None,
        frozenset(was_live),
        quarantined,
        running,
        frozenset(ungated),
    )


def state_of(registry: Registry, version: Version, score: Score | None, now: Situation) -> State:
    """Return where a version stands, the most important thing first.

    A version that somebody broke the glass for is marked so for ever.
    """
    state = _state_of(registry, version, score, now)
    if version.id not in now.ungated:
        return state
    return State("inconclusive" if state.mark == "pass" else state.mark, f"{state.words}, ungated")


def _state_of(registry: Registry, version: Version, score: Score | None, now: Situation) -> State:
    if version.id in now.live:
        first, *others = now.live[version.id]
        where = first.upper() + (f" +{len(others)}" if others else "")
        if version.definition in now.quarantined:
            return State("fail", f"{where} quarantined")
        return State("pass", where)
    if version.definition in now.quarantined:
        return State("fail", "quarantined")
    if version.id == now.way_back:
        return State("pass", "way back")
    if version.id in now.open_runs:
        return State("running", "run not ended")
    if version.track != "release":
        if score is None:
            return State("waiting", f"{version.track}, no run")
        return State("pass", version.track)
    if score is None:
        return State("waiting", "not evaluated")
    if version.id in now.was_live:
        return State("skipped", "was live")
    return _decided(registry, version)


def _decided(registry: Registry, version: Version) -> State:
    decisions = registry.releases.decisions(version.system, version_id=version.id, limit=1)
    if not decisions:
        return State("waiting", "evaluated")
    decision = decisions[0]
    if decision.outcome == "fail":
        return State("fail", "refused")
    if why_not_standing(registry, decision):
        return State("waiting", "evaluated")
    if decision.outcome == "inconclusive":
        return State("inconclusive", "inconclusive")
    return State("pass", "gate passed")


def recorded_at(deployment: Deployment) -> datetime:
    """Return when a deployment counted from: its settlement, else its attempt."""
    return deployment.settled_at or deployment.attempt.at


def difference_lines(
    registry: Registry, before: Version | None, after: Version | None
) -> tuple[str, ...]:
    """Return what differs between two versions, a line a component.

    A definition that is damaged or gone is said to be so: whoever looks at night still has to see
    the rest of the page.
    """
    if before is None or after is None or before.definition == after.definition:
        return ()
    from lockgate.domain.difference import difference

    try:
        old = registry.versions.definition(before.definition)
        return tuple(difference(old, registry.versions.definition(after.definition)).summary())
    except (LockgateError, LookupError) as error:
        what = error.what if isinstance(error, LockgateError) else str(error)
        return (f"what differs cannot be read: {what}",)
