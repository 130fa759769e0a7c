"""Tables, keys and indexes of the registry, schema after schema, as SQL.

The keys carry the order: a record points at exactly what it rests on. What SQLite does not keep by
itself, on every connection, the triggers repeat.
"""

from __future__ import annotations

SCHEMA_1 = """
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

SCHEMA_2 = """
CREATE TABLE note (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    text TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    FOREIGN KEY (system, environment, generation)
        REFERENCES attempt (system, environment, generation)
);
CREATE INDEX note_by_generation ON note (system, environment, generation);
CREATE TABLE closing (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    decision TEXT REFERENCES decision (id),
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (system, environment, generation),
    FOREIGN KEY (system, environment, generation)
        REFERENCES attempt (system, environment, generation)
);
CREATE INDEX attempt_of_break_glass ON attempt (system, environment, generation)
    WHERE kind = 'break_glass';
CREATE TABLE rehearsal (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL,
    environment TEXT NOT NULL,
    version TEXT NOT NULL,
    operator TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    reverted INTEGER,
    outcome TEXT NOT NULL CHECK (outcome IN ('detected', 'missed', 'broken off')),
    decision TEXT REFERENCES decision (id),
    detect_ms INTEGER CHECK (detect_ms >= 0),
    restore_ms INTEGER CHECK (restore_ms >= 0),
    findings TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (system, environment, generation),
    FOREIGN KEY (version, system) REFERENCES version (id, system),
    FOREIGN KEY (system, environment, generation)
        REFERENCES attempt (system, environment, generation),
    FOREIGN KEY (system, environment, reverted)
        REFERENCES attempt (system, environment, generation),
    CHECK (reverted IS NULL OR reverted > generation),
    CHECK (outcome = 'broken off' OR (reverted IS NOT NULL AND decision IS NOT NULL))
);
CREATE TABLE review (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL REFERENCES system (name),
    outcome TEXT NOT NULL CHECK (outcome IN ('clean', 'findings')),
    findings TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX review_by_system ON review (system, seq);
CREATE TABLE recheck (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    system TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation > 0),
    version TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('held', 'fell', 'inconclusive')),
    findings TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    FOREIGN KEY (version, system) REFERENCES version (id, system),
    FOREIGN KEY (system, environment, generation)
        REFERENCES attempt (system, environment, generation)
);
CREATE INDEX recheck_by_environment ON recheck (system, environment, seq);
ALTER TABLE removal RENAME TO removal_1;
CREATE TABLE removal (
    seq INTEGER PRIMARY KEY REFERENCES ledger (seq),
    digest TEXT NOT NULL REFERENCES object (digest),
    kind TEXT NOT NULL CHECK (kind IN ('expire', 'redact')),
    reason TEXT NOT NULL REFERENCES object (digest),
    actor TEXT NOT NULL,
    at TEXT NOT NULL
);
INSERT INTO removal (seq, digest, kind, reason, actor, at)
    SELECT seq, digest, 'redact', reason, actor, at FROM removal_1;
DROP TABLE removal_1;
CREATE INDEX removal_by_digest ON removal (digest);
CREATE INDEX definition_entry_by_object ON definition_entry (object) WHERE object IS NOT NULL;
CREATE TABLE full_check (
    definition TEXT PRIMARY KEY REFERENCES definition (digest),
    at TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    problem TEXT
) WITHOUT ROWID;
"""
"""Life around the loop. Content that expired may come back, so one object may go several times."""

SCHEMAS = (SCHEMA_1, SCHEMA_2)
"""What each migration adds, in order."""

RECORD_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "registry": (("seq",), ("epoch",)),
    "removal": (("seq",),),
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
    "note": (("seq",),),
    "closing": (("seq",), ("system", "environment", "generation")),
    "rehearsal": (("seq",), ("system", "environment", "generation")),
    "review": (("seq",),),
    "recheck": (("seq",),),
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
