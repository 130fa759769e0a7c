"""Tables, keys and triggers of the registry, and the migrations that build them.

Three things carry every rule: the keys (a record points at exactly what it rests on), CHECKs on the
row itself, and triggers that repeat both, because foreign keys and checks are settings of each
connection. `INSERT OR REPLACE` would slip past delete triggers, so each append-only table also
refuses an insert over any of its keys.

- A row of an append-only table is never updated, deleted or replaced.
- A record is the newest thing in the ledger when it comes: none can be slipped in later.
- A promotion rests on a promotable decision about that very version and environment, made against
  what is live now, under the policy and the suites applied now, with no newer run, not expired.
- A decision that can be promoted rests on completed runs of its own version, on applied suites,
  and on all of them: none can be left out.
- A run ends once; it is completed only when every case has an answer in every repeat; afterwards it
  takes no answer.
- Attempt n needs the settlement of n - 1; only the newest attempt can be settled, once.
- A rehearsal reaches only where the applied policy allows it; a revert ends one, and a quarantine
  does not keep it from putting back what was live before.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x4C4F434B
"""`LOCK` in ASCII: marks the file as a registry."""

SCHEMA_NUMBER = 1
"""`PRAGMA user_version` of a registry that this release writes."""

_TABLES = """
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    prev TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE registry (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    epoch INTEGER NOT NULL UNIQUE CHECK (epoch > 0),
    id TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE object (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    size INTEGER NOT NULL CHECK (size >= 0)
) WITHOUT ROWID;
CREATE TABLE content (
    place INTEGER PRIMARY KEY CHECK (place > 0),
    digest TEXT NOT NULL UNIQUE REFERENCES object (digest),
    bytes BLOB,
    path TEXT CHECK (path = substr(digest, 1, 2) || '/' || digest),
    CHECK ((bytes IS NULL) <> (path IS NULL))
);
CREATE TABLE removal (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    digest TEXT NOT NULL UNIQUE REFERENCES object (digest),
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE system (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    name TEXT NOT NULL UNIQUE,
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE definition (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    components TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE definition_entry (
    definition TEXT NOT NULL REFERENCES definition (digest) DEFERRABLE INITIALLY DEFERRED,
    component TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('setting', 'file', 'executable')),
    key TEXT NOT NULL,
    value TEXT,
    object TEXT REFERENCES object (digest),
    PRIMARY KEY (definition, component, kind, key),
    CHECK ((kind = 'setting') = (value IS NOT NULL)),
    CHECK ((kind = 'setting') = (object IS NULL))
) WITHOUT ROWID;
CREATE TABLE version (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 64),
    system TEXT NOT NULL REFERENCES system (name),
    definition TEXT NOT NULL REFERENCES definition (digest),
    parent TEXT,
    track TEXT NOT NULL CHECK (track IN ('release', 'experiment', 'rehearsal')),
    label TEXT NOT NULL,
    owner TEXT NOT NULL,
    registrar TEXT NOT NULL,
    reason TEXT NOT NULL REFERENCES object (digest),
    at TEXT NOT NULL,
    UNIQUE (system, label),
    UNIQUE (id, system),
    UNIQUE (id, system, definition),
    FOREIGN KEY (parent, system) REFERENCES version (id, system),
    CHECK (parent IS NULL OR parent <> id),
    CHECK (CAST(substr(label, 2) AS INTEGER) > 0),
    CHECK (label = CASE track WHEN 'release' THEN 'v' WHEN 'experiment' THEN 'x' ELSE 'r' END
           || CAST(CAST(substr(label, 2) AS INTEGER) AS TEXT))
);
CREATE INDEX version_by_system ON version (system, seq);
CREATE INDEX version_by_track ON version (system, track, seq);
CREATE INDEX version_by_parent ON version (parent);
CREATE INDEX version_by_definition ON version (definition);
CREATE TABLE lineage (
    seq INTEGER PRIMARY KEY REFERENCES version (seq),
    parent INTEGER REFERENCES version (seq),
    version TEXT NOT NULL,
    label TEXT NOT NULL
);
CREATE TABLE proposal (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'suite')),
    system TEXT,
    name TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    CHECK ((kind = 'suite') = (system IS NOT NULL))
);
CREATE TABLE policy_applied (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    policy TEXT NOT NULL REFERENCES object (digest),
    rules TEXT NOT NULL REFERENCES object (digest),
    proposal TEXT REFERENCES proposal (id),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE suite (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    system TEXT NOT NULL,
    name TEXT NOT NULL,
    spec TEXT NOT NULL REFERENCES object (digest),
    cases INTEGER NOT NULL CHECK (cases > 0),
    UNIQUE (digest, system),
    UNIQUE (digest, system, name)
) WITHOUT ROWID;
CREATE TABLE suite_case (
    suite TEXT NOT NULL REFERENCES suite (digest) DEFERRABLE INITIALLY DEFERRED,
    case_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    body TEXT NOT NULL REFERENCES object (digest),
    PRIMARY KEY (suite, case_id)
) WITHOUT ROWID;
CREATE TABLE suite_applied (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL REFERENCES system (name),
    name TEXT NOT NULL,
    suite TEXT NOT NULL,
    proposal TEXT REFERENCES proposal (id),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    FOREIGN KEY (suite, system, name) REFERENCES suite (digest, system, name)
);
CREATE INDEX suite_applied_by_name ON suite_applied (system, name, seq);
CREATE TABLE run (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    id TEXT NOT NULL UNIQUE,
    system TEXT NOT NULL,
    version TEXT NOT NULL,
    suite TEXT NOT NULL,
    repeats INTEGER NOT NULL CHECK (repeats > 0),
    environment TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (id, version),
    FOREIGN KEY (version, system) REFERENCES version (id, system),
    FOREIGN KEY (suite, system) REFERENCES suite (digest, system)
);
CREATE INDEX run_by_version ON run (version, suite, seq);
CREATE INDEX run_by_system ON run (system, seq);
CREATE TABLE answer (
    run TEXT NOT NULL REFERENCES run (id),
    case_id TEXT NOT NULL,
    repeat INTEGER NOT NULL CHECK (repeat > 0),
    asking INTEGER NOT NULL CHECK (asking > 0),
    scores TEXT,
    error TEXT REFERENCES object (digest),
    output TEXT REFERENCES object (digest),
    latency_ms REAL NOT NULL,
    tokens_in INTEGER,
    tokens_out INTEGER,
    PRIMARY KEY (run, case_id, repeat, asking),
    CHECK ((scores IS NULL) <> (error IS NULL)),
    CHECK ((scores IS NULL) = (output IS NULL))
) WITHOUT ROWID;
CREATE TABLE run_end (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    run TEXT NOT NULL UNIQUE REFERENCES run (id),
    outcome TEXT NOT NULL CHECK (outcome IN ('completed', 'voided')),
    answers INTEGER NOT NULL CHECK (answers >= 0),
    errors INTEGER NOT NULL CHECK (errors >= 0),
    answers_digest TEXT NOT NULL,
    summary TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (run, outcome)
);
CREATE TABLE run_open (
    system TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (system, seq)
) WITHOUT ROWID;
CREATE TABLE lease (
    subject TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    host TEXT NOT NULL,
    heartbeat TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE decision (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    id TEXT NOT NULL UNIQUE,
    system TEXT NOT NULL,
    version TEXT NOT NULL,
    environment TEXT NOT NULL,
    policy TEXT NOT NULL REFERENCES object (digest),
    baseline_generation INTEGER NOT NULL CHECK (baseline_generation >= 0),
    baseline_version TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('pass', 'fail', 'inconclusive')),
    promotable INTEGER NOT NULL CHECK (promotable IN (0, 1)),
    approvals_needed INTEGER NOT NULL CHECK (approvals_needed >= 0),
    findings TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (id, system, environment, version, promotable),
    FOREIGN KEY (version, system) REFERENCES version (id, system),
    CHECK (promotable = 0 OR outcome = 'pass'
           OR (outcome = 'inconclusive' AND approvals_needed > 0)),
    CHECK ((baseline_generation = 0) = (baseline_version IS NULL))
);
CREATE INDEX decision_by_version ON decision (version, environment, seq);
CREATE INDEX decision_by_system ON decision (system, seq);
CREATE TABLE decision_run (
    decision TEXT NOT NULL REFERENCES decision (id) DEFERRABLE INITIALLY DEFERRED,
    run TEXT NOT NULL,
    version TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('candidate', 'baseline')),
    outcome TEXT NOT NULL CHECK (outcome = 'completed'),
    PRIMARY KEY (decision, run),
    FOREIGN KEY (run, outcome) REFERENCES run_end (run, outcome),
    FOREIGN KEY (run, version) REFERENCES run (id, version)
) WITHOUT ROWID;
CREATE TABLE approval (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    subject TEXT NOT NULL,
    signer TEXT NOT NULL,
    word TEXT NOT NULL CHECK (word IN ('yes', 'no')),
    key TEXT,
    signature TEXT REFERENCES object (digest),
    note TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (subject, signer),
    UNIQUE (subject, key),
    CHECK ((key IS NULL) = (signature IS NULL))
);
CREATE TABLE attempt (
    seq INTEGER NOT NULL UNIQUE REFERENCES ledger (seq),
    system TEXT NOT NULL REFERENCES system (name),
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 0),
    previous INTEGER,
    kind TEXT NOT NULL CHECK (kind IN
        ('origin', 'promote', 'rollback', 'rehearsal', 'revert', 'break_glass')),
    version TEXT,
    decision TEXT,
    promotable INTEGER,
    hook_digest TEXT,
    ticket TEXT,
    reason TEXT REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (system, environment, generation),
    FOREIGN KEY (version, system) REFERENCES version (id, system),
    FOREIGN KEY (system, environment, previous)
        REFERENCES settlement (system, environment, generation),
    FOREIGN KEY (decision, system, environment, version, promotable)
        REFERENCES decision (id, system, environment, version, promotable),
    CHECK ((generation = 0) = (kind = 'origin')),
    CHECK ((generation = 0) = (version IS NULL)),
    CHECK ((generation = 0) = (previous IS NULL)),
    CHECK (previous IS NULL OR previous = generation - 1),
    CHECK ((kind = 'promote') = (decision IS NOT NULL)),
    CHECK (promotable IS (CASE WHEN kind = 'promote' THEN 1 END)),
    CHECK (kind <> 'break_glass' OR (ticket IS NOT NULL AND reason IS NOT NULL))
) WITHOUT ROWID;
CREATE TABLE settlement (
    seq INTEGER NOT NULL UNIQUE REFERENCES ledger (seq),
    system TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('empty', 'live', 'failed', 'abandoned')),
    reason TEXT REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (system, environment, generation),
    FOREIGN KEY (system, environment, generation)
        REFERENCES attempt (system, environment, generation),
    CHECK ((generation = 0) = (outcome = 'empty'))
) WITHOUT ROWID;
CREATE INDEX settlement_live ON settlement (system, environment, generation)
    WHERE outcome = 'live';
CREATE TABLE quarantine (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL,
    definition TEXT NOT NULL,
    version TEXT NOT NULL,
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    FOREIGN KEY (version, system, definition) REFERENCES version (id, system, definition)
);
CREATE INDEX quarantine_by_definition ON quarantine (system, definition);
CREATE TABLE hold (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL REFERENCES system (name),
    environment TEXT NOT NULL,
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX hold_by_environment ON hold (system, environment);
CREATE TABLE lift (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    lifts INTEGER NOT NULL UNIQUE REFERENCES ledger (seq),
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE VIRTUAL TABLE version_text USING fts5 (
    label, owner, reason, prompt, content = '', tokenize = 'unicode61'
);
"""

RECORD_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "registry": (("seq",), ("epoch",)),
    "removal": (("seq",), ("digest",)),
    "system": (("seq",), ("name",)),
    "version": (("seq",), ("id",), ("system", "label")),
    "proposal": (("seq",), ("id",)),
    "policy_applied": (("seq",),),
    "suite_applied": (("seq",),),
    "run": (("seq",), ("id",)),
    "run_end": (("seq",), ("run",)),
    "decision": (("seq",), ("id",)),
    "approval": (("seq",), ("subject", "signer"), ("subject", "key")),
    "attempt": (("seq",), ("system", "environment", "generation")),
    "settlement": (("seq",), ("system", "environment", "generation")),
    "quarantine": (("seq",),),
    "hold": (("seq",),),
    "lift": (("seq",), ("lifts",)),
}
"""Tables with a ledger row for each of their rows, and every unique key they have."""

PART_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ledger": (("seq",), ("prev",)),
    "object": (("digest",),),
    "definition": (("digest",),),
    "definition_entry": (("definition", "component", "kind", "key"),),
    "lineage": (("seq",),),
    "suite": (("digest",),),
    "suite_case": (("suite", "case_id"),),
    "answer": (("run", "case_id", "repeat", "asking"),),
    "decision_run": (("decision", "run"),),
}
"""Append-only tables whose rows are covered by another record's digest, or repeat a record."""

CONTENT_KEYS: tuple[tuple[str, ...], ...] = (("place",), ("digest",))
"""The unique keys of `content`, the one table whose rows may go, after a recorded removal."""

_LIVE_GENERATION = """coalesce((SELECT max(s.generation) FROM settlement s
    WHERE s.system = NEW.system AND s.environment = NEW.environment AND s.outcome = 'live'), 0)"""

_QUARANTINED = """EXISTS (SELECT 1 FROM version v
    JOIN quarantine q ON q.system = v.system AND q.definition = v.definition
    WHERE v.id = NEW.version AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = q.seq))"""

_HELD = """EXISTS (SELECT 1 FROM hold h
    WHERE h.system = NEW.system AND h.environment = NEW.environment
      AND NOT EXISTS (SELECT 1 FROM lift l WHERE l.lifts = h.seq))"""

_ENVIRONMENT = """(SELECT e.value FROM json_each((SELECT CAST(c.bytes AS TEXT)
    FROM policy_applied p JOIN content c ON c.digest = p.rules
    ORDER BY p.seq DESC LIMIT 1), '$.environments') e
    JOIN json_each(e.value, '$.name') n WHERE n.value = NEW.environment)"""
"""What the applied policy says about the environment, as JSON; NULL when it does not name it."""


def _asks(key: str) -> str:
    """Return SQL for one value of the environment in the applied policy.

    `json_each` is used for it because `json_extract` may not stand in a trigger when
    `trusted_schema` is off, which it is in all our connections.
    """
    return f"(SELECT j.value FROM json_each({_ENVIRONMENT}, '$.{key}') j)"


_BEFORE_REHEARSAL = """(SELECT a.version FROM attempt a
    JOIN settlement s ON s.system = a.system AND s.environment = a.environment
        AND s.generation = a.generation AND s.outcome = 'live'
    WHERE a.system = NEW.system AND a.environment = NEW.environment AND a.kind <> 'rehearsal'
    ORDER BY s.generation DESC LIMIT 1)"""

_ORDER_RULES: tuple[tuple[str, str, str, str], ...] = (
    # table, rule's name, when it is broken, what the refusal says
    (
        "ledger",
        "is_dense",
        "NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM ledger)",
        "ledger numbers are dense",
    ),
    (
        "ledger",
        "time_never_goes_back",
        "NEW.at < (SELECT at FROM ledger ORDER BY seq DESC LIMIT 1)",
        "ledger time never goes back",
    ),
    (
        "definition_entry",
        "is_frozen",
        "EXISTS (SELECT 1 FROM definition d WHERE d.digest = NEW.definition)",
        "a registered definition never changes",
    ),
    (
        "suite_case",
        "is_frozen",
        "EXISTS (SELECT 1 FROM suite s WHERE s.digest = NEW.suite)",
        "a registered suite never changes",
    ),
    (
        "suite",
        "has_its_cases",
        "NEW.cases <> (SELECT count(*) FROM suite_case c WHERE c.suite = NEW.digest)",
        "a suite needs all of its cases",
    ),
    (
        "decision_run",
        "is_frozen",
        "EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.decision)",
        "a recorded decision never changes",
    ),
    (
        "decision_run",
        "rests_on_completed_run",
        """NOT EXISTS (SELECT 1 FROM run r JOIN run_end e ON e.run = r.id
            WHERE r.id = NEW.run AND r.version = NEW.version AND e.outcome = 'completed')""",
        "only a completed run of that version is evidence",
    ),
    (
        "version",
        "has_definition",
        "NOT EXISTS (SELECT 1 FROM definition d WHERE d.digest = NEW.definition)",
        "a version needs a registered definition",
    ),
    (
        "version",
        "has_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "a version needs a registered system",
    ),
    (
        "version",
        "has_parent",
        """NEW.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.parent AND v.system = NEW.system)""",
        "the parent is not a registered version of this system",
    ),
    (
        "version",
        "changes_something",
        """EXISTS (SELECT 1 FROM version v WHERE v.id = NEW.parent
            AND v.definition = NEW.definition AND v.track = NEW.track)""",
        "an empty change is no version",
    ),
    (
        "lineage",
        "says_what_its_version_says",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.seq = NEW.seq AND v.id = NEW.version AND v.label = NEW.label
              AND NEW.parent IS (SELECT p.seq FROM version p WHERE p.id = v.parent))""",
        "a line of versions goes from each to its parent",
    ),
    (
        "policy_applied",
        "is_what_was_proposed",
        """NEW.proposal IS NOT NULL AND (NOT EXISTS (SELECT 1 FROM proposal p
            WHERE p.id = NEW.proposal AND p.kind = 'policy'
              AND p.after IN (NEW.policy, NEW.rules))
            OR EXISTS (SELECT 1 FROM approval a
                WHERE a.subject = NEW.proposal AND a.word = 'no'))""",
        "a policy is applied as it was proposed, and never over a no",
    ),
    (
        "suite_applied",
        "needs_registered_suite",
        """NOT EXISTS (SELECT 1 FROM suite s
            WHERE s.digest = NEW.suite AND s.system = NEW.system AND s.name = NEW.name)""",
        "only a registered suite of that system and name can be applied",
    ),
    (
        "suite_applied",
        "is_what_was_proposed",
        """NEW.proposal IS NOT NULL AND (NOT EXISTS (SELECT 1 FROM proposal p
            WHERE p.id = NEW.proposal AND p.kind = 'suite' AND p.system = NEW.system
              AND p.name = NEW.name AND p.after = NEW.suite)
            OR EXISTS (SELECT 1 FROM approval a
                WHERE a.subject = NEW.proposal AND a.word = 'no'))""",
        "a suite is applied as it was proposed, and never over a no",
    ),
    (
        "run",
        "needs_registered_version",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can be evaluated",
    ),
    (
        "run",
        "needs_registered_suite",
        """NOT EXISTS (SELECT 1 FROM suite s
            WHERE s.digest = NEW.suite AND s.system = NEW.system)""",
        "only a registered suite of that system can be run",
    ),
    (
        "answer",
        "needs_open_run",
        """NOT EXISTS (SELECT 1 FROM run r WHERE r.id = NEW.run)
            OR EXISTS (SELECT 1 FROM run_end e WHERE e.run = NEW.run)""",
        "a run that ended takes no answer",
    ),
    (
        "answer",
        "is_to_a_case",
        """NOT EXISTS (SELECT 1 FROM run r
            JOIN suite_case c ON c.suite = r.suite AND c.case_id = NEW.case_id
            WHERE r.id = NEW.run AND NEW.repeat <= r.repeats)""",
        "the answer is to no case of this run",
    ),
    (
        "answer",
        "is_not_asked_again",
        """NEW.asking <> 1 + (SELECT count(*) FROM answer a WHERE a.run = NEW.run
                AND a.case_id = NEW.case_id AND a.repeat = NEW.repeat)
            OR EXISTS (SELECT 1 FROM answer a WHERE a.run = NEW.run
                AND a.case_id = NEW.case_id AND a.repeat = NEW.repeat
                AND a.scores IS NOT NULL)""",
        "a case that was answered is not asked again",
    ),
    (
        "run_end",
        "needs_run",
        "NOT EXISTS (SELECT 1 FROM run r WHERE r.id = NEW.run)",
        "there is no such run to end",
    ),
    (
        "run_end",
        "is_complete",
        """NEW.outcome = 'completed' AND (SELECT count(*) FROM (
                SELECT DISTINCT a.case_id, a.repeat FROM answer a WHERE a.run = NEW.run))
            <> (SELECT s.cases * r.repeats FROM run r JOIN suite s ON s.digest = r.suite
                WHERE r.id = NEW.run)""",
        "a run that was cut short is not completed",
    ),
    (
        "run_end",
        "counts_errors",
        """NEW.outcome = 'completed' AND NEW.errors <> (SELECT count(*) FROM (
                SELECT a.case_id, a.repeat FROM answer a WHERE a.run = NEW.run
                GROUP BY a.case_id, a.repeat HAVING count(a.scores) = 0))""",
        "the count of errors is not what the answers say",
    ),
    (
        "run_end",
        "counts_answers",
        "NEW.answers <> (SELECT count(*) FROM answer a WHERE a.run = NEW.run)",
        "the count of answers is not what there is",
    ),
    (
        "decision",
        "needs_registered_version",
        """NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can be decided on",
    ),
    (
        "decision",
        "needs_evidence",
        """NEW.promotable = 1 AND NOT EXISTS (SELECT 1 FROM decision_run d
            WHERE d.decision = NEW.id AND d.version = NEW.version AND d.role = 'candidate')""",
        "no decision can pass without a completed run of its version",
    ),
    (
        "decision",
        "rests_on_its_own_runs",
        """EXISTS (SELECT 1 FROM decision_run d WHERE d.decision = NEW.id AND d.version <>
            CASE d.role WHEN 'candidate' THEN NEW.version
                        ELSE coalesce(NEW.baseline_version, '') END)""",
        "a decision rests on runs of its own version and of what is live",
    ),
    (
        "decision",
        "rests_on_applied_suites",
        """EXISTS (SELECT 1 FROM decision_run d JOIN run r ON r.id = d.run
            JOIN suite s ON s.digest = r.suite
            WHERE d.decision = NEW.id AND r.suite IS NOT (SELECT a.suite FROM suite_applied a
                WHERE a.system = NEW.system AND a.name = s.name ORDER BY a.seq DESC LIMIT 1))""",
        "a decision rests on runs of the suites that are applied",
    ),
    (
        "decision",
        "pools_all_runs",
        """EXISTS (SELECT 1 FROM decision_run d JOIN run r ON r.id = d.run
            JOIN run o ON o.version = r.version AND o.suite = r.suite
            JOIN run_end e ON e.run = o.id AND e.outcome = 'completed'
            WHERE d.decision = NEW.id AND NOT EXISTS (SELECT 1 FROM decision_run x
                WHERE x.decision = NEW.id AND x.run = o.id))""",
        "a decision pools all completed runs of a version on a suite",
    ),
    (
        "decision",
        "compares_with_live",
        f"""NEW.baseline_generation <> {_LIVE_GENERATION}
            OR NEW.baseline_version IS NOT (SELECT a.version FROM attempt a
                WHERE a.system = NEW.system AND a.environment = NEW.environment
                AND a.generation = NEW.baseline_generation AND a.generation > 0)""",
        "a decision compares with what is live",
    ),
    (
        "decision",
        "asks_enough_reviewers",
        f"""NEW.promotable = 1
            AND NEW.approvals_needed < {_asks("approvals")}""",
        "a decision asks for as many reviewers as the policy",
    ),
    (
        "decision",
        "follows_applied_policy",
        """NEW.policy IS NOT (SELECT p.policy FROM policy_applied p ORDER BY p.seq DESC LIMIT 1)""",
        "a decision follows the applied policy",
    ),
    (
        "approval",
        "has_subject",
        """NOT EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.subject)
            AND NOT EXISTS (SELECT 1 FROM proposal p WHERE p.id = NEW.subject)""",
        "there is no such decision or proposal to approve",
    ),
    (
        "attempt",
        "follows_settlement",
        """NEW.generation > 0 AND (NOT EXISTS (SELECT 1 FROM settlement s
            WHERE s.system = NEW.system AND s.environment = NEW.environment
              AND s.generation = NEW.generation - 1)
            OR NEW.generation <> (SELECT max(a.generation) + 1 FROM attempt a
                WHERE a.system = NEW.system AND a.environment = NEW.environment))""",
        "an attempt takes the generation after the newest settled one",
    ),
    (
        "attempt",
        "has_registered_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "only a registered system has generations",
    ),
    (
        "attempt",
        "has_registered_version",
        """NEW.generation > 0 AND NOT EXISTS (SELECT 1 FROM version v
            WHERE v.id = NEW.version AND v.system = NEW.system)""",
        "only a registered version can reach an environment",
    ),
    (
        "attempt",
        "fits_its_track",
        """NEW.generation > 0 AND (SELECT v.track FROM version v WHERE v.id = NEW.version)
            <> CASE NEW.kind WHEN 'rehearsal' THEN 'rehearsal' ELSE 'release' END""",
        "only a release reaches an environment",
    ),
    (
        "attempt",
        "is_not_quarantined",
        f"""NEW.generation > 0 AND {_QUARANTINED}
            AND NOT (NEW.kind = 'revert' AND NEW.version IS {_BEFORE_REHEARSAL})""",
        "the definition is quarantined",
    ),
    (
        "attempt",
        "rehearses_where_it_may",
        f"""NEW.kind = 'rehearsal'
            AND {_asks("rehearsal")} IS NOT 1""",
        "a rehearsal reaches only an environment for rehearsals",
    ),
    (
        "attempt",
        "needs_promotable_decision",
        """NEW.kind = 'promote' AND NOT EXISTS (SELECT 1 FROM decision d
            WHERE d.id = NEW.decision AND d.system = NEW.system
              AND d.environment = NEW.environment AND d.version = NEW.version
              AND d.promotable = 1)""",
        "a promotion needs a passing decision about this version and environment",
    ),
    (
        "attempt",
        "decision_is_about_live",
        f"""NEW.kind = 'promote' AND (SELECT d.baseline_generation FROM decision d
            WHERE d.id = NEW.decision) <> {_LIVE_GENERATION}""",
        "the decision compared with a version that is no longer live",
    ),
    (
        "attempt",
        "decision_is_fresh",
        """NEW.kind = 'promote' AND NEW.at > (SELECT d.expires_at FROM decision d
            WHERE d.id = NEW.decision)""",
        "the decision has expired",
    ),
    (
        "attempt",
        "decision_is_not_void",
        """NEW.kind = 'promote' AND EXISTS (SELECT 1 FROM decision d WHERE d.id = NEW.decision AND (
            EXISTS (SELECT 1 FROM policy_applied p WHERE p.seq > d.seq)
            OR EXISTS (SELECT 1 FROM suite_applied s WHERE s.seq > d.seq AND s.system = d.system)
            OR EXISTS (SELECT 1 FROM run r JOIN run_end e ON e.run = r.id
                WHERE r.version IN (d.version, d.baseline_version)
                  AND e.seq > d.seq AND e.outcome = 'completed')))""",
        "the decision is void: the policy, a suite or a run is newer",
    ),
    (
        "attempt",
        "decision_has_approvals",
        f"""NEW.kind = 'promote' AND EXISTS (SELECT 1 FROM decision d
            JOIN version v ON v.id = d.version WHERE d.id = NEW.decision AND (
            EXISTS (SELECT 1 FROM approval a WHERE a.subject = d.id AND a.word = 'no')
            OR d.approvals_needed > (SELECT count(*) FROM approval a WHERE a.subject = d.id
                AND a.word = 'yes' AND a.signer NOT IN (v.registrar, v.owner, NEW.actor)
                AND coalesce(a.signer IN (SELECT r.value
                    FROM json_each({_ENVIRONMENT}, '$.reviewers') r)
                    AND (a.key IS NOT NULL
                        OR {_asks("accept_claimed")} = 1), 0))))""",
        "the decision lacks the approvals it needs, or a reviewer said no",
    ),
    (
        "attempt",
        "environment_is_not_held",
        f"NEW.kind = 'promote' AND {_HELD}",
        "the environment is held",
    ),
    (
        "attempt",
        "goes_back_to_what_was_live",
        """NEW.kind IN ('rollback', 'revert') AND NOT EXISTS (SELECT 1 FROM attempt a
            JOIN settlement s ON s.system = a.system AND s.environment = a.environment
                AND s.generation = a.generation
            WHERE a.system = NEW.system AND a.environment = NEW.environment
              AND a.version = NEW.version AND s.outcome = 'live')""",
        "the way back leads only to what was live there",
    ),
    (
        "attempt",
        "reverts_a_rehearsal",
        f"""NEW.kind = 'revert' AND NOT EXISTS (SELECT 1 FROM attempt a LEFT JOIN settlement s
                ON s.system = a.system AND s.environment = a.environment
                AND s.generation = a.generation
                WHERE a.system = NEW.system AND a.environment = NEW.environment
                AND (a.generation = {_LIVE_GENERATION} AND a.kind = 'rehearsal'
                    OR a.generation = NEW.generation - 1 AND (a.kind = 'rehearsal'
                        OR a.kind = 'revert' AND s.outcome IS NOT 'live')))""",
        "a revert ends a rehearsal",
    ),
    (
        "settlement",
        "settles_newest_attempt",
        """NEW.generation IS NOT (SELECT max(a.generation) FROM attempt a
            WHERE a.system = NEW.system AND a.environment = NEW.environment)""",
        "only the newest attempt can be settled",
    ),
    (
        "quarantine",
        "is_of_a_version",
        """NOT EXISTS (SELECT 1 FROM version v WHERE v.id = NEW.version
            AND v.system = NEW.system AND v.definition = NEW.definition)""",
        "there is no such version to quarantine",
    ),
    (
        "hold",
        "has_system",
        "NOT EXISTS (SELECT 1 FROM system s WHERE s.name = NEW.system)",
        "there is no such system to hold",
    ),
    (
        "lift",
        "ends_something",
        """NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.seq = NEW.lifts)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.seq = NEW.lifts)""",
        "there is no such quarantine or hold to lift",
    ),
)


_FOLLOW_UP = (
    """CREATE TRIGGER "version_has_line" AFTER INSERT ON "version"
BEGIN INSERT INTO lineage (seq, parent, version, label)
    SELECT NEW.seq, (SELECT p.seq FROM version p WHERE p.id = NEW.parent), NEW.id, NEW.label;
END;""",
    """CREATE TRIGGER "run_is_open" AFTER INSERT ON "run"
BEGIN INSERT INTO run_open (system, seq) VALUES (NEW.system, NEW.seq); END;""",
    """CREATE TRIGGER "run_is_over" AFTER INSERT ON "run_end"
BEGIN DELETE FROM run_open WHERE (system, seq) IN
    (SELECT system, seq FROM run WHERE id = NEW.run); END;""",
)
"""Keep `lineage`, narrow rows to walk from parent to parent, ten times as fast as by the wide rows
with their hashed ids, and `run_open`, an index of the runs without an end. Both repeat records.
"""


def _trigger(name: str, event: str, table: str, when: str, says: str) -> str:
    return (
        f'CREATE TRIGGER "{name}" BEFORE {event} ON "{table}" WHEN {when}\n'
        f"BEGIN SELECT RAISE(ABORT, 'lockgate: {says}'); END;"
    )


def _once(table: str, key: tuple[str, ...]) -> str:
    same = " AND ".join(f't."{column}" = NEW."{column}"' for column in key)
    return _trigger(
        f"{table}_{'_'.join(key)}_once",
        "INSERT",
        table,
        f'EXISTS (SELECT 1 FROM "{table}" t WHERE {same})',
        f"{table} {' and '.join(key)} exists already",
    )


def _balanced(text: str, start: int) -> str:
    """Return what stands in the parentheses that open at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 1 : position]
    raise ValueError(f"no end of the parenthesis in `{text[start : start + 60]}`")


def checks(table: str) -> list[str]:
    """Return the CHECKs that a table's rows have to meet, as written."""
    start = _TABLES.index(f"CREATE TABLE {table} (")
    body = _balanced(_TABLES, _TABLES.index("(", start))
    return [_balanced(body, match.end() - 1) for match in re.finditer(r"\bCHECK \(", body)]


def _columns(table: str) -> list[str]:
    start = _TABLES.index(f"CREATE TABLE {table} (")
    body = _balanced(_TABLES, _TABLES.index("(", start))
    return list(re.findall(r"^    ([a-z_]+) [A-Z]", body, re.MULTILINE))


def _in_shape(table: str) -> list[str]:
    """Return the trigger that repeats a table's CHECKs, if it has any."""
    words = re.compile(rf"'[^']*'|\b({'|'.join(_columns(table))})\b")
    refusals = []
    for check in checks(table):
        if check.startswith("place "):  # SQLite has not chosen it yet: it is -1 here
            continue
        on_new = words.sub(lambda found: f"NEW.{found[1]}" if found[1] else found[0], check)
        says = " ".join(check.split()).replace("'", "''")
        refusals.append(
            f"SELECT RAISE(ABORT, 'lockgate: {table} needs {says}') WHERE NOT ({on_new});"
        )
    if not refusals:
        return []
    return [
        f'CREATE TRIGGER "{table}_in_shape" BEFORE INSERT ON "{table}"\n'
        f"BEGIN {' '.join(refusals)} END;"
    ]


def _in_ledger(table: str) -> str:
    return _trigger(
        f"{table}_in_ledger",
        "INSERT",
        table,
        "NOT EXISTS (SELECT 1 FROM ledger l WHERE l.seq = (SELECT max(seq) FROM ledger) "
        f"AND l.seq = NEW.seq AND l.kind = '{table}' AND l.at = NEW.at)",
        f"{table} has no ledger row of its own",
    )


def triggers() -> list[str]:
    """Return every trigger of the schema as SQL, in a fixed order.

    SQLite fires the trigger that was made last first. Nothing rests on that but which of several
    refusals is said: keys that are taken come before rules, so that a racer hears of the winner.
    """
    statements: list[str] = []
    for table in (*RECORD_KEYS, *PART_KEYS, "content"):
        statements += _in_shape(table)
    for table, rule, when, says in reversed(_ORDER_RULES):
        statements.append(_trigger(f"{table}_{rule}", "INSERT", table, when, says))
    statements += [_in_ledger(table) for table in RECORD_KEYS]
    for table, keys in (*RECORD_KEYS.items(), *PART_KEYS.items()):
        for event, word in (("UPDATE", "updated"), ("DELETE", "deleted")):
            says = f"{table} is append-only"
            statements.append(_trigger(f"{table}_never_{word}", event, table, "1", says))
        statements += [_once(table, key) for key in reversed(keys)]
    statements.append(
        _trigger("content_never_updated", "UPDATE", "content", "1", "content never changes")
    )
    statements.append(
        _trigger(
            "content_goes_only_after_removal",
            "DELETE",
            "content",
            "NOT EXISTS (SELECT 1 FROM removal r WHERE r.digest = OLD.digest)",
            "content goes only after a recorded removal",
        )
    )
    statements += [_once("content", key) for key in CONTENT_KEYS]
    statements += _FOLLOW_UP
    return statements


def build(connection: sqlite3.Connection) -> None:
    """Create every table and trigger of schema 1; the caller holds the transaction."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    for statement in triggers():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")


def schema_digest(connection: sqlite3.Connection) -> str:
    """Return a digest of all tables, indexes and triggers, to see that none was dropped."""
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_*' "
        "AND tbl_name <> '_sqlite_migrations' "
        # FTS5 makes these itself, and not the same in every release of SQLite.
        "AND tbl_name NOT GLOB 'version_text_*' ORDER BY type, name"
    )
    text = "\n".join(f"{kind} {name} {sql}" for kind, name, sql in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def migrate(database: Database) -> None:
    """Bring a registry to this release's schema, one numbered migration after the other."""
    from sqlite_utils.migrations import Migrations

    migrations = Migrations("lockgate")

    @migrations(name="0001_the_loop")
    def _the_loop(db: Database) -> None:
        build(db.conn)

    migrations.apply(database)
