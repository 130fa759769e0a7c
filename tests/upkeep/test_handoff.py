"""The values of the hand-off, and its words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from builders import FixedClock, add_suite, add_version, apply_policy, hold, make_live
from lockgate.domain.policy import Environment, Policy, Rule
from lockgate.storage.registry import Registry
from lockgate.upkeep.definition import definition_page, described
from lockgate.upkeep.handoff import Workplace, handoff, rule_words
from lockgate.upkeep.handoff_page import handoff_page
from lockgate.upkeep.markdown import code, is_generated, page, plain, what_differs

SYSTEM = "support-desk"


def test_an_empty_registry_has_a_page_that_says_what_comes_next(registry: Registry) -> None:
    """No policy, no suite, no version, no folder: four sentences, each with its command."""
    told = handoff(registry, SYSTEM, None)
    assert [sentence.split(":")[0] for sentence in told.missing] == [
        "No policy is applied",
        f"No suite of `{SYSTEM}` is applied",
        "No version is registered",
        "The system's folder is not below the registry's",
    ]
    text = handoff_page(told)
    assert "```sh" not in text
    assert "`lockgate policy apply`" in text
    assert "is registered yet" in definition_page(described(registry, SYSTEM, None))


def test_the_same_state_gives_the_same_page_at_any_time(
    registry: Registry, clock: FixedClock
) -> None:
    """A page moves with what it states and never with the clock."""
    make_live(registry)
    first = handoff_page(handoff(registry, SYSTEM, None))
    before = definition_page(described(registry, SYSTEM, None))
    clock.move(days=40)
    assert handoff_page(handoff(registry, SYSTEM, None)) == first
    assert definition_page(described(registry, SYSTEM, None)) == before


def test_environments_stand_in_the_order_versions_travel(registry: Registry) -> None:
    """What is required comes first, whatever the order in the file."""
    policy = Policy(
        {
            "production": Environment("production", "low", requires=("canary",)),
            "canary": Environment("canary", "low", requires=("staging",)),
            "lab": Environment("lab", "low", rehearsal=True, protects="production"),
            "staging": Environment("staging", "low"),
        }
    )
    told = handoff(registry, SYSTEM, policy)
    assert [asked.environment for asked in told.asked] == ["staging", "canary", "production", "lab"]
    assert told.path == ("staging", "canary", "production")
    assert (told.to, told.rehearsal) == ("production", "lab")


def test_the_example_is_a_file_that_is_there_and_takes_an_empty_line(registry: Registry) -> None:
    """A file that cannot be edited as printed is never an example."""
    add_version(registry)
    there = handoff(registry, SYSTEM, None, Workplace("systems/support-desk"))
    assert there.edit == "systems/support-desk/prompts/system.md"
    gone = Workplace("systems/support-desk", has_file=lambda _: False)
    assert handoff(registry, SYSTEM, None, gone).edit is None
    assert handoff(registry, SYSTEM, None, Workplace("un\u202efolder")).edit is None
    assert handoff(registry, SYSTEM, None, Workplace(".")).edit == "prompts/system.md"


def test_without_an_example_the_page_names_the_settings(registry: Registry) -> None:
    """A system without such a file is changed in its settings; every line still runs."""
    add_suite(registry)
    add_version(registry)
    policy = Policy({"production": Environment("production", "low")})
    apply_policy(registry, policy.body())
    place = Workplace("desk", has_file=lambda _: False, names_owner=False)
    text = handoff_page(handoff(registry, SYSTEM, policy, place))
    assert "# 1 change: edit a setting in desk/lockgate.toml or a file it names, then" in text
    assert "lockgate register --owner support-ml -s support-desk -m" in text
    assert "printf" not in text
    assert "a reviewer" not in text


def test_several_approvals_are_several_commands(registry: Registry) -> None:
    """Where two have to say yes, each of their commands stands there, by the label it gets."""
    add_suite(registry)
    add_version(registry)
    asked = Environment(
        "production", "high", reviewers=("ml-lead", "support-lead"), approvals=2, signers="signers"
    )
    keys = {"ml-lead": "keys/ml-lead", "support-lead": "keys/support-lead"}
    place = Workplace("desk", keys=keys)
    text = handoff_page(handoff(registry, SYSTEM, Policy({"production": asked}), place))
    approve = 'lockgate approve v2 --to production -s support-desk -m "read, agreed" --key keys'
    assert f"LOCKGATE_ACTOR=ml-lead {approve}/ml-lead\n" in text
    assert f"LOCKGATE_ACTOR=support-lead {approve}/support-lead\n" in text
    assert "LOCKGATE_ACTOR=ml-lead lockgate approve v3 --to production" in text


def test_a_hold_is_told_where_a_change_is_shipped(registry: Registry) -> None:
    """Who begins the loop learns at once that its last step waits."""
    add_suite(registry)
    make_live(registry)
    hold(registry)
    policy = Policy({"production": Environment("production", "low")})
    text = handoff_page(handoff(registry, SYSTEM, policy, Workplace("desk")))
    assert "**production is held: step 5 waits until it is lifted" in text
    assert "- production is held: under investigation. No promotion until" in text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            Rule("triage", "accuracy", min=0.8),
            "`triage accuracy`: at least .800, judged on the score alone.",
        ),
        (Rule("triage", "p95_ms", max=200), "`triage p95_ms`: at most 200 ms."),
        (
            Rule("triage", "accuracy", 0.6, None, 0.05, 0.95, "review"),
            "`triage accuracy`: at least .600 and not more than .050 below what is live, on the "
            "same cases, at 95 % confidence; if that cannot be told: a reviewer decides.",
        ),
        (
            Rule("triage", "accuracy", max_drop=0.05, confidence=0.975),
            "`triage accuracy`: not more than .050 below what is live, on the same cases, at "
            "97.5 % confidence; if that cannot be told: it is refused, and more cases are needed.",
        ),
    ],
)
def test_a_rule_in_words_has_all_its_numbers(rule: Rule, words: str) -> None:
    """What policy.toml says in keys, the page says in a sentence."""
    assert rule_words(rule) == words


def test_a_freeze_is_told_with_its_zone(registry: Registry) -> None:
    """Who wants to ship on Friday reads when that is over, and that a rollback always goes."""
    from lockgate.domain.policy import Freeze
    from lockgate.domain.times import parse_week_time

    window = Freeze(*parse_week_time("fri 16:00"), *parse_week_time("mon 08:00"), "UTC", "weekend")
    place = Environment("production", "low", freeze=(window,), max_age=timedelta(hours=12))
    (asked,) = handoff(registry, SYSTEM, Policy({"production": place})).asked
    assert asked.criteria[-1] == (
        "No promotion from fri 16:00 until mon 08:00 (UTC): weekend. A rollback always goes."
    )
    assert "a decision counts for 12 h." in asked.criteria[-2]


def test_texts_from_outside_are_only_text() -> None:
    """Nothing becomes a heading, a link, a cell or a steering character."""
    assert plain("# a | b\n<b>\x1b[2J") == r"\# a \| b \<b\>\\x1b\[2J"
    assert code("a`b") == "``a`b``"
    assert code("`") == "`` ` ``"
    assert code("a|b") == r"`a\|b`"


def test_a_page_is_known_by_its_first_line() -> None:
    """Each command knows its own pages, of any system, and no others."""
    text = page("handoff -s desk", ["# Title"])
    assert is_generated(text, "handoff")
    assert not is_generated(text, "definition")
    assert not is_generated("# Title\n", "handoff")


def test_a_long_difference_is_cut() -> None:
    """The first lines are enough to see what happened; the count says how many there are."""
    told = what_differs("same\n", "same\n" + "".join(f"{n}\n" for n in range(20)))
    assert told[0] == "+0"
    assert told[-1] == "and 8 more lines"
    assert what_differs("a\n", "a\n") == []
