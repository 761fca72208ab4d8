"""Ids and durations for every moment and every length."""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask import clock
from amqtask.durations import format_duration, parse_duration, to_milliseconds
from amqtask.errors import ConfigError
from amqtask.wire import ids

MOMENTS = st.floats(min_value=0, max_value=2**37, allow_nan=False)
LENGTHS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000))


@given(st.lists(MOMENTS | st.floats(min_value=2**30, max_value=2**30 + 30), min_size=2, max_size=20))
def test_ids_grow_strictly_unless_the_clock_is_set_back_by_over_ten_seconds(moments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_last", 0)
        made: list[str] = []
        for moment in moments:
            patch.setattr(clock, "wall", lambda moment=moment: moment)
            before = ids.born(made[-1]) if made else 0.0
            made.append(ids.new_id())
            if moment > before - 9.99:
                assert made[-2:] == sorted(set(made[-2:]))
            elif moment < before - 10.01:
                assert ids.born(made[-1]) == pytest.approx(moment, abs=0.002)
    for task_id in made:
        value = uuid.UUID(task_id)
        assert (value.version, value.variant) == (7, uuid.RFC_4122)


@given(MOMENTS)
def test_the_age_is_readable_to_the_millisecond(moment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_last", 0)
        patch.setattr(clock, "wall", lambda: moment)
        assert ids.born(ids.new_id()) == pytest.approx(moment, abs=0.0011)


@given(st.text())
def test_reading_an_age_never_raises(text):
    assert ids.born(text) is None or isinstance(ids.born(text), float)


@given(LENGTHS)
def test_a_duration_reads_back_rounded_up_to_the_millisecond(length):
    back = parse_duration(format_duration(length))
    assert timedelta(0) <= back - length < timedelta(milliseconds=1)
    assert to_milliseconds(back) == to_milliseconds(length)


@given(st.floats() | st.text() | st.integers() | st.booleans() | st.none() | st.binary())
def test_anything_is_a_duration_or_a_config_error(value):
    with contextlib.suppress(ConfigError):
        assert parse_duration(value) >= timedelta(0)


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d", "w"]))
def test_number_and_unit_mean_what_they_say(number, unit):
    sizes = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    assert parse_duration(f"{number}{unit}").total_seconds() == pytest.approx(number * sizes[unit])
