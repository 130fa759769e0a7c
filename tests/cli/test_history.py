"""`lockgate log`, `tree` and `search`, as people see them."""

from __future__ import annotations

import pytest

from builders import FixedClock, add_suite, add_version
from cli.looking_desk import Lockgate, runner
from lockgate.domain.version import Version
from lockgate.storage.registry import Registry
from look.stories import evaluated, released, set_up


@pytest.fixture
def lockgate(
    registry: Registry,
    clock: FixedClock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Lockgate:
    """What runs a command on the test's registry."""
    return runner(registry.root, clock, capsys, monkeypatch)


def story(registry: Registry, clock: FixedClock) -> Version:
    """Release two versions, try an experiment that wins, and register it as a release."""
    _, suite = set_up(registry)
    first = released(registry, suite, "one", wrong=range(1, 6), reason="first version")
    clock.move(days=1)
    second = released(
        registry, suite, "two", wrong=[1, 2], parent=first, reason="few-shot refunds\nas asked"
    )
    clock.move(hours=2)
    trial = add_version(
        registry, "three", parent=second, track="experiment", reason="bigger n-grams"
    )
    evaluated(registry, trial, suite, wrong=[1])
    clock.move(hours=1)
    add_version(registry, "three", parent=trial, reason="winner of x1")
    return add_version(registry, "four", parent=second, reason="a reason that is rather long, so")


def test_log_has_a_line_for_each_version(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """Label, score, change against the parent, state, time, owner and first line of the reason."""
    story(registry, clock)
    said = lockgate("log", "--all")
    assert (said.code, said.err) == (0, "")
    assert (
        said.out
        == """\
    score  change  state            registered   owner       reason
v4      -       -  · not evaluated  08-22 12:00  support-ml  a reason that is …
v3      -       -  · not evaluated  08-22 12:00  support-ml  winner of x1
x1   .950   +.050  ✔ experiment     08-22 11:00  support-ml  bigger n-grams
v2   .900   +.150  ✔ PRODUCTION +1  08-22 09:00  support-ml  few-shot refunds…
v1   .750       -  ✔ way back       08-21 09:00  support-ml  first version
"""
    )


def test_log_lists_releases_and_names_what_it_leaves_out(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """Experiments do not clutter the history of releases; one option lists every track."""
    story(registry, clock)
    said = lockgate("log")
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["v4", "v3", "v2", "v1"]
    assert said.err == "experiments are left out: `lockgate log --all -s support-desk`\n"
    value = lockgate("log", "--json").json
    assert {version["track"] for version in value["versions"]} == {"release"}
    said = lockgate("log", "--all", "--limit", "2")
    assert "`lockgate log --all --before v3 -s support-desk`" in said.err
    said = lockgate("log", "--all", "--track", "release")
    assert (said.code, said.out) == (2, "")
    assert "leave one of the two out" in said.err


def test_where_only_experiments_are(registry: Registry, lockgate: Lockgate) -> None:
    """A system without a release says how to list what it has."""
    set_up(registry)
    add_version(registry, track="experiment")
    said = lockgate("log")
    assert said.code == 2
    assert said.err == (
        "error: `support-desk` has no release yet\n"
        "hint: `lockgate log --all -s support-desk` lists every track\n"
    )


def test_search_says_where_it_found_the_words(registry: Registry, lockgate: Lockgate) -> None:
    """In the label, the owner, the reason or the prompt; words may stand in several of them."""
    set_up(registry)
    add_version(registry, "Refund within a week.", reason="shorter refunds", owner="refunds-team")
    add_version(registry, "Nothing else.", reason="other", owner="refunds-team")

    def where(*words: str) -> list[list[str]]:
        return [found["matched"] for found in lockgate("search", *words, "--json").json]

    assert where("refund") == [["owner"], ["owner", "reason", "prompt"]]
    assert where("week", "shorter") == [["reason", "prompt"]]
    assert where("v2") == [["label"]]
    assert "  reason, prompt  " in lockgate("search", "week", "shorter").out


def test_tree_draws_the_lines(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """The same lines with the drawing before them, newest first."""
    story(registry, clock)
    said = lockgate("tree")
    assert (said.code, said.err) == (0, "")
    assert (
        said.out
        == """\
        score  change  state            registered   reason
o   v4      -       -  · not evaluated  08-22 12:00  a reason that is rather l…
│ o v3      -       -  · not evaluated  08-22 12:00  winner of x1
│ o x1   .950   +.050  ✔ experiment     08-22 11:00  bigger n-grams
├─┘
o   v2   .900   +.150  ✔ PRODUCTION +1  08-22 09:00  few-shot refunds…
o   v1   .750       -  ✔ way back       08-21 09:00  first version
"""
    )


def test_in_a_pipe_nothing_is_cut(
    registry: Registry, clock: FixedClock, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody said how wide the screen is, the reason stands whole on its line."""
    story(registry, clock)
    monkeypatch.delenv("COLUMNS")
    assert "  a reason that is rather long, so\n" in lockgate("log").out


def test_a_page_says_how_to_go_on(
    registry: Registry, clock: FixedClock, lockgate: Lockgate
) -> None:
    """A page that is not the last names the command for the next one, which works."""
    story(registry, clock)
    said = lockgate("log", "--track", "release", "--limit", "2")
    assert said.err == (
        "2 shown, 5 versions in all; older ones: "
        "`lockgate log --track release --before v3 -s support-desk`\n"
    )
    rest = lockgate("log", "--track", "release", "--before", "v3", "-s", "support-desk")
    assert [line.split()[0] for line in rest.out.splitlines()[1:]] == ["v2", "v1"]
    assert rest.err == ""


def test_nothing_to_list_is_refused_with_what_there_is(
    registry: Registry, lockgate: Lockgate
) -> None:
    """An empty track, an end of history and an unknown label each say how to go on."""
    set_up(registry)
    add_version(registry)
    said = lockgate("log", "--track", "experiment")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: `support-desk` has no experiment yet\n"
        "hint: `lockgate log --all -s support-desk` lists every track\n"
    )
    assert lockgate("tree", "--before", "v1").err == (
        "error: nothing of `support-desk` is older than `v1`\nhint: leave --before out\n"
    )
    assert lockgate("log", "--before", "v7").err.startswith("error: there is no version `v7`")


def test_a_score_on_an_earlier_suite_is_marked(registry: Registry, lockgate: Lockgate) -> None:
    """A score that cannot be compared any more has a star, and the star is explained."""
    _, suite = set_up(registry)
    evaluated(registry, add_version(registry), suite)
    add_suite(registry, 30)
    said = lockgate("log")
    assert "v1  1.00*       -" in said.out
    assert said.err == "* on an earlier suite, not comparable\n"


def test_log_as_json(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """With --json each version is an object with its whole id, reason and score."""
    story(registry, clock)
    value = lockgate("log", "--all", "--json", "--limit", "4").json
    assert (value["total"], value["older"]) == (5, "v2")
    line = value["versions"][3]
    assert (line["label"], line["parent_label"], line["state"]) == ("v2", "v1", "PRODUCTION +1")
    assert line["reason"] == "few-shot refunds\nas asked"
    assert len(line["id"]) == 64
    assert line["score"]["value"] == 0.9
    tree = lockgate("tree", "--json").json
    assert [row["graph"] for row in tree] == ["o", "│ o", "│ o", "├─┘", "o", "o"]
    assert tree[3]["line"] is None


def test_search_finds_by_words(registry: Registry, clock: FixedClock, lockgate: Lockgate) -> None:
    """All words have to be there, in label, owner, reason or prompt; the last may be a beginning."""
    story(registry, clock)
    assert (
        lockgate("search", "few-shot", "ref").out
        == """\
    score  change  state            registered   owner       found in  reason
v2   .900   +.150  ✔ PRODUCTION +1  08-22 09:00  support-ml  reason    few-shot re…
"""
    )
    said = lockgate("search", "zebra")
    assert (said.code, said.out) == (0, "nothing holds all of: zebra\n")
    assert said.err == "hint: fewer words, or `lockgate log --all` for everything\n"
    assert [found["label"] for found in lockgate("search", "winner", "--json").json] == ["v3"]


def test_search_goes_through_all_systems(registry: Registry, lockgate: Lockgate) -> None:
    """Without -s every system is searched and named."""
    set_up(registry)
    add_version(registry, reason="refunds")
    add_version(registry, "other", system="order-extract", reason="refunds too")
    out = lockgate("search", "refunds").out
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["order-extract", "v1"],
        ["support-desk", "v1"],
    ]
    assert "order-extract" not in lockgate("search", "refunds", "-s", "support-desk").out


def test_columns_stay_under_each_other_in_any_script(
    registry: Registry, lockgate: Lockgate
) -> None:
    """A reason in a wide script is cut by what it takes on the screen."""
    set_up(registry)
    add_version(registry, reason="返金の質問にはもっと短く答えるようにしました")
    line = lockgate("log").out.splitlines()[1]
    wide = sum(ord(character) > 0x2FFF for character in line)
    assert len(line) + wide < 80
    assert line.endswith("…")
