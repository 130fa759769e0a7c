"""Step 4, gate: decide whether a version may go to an environment, and say why with numbers.

- The gate only decides; it changes nothing that anybody uses.
- Only completed runs on the applied suites count; all of a version's runs on a suite pool.
- A candidate that does not descend from what is live would revert it silently: refused, unless stated.
- What is required elsewhere must have been promoted there, with this very definition.
- An open question blocks, asks for a reviewer, or is allowed: the policy says which.
- A decision that still stands is returned as it is, so that neither a yes nor a no is lost.
- A rehearsal is judged as the environment it protects would judge it, against what it took the
  place of; while one is live nothing else is compared with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from lockgate.domain.policy import Environment, Policy, Rule, SystemRules
from lockgate.domain.release import Decision, DecisionRun, Deployment, Finding, SuiteInfo
from lockgate.domain.version import Version
from lockgate.errors import Refused
from lockgate.evals.verdict import Baseline, judge
from lockgate.loop.standing import check_no_rehearsal, check_policy, why_not_standing
from lockgate.ports import Registry

_LINE = 50
"""How far up its line a version is looked at for what is quarantined."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A run that has to be made before the gate can decide."""

    version: Version
    suite: SuiteInfo
    is_live: bool
    """Whether the version is what is live, needed for the comparison."""


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a decision looks at."""

    registry: Registry
    version: Version
    environment: Environment
    judged_as: Environment
    """Whose rules and reviewers count: of a rehearsal those of the environment that is protected."""
    rules: SystemRules | None
    suites: dict[str, SuiteInfo]
    """The applied suites that count here, by name."""
    live: Deployment | None
    live_version: Version | None
    reverting: str | None


def asked_of_rehearsals(
    registry: Registry, system: str, environment_name: str, policy: Policy
) -> dict[str, SuiteInfo]:
    """Return the applied suites, by name, on which a rehearsal version is judged."""
    return _asked(registry, system, policy.judged_as(environment_name).rules_for(system))


def gaps(registry: Registry, version: Version, environment_name: str, policy: Policy) -> list[Gap]:
    """Return the runs that are missing: the candidate's own first, then those of what is live.

    Raises:
        Refused: A rehearsal is live there: a release is not compared with it.
    """
    if version.track == "release":
        check_no_rehearsal(registry, version.system, environment_name)
    case = _case(registry, version, environment_name, policy, None)
    found = [
        Gap(version, suite, is_live=False)
        for suite in case.suites.values()
        if not registry.runs.completed(version.id, suite.digest)
    ]
    if case.live_version is None or case.live_version.definition == version.definition:
        return found
    compared = {rule.suite for rule in _rules(case) if rule.max_drop is not None}
    found += [
        Gap(case.live_version, suite, is_live=True)
        for name, suite in case.suites.items()
        if name in compared and not registry.runs.completed(case.live_version.id, suite.digest)
    ]
    return found


def standing_decision(
    registry: Registry, version: Version, environment_name: str
) -> Decision | None:
    """Return the newest decision if a promotion may still rest on it."""
    decision = registry.releases.newest_decision(version.id, environment_name)
    if decision is None or not decision.promotable or why_not_standing(registry, decision):
        return None
    quarantined = registry.releases.quarantines(version.system, definition=version.definition)
    return None if quarantined else decision


def decide(
    registry: Registry,
    version: Version,
    environment_name: str,
    policy: Policy,
    *,
    actor: str,
    reverting: str | None = None,
    again: bool = False,
) -> Decision:
    """Decide about a version and an environment, and record it.

    Args:
        registry: Where the evidence is and the decision goes.
        version: The candidate.
        environment_name: One of the policy's.
        policy: As applied.
        actor: Who asked.
        reverting: Label of what is live, when the candidate is meant to revert it.
        again: Decide anew although a decision stands; reviewers are then asked anew.

    Raises:
        UsageMistake: There is no such environment.
        Refused: The candidate has no completed run, or one that was cut short; another policy is
            applied; or its track reaches no environment. Nothing was recorded.
    """
    applied = registry.applied.policy()
    check_policy(registry, policy)
    assert applied is not None  # or there would be nothing to check against
    standing = None if again else standing_decision(registry, version, environment_name)
    if standing is not None:
        return standing
    case = _case(registry, version, environment_name, policy, reverting)
    findings, runs = _judged(case)
    outcome, promotable, approvals = _outcome(case, findings)
    decision = Decision(
        secrets.token_hex(8),
        version.system,
        version.id,
        environment_name,
        applied.policy,
        case.live.attempt.generation if case.live else 0,
        case.live_version.id if case.live_version else None,
        outcome,
        promotable,
        approvals,
        tuple(findings),
        tuple(runs),
        actor,
        registry.now() + case.environment.max_age,
    )
    with registry.write() as writing:
        return writing.append(decision)


def would_refuse(
    registry: Registry, version: Version, environment_name: str, policy: Policy
) -> list[Finding]:
    """Return what the gate would say no for now; looking records nothing.

    Raises:
        Refused: As `decide`.
    """
    case = _case(registry, version, environment_name, policy, None)
    findings, _ = _judged(case)
    outcome, promotable, _ = _outcome(case, findings)
    return [] if promotable else [finding for finding in findings if finding.outcome == outcome]


def _judged(case: _Case) -> tuple[list[Finding], list[DecisionRun]]:
    _check_track(case)
    _check_evaluated(case)
    return _findings(case)


def _case(
    registry: Registry,
    version: Version,
    environment_name: str,
    policy: Policy,
    reverting: str | None,
) -> _Case:
    environment = policy.environment(environment_name)
    judged_as = policy.judged_as(environment_name) if version.track == "rehearsal" else environment
    rules = judged_as.rules_for(version.system)
    applied = _asked(registry, version.system, rules)
    find_live = registry.releases.live
    if version.track == "rehearsal":
        find_live = registry.releases.live_release
    live = find_live(version.system, environment_name)
    live_version = None
    if live is not None and live.attempt.version is not None:
        live_version = registry.versions.get(live.attempt.version)
    return _Case(
        registry, version, environment, judged_as, rules, applied, live, live_version, reverting
    )


def _asked(registry: Registry, system: str, rules: SystemRules | None) -> dict[str, SuiteInfo]:
    applied = registry.applied.suites(system)
    if rules is None or not rules.rules:
        return applied
    named = {rule.suite for rule in rules.rules}
    return {name: suite for name, suite in applied.items() if name in named}


def _rules(case: _Case) -> tuple[Rule, ...]:
    return case.rules.rules if case.rules else ()


def _check_track(case: _Case) -> None:
    label = case.version.label
    if case.version.track == "experiment":
        raise Refused(
            f"`{label}` is an experiment: it reaches no environment",
            hint=f"make a winner a release: `lockgate register --from {label} -m REASON`",
        )
    if case.version.track == "rehearsal" and not case.environment.rehearsal:
        raise Refused(
            f"`{label}` is a rehearsal: `{case.environment.name}` takes none",
            hint="rehearse where the policy says `rehearsal = true`",
        )
    if case.version.track == "release":
        check_no_rehearsal(case.registry, case.version.system, case.environment.name)


def _check_evaluated(case: _Case) -> None:
    if not case.suites:
        asked = ", ".join(sorted({f"`{rule.suite}`" for rule in _rules(case)}))
        raise Refused(
            f"the policy asks for {asked}, which is not applied for `{case.version.system}`"
            if asked
            else f"no suite of `{case.version.system}` is applied, so nothing can be shown to be "
            "good",
            hint="write suites/NAME.toml, then `lockgate suite apply`",
        )
    missing = [
        name
        for name, suite in case.suites.items()
        if not case.registry.runs.completed(case.version.id, suite.digest)
    ]
    if missing:
        raise Refused(
            f"version `{case.version.label}` has no completed run on "
            f"{', '.join(f'`{name}`' for name in missing)}",
            hint=f"`lockgate evaluate {case.version.label} -s {case.version.system}`",
        )
    _check_nothing_cut_short(case)


def _check_nothing_cut_short(case: _Case) -> None:
    """Refuse while answers lie in a run without an end: stopping a run is no way to re-roll it."""
    for name, suite in case.suites.items():
        for record in case.registry.runs.of_version(case.version.id, suite.digest):
            if record.end is None and case.registry.runs.asked(record.run.id):
                run, where = record.run.id, f"-s {case.version.system}"
                raise Refused(
                    f"run `{run[:8]}` of {case.version.label} on `{name}` was cut short; its "
                    "answers count too",
                    hint=f"`lockgate evaluate --resume {run} {where}` finishes it, "
                    f"`lockgate evaluate --void {run} {where}` gives it up on record",
                )


def _findings(case: _Case) -> tuple[list[Finding], list[DecisionRun]]:
    findings = [
        _registered(case),
        _intact(case),
        _contains_live(case),
        *_built_on_quarantined(case),
        *_required(case),
    ]
    findings += _quarantined(case)
    findings += _ruled(case)
    runs: list[DecisionRun] = []
    for name, suite_info in case.suites.items():
        suite_findings, suite_runs = _suite_findings(case, name, suite_info)
        findings += suite_findings
        runs += suite_runs
    unknown = {rule.suite for rule in _rules(case)} - set(case.suites)
    findings += [
        Finding(
            f"{name} applied",
            "fail",
            f"the policy asks for suite `{name}`, which is not applied for this system",
            "`lockgate suite apply`, or correct policy.toml",
        )
        for name in sorted(unknown)
    ]
    return findings, runs


def _registered(case: _Case) -> Finding:
    version = case.version
    parent = case.registry.versions.get(version.parent) if version.parent else None
    origin = f"from {parent.label}" if parent else "first of its line"
    first_line = version.reason.splitlines()[0]
    return Finding(
        "registered", "pass", f"{version.id[:8]} {origin} by {version.owner}: {first_line}"
    )


def _intact(case: _Case) -> Finding:
    """Check the candidate's own objects, cheaply: each is here; promote hashes them again."""
    files = case.registry.versions.definition(case.version.definition).files()
    missing = [path for path, digest in files.items() if not case.registry.objects.has(digest)]
    if missing:
        return Finding(
            "contents here",
            "fail",
            f"{len(missing)} of {len(files)} files are gone: {', '.join(sorted(missing)[:3])}",
            "restore the objects from a backup, or register the folder again",
        )
    return Finding("contents here", "pass", f"{len(files)} files")


def _contains_live(case: _Case) -> Finding:
    live, version = case.live_version, case.version
    if live is None:
        return Finding("contains live", "skipped", f"nothing is live in {case.environment.name}")
    if version.definition == live.definition:
        return Finding("contains live", "pass", f"same definition as {live.label}, which is live")
    if case.registry.versions.descends(version.id, live.id):
        is_parent = version.parent == live.id
        how = f"{live.label} is its parent" if is_parent else f"it descends from {live.label}"
        return Finding("contains live", "pass", how)
    if case.reverting == live.label:
        return Finding("contains live", "pass", f"it reverts {live.label}, as stated")
    return Finding(
        "contains live",
        "fail",
        f"it does not descend from {live.label}, which is live, and would silently revert it",
        f"register it again on top: `lockgate register --parent {live.label} -m REASON`, "
        f"or state it: --reverting {live.label}",
    )


def _built_on_quarantined(case: _Case) -> Iterator[Finding]:
    """Say so where a version was made on top of a quarantined one: a mended one has to be, and
    one that was not mended is what somebody has to look at."""
    live_id = case.live_version.id if case.live_version else None
    for relative in case.registry.versions.ancestors(case.version.id, limit=_LINE):
        part = case.registry.versions.get(relative.version)
        if part is None or part.id == live_id:
            return
        if part.definition == case.version.definition:
            continue
        for quarantine in case.registry.releases.quarantines(
            part.system, definition=part.definition
        ):
            yield Finding(
                "built on quarantined",
                "skipped",
                f"{part.label} is quarantined: {quarantine.reason.splitlines()[0]}; see that this "
                f"is mended: `lockgate diff {part.label} {case.version.label}`",
            )
            return


def _required(case: _Case) -> Iterator[Finding]:
    if case.version.track == "rehearsal":
        return  # it is never promoted anywhere: that must not be why it is refused
    for name in case.environment.requires:
        deployment = case.registry.releases.promoted(
            case.version.system, name, case.version.definition
        )
        if deployment is None:
            yield Finding(
                name,
                "fail",
                f"this definition was never promoted to {name} by a passing gate",
                f"`lockgate promote {case.version.label} --to {name}`",
            )
        else:
            yield Finding(
                name,
                "pass",
                f"promoted there as generation {deployment.attempt.generation}, same definition",
            )


def _quarantined(case: _Case) -> Iterator[Finding]:
    for quarantine in case.registry.releases.quarantines(
        case.version.system, definition=case.version.definition
    ):
        yield Finding(
            "not quarantined",
            "fail",
            f"quarantined by {quarantine.actor}: {quarantine.reason.splitlines()[0]}",
            f"`lockgate lift {case.version.label} -m REASON` if that was wrong",
        )


def _ruled(case: _Case) -> Iterator[Finding]:
    """Say so where nothing is asked of a system's scores."""
    if not _rules(case):
        yield Finding(
            "rules",
            "skipped",
            f"no rule for {case.version.system} in {case.environment.name}: a completed run on "
            "every suite is all that is asked",
        )


def _suite_findings(
    case: _Case, name: str, info: SuiteInfo
) -> tuple[list[Finding], list[DecisionRun]]:
    registry, version = case.registry, case.version
    suite = registry.applied.suite(info.digest)
    ours = registry.runs.completed(version.id, info.digest)
    pool = registry.runs.pooled(record.run.id for record in ours)
    runs = [DecisionRun(record.run.id, version.id, "candidate") for record in ours]
    # One run with enough answers is enough: they all count, and the others only add to them.
    errors = min(record.end.errors for record in ours if record.end is not None)
    allowed = case.rules.max_errors if case.rules else 0
    findings = [
        Finding(
            f"{name} evaluated",
            "pass" if errors <= allowed else "fail",
            f"{len(ours)} completed run{'s' if len(ours) > 1 else ''} on {info.cases} cases, "
            f"{errors} errors, at most {allowed}",
            "" if errors <= allowed else f"`lockgate evaluate {version.label} --fresh`",
        )
    ]
    baseline = None
    live = case.live_version
    if live is not None:
        theirs = registry.runs.completed(live.id, info.digest)
        same = live.definition == version.definition
        if theirs and live.id != version.id:
            runs += [DecisionRun(record.run.id, live.id, "baseline") for record in theirs]
        scores = registry.runs.pooled(record.run.id for record in theirs)
        baseline = Baseline(live.label, scores, same)
    for rule in _rules(case):
        if rule.suite == name:
            findings += judge(rule, suite, version.label, pool, baseline)
    return findings, runs


def _outcome(case: _Case, findings: list[Finding]) -> tuple[str, bool, int]:
    """Return outcome, whether it can be promoted, and how many approvals that needs."""
    needed = max(case.environment.approvals, case.judged_as.approvals)
    if any(finding.outcome == "fail" for finding in findings):
        return "fail", False, needed
    asked = {
        handling
        for finding in findings
        if finding.outcome == "inconclusive"
        for handling in _handlings(case, finding)
    }
    if not asked - {"allow"}:
        return "pass", True, needed
    if "block" in asked or not case.judged_as.reviewers:
        return "inconclusive", False, needed
    return "inconclusive", True, max(needed, 1)


def _handlings(case: _Case, finding: Finding) -> set[str]:
    """Return what the rules that may have led to an open question say about it.

    Several rules may be about one metric; the one that only limits a drop has no say about a
    minimum, and of two that limit the same the stricter one counts.
    """
    found = set()
    for rule in _rules(case):
        name = f"{rule.suite} {rule.metric}"
        has_limit = rule.min is not None or rule.max is not None
        if (has_limit and finding.rule == name) or (
            rule.max_drop is not None and finding.rule == f"{name} drop"
        ):
            found.add(rule.on_inconclusive)
    return found or {"block"}
