"""What is sent when one scheduler takes over from another, and what they say of each other."""

from __future__ import annotations

import os
from datetime import UTC

import pytest
from beat_world import after, tell, warnings_of, world

from amqtask.schedules.entry import read_entry


def test_what_becomes_due_while_the_leader_is_busy_is_sent_and_what_nobody_could_send_is_missed():
    made = world(one={"schedule": 1})
    begun = made.now
    made.now += 3.5
    tell(made, "command", do="update", name="one", spec={"args": [1]})  # is read before it looks at the clock
    assert made.sent("one") == [begun + 1, begun + 2, begun + 3]
    made.cut(made.active)
    made.now += 3  # nobody is there
    made.start()
    made.now += 2  # reading the log takes it a while
    made.settle()
    made.now += 3  # at once, for somebody sets the clock
    made.active.leader.clock_set()
    made.settle()
    assert [due - begun for due in made.sent("one")] == [1, 2, 3, 6, 7, 8, 11]  # 4 and 5 were missed, and 9 and 10


@pytest.mark.parametrize("every", [0.1, 1.0])
@pytest.mark.parametrize("gap", [0.06, 0.35, 1.0])
@pytest.mark.parametrize("catchup", ["none", "one"])
def test_what_comes_due_at_a_takeover_is_sent_however_long_reading_the_log_takes(every, gap, catchup):
    made = world(one={"schedule": every, "catchup": catchup})
    made.start()
    begun = made.now
    for _ in range(20):
        after(made, 0.05)
    made.cut(made.active)
    made.now += gap
    made.deliver(1)  # the next one has the log's first record
    after(made, 3.73)
    expected = [round(every * number, 3) for number in range(1, int((made.now - begun) / every) + 1)]
    assert [round(due - begun, 3) for due in made.sent("one")] == expected


def test_a_clock_that_was_set_back_since_a_scheduler_began_to_wait_leaves_nothing_out_when_it_takes_over():
    made = world(one={"schedule": 0.1})
    made.start()  # by a clock that is an hour fast
    made.now -= 3600
    made.active.leader.clock_set()
    after(made, 1)
    before = len(made.sent("one"))
    made.cut(made.active)
    made.deliver(1)
    begun = made.now
    after(made, 3.73)
    assert [round(due - begun, 3) for due in made.sent("one")[before:]] == [round(0.1 * n, 3) for n in range(1, 38)]


def test_of_the_time_for_which_a_frozen_leader_kept_its_place_only_the_newest_due_times_are_sent():
    made = world(one={"schedule": 1})
    made.start()
    begun = made.now
    after(made, 1)
    made.now += 27
    made.cut(made.active)
    made.deliver(1)
    after(made, 3)
    assert [due - begun for due in made.sent("one")] == [1, *range(26, 32)]


def test_who_waits_for_another_one_to_end_says_so_once(caplog):
    caplog.set_level("INFO")
    made = world(one={"schedule": 10})
    waits = made.start()
    made.settle()
    for _ in range(3):
        after(made, 4)
        waits.leader.tick()
    assert caplog.text.count("Another scheduler of app 'app' leads") == 1


def test_a_scheduler_of_the_same_name_with_other_entries_is_told_of_once(caplog):
    made = world(own={"schedule": 10}, both={"schedule": 10})
    made.start()
    made.settle()
    assert warnings_of(caplog) == []
    others = {name: read_entry(name, {"task": "t", "schedule": 10}, UTC) for name in ("both", "theirs")}
    for _ in range(2):
        made.start(others)
        made.settle()
    (warning,) = warnings_of(caplog)
    assert f"pid {os.getpid()}" in warning
    assert "not sent now: theirs; not known there: own." in warning
    made.start({})
    made.settle()
    assert "not sent now: none; not known there: both, own." in warnings_of(caplog)[-1]


def test_of_many_entries_a_warning_names_some(caplog):
    made = world(own={"schedule": 10})
    names = [f"e{number:02}" for number in range(12)]
    made.start({name: read_entry(name, {"task": "t", "schedule": 10}, UTC) for name in names})
    made.settle()
    assert f"not sent now: {', '.join(names[:10])}, 2 more;" in caplog.text


@pytest.mark.parametrize("said", [{"app": "app"}, {}, {"app": "app", "names": 5}, {"app": "app", "names": ["one"]}])
def test_a_claim_of_an_older_version_says_nothing_of_its_entries(caplog, said):
    made = world(one={"schedule": 10})
    tell(made, "claim", **said)
    assert warnings_of(caplog) == []


def test_entries_with_more_names_than_a_claim_should_hold_are_not_compared(caplog):
    long = "x" * 101_000
    made = world(one={"schedule": 10})
    made.start({long: read_entry(long, {"task": "t", "schedule": 10}, UTC)})
    made.settle()
    assert all(len(message.body) < 10_000 for _, message in made.unacked)
    assert warnings_of(caplog) == []
