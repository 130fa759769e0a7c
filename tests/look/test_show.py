"""One version with everything that is known about it, and the cases it got wrong."""

from __future__ import annotations

import pytest

from builders import (
    FixedClock,
    add_suite,
    add_version,
    answer_of,
    pass_decision,
    quarantine,
    start_run,
)
from lockgate.errors import Refused, UsageMistake
from lockgate.look.show import failing, part_shown, show
from lockgate.storage.registry import Registry
from look.stories import evaluated, released, set_up


def test_everything_about_a_version_is_there(registry: Registry, clock: FixedClock) -> None:
    """A version shows its line, components, runs, decisions and when it was live."""
    policy, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=[1])
    clock.move(days=1)
    second = released(registry, suite, "two", parent=first)
    view = show(registry, first)
    assert (view.parent, [child.label for child in view.children]) == (None, ["v2"])
    assert [component.name for component in view.components] == ["prompt", "generation"]
    assert [(file.path, file.size_bytes) for file in view.components[0].files] == [
        ("prompts/system.md", 3)
    ]
    assert [(run.suite, run.is_applied) for run in view.runs] == [("triage", True)]
    assert {(span.environment, span.generation) for span in view.spans} == {
        ("staging", 1),
        ("production", 1),
    }
    assert {span.until for span in view.spans} == {clock.now()}
    assert {span.until for span in show(registry, second).spans} == {None}


def test_a_decision_says_whether_it_was_used(registry: Registry) -> None:
    """A decision names the generation that rests on it; one that was not used may be void."""
    _, suite = set_up(registry)
    version = add_version(registry, "one")
    run = evaluated(registry, version, suite)
    pass_decision(registry, version, [run])
    evaluated(registry, version, suite)
    (unused,) = show(registry, version).decisions
    assert (unused.used_by, unused.moved) == (None, "a newer run was completed")
    used = show(registry, released(registry, suite, "two", parent=version)).decisions
    assert [found.used_by for found in used] == [1, 1]


def test_several_runs_are_also_shown_together(registry: Registry) -> None:
    """What the gate judges is all completed runs at once, case by case."""
    _, suite = set_up(registry)
    version = add_version(registry)
    evaluated(registry, version, suite, wrong=range(1, 11))
    evaluated(registry, version, suite)
    (pooled,) = show(registry, version).pooled
    assert (pooled.suite, pooled.runs, pooled.metrics[0].value) == ("triage", 2, 0.75)


def test_the_same_definition_elsewhere_is_named(registry: Registry) -> None:
    """A release that an experiment won names the experiment, and the quarantine they share."""
    set_up(registry)
    trial = add_version(registry, "winner", track="experiment")
    release = add_version(registry, "winner", parent=trial)
    quarantine(registry, trial, "leaks names")
    view = show(registry, release)
    assert view.same_definition == ("x1",)
    assert [found.reason for found in view.quarantines] == ["leaks names"]


def test_failing_cases_have_input_expected_and_got(registry: Registry) -> None:
    """Every wrong case says what was asked, what was expected and what came."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    evaluated(registry, version, suite, wrong=[3, 7])
    (found,) = failing(registry, version, policy)
    assert (found.suite, found.metric, found.cases) == ("triage", "accuracy", 20)
    assert [(wrong.case, wrong.expected, wrong.got) for wrong in found.wrong] == [
        ("t0003", "billing", "refunds"),
        ("t0007", "billing", "refunds"),
    ]
    assert found.wrong[0].input == {"text": "ticket 3"}


def test_a_case_that_is_right_only_sometimes_is_wrong(registry: Registry) -> None:
    """Over several runs the mean counts, and the first answer that was wrong is shown."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    evaluated(registry, version, suite)
    evaluated(registry, version, suite, wrong=[2])
    (wrong,) = failing(registry, version, policy)[0].wrong
    assert (wrong.case, wrong.score, wrong.got) == ("t0002", 0.5, "refunds")


def test_a_case_without_an_answer_shows_its_error(registry: Registry) -> None:
    """A case that could not be asked is listed with the error, and has no score."""
    policy, suite = set_up(registry, cases=2)
    version = add_version(registry)
    run = start_run(registry, version, suite)
    with registry.write(durable=False) as writing:
        writing.add_answers([answer_of(run, "t0001"), answer_of(run, "t0002", score=None)])
    (found,) = failing(registry, version, policy, run.id[:8])
    (wrong,) = found.wrong
    assert (wrong.case, wrong.score, wrong.error) == ("t0002", None, "no answer within 5 s")


def test_failing_needs_a_run(registry: Registry) -> None:
    """Without a completed run there is nothing to list, and the way to one is named."""
    policy, _ = set_up(registry)
    with pytest.raises(Refused, match="version `v1` has no completed run") as caught:
        failing(registry, add_version(registry), policy)
    assert caught.value.hint == "`lockgate evaluate v1 -s support-desk`"


def test_a_run_of_another_version_is_refused(registry: Registry) -> None:
    """Asking for a run of another version names the version that it is of."""
    policy, suite = set_up(registry)
    first = add_version(registry, "one")
    run = start_run(registry, first, suite)
    second = add_version(registry, "two", parent=first)
    with pytest.raises(UsageMistake, match="is a run of `v1`, not of `v2`") as caught:
        failing(registry, second, policy, run.id)
    assert caught.value.hint == f"`lockgate show v1 --run {run.id}`"


def test_the_suite_that_matters_most_comes_first(registry: Registry) -> None:
    """Of several suites the one the policy asks for first is listed first."""
    policy, triage = set_up(registry)
    other = add_suite(registry, name="arrivals")
    version = add_version(registry)
    for suite in (other, triage):
        evaluated(registry, version, suite, wrong=[1])
    assert [found.suite for found in failing(registry, version, policy)] == ["triage", "arrivals"]
    assert [found.suite for found in failing(registry, version, None)] == ["arrivals", "triage"]


def test_scorers_look_at_a_part_of_the_answer() -> None:
    """A dotted path leads into an answer; where it leads nowhere the whole answer is shown."""
    answer = {"route": [{"queue": "billing"}], "note": "x"}
    assert part_shown(answer, "route.0.queue") == "billing"
    assert part_shown(answer, None) == answer
    assert part_shown(answer, "route.5.queue") == answer
    assert part_shown("plain", "queue") == "plain"
    assert part_shown('{"queue": "billing"}', "queue") == "billing"


def test_a_redacted_suite_is_refused_not_a_traceback(registry: Registry) -> None:
    """A run whose suite can no longer be read says so."""
    policy, suite = set_up(registry)
    version = add_version(registry)
    evaluated(registry, version, suite)

    class Forgetful:
        def __getattr__(self, name: str) -> object:
            return getattr(registry.applied, name)

        def suite(self, digest: str) -> object:
            raise LookupError("object has no content here")

    class Look:
        applied = Forgetful()

        def __getattr__(self, name: str) -> object:
            return getattr(registry, name)

    with pytest.raises(Refused, match="are no longer here") as caught:
        failing(Look(), version, policy)  # type: ignore[arg-type]
    assert caught.value.hint == "`lockgate suite` shows what is applied"
