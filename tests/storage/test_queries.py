"""Named queries find what they name, visit only what they show, and take any text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import (
    SYSTEM,
    FixedClock,
    add_suite,
    add_version,
    answer_of,
    append,
    apply_policy,
    approve,
    complete_run,
    decision_of,
    definition_of,
    hold,
    labels,
    lift,
    make_live,
    make_registry,
    origin_of,
    promote,
    quarantine,
    start_run,
)
from lockgate.domain.release import (
    Approval,
    Attempt,
    Finding,
    Hold,
    Lift,
    Quarantine,
    Settlement,
    SuiteApplied,
)
from lockgate.domain.suite import Case, ScorerSpec, Suite
from lockgate.errors import IntegrityBroken, UsageMistake
from lockgate.storage.registry import FILE, FOLDER, Registry, open_registry


def plans(registry: Registry, ask: Callable[[Registry], object]) -> list[str]:
    """Return how SQLite would answer each query that a call makes."""
    asked: list[str] = []
    connection = registry._connection
    connection.set_trace_callback(asked.append)
    ask(registry)
    connection.set_trace_callback(None)
    assert asked
    return [
        row[3].removesuffix(" LEFT-JOIN")
        for sql in asked
        if sql.startswith(("SELECT", "WITH"))
        for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]


STEPS_THAT_READ_ONE_ROW = ("SCAN line", "SCAN found", "SCAN CONSTANT ROW")
NEWEST_FIRST = ("SCAN ledger", "SCAN policy_applied", "SCAN proposal")
"""Walks along the table's own order, which ends at the LIMIT."""

LOOKS: dict[str, Callable[[Registry], object]] = {
    "since": lambda r: list(r.upkeep.since(r.now())),
    "lifted": lambda r: r.upkeep.lifted(5),
    "unclosed": lambda r: r.upkeep.unclosed(SYSTEM, "production"),
    "ungated": lambda r: r.upkeep.ungated(SYSTEM, "production"),
    "notes": lambda r: r.upkeep.notes(SYSTEM, "production", 1),
    "closing": lambda r: r.upkeep.closing(SYSTEM, "production", 1),
    "get": lambda r: r.versions.get("a" * 64),
    "page": lambda r: r.versions.page(SYSTEM),
    "page further down": lambda r: r.versions.page(SYSTEM, before=5),
    "page of a track": lambda r: r.versions.page(SYSTEM, track="release", before=5),
    "named by label": lambda r: r.versions.named(SYSTEM, "v1"),
    "named by id": lambda r: r.versions.named(SYSTEM, r.versions.page(SYSTEM)[0].id[:8]),
    "children": lambda r: r.versions.children("a" * 64),
    "ancestors": lambda r: list(r.versions.ancestors(r.versions.page(SYSTEM)[0].id)),
    "descends": lambda r: r.versions.descends(
        r.versions.named(SYSTEM, "v2").id, r.versions.named(SYSTEM, "v1").id
    ),
    "with definition": lambda r: r.versions.with_definition(SYSTEM, "a" * 64),
    "definition": lambda r: r.versions.definition(definition_of("one").digest),
    "live": lambda r: r.releases.live(SYSTEM, "production"),
    "newest": lambda r: r.releases.newest(SYSTEM, "production"),
    "deployments": lambda r: r.releases.deployments(SYSTEM, "production", before=2),
    "deployment": lambda r: r.releases.deployment(SYSTEM, "production", 1),
    "promoted": lambda r: r.releases.promoted(SYSTEM, "production", "a" * 64),
    "environments": lambda r: r.releases.environments(SYSTEM),
    "where live": lambda r: r.releases.where_live(SYSTEM),
    "newest decision": lambda r: r.releases.newest_decision(
        r.versions.named(SYSTEM, "v2").id, "production"
    ),
    "decisions": lambda r: r.releases.decisions(SYSTEM),
    "is void": lambda r: r.releases.is_void(r.releases.decisions(SYSTEM)[0]),
    "lift": lambda r: r.releases.lift_of(1),
    "run": lambda r: r.runs.get(r.runs.of_version(r.versions.named(SYSTEM, "v2").id)[0].run.id),
    "completed": lambda r: r.runs.completed("a" * 64, "b" * 64),
    "open runs": lambda r: r.runs.open(SYSTEM),
    "asked": lambda r: r.runs.asked("a"),
    "raw answers": lambda r: list(r.runs.raw_answers("a")),
    "policy": lambda r: r.applied.policy(),
    "suite history": lambda r: r.applied.suite_history(SYSTEM, "triage"),
    "head": lambda r: r.ledger.head(),
    "entries": lambda r: list(r.ledger.entries(after=3)),
}


@pytest.fixture
def two_live(registry: Registry) -> Registry:
    """A registry where v1, then v2, became live."""
    first, _ = make_live(registry, "one")
    make_live(registry, "two", parent=first)
    return registry


@pytest.mark.parametrize("name", LOOKS)
def test_a_query_visits_only_the_rows_it_shows(two_live: Registry, name: str) -> None:
    """No query reads through a table or sorts one: it finds its rows by a key, in their order."""
    sorts_a_few = name == "run"  # all runs of one version
    for step in plans(two_live, LOOKS[name]):
        reads_through = step.startswith("SCAN ") and not step.startswith(
            (*STEPS_THAT_READ_ONE_ROW, *NEWEST_FIRST)
        )
        assert not reads_through, step
        if "TEMP B-TREE" in step:
            assert sorts_a_few, step


BY_CONTENT = "SEARCH c USING INDEX sqlite_autoindex_content_1 (digest=?)"
BY_GENERATION = "USING PRIMARY KEY (system=? AND environment=? AND generation=?)"
WAY_IN = [
    "CORRELATED SCALAR SUBQUERY 1",
    "SEARCH w USING PRIMARY KEY (system=? AND environment=? AND generation<?)",
    f"SEARCH ws {BY_GENERATION}",
]
"""Asked of a revert alone: how what it put back had come to be live."""
PLANS = {
    "page": ["SEARCH v USING INDEX version_by_system (system=? AND seq<?)", BY_CONTENT],
    "page of a track": [
        "SEARCH v USING INDEX version_by_track (system=? AND track=? AND seq<?)",
        BY_CONTENT,
    ],
    "named by label": [
        "SEARCH v USING INDEX sqlite_autoindex_version_2 (system=? AND label=?)",
        BY_CONTENT,
    ],
    "named by id": [
        "SEARCH v USING INDEX version_by_system (system=? AND seq<?)",
        BY_CONTENT,
        "SEARCH v USING INDEX sqlite_autoindex_version_1 (id>? AND id<?)",
        BY_CONTENT,
    ],
    "live": [
        "SEARCH s USING PRIMARY KEY (system=? AND environment=?)",
        f"SEARCH a {BY_GENERATION}",
        *WAY_IN,
    ],
    "deployments": [
        "SEARCH a USING PRIMARY KEY (system=? AND environment=? AND generation>? AND generation<?)",
        f"SEARCH s {BY_GENERATION}",
        *WAY_IN,
    ],
    "newest decision": [
        "SEARCH v USING INDEX sqlite_autoindex_version_2 (system=? AND label=?)",
        BY_CONTENT,
        "SEARCH decision USING INDEX decision_by_version (version=? AND environment=?)",
        "SEARCH decision_run USING PRIMARY KEY (decision=?)",
        "SEARCH content USING INDEX sqlite_autoindex_content_1 (digest=?)",
    ],
}


@pytest.mark.parametrize("name", PLANS)
def test_the_keys_of_the_hot_queries_are_these(two_live: Registry, name: str) -> None:
    """What the screens ask most narrows its rows by every key it has."""
    assert plans(two_live, LOOKS[name]) == PLANS[name]


def test_pages_go_on_where_the_last_one_ended(registry: Registry) -> None:
    """Pages are newest first, never overlap and leave nothing out."""
    parent = None
    for number in range(25):
        parent = add_version(registry, f"prompt {number}", parent=parent)
    add_version(registry, "ex", parent=parent, track="experiment")
    first = registry.versions.page(SYSTEM, limit=10)
    second = registry.versions.page(SYSTEM, before=first[-1].seq, limit=10)
    third = registry.versions.page(SYSTEM, before=second[-1].seq, limit=10)
    assert labels([*first, *second, *third]) == [
        "x1",
        *(f"v{number}" for number in range(25, 0, -1)),
    ]
    assert registry.versions.page(SYSTEM, before=third[-1].seq) == []
    assert labels(registry.versions.page(SYSTEM, track="experiment")) == ["x1"]
    assert registry.versions.count(SYSTEM) == 26


def test_a_page_holds_500_at_most(registry: Registry) -> None:
    """However many are asked for, a page stays small enough for a screen."""
    sql: list[str] = []
    registry._connection.set_trace_callback(sql.append)
    registry.versions.page(SYSTEM, limit=10**9)
    registry.releases.deployments(SYSTEM, "production", limit=10**9)
    registry._connection.set_trace_callback(None)
    assert [statement.rsplit("LIMIT ", 1)[1] for statement in sql] == ["500", "500"]


def test_versions_are_named_by_label_or_the_beginning_of_an_id(registry: Registry) -> None:
    """A label or four and more hexadecimal digits name a version; anything else lists what is."""
    first = add_version(registry, "one")
    assert registry.versions.named(SYSTEM, "v1") == first
    assert registry.versions.named(SYSTEM, first.id) == first
    assert registry.versions.named(SYSTEM, first.id[:4]) == first
    for text in ("v9", "0000", first.id[:3], "", "V1", "v1; DROP TABLE version", "\x00"):
        with pytest.raises(UsageMistake, match="there is no version") as refusal:
            registry.versions.named(SYSTEM, text)
        assert refusal.value.hint == f"newest are v1; `lockgate log --all -s {SYSTEM}` lists all"
    with pytest.raises(UsageMistake) as refusal:
        registry.versions.named("elsewhere", "v1")
    assert refusal.value.hint == "register the first: `lockgate register -s elsewhere -m REASON`"


def test_an_ambiguous_beginning_names_the_candidates(registry: Registry) -> None:
    """When several ids begin alike the hint gives their labels."""
    number, seen = 0, {}
    while True:
        number += 1
        version = add_version(registry, f"prompt {number}")
        if version.id[:4] in seen or number > 1500:
            break
        seen[version.id[:4]] = version
    if number > 1500:
        pytest.fail("no two of 1500 ids began alike")
    other = seen[version.id[:4]]
    with pytest.raises(UsageMistake, match="begins the ids of several versions") as refusal:
        registry.versions.named(SYSTEM, version.id[:4])
    assert {other.label, version.label} <= set(
        refusal.value.hint.removeprefix("use one of ").split(", ")
    )


def test_descent_goes_from_parent_to_parent(registry: Registry) -> None:
    """A version descends from itself and all before it in its line, and from nothing else."""
    one = add_version(registry, "one")
    two = add_version(registry, "two", parent=one)
    ex = add_version(registry, "ex", parent=one, track="experiment")
    three = add_version(registry, "three", parent=two)
    assert [(r.label, r.distance) for r in registry.versions.ancestors(three.id)] == [
        ("v3", 0),
        ("v2", 1),
        ("v1", 2),
    ]
    assert [r.label for r in registry.versions.ancestors(three.id, limit=2)] == ["v3", "v2"]
    assert list(registry.versions.ancestors("f" * 64)) == []
    descends = registry.versions.descends
    assert descends(three.id, one.id)
    assert descends(three.id, three.id)
    assert not descends(one.id, three.id)
    assert not descends(three.id, ex.id)
    assert not descends(ex.id, two.id)
    assert not descends(three.id, "f" * 64)
    assert not descends("f" * 64, one.id)
    assert labels(registry.versions.children(one.id)) == ["v2", "x1"]


def test_the_environments_are_each_named_once(registry: Registry) -> None:
    """Every environment that took an attempt is there once, however many it took."""
    version, _ = make_live(registry, "one", environment="staging")
    make_live(registry, "two", environment="production")
    make_live(registry, "three", environment="staging")
    promote(registry, version, kind="rollback", environment="staging")
    assert registry.releases.environments(SYSTEM) == ["production", "staging"]
    assert registry.releases.environments("elsewhere") == []
    assert registry.releases.where_live(SYSTEM)[version.id] == ["staging"]


def test_open_runs_are_those_without_an_end(registry: Registry) -> None:
    """A run is open from its beginning to its end, newest first, for its own system."""
    suite, version = add_suite(registry), add_version(registry)
    complete_run(registry, version, suite)
    first, second = start_run(registry, version, suite), start_run(registry, version, suite)
    assert [record.run.id for record in registry.runs.open(SYSTEM)] == [second.id, first.id]
    with registry.write() as writing:
        writing.end_run(first, "voided", (), "support-dev")
    assert [record.run.id for record in registry.runs.open(SYSTEM)] == [second.id]
    assert registry.runs.open("elsewhere") == []


def test_a_lift_ends_what_is_in_force(registry: Registry) -> None:
    """Quarantines and holds are listed until they are lifted; the lift stays on record."""
    version = add_version(registry)
    bound, held = quarantine(registry, version), hold(registry)
    assert registry.releases.quarantines(SYSTEM, definition=version.definition) == [bound]
    assert registry.releases.holds(SYSTEM, "production") == [held]
    ended = lift(registry, held)
    assert registry.releases.holds(SYSTEM) == []
    assert registry.releases.lift_of(held.seq) == ended
    assert registry.releases.quarantines(SYSTEM) == [bound]


TEXTS = [
    '"',
    '""" OR 1',
    "AND",
    "NOT better",
    "NEAR(a b)",
    "label:v1",
    "-better",
    "^better",
    "bet*ter",
    "(better",
    "{better}",
    "better + queues",
    "\x00",
    "better\x00queues",
    "🔥",
    "better 🔥",
    "\ud800",
    "'; DROP TABLE version; --",
    "word " * 10_000,
    " ".join(f"w{number}" for number in range(10_000)),
    "x" * 100_000,
    "\u202e\u200b",
    "%_",
]


@pytest.mark.parametrize("text", TEXTS, ids=[repr(text)[:24] for text in TEXTS])
def test_any_text_can_be_searched(registry: Registry, text: str) -> None:
    """Quotes, operators, NUL, emoji and ten thousand words are text, never syntax or an error."""
    version = add_version(registry, reason="better queues")
    assert registry.versions.search(SYSTEM, text) in ([], [version])
    assert registry.versions.search(SYSTEM, "better") == [version]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text())
def test_no_text_is_too_strange_to_search(registry: Registry, text: str) -> None:
    """Whatever is typed, a search answers."""
    registry.versions.search(None, text)


def test_search_finds_words_and_beginnings(registry: Registry) -> None:
    """All words count, in label, owner, reason or prompt; the last may be cut short."""
    one = add_version(registry, "You sort tickets of a bank.", reason="first line")
    two = add_version(
        registry, "You sort letters.", parent=one, reason="Straße, naïve", owner="ops"
    )
    assert registry.versions.search(SYSTEM, "sort") == [two, one]
    assert registry.versions.search(SYSTEM, "sort bank") == [one]
    assert registry.versions.search(SYSTEM, "tick") == [one]
    assert registry.versions.search(SYSTEM, "v2") == [two]
    assert registry.versions.search(SYSTEM, "naive") == [two]
    assert registry.versions.search(SYSTEM, "ops letters") == [two]
    assert registry.versions.search(SYSTEM, "tick sort") == []
    assert registry.versions.search("elsewhere", "sort") == []
    assert registry.versions.search(None, "sort", limit=1) == [two]
    assert registry.versions.search(SYSTEM, "   ") == []


def test_a_definition_with_a_foreign_entry_is_never_returned(tmp_path: Path) -> None:
    """Entries that were slipped in before a definition came are found when it is read."""
    registry = make_registry(tmp_path, FixedClock())
    definition = definition_of("one")
    registry._connection.execute("PRAGMA foreign_keys = OFF")
    registry._connection.execute(
        "INSERT INTO definition_entry VALUES (?, 'generation', 'setting', 'top_p', '1', NULL)",
        (definition.digest,),
    )
    add_version(registry, "one")
    with pytest.raises(IntegrityBroken, match="its entries are not what was registered"):
        registry.versions.definition(definition.digest)
    registry.close()


def test_a_suite_with_a_changed_case_is_never_returned(registry: Registry) -> None:
    """A case that was exchanged in the file is found when the suite is read."""
    suite = add_suite(registry)
    assert registry.applied.suite(suite.digest) == suite
    other = next(iter(suite.cases))
    connection = registry._connection
    connection.execute('DROP TRIGGER "suite_case_never_updated"')
    with registry.write() as writing:
        changed = writing.put(other.line().replace(b"billing", b"nothing"))
    connection.execute("UPDATE suite_case SET body = ? WHERE case_id = 't0001'", (changed,))
    with pytest.raises(IntegrityBroken, match="its cases or scorers are not what was stored"):
        registry.applied.suite(suite.digest)


SECRET = "qxz-7781-unheard-of"


def test_texts_lie_in_objects_alone(tmp_path: Path) -> None:
    """Reasons, notes, outputs, errors, findings, cases and prompts stand in no record.

    What is said in a text can be taken out of the registry without touching a record: it is in
    `content`, and in the search index, which can be built anew.
    """
    registry = make_registry(tmp_path)
    apply_policy(registry, {"note": SECRET})
    version = add_version(registry, f"prompt {SECRET}", reason=f"reason {SECRET}")
    suite = Suite(
        system=SYSTEM,
        name="triage",
        description=SECRET,
        scorers=(ScorerSpec("accuracy", "exact"),),
        repeats=2,
        seed=1,
        timeout_s=1.0,
        cases=(Case("t1", SECRET, SECRET),),
    )
    with registry.write() as writing:
        writing.add_suite(suite, {"scorer.py": SECRET.encode()})
        writing.append(SuiteApplied(SYSTEM, "triage", suite.digest, None, "support-dev"))
    run = start_run(registry, version, suite, repeats=2)
    with registry.write() as writing:
        writing.add_answers(
            [
                answer_of(run, "t1", output=SECRET),
                answer_of(run, "t1", score=None, error=SECRET, repeat=2),
            ]
        )
        writing.end_run(run, "completed", (), "support-dev")
    record = registry.runs.get(run.id)
    decision = replace(
        decision_of(registry, version, [record]),
        findings=(Finding("rule", "pass", SECRET, SECRET, {"text": SECRET}),),
    )
    (decision,) = append(registry, decision)
    approval = approve(registry, decision, key="SHA256:key")
    assert approval.note
    append(
        registry,
        Approval(decision.id, "other", "yes", "k2", SECRET, SECRET, "support-dev"),
        *origin_of(),
        Attempt(
            SYSTEM, "production", 1, "break_glass", version.id, None, None, "INC", SECRET, "on-call"
        ),
        Settlement(SYSTEM, "production", 1, "failed", SECRET, "on-call"),
    )
    bound, held = append(
        registry,
        Quarantine(SYSTEM, version.definition, version.id, SECRET, "on-call"),
        Hold(SYSTEM, "production", SECRET, "on-call"),
    )
    append(registry, Lift(bound.seq, SECRET, "on-call"), Lift(held.seq, SECRET, "on-call"))
    tables = registry._connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'version_text*'"
    ).fetchall()
    holding = {
        table
        for (table,) in tables
        for row in registry._connection.execute(f'SELECT * FROM "{table}"')
        if any(SECRET.encode() in _bytes(value) for value in row)
    }
    assert holding == {"content"}
    registry.close()
    assert (tmp_path / FOLDER / FILE).read_bytes().count(SECRET.encode()) > 10


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def test_removed_texts_read_as_redacted(registry: Registry) -> None:
    """A record whose text was taken out is still a record and says so."""
    version = add_version(registry, reason="to be forgotten")
    connection = registry._connection
    connection.execute('DROP TRIGGER "content_goes_only_after_removal"')
    connection.execute("DELETE FROM content WHERE bytes = ?", (b"to be forgotten",))
    (read,) = registry.versions.page(SYSTEM)
    assert read.id == version.id
    assert read.reason == "(redacted)"


def test_two_connections_see_the_same(tmp_path: Path) -> None:
    """What one connection writes another reads as the very same records."""
    registry = make_registry(tmp_path)
    version, deployment = make_live(registry)
    other = open_registry(tmp_path, read_only=True)
    assert other.versions.page(SYSTEM) == [version]
    assert other.releases.live(SYSTEM, "production") == deployment
    assert other.releases.decisions(SYSTEM) == registry.releases.decisions(SYSTEM)
    assert other.runs.of_version(version.id) == registry.runs.of_version(version.id)
    other.close()
    registry.close()
