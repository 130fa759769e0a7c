"""Review: ask three questions of a system, look at everything, and record what was found.

1. Is anything reaching production outside the gate?
2. Has the definition drifted from what teams do?
3. Does the way back still work?

- Each answer comes with its evidence: what was looked at, how many, and since when.
- What was found is recorded and dated, clean or not; nothing else is changed.
- What happened counts since the review before; what stands counts as long as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lockgate.domain.policy import Policy
from lockgate.domain.release import Finding
from lockgate.domain.upkeep import CLEAN, FOUND, Review
from lockgate.ports import Registry
from lockgate.upkeep.review_drift import drifted
from lockgate.upkeep.review_gate import outside_the_gate
from lockgate.upkeep.review_look import (
    DRIFT,
    GATE,
    WAY_BACK,
    Progress,
    Surroundings,
    by_question,
    is_broken,
    is_clean,
    open_look,
)
from lockgate.upkeep.review_way import way_back_works

QUESTIONS = {
    GATE: "Is anything reaching production outside the gate?",
    DRIFT: "Has the definition drifted from what teams do?",
    WAY_BACK: "Does the way back still work?",
}
_ASKED = (outside_the_gate, drifted, way_back_works)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review that is done."""

    review: Review
    previous: Review | None
    is_recorded: bool
    """False where the registry cannot be written; what was found is told all the same."""

    @property
    def is_broken(self) -> bool:
        """Whether bytes, a receipt or a record are not what they were."""
        return is_broken(self.review.findings)

    @property
    def answers(self) -> dict[str, list[Finding]]:
        """What was found, by what the question is about."""
        return by_question(self.review.findings)


def review(
    registry: Registry, system: str, policy: Policy | None, around: Surroundings, *, actor: str
) -> Iterator[Progress | Reviewed]:
    """Review a system; the caller walks how far it is, and the last thing given is the review.

    Args:
        registry: Everything that was recorded; every object that counts is hashed.
        system: What is reviewed.
        policy: As applied; `None` before the first.
        around: What only this machine knows.
        actor: Who reviews.
    """
    look = open_look(registry, system, policy, around)
    findings: list[Finding] = []
    for ask in _ASKED:
        for step in ask(look):
            if isinstance(step, Progress):
                yield step
            else:
                findings.append(step)
    outcome = CLEAN if is_clean(findings) else FOUND
    record = Review(system, outcome, tuple(findings), actor)
    previous = next(iter(registry.upkeep.reviews(system, limit=1)), None)
    if registry.why_not is not None:
        yield Reviewed(record, previous, is_recorded=False)
        return
    with registry.write() as writing:
        for check in look.checks.values():
            writing.note_full_check(check)
        record = writing.append(record)
    yield Reviewed(record, previous, is_recorded=True)
