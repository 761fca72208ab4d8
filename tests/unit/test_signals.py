"""Signals: connecting, sending, forgetting; and those that tasks and their senders send."""

from __future__ import annotations

import gc

import pytest

from amqtask import Amqtask, Queue, Retry, signals
from amqtask.signals import (
    Signal,
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    task_retry,
    task_success,
)


@pytest.fixture
def signal():
    return Signal("something", "value")


@pytest.fixture
def heard():
    """Connects to signals and notes what comes, until the end of the test."""
    notes, connected = [], []

    def listen(*several, **options):
        for one in several:

            def receiver(sender, signal, **named):
                notes.append((signal.name, getattr(sender, "name", sender), named))

            one.connect(receiver, weak=False, **options)
            connected.append((one, receiver, options))
        return notes

    yield listen
    for one, receiver, options in connected:
        one.disconnect(receiver, **options)


@pytest.fixture
def app():
    return Amqtask("told", task_always_eager=True, task_queues=[Queue("work", type="classic")])


def test_receivers_are_called_in_order_with_what_is_sent(signal):
    calls = []

    @signal.connect
    def first(sender, value, **_):
        calls.append(("first", sender, value))
        return 1

    @signal.connect(sender="here")
    def second(value, **_):
        calls.append(("second", value))
        return 2

    assert signal.send("here", value=7) == [(first, 1), (second, 2)]
    assert calls == [("first", "here", 7), ("second", 7)]
    assert signal.send("elsewhere", value=8) == [(first, 1)]


def test_what_a_receiver_raises_is_logged_and_the_others_are_called(signal, caplog):
    @signal.connect
    def fails(**_):
        raise ValueError("no")

    @signal.connect
    def works(**_):
        return "fine"

    (failed, worked) = signal.send(None)
    assert isinstance(failed[1], ValueError)
    assert worked == (works, "fine")
    assert "a receiver of something failed" in caplog.text


def test_a_receiver_that_nobody_holds_is_forgotten_unless_held_strongly(signal):
    signal.connect(lambda **_: "weak")
    signal.connect(lambda **_: "strong", weak=False)
    gc.collect()
    assert [answer for _, answer in signal.send(None)] == ["strong"]


def test_a_bound_method_is_held_as_long_as_its_object(signal):
    class Listener:
        def hear(self, **_):
            return "heard"

    listener = Listener()
    signal.connect(listener.hear)
    assert [answer for _, answer in signal.send(None)] == ["heard"]
    del listener
    gc.collect()
    assert signal.receivers == ()


def test_connecting_twice_calls_once_and_disconnecting_ends_it(signal):
    def receiver(**_):
        return 1

    signal.connect(receiver)
    signal.connect(receiver)
    assert len(signal.send(None)) == 1
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    assert not signal.has_listeners()


def test_a_dispatch_uid_replaces_the_former_receiver(signal):
    signal.connect(lambda **_: "old", weak=False, dispatch_uid="me")
    signal.connect(lambda **_: "new", weak=False, dispatch_uid="me")
    assert [answer for _, answer in signal.send(None)] == ["new"]


def test_a_coroutine_function_is_refused_for_nobody_would_await_it(signal):
    async def receiver(**_): ...

    with pytest.raises(TypeError, match="plain function"):
        signal.connect(receiver)


def test_a_task_tells_of_its_begin_and_its_end(app, heard):
    @app.task(name="add", queue="work")
    def add(x, y):
        return x + y

    notes = heard(task_prerun, task_success, task_postrun)
    result = add.apply((1,), {"y": 2})
    names = [name for name, *_ in notes]
    assert names == ["task_prerun", "task_success", "task_postrun"]
    assert {sender for _, sender, _ in notes} == {"add"}
    told = [named for *_, named in notes]
    assert (told[0]["task_id"], told[0]["args"], told[0]["kwargs"]) == (result.id, [1], {"y": 2})
    assert told[1]["result"] == 3
    assert (told[2]["retval"], told[2]["state"]) == (3, "SUCCESS")


def test_a_task_that_retries_and_fails_tells_why(app, heard):
    @app.task(name="again", bind=True, queue="work", max_retries=1)
    def again(self):
        raise self.retry(exc=ValueError("no"), countdown=0)

    notes = heard(task_retry, task_failure, task_postrun)
    again.apply()
    assert [(name, named.get("state")) for name, _, named in notes] == [
        ("task_retry", None),
        ("task_postrun", "RETRY"),
        ("task_failure", None),
        ("task_postrun", "FAILURE"),
    ]
    failure = notes[2][2]
    assert repr(failure["exception"]) == "ValueError('no')"
    assert "self.retry(" in str(failure["einfo"])
    assert failure["einfo"].type is ValueError
    reason = notes[0][2]["reason"]
    assert (type(reason), repr(reason.exc), reason.when) == (Retry, "ValueError('no')", 0)
    assert notes[1][2]["retval"] is reason
    assert notes[0][2]["request"].task == "again"


@pytest.mark.parametrize("by", ["task", "name"])
def test_a_receiver_may_be_for_one_task_only(app, heard, by):
    one = app.task(name="one", queue="work")(lambda: None)
    two = app.task(name="two", queue="work")(lambda: None)
    notes = heard(task_prerun, before_task_publish, sender=one if by == "task" else "one")
    one.apply()
    two.apply()
    assert [(name, sender) for name, sender, _ in notes] == [("before_task_publish", "one"), ("task_prerun", "one")]


def test_async_tasks_tell_as_well(app, heard):
    @app.task(name="anoop", queue="work")
    async def anoop():
        return 5

    notes = heard(task_prerun, task_postrun)
    anoop.apply()
    assert [(name, named.get("retval")) for name, _, named in notes] == [("task_prerun", None), ("task_postrun", 5)]


def test_headers_that_a_receiver_adds_reach_the_task(app):
    @app.task(name="look", bind=True, queue="work")
    def look(self):
        return dict(self.request.headers)

    @before_task_publish.connect
    def trace(sender, body, headers, exchange, routing_key, **_):
        headers["x-trace"] = f"{sender} {body[0]} {exchange!r} {routing_key}"

    assert look.apply().get()["x-trace"] == "look () '' work"


def test_the_task_is_the_current_one_while_its_signals_are_sent(app):
    ids = []

    @app.task(name="current", bind=True, queue="work")
    def current(self):
        return self.request.id

    @task_prerun.connect
    @task_postrun.connect
    def note(task, **_):
        ids.append(task.request.id)

    assert current.apply().get() == ids[0] == ids[1]


def test_every_name_of_celery_is_there_with_its_arguments():
    import celery.signals as theirs

    ours = {name: one for name, one in vars(signals).items() if isinstance(one, Signal)}
    known = {name for name in theirs.__all__ if not name.startswith("eventlet_")}
    assert known - set(ours) == set()
    for name in known:
        given = set(getattr(theirs, name).providing_args or ())
        assert given <= ours[name].providing_args, name


def test_a_receiver_may_die_while_another_one_is_connected():
    signal = Signal("test")

    def mortal(**_):
        """To be forgotten."""

    signal.connect(mortal)
    with signal._lock:  # garbage may be collected anywhere, and so also here
        del mortal
    assert signal.receivers == ()
