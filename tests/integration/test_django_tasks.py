"""The backend of ``django.tasks``: tasks of Django run by a worker, with results and signals as Django has them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django_here import configured, forgotten, notes
from waiting import wait_for

from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, resolve

pytest.importorskip("django.tasks", reason="Django 6")

from django.db import connections
from django.tasks import TaskResultStatus, signals, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.utils import timezone

from amqtask.contrib.django.backend import _options

pytestmark = pytest.mark.rabbitmq
configured()


@pytest.fixture
def jobs(monkeypatch, vhost_url, tmp_path):
    monkeypatch.setenv("AMQTASK_APP", "django_jobs:app")
    import django_jobs

    places = {"broker_url": vhost_url, "result_backend": f"file://{tmp_path}", "task_queues": ["mail"]}
    with django_jobs.app.rebound(**places, result_track_sent=True):
        yield django_jobs
    connections.close_all()
    forgotten()


@pytest.fixture
def worker(jobs):
    app = jobs.app
    requested = Requested(pool="threads", hostname="w@here", queues=("amqtask", "mail"))
    with EmbeddedWorker(app, resolve(requested, app.topology, app.settings)) as worker:
        yield worker


@contextmanager
def receiving(signal, receiver):
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def ended(result):
    wait_for(lambda: result.refresh() or result.is_finished)
    return result


def test_tasks_run_and_their_results_can_be_read(jobs, worker):
    sent = jobs.add.enqueue(1, y=2)
    assert (sent.status, sent.backend) == (TaskResultStatus.READY, "default")
    assert ended(sent).return_value == 3
    found = jobs.add.get_result(sent.id)
    assert (found.status, found.return_value, found.worker_ids) == (TaskResultStatus.SUCCESSFUL, 3, ["w@here"])
    assert found.enqueued_at <= found.started_at <= found.finished_at


def test_a_task_may_ask_for_its_context(jobs, worker):
    sent = jobs.tell.enqueue("a")
    assert ended(sent).return_value == ["a", 1, sent.id, ["a"]]


def test_coroutines_queues_and_priorities(jobs, worker):
    sent = asyncio.run(jobs.mail.aenqueue("a"))
    assert ended(sent).return_value == "A"
    assert jobs.app.AsyncResult(sent.id).queue == "mail"


def test_priorities_keep_their_order_and_that_of_tasks_which_name_none_is_the_middle(jobs):
    given = {priority: _options(jobs.add.using(priority=priority))["priority"] for priority in (-100, -50, 50, 100)}
    assert given == {-100: 0, -50: 2, 50: 6, 100: 9}
    assert _options(jobs.add)["priority"] == 4


def test_a_task_that_fails_tells_why(jobs, worker):
    sent = ended(jobs.fail.enqueue())
    (error,) = sent.errors
    assert sent.status == TaskResultStatus.FAILED
    assert error.exception_class is LookupError
    assert "nothing there" in error.traceback


def test_a_task_with_a_time_waits_for_it(jobs, worker):
    due = timezone.now() + timedelta(seconds=0.3)
    sent = ended(jobs.add.using(run_after=due).enqueue(1))
    assert sent.started_at >= due


def test_djangos_signals_are_sent(jobs, worker):
    told = []

    def note(signal, task_result, **_):
        told.append((signal, task_result.id, task_result.status))

    for signal in (signals.task_enqueued, signals.task_started, signals.task_finished):
        signal.connect(note)
    good, bad = jobs.add.enqueue(1), jobs.fail.enqueue()
    wait_for(lambda: len(told) == 6)
    for sent, end in ((good, "SUCCESSFUL"), (bad, "FAILED")):
        mine = [(signal, status) for signal, task_id, status in told if task_id == sent.id]
        assert (signals.task_enqueued, "READY") in mine  # the worker may have been faster
        assert [one for one in mine if one[0] is not signals.task_enqueued] == [
            (signals.task_started, "RUNNING"),
            (signals.task_finished, end),
        ]


def test_receivers_of_what_a_coroutine_enqueues_may_wait_and_ask_the_database(jobs):
    told = []

    def ask(task_result, **_):
        told.append((task_result.id, notes()))

    async def wait(task_result, **_):
        told.append((task_result.id, "waited"))

    with receiving(signals.task_enqueued, ask), receiving(signals.task_enqueued, wait):
        sent = asyncio.run(jobs.mail.aenqueue("a"))
    assert told == [(sent.id, []), (sent.id, "waited")]


def test_the_signal_of_the_end_tells_when_it_was_sent_and_began(jobs, worker):
    told = []
    with receiving(signals.task_finished, lambda task_result, **_: told.append(task_result)):
        jobs.nap.enqueue(0.05)
        wait_for(lambda: told)
    (end,) = told
    assert end.enqueued_at <= end.started_at == end.last_attempted_at
    assert end.finished_at - end.started_at >= timedelta(seconds=0.05)


def test_what_is_not_stored_does_not_exist(jobs):
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result("nobody")


def test_a_queue_that_tasks_does_not_name_is_refused(jobs):
    with pytest.raises(InvalidTask, match="elsewhere"):
        jobs.add.using(queue_name="elsewhere")


def test_a_project_that_could_not_look_at_results_in_time_is_warned(jobs):
    backend = task_backends["default"]
    assert backend.check() == []
    with jobs.app.rebound(result_track_sent=False):
        assert [message.id for message in backend.check()] == ["amqtask.W002"]
    with jobs.app.rebound(result_backend="rpc://", result_track_sent=False):
        assert backend.check() == []
        assert not backend.supports_get_result
