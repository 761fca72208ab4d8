"""What waits for the result backend: batches, pauses, and what holds up what."""

from __future__ import annotations

import logging
import threading

import pytest
from waiting import wait_for

from amqtask.broker.pika_driver import new_loop
from amqtask.errors import BackendError, ResultTooLarge
from amqtask.results.base import ChordClaimed, Record
from amqtask.worker.followups import backlog as backlog_module
from amqtask.worker.followups.backlog import BATCH, BATCH_BYTES, RETRY_MAX, Backlog, Work, backoff
from amqtask.worker.followups.storing import Storing


def work(task_id, state="SUCCESS", *, waited_for=True):
    return Work([Record(task_id, state, b"")], done=(lambda *_: None) if waited_for else None)


def states(batch):
    return [f"{record.task_id} {record.state}" for one in batch for record in one.records]


def test_everything_that_waits_goes_in_one_batch_up_to_a_limit():
    backlog = Backlog()
    for number in range(BATCH + 2):
        backlog.add(work(str(number)))
    assert len(backlog.take(0.0)) == BATCH
    assert len(backlog.take(0.0)) == 2
    assert backlog.take(0.0) == []
    assert backlog.pause(0.0) is None


def test_large_documents_do_not_all_go_in_one_batch():
    backlog = Backlog()
    for number in range(5):
        backlog.add(Work([Record(str(number), "SUCCESS", bytes(BATCH_BYTES // 2))]))
    backlog.add(Work([Record("huge", "SUCCESS", bytes(2 * BATCH_BYTES))]))
    assert [len(backlog.take(0.0)) for _ in range(4)] == [2, 2, 1, 1]


def test_nothing_is_tried_before_the_pause_after_a_failure_is_over_and_then_new_work_first():
    backlog = Backlog()
    backlog.add(work("a"))
    backlog.add(work("b"))
    assert backlog.failed(backlog.take(10.0), 10.0) == backoff(1)
    backlog.add(work("c"))
    assert backlog.take(10.1) == []
    assert backlog.pause(10.1) == pytest.approx(0.4)
    assert states(backlog.take(10.6)) == ["c SUCCESS"]
    assert states(backlog.take(10.6)) == ["a SUCCESS"], "what has failed together goes alone"
    assert states(backlog.take(10.6)) == ["b SUCCESS"]


def test_one_odd_record_does_not_hold_up_the_others():
    backlog, now, stored = Backlog(), 0.0, []
    backlog.add(work("odd"))
    for number in range(20):
        backlog.add(work(str(number)))
        while batch := backlog.take(now):
            if any(one.task_ids == {"odd"} for one in batch):
                backlog.failed(batch, now)
            else:
                backlog.succeeded()
                stored += states(batch)
        now += 1.0
    assert len(set(stored)) == 20
    assert len(backlog) == 1


def test_pauses_grow_and_work_that_waited_is_due_when_the_backend_works_again():
    backlog, now = Backlog(), 0.0
    backlog.add(work("a"))
    pauses = []
    for _ in range(10):
        now += backlog.pause(now)
        pauses.append(backlog.failed(backlog.take(now), now))
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY_MAX
    backlog.add(work("b"))
    now += backlog.pause(now)
    assert states(backlog.take(now)) == ["b SUCCESS"]
    assert backlog.succeeded() == 10
    assert states(backlog.take(now)) == ["a SUCCESS"]


def test_records_of_one_task_keep_their_order_when_they_fail():
    backlog = Backlog()
    backlog.add(work("a", "RETRY"))
    backlog.failed(backlog.take(0.0), 0.0)
    backlog.add(work("a", "SUCCESS"))
    assert states(backlog.take(9.0)) == ["a RETRY"]
    assert states(backlog.take(9.0)) == ["a SUCCESS"]


def test_newer_record_waits_for_an_older_one_that_is_not_due_yet_and_that_is_told():
    backlog = Backlog()
    backlog.add(work("a", "RETRY"))
    for _ in range(5):
        backlog.failed(backlog.take(100.0), 0.0)
    backlog.succeeded()
    backlog.add(work("b"))
    backlog.failed(backlog.take(100.0), 100.0)
    backlog.add(work("a", "SUCCESS"))
    assert backlog.pause(100.0) > 0


def test_state_that_nobody_waits_for_gives_way_to_a_newer_one():
    backlog = Backlog()
    backlog.add(work("a", "STARTED", waited_for=False))
    backlog.failed(backlog.take(0.0), 0.0)
    backlog.add(work("a", "SUCCESS"))
    assert states(backlog.take(9.0)) == ["a SUCCESS"]
    assert len(backlog) == 0


def test_call_that_needs_no_backend_does_not_wait_for_it():
    backlog = Backlog()
    backlog.add(work("a"))
    backlog.failed(backlog.take(0.0), 0.0)
    call = Work(call=lambda: 1, backend=False)
    backlog.add(call)
    assert backlog.take(0.0) == [call]


class Store:
    """A backend that fails while ``error`` is set, and remembers what it was given."""

    def __init__(self):
        self.error = None
        self.calls = []

    def store(self, records):
        self.calls.append([record.task_id for record in records])
        if self.error is not None:
            raise self.error


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def storing(store, monkeypatch):
    monkeypatch.setattr(backlog_module, "RETRY_FIRST", 0.001)
    loop = new_loop()
    thread = threading.Thread(target=loop.run)
    thread.start()
    made = Storing(loop, store)
    yield made
    made.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "amqtask-results"]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_trouble_is_told_once_and_its_end_once(storing, store, caplog):
    store.error, told = BackendError("down"), []
    with caplog.at_level(logging.INFO, "amqtask.worker"):
        storing.store([Record("a", "SUCCESS", b"")], told.append)
        wait_for(lambda: len(store.calls) > 5)
        assert told == []
        store.error = None
        wait_for(lambda: told == [None])
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "down" in caplog.text


def test_only_the_record_that_is_too_large_is_refused(storing, store):
    told = {}

    def store_some(records):
        if any(record.task_id == "large" for record in records):
            raise ResultTooLarge("20 MB")

    store.store = store_some
    for name in ("small", "large", "tiny"):
        storing.store([Record(name, "SUCCESS", b"")], lambda error, name=name: told.update({name: error}))
    wait_for(lambda: len(told) == 3)
    assert told["small"] is told["tiny"] is None
    assert isinstance(told["large"], ResultTooLarge)


def test_call_of_the_backend_is_repeated_and_other_errors_are_told(storing):
    told, answers = [], [BackendError("down"), BackendError("down"), 7]

    def ask():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    storing.run(ask, lambda result, error: told.append((result, error)), backend=True)
    wait_for(lambda: told == [(7, None)])
    storing.run(lambda: 1 / 0, lambda result, error: told.append(type(error)), backend=True)
    wait_for(lambda: told[1:] == [ZeroDivisionError])


def test_chord_that_another_one_goes_on_with_is_looked_at_again_and_holds_up_nothing_else(
    storing, store, caplog, monkeypatch
):
    monkeypatch.setattr(backlog_module, "RETRY_FIRST", 30.0)
    told, stored, looks = [], [], []

    def look():
        looks.append(1)
        raise ChordClaimed("look again")

    storing.run(look, lambda *_: told.append(1), backend=True)
    wait_for(lambda: looks)
    storing.store([Record("a", "SUCCESS", b"")], stored.append)
    wait_for(lambda: stored == [None])
    assert (told, looks, storing.waiting) == ([], [1], 1)
    assert not caplog.records


def test_chord_that_another_one_went_on_with_is_told_once_it_is_over(storing):
    told, answers = [], [ChordClaimed("look again"), ChordClaimed("look again"), None]

    def look():
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    storing.run(look, lambda result, error: told.append((result, error)), backend=True)
    wait_for(lambda: told == [(None, None)])


def test_without_a_backend_nothing_is_stored_and_no_thread_is_needed(storing):
    told = []
    bare = Storing(storing._loop, None)
    storing._loop.call_soon_threadsafe(lambda: bare.store([Record("a", "SUCCESS", b"")], told.append))
    wait_for(lambda: told == [None])
    assert bare._thread is None
