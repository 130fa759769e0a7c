"""A registry with one of everything, and a plain connection to it that knows none of our settings.

The story: v1 was live in `production` as generation 1, v2 is live as generation 2. v3 has a
decision from before v2 went live; v4 is quarantined; v5 passed and could be promoted next; v6 has
one open run that lacks an answer and one that lacks only its end. x1 is an experiment, r1 a
rehearsal. `triage` is applied, `spare` is registered but not applied. In `practice`, which takes
rehearsals, v2 is live as generation 2, too, by break-glass: the first was closed, the second could
be. In `drill` r1 was live twice and taken back, and one of these rehearsals is recorded. `guarded`
asks for a reviewer with a key; in `reviewed` and `refused` v5 passed, in `failed` it did not.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders import (
    REVIEWER,
    SYSTEM,
    FixedClock,
    add_suite,
    add_version,
    answer_of,
    answers_of,
    append,
    apply_policy,
    approve,
    complete_run,
    hold,
    lift,
    make_registry,
    origin_of,
    pass_decision,
    promote,
    propose,
    quarantine,
    start_run,
)
from lockgate.domain.release import Decision, Hold, Lift, Proposal, Quarantine
from lockgate.domain.suite import Suite
from lockgate.domain.upkeep import Closing, Note, Recheck, Rehearsal, Review
from lockgate.domain.version import Version
from lockgate.storage import tables
from lockgate.storage.registry import FILE, FOLDER

APPEND_ONLY = (*tables.RECORD_KEYS, *tables.PART_KEYS)
NOWHERE = "f" * 64
"""A digest or version id that nothing has."""


@dataclass(frozen=True)
class Story:
    """Names of what the registry holds."""

    root: Path
    at: str
    """The newest recorded time."""
    versions: dict[str, Version]
    suite: Suite
    spare_suite: Suite
    policy: str
    old_policy: str
    runs: dict[str, str]
    decisions: dict[str, Decision]
    proposal: Proposal
    refused_proposal: Proposal
    suite_proposal: Proposal
    hold: Hold
    quarantine: Quarantine
    lift: Lift

    @property
    def path(self) -> Path:
        return self.root / FOLDER / FILE

    def version(self, label: str) -> str:
        return self.versions[label].id


def tell(root: Path) -> Story:
    """Make the registry."""
    clock = FixedClock()
    registry = make_registry(root, clock)
    old_policy = apply_policy(registry, {"environments": {}})
    policy = apply_policy(registry)
    suite, spare = add_suite(registry), add_suite(registry, name="spare", is_applied=False)
    v1 = add_version(registry, "one")
    v2 = add_version(registry, "two", parent=v1)
    v3 = add_version(registry, "three", parent=v1)
    v4 = add_version(registry, "four", parent=v2)
    v5 = add_version(registry, "five", parent=v2)
    v6 = add_version(registry, "six", parent=v2)
    x1 = add_version(registry, "ex", parent=v2, track="experiment")
    r1 = add_version(registry, "worse", parent=v2, track="rehearsal")
    completed = {
        version.label: complete_run(registry, version, suite) for version in (v1, v2, v3, v4, v5)
    }
    again = complete_run(registry, v5, suite)
    on_spare = complete_run(registry, v6, spare)
    voided = start_run(registry, v6, suite)
    with registry.write() as writing:
        writing.end_run(voided, "voided", (), "support-dev")
    short, full = start_run(registry, v6, suite), start_run(registry, v6, suite)
    with registry.write() as writing:
        writing.add_answers([answer_of(short, "t0001"), *answers_of(full, suite)])
    decisions = {"v1": pass_decision(registry, v1, [completed["v1"]])}
    promote(registry, v1, decisions["v1"])
    decisions["v3"] = pass_decision(registry, v3, [completed["v3"], completed["v1"]])
    decisions["v2"] = pass_decision(registry, v2, [completed["v2"], completed["v1"]])
    promote(registry, v2, decisions["v2"])
    quarantined = quarantine(registry, v4)
    lift(registry, quarantined)
    quarantined = quarantine(registry, v4)
    both = [completed["v5"], again, completed["v2"]]
    decisions["v5"] = pass_decision(registry, v5, both)
    decisions["v5 staging"] = pass_decision(registry, v5, both[:2], environment="staging")
    decisions["v5 canary"] = pass_decision(registry, v5, both[:2], environment="canary")
    decisions["v5 reviewed"] = pass_decision(
        registry, v5, both[:2], environment="reviewed", approvals_needed=1
    )
    decisions["v5 refused"] = pass_decision(registry, v5, both[:2], environment="refused")
    approve(registry, decisions["v5 refused"], word="no", key="SHA256:key of the ml-lead")
    decisions["v5 failed"] = pass_decision(
        registry, v5, both[:2], environment="failed", outcome="fail", promotable=False
    )
    decisions["v2 again"] = pass_decision(registry, v2, [completed["v2"]])
    decisions["v5 guarded"] = pass_decision(
        registry, v5, both[:2], environment="guarded", approvals_needed=1
    )
    for environment in ("staging", "guarded", "reviewed", "refused", "failed"):
        append(registry, *origin_of(environment=environment))
    for version in (v1, v2):
        in_practice = {"environment": "practice", "ticket": "INC-1", "reason": "to begin with"}
        promote(registry, version, kind="break_glass", **in_practice)
    decisions["v2 in practice"] = pass_decision(
        registry, v2, [completed["v2"]], environment="practice"
    )
    append(registry, Closing(SYSTEM, "practice", 1, None, "v2 took its place", "ml-lead"))
    promote(registry, v2, kind="break_glass", environment="drill", ticket="INC-2", reason="begin")
    judged = complete_run(registry, r1, suite)
    for before in (1, 3):
        promote(registry, r1, kind="rehearsal", environment="drill")
        decisions["r1"] = pass_decision(
            registry,
            r1,
            [judged, completed["v2"]],
            environment="drill",
            outcome="fail",
            promotable=False,
            baseline=before,
        )
        promote(registry, v2, kind="revert", environment="drill")
    rehearsal = Rehearsal(
        SYSTEM,
        "drill",
        r1.id,
        "blank-prompt",
        2,
        3,
        "detected",
        decisions["r1"].id,
        1200,
        300,
        (),
        "on-call",
    )
    append(
        registry,
        rehearsal,
        Note(SYSTEM, "production", 2, "customers noticed", "on-call"),
        Review(SYSTEM, "clean", (), "ml-lead"),
        Recheck(SYSTEM, "production", 2, v2.id, "held", (), "ci"),
    )
    held = hold(registry, "canary")
    lifted = lift(registry, hold(registry, "canary"))
    proposal = propose(registry, "policy", policy.policy, suite.digest)
    refused = propose(registry, "policy", policy.policy, policy.policy)
    approve(registry, refused, word="no")
    suite_proposal = propose(registry, "suite", suite.digest, spare.digest, name="spare")
    head = registry.ledger.head()
    assert head is not None
    registry.close()
    story = Story(
        root=root,
        at=head.at,
        versions={version.label: version for version in (v1, v2, v3, v4, v5, v6, x1, r1)},
        suite=suite,
        spare_suite=spare,
        policy=policy.policy,
        old_policy=old_policy.policy,
        runs={
            **{label: record.run.id for label, record in completed.items()},
            "v5 again": again.run.id,
            "v6 spare": on_spare.run.id,
            "voided": voided.id,
            "short": short.id,
            "full": full.id,
        },
        decisions=decisions,
        proposal=proposal,
        refused_proposal=refused,
        suite_proposal=suite_proposal,
        hold=held,
        quarantine=quarantined,
        lift=lifted,
    )
    raw = Raw(story)
    with raw.transaction():
        raw.insert("removal", digest=old_policy.policy)
    raw.close()
    return story


class Raw:
    """A second connection as any program may open one: foreign keys and our settings are off."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.connection = sqlite3.connect(story.path, isolation_level=None)
        for setting in ("foreign_keys", "recursive_triggers"):
            self.connection.execute(f"PRAGMA {setting} = OFF")

    def close(self) -> None:
        self.connection.close()

    def execute(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        """Commit at the end, or undo everything if it failed or nothing is to be kept."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT" if keep else "ROLLBACK")

    def drop(self, *triggers: str) -> None:
        for name in triggers:
            self.execute(f'DROP TRIGGER "{name}"')

    def triggers(self, table: str) -> list[str]:
        """Return the triggers that look at, or follow, what is inserted into a table."""
        rows = self.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? "
            "AND (sql LIKE '% BEFORE INSERT %' OR sql LIKE '% AFTER INSERT %')",
            (table,),
        )
        return [name for (name,) in rows]

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of every table that is not the search index's."""
        tables = self.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '*_text*' "
            "AND name NOT GLOB 'sqlite_*'"
        )
        return {name: self.execute(f'SELECT * FROM "{name}"') for (name,) in tables}

    def entry(self, kind: str, at: str | None = None) -> int:
        """Add the next ledger row, as a careful intruder would, and return its number."""
        ((seq, newest),) = self.execute("SELECT seq, at FROM ledger ORDER BY seq DESC LIMIT 1")
        self.execute(
            "INSERT INTO ledger (seq, prev, kind, payload_digest, at) VALUES (?, ?, ?, ?, ?)",
            (seq + 1, secrets.token_hex(32), kind, NOWHERE, at or newest),
        )
        return int(seq) + 1

    def insert(self, table: str, how: str = "INSERT", **changes: Any) -> None:
        """Insert a row that would be accepted, but for some changes.

        A record gets a ledger row of its own unless a `seq` is given.
        """
        row = {**self.valid(table), **changes}
        if table in tables.RECORD_KEYS:
            row.setdefault("at", self.story.at)
            if "seq" not in row:
                row["seq"] = self.entry(table, row["at"])
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self.execute(f'{how} INTO "{table}" ({names}) VALUES ({marks})', tuple(row.values()))

    def prepare(self, table: str) -> None:
        """Insert what has to be there before a valid row of a table."""
        if table == "settlement":
            self.insert("attempt")
        elif table == "suite":
            self.insert("suite_case")

    def valid(self, table: str) -> dict[str, Any]:
        """Return the columns of a row that is accepted next, without `seq` and `at`."""
        story, text = self.story, self.story.policy
        actor = {"actor": "intruder"}
        v2, v5 = story.version("v2"), story.version("v5")
        definition = story.versions["v5"].definition
        production = {"system": SYSTEM, "environment": "production"}
        rows: dict[str, dict[str, Any]] = {
            "registry": {"epoch": 2, "id": "another", **actor},
            "removal": {"digest": story.policy, "kind": "expire", "reason": text, **actor},
            "note": {**production, "generation": 2, "text": text, **actor},
            "closing": {
                **production,
                "environment": "practice",
                "generation": 2,
                "decision": story.decisions["v2 in practice"].id,
                "reason": text,
                **actor,
            },
            "rehearsal": {
                **production,
                "environment": "drill",
                "version": story.version("r1"),
                "operator": "blank-prompt",
                "generation": 4,
                "reverted": 5,
                "outcome": "detected",
                "decision": story.decisions["r1"].id,
                "findings": text,
                **actor,
            },
            "review": {"system": SYSTEM, "outcome": "clean", "findings": text, **actor},
            "recheck": {
                **production,
                "generation": 2,
                "version": v2,
                "outcome": "held",
                "findings": text,
                **actor,
            },
            "system": {"name": "another", **actor},
            "version": {
                "id": "a" * 64,
                "system": SYSTEM,
                "definition": definition,
                "parent": story.version("v1"),
                "track": "release",
                "label": "v99",
                "owner": "support-ml",
                "registrar": "intruder",
                "reason": text,
            },
            "proposal": {
                "id": "another",
                "kind": "policy",
                "system": None,
                "name": "policy",
                "before": text,
                "after": text,
                **actor,
            },
            "policy_applied": {"policy": text, "rules": text, "proposal": None, **actor},
            "suite_applied": {
                "system": SYSTEM,
                "name": "triage",
                "suite": story.suite.digest,
                "proposal": None,
                **actor,
            },
            "run": {
                "id": "another",
                "system": SYSTEM,
                "version": v5,
                "suite": story.suite.digest,
                "repeats": 1,
                "environment": "{}",
                **actor,
            },
            "run_end": {
                "run": story.runs["short"],
                "outcome": "voided",
                "answers": 1,
                "errors": 0,
                "answers_digest": NOWHERE,
                "summary": "[]",
                **actor,
            },
            "decision": {
                "id": "another",
                **production,
                "version": v5,
                "policy": story.policy,
                "baseline_generation": 2,
                "baseline_version": v2,
                "outcome": "fail",
                "promotable": 0,
                "approvals_needed": 0,
                "findings": text,
                **actor,
                "expires_at": "2030-01-01T00:00:00.000000Z",
            },
            "approval": {
                "subject": story.decisions["v5 reviewed"].id,
                "signer": REVIEWER,
                "word": "yes",
                "key": None,
                "signature": None,
                "note": text,
                **actor,
            },
            "attempt": {
                **production,
                "generation": 3,
                "previous": 2,
                "kind": "promote",
                "version": v5,
                "decision": story.decisions["v5"].id,
                "promotable": 1,
                **actor,
            },
            "settlement": {**production, "generation": 3, "outcome": "live", **actor},
            "quarantine": {
                "system": SYSTEM,
                "definition": definition,
                "version": v5,
                "reason": text,
                **actor,
            },
            "hold": {**production, "reason": text, **actor},
            "lift": {"lifts": story.quarantine.seq, "reason": text, **actor},
            "object": {"digest": "b" * 64, "size": 3},
            "definition": {"digest": "c" * 64, "components": "[]"},
            "definition_entry": {
                "definition": "c" * 64,
                "component": "generation",
                "kind": "setting",
                "key": "temperature",
                "value": "1",
            },
            "suite": {
                "digest": "d" * 64,
                "system": SYSTEM,
                "name": "another",
                "spec": text,
                "cases": 1,
            },
            "suite_case": {"suite": "d" * 64, "case_id": "t1", "position": 0, "body": text},
            "answer": {
                "run": story.runs["short"],
                "case_id": "t0002",
                "repeat": 1,
                "asking": 1,
                "scores": "{}",
                "output": text,
                "latency_ms": 1.0,
            },
            "decision_run": {
                "decision": "another",
                "run": story.runs["v5"],
                "version": v5,
                "role": "candidate",
                "outcome": "completed",
            },
            "content": {"digest": "b" * 64, "bytes": b"abc"},
        }
        return dict(rows.get(table, {}))
