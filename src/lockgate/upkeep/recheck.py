"""Recheck: evaluate what is live once more, although nothing of ours changed since it was approved.

- The cases are those of the runs that approved it, also where another suite is applied by now.
- It is held against those runs alone, case by case; earlier rechecks do not soften it.
- A metric fell when the whole interval of its change is below zero. All metrics of one recheck
  together raise a false alarm once in twenty times at most: the confidence is shared among them.
- A latency is judged only where a rule is about it, and shown otherwise.
- The new run voids every decision that rests on this version or was compared with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from lockgate.domain import figures
from lockgate.domain.evidence import CaseScores, RunRecord
from lockgate.domain.metrics import is_score
from lockgate.domain.policy import Policy, Rule, allowed_errors, stop_after_errors
from lockgate.domain.release import Decision, Deployment, Finding
from lockgate.domain.suite import Suite
from lockgate.domain.upkeep import FELL, HELD, OPEN_QUESTION, Recheck
from lockgate.domain.version import Version
from lockgate.errors import Refused, Rejected, StaleGeneration, UsageMistake
from lockgate.evals.metrics import metric_value
from lockgate.evals.progress import Progress
from lockgate.evals.stats import discordance_rate, smallest_visible_drop
from lockgate.evals.verdict import compare, judge
from lockgate.loop.evaluate import Limits, OpenRunner, evaluate
from lockgate.loop.standing import check_no_rehearsal, why_not_standing
from lockgate.ports import Registry
from lockgate.upkeep.rollback import find_way_back

FALSE_ALARMS = 0.05
"""How often a recheck of something that did not change says that it fell, at most."""
_LATENCY = "p95_ms"


@dataclass(frozen=True, slots=True)
class Voided:
    """A decision that rested on a run of the version, or was compared with it."""

    decision: Decision
    label: str
    """Of the version it is about."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What a recheck found."""

    version: Version
    record: Recheck
    voided: tuple[Voided, ...]
    hint: str
    """What to do when it fell; empty otherwise."""


@dataclass(frozen=True, slots=True)
class _Basis:
    """One suite, and what was known of the version on it before."""

    suite: Suite
    digest: str
    runs: tuple[str, ...]
    rules: tuple[Rule, ...]

    def metrics(self) -> list[str]:
        """Return the scores that are judged: those of the rules, or all where there is none."""
        named = [rule.metric for rule in self.rules] or list(self.suite.metrics)
        return [metric for metric in dict.fromkeys(named) if is_score(metric)]


def recheck(
    registry: Registry,
    system: str,
    environment_name: str,
    policy: Policy,
    open_runner: OpenRunner,
    *,
    actor: str,
) -> Iterator[Progress | Rechecked]:
    """Evaluate what is live there again, and hold it against what approved it.

    Args:
        registry: Where it is recorded.
        system: The system.
        environment_name: One of the policy's.
        policy: As applied.
        open_runner: Makes the version ready to be asked.
        actor: Who asks.

    Yields:
        The runs as they go; the last thing is what was found.

    Raises:
        Refused: Nothing is live there, or a rehearsal is, or there is no suite.
        InfrastructureFailed: It cannot be asked; nothing was recorded but the open run.
        StaleGeneration: Something else went live meanwhile; nothing was recorded but the runs.
    """
    environment = policy.environment(environment_name)
    check_no_rehearsal(registry, system, environment_name)
    live = registry.releases.live(system, environment_name)
    version = registry.versions.get(live.attempt.version or "") if live else None
    if live is None or version is None:
        raise Refused(
            f"nothing of {system} is live in {environment_name}: there is nothing to recheck",
            hint=f"`lockgate status -s {system}`",
        )
    approved = approving_decision(registry, live, version)
    rules = environment.rules_for(system)
    bases = _bases(registry, version, approved, rules.rules if rules else ())
    standing = _standing(registry, version)
    fresh: list[tuple[_Basis, RunRecord]] = []
    since = approved.seq if approved else live.attempt.seq
    for basis in bases:
        run = evaluate(
            registry,
            version,
            basis.digest,
            open_runner,
            actor=actor,
            limits=Limits(allowed_errors(policy, system), stop_after_errors(policy, system)),
            resume=_cut_short(registry, version, basis.digest, since),
        )
        assert isinstance(run, Generator)
        with closing(run):
            try:
                for progress in run:
                    yield progress
            except KeyboardInterrupt as stopped:
                run.throw(stopped)  # the run itself says how it goes on
                raise
        fresh.append((basis, registry.runs.get(progress.run)))
    findings = [*_origin(registry, version, live, approved, bases)]
    share = FALSE_ALARMS / max(sum(len(basis.metrics()) for basis in bases), 1)
    for basis, record in fresh:
        findings += _held_against(registry, version, basis, record, 1 - share)
    outcome = _outcome(findings)
    if outcome == FELL:
        findings.append(_about_the_way_back(registry, version, environment_name))
    record_ = Recheck(
        system,
        environment_name,
        live.attempt.generation,
        version.id,
        outcome,
        tuple(findings),
        actor,
    )
    try:
        with registry.write() as writing:
            record_ = writing.append(record_)
    except Rejected as error:
        raise StaleGeneration(
            f"something else went live in {environment_name} meanwhile: its runs are kept, and say "
            f"nothing about what is live now",
            hint=f"`lockgate recheck {environment_name} -s {system}` asks what is live now",
        ) from error
    hint = findings[-1].hint if outcome == FELL else ""
    yield Rechecked(version, record_, tuple(standing), hint)


def approving_decision(registry: Registry, live: Deployment, version: Version) -> Decision | None:
    """Return the decision that let in what is live; `None` for what no gate ever let in."""
    attempt = live.attempt
    decision = attempt.decision
    if attempt.kind == "break_glass":
        closing_ = registry.upkeep.closing(attempt.system, attempt.environment, attempt.generation)
        decision = closing_.decision if closing_ else None
    if decision is None:
        promoted = registry.releases.promoted(
            attempt.system, attempt.environment, version.definition
        )
        decision = promoted.attempt.decision if promoted else None
    return registry.releases.decision(decision) if decision else None


def _bases(
    registry: Registry, version: Version, approved: Decision | None, rules: tuple[Rule, ...]
) -> list[_Basis]:
    """Return what to ask, each with the runs to hold the answers against.

    Raises:
        Refused: There is no suite.
    """
    runs: dict[str, list[str]] = {}
    if approved is not None:
        for part in approved.runs:
            if part.role == "candidate":
                digest = registry.runs.get(part.run).run.suite
                runs.setdefault(digest, []).append(part.run)
    else:
        for info in registry.applied.suites(version.system).values():
            known = registry.runs.completed(version.id, info.digest)
            runs[info.digest] = [record.run.id for record in known]
    if not runs:
        raise Refused(
            f"no suite of {version.system} is applied, so there is nothing to ask",
            hint="write suites/NAME.toml, then `lockgate suite apply`",
        )
    found = []
    for digest, known_runs in runs.items():
        suite = registry.applied.suite(digest)
        about = tuple(rule for rule in rules if rule.suite == suite.name)
        found.append(_Basis(suite, digest, tuple(known_runs), about))
    return sorted(found, key=lambda basis: basis.suite.name)


def _cut_short(registry: Registry, version: Version, digest: str, since: int) -> RunRecord | None:
    """Return the run of an earlier recheck that was cut short, to go on with."""
    records = registry.runs.of_version(version.id, digest)
    return next((one for one in reversed(records) if one.end is None and one.run.seq > since), None)


def _standing(registry: Registry, version: Version) -> list[Voided]:
    """Return the decisions that a new run of a version makes void."""
    return [
        Voided(decision, _label(registry, decision.version))
        for decision in registry.releases.decisions(version.system, limit=200)
        if decision.promotable
        and version.id in (decision.version, decision.baseline_version)
        and why_not_standing(registry, decision) is None
    ]


def _label(registry: Registry, version_id: str) -> str:
    version = registry.versions.get(version_id)
    return version.label if version else version_id[:8]


def _origin(
    registry: Registry,
    version: Version,
    live: Deployment,
    approved: Decision | None,
    bases: list[_Basis],
) -> Iterator[Finding]:
    """Say what it is held against, and what about that is unusual."""
    name = "approved by"
    if approved is not None:
        yield Finding(name, "pass", f"decision {approved.id[:8]} for {approved.environment}")
    else:
        known = any(basis.runs for basis in bases)
        against = "earlier runs" if known else "nothing: this is its first run"
        yield Finding(
            name,
            "skipped" if known else "inconclusive",
            f"no gate let {version.label} in (generation {live.attempt.generation}); held against "
            f"{against}",
        )
    applied = registry.applied.suites(version.system)
    for basis in bases:
        now = applied.get(basis.suite.name)
        if now is None or now.digest != basis.digest:
            yield Finding(
                f"{basis.suite.name} suite",
                "skipped",
                "another one is applied since; the cases that approved it were asked",
            )
    asked = {basis.suite.name for basis in bases}
    for other in sorted(set(applied) - asked):
        yield Finding(f"{other} suite", "skipped", "no run on it approved this version")


def _held_against(
    registry: Registry, version: Version, basis: _Basis, record: RunRecord, confidence: float
) -> Iterator[Finding]:
    suite = basis.suite
    now = registry.runs.pooled([record.run.id])
    before = registry.runs.pooled(basis.runs)
    for metric in basis.metrics():
        yield _score(metric, suite, now, before, confidence)
    if basis.runs:
        yield _answers(registry, suite, record, basis.runs[-1])
    about = [rule for rule in basis.rules if not is_score(rule.metric)]
    for rule in about:
        yield from judge(rule, suite, version.label, now, None)
    if not any(rule.metric == _LATENCY for rule in about):
        yield Finding(f"{suite.name} {_LATENCY}", "skipped", _latencies(suite, now, before))


def _latencies(suite: Suite, now: CaseScores, before: CaseScores) -> str:
    value, was = (metric_value(suite, pool, _LATENCY) for pool in (now, before))
    told = figures.metric(_LATENCY, value)
    return f"{told}, was {figures.metric(_LATENCY, was)}; not judged" if was else told


def _score(
    metric: str, suite: Suite, now: CaseScores, before: CaseScores, confidence: float
) -> Finding:
    name = f"{suite.name} {metric}"
    paired = compare(metric, suite, now, before, confidence)
    if paired.n == 0 or paired.interval is None:
        return Finding(name, "inconclusive", "no case has a score in an earlier run")
    low, high = paired.interval.lower, paired.interval.upper
    rate = discordance_rate(paired.won, paired.tied, paired.lost)
    smallest = smallest_visible_drop(paired.n, rate, confidence)
    value = metric_value(suite, now, metric)
    reason = (
        f"{figures.metric(metric, value)}, {figures.signed(paired.difference)} "
        f"{figures.signed_interval(low, high)}; better {paired.won}, worse {paired.lost}, same "
        f"{paired.tied} of the cases that approved it"
    )
    numbers = {
        "metric": metric,
        "suite": suite.name,
        "value": value,
        "difference": paired.difference,
        "lower": low,
        "upper": high,
        "confidence": confidence,
        "won": paired.won,
        "lost": paired.lost,
        "tied": paired.tied,
        "smallest_visible_drop": smallest,
    }
    if high < 0:
        return Finding(name, "fail", reason, numbers=numbers)
    seen = f"; a fall of about {figures.score(smallest)} would have shown"
    return Finding(name, "pass", reason + seen, numbers=numbers)


def _answers(registry: Registry, suite: Suite, record: RunRecord, earlier: str) -> Finding:
    """Count the answers that are not the same text any more, which no score may have noticed."""
    before = {
        (answer.case, answer.repeat): answer.output
        for answer in registry.runs.raw_answers(earlier)
        if answer.scores is not None
    }
    now = {
        (answer.case, answer.repeat): answer.output
        for answer in registry.runs.raw_answers(record.run.id)
        if answer.scores is not None
    }
    both = before.keys() & now.keys()
    changed = sum(before[key] != now[key] for key in both)
    return Finding(
        f"{suite.name} answers",
        "skipped",
        f"{changed} of {len(both)} are not the same as in run {earlier[:8]}",
        numbers={"suite": suite.name, "changed": changed, "of": len(both)},
    )


def _outcome(findings: list[Finding]) -> str:
    outcomes = {finding.outcome for finding in findings}
    if "fail" in outcomes:
        return FELL
    return OPEN_QUESTION if "inconclusive" in outcomes else HELD


def _about_the_way_back(registry: Registry, version: Version, environment: str) -> Finding:
    """Say whether going back would help: not where the version before asks the same model."""
    new_one = (
        "pin the model or change what asks it, register that, and gate it: the run just made is "
        "what it is compared with"
    )
    try:
        to = find_way_back(registry, version.system, environment).to
    except (Refused, UsageMistake) as error:
        return Finding("a rollback", "skipped", error.what, new_one)
    mine, theirs = (
        registry.versions.definition(one.definition).component_digests.get("model")
        for one in (version, to)
    )
    if mine == theirs:
        return Finding(
            "a rollback",
            "skipped",
            f"would not help by itself: {to.label} asks the same model, and what was registered of "
            f"{version.label} has not changed",
            new_one,
        )
    return Finding(
        "a rollback",
        "skipped",
        f"may help: {to.label} asks another model",
        f"`lockgate evaluate {to.label} -s {version.system} --fresh`, and if it holds "
        f"`lockgate rollback {environment} -s {version.system}`",
    )
