"""`lockgate evaluate`: run the suites against a version, live."""

from __future__ import annotations

import click

from lockgate import wiring
from lockgate.cli.applied import apply_new_suites
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
from lockgate.cli.live import follow, is_told, metric_line, show_run
from lockgate.domain.evidence import RunRecord
from lockgate.domain.policy import allowed_errors, stop_after_errors
from lockgate.domain.release import SuiteInfo
from lockgate.domain.version import Version
from lockgate.errors import UsageMistake
from lockgate.loop.evaluate import Limits, evaluate, open_run, void


@click.command("evaluate", short_help="Run the suites against a version, live.")
@click.argument("version", required=False, metavar="[V]")
@click.option("--suite", metavar="NAME", help="Only this suite.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was cut short.")
@click.option("--repeats", type=click.IntRange(1, 100), help="How often each case is asked.")
@click.option("-j", "--jobs", type=click.IntRange(1, 1000), help="How many questions at once.")
@click.option("--fresh", is_flag=True, help="Run again although there is a completed run.")
@click.option("--void", "given_up", metavar="RUN", help="Give up a run that was cut short.")
@system_option
@registry_option
@json_option
def evaluate_command(
    version: str | None,
    suite: str | None,
    resume: str | None,
    repeats: int | None,
    jobs: int | None,
    fresh: bool,
    given_up: str | None,
    system: str | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Ask a registered version every case of the suites and keep every answer.

    Step 3 of 5. Without V it is the version the folder's lock names, else the newest release. A
    completed run is not repeated unless --fresh; then all completed runs count together, case by
    case, so nobody re-rolls until it passes. Ctrl-C keeps what was answered.
    """
    if resume and (fresh or repeats or suite):
        raise UsageMistake(
            "--resume goes on with a run as it was begun",
            hint="leave out --fresh, --repeats and --suite",
        )
    with desk(registry) as at:
        name = wiring.choose_system(at.registry, system)
        if given_up:
            end = void(at.registry, at.registry.runs.get(given_up), actor=at.actor)
            if as_json:
                emit(end)
            else:
                say(f"{mark('inconclusive')} run {end.run[:8]} is given up: it is no evidence")
            return
        apply_new_suites(at, name)
        if resume:
            candidate, record, info = _resumed(at, name, version, resume)
            results = [_run(at, candidate, info, jobs, None, record, as_json)]
        else:
            candidate = choose_candidate(at, name, version)
            results = [
                _one(at, candidate, info, jobs, repeats, fresh, as_json)
                for info in _suites(at, name, suite)
            ]
    if as_json:
        emit({"version": candidate.label, "id": candidate.id, "runs": results})
        return
    if candidate.track == "experiment":
        again = f"lockgate register --from {candidate.label} -s {name} -m REASON"
        tell(f"next: if it won, make it a release: `{again}`")
    else:
        tell(f"next: `lockgate gate {candidate.label} --to ENV -s {name}`")


def _resumed(
    at: Desk, system: str, text: str | None, run: str
) -> tuple[Version, RunRecord, SuiteInfo]:
    """Return the version, the record and the suite of a run that is to go on."""
    record = at.registry.runs.get(run)
    candidate = at.registry.versions.get(record.run.version)
    assert candidate is not None  # a run is always of a registered version
    here = f"`lockgate evaluate {candidate.label} -s {candidate.system}"
    asked = choose_candidate(at, system, text) if text is not None else candidate
    if asked.id != candidate.id or candidate.system != system:
        raise UsageMistake(
            f"run `{run}` is of `{candidate.label}` of `{candidate.system}`",
            hint=f"{here} --resume {record.run.id}`",
        )
    for info in _suites(at, candidate.system, None):
        if info.digest == record.run.suite:
            return candidate, record, info
    raise UsageMistake(
        f"run `{run}` is on a suite that is no longer applied",
        hint=f"begin a new one: {here}`",
    )


def choose_candidate(at: Desk, system: str, text: str | None) -> Version:
    """Return the version that was named, else the folder's, else the newest release."""
    if text is not None:
        return wiring.choose_version(at.registry, system, text)
    locked = wiring.locked_version(at.root, system)
    found = at.registry.versions.get(locked) if locked else None
    if found is not None:
        return found
    versions = at.registry.versions
    newest = versions.page(system, limit=1, track="release") or versions.page(system, limit=1)
    if not newest:
        raise UsageMistake(
            f"nothing of `{system}` is registered yet",
            hint=f"`lockgate register -s {system} -m REASON`",
        )
    return newest[0]


def _suites(at: Desk, system: str, wanted: str | None) -> list[SuiteInfo]:
    applied = at.registry.applied.suites(system)
    if wanted is None:
        if not applied:
            raise UsageMistake(
                f"no suite of `{system}` is applied",
                hint="write suites/NAME.toml with cases, then `lockgate suite apply`",
            )
        return list(applied.values())
    if wanted not in applied:
        raise UsageMistake(
            f"no suite `{wanted}` is applied for `{system}`",
            hint=f"applied are {', '.join(applied) or 'none'}; `lockgate suite` lists the files too",
        )
    return [applied[wanted]]


def _one(
    at: Desk,
    version: Version,
    info: SuiteInfo,
    jobs: int | None,
    repeats: int | None,
    fresh: bool,
    as_json: bool,
) -> dict[str, object]:
    done = at.registry.runs.completed(version.id, info.digest)
    if done and not fresh:
        record = done[-1]
        if not as_json:
            _show_known(version, info, record)
        return run_body(record, is_new=False)
    resume = None if fresh else open_run(at.registry, version, info)
    if resume is not None:
        tell(f"going on with run {resume.run.id[:8]}, which was cut short")
    return _run(at, version, info, jobs, repeats, resume, as_json)


def _run(
    at: Desk,
    version: Version,
    info: SuiteInfo,
    jobs: int | None,
    repeats: int | None,
    resume: RunRecord | None,
    as_json: bool,
) -> dict[str, object]:
    with at.registry.write(durable=False):
        pass  # a registry that cannot be written is told before a version is started
    baseline = compared_with(at, version)
    policy = wiring.applied_policy_or_none(at.registry)
    limits = (
        Limits(allowed_errors(policy, version.system), stop_after_errors(policy, version.system))
        if policy
        else Limits()
    )
    steps = evaluate(
        at.registry,
        version,
        info.digest,
        wiring.runner_opener(at.root, at.registry, jobs),
        actor=at.actor,
        limits=limits,
        repeats=repeats,
        resume=resume,
        baseline=baseline,
    )
    label = baseline.label if baseline else None
    last = follow(steps, version.label, label)
    if not as_json:
        show_run(last, version.label, label)
    return run_body(at.registry.runs.get(last.run), is_new=True)


def compared_with(at: Desk, version: Version) -> Version | None:
    """Return what is live in the last environment of the policy that has anything live."""
    policy = wiring.applied_policy_or_none(at.registry)
    names = list(policy.environments) if policy else []
    for name in reversed(names):
        live = at.registry.releases.live(version.system, name)
        if live is not None and live.attempt.version not in (None, version.id):
            return at.registry.versions.get(live.attempt.version or "")
    return None


def _show_known(version: Version, info: SuiteInfo, record: RunRecord) -> None:
    say(
        f"{mark('pass')} {version.label} on {info.name}: evaluated already (run {record.run.id[:8]})"
    )
    for summary in record.end.summary if record.end else ():
        if is_told(summary.metric):
            say(metric_line(summary))


def run_body(record: RunRecord, *, is_new: bool) -> dict[str, object]:
    """Return a run as a JSON value."""
    return {"is_new": is_new, "run": record.run, "end": record.end}
