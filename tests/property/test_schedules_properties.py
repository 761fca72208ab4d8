"""Schedules against walkers that look at every minute: around the clock changes of forty zones in six years."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.schedules.cron import crontab
from amqtask.schedules.interval import schedule
from amqtask.schedules.reading import read_schedule

ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "America/Adak", "America/Anchorage", "America/Asuncion",
    "America/Chicago", "America/Denver", "America/Havana", "America/Los_Angeles", "America/New_York", "America/Nuuk",
    "America/Port-au-Prince", "America/Santiago", "America/Sao_Paulo", "America/Scoresbysund", "America/St_Johns",
    "Antarctica/Troll", "Asia/Amman", "Asia/Beirut", "Asia/Damascus", "Asia/Gaza", "Asia/Hebron", "Asia/Jerusalem",
    "Asia/Kolkata", "Asia/Shanghai", "Asia/Tehran", "Atlantic/Azores", "Australia/Adelaide", "Australia/Lord_Howe",
    "Australia/Sydney", "Europe/Athens", "Europe/Berlin", "Europe/Dublin", "Europe/Lisbon", "Europe/London",
    "Europe/Volgograd", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Easter",
)  # fmt: skip
FIRST, LAST = datetime(2019, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEAD = timedelta(hours=4)
"""Longer than any jump of these years."""


@lru_cache
def changes(name: str) -> list[datetime]:
    """The instants at which the clocks of a zone jump."""
    zone, found, at = ZoneInfo(name), [], FIRST
    while at < LAST:
        after = at + timedelta(days=1)
        if at.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            low, high = at, after
            while high - low > MINUTE:
                middle = low + (high - low) // 2
                same = middle.astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(second=0, microsecond=0))
        at = after
    return found or [datetime(2022, 3, 27, 1, tzinfo=UTC)]


def fits(line: crontab, wall: datetime) -> bool:
    return (
        wall.minute in line.minute
        and wall.hour in line.hour
        and wall.day in line.day_of_month
        and wall.month in line.month_of_year
        and (wall.weekday() + 1) % 7 in line.day_of_week
    )


@lru_cache(maxsize=64)
def clock(zone: ZoneInfo, begin: datetime, end: datetime) -> list[tuple[datetime, datetime, list[datetime]]]:
    """Each minute in (begin, end], what the clock shows, and what it passed for the first time or skipped."""
    found, at, highest = [], begin, begin.astimezone(zone).replace(tzinfo=None)
    while at < end:
        at += MINUTE
        wall = at.astimezone(zone).replace(tzinfo=None)
        passed = [highest + n * MINUTE for n in range(1, int((wall - highest) / MINUTE) + 1)]
        highest = max(highest, wall)
        found.append((at, wall, passed))
    return found


def walked(line: crontab, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every due minute in (begin, end], by looking at the clock on the wall in each of them."""
    every_hour = len(line.hour) == 24
    for at, wall, passed in clock(zone, begin - LEAD, end):
        due = fits(line, wall) if every_hour else any(fits(line, one) for one in passed)
        if due and at > begin:
            yield at


def field(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most).map(str)
    return st.one_of(
        st.just("*"),
        number,
        st.integers(2, 30).map(lambda step: f"*/{step}"),
        st.lists(number, min_size=1, max_size=3).map(",".join),
        st.tuples(number, number).map("-".join),
    )


LINES = st.builds(
    crontab,
    minute=field(0, 59),
    hour=st.one_of(st.just("*"), field(0, 23), st.sampled_from(["0", "1", "2", "3", "1-3", "*/2"])),
    day_of_week=st.one_of(st.just("*"), field(0, 6)),
)


@settings(max_examples=60)
@given(st.data())
def test_crontab_agrees_with_a_walker_that_looks_at_every_minute(data):
    name = data.draw(st.sampled_from(ZONES))
    change = data.draw(st.sampled_from(changes(name)))
    zone, lines = ZoneInfo(name), data.draw(st.lists(LINES, min_size=5, max_size=5))
    begin = change - data.draw(st.integers(0, 8 * 60)) * MINUTE
    end = change + timedelta(hours=6)
    for line in lines:
        local = line.within(zone)
        found, due = [], local.next(begin)
        while due is not None and due <= end:
            found.append(due)
            due = local.next(due)
        assert found == list(walked(line, zone, begin, end)), line


@settings(max_examples=150)
@given(
    LINES,
    st.sampled_from(ZONES),
    st.integers(0, 10**8).map(lambda seconds: FIRST + timedelta(seconds=seconds)),
    st.integers(0, 3 * 86_400),
)
def test_latest_is_the_last_of_the_next_ones(line, name, after, seconds):
    local, until = line.within(ZoneInfo(name)), after + timedelta(seconds=seconds)
    last, due = None, local.next(after)
    while due is not None and due <= until:
        last, due = due, local.next(due)
    assert local.latest(after, until) == last


@settings(max_examples=150)
@given(st.integers(1, 400_000), st.sampled_from(ZONES), st.data())
def test_a_relative_interval_moves_on_and_falls_on_whole_units(seconds, name, data):
    zone = ZoneInfo(name)
    every = schedule(seconds, relative=True, tz=zone)
    at = data.draw(st.sampled_from(changes(name))) - timedelta(seconds=data.draw(st.integers(0, 90_000)))
    for _ in range(5):
        due = every.next(at)
        assert at < due <= at + timedelta(seconds=seconds) + timedelta(hours=25 if seconds >= 86_400 else 1)
        at = due


@settings(max_examples=60)
@given(LINES, st.one_of(st.none(), st.sampled_from(ZONES)))
def test_a_schedule_reads_its_own_plain_form_back(line, name):
    made = line if name is None else line.within(ZoneInfo(name))
    assert read_schedule(made.spec()) == made


@pytest.mark.parametrize("field_name", ["minute", "hour", "day_of_week", "day_of_month", "month_of_year"])
@settings(max_examples=40)
@given(st.data())
def test_fields_mean_the_same_as_to_celery(field_name, data):
    import celery.schedules

    bounds = {"minute": (0, 59), "hour": (0, 23), "day_of_week": (0, 6), "day_of_month": (1, 31)}
    text = data.draw(field(*bounds.get(field_name, (1, 12))))
    theirs = celery.schedules.crontab(**{field_name: text})
    assert getattr(crontab(**{field_name: text}), field_name) == getattr(theirs, field_name)
