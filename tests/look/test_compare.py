"""Two versions side by side: what differs, and what that did to the scores."""

from __future__ import annotations

import io
from typing import Any

import pytest

from builders import add_suite, add_version, definition_of
from lockgate.canonical import digest_bytes
from lockgate.domain.components import Component, Definition
from lockgate.errors import IntegrityBroken
from lockgate.look.compare import MOST_TEXT_BYTES, Side, compare_sides, json_changes, side_of
from lockgate.storage.registry import Registry
from look.stories import evaluated, set_up

SYSTEM = "support-desk"


def side(label: str, files: dict[str, bytes], component: str = "tools") -> Side:
    """Return a folder's side whose files are exactly these bytes."""
    digests = {path: digest_bytes(data) for path, data in files.items()}
    definition = Definition({component: Component(files=digests)})
    return Side(label, definition, None, lambda path: io.BytesIO(files[path]))


def test_the_effect_is_over_the_same_cases(registry: Registry) -> None:
    """Scores of both versions, won, lost and tied cases and their ids, with an interval."""
    policy, suite = set_up(registry)
    first, second = add_version(registry, "one"), add_version(registry, "two")
    evaluated(registry, first, suite, wrong=[1, 2, 3])
    evaluated(registry, second, suite, wrong=[3, 4])
    compared = compare_sides(
        registry, SYSTEM, side_of(registry, first), side_of(registry, second), policy
    )
    (effect,) = compared.effects
    accuracy = effect.metrics[0]
    assert accuracy.before is not None
    assert accuracy.after is not None
    assert accuracy.paired is not None
    assert accuracy.paired.interval is not None
    assert (accuracy.before.value, accuracy.after.value) == (0.85, 0.9)
    assert (accuracy.paired.won, accuracy.paired.lost, accuracy.paired.tied) == (2, 1, 17)
    assert accuracy.paired.difference == pytest.approx(0.05)
    assert accuracy.paired.interval.lower < 0.05 < accuracy.paired.interval.upper
    assert (accuracy.won, accuracy.lost) == (("t0001", "t0002"), ("t0004",))
    latency = next(metric for metric in effect.metrics if metric.metric == "p95_ms")
    assert latency.paired is None


def test_only_runs_on_the_same_suite_are_compared(registry: Registry) -> None:
    """Where the versions were measured on different suites, that is said instead of a number."""
    policy, old = set_up(registry)
    first = add_version(registry, "one")
    evaluated(registry, first, old)
    new = add_suite(registry, 30)
    second = add_version(registry, "two", parent=first)
    evaluated(registry, second, new)
    sides = (side_of(registry, first), side_of(registry, second))
    compared = compare_sides(registry, SYSTEM, *sides, policy)
    assert compared.effects == ()
    assert compared.why_no_effect == "v1 and v2 have no completed run on the same suite"
    assert compared.hint == "lockgate evaluate v1 -s support-desk"
    evaluated(registry, second, old)
    (effect,) = compare_sides(registry, SYSTEM, *sides, policy).effects
    assert (effect.digest, effect.is_applied) == (old.digest, False)
    evaluated(registry, first, new)
    (effect,) = compare_sides(registry, SYSTEM, *sides, policy).effects
    assert (effect.digest, effect.is_applied) == (new.digest, True)


def test_a_version_without_a_run_is_named(registry: Registry) -> None:
    """The version that lacks a run is named with the command that makes one."""
    policy, suite = set_up(registry)
    first, second = add_version(registry, "one"), add_version(registry, "two")
    evaluated(registry, first, suite)
    compared = compare_sides(
        registry, SYSTEM, side_of(registry, first), side_of(registry, second), policy
    )
    assert compared.why_no_effect == "v2 has no completed run"
    assert compared.hint == "lockgate evaluate v2 -s support-desk"


def test_a_folder_has_no_score(registry: Registry) -> None:
    """A folder is held against a version by its contents alone."""
    policy, suite = set_up(registry)
    version = add_version(registry, "one")
    evaluated(registry, version, suite)
    folder = Side("folder", definition_of("two"), None, lambda path: io.BytesIO(b"two"))
    compared = compare_sides(registry, SYSTEM, side_of(registry, version), folder, policy)
    assert compared.why_no_effect == "a folder is not evaluated, only what is registered"
    (file,) = compared.files
    assert (file.form, file.lines_removed, file.lines_added) == ("text", 1, 1)


def test_tools_are_compared_by_their_parameters(registry: Registry) -> None:
    """A tool's JSON shows each parameter that differs, whatever its spacing."""
    before = b'{"properties": {"queue": {"enum": ["billing", "bug"]}}, "title": "route"}'
    after = b'{\n "title": "route",\n "properties": {"queue": {"enum": ["bug", "sales"]}}}'
    compared = compare_sides(
        registry, SYSTEM, side("a", {"t.json": before}), side("b", {"t.json": after}), None
    )
    (file,) = compared.files
    assert file.form == "json"
    assert [(p.path, p.kind, p.before, p.after) for p in file.parameters] == [
        ("properties.queue.enum", "removed", "billing", None),
        ("properties.queue.enum", "added", None, "sales"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1, "b": {"c": 2}}, [("b", "added")]),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, [("a.y", "removed")]),
        ({"a": True}, {"a": 1}, [("a", "changed")]),
        ([{"n": 1}, {"n": 2}], [{"n": 1}], [("[1]", "removed")]),
        ([{"n": 1}], [{"n": 3}], [("[0].n", "changed")]),
        (["a", "b"], ["b", "a"], [("(whole)", "changed")]),
        ("a", {"b": 1}, [("(whole)", "changed")]),
        ({"a": [1, 2]}, {"a": [1, 2]}, []),
    ],
)
def test_json_differs_by_path(before: Any, after: Any, found: list[tuple[str, str]]) -> None:
    """Each value that differs is named once, by its dotted path."""
    assert [(change.path, change.kind) for change in json_changes(before, after)] == found


def test_binary_and_large_files_are_compared_by_size(registry: Registry) -> None:
    """What is no text, or too large to read, is told by its size on both sides."""
    big = b"x\n" * MOST_TEXT_BYTES
    compared = compare_sides(
        registry,
        SYSTEM,
        side("a", {"w.bin": b"\x00\x01", "big.md": b"small", "latin.md": b"ok"}),
        side("b", {"w.bin": b"\x00\x01\x02", "big.md": big, "latin.md": b"\xe9"}),
        None,
    )
    assert [(f.change.path, f.form, f.size_before, f.size_after) for f in compared.files] == [
        ("big.md", "opaque", 5, len(big)),
        ("latin.md", "opaque", 2, 1),
        ("w.bin", "opaque", 2, 3),
    ]
    assert all(file.lines == () for file in compared.files)


def test_json_that_is_none_is_compared_as_text(registry: Registry) -> None:
    """A `.json` file that does not parse is still shown, as the text it is."""
    compared = compare_sides(
        registry, SYSTEM, side("a", {"t.json": b"{"}), side("b", {"t.json": b"{}"}), None
    )
    assert (compared.files[0].form, compared.files[0].lines_added) == ("text", 1)


def test_content_that_expired_is_said_to_be_gone(registry: Registry) -> None:
    """A file whose bytes are no longer here differs by its digest and nothing breaks."""
    here = side("b", {"t.json": b"{}"})
    gone = side("a", {"t.json": b"[]"})

    def missing(path: str) -> io.BytesIO:
        raise LookupError("object has no content here")

    compared = compare_sides(
        registry, SYSTEM, Side("a", gone.definition, None, missing), here, None
    )
    assert (compared.files[0].form, compared.files[0].size_after) == ("gone", None)


def test_damaged_bytes_are_never_shown_as_the_version(registry: Registry) -> None:
    """Stored bytes that do not fit their digest are refused, not compared."""
    policy, _ = set_up(registry)
    first, second = add_version(registry, "one"), add_version(registry, "two")
    good = side_of(registry, first)
    damaged = Side(good.label, good.definition, first, lambda path: io.BytesIO(b"tampered"))
    with pytest.raises(IntegrityBroken, match="of v1 is damaged"):
        compare_sides(registry, SYSTEM, damaged, side_of(registry, second), policy)
