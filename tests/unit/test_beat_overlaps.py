"""What the scheduler does, and says, while the run before has not ended."""

from __future__ import annotations

import pytest
from beat_world import LOG, after, last_id, tell, warnings_of, world

from amqtask.schedules.records import HEADER, record_message


def test_a_run_that_has_not_ended_makes_the_next_one_wait_its_turn():
    made = world(skip={"schedule": 10, "overlap": "skip"}, buffer={"schedule": 10, "overlap": "buffer_one"})
    after(made, 10)
    ids = {one.properties.headers[HEADER]["entry"]: one.properties.headers["id"] for one in made.tasks}
    after(made, 10)
    after(made, 10)
    assert (len(made.sent("skip")), len(made.sent("buffer"))) == (1, 1)
    tell(made, "ended", entry="buffer", id=ids["buffer"])
    tell(made, "ended", entry="skip", id=ids["skip"])
    assert (len(made.sent("skip")), len(made.sent("buffer"))) == (1, 2)
    after(made, 10)
    assert (len(made.sent("skip")), len(made.sent("buffer"))) == (2, 2)


def test_a_run_that_has_not_ended_is_cancelled():
    made = world(one={"schedule": 10, "overlap": "cancel_previous"})
    after(made, 10)
    first = last_id(made)
    after(made, 10)
    assert made.active.cancelled == [first]
    assert len(made.sent("one")) == 2


def test_what_was_skipped_is_not_caught_up_by_the_next_leader():
    made = world(one={"schedule": 10, "overlap": "skip"})
    after(made, 10)
    first = last_id(made)
    after(made, 10)
    tell(made, "ended", entry="one", id=first)
    made.cut(made.active)
    made.start()
    made.settle()
    assert len(made.sent("one")) == 1
    after(made, 10)
    assert len(made.sent("one")) == 2


def test_the_next_leader_knows_what_runs():
    made = world(one={"schedule": 10, "overlap": "skip"})
    after(made, 10)
    first = last_id(made)
    made.cut(made.active)
    made.start()
    made.settle()
    after(made, 10)
    assert len(made.sent("one")) == 1
    tell(made, "ended", entry="one", id=first)
    after(made, 10)
    assert len(made.sent("one")) == 2


def test_a_run_whose_end_is_never_told_counts_as_ended_after_a_day():
    made = world(one={"schedule": "@hourly", "overlap": "skip"})
    after(made, 3600)
    after(made, 86_400)
    assert len(made.sent("one")) == 2


@pytest.mark.parametrize("policy", ["skip", "buffer_one"])
def test_of_a_run_that_does_not_end_one_warning_says_how_to_go_on(policy, caplog):
    made = world(one={"schedule": 600, "overlap": policy})
    after(made, 600)
    first = last_id(made)
    for _ in range(9):
        after(made, 600)
    assert warnings_of(caplog) == []
    for _ in range(5):
        after(made, 600)
    (warning,) = warnings_of(caplog)
    assert f"its run {first}, due 20" in warning
    made.put(record_message(LOG, "command", {"do": "run_now", "name": "one"}))
    made.settle()
    tell(made, "ended", entry="one", id=last_id(made))
    after(made, 600)
    runs = [message.properties.headers["id"] for message in made.tasks]
    assert len(set(runs)) == len(runs) > 2
    assert len(warnings_of(caplog)) == 1
    for _ in range(11):
        after(made, 600)
    assert len(warnings_of(caplog)) == 2


def test_a_run_that_takes_an_hour_or_ten_intervals_is_nothing_to_warn_of(caplog):
    made = world(often={"schedule": 60, "overlap": "skip"}, daily={"schedule": 6 * 3600, "overlap": "skip"})
    after(made, 60)
    for _ in range(60):
        after(made, 60)
    assert warnings_of(caplog) == []
    after(made, 60)
    assert len(warnings_of(caplog)) == 1
    for _ in range(4):
        after(made, 6 * 3600)
    assert not any("daily" in warning for warning in warnings_of(caplog))


def test_an_entry_says_after_what_time_a_run_counts_as_ended_although_nobody_said_so(caplog):
    made = world(
        one={"schedule": 600, "overlap": "skip", "overlap_timeout": "30m"}, usual={"schedule": 600, "overlap": "skip"}
    )
    after(made, 600)
    for _ in range(5):
        after(made, 600)
    assert (len(made.sent("one")), len(made.sent("usual"))) == (2, 1)
    assert "counts as ended after 30m" in caplog.text
    made.cut(made.active)
    made.start()
    made.settle()
    after(made, 600)
    assert len(made.sent("one")) == 3


@pytest.mark.parametrize(("policy", "runs"), [("skip", 1), ("buffer_one", 2)])
def test_a_run_that_is_released_by_hand_holds_up_no_other(policy, runs):
    made = world(one={"schedule": 10, "overlap": policy})
    after(made, 10)
    first = last_id(made)
    after(made, 10)
    tell(made, "command", do="release", name="one", run="another one, which has ended meanwhile")
    assert len(made.sent("one")) == 1
    tell(made, "command", do="release", name="one", run=first)
    assert len(made.sent("one")) == runs  # what waited for its end is sent at once
    made.cut(made.active)
    made.start()
    made.settle()
    assert len(made.sent("one")) == runs
    if policy == "skip":
        after(made, 10)
        assert len(made.sent("one")) == 2


@pytest.mark.parametrize("takes_in", [0, 61])
@pytest.mark.parametrize("catchup", ["none", "one"])
def test_what_waits_for_the_end_of_a_run_is_sent_by_the_next_leader_whenever_that_end_comes(catchup, takes_in):
    for meanwhile in (True, False):
        made = world(one={"schedule": 100, "overlap": "buffer_one", "catchup": catchup})
        after(made, 100)
        first = last_id(made)
        after(made, takes_in)  # with a snapshot, or without
        after(made, 100 - takes_in)
        after(made, 80)
        made.cut(made.active)
        if meanwhile:
            made.put(record_message(LOG, "ended", {"entry": "one", "id": first}))
        made.start()
        made.settle()
        if not meanwhile:
            tell(made, "ended", entry="one", id=first)
        assert len(made.sent("one")) == 2
        made.cut(made.active)
        made.start()
        made.settle()
        assert len(made.sent("one")) == 2


def test_what_waited_is_sent_once_though_its_record_comes_back_after_the_end():
    made = world(one={"schedule": 100, "overlap": "buffer_one"})
    after(made, 100)
    made.put(record_message(LOG, "ended", {"entry": "one", "id": last_id(made)}))
    made.now += 100
    made.active.leader.tick()
    made.settle()
    assert len(made.sent("one")) == 2
    tell(made, "ended", entry="one", id=last_id(made))
    assert len(made.sent("one")) == 2


def test_a_run_that_is_sent_long_after_its_due_time_has_all_its_time():
    made = world(one={"schedule": 3600, "overlap": "skip", "catchup": "all", "overlap_timeout": "30m"})
    made.cut(made.active)
    made.now += 5 * 3600 + 10
    made.start()
    made.settle()
    made.cut(made.active)
    made.start()
    made.settle()
    assert len(made.sent("one")) == 1


def test_the_end_of_a_run_that_was_released_does_not_end_the_one_after_it():
    made = world(one={"schedule": 10, "overlap": "skip"})
    after(made, 10)
    first = last_id(made)
    tell(made, "command", do="release", name="one", run=first)
    after(made, 10)
    tell(made, "ended", entry="one", id=first)
    after(made, 10)
    assert len(made.sent("one")) == 2
