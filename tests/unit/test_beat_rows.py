"""Rows of a table in the scheduler's state: they go through the log, and the log says what is in force."""

from __future__ import annotations

from datetime import UTC

from beat_world import LOG, World

from amqtask.schedules.entry import read_entry
from amqtask.schedules.records import record_message

ROW = {"task": "t", "schedule": "10s", "args": [1]}


def world(**given) -> World:
    made = World({name: read_entry(name, {"task": "t", **one}, UTC) for name, one in given.items()})
    made.start()
    made.settle()
    return made


def say(made: World, name: str, spec) -> None:
    made.active.leader.rows({name: spec})
    made.settle()


def tell(made: World, do: str, name: str, **data) -> None:
    made.put(record_message(LOG, "command", {"do": do, "name": name, **data}))
    made.settle()


def entry(made: World, name: str):
    return made.active.leader.entries.get(name)


def pass_on(made: World) -> None:
    made.cut(made.active)
    made.start()
    made.settle()


def test_a_row_is_an_entry_for_the_next_leader_too_and_gone_with_all_it_has_done():
    made = world()
    say(made, "r", ROW)
    made.now += 10
    made.settle()
    pass_on(made)
    assert (entry(made, "r").args, len(made.sent("r"))) == ((1,), 1)
    say(made, "r", None)
    pass_on(made)
    assert entry(made, "r") is None
    assert "r" not in made.active.leader.state.marks


def test_a_row_as_it_was_is_not_written_again():
    made = world()
    say(made, "r", ROW)
    made.active.leader.rows({"r": dict(ROW)})
    assert not made.active.outbox


def test_a_change_of_arguments_leaves_the_due_times_as_they_are():
    made = world()
    say(made, "r", ROW)
    last = made.active.leader.state.marks["r"].last
    made.now += 5
    say(made, "r", {**ROW, "args": [2]})
    assert (entry(made, "r").args, made.active.leader.state.marks["r"].last) == ((2,), last)


def test_a_row_changes_what_the_program_declares_and_takes_it_back_with_its_history():
    made = world(d={"schedule": 10, "args": [0]})
    made.now += 10
    made.settle()
    say(made, "d", {"enabled": False, "args": [7]})
    assert (entry(made, "d").enabled, entry(made, "d").args) == (False, (7,))
    say(made, "d", {"args": [7]})
    assert entry(made, "d").enabled
    say(made, "d", None)
    assert entry(made, "d").args == (0,)
    assert made.active.leader.state.marks["d"].runs == 1


def test_a_row_that_says_enabled_ends_a_pause_and_one_that_says_nothing_leaves_it():
    made = world(d={"schedule": 10})
    tell(made, "pause", "d")
    say(made, "d", {"args": [1]})
    assert not entry(made, "d").enabled
    say(made, "d", {"args": [1], "enabled": True})
    assert entry(made, "d").enabled


def test_without_its_table_a_row_is_changed_and_removed_as_what_was_added():
    made = world()
    say(made, "r", {**ROW, "enabled": False})
    tell(made, "resume", "r")
    tell(made, "update", "r", spec={"args": [3]})
    assert (entry(made, "r").enabled, entry(made, "r").args) == (True, (3,))
    say(made, "r", ROW)  # and with it, the table counts
    assert entry(made, "r").args == (1,)
    tell(made, "add", "r", spec={**ROW, "args": [4]})
    assert entry(made, "r").args == (4,)
    tell(made, "remove", "r")
    assert entry(made, "r") is None


def test_a_run_that_is_asked_for_waits_for_its_row(caplog):
    made = world()
    made.active.leader._patience = 60.0
    tell(made, "run_now", "r")
    say(made, "r", ROW)
    assert len(made.sent("r")) == 1
    assert not caplog.text
    assert not made.active.leader._unknown
    tell(made, "run_now", "nobody")
    made.now += 59
    made.active.leader.table_was_read()
    assert made.active.leader.state.asked
    made.now += 1
    made.active.leader.table_was_read()
    assert not made.active.leader.state.asked
    assert "Asked to run 'nobody', but there is no such periodic task" in caplog.text


def test_a_process_that_does_not_lead_writes_nothing():
    made = world()
    standby = made.start()
    made.settle()
    standby.outbox.clear()
    standby.leader.rows({"r": ROW})
    assert not standby.outbox


def test_what_came_at_run_time_is_counted_from_there_by_the_next_leader_too():
    made = world(d={"schedule": 3600})
    tell(made, "add", "added", spec={"task": "t", "schedule": 10})
    tell(made, "update", "d", spec={"schedule": 10})
    say(made, "r", ROW)
    made.cut(made.active)
    made.now += 12  # nobody is there
    made.start()
    made.settle()
    assert [len(made.sent(name)) for name in ("added", "d", "r")] == [1, 1, 1]


def test_many_rows_are_two_records_and_the_next_leader_knows_all_of_them():
    made = world(d={"schedule": 3600})
    before = len(made.unacked)
    made.active.leader.rows({**{f"r{number}": ROW for number in range(30)}, "d": {"args": [1]}, "gone": None})
    made.settle()
    assert len(made.unacked) == before + 2  # the rows, and from when they are counted
    pass_on(made)
    assert (len(made.active.leader.entries), entry(made, "d").args) == (31, (1,))
    made.now += 10
    made.settle()
    assert len(made.sent("r7")) == 1
    made.active.leader.rows(dict.fromkeys(made.active.leader.state.rows))
    made.settle()
    assert list(made.active.leader.entries) == ["d"]
