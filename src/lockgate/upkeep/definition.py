"""The definition page: what a version of one system is, concretely, on one page.

- It tells of what is live nearest to users; before anything is live, of the newest release.
- A component that a version does not have is not part of it, and the page says so by leaving it out.
- A definition that is damaged is told as damaged; the rest of the page stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.domain.evidence import MetricSummary
from lockgate.domain.figures import interval, metric
from lockgate.domain.policy import Policy
from lockgate.domain.release import Approval, Decision
from lockgate.domain.times import shown_time
from lockgate.domain.version import Version
from lockgate.errors import LockgateError
from lockgate.upkeep.handoff import reference_version, travel_order
from lockgate.upkeep.markdown import code, listed, page, plain, shell, table

if TYPE_CHECKING:
    from lockgate.ports import Registry

COMMAND = "definition"
_SHOWN_FILES = 4
_SETTING_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Part:
    """One component."""

    name: str
    settings: Mapping[str, Any]
    files: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One completed run that approved what is told of."""

    suite: str
    run: str
    answers: int
    errors: int
    metrics: tuple[MetricSummary, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """What a version of a system is, as values."""

    system: str
    version: Version | None
    """`None` when none is registered."""
    parent: str | None
    environments: tuple[str, ...]
    """Where it is live."""
    parts: tuple[Part, ...]
    damage: str | None
    """Why the definition cannot be read; `None` when it can."""
    decision: Decision | None
    """Of the newest passing promotion to the environment nearest to users."""
    generation: int | None
    approvals: tuple[Approval, ...]
    runs: tuple[Scored, ...]
    is_ungated: bool


def described(registry: Registry, system: str, policy: Policy | None) -> Described:
    """Return what a version of a system is.

    Args:
        registry: Where everything is recorded.
        system: Which one; it may have no version yet.
        policy: As applied; says which environment is nearest to users.
    """
    used = registry.releases.environments(system)
    order = travel_order(policy) if policy else []
    order = [*(name for name in used if name not in order), *order]
    version = reference_version(registry, system, order[::-1])
    if version is None:
        return Described(system, None, None, (), (), None, None, None, (), (), False)
    live = registry.releases.where_live(system).get(version.id, [])
    environments = tuple(name for name in reversed(order) if name in live)
    parts, damage = _parts(registry, version)
    decision, generation, is_ungated = _decision(registry, version, environments)
    parent = registry.versions.get(version.parent) if version.parent else None
    return Described(
        system,
        version,
        parent.label if parent else None,
        environments,
        parts,
        damage,
        decision,
        generation,
        tuple(registry.releases.approvals(decision.id)) if decision else (),
        tuple(_runs(registry, decision)) if decision else (),
        is_ungated,
    )


def _parts(registry: Registry, version: Version) -> tuple[tuple[Part, ...], str | None]:
    try:
        definition = registry.versions.definition(version.definition)
    except (LookupError, LockgateError) as error:
        return (), error.what if isinstance(error, LockgateError) else str(error)
    digests = definition.component_digests
    parts = [
        Part(name, dict(part.settings), tuple(sorted(part.paths())), digests[name])
        for name, part in ((name, definition.components[name]) for name in definition.ordered())
    ]
    return tuple(parts), None


def _decision(
    registry: Registry, version: Version, environments: tuple[str, ...]
) -> tuple[Decision | None, int | None, bool]:
    """Return what let a version in where it is live, for which generation, and if nothing did."""
    for name in environments:
        live = registry.releases.live(version.system, name)
        found = live
        if live is not None and live.attempt.decision is None:
            found = registry.releases.promoted(version.system, name, version.definition)
        if found is not None and found.attempt.decision is not None:
            decision = registry.releases.decision(found.attempt.decision)
            is_ungated = live is not None and live.is_ungated
            return decision, found.attempt.generation, is_ungated
        return None, None, live is not None and live.attempt.kind == "break_glass"
    return None, None, False


def _runs(registry: Registry, decision: Decision) -> Iterator[Scored]:
    for used in decision.runs:
        record = registry.runs.get(used.run)
        if used.role == "candidate" and record.end is not None:
            suite = registry.applied.suite_name(record.run.suite)
            end = record.end
            yield Scored(suite, record.run.id, end.answers, end.errors, end.summary)


def definition_page(told: Described) -> str:
    """Return the page; the same values always give the same text."""
    return page(f"{COMMAND} -s {told.system}", _lines(told))


def _lines(told: Described) -> Iterator[str]:
    yield f"# What a version of {told.system} is"
    yield ""
    yield (
        "A version is a definition in a history: every setting and every byte that changes how the "
        "system behaves, and the version it was made from. What is told here is registered; nothing "
        "registered ever changes."
    )
    yield ""
    if told.version is None:
        yield (
            f"No version of {code(told.system)} is registered yet. `lockgate register "
            f"-s {told.system} -m REASON` makes the first; then write this page again: "
            f"`lockgate definition -s {told.system}`."
        )
        return
    yield from _which(told, told.version)
    yield from _components(told)
    yield from _digest(told, told.version)
    yield from _approved(told)
    yield from _labels()


def _which(told: Described, version: Version) -> Iterator[str]:
    where = f"live in {listed(told.environments)}" if told.environments else "not live anywhere"
    yield f"## {version.label}, {where}"
    yield ""
    origin = f"from {told.parent}" if told.parent else "the first of its line"
    rows = (
        ("owner", plain(version.owner)),
        (
            "registered",
            f"{origin} by {plain(version.registrar)}, {shown_time(version.at)}: "
            f"{plain(version.reason)}",
        ),
        ("version id", code(version.id)),
        ("definition digest", code(version.definition)),
    )
    yield from table(("", ""), rows)
    yield ""


def _components(told: Described) -> Iterator[str]:
    if told.damage is not None:
        yield f"**Its definition cannot be read: {plain(told.damage)}.** Restore a backup."
        yield ""
        return
    head = ("component", "settings", "files", "digest of the component")
    yield from table(
        head, ((p.name, _settings(p), _files(p), code(p.digest[:16])) for p in told.parts)
    )
    yield ""
    yield (
        "Not part of it: where it runs (endpoint, key, time limit: `where.toml`), who owns it, why "
        "and when it was registered, and what `[ignore]` in lockgate.toml names."
    )
    yield ""


def _settings(part: Part) -> str:
    told = [
        code(
            f"{key} = {json.dumps(value, ensure_ascii=False, sort_keys=True)}",
            limit=_SETTING_CHARACTERS,
        )
        for key, value in sorted(part.settings.items())
    ]
    return "<br>".join(told) or "-"


def _files(part: Part) -> str:
    if not part.files:
        return "-"
    names = "<br>".join(code(path, limit=_SETTING_CHARACTERS) for path in part.files[:_SHOWN_FILES])
    more = len(part.files) - _SHOWN_FILES
    count = "1 file" if len(part.files) == 1 else f"{len(part.files)} files"
    return f"{count}<br>{names}<br>and {more} more" if more > 0 else f"{count}<br>{names}"


def _digest(told: Described, version: Version) -> Iterator[str]:
    yield "## How the digest is made, and made again"
    yield ""
    yield (
        'The definition digest is the SHA-256 of the RFC 8785 canonical JSON of `{"format": 1, '
        '"components": {NAME: {"settings": {...}, "files": {PATH: SHA256}}}}`; a file that may be '
        "executed stands under `executables`. The version id is the SHA-256 of the canonical JSON "
        'of `{"format": 1, "system", "definition", "parent", "track"}`. This prints the digest '
        "above, and every file it names can be checked with `sha256sum`:"
    )
    yield ""
    yield from shell(f"lockgate show {version.label} --definition -s {told.system} | sha256sum")


def _approved(told: Described) -> Iterator[str]:
    yield "## The eval result that approved it"
    yield ""
    if told.is_ungated:
        yield "**What is live is ungated: somebody broke the glass, and no gate let this in.**"
        yield ""
    decision = told.decision
    if decision is None:
        nothing = "nothing is live yet, so nothing approved it" if not told.environments else "none"
        yield f"{nothing[0].upper()}{nothing[1:]}: `lockgate status -s {told.system}` says what is next."
        yield ""
        return
    yield (
        f"The gate said **{decision.outcome}** for {decision.environment}, generation "
        f"{told.generation}: decision {code(decision.id)} by {plain(decision.actor)}, "
        f"{shown_time(decision.at)}, under policy {code(decision.policy[:16])}."
    )
    yield ""
    rows = (
        (plain(finding.rule), finding.outcome, plain(finding.reason))
        for finding in decision.findings
    )
    yield from table(("rule", "outcome", "numbers"), rows)
    yield ""
    for approval in told.approvals:
        key = f"signed with {code(approval.key)}" if approval.key else "claimed, no key"
        note = f": {plain(approval.note)}" if approval.note else ""
        yield f"- {plain(approval.signer)} said {approval.word}, {key}{note}"
    if not told.approvals:
        yield f"- no approval was {'given' if decision.approvals_needed else 'needed'}"
    for scored in told.runs:
        scores = listed([_metric(summary) for summary in scored.metrics])
        yield (
            f"- run {code(scored.run[:16])} on {code(scored.suite)}: {scored.answers} answers, "
            f"{scored.errors} errors; {scores}"
        )
    yield ""


def _metric(summary: MetricSummary) -> str:
    text = f"{plain(summary.metric)} {metric(summary.metric, summary.value)}"
    if summary.lower is None or summary.upper is None:
        return text
    return f"{text} {plain(interval(summary.lower, summary.upper))}"


def _labels() -> Iterator[str]:
    yield "## Labels"
    yield ""
    yield (
        "`v14` is a release, `x9` an experiment, which reaches no environment, `r3` a rehearsal, "
        "which reaches only environments made for it. A winning experiment is registered as a "
        "release with the experiment as its parent, and passes the gate as itself."
    )
