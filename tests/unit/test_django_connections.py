"""Database connections of a Django project around tasks, in threads, coroutines and children."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, reset_queries
from django_here import configured, forgotten, notes, opened, write
from pool_host import Bench, job_for
from waiting import wait_for

import amqtask
from amqtask import signals
from amqtask.contrib.django import Amqtask
from amqtask.contrib.django.connections import Connections, _Inherited, connect
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind
from amqtask.schedules.records import HEADER

configured()


@pytest.fixture(autouse=True)
def _fresh():
    configured()
    connections.close_all()
    reset_queries()
    yield
    connections.close_all()
    forgotten()


@pytest.fixture
def app():
    return Amqtask("shop")


def run(app, task, *args):
    executor = Executor(app, "w@here")
    try:
        return executor.run(job_for(1, task.name, *args))
    finally:
        executor.leave_thread()


@pytest.fixture
def max_age():
    settings = connections["default"].settings_dict
    yield lambda seconds: settings.update(CONN_MAX_AGE=seconds)
    settings.update(CONN_MAX_AGE=0)


@pytest.mark.parametrize(("age", "left"), [(0, []), (60, ["default"]), (None, ["default"])])
def test_a_task_leaves_the_connection_that_conn_max_age_allows(app, max_age, age, left):
    @app.task
    def note():
        write("a")
        assert opened() == ["default"]

    max_age(age)
    assert run(app, note).kind == Kind.SUCCESS
    assert opened() == left


def test_a_task_finds_no_connection_that_has_grown_too_old(app, max_age):
    max_age(60)
    write("a")
    first = connection.connection
    connection.close_at = 0

    @app.task
    def note():
        write("b")
        assert connection.connection is not first

    assert run(app, note).kind == Kind.SUCCESS


def test_a_connection_that_cannot_be_closed_fails_no_task(app, monkeypatch, caplog):
    @app.task
    def note():
        write("a")

    def broken():
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "close_if_unusable_or_obsolete", broken)
        assert run(app, note).kind == Kind.SUCCESS
    assert "could not be closed" in caplog.text


def test_queries_are_forgotten_after_each_task_also_after_one_that_fails(app, max_age):
    @app.task
    def fail():
        write("a")
        assert len(connection.queries) == 1
        raise KeyError

    max_age(None)
    for _ in range(3):
        assert run(app, fail).kind == Kind.FAILED
        assert len(connection.queries_log) == 0


def test_a_task_that_runs_in_place_leaves_the_callers_connection_alone(app):
    @app.task
    def note():
        write("a")

    write("mine")
    mine = connection.connection
    note.apply()
    note()
    assert connection.connection is mine
    assert notes() == ["mine", "a", "a"]


def test_coroutines_have_a_connection_each_which_ends_with_them(app):
    used, raw, closed = set(), [], threading.Semaphore(0)
    both = asyncio.Barrier(2)

    def keep(text):
        write(text)
        used.add((threading.get_ident(), id(connection.connection)))
        close = connection.close
        connection.close = lambda: (close(), raw.append(connection.connection), closed.release())

    @app.task
    async def note(text):
        await sync_to_async(keep)(text)
        await both.wait()
        await sync_to_async(write)(text)

    async def main():
        executor = Executor(app, "w@here")
        outcomes = await asyncio.gather(*(executor.arun(job_for(1, note.name, text)) for text in "ab"))
        assert [outcome.kind for outcome in outcomes] == [Kind.SUCCESS] * 2

    asyncio.run(main())
    assert closed.acquire(timeout=60)
    assert closed.acquire(timeout=60)
    assert len(used) == 2
    assert raw == [None, None]
    assert sorted(notes()) == ["a", "a", "b", "b"]


def test_a_coroutine_that_is_cancelled_does_not_hold_up_the_loop(app):
    entered, leave, held = threading.Event(), threading.Event(), []

    @app.task
    async def slow():
        await sync_to_async(lambda: (entered.set(), held.append(leave.wait(60))))()

    async def main():
        running = asyncio.ensure_future(Executor(app, "w@here").arun(job_for(1, slow.name)))
        await asyncio.to_thread(entered.wait, 10)
        running.cancel()
        await asyncio.wait([running], timeout=60)
        assert running.done()
        leave.set()

    asyncio.run(main())
    wait_for(lambda: held)
    assert held == [True]


def test_a_child_inherits_no_connection(app, max_age):
    @app.task
    def ask():
        write("child")
        (inherited,) = _Inherited.kept
        assert connection.connection is not inherited

    max_age(None)
    write("parent")
    signals.worker_init.send(SimpleNamespace(app=app, options=SimpleNamespace(pool="prefork")))
    assert opened() == []
    write("parent again")  # a receiver of worker_init that comes later
    parents = connection.connection
    with Bench(app, "prefork", 1) as bench:
        (outcome,) = bench.run(job_for(1, ask.name))
    assert outcome.kind == Kind.SUCCESS, outcome.text
    assert connection.connection is parents
    assert notes() == ["parent", "parent again", "child"]


def test_other_pools_keep_the_connections_of_their_process(app):
    write("a")
    signals.worker_init.send(SimpleNamespace(app=app, options=SimpleNamespace(pool="threads")))
    assert opened() == ["default"]


def test_workers_and_schedulers_warn_of_debug(app, caplog):
    signals.worker_init.send(SimpleNamespace(app=app, options=SimpleNamespace(pool="threads")))
    signals.beat_init.send(None)
    assert caplog.text.count("DEBUG is on in Django's settings") == 2


def test_the_scheduler_forgets_queries_when_it_sends(app):
    signals.beat_init.send(None)
    write("a")
    signals.before_task_publish.send("note", headers={"task": "note"})
    assert opened() == ["default"]
    signals.before_task_publish.send("note", headers={HEADER: {}})
    assert opened() == []
    assert len(connection.queries_log) == 0


def test_apps_of_any_class_are_cared_for(app):
    plain = amqtask.Amqtask("plain")
    connect()
    plain.load_tasks()
    plain.load_tasks()
    app.load_tasks()
    assert [[type(one) for one in one_app.middleware] for one_app in (plain, app)] == [[Connections], [Connections]]
