"""Periodic tasks as rows of a table: what columns say, and what is written there."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from amqtask import ConfigError, crontab, solar
from amqtask.config.zones import zone
from amqtask.schedules.entry import read_entry, spec_of
from amqtask.schedules.rows import read_row, row_of

DECLARED = read_entry("r", {"task": "t", "schedule": 60, "args": [1], "queue": "q", "catchup": "all"}, UTC)


def read(declared=None, **row):
    return read_row("r", row, declared, UTC)


@pytest.mark.parametrize(
    "schedule",
    [30, 0.25, 90.0005, timedelta(weeks=3), "30 7 * * mon-fri", crontab(second="5", tz=zone("Europe/Berlin")),
     solar("sunset", 52.5, 13.4), {"every": 3600, "relative": True, "tz": "Asia/Tokyo"}, ["@daily", "1h"]],
)  # fmt: skip
def test_what_is_written_is_read_back_as_the_same(schedule):
    given = {
        "task": "t", "schedule": schedule, "args": [1, "ü"], "kwargs": {"x": None}, "queue": "q", "jitter": "3s",
        "expires": "1h", "deadline": 90, "overlap": "skip", "catchup": "all", "enabled": False,
    }  # fmt: skip
    entry = read_entry("r", given, zone("Europe/Berlin"))
    row = row_of(spec_of(entry))
    assert all(isinstance(value, str | bool | None) for value in row.values())
    assert spec_of(read_row("r", row, None, UTC)[1]) == spec_of(entry)


def test_a_schedule_is_written_as_people_write_it():
    specs = (spec_of(read_entry("r", {"task": "t", "schedule": one}, UTC)) for one in (90, "30 7 * * 1", "@daily"))
    assert [row_of(spec)["schedule"] for spec in specs] == ["1m30s", "30 7 * * 1", "0 0 * * *"]


def test_what_a_row_does_not_say_is_as_the_program_declares():
    said, entry = read(DECLARED, args="[2]", kwargs=None, catchup="", enabled=0)
    assert said == {"args": [2], "enabled": False}
    assert (entry.args, entry.catchup, entry.options, entry.enabled) == ((2,), "all", {"queue": "q"}, False)


def test_a_zone_holds_for_the_schedule_of_the_row():
    said, entry = read(task="t", schedule="0 9 * * *", tz="Asia/Tokyo")
    assert said["schedule"] == [{"cron": "0 9 * * *", "tz": "Asia/Tokyo"}]
    assert read_entry("r", said, UTC).schedules == entry.schedules


def test_a_schedule_in_a_row_is_by_the_clock_that_the_program_declares():
    by_berlin = read_entry("r", {"task": "t", "schedule": "@daily", "tz": "Europe/Berlin"}, UTC)
    said, entry = read(by_berlin, schedule="0 9 * * *")
    assert entry.schedules == (crontab(0, 9, tz=zone("Europe/Berlin")),)
    assert said["schedule"] == [{"cron": "0 9 * * *", "tz": "Europe/Berlin"}]
    elsewhere = read(by_berlin, schedule="0 9 * * *", tz="Asia/Tokyo")[1]
    assert elsewhere.schedules == (crontab(0, 9, tz=zone("Asia/Tokyo")),)


def test_a_number_is_seconds():
    assert read(task="t", schedule="30")[1].schedules == read(task="t", schedule="30s")[1].schedules


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"task": "t"}, "it has no 'schedule'"),
        ({"schedule": "1h"}, "'task' must be the name of a task"),
        ({"task": "t", "schedule": "30 7 * * mon-fry"}, "did you mean 'friday'"),
        ({"task": "t", "schedule": "{every: 3}"}, "'schedule' is not JSON"),
        ({"task": "t", "schedule": "1h", "args": "1, 2"}, r"""'args' is not JSON .* write for example \["a", 1\]"""),
        ({"task": "t", "schedule": "1h", "args": '{"a": 1}'}, "'args' must be a list"),
        ({"task": "t", "schedule": "1h", "kwargs": '{"a": NaN}'}, "NaN is not JSON"),
        ({"task": "t", "schedule": "1h", "options": b"\xff"}, "'options' must be a text"),
        ({"task": "t", "schedule": "1h", "overlap": "skipp"}, "did you mean 'skip'"),
        ({"task": "t", "schedule": "1h", "enabled": "maybe"}, "'enabled' must be 1 or 0"),
        ({"task": "t", "schedule": "1h", "tz": "Asian/Shanghai"}, "did you mean 'Asia/Shanghai'"),
        ({"tz": "Asia/Shanghai"}, "'tz' without 'schedule'"),
        ({"task": "t", "schedule": '{"every": 60, "tz": [5]}'}, "'\\[5\\]' is not a time zone"),
        ({"task": "t", "schedule": '{"every": 1%s}' % ("0" * 400)}, "too large"),
        ({"task": "t", "schedule": "1h", "args": "[" * 100_000}, "recursion"),
    ],
)
def test_a_wrong_row_is_an_error_that_names_it_and_its_column(row, why):
    with pytest.raises(ConfigError, match=f"table amqtask_schedules: periodic task 'r': .*{why}"):
        read(**row)
