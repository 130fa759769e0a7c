"""Times and durations as people write and read them.

- A duration is a whole number from 1 and one of w, d, h, m, s; nothing is rounded.
- A time without a zone is UTC; a day without a time is its start, 00:00.
- A local time that the clocks skipped is refused; of one that came twice the first is meant.
- A time of day, a weekday or a month and day without a year mean the newest one that is not in
  the future.
- Whoever reads a time from a person says back how it was read: `time_reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo

from lockgate.shown import shown

DURATION_RULE = "a whole number from 1 and one of w, d, h, m, s, such as `7d`, `12h` or `120s`"
WEEK_TIME_RULE = "a day and a time, such as `fri 16:00`"
TIME_RULE = (
    "`2026-08-21`, `2026-08-21 03:10` (UTC unless `+02:00` or `Europe/Berlin` follows), "
    "`02:44`, `yesterday 02:44`, `fri 16:00`, `26 min ago` or `3 days ago`"
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_DURATION = timedelta(days=36_500)

_LONG_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS_S = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([1-9][0-9]{0,9})([wdhms])")
_WEEK_TIME = re.compile(rf"({'|'.join(WEEKDAYS)}) ([0-2][0-9]):([0-5][0-9])")
_AGO = re.compile(
    r"([0-9]{1,6}|an?|one) ?(w|weeks?|d|days?|h|hours?|m|min|minutes?|s|sec|seconds?)(?: ago)?"
)
_MOMENT = re.compile(
    rf"(?P<weekday>{'|'.join(_LONG_WEEKDAYS)}|{'|'.join(WEEKDAYS)})?,? ?"
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}-[0-9]{2}|today|yesterday)?[ t]?"
    r"(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)? ?"
    r"(?P<zone>z|utc|gmt|[+-][0-9]{2}:?[0-9]{2}|[a-z]+/[a-z0-9_/+-]+)?"
)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `7d`, `12h`, `30m`, `120s` or `1w`.

    Raises:
        ValueError: It is not a whole number from 1 with a unit, or is longer than a century.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"`{shown(text, limit=60)}` is not a duration: write {DURATION_RULE}")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > LONGEST_DURATION.total_seconds():
        raise ValueError(f"`{text}` is too long: at most `{LONGEST_DURATION.days}d`")
    return timedelta(seconds=seconds)


def duration_text(duration: timedelta) -> str:
    """Write a duration so that `parse_duration` gives it back: `7d`, `36h`, `120s`.

    A fraction of a second, which no file can say, is dropped.
    """
    seconds = int(duration.total_seconds())
    for unit in "dhm":
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{seconds // _UNITS_S[unit]}{unit}"
    return f"{seconds}s"


def ago(duration: timedelta) -> str:
    """Write about how long something took or is past, as people say it: `26 min`, `3 days`.

    A duration below zero, which only a clock that jumped can give, reads `0 s`.
    """
    seconds = max(int(duration.total_seconds()), 0)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3_600} h"
    return f"{seconds // 86_400} days"


def shown_time(at: datetime, *, seconds: bool = False) -> str:
    """Write a time with its day and zone: `Fri 2026-08-21 03:10 UTC`."""
    utc = at.astimezone(UTC)
    clock = utc.strftime("%H:%M:%S" if seconds else "%H:%M")
    return f"{WEEKDAYS[utc.weekday()].capitalize()} {utc.date().isoformat()} {clock} UTC"


def time_reading(text: str, at: datetime, now: datetime) -> str:
    """Say how a time was read: `02:44` read as Fri 2026-08-21 02:44 UTC, 26 min ago.

    Args:
        text: What the person wrote.
        at: What `parse_time` made of it.
        now: The current time.
    """
    distance = f"{ago(now - at)} ago" if at <= now else f"in {ago(at - now)}"
    exact = shown_time(at, seconds=bool(at.second))
    told = f"`{shown(text, limit=60)}` read as {exact}, {distance}"
    again = _came_again(text, at, now)
    if again is not None:
        told += f"; that time came twice there, the second time {shown_time(again)}"
    return told


def _came_again(text: str, at: datetime, now: datetime) -> datetime | None:
    """Return the second moment of a local time that came twice; `None` when there was one."""
    try:
        moment = _moment(_plain(text), now)
    except (_Unreadable, ValueError, OverflowError):
        return None
    second = moment.replace(fold=1).astimezone(UTC)
    return second if moment.astimezone(UTC) == at and second != at else None


def parse_week_time(text: str) -> tuple[int, time]:
    """Read a weekly moment such as `fri 16:00`; `sun 24:00` is `mon 00:00`.

    Returns:
        The weekday, Monday being 0, and the time of day.

    Raises:
        ValueError: It is not a day and a time.
    """
    match = _WEEK_TIME.fullmatch(text)
    if match is not None:
        day, hour, minute = WEEKDAYS.index(match[1]), int(match[2]), int(match[3])
        if hour < 24:
            return day, time(hour, minute)
        if hour == 24 and minute == 0:
            return (day + 1) % 7, time(0, 0)
    raise ValueError(f"`{shown(text, limit=60)}` is not a time of the week: write {WEEK_TIME_RULE}")


def week_time_text(day: int, at: time) -> str:
    """Write a weekly moment so that `parse_week_time` gives it back."""
    return f"{WEEKDAYS[day]} {at:%H:%M}"


def parse_time(text: str, now: datetime) -> datetime:
    """Read a moment as a person writes it.

    Args:
        text: A date, a date and time, a time of day, a weekday, `yesterday`, or `3 days ago`; what
            `shown_time` writes and what records carry is read back too.
        now: The current time, aware.

    Returns:
        The moment, aware, in UTC; it may lie in the future when a date was given.

    Raises:
        ValueError: It is none of these, no such day or zone exists, or day and date disagree.
    """
    try:
        return _moment(_plain(text), now).astimezone(UTC)
    except _Unreadable as problem:
        raise ValueError(f"`{shown(text, limit=60)}` {problem}") from None
    except (ValueError, OverflowError):
        raise ValueError(
            f"`{shown(text, limit=60)}` is not a time that exists: write {TIME_RULE}"
        ) from None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


class _Unreadable(Exception):
    """What is wrong with a time somebody wrote."""


def _moment(plain: str, now: datetime) -> datetime:
    if plain == "now":
        return now
    if past := _AGO.fullmatch(plain):
        count = 1 if past[1] in ("a", "an", "one") else int(past[1])
        return now - timedelta(seconds=count * _UNITS_S[past[2][0]])
    match = _MOMENT.fullmatch(plain)
    if match is None or not (match["weekday"] or match["day"] or match["time"]):
        raise _Unreadable(f"is not a time: write {TIME_RULE}")
    zone = _zone(match["zone"])
    clock = match["time"] or "00:00"
    at = time.fromisoformat(f"0{clock}" if clock[1] == ":" else clock)
    for day in _days(match["weekday"], match["day"], now.astimezone(zone).date()):
        moment = datetime.combine(day, at, zone)
        _check_not_skipped(moment)
        if moment <= now or _is_one_day(match["day"]):
            return moment
    raise _Unreadable("does not exist: day and date disagree")


def _check_not_skipped(moment: datetime) -> None:
    """Refuse a local time that no clock there ever showed."""
    shown_there = moment.astimezone(UTC).astimezone(moment.tzinfo)
    if shown_there.replace(tzinfo=None, fold=0) != moment.replace(tzinfo=None, fold=0):
        raise _Unreadable(
            f"never was: the clocks of {moment.tzinfo} went on to {shown_there:%H:%M} there; "
            "write the time they showed, or UTC"
        )


def _is_one_day(day: str | None) -> bool:
    """Tell a day that can only be itself from one that means the newest of its kind."""
    return day is not None and (len(day) == 10 or day.isalpha())


def _days(weekday: str | None, day: str | None, today: date) -> Iterator[date]:
    """Give the days that can be meant, newest first."""
    wanted = None if weekday is None else WEEKDAYS.index(weekday[:3])
    if day is None:
        days = [today - timedelta(days=past) for past in range(9)]
    elif day in ("today", "yesterday"):
        days = [today - timedelta(days=day == "yesterday")]
    elif len(day) == 10:
        days = [date.fromisoformat(day)]
    else:
        days = _days_of_any_year(int(day[:2]), int(day[3:]), today.year)
    yield from (found for found in days if wanted in (None, found.weekday()))
    if wanted is not None and _is_one_day(day):
        raise _Unreadable(f"does not exist: {days[0]} is a {_LONG_WEEKDAYS[days[0].weekday()]}")


def _days_of_any_year(month: int, day: int, year: int) -> list[date]:
    """Return a month and day in this year and the years before, where it exists."""
    date(2000, month, day)  # a leap year: what fails here exists in no year
    found = []
    for candidate in range(year, year - 9, -1):
        try:
            found.append(date(candidate, month, day))
        except ValueError:
            continue
    return found


def _zone(name: str | None) -> tzinfo:
    if name is None or name in ("z", "utc", "gmt"):
        return UTC
    if name[0] in "+-":
        offset = timedelta(hours=int(name[1:3]), minutes=int(name[-2:]))
        return timezone(offset if name[0] == "+" else -offset)
    import zoneinfo  # only for who names a zone: looking commands never do

    known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    if name not in known:
        raise _Unreadable(f"names no known time zone: `{name}`; write one such as `Europe/Berlin`")
    return zoneinfo.ZoneInfo(known[name])
