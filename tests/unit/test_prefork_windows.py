"""When a child may hold several jobs: only of tasks known to be short."""

from __future__ import annotations

from pool_host import job_for

from amqtask.broker.pika_driver import new_loop
from amqtask.worker.pools.prefork.run_times import SHORT, WINDOW, RunTimes
from amqtask.worker.pools.prefork.slot import Slot


def practised(name: str, runtime: float = 0.0001, runs: int = 10) -> RunTimes:
    run_times = RunTimes()
    for _ in range(runs):
        run_times.observe(name, runtime)
    return run_times


def test_unknown_task_is_not_short() -> None:
    assert not RunTimes().is_short("add")


def test_task_is_short_after_a_handful_of_short_runs_but_not_after_two() -> None:
    assert not practised("add", runs=2).is_short("add")
    assert practised("add", runs=8).is_short("add")


def test_one_long_run_makes_a_task_unknown_at_once() -> None:
    run_times = practised("add")
    run_times.observe("add", SHORT)
    assert not run_times.is_short("add")
    assert not run_times.calm


def test_very_long_run_takes_many_short_ones_to_forget() -> None:
    run_times = practised("add")
    run_times.observe("add", 10.0)
    for _ in range(20):
        run_times.observe("add", 0.0001)
    assert not run_times.is_short("add")


def test_tasks_are_told_apart() -> None:
    run_times = practised("add")
    run_times.observe("report", 3.0)
    assert run_times.is_short("add")
    assert not run_times.is_short("report")


def connected_slot() -> Slot:
    slot = Slot(0, new_loop())
    slot.connect(lambda: None).close()
    return slot


def test_slot_takes_a_window_of_short_jobs_and_nothing_behind_another() -> None:
    slot = connected_slot()
    assert slot.room(1) == 1
    slot.give(job_for(1, "add"), short=True)
    assert slot.room(1) == WINDOW - 1
    slot.give(job_for(2, "report"), short=False)
    assert slot.room(1) == 0
    slot.take(2)
    assert slot.room(1) == WINDOW - 1
    slot.slow_down()
    assert slot.room(1) == 0
    slot.clear()
    assert slot.room(1) == 0


def test_job_that_cannot_be_written_is_refused_and_the_others_go_out() -> None:
    slot = connected_slot()
    for key, value in ((1, "fine"), (2, object()), (3, "\ud800"), (4, "fine")):
        slot.give(job_for(key, "add")._replace(headers={"task": "add", "odd": value}), short=True)
    assert [key for key, _ in slot.flush()] == [2, 3]
    slot.clear()


def test_closed_slot_has_no_room() -> None:
    slot = connected_slot()
    slot.close()
    assert not slot.open
    assert slot.room(WINDOW) == 0
    slot.clear()
