"""What is sent when: catch-up, deadlines, jitter, and clocks that are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from amqtask.beat.planning import AT_ONCE, offset, plan_due
from amqtask.schedules.entry import read_entry
from amqtask.schedules.state import Mark

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def entry(schedule=10, **more):
    return read_entry("e", {"task": "t", "schedule": schedule, **more}, UTC)


def planned(one, seconds, last=0.0, present=None):
    return plan_due(one, Mark(at(last).timestamp()), at(seconds), at(seconds if present is None else present))


def test_before_its_time_nothing_is_sent_and_the_next_look_is_when_it_comes():
    assert planned(entry(), 9.9) == (planned(entry(), 3))
    assert planned(entry(), 3).wake == at(10)
    assert planned(entry(), 3).due == ()


def test_at_its_time_it_is_sent_once():
    found = planned(entry(), 10.02)
    assert (found.due, found.last, found.wake, found.missed) == ((at(10),), at(10), at(20), 0)


@pytest.mark.parametrize(
    ("policy", "due"),
    [
        ({"catchup": "none", "deadline": 2}, ()),
        ({"catchup": "none", "deadline": 5}, (at(990),)),
        ({"catchup": "one"}, (at(990),)),
        ({"catchup": "one", "deadline": 2}, ()),
        ({"catchup": "all", "deadline": 25}, (at(970), at(980), at(990))),
        ({"catchup": "all"}, tuple(at(10 * n) for n in range(1, 100))),
    ],
)
def test_of_what_was_missed_as_much_is_sent_as_the_policy_says(policy, due):
    found = planned(entry(**policy), 994)
    assert (found.due, found.last, found.wake) == (due, at(990), at(1000))


def test_without_catching_up_an_occurrence_may_be_a_minute_late_and_no_more():
    daily = entry("@daily", catchup="none")
    assert planned(daily, 59, last=-3600).due == (at(0),)
    late = planned(daily, 3600, last=-3600)
    assert (late.due, late.last, late.missed) == ((), at(0), 1)


def test_a_scheduler_that_was_there_but_busy_for_a_while_has_missed_nothing():
    for policy in ({}, {"catchup": "none"}):
        every = entry(1, **policy)
        assert planned(every, 4.5, present=0.5).due == (at(1), at(2), at(3), at(4))
        assert planned(every, 12, present=0.5).due == (at(12),)  # frozen
    assert planned(entry(1, deadline=2), 4.5, present=0.5).due == (at(3), at(4))


def test_what_comes_due_after_somebody_has_come_is_not_missed_with_what_came_due_before():
    for every in (entry(1), entry(1, catchup="none")):
        assert planned(every, 4.5, present=1.5).due == (at(1), at(2), at(3), at(4))
        found = planned(every, 4.5, present=2.5)
        assert (found.due, found.last, found.wake, found.missed) == ((at(2), at(3), at(4)), at(4), at(5), 1)
        assert planned(every, 4.5, present=4.2).due == (at(4),)
        assert planned(every, 14, present=1.5).due == (at(14),)  # frozen since
    found = planned(entry(1, catchup="none", deadline=1), 4.5, present=2.5)
    assert (found.due, found.last, found.missed) == ((at(4),), at(4), 2)
    assert len(planned(entry(0.1), 3.75, present=0.15).due) == 37


def test_of_what_is_moved_by_jitter_the_moment_counts_at_which_it_is_sent():
    one = entry(1, jitter=0.8)
    sent_at = 2 + offset(one, at(2)).total_seconds()
    before, behind = (planned(one, 4.9, present=sent_at + by) for by in (-0.001, 0.001))
    assert (before.due, before.missed) == ((at(1), at(2), at(3), at(4)), 0)
    assert (behind.due, behind.missed) == ((at(2), at(3), at(4)), 1)


def test_jitter_that_is_longer_than_the_interval_leaves_nothing_out():
    one, now, found = entry(10, jitter=25), 0.0, []
    mark = Mark(at(0).timestamp())
    for _ in range(20):
        step = plan_due(one, mark, at(now), at(0))
        found += step.due
        mark.last = mark.last if step.last is None else step.last.timestamp()
        now = (step.wake - START).total_seconds()
    assert found == [at(10 * number) for number in range(1, len(found) + 1)]


def test_a_long_time_away_is_caught_up_in_pieces():
    one = entry(1, catchup="all")
    first = planned(one, 100_000)
    assert len(first.due) == AT_ONCE
    assert first.wake == at(AT_ONCE + 1)
    bounded = planned(entry(1, catchup="all", deadline=10), 10**8)
    assert bounded.due == tuple(at(10**8 - n) for n in range(10, -1, -1))


def test_jitter_moves_each_occurrence_by_another_time_but_always_by_the_same():
    one = entry(10, jitter=8)
    moved = [offset(one, at(10 * n)) for n in range(1, 50)]
    assert all(timedelta(0) <= by < timedelta(seconds=8) for by in moved)
    assert len(set(moved)) > 40
    assert moved == [offset(entry(10, jitter=8), at(10 * n)) for n in range(1, 50)]
    assert planned(one, 10 + moved[0].total_seconds() - 0.01).due == ()
    assert planned(one, 10 + moved[0].total_seconds() + 0.01).due == (at(10),)


def test_a_clock_that_was_set_back_stops_no_interval_and_repeats_no_time_of_day():
    interval, daily = entry(10), entry("@daily")
    assert planned(interval, 0, last=5000).last == at(0)
    assert planned(interval, 0, last=5000).wake == at(10)
    assert planned(interval, 0, last=3).due == ()
    assert planned(daily, -1800, last=0).wake == at(86_400)
    assert planned(daily, -90_000, last=0).last == at(-90_000)


def test_a_clock_that_was_set_forward_brings_no_burst():
    assert len(planned(entry(), 10**7).due) == 1


def test_an_entry_that_is_never_due_again_waits_for_ever():
    class Never(type(entry().schedules[0])):
        def next(self, after):
            return None

    one = read_entry("e", {"task": "t", "schedule": Never(5)}, UTC)
    assert planned(one, 100).wake is None


def test_several_schedules_are_due_at_each_of_their_times():
    one = entry(["0 12 * * *", "0 18 * * *", "0 12 * * mon"])
    found, after = [], START
    for _ in range(3):
        after = one.next(after)
        found.append(after)
    assert found == [at(12 * 3600), at(18 * 3600), at(36 * 3600)]
