"""A policy is a value with one digest; its freezes follow the clocks of their own zone."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.canonical import canonical_json, digest_json
from lockgate.domain.policy import (
    Environment,
    Freeze,
    Policy,
    Rule,
    SystemRules,
    allowed_errors,
    freeze_at,
    freeze_ends,
    next_freeze,
    policy_from,
    stop_after_errors,
)
from lockgate.errors import UsageMistake

WEEKEND = Freeze(4, time(16), 0, time(8), "Europe/Berlin", "weekend")

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
durations = st.integers(1, 40_000_000).map(lambda seconds: timedelta(seconds=seconds))
fractions = st.none() | st.floats(0, 1)
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])
freezes = st.builds(
    Freeze, st.integers(0, 6), clocks, st.integers(0, 6), clocks, zones, st.text(max_size=20)
).filter(lambda window: window.start != window.until)
rules = st.builds(
    Rule,
    suite=names,
    metric=names,
    min=fractions,
    max=st.none() | st.floats(0, 1e6),
    max_drop=fractions,
    confidence=fractions,
    on_inconclusive=st.sampled_from(["block", "review", "allow"]),
)
systems = st.dictionaries(
    names,
    st.builds(
        SystemRules, st.lists(rules, max_size=3).map(tuple), st.integers(0, 9), st.integers(1, 9)
    ),
    max_size=2,
)
words = st.lists(names, max_size=3).map(tuple)
environments = st.builds(
    Environment,
    name=names,
    stakes=st.sampled_from(["low", "high"]),
    rehearsal=st.booleans(),
    protects=st.none() | names,
    requires=words,
    signers=st.none() | names,
    signers_digest=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    reviewers=words,
    approvals=st.integers(0, 3),
    accept_claimed=st.booleans(),
    max_age=durations,
    freeze=st.lists(freezes, max_size=2).map(tuple),
    publish=st.none() | names,
    deploy=words,
    deploy_timeout=durations,
    observe=words,
    systems=systems,
)
policies = st.builds(
    Policy,
    st.lists(environments, max_size=3).map(lambda found: {part.name: part for part in found}),
    durations,
    durations,
    durations,
)


def environment(name: str = "production", **fields: Any) -> Environment:
    return Environment(**{"name": name, "stakes": "low", **fields})


def policy(*found: Environment) -> Policy:
    return Policy({part.name: part for part in found})


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


@given(policies)
def test_a_policy_survives_its_canonical_bytes(written: Policy) -> None:
    """What is stored as canonical JSON is read back as the same policy, environments in order."""
    read = policy_from(json.loads(canonical_json(written.body())))
    assert read == written
    assert list(read.environments) == list(written.environments)
    assert digest_json(read.body()) == digest_json(written.body())


def test_another_signers_file_is_another_policy() -> None:
    """Who may sign is part of what is applied."""
    before = policy(environment(signers="signers", signers_digest="a" * 64))
    after = policy(environment(signers="signers", signers_digest="b" * 64))
    assert digest_json(before.body()) != digest_json(after.body())


def test_a_limit_that_is_whole_stays_a_fraction() -> None:
    """200.0 is 200 in canonical JSON and 200.0 again afterwards."""
    rules = SystemRules((Rule("triage", "p95_ms", max=200.0),))
    stored = json.loads(canonical_json(policy(environment(systems={"support-desk": rules})).body()))
    limit = policy_from(stored).environments["production"].systems["support-desk"].rules[0].max
    assert isinstance(limit, float)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"format": 2},
        {"format": 1},
        {**Policy({}).body(), "environments": [{"name": "production"}]},
        {**Policy({}).body(), "environments": [{**environment().body(), "surprise": 1}]},
    ],
)
def test_what_is_no_policy_of_this_format_is_refused(body: dict[str, Any]) -> None:
    """A newer or damaged policy is never half understood."""
    with pytest.raises(ValueError, match="policy"):
        policy_from(body)


def test_a_misspelt_environment_is_named_with_the_one_meant() -> None:
    """The hint names the nearest environment, or all of them when none is near."""
    both = policy(environment("staging"), environment("production"))
    with pytest.raises(UsageMistake) as near:
        both.environment("prodution")
    assert str(near.value) == (
        "no environment `prodution` in the policy\nhint: did you mean `production`?"
    )
    with pytest.raises(UsageMistake) as far:
        both.environment("moon")
    assert far.value.hint == "the environments are `staging`, `production`"


def test_rehearsal_versions_are_judged_as_in_production() -> None:
    """A rehearsal environment lends the rules of the one it protects; another has its own."""
    both = policy(
        environment("staging", rehearsal=True, protects="production"), environment("production")
    )
    assert both.judged_as("staging").name == "production"
    assert both.judged_as("production").name == "production"


def test_a_system_without_rules_has_none() -> None:
    """No rules is not the same as rules that ask for nothing."""
    asked = environment(systems={"support-desk": SystemRules()})
    assert asked.rules_for("support-desk") == SystemRules()
    assert asked.rules_for("order-extract") is None


def test_the_most_patient_environment_bounds_the_errors_of_a_run() -> None:
    """One run serves every environment: it may have as many errors as any of them allows."""
    found = policy(
        environment("staging", systems={"support-desk": SystemRules(max_errors=3)}),
        environment("production", systems={"support-desk": SystemRules(max_errors=1)}),
    )
    assert allowed_errors(found, "support-desk") == 3
    assert allowed_errors(found, "order-extract") == 0


def test_the_least_patient_environment_ends_a_run_that_only_fails() -> None:
    """A dead endpoint is given up as early as any environment asks, else after five errors."""
    found = policy(
        environment("staging", systems={"support-desk": SystemRules(stop_after_errors=9)}),
        environment("production", systems={"support-desk": SystemRules(stop_after_errors=2)}),
    )
    assert stop_after_errors(found, "support-desk") == 2
    assert stop_after_errors(found, "order-extract") == 5


@pytest.mark.parametrize(
    ("start", "until"),
    [
        (utc(2026, 8, 21, 14, 0), utc(2026, 8, 24, 6, 0)),
        (utc(2026, 3, 27, 15, 0), utc(2026, 3, 30, 6, 0)),
        (utc(2026, 10, 23, 14, 0), utc(2026, 10, 26, 7, 0)),
        (utc(2026, 12, 25, 15, 0), utc(2026, 12, 28, 7, 0)),
    ],
    ids=["summer", "clocks forward", "clocks back", "winter"],
)
def test_a_weekend_freeze_follows_the_local_clock(start: datetime, until: datetime) -> None:
    """Friday 16:00 to Monday 08:00 in Berlin, whichever offset each end has."""
    frozen = environment(freeze=(WEEKEND,))
    tick = timedelta(seconds=1)
    assert freeze_at(frozen, start - tick) is None
    assert freeze_at(frozen, start) == WEEKEND
    assert freeze_at(frozen, until - tick) == WEEKEND
    assert freeze_at(frozen, until) is None
    assert freeze_ends(frozen, start) == until
    assert next_freeze(frozen, start - tick) == (start, WEEKEND)
    following = next_freeze(frozen, start)
    assert following is not None
    assert following[0] > until


def test_a_freeze_does_not_end_when_its_hour_comes_the_first_time() -> None:
    """02:30 comes twice when clocks go back: the window ends at the second, starts at the first."""
    ending = environment(freeze=(Freeze(6, time(1), 6, time(2, 30), "Europe/Berlin", "backup"),))
    assert freeze_ends(ending, utc(2026, 10, 25, 0, 29)) == utc(2026, 10, 25, 1, 30)
    starting = environment(freeze=(Freeze(6, time(2, 30), 6, time(5), "Europe/Berlin", "backup"),))
    assert next_freeze(starting, utc(2026, 10, 25, 0, 0)) == (
        utc(2026, 10, 25, 0, 30),
        starting.freeze[0],
    )


def test_a_freeze_at_an_hour_that_is_skipped_is_not_lost() -> None:
    """02:30 does not exist when clocks go forward: the window still covers what follows."""
    skipped = environment(freeze=(Freeze(6, time(2, 30), 6, time(4), "Europe/Berlin", "backup"),))
    assert freeze_at(skipped, utc(2026, 3, 29, 1, 0)) == skipped.freeze[0]
    assert freeze_ends(skipped, utc(2026, 3, 29, 1, 0)) == utc(2026, 3, 29, 2, 0)


def test_a_freeze_can_last_all_but_a_minute_of_the_week() -> None:
    """A window that ends just before it starts wraps around the whole week."""
    almost = environment(freeze=(Freeze(2, time(12), 2, time(11, 59), "UTC", "closing"),))
    assert freeze_at(almost, utc(2026, 8, 19, 11, 58)) == almost.freeze[0]
    assert freeze_at(almost, utc(2026, 8, 19, 11, 59)) is None
    assert freeze_at(almost, utc(2026, 8, 19, 12, 0)) == almost.freeze[0]


def test_freezes_that_touch_end_together() -> None:
    """Who waits is told the end of the last window in the row, and sees that window's reason."""
    night = Freeze(0, time(7), 0, time(9), "Europe/Berlin", "month end")
    frozen = environment(freeze=(WEEKEND, night))
    assert freeze_ends(frozen, utc(2026, 8, 22, 12, 0)) == utc(2026, 8, 24, 7, 0)
    assert freeze_at(frozen, utc(2026, 8, 24, 5, 30)) == night


def test_freezes_without_a_gap_never_end() -> None:
    """No time is promised when the windows leave none."""
    always = environment(
        freeze=(
            Freeze(0, time(0), 3, time(0), "UTC", "first half"),
            Freeze(3, time(0), 0, time(0), "UTC", "second half"),
        )
    )
    assert freeze_at(always, utc(2026, 8, 21)) == always.freeze[1]
    assert freeze_ends(always, utc(2026, 8, 21)) is None


def test_an_environment_without_a_freeze_is_always_free() -> None:
    """Nothing runs, nothing comes, nothing ends."""
    free = environment()
    now = utc(2026, 8, 22)
    assert (freeze_at(free, now), next_freeze(free, now), freeze_ends(free, now)) == (None,) * 3


@given(freezes, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_a_freeze_covers_at_least_what_the_wall_clock_says(window: Freeze, naive: datetime) -> None:
    """Whenever the local clock reads a time inside the window, the environment is frozen."""
    at = naive.replace(tzinfo=UTC)
    inside = _wall_clock_inside(window, at)
    frozen = freeze_at(environment(freeze=(window,)), at) is not None
    assert frozen or not inside
    if window.tz == "UTC":
        assert frozen == inside


@given(freezes, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_the_next_freeze_starts_within_eight_days(window: Freeze, naive: datetime) -> None:
    """It starts after now, is in force then, and was not a second before unless it overlaps."""
    at = naive.replace(tzinfo=UTC)
    frozen = environment(freeze=(window,))
    found = next_freeze(frozen, at)
    assert found is not None
    assert at < found[0] <= at + timedelta(days=7, hours=2)
    assert freeze_at(frozen, found[0]) == window


def test_an_unknown_time_zone_says_what_to_install() -> None:
    """A machine without zone data refuses instead of guessing that nothing is frozen."""
    lost = environment(freeze=(Freeze(4, time(16), 0, time(8), "Mars/Olympus", "weekend"),))
    with pytest.raises(UsageMistake) as refused:
        freeze_at(lost, utc(2026, 8, 21))
    assert str(refused.value) == (
        "this machine does not know the time zone `Mars/Olympus` of a freeze\n"
        "hint: install the time zone data: the system package or `pip install tzdata`"
    )


def test_reading_a_policy_needs_no_validation_library() -> None:
    """Commands that only look read an applied policy without pydantic or zone data."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, lockgate.domain.policy; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "lockgate.domain.policy" in loaded
    assert not {"pydantic", "zoneinfo", "difflib", "rfc8785", "tomllib"} & set(loaded)


def _wall_clock_inside(window: Freeze, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(window.tz))
    now = (local.weekday(), local.time())
    start = (window.start_day, window.start_time)
    until = (window.until_day, window.until_time)
    return start <= now < until if start < until else now >= start or now < until
