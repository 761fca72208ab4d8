"""What is counted of tasks for Prometheus: outcomes, dead letters, times, and whose names get a series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from worker_messages import delivery

from amqtask import clock
from amqtask.execution.job import Kind, Outcome
from amqtask.topology.declarations import Queue
from amqtask.wire.ids import born
from amqtask.wire.message import Properties
from amqtask.worker.deliveries.outcome import DEAD_REASONS, Effects
from amqtask.worker.metrics.tasks import BUCKETS, OUTCOMES, UNKNOWN, TaskMetrics
from amqtask.worker.metrics.waits import waited

NOW = 1_800_000_000.0


def id_of(seconds: float) -> str:
    """A message id that was made then."""
    digits = f"{int(seconds * 1000):012x}"
    made = f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
    assert born(made) == seconds
    return made


@pytest.fixture
def tasks():
    return TaskMetrics({"t", "other"}.__contains__, {"amqtask.own": None})


def end(tasks, made, kind, *, runtime=0.0, dropped=(), park=(5.0,)):
    outcome = Outcome(made.key, kind, runtime, "text", delay=1.0)
    tasks.ended(made, outcome, Effects(Queue, "w@h", park, 3, dropped).of(made, outcome))


def series(tasks, name="t", queue="q"):
    return dict(tasks.series())[name, queue]


def test_every_way_to_end_has_a_word_and_dead_letters_are_counted(tasks):
    for kind in Kind:
        end(tasks, delivery(), kind)
        assert series(tasks).ended[OUTCOMES[kind]] == 1
    counted = series(tasks)
    assert set(OUTCOMES) == set(Kind)
    assert counted.ended == dict.fromkeys(OUTCOMES.values(), 1)
    assert counted.dead == len(DEAD_REASONS) - 1  # an unknown task waits first
    end(tasks, delivery(), Kind.UNKNOWN_TASK, park=())
    assert counted.dead == len(DEAD_REASONS)


def test_what_the_settings_drop_has_failed_and_is_no_dead_letter(tasks):
    end(tasks, delivery(), Kind.FAILED, dropped=[Kind.FAILED])
    assert (series(tasks).ended["failed"], series(tasks).dead) == (1, 0)


def test_a_lost_process_and_a_followup_that_cannot_be_sent_are_ends_of_their_own(tasks):
    effects, made = Effects(Queue, "w@h", [], 3, ()), delivery()
    tasks.lost(made, effects.of_loss(made, "signal 9"), "signal 9")
    assert (series(tasks).ended["worker_lost"], series(tasks).dead) == (1, 0)
    early = delivery()
    early.early = True
    tasks.lost(early, effects.of_loss(early, "signal 9"), "signal 9")
    assert (series(tasks).ended["worker_lost"], series(tasks).dead) == (2, 1)
    tasks.unsendable(made, Kind.SUCCESS, effects.of_loss(early, ""))
    assert (series(tasks).ended["unsendable"], series(tasks).dead) == (1, 2)


def test_names_of_other_clients_make_no_series(tasks):
    for number in range(1000):
        tasks.received(delivery(task=f"stranger-{number}"))
        end(tasks, delivery(task=None), Kind.UNKNOWN_TASK)
    tasks.received(delivery(task="other"))
    assert [key for key, _ in tasks.series()] == [(UNKNOWN, "q"), ("other", "q")]
    assert (series(tasks, UNKNOWN).received, series(tasks, UNKNOWN).ended["unknown_task"]) == (1000, 1000)


def test_the_tasks_of_the_worker_itself_are_not_counted(tasks):
    tasks.received(delivery(task="amqtask.own"))
    assert tasks.series() == []


def test_a_task_that_is_expected_is_there_with_zeros_and_keeps_what_it_has(tasks):
    tasks.expect("t", "q")
    assert series(tasks).ended == {"succeeded": 0, "retried": 0, "failed": 0}
    tasks.received(delivery())
    tasks.expect("t", "q")
    assert series(tasks).received == 1


def test_new_series_do_not_disturb_who_reads(tasks):
    for name in ("t", "other"):
        tasks.expect(name, "q")
    reading = iter(tasks.series())
    next(reading)
    tasks.expect("t", "another queue")
    assert [key for key, _ in reading] == [("other", "q")]


def test_run_times_fall_into_their_buckets_and_what_was_not_run_has_none(tasks):
    for seconds in (0.005, 0.0051, 7200.0, 0.0):
        end(tasks, delivery(), Kind.SUCCESS, runtime=seconds)
    times = series(tasks).runtime
    assert (times.counts[0], times.counts[1], times.counts[-1], sum(times.counts)) == (1, 1, 1, 3)
    assert times.sum == pytest.approx(7200.0101)
    assert list(BUCKETS) == sorted(BUCKETS)


def test_a_start_tells_how_long_the_message_has_waited(tasks, monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: NOW)
    tasks.started(delivery(message_id=id_of(NOW - 2)))
    tasks.started(delivery(message_id="of another client"))
    assert (series(tasks).started, sum(series(tasks).waits.counts)) == (2, 1)
    assert series(tasks).waits.sum == 2


def iso(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def death(seconds, zone=UTC):
    return [{"queue": "q.retry.5000", "time": datetime.fromtimestamp(seconds, UTC).replace(tzinfo=zone)}, {}]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 60),
        ({"eta": None}, 60),
        ({"eta": iso(NOW - 3)}, 3),
        ({"eta": iso(NOW - 300)}, 60),  # sent when it was due long since
        ({"eta": iso(NOW + 3)}, None),
        ({"eta": "soon"}, 60),
        ({"eta": 7, "x-death": 7}, 60),
        ({"x-death": death(NOW - 2)}, 2),
        ({"x-death": death(NOW - 2, None)}, 2),
        ({"x-death": [{"time": "late"}]}, 60),
        ({"x-death": []}, 60),
    ],
)
def test_a_wait_begins_when_the_message_is_sent_or_its_delay_is_over(headers, expected):
    assert waited(Properties(headers=headers, message_id=id_of(NOW - 60)), NOW) == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (Properties(timestamp=int(NOW) - 9), 9),
        (Properties(timestamp=int(NOW) + 9), 0),
        (Properties(message_id="x" * 36), None),
        (Properties(message_id=b"\xff"), None),
        (Properties(timestamp=datetime.now(tz=UTC) - timedelta(days=1)), None),
        (Properties(headers={"eta": iso(NOW - 4)}), 4),
    ],
)
def test_of_messages_of_other_clients_what_they_tell_is_taken(properties, expected):
    assert waited(properties, NOW) == expected
