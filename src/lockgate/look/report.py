"""What happened since a time, for whoever takes over: each event, then what is open now.

- Order is the ledger's; times are those that were recorded.
- A deployment is one event, told when it ended; an open one is told when it began.
- Break-glass promotions that nobody has closed come first.
- What went as it should and changed nothing for users is only counted.
- It records nothing, and nothing is asked of anything but the registry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from lockgate.domain.evidence import RunEnd
from lockgate.domain.policy import Policy
from lockgate.domain.release import (
    Approval,
    Attempt,
    Decision,
    Deployment,
    Hold,
    Lift,
    PolicyApplied,
    Proposal,
    Quarantine,
    Settlement,
    SuiteApplied,
)
from lockgate.domain.upkeep import Closing, Note, Recheck, Rehearsal, Removal, Review
from lockgate.domain.version import Version
from lockgate.errors import UsageMistake
from lockgate.look.events import Labels, deployed_text
from lockgate.look.status import Status, glance

if TYPE_CHECKING:
    from lockgate.ports import Registry


class Entry(NamedTuple):
    """One thing that happened."""

    at: datetime
    kind: str
    """`promote`, `rollback`, `break_glass`, `decision`, `hold`, `note` and so on."""
    mark: str
    """`pass`, `fail`, `inconclusive`, `unknown` or `skipped`."""
    text: str
    actor: str
    seq: int
    """Its place in the ledger."""
    is_open: bool = False
    """A break-glass that nobody has closed."""


class OpenPoint(NamedTuple):
    """Something that somebody still has to do."""

    mark: str
    text: str
    command: str | None


class SystemReport(NamedTuple):
    """What happened to one system."""

    system: str
    entries: tuple[Entry, ...]
    counts: dict[str, int]
    """How often what is only counted happened, such as `versions registered`."""
    open: tuple[OpenPoint, ...]
    """As of now."""


class Report(NamedTuple):
    """What happened in a registry."""

    since: datetime
    now: datetime
    systems: tuple[SystemReport, ...]
    registry: tuple[Entry, ...]
    """What belongs to no system, such as a new policy."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happened."""
        return not self.registry and not any(s.entries or s.counts for s in self.systems)


def report(
    registry: Registry, systems: list[str], policy: Policy | None, since: datetime
) -> Report:
    """Return what happened since a time.

    Args:
        registry: Where everything is recorded.
        systems: Whose events; what belongs to none is always told.
        policy: As applied; `None` before the first.
        since: Inclusive.

    Raises:
        UsageMistake: The time is in the future.
    """
    with registry.read():
        now = registry.now()
        if since > now:
            raise UsageMistake(
                "nothing has happened yet since a time in the future",
                hint="`lockgate report --since 12h`",
            )
        teller = _Teller(registry)
        for record in registry.upkeep.since(since):
            teller.take(record)
        return Report(
            since,
            now,
            tuple(
                SystemReport(
                    name,
                    teller.entries_of(name),
                    dict(teller.counts.get(name, {})),
                    tuple(_open(glance(registry, name, policy))),
                )
                for name in systems
            ),
            teller.entries_of(None),
        )


class _Teller:
    """Turns records into entries, each into one or none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._labels = Labels(registry)
        self._entries: dict[str | None, list[Entry]] = {}
        self.counts: dict[str, Counter[str]] = {}
        self._tellers: dict[type, Callable[[Any], None]] = {
            Version: lambda r: self._count(r.system, "registered", "version"),
            RunEnd: self._run_end,
            Decision: self._decision,
            Approval: self._approval,
            Attempt: self._attempt,
            Settlement: self._settlement,
            Hold: self._hold,
            Quarantine: self._quarantine,
            Lift: self._lift,
            Note: self._note,
            Closing: self._closing,
            Rehearsal: self._rehearsal,
            Review: self._review,
            Recheck: self._recheck,
            Removal: self._removal,
            Proposal: self._proposal,
            PolicyApplied: self._policy,
            SuiteApplied: self._suite,
        }

    def take(self, record: Any) -> None:
        """Tell or count one record; what says nothing to anybody is left out."""
        tell = self._tellers.get(type(record))
        if tell is not None:
            tell(record)

    def entries_of(self, system: str | None) -> tuple[Entry, ...]:
        """Return what was told, oldest first, open break-glass before all."""
        found = self._entries.get(system, [])
        return tuple(sorted(found, key=lambda entry: (not entry.is_open, entry.seq)))

    def _add(
        self, system: str | None, kind: str, mark: str, text: str, record: Any, **more: Any
    ) -> None:
        actor = more.pop("actor", None) or record.actor
        entry = Entry(record.at, kind, mark, text, actor, record.seq, **more)
        self._entries.setdefault(system, []).append(entry)

    def _count(self, system: str, what: str, noun: str) -> None:
        self.counts.setdefault(system, Counter())[f"{noun} {what}"] += 1

    def _attempt(self, attempt: Attempt) -> None:
        """Tell an attempt that is open; one that ended is told by its settlement."""
        if attempt.generation == 0:
            return
        found = self._registry.releases.deployment(
            attempt.system, attempt.environment, attempt.generation
        )
        if found is not None and found.is_open:
            self._add(
                attempt.system, attempt.kind, "unknown", deployed_text(found, self._labels), attempt
            )

    def _settlement(self, settlement: Settlement) -> None:
        key = (settlement.system, settlement.environment, settlement.generation)
        found = self._registry.releases.deployment(*key)
        if found is None or settlement.generation == 0:
            return
        text = f"{deployed_text(found, self._labels)}, generation {settlement.generation}"
        text += "".join(self._why(found))
        reason = settlement.reason or found.attempt.reason
        text += f": {_line(reason)}" if reason else ""
        closing = self._registry.upkeep.closing(*key) if found.is_ungated else None
        is_open = found.is_ungated and found.outcome == "live" and closing is None
        mark = {"live": "pass", "failed": "fail"}.get(settlement.outcome, "inconclusive")
        if found.attempt.kind in ("rollback", "break_glass") and mark == "pass":
            mark = "fail" if is_open else "inconclusive"
        self._add(
            settlement.system,
            found.attempt.kind,
            mark,
            text,
            settlement,
            actor=found.attempt.actor,
            is_open=is_open,
        )

    def _why(self, deployment: Deployment) -> Iterator[str]:
        """Give who approved it, or the ticket that it went past the gate with."""
        attempt = deployment.attempt
        if attempt.ticket:
            yield f", {'ticket' if deployment.is_ungated else 'incident'} {attempt.ticket}"
        if attempt.decision is not None:
            words = self._registry.releases.approvals(attempt.decision)
            names = [
                f"{word.signer}{'' if word.key else ' (claimed)'}"
                for word in words
                if word.word == "yes"
            ]
            yield f", approved by {', '.join(names)}" if names else ""

    def _decision(self, decision: Decision) -> None:
        if decision.outcome == "pass":
            self._count(decision.system, "passed", "decision")
            return
        label = self._labels.of(decision.version)
        said = "refused" if decision.outcome == "fail" else "could not tell about"
        reasons = "; ".join(f"{f.rule}: {_line(f.reason)}" for f in decision.obstacles())
        mark = "fail" if decision.outcome == "fail" else "inconclusive"
        text = f"gate {said} {label} → {decision.environment}: {reasons}"
        self._add(decision.system, "decision", mark, text, decision)

    def _approval(self, approval: Approval) -> None:
        subject = self._decided(approval.subject)
        if subject is None:
            if approval.word == "no":
                text = f"rejected proposal {approval.subject[:12]}: {_line(approval.note)}"
                self._add(None, "approval", "fail", text, approval, actor=approval.signer)
            return
        if approval.word == "yes":
            self._count(subject.system, "given", "approval")
            return
        where = f"{self._labels.of(subject.version)} for {subject.environment}"
        text = f"rejected {where}: {_line(approval.note)}"
        self._add(subject.system, "approval", "fail", text, approval, actor=approval.signer)

    def _decided(self, subject: str) -> Decision | None:
        try:
            return self._registry.releases.decision(subject)
        except UsageMistake:
            return None

    def _run_end(self, end: RunEnd) -> None:
        run = self._registry.runs.get(end.run).run
        if end.outcome == "completed" and not end.errors:
            self._count(run.system, "completed", "run")
            return
        what = f"{self._labels.of(run.version)} on {self._registry.applied.suite_name(run.suite)}"
        if end.outcome == "completed":
            text = f"run of {what} completed with {end.errors} errors"
            self._add(run.system, "run", "inconclusive", text, end)
        else:
            self._add(run.system, "run", "fail", f"run of {what} was given up", end)

    def _hold(self, hold: Hold) -> None:
        text = f"held {hold.environment}: {_line(hold.reason)}"
        self._add(hold.system, "hold", "fail", text, hold)

    def _quarantine(self, found: Quarantine) -> None:
        text = f"quarantined {self._labels.of(found.version)}: {_line(found.reason)}"
        self._add(found.system, "quarantine", "fail", text, found)

    def _lift(self, lift: Lift) -> None:
        ended = self._registry.upkeep.lifted(lift.lifts)
        if ended is None:
            return
        what = (
            f"the hold of {ended.environment}"
            if isinstance(ended, Hold)
            else f"the quarantine of {self._labels.of(ended.version)}"
        )
        self._add(ended.system, "lift", "pass", f"lifted {what}: {_line(lift.reason)}", lift)

    def _note(self, note: Note) -> None:
        text = f"note on {note.environment} {note.generation}: {_line(note.text)}"
        self._add(note.system, "note", "skipped", text, note)

    def _closing(self, closing: Closing) -> None:
        on = f" on decision {closing.decision[:8]}" if closing.decision else ""
        text = f"closed the break-glass of {closing.environment} {closing.generation}{on}: "
        self._add(closing.system, "closing", "pass", text + _line(closing.reason), closing)

    def _rehearsal(self, found: Rehearsal) -> None:
        mark = {"detected": "pass", "missed": "fail"}.get(found.outcome, "inconclusive")
        text = (
            f"rehearsal in {found.environment}, {found.operator} as "
            f"{self._labels.of(found.version)}: {found.outcome}"
        )
        if found.detect_ms is not None:
            text += f" after {found.detect_ms / 1000:.1f} s"
        if found.restore_ms is not None:
            text += f", back in {found.restore_ms / 1000:.1f} s"
        self._add(found.system, "rehearsal", mark, text, found)

    def _review(self, review: Review) -> None:
        bad = [f.rule for f in review.findings if f.outcome not in ("pass", "skipped")]
        text = f"review: {review.outcome}" + (f": {', '.join(bad)}" if bad else "")
        mark = "pass" if review.outcome == "clean" else "inconclusive"
        self._add(review.system, "review", mark, text, review)

    def _recheck(self, found: Recheck) -> None:
        mark = {"held": "pass", "fell": "fail"}.get(found.outcome, "inconclusive")
        label = self._labels.of(found.version)
        text = f"recheck of {label} in {found.environment}: {found.outcome}"
        self._add(found.system, "recheck", mark, text, found)

    def _removal(self, found: Removal) -> None:
        if found.kind == "redact":
            text = f"redacted {found.digest[:8]}: {_line(found.reason)}"
            self._add(None, "removal", "inconclusive", text, found)

    def _proposal(self, found: Proposal) -> None:
        text = f"proposed another {found.kind}, {found.name}"
        self._add(found.system, "proposal", "skipped", text, found)

    def _policy(self, found: PolicyApplied) -> None:
        self._add(None, "policy", "inconclusive", f"applied policy {found.policy[:8]}", found)

    def _suite(self, found: SuiteApplied) -> None:
        text = f"applied suite {found.name} ({found.suite[:8]})"
        self._add(found.system, "suite", "inconclusive", text, found)


def _open(page: Status) -> Iterator[OpenPoint]:
    """Give everything that is open in a system now, with the command that goes on."""
    flag = f" -s {page.system}"
    for place in page.places:
        name = place.environment
        for glass in place.unclosed:
            attempt = glass.attempt
            yield OpenPoint(
                "fail",
                f"break-glass of {name} {attempt.generation} by {attempt.actor}, ticket "
                f"{attempt.ticket}",
                f"lockgate close {name}{flag} -m REASON",
            )
        if place.open_attempt:
            yield OpenPoint(
                "unknown", f"{name}: {place.open_attempt}", f"lockgate settle {name}{flag}"
            )
        if place.is_quarantined:
            text = f"{place.label}, live in {name}, is quarantined"
            yield OpenPoint("fail", text, f"lockgate rollback {name}{flag}")
        for hold in place.holds:
            text = f"{name} is held by {hold.actor}: {_line(hold.reason)}"
            yield OpenPoint("fail", text, f"lockgate lift {name}{flag} -m REASON")
    for due in page.due:
        if not due.command.startswith("lockgate settle "):  # told above
            yield OpenPoint("inconclusive", f"due: {due.what}", due.command)
    for waiting in page.waiting:
        text = f"{waiting.what}: {waiting.given} of {waiting.needed} approvals"
        yield OpenPoint("waiting", text, waiting.command)
    for run in page.open_runs:
        yield OpenPoint("running", f"run of {run.label} on {run.suite} has not ended", run.command)


def _line(text: str) -> str:
    return text.splitlines()[0] if text else ""
