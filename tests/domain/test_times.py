"""Times and durations are read as people write them, and said back as they were read."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.canonical import instant
from lockgate.domain.times import (
    ago,
    duration_text,
    parse_duration,
    parse_time,
    parse_week_time,
    shown_time,
    time_reading,
    week_time_text,
)

NOW = datetime(2026, 8, 21, 3, 10, 4, tzinfo=UTC)  # a Friday


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("120s", timedelta(minutes=2)),
        ("1w", timedelta(days=7)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    """Weeks, days, hours, minutes and seconds are one letter behind a whole number."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "7", "d", "0d", "07d", "-1d", "1.5h", "7 d", "7D", "٧d", "1y"]
)
def test_other_durations_are_refused_with_what_is_allowed(text: str) -> None:
    """Anything else is refused, with the value and what can be written."""
    with pytest.raises(ValueError) as refused:
        parse_duration(text)
    assert str(refused.value) == (
        f"`{text}` is not a duration: write a whole number from 1 and one of w, d, h, m, s, "
        "such as `7d`, `12h` or `120s`"
    )


def test_a_duration_beyond_a_century_is_refused() -> None:
    """A duration that no date can bear is refused before it is added to one."""
    with pytest.raises(ValueError, match="`9999999999w` is too long: at most `36500d`"):
        parse_duration("9999999999w")


def test_a_refused_duration_is_shown_without_its_control_characters() -> None:
    """What is quoted from a file never steers the terminal."""
    with pytest.raises(ValueError, match=r"`\\x1b\[2J` is not a duration"):
        parse_duration("\x1b[2J")


@given(st.integers(min_value=1, max_value=36_500 * 86_400))
def test_a_written_duration_is_read_back_the_same(seconds: int) -> None:
    """`duration_text` and `parse_duration` are inverse for whole seconds."""
    duration = timedelta(seconds=seconds)
    assert parse_duration(duration_text(duration)) == duration


def test_a_written_duration_uses_the_largest_unit_that_is_exact() -> None:
    """A week is written in days, as in every example; 36 hours stay hours."""
    written = [
        duration_text(duration)
        for duration in (
            timedelta(weeks=1),
            timedelta(hours=36),
            timedelta(minutes=90),
            timedelta(seconds=121),
            timedelta(0),
        )
    ]
    assert written == ["7d", "36h", "90m", "121s", "0s"]


def test_ago_reads_as_people_say_it() -> None:
    """One number and one unit, rounded down; nobody reads `1 days`."""
    said = [
        ago(duration)
        for duration in (
            timedelta(seconds=-5),
            timedelta(seconds=59),
            timedelta(minutes=26, seconds=59),
            timedelta(hours=1),
            timedelta(hours=47, minutes=59),
            timedelta(days=2),
            timedelta(days=34, hours=23),
        )
    ]
    assert said == ["0 s", "59 s", "26 min", "1 h", "47 h", "2 days", "34 days"]


def test_a_shown_time_has_its_day_and_zone() -> None:
    """A time in another zone is shown in UTC, with the day of the week there."""
    late = datetime(2026, 8, 22, 1, 30, 9, tzinfo=timezone(timedelta(hours=2)))
    assert shown_time(late) == "Fri 2026-08-21 23:30 UTC"
    assert shown_time(late, seconds=True) == "Fri 2026-08-21 23:30:09 UTC"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("2026-08-20", at(2026, 8, 20)),
        ("2026-08-20 17:40", at(2026, 8, 20, 17, 40)),
        ("2026-08-20T17:40:09Z", at(2026, 8, 20, 17, 40, 9)),
        ("2026-08-20T17:40:09.250000Z", at(2026, 8, 20, 17, 40, 9, 250_000)),
        ("2026-08-20 17:40 UTC", at(2026, 8, 20, 17, 40)),
        ("2026-08-20 17:40+02:00", at(2026, 8, 20, 15, 40)),
        ("2026-08-20 17:40 -0530", at(2026, 8, 20, 23, 10)),
        ("2026-08-20 17:40 Europe/Berlin", at(2026, 8, 20, 15, 40)),
        ("2026-01-20 17:40 europe/berlin", at(2026, 1, 20, 16, 40)),
        ("2027-01-01", at(2027, 1, 1)),
        ("02:44", at(2026, 8, 21, 2, 44)),
        ("2:44:30", at(2026, 8, 21, 2, 44, 30)),
        ("13:10", at(2026, 8, 20, 13, 10)),
        ("04:00 +02:00", at(2026, 8, 21, 2, 0)),
        ("08-20 17:40", at(2026, 8, 20, 17, 40)),
        ("12-31", at(2025, 12, 31)),
        ("02-29", at(2024, 2, 29)),
        ("today", at(2026, 8, 21)),
        ("today 23:00", at(2026, 8, 21, 23)),
        ("yesterday", at(2026, 8, 20)),
        ("Yesterday  02:44", at(2026, 8, 20, 2, 44)),
        ("fri", at(2026, 8, 21)),
        ("fri 16:00", at(2026, 8, 14, 16)),
        ("Thursday 16:00", at(2026, 8, 20, 16)),
        ("Thu 2026-08-20 16:00 UTC", at(2026, 8, 20, 16)),
        ("thu 08-20", at(2026, 8, 20)),
        ("3 days ago", NOW - timedelta(days=3)),
        ("26 min ago", NOW - timedelta(minutes=26)),
        ("an hour ago", NOW - timedelta(hours=1)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("90s", NOW - timedelta(seconds=90)),
    ],
)
def test_a_moment_can_be_written_in_the_usual_ways(text: str, expected: datetime) -> None:
    """Without a zone it is UTC, without a time 00:00, without a date the newest not ahead."""
    read = parse_time(text, NOW)
    assert read == expected
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "soon", "utc", "2026", "2026-8-1", "3 months ago", "02", "20260821", "v14", "5"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    """A refusal quotes the words and shows every form that works."""
    with pytest.raises(ValueError) as refused:
        parse_time(text, NOW)
    assert str(refused.value) == (
        f"`{text}` is not a time: write `2026-08-21`, `2026-08-21 03:10` (UTC unless `+02:00` or "
        "`Europe/Berlin` follows), `02:44`, `yesterday 02:44`, `fri 16:00`, `26 min ago` or "
        "`3 days ago`"
    )


@pytest.mark.parametrize(
    "text", ["2026-02-30", "25:00", "2026-08-21 03:61", "999999 weeks ago", "02-30", "03:10 +99:00"]
)
def test_a_time_that_does_not_exist_is_refused(text: str) -> None:
    """No date is bent into another one."""
    with pytest.raises(ValueError, match="is not a time that exists: write `2026-08-21`, "):
        parse_time(text, NOW)


def test_a_local_time_that_the_clocks_skipped_is_refused() -> None:
    """In spring one hour never was; the message says what the clocks showed instead."""
    with pytest.raises(ValueError) as refused:
        parse_time("2026-03-29 02:30 Europe/Berlin", NOW)
    assert str(refused.value) == (
        "`2026-03-29 02:30 Europe/Berlin` never was: the clocks of Europe/Berlin went on to 03:30 "
        "there; write the time they showed, or UTC"
    )
    for around in ("01:59", "03:00"):
        parse_time(f"2026-03-29 {around} Europe/Berlin", NOW)
    parse_time("2026-03-29 02:30", NOW)


def test_of_a_local_time_that_came_twice_the_first_is_meant_and_the_second_told() -> None:
    """In autumn one hour comes twice; nobody has to guess which of them was read."""
    later = datetime(2026, 11, 1, tzinfo=UTC)
    text = "2026-10-25 02:30 Europe/Berlin"
    at = parse_time(text, later)
    assert at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert time_reading(text, at, later) == (
        f"`{text}` read as Sun 2026-10-25 00:30 UTC, 6 days ago; that time came twice there, the "
        "second time Sun 2026-10-25 01:30 UTC"
    )
    once = "2026-10-25 03:30 Europe/Berlin"
    assert "twice" not in time_reading(once, parse_time(once, later), later)


def test_a_day_that_disagrees_with_its_date_is_refused() -> None:
    """A wrong weekday means that one of the two is a slip."""
    with pytest.raises(ValueError, match="does not exist: 2026-08-21 is a friday"):
        parse_time("Mon 2026-08-21 03:10 UTC", NOW)


def test_an_unknown_zone_is_refused_by_name() -> None:
    """A zone that does not exist is not taken for UTC."""
    with pytest.raises(ValueError, match="names no known time zone: `europe/berln`"):
        parse_time("02:44 Europe/Berln", NOW)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1)))
def test_what_is_shown_or_recorded_is_read_back(naive: datetime) -> None:
    """A time copied from a screen or a record means the same when it is pasted."""
    moment = naive.replace(tzinfo=UTC)
    assert parse_time(instant(moment), NOW) == moment
    whole = moment.replace(microsecond=0)
    assert parse_time(shown_time(whole, seconds=True), NOW) == whole


def test_a_reading_says_back_the_time_and_the_distance() -> None:
    """The echo carries the words, the moment they became, and how far away it is."""
    assert time_reading("02:44", parse_time("02:44", NOW), NOW) == (
        "`02:44` read as Fri 2026-08-21 02:44 UTC, 26 min ago"
    )
    assert time_reading("2026-08-24", parse_time("2026-08-24", NOW), NOW) == (
        "`2026-08-24` read as Mon 2026-08-24 00:00 UTC, in 2 days"
    )
    assert time_reading("now", NOW, NOW) == "`now` read as Fri 2026-08-21 03:10:04 UTC, 0 s ago"


def test_a_time_of_the_week_is_a_day_and_a_time() -> None:
    """Sunday 24:00 is Monday 00:00; what is written is read back."""
    assert parse_week_time("fri 16:00") == (4, time(16))
    assert parse_week_time("sun 24:00") == (0, time(0))
    assert week_time_text(4, time(16)) == "fri 16:00"


@pytest.mark.parametrize(
    "text", ["", "fri", "16:00", "Fri 16:00", "fri 24:01", "fri 29:00", "fri 7:00"]
)
def test_other_times_of_the_week_are_refused(text: str) -> None:
    """A window's end is never guessed."""
    with pytest.raises(ValueError, match="is not a time of the week: write a day and a time, such"):
        parse_week_time(text)
