"""Runs: none is missed, why they failed is told briefly, and ending one keeps nobody waiting."""

from __future__ import annotations

from typing import Any

import pytest

from builders import (
    add_suite,
    add_version,
    answer_of,
    answers_of,
    complete_run,
    start_run,
)
from lockgate.domain.evidence import answered
from lockgate.errors import Rejected
from lockgate.storage import objects as objects_module
from lockgate.storage.registry import Registry
from lockgate.storage.runs import Runs


def void(registry: Registry, run: Any) -> None:
    with registry.write(durable=False) as writing:
        writing.end_run(run, "voided", (), "support-dev")


def test_no_run_of_a_version_is_missed(registry: Registry) -> None:
    """However many runs were given up before, a completed one is evidence and an open one open."""
    suite, version = add_suite(registry, cases=1), add_version(registry)
    for _ in range(501):
        void(registry, start_run(registry, version, suite))
    record = complete_run(registry, version, suite)
    unfinished = start_run(registry, version, suite)
    assert registry.runs.completed(version.id, suite.digest) == [record]
    assert [one.run for one in registry.runs.of_version(version.id)][501:] == [
        record.run,
        unfinished,
    ]


def test_what_still_fails_is_told_once_for_each_error(registry: Registry) -> None:
    """Each different error comes with one case; one that was answered later does not come."""
    suite, version = add_suite(registry, cases=5), add_version(registry)
    run = start_run(registry, version, suite)
    with registry.write() as writing:
        writing.add_answers(
            [
                answer_of(run, "t0001", score=None, error="no route"),
                answer_of(run, "t0001", asking=2),
                answer_of(run, "t0002", score=None, error="no answer within 5 s"),
                answer_of(run, "t0003", score=None, error="no answer within 5 s"),
                answer_of(run, "t0004", score=None, error="ä is too much"),
                answer_of(run, "t0005"),
            ]
        )
    told = [("t0002", "no answer within 5 s"), ("t0004", "ä is too much")]
    assert registry.runs.failures(run.id, 3) == told
    assert registry.runs.failures(run.id, 1) == told[:1]


def test_telling_why_cases_failed_reads_no_outputs(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run with many answers only the errors that are told are read."""
    suite, version = add_suite(registry, cases=40), add_version(registry)
    run = start_run(registry, version, suite)
    answers = answers_of(run, suite)
    for number, answer in enumerate(answers[:10]):
        answers[number] = answer_of(run, answer.case, score=None, error=f"error {number}")
    with registry.write() as writing:
        writing.add_answers(answers)
    read: list[str] = []
    true_open = objects_module.Objects.open

    def counting(self: Any, digest: str) -> Any:
        read.append(digest)
        return true_open(self, digest)

    monkeypatch.setattr(objects_module.Objects, "open", counting)
    assert len(registry.runs.failures(run.id, 3)) == 3
    assert len(read) == 3


def test_a_run_is_read_before_it_is_ended(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the answers come to can be read before the write; nobody waits for the reading."""
    suite, version = add_suite(registry, cases=3), add_version(registry)
    run = start_run(registry, version, suite)
    with registry.write() as writing:
        writing.add_answers(answers_of(run, suite))
    came_to = answered(registry.runs.raw_answers(run.id))

    def not_again(*_: Any) -> Any:
        raise AssertionError("the answers are read while others wait")

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "raw_answers", not_again)
        with registry.write() as writing:
            end = writing.end_run(run, "completed", (), "support-dev", came_to)
    assert (end.answers, end.errors, end.answers_digest) == (3, 0, came_to.digest)


def test_a_run_that_grew_since_it_was_read_is_not_ended(registry: Registry) -> None:
    """An end covers every answer there is, or it is refused and nothing is written."""
    suite, version = add_suite(registry, cases=3), add_version(registry)
    run = start_run(registry, version, suite)
    with registry.write() as writing:
        writing.add_answers(answers_of(run, suite)[:2])
    came_to = answered(registry.runs.raw_answers(run.id))
    with registry.write() as writing:
        writing.add_answers(answers_of(run, suite)[2:])
    for outcome in ("completed", "voided"):
        with (
            pytest.raises(Rejected, match="the count of answers is not what there is"),
            registry.write() as writing,
        ):
            writing.end_run(run, outcome, (), "support-dev", came_to)
    assert registry.runs.get(run.id).end is None


def test_reading_before_and_reading_within_come_to_the_same(registry: Registry) -> None:
    """Whoever ends a run without having read it records the same digest."""
    suite, version = add_suite(registry, cases=3), add_version(registry)
    ends = []
    for is_read_before in (True, False):
        run = start_run(registry, version, suite)
        with registry.write() as writing:
            writing.add_answers([answer_of(run, "t0001", score=None), *answers_of(run, suite)[1:]])
        came_to = answered(registry.runs.raw_answers(run.id)) if is_read_before else None
        with registry.write() as writing:
            ends.append(writing.end_run(run, "completed", (), "support-dev", came_to))
    first, second = ends
    assert (first.answers, first.errors) == (second.answers, second.errors) == (3, 1)
    assert first.answers_digest == second.answers_digest
