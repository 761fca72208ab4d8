"""What schedules mean, example by example; the walkers are in tests/property."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from amqtask.config.zones import zone
from amqtask.errors import ConfigError
from amqtask.schedules.cron import crontab
from amqtask.schedules.interval import schedule
from amqtask.schedules.reading import read_schedule
from amqtask.schedules.solar import EVENTS, solar

NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")


def dues(one, after: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        after = one.next(after)
        found.append(after.astimezone(one.tz or UTC).isoformat())
    return found


def test_a_daily_task_runs_once_on_the_day_when_its_hour_comes_twice():
    daily = crontab(minute=30, hour=1, tz=NEW_YORK)
    assert dues(daily, datetime(2025, 11, 1, 12, tzinfo=UTC), 2) == [
        "2025-11-02T01:30:00-04:00",
        "2025-11-03T01:30:00-05:00",
    ]


def test_an_hourly_task_runs_in_both_of_the_same_hours():
    assert dues(crontab(minute=0, tz=NEW_YORK), datetime(2025, 11, 2, 4, 30, tzinfo=UTC), 3) == [
        "2025-11-02T01:00:00-04:00",
        "2025-11-02T01:00:00-05:00",
        "2025-11-02T02:00:00-05:00",
    ]


def test_what_falls_into_a_skipped_hour_runs_at_its_end_once():
    each_quarter_of_two = crontab(minute="*/15", hour=2, tz=BERLIN)
    assert dues(each_quarter_of_two, datetime(2025, 3, 29, 12, tzinfo=UTC), 2) == [
        "2025-03-30T03:00:00+02:00",
        "2025-03-31T02:00:00+02:00",
    ]


def test_days_of_the_month_and_of_the_week_must_both_fit():
    friday_13th = crontab(0, 0, "fri", 13)
    assert dues(friday_13th, datetime(2026, 1, 1, tzinfo=UTC), 2) == [
        "2026-02-13T00:00:00+00:00",
        "2026-03-13T00:00:00+00:00",
    ]


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("@daily", "2026-01-16T00:00:00+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
        ("0 12 L * *", "2026-01-31T12:00:00+00:00"),
        ("0 12 LW 2 *", "2026-02-27T12:00:00+00:00"),
        ("0 12 * * fri#2", "2026-02-13T12:00:00+00:00"),
        ("0 12 * * friL", "2026-01-30T12:00:00+00:00"),
        ("0 12 * * 7", "2026-01-18T12:00:00+00:00"),
        ("0 22-2 * * *", "2026-01-15T22:00:00+00:00"),
        ("0 0 * jan-mar mon-fri", "2026-01-16T00:00:00+00:00"),
        ("*/20 59 23 * * *", "2026-01-15T23:59:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_cron_lines(line, first):
    assert dues(read_schedule(line), datetime(2026, 1, 15, 12, 0, 1, tzinfo=UTC), 1) == [first]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: crontab(day_of_month=31, month_of_year=2), "no such date ever comes"),
        (lambda: crontab(day_of_month=30, month_of_year=2, day_of_week=1), "no such date ever comes"),
        (lambda: crontab(minute=60), "minute: 60 is not from 0 to 59"),
        (lambda: crontab(minute="*/0"), "a step must be 1 or more"),
        (lambda: crontab(day_of_week="frday"), "did you mean 'friday'"),
        (lambda: crontab(minute=[]), "it would never be due"),
        (lambda: crontab.from_string("* * * *"), "has 4 fields"),
        (lambda: crontab.from_string("@dayly"), "did you mean '@daily'"),
        (lambda: schedule(0), "10 ms"),
        (lambda: schedule(-1), "not negative"),
        (lambda: solar("sunsett", 0, 0), "did you mean 'sunset'"),
        (lambda: solar("sunset", 91, 0), "lat=91"),
        (lambda: read_schedule(object()), "is not a schedule"),
        (lambda: read_schedule({"cron": "@daily", "every": 5}), "needs one of"),
        (lambda: read_schedule({"every": 5, "tz": "Asian/Shanghai"}), "did you mean 'Asia/Shanghai'"),
        (lambda: zone("Mars/Olympus"), "not a time zone"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(make, why):
    with pytest.raises(ConfigError, match=why.replace("*", "[*]")):
        make()


def test_an_interval_does_not_drift_and_skips_what_is_long_gone():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    every = schedule(timedelta(seconds=7))
    assert every.next(start) == start + timedelta(seconds=7)
    assert every.latest(start, start + timedelta(seconds=50)) == start + timedelta(seconds=49)
    assert every.latest(start, start + timedelta(seconds=6)) is None


def test_a_relative_interval_of_a_day_is_midnight_also_when_the_day_has_23_hours():
    daily = schedule(timedelta(days=1), relative=True, tz=BERLIN)
    assert dues(daily, datetime(2025, 3, 29, 12, tzinfo=UTC), 2) == [
        "2025-03-30T00:00:00+01:00",
        "2025-03-31T00:00:00+02:00",
    ]


def test_schedules_of_celery_are_taken_for_ours():
    import celery.schedules as theirs

    assert read_schedule(theirs.crontab(minute="*/5", hour=[1, 2])) == crontab(minute="*/5", hour="1,2")
    assert read_schedule(theirs.schedule(30.0)) == schedule(30)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    "where", [(52.5, 13.4), (40.7, -74.0), (-33.9, 151.2), (0.0, -78.5), (64.1, -21.9), (1.35, 103.8), (-45.9, 170.5)]
)
def test_the_sun_is_where_an_ephemeris_has_it(event, where):
    ephem = pytest.importorskip("ephem")
    lat, lon = where
    observer = ephem.Observer()
    observer.lat, observer.lon, observer.pressure = str(lat), str(lon), 0
    heights = {"astronomical": "-18", "nautical": "-12", "civil": "-6"}
    observer.horizon = heights.get(event.split("_")[-1], "-0:34")
    centre = event.split("_")[-1] in heights
    sun, at = ephem.Sun(), datetime(2024, 1, 3, tzinfo=UTC)
    for _ in range(40):
        at += timedelta(days=19)
        observer.date = ephem.Date(at.replace(tzinfo=None))
        due = solar(event, lat, lon).next(at)
        try:
            if event == "solar_noon":
                there = observer.next_transit(sun)
            elif event.startswith("dawn") or event == "sunrise":
                there = observer.next_rising(sun, use_center=centre)
            else:
                there = observer.next_setting(sun, use_center=centre)
        except ephem.CircumpolarError:  # ours is the next one there is
            assert due > at + timedelta(days=1)
            continue
        assert abs(there.datetime().replace(tzinfo=UTC) - due) < timedelta(seconds=60)


def test_polar_day_and_night_end_with_the_next_sunrise_there_is():
    tromso = solar("sunset", 69.65, 18.96)
    assert tromso.next(datetime(2026, 6, 1, tzinfo=UTC)).month == 7
    assert solar("sunrise", 69.65, 18.96).next(datetime(2026, 12, 1, tzinfo=UTC)).date().isoformat() > "2027-01-10"
    assert solar("sunrise", 90, 0).next(datetime(2026, 4, 1, tzinfo=UTC)) is not None


def test_is_due_answers_as_celery_asks(monkeypatch):
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    monkeypatch.setattr("amqtask.clock.wall", now.timestamp)
    assert schedule(30).is_due(now - timedelta(seconds=10)) == (False, 20.0)
    assert schedule(30).is_due(now - timedelta(seconds=31)) == (True, 30.0)
