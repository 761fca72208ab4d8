"""Tasks with a class of their own: hooks around functions and coroutines."""

from __future__ import annotations

import asyncio

import pytest

from amqtask import Amqtask, BaseTask, Queue


@pytest.fixture
def app():
    return Amqtask("hooked", task_always_eager=True, task_queues=[Queue("work", type="classic")])


class Noting(BaseTask):
    notes: list[tuple]

    def __init__(self):
        self.notes = []

    def before_start(self, task_id, args, kwargs):
        self.notes.append(("before_start", args, kwargs))

    def on_success(self, retval, task_id, args, kwargs):
        self.notes.append(("on_success", retval))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self.notes.append(("on_retry", repr(exc)))

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self.notes.append(("on_failure", repr(exc), einfo.type))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        self.notes.append(("after_return", status))


def test_hooks_are_called_around_the_function(app):
    @app.task(base=Noting, queue="work")
    def add(x, y):
        return x + y

    assert add.apply((1,), {"y": 2}).get() == 3
    assert add.notes == [("before_start", (1,), {"y": 2}), ("on_success", 3), ("after_return", "SUCCESS")]
    add.notes.clear()
    assert add(1, 2) == 3
    assert not add.notes


def test_hooks_tell_retries_from_failures(app):
    @app.task(base=Noting, bind=True, queue="work", max_retries=1)
    def again(self):
        raise self.retry(exc=ValueError("no"), countdown=0)

    again.apply()
    assert again.notes[1:3] == [("on_retry", "ValueError('no')"), ("after_return", "RETRY")]
    assert again.notes[4:] == [("on_failure", "ValueError('no')", ValueError), ("after_return", "FAILURE")]


def test_hooks_of_coroutines_may_be_coroutines(app):
    notes = []

    class Async(BaseTask):
        async def on_success(self, retval, task_id, args, kwargs):
            await asyncio.sleep(0)
            notes.append(retval)

    @app.task(base=Async, queue="work")
    async def anadd(x):
        return x

    @app.task(base=Async, queue="work")
    def add(x):
        return x

    assert anadd.apply((5,)).get() == 5
    assert notes == [5]
    assert add.apply((6,)).get() == 6
    assert notes == [5]


def test_a_hook_that_fails_is_logged_and_changes_nothing(app, caplog):
    class Broken(BaseTask):
        def after_return(self, *_):
            raise RuntimeError("defect")

    @app.task(base=Broken, queue="work")
    def noop():
        return 1

    assert noop.apply().get() == 1
    assert "after_return of" in caplog.text


def test_what_is_no_class_of_tasks_is_refused(app):
    with pytest.raises(TypeError, match="subclass of amqtask.BaseTask"):
        app.task(base=dict)(lambda: None)
