"""Does the way back still work?

- Somebody tried it: a rehearsal that was detected, within the cadence, and since the hook, the
  policy or the runtime changed.
- The version to go back to is there, whole, with every byte hashed.
- Where something is published, the way-back receipt and its folder hold without the registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from lockgate.domain.policy import Environment
from lockgate.domain.release import Deployment, Finding
from lockgate.domain.times import ago, shown_time
from lockgate.domain.upkeep import DETECTED, Rehearsal
from lockgate.errors import IntegrityBroken, LockgateError, Refused
from lockgate.ports import Target
from lockgate.upkeep.review_gate import bytes_finding
from lockgate.upkeep.review_look import (
    WAY_BACK,
    Look,
    Progress,
    Step,
    found,
    hashed,
    named,
    objects_finding,
)
from lockgate.upkeep.rollback import find_way_back

_PAGE = 200
_OF_THE_RUN = frozenset({"seed", "suite_seed", "target"})
"""What a run notes that says nothing about the runtime."""


def way_back_works(look: Look) -> Iterator[Step]:
    """Ask the third question."""
    yield from _rehearsals(look)
    for environment in look.environments():
        if look.live(environment)[1] is not None:
            yield from target_of(look, environment)


def _rehearsals(look: Look) -> Iterator[Finding]:
    environments = look.policy.environments.values() if look.policy else ()
    places = [environment for environment in environments if environment.rehearsal]
    if not places:
        reason = (
            "no environment of the applied policy takes rehearsals, so nobody tries the way back"
        )
        hint = "set `rehearsal = true` and `protects` for one in policy.toml, then `lockgate policy apply`"
        yield found(WAY_BACK, "rehearsal", "skipped", reason, hint)
    for environment in places:
        yield _rehearsal(look, environment)


def _rehearsal(look: Look, environment: Environment) -> Finding:
    rule = f"rehearsal {environment.name}"
    hint = look.command(f"rehearse {environment.name}")
    found_last = look.registry.upkeep.rehearsals(look.system, environment.name, limit=1)
    if not found_last:
        if look.registry.releases.live(look.system, environment.name) is None:
            return found(WAY_BACK, rule, "skipped", "nothing is live there to rehearse with")
        return found(WAY_BACK, rule, "fail", "never rehearsed", hint, looked_at=0)
    last = found_last[0]
    told = f"{shown_time(last.at)} by {last.actor}, `{last.operator}`: {last.outcome}"
    stale = [*_stale(look, environment, last)]
    if stale:
        return found(WAY_BACK, rule, "fail", f"{named(stale)}; the last was {told}", hint)
    took = f", taken back in {last.restore_ms} ms" if last.restore_ms is not None else ""
    return found(WAY_BACK, rule, "pass", f"{told}{took}", looked_at=1)


def _stale(look: Look, environment: Environment, last: Rehearsal) -> Iterator[str]:
    """Give every reason why a rehearsal says nothing about today."""
    assert look.policy is not None
    if last.outcome != DETECTED:
        yield {
            "missed": "the gate let the worse version pass",
        }.get(last.outcome, "it was broken off")
    age, cadence = look.now - last.at, look.policy.rehearsal_cadence
    if age > cadence:
        yield f"it is {ago(age)} old, the cadence is {cadence / timedelta(days=1):g} days"
    policy = look.registry.applied.policy()
    if policy is not None and policy.seq > last.seq:
        yield f"the policy was applied since, on {shown_time(policy.at)}"
    names = [environment.name, *([environment.protects] if environment.protects else [])]
    for name in names:
        target = look.around.targets.get(name)
        if target is not None and _hook_changed(look, name, target, last):
            yield f"the deploy hook of {name} changed since"
    apart = _runtime_changes(look, environment, last)
    if apart:
        yield f"the runtime changed since: {named(apart)}"


def _hook_changed(look: Look, environment: str, target: Target, last: Rehearsal) -> bool:
    before = _deployed_by(look, environment, last)
    return before is not None and before.attempt.hook_digest != target.hook_digest()


def _deployed_by(look: Look, environment: str, last: Rehearsal) -> Deployment | None:
    """Return what was deployed to an environment last when a rehearsal was recorded."""
    before = None
    while True:
        page = look.registry.releases.deployments(
            look.system, environment, before=before, limit=_PAGE
        )
        for deployment in page:
            if deployment.attempt.seq < last.seq:
                return deployment
        if len(page) < _PAGE:
            return None
        before = page[-1].attempt.generation


def _runtime_changes(look: Look, environment: Environment, last: Rehearsal) -> list[str]:
    """Return the facts about the runtime that were others when the rehearsal was evaluated."""
    then = _runtime(look, last.version)
    _, live = look.live(environment.protects or environment.name)
    now = _runtime(look, live.id if live else "")
    if not then or not now:
        return []
    return [
        f"`{key}` was {then.get(key)!r}, is {now.get(key)!r}"
        for key in sorted((then.keys() | now.keys()) - _OF_THE_RUN)
        if then.get(key) != now.get(key)
    ]


def _runtime(look: Look, version_id: str) -> Mapping[str, Any]:
    completed = [
        record for record in look.registry.runs.of_version(version_id) if record.is_completed
    ]
    return completed[-1].run.environment if completed else {}


def target_of(look: Look, environment: str) -> Iterator[Step]:
    """Ask whether what a rollback would go to is there, whole, also without the registry."""
    rule = f"way back {environment}"
    yield Progress(f"looking for the way back of {environment}", 0, 1)
    try:
        way = find_way_back(look.registry, look.system, environment)
    except Refused as error:
        yield _no_way(look, environment, rule, error)
    except LockgateError as error:
        broken = isinstance(error, IntegrityBroken)
        yield found(WAY_BACK, rule, "fail", error.what, error.hint, broken=broken)
    else:
        yield from hashed(look, way.to)
        whole = objects_finding(look, WAY_BACK, rule, way.to)
        skipped = named(f"{label}: {why}" for label, why in way.skipped)
        reason = f"{whole.reason}; not eligible: {skipped}" if skipped else whole.reason
        damaged = any("intact" in why for _, why in way.skipped)
        if damaged and whole.outcome == "pass":
            hint = "restore its objects from a backup of `.lockgate/`"
            yield found(WAY_BACK, rule, "fail", reason, hint, broken=True)
        else:
            broken = whole.outcome == "fail"
            yield found(WAY_BACK, rule, whole.outcome, reason, whole.hint, broken=broken)
    target = look.around.targets.get(environment)
    if target is not None and target.publishes:
        yield from _receipt(look, environment, target)
        yield from _strays(look, environment, target)


def _strays(look: Look, environment: str, target: Target) -> Iterator[Step]:
    """Give what looks like a generation beside the receipts, and is none."""
    names = target.strays(look.system)
    if names:
        reason = f"{named(names)}: not ours, or far above every generation that is known; ignored"
        settle = look.command(f"settle {environment}")
        hint = f"{settle} sets notes aside; find out who writes there, and remove a folder by hand"
        yield found(WAY_BACK, f"strays {environment}", "fail", reason, hint)


def _no_way(look: Look, environment: str, rule: str, error: Refused) -> Finding:
    history = look.registry.releases.deployments(look.system, environment, limit=_PAGE)
    versions = {one.attempt.version for one in history if one.outcome == "live"}
    if len(versions) == 1:
        reason = f"{look.label(versions.pop())} is the first that was live there: there is no other"
        return found(WAY_BACK, rule, "skipped", reason)
    problems = f": {named(error.problems)}" if error.problems else ""
    broken = any("intact" in problem for problem in error.problems)
    return found(WAY_BACK, rule, "fail", f"{error.what}{problems}", error.hint, broken=broken)


def _receipt(look: Look, environment: str, target: Target) -> Iterator[Step]:
    rule = f"way-back receipt {environment}"
    settle = look.command(f"settle {environment}")
    try:
        receipt, live = target.way_back(look.system), target.current(look.system)
    except IntegrityBroken as error:
        if "way-back" in error.what:
            hint = "the next promotion writes it again; until then only the registry leads back"
            yield found(WAY_BACK, rule, "fail", error.what, hint, broken=True)
        return
    except LockgateError as error:
        yield found(WAY_BACK, rule, "inconclusive", error.what, error.hint)
        return
    if receipt is None:
        is_first = live is None or live.previous is None
        reason = "none is published: without the registry there is no way back"
        if is_first:
            reason = "none yet: there was only one version"
        outcome = "skipped" if is_first or (live and live.kind != "promote") else "fail"
        yield found(WAY_BACK, rule, outcome, reason, "" if outcome == "skipped" else settle)
        return
    version = look.registry.versions.get(receipt.version)
    if version is not None and look.registry.releases.quarantines(
        look.system, definition=version.definition
    ):
        reason = f"it leads to {receipt.label}, which is quarantined"
        yield found(WAY_BACK, rule, "fail", reason, settle)
        return
    if live is not None and live.folder == receipt.folder:
        reason = f"it leads to {receipt.label}, in the folder of what is live"
        yield found(WAY_BACK, rule, "pass", reason)
        return
    yield Progress(f"hashing the way back of {environment}", 0, 1)
    whole = bytes_finding(WAY_BACK, rule, target, receipt, settle)
    yield found(
        WAY_BACK,
        rule,
        whole.outcome,
        f"{receipt.label}, signed as it should be; {whole.reason}"
        if whole.outcome == "pass"
        else f"{receipt.label}: {whole.reason}",
        whole.hint,
        broken=whole.outcome == "fail",
    )
