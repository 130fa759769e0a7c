"""Is anything reaching production outside the gate?

- What went live rests on a decision of its own; what broke the glass is closed.
- What is published is what the registry says is live: receipt, signature, and every byte.
- What runs is what is live, as far as the instances can be asked.
- The ledger and every record agree, and every rule of the registry is in force.
- Files that ask something of versions are the files that were applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lockgate.canonical import parse_instant
from lockgate.domain.evidence import answered
from lockgate.domain.receipt import Receipt, settled
from lockgate.domain.release import Attempt, Deployment, Finding
from lockgate.domain.times import shown_time
from lockgate.domain.upkeep import LedgerBreak, Review
from lockgate.domain.version import Version
from lockgate.errors import InfrastructureFailed, IntegrityBroken, LockgateError
from lockgate.loop.deployment import seen, staged_receipt
from lockgate.ports import Target
from lockgate.shown import shown
from lockgate.upkeep.review_look import (
    GATE,
    MOST_NAMED,
    Look,
    Progress,
    Step,
    count,
    found,
    hashed,
    named,
    objects_finding,
)

_DECISIONS = 50
"""Of how many of the newest decisions the answers are looked at."""
_PAGE = 200


def outside_the_gate(look: Look) -> Iterator[Step]:
    """Ask the first question."""
    yield from _ledger(look)
    yield from _answers(look)
    yield _rules_in_force(look)
    yield from _applied(look)
    for environment in look.environments():
        yield from _environment(look, environment)


def _ledger(look: Look) -> Iterator[Step]:
    breaks: list[LedgerBreak] = []
    checked, until = 0, None
    with look.registry.read():
        for check in look.registry.upkeep.verify_ledger():
            breaks += check.breaks
            checked, until = check.checked, check.until
            yield Progress("checking the ledger", check.checked, check.total)
    if not breaks:
        up_to = f", up to {shown_time(parse_instant(until))}" if until else ""
        reason = f"{checked} entries and their records hold{up_to}"
        yield found(GATE, "ledger", "pass", reason, looked_at=checked)
        return
    yield found(
        GATE,
        "ledger",
        "fail",
        f"{len(breaks)} of {checked} entries do not hold: "
        + named(f"entry {one.seq} ({one.kind}): {one.what}" for one in breaks),
        "somebody changed the registry behind its back: restore a backup of `.lockgate/`",
        broken=True,
        looked_at=checked,
    )


def _answers(look: Look) -> Iterator[Step]:
    """Hold the answers that decisions rest on against what their runs ended with."""
    decisions = look.registry.releases.decisions(look.system, limit=_DECISIONS)
    for environment in look.environments():
        live = look.registry.releases.live(look.system, environment)
        if live is not None and live.attempt.decision is not None:
            decisions.append(look.registry.releases.decision(live.attempt.decision))
    runs = sorted({part.run for decision in decisions for part in decision.runs})
    wrong, answers = [], 0
    for number, run in enumerate(runs, 1):
        yield Progress("checking answers", number, len(runs))
        end = look.registry.runs.get(run).end
        came_to = answered(look.registry.runs.raw_answers(run))
        answers += came_to.answers
        if end is None or came_to.digest != end.answers_digest:
            wrong.append(f"run {run[:8]}")
    of = f"{count(answers, 'answer')} of {count(len(runs), 'run')} that decisions rest on"
    if wrong:
        yield found(
            GATE,
            "answers",
            "fail",
            f"{named(wrong)}: not the answers it ended with; looked at {of}",
            "somebody changed the registry behind its back: restore a backup of `.lockgate/`",
            broken=True,
            looked_at=len(runs),
        )
    else:
        yield found(GATE, "answers", "pass", f"{of}, as they were given", looked_at=len(runs))


def _rules_in_force(look: Look) -> Finding:
    why_not = look.registry.why_not
    if why_not is not None and "triggers" in why_not:
        return found(
            GATE,
            "registry rules",
            "fail",
            f"{why_not}: records could be made that no step would make",
            "restore a backup of `.lockgate/`",
            broken=True,
        )
    return found(GATE, "registry rules", "pass", "every table and trigger is as it was made")


def _applied(look: Look) -> Iterator[Finding]:
    state, problems = look.around.policy_file
    if state == "applied":
        yield found(GATE, "policy.toml", "pass", "the file is what is applied")
    elif look.policy is None and state == "is missing":
        yield found(GATE, "policy.toml", "skipped", "there is none, and none is applied")
    else:
        told = f": {named(problems)}" if problems else ""
        hint = "`lockgate policy` shows how; `lockgate policy apply` makes the file count"
        yield found(GATE, "policy.toml", "fail", f"the file {state}{told}", hint)
    rows = look.around.suites
    apart = [
        f"`{row['name']}`: {_suite_words(row['file'])}" for row in rows if row["file"] != "applied"
    ]
    if apart:
        hint = f"{look.command('suite')} shows how; {look.command('suite apply')} makes the files count"
        yield found(GATE, "suite files", "fail", named(apart), hint, looked_at=len(rows))
    else:
        reason = f"{count(len(rows), 'suite')}, each file is what is applied"
        yield found(GATE, "suite files", "pass" if rows else "skipped", reason, looked_at=len(rows))
    yield from _signers(look)


def _suite_words(state: str) -> str:
    words = {
        "differs": "the file differs from what is applied",
        "new": "the file is not applied",
        "missing": "the file is missing",
    }
    return words.get(state, state)


def _signers(look: Look) -> Iterator[Finding]:
    environments = look.policy.environments.values() if look.policy else ()
    wanted = {env.signers: env.signers_digest for env in environments if env.signers}
    apart = [
        f"`{path}` {'is missing' if look.around.signers.get(path) is None else 'differs'}"
        for path, digest in wanted.items()
        if look.around.signers.get(path) != digest
    ]
    if apart:
        yield found(
            GATE,
            "signers",
            "fail",
            f"{named(apart)}: who may sign is what was applied, not what the file says",
            "`lockgate policy apply` makes the file count",
            looked_at=len(wanted),
        )
    elif wanted:
        reason = f"{count(len(wanted), 'file')}, as applied"
        yield found(GATE, "signers", "pass", reason, looked_at=len(wanted))


def _environment(look: Look, environment: str) -> Iterator[Step]:
    newest = look.registry.releases.newest(look.system, environment)
    if newest is None:
        yield found(GATE, f"live {environment}", "skipped", "nothing was ever promoted there")
        return
    live, version = look.live(environment)
    yield from _deployments(look, environment)
    if newest.is_open:
        attempt = newest.attempt
        yield found(
            GATE,
            f"settled {environment}",
            "fail",
            f"generation {attempt.generation} is open since {shown_time(attempt.at)}: "
            f"{attempt.actor} is at it or was cut off",
            look.command(f"settle {environment}"),
        )
    if live is None or version is None:
        yield found(GATE, f"live {environment}", "skipped", "nothing is live there")
        return
    if look.registry.releases.quarantines(look.system, definition=version.definition):
        yield found(
            GATE,
            f"live {environment}",
            "fail",
            f"{version.label} is live as generation {live.attempt.generation} and quarantined",
            look.command(f"rollback {environment}"),
        )
    yield from hashed(look, version)
    yield objects_finding(look, GATE, f"objects {environment}", version)
    target = look.around.targets.get(environment)
    if target is None:
        reason = "the applied policy does not name it, so nobody knows where its versions go"
        yield found(GATE, f"receipt {environment}", "inconclusive", reason, "`lockgate policy`")
        return
    yield from published(look, environment, target, live, version)
    yield _instances(look, environment, target, live.attempt, newest)


def _history(look: Look, environment: str, since: Review | None) -> Iterator[Deployment]:
    """Give the deployments since a review, newest first; `None` gives all."""
    before = None
    while True:
        page = look.registry.releases.deployments(
            look.system, environment, before=before, limit=_PAGE
        )
        for deployment in page:
            if since is not None and deployment.attempt.seq < since.seq:
                return
            yield deployment
        if len(page) < _PAGE:
            return
        before = page[-1].attempt.generation


def _deployments(look: Look, environment: str) -> Iterator[Finding]:
    history = [one for one in _history(look, environment, look.last) if one.outcome == "live"]
    kinds = Counter(one.attempt.kind.replace("_", "-") for one in history)
    told = ", ".join(f"{number} by {kind}" for kind, number in sorted(kinds.items()))
    unclean = (one for one in _history(look, environment, look.last_clean) if one.outcome == "live")
    without = [problem for one in unclean if (problem := _undecided(look, one.attempt))]
    reason = f"{len(history)} went live {look.since}" + (f": {told}" if told else "")
    rule = f"decisions {environment}"
    if without:
        reason = f"{named(without)}; {reason}"
        hint = look.command(f"why {environment}")
        yield found(GATE, rule, "fail", reason, hint, broken=True, looked_at=len(history))
    else:
        yield found(GATE, rule, "pass", reason, looked_at=len(history))
    yield _glass(look, environment, history)


def _undecided(look: Look, attempt: Attempt) -> str | None:
    """Say why a promotion does not rest on a decision of its own; `None` when it does."""
    if attempt.kind != "promote":
        return None
    where = f"generation {attempt.generation}"
    try:
        decision = look.registry.releases.decision(attempt.decision or "none")
    except LockgateError:
        return f"{where} rests on no decision"
    same = (decision.version, decision.environment) == (attempt.version, attempt.environment)
    if not same or not decision.promotable or decision.seq > attempt.seq:
        return f"{where} rests on a decision that let something else in, or nothing"
    return None


def _glass(look: Look, environment: str, history: list[Deployment]) -> Finding:
    rule = f"break-glass {environment}"
    unclosed = look.registry.upkeep.unclosed(look.system, environment)
    if unclosed:
        return found(
            GATE,
            rule,
            "fail",
            "not closed: "
            + named(
                f"generation {one.attempt.generation}, {look.label(one.attempt.version)} by "
                f"{one.attempt.actor} on {shown_time(one.attempt.at)}, {one.attempt.ticket}"
                for one in unclosed
            ),
            "somebody else ends it: " + look.command(f"close {environment} -m REASON"),
            looked_at=len(unclosed),
        )
    closed = [one.attempt for one in history if one.attempt.kind == "break_glass"]
    told = named(f"generation {one.generation} by {one.actor}, {one.ticket}" for one in closed)
    reason = f"{len(closed)} {look.since}, each closed: {told}" if closed else f"none {look.since}"
    return found(GATE, rule, "pass", reason, looked_at=len(closed))


def published(
    look: Look, environment: str, target: Target, live: Deployment, version: Version
) -> Iterator[Step]:
    """Hold what an environment publishes against what the registry says is live there."""
    rule = f"receipt {environment}"
    if not target.publishes:
        yield found(GATE, rule, "skipped", "it publishes nothing, so there is nothing to read back")
        return
    settle = look.command(f"settle {environment}")
    key = target.key_problem()
    if key is not None:
        yield found(GATE, f"host key {environment}", "fail", key, settle, broken=True)
    try:
        receipt = target.current(look.system)
    except IntegrityBroken as error:
        yield found(GATE, rule, "fail", error.what, f"publish it again: {settle}", broken=True)
        return
    except LockgateError as error:
        yield found(GATE, rule, "inconclusive", error.what, error.hint)
        return
    yield _receipt(look, rule, live, version, receipt, settle)
    if receipt is not None:
        yield Progress(f"hashing what {environment} publishes", 0, 1)
        yield bytes_finding(GATE, f"published {environment}", target, receipt, settle)
    newest = look.registry.releases.newest(look.system, environment)
    known = newest.attempt.generation if newest else 0
    highest = target.newest_generation(look.system)
    if highest > known:
        yield found(
            GATE,
            f"generations {environment}",
            "fail",
            f"generation {highest} is published, and the registry knows none above {known}",
            settle,
        )


def _receipt(
    look: Look, rule: str, live: Deployment, version: Version, receipt: Receipt | None, settle: str
) -> Finding:
    generation = live.attempt.generation
    is_live = f"{version.label} is live as generation {generation}"
    if receipt is None:
        return found(GATE, rule, "fail", f"{is_live}, and no receipt is published", settle)
    told = f"generation {receipt.generation}, {receipt.label}"
    if receipt.generation > generation:
        what = f"it says {told}, made without the registry, where {is_live}"
        return found(GATE, rule, "fail", what, f"have it recorded: {settle}")
    if receipt.generation < generation:
        what = f"it still says {told}, and {is_live}"
        return found(GATE, rule, "fail", what, f"publish it: {settle}")
    try:
        wanted = settled(staged_receipt(look.registry, live.attempt, version), receipt.at)
    except (LockgateError, LookupError, ValueError) as error:
        return found(GATE, rule, "inconclusive", f"what it should say cannot be told: {error}")
    apart = [name for name in _COMPARED if getattr(receipt, name) != getattr(wanted, name)]
    if apart:
        what = f"it says {told}, and differs from the registry in its {named(apart)}"
        return found(GATE, rule, "fail", what, settle, broken=True)
    reason = f"{told}, {receipt.kind}, published {shown_time(receipt.at)}, as recorded"
    return found(GATE, rule, "pass", reason)


_COMPARED = (
    "registry",
    "epoch",
    "version",
    "label",
    "definition",
    "files",
    "executables",
    "components",
    "kind",
    "decision",
    "ungated",
)
"""Everything of a receipt but when it was made, what was live before, and in which folder it stands:
a rollback without the registry goes back to an older one.
"""


def bytes_finding(
    question: str, rule: str, target: Target, receipt: Receipt, settle: str
) -> Finding:
    """Hold every published byte of a receipt's folder against the receipt."""
    problems = target.problems(receipt)
    files = len(receipt.files) + len(receipt.executables)
    if problems:
        what = f"generation {receipt.generation}: {named(problems)}"
        hint = f"have it written again: {settle}"
        return found(question, rule, "fail", what, hint, broken=True, looked_at=files)
    reason = f"every byte of {count(files, 'file')} of generation {receipt.generation} hashed"
    return found(question, rule, "pass", reason, looked_at=files)


def _instances(
    look: Look, environment: str, target: Target, live: Attempt, newest: Deployment
) -> Finding:
    rule = f"instances {environment}"
    if not target.observes:
        reason = "it has no `observe` command, so nobody can ask what runs"
        return found(GATE, rule, "skipped", reason)
    try:
        instances = list(seen(look.registry, target, live))
    except InfrastructureFailed as error:
        return found(GATE, rule, "inconclusive", error.what, error.hint)
    if not instances:
        reason = "no instance answered, so nobody knows what runs"
        return found(GATE, rule, "inconclusive", reason, looked_at=0)
    wrong = [one for one in instances if one.state != "match"]
    if not wrong:
        reason = f"{count(len(instances), 'instance')} run {look.label(live.version)}"
        return found(GATE, rule, "pass", reason, looked_at=len(instances))
    told = named(
        f"`{shown(one.name, limit=60)}` {_STATES[one.state]}"
        + (f" ({look.label(one.version)})" if one.version else "")
        for one in wrong[: MOST_NAMED + 1]
    )
    more = len(wrong) - MOST_NAMED
    more_words = f" (of {len(wrong)})" if more > 0 else ""
    under_way = f"; generation {newest.attempt.generation} is under way" if newest.is_open else ""
    return found(
        GATE,
        rule,
        "fail",
        f"{len(wrong)} of {count(len(instances), 'instance')}: {told}{more_words}{under_way}",
        "start them on what is live: " + f"`lockgate resolve {look.system} {environment}` names it",
        looked_at=len(instances),
    )


_STATES = {
    "stale": "runs what was live before",
    "unreceipted": "runs a version that was never published here",
    "unknown": "does not say which version it runs",
}
