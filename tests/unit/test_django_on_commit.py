"""Tasks of a Django project that are sent when a transaction commits."""

from __future__ import annotations

from contextlib import suppress

import pytest
from django.db import connections, transaction
from django_here import configured, forgotten, notes, write
from recording import RecordingTransport

from amqtask import BaseTask, chain, group
from amqtask.contrib import celery
from amqtask.contrib.django import Amqtask, send_on_commit, shared_task
from amqtask.contrib.django.celery import Celery
from amqtask.errors import BrokerUnavailable, ConfigError, EncodeError
from amqtask.signals import before_task_publish

configured()


@pytest.fixture(autouse=True)
def _left():
    yield
    connections.close_all()
    forgotten()


def routed(app):
    transport = RecordingTransport()
    app.use_transport(transport)

    @app.task(name="note")
    def note(text="", *, more=None):
        write(text)

    return note, transport


@pytest.fixture
def sending():
    configured()
    return routed(Amqtask("shop"))


def ids(transport):
    return [message.properties.correlation_id for message in transport.sent]


def test_a_task_is_sent_after_the_commit_with_the_id_that_was_told_before(sending):
    note, transport = sending
    with transaction.atomic():
        result = note.delay_on_commit("a", more=1)
        assert ids(transport) == []
    assert ids(transport) == [result.id]


def test_after_a_rollback_nothing_is_sent(sending):
    note, transport = sending
    with suppress(KeyError), transaction.atomic():
        note.delay_on_commit("a")
        raise KeyError
    with transaction.atomic():
        with suppress(KeyError), transaction.atomic():
            note.delay_on_commit("inner")
            raise KeyError
        result = note.delay_on_commit("outer")
    assert ids(transport) == [result.id]


def test_outside_of_a_transaction_it_is_sent_at_once(sending):
    note, transport = sending
    result = note.delay_on_commit("a")
    assert ids(transport) == [result.id]


def test_the_database_whose_commit_counts_can_be_chosen(sending):
    note, transport = sending
    with transaction.atomic():
        now = note.apply_async_on_commit(("a",), using="other")
        with transaction.atomic(using="other"):
            later = note.apply_async_on_commit(("a",), {"more": 2}, using="other", countdown=5)
            assert ids(transport) == [now.id]
        assert ids(transport) == [now.id, later.id]
    assert ids(transport) == [now.id, later.id]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda note: note.delay_on_commit("a", "b"), TypeError),
        (lambda note: note.delay_on_commit(object()), EncodeError),
        (lambda note: note.apply_async_on_commit(("a",), contdown=3), TypeError),
        (lambda note: note.apply_async_on_commit(("a",), countdown="soon"), ConfigError),
        (lambda note: note.apply_async_on_commit(("a",), priority=99, link=note.si("b")), ConfigError),
        (lambda note: note.apply_async_on_commit(("a",), headers={"task": "b"}), ConfigError),
    ],
)
def test_what_cannot_be_sent_is_told_while_the_transaction_can_roll_back(sending, call, error):
    note, transport = sending

    @transaction.atomic
    def program():
        write("never")
        call(note)

    with pytest.raises(error):
        program()
    assert notes() == []
    assert ids(transport) == []


def test_receivers_are_told_of_a_task_once_when_it_is_sent(sending):
    note, transport = sending
    told = []

    def tell(headers, **_):
        told.append((headers["id"], len(transport.sent)))

    before_task_publish.connect(tell)
    try:
        with transaction.atomic():
            result = note.delay_on_commit("a")
            assert told == []
    finally:
        before_task_publish.disconnect(tell)
    assert told == [(result.id, 0)]


def test_a_broker_that_does_not_take_it_is_told_after_the_commit(sending):
    note, transport = sending
    transport.fail("amqtask", BrokerUnavailable("away"))

    @transaction.atomic
    def program():
        write("kept")
        note.delay_on_commit("a")

    with pytest.raises(BrokerUnavailable) as told:
        program()
    assert "the transaction has committed, and <AsyncResult: note[" in told.value.__notes__[0]
    assert notes() == ["kept"]


def test_a_robust_one_is_logged_and_the_others_are_sent(sending, caplog):
    note, transport = sending
    transport.fail("amqtask", BrokerUnavailable("away"))
    with transaction.atomic():
        note.apply_async_on_commit(("a",), robust=True)
        result = note.delay_on_commit("b")
    assert ids(transport) == [result.id]
    assert "away" in caplog.text


def test_signatures_are_sent_after_the_commit_with_the_ids_that_were_told_before(sending):
    note, transport = sending
    app = note.app
    steps = chain(note.si("a"), note.si("b"))
    with transaction.atomic():
        both = send_on_commit(group(note.s("a"), note.s("b")))
        last = send_on_commit(steps)
        assert ids(transport) == []
    assert ids(transport) == [one.id for one in both] + [last.parent.id]
    assert app.AsyncResult(last.id).id == last.id
    assert "task_id" not in steps.options


def test_eager_tasks_run_at_the_commit():
    configured()
    app = Amqtask("shop", task_always_eager=True)
    note, _ = routed(app)
    with transaction.atomic():
        note.delay_on_commit("a")
        assert notes() == []
    assert notes() == ["a"]
    assert note.delay_on_commit("b").successful()


def test_every_kind_of_task_can_be_sent_on_commit():
    class Own(BaseTask):
        abstract = True

        def on_success(self, *_):
            write("hook")

    class Theirs(celery.Task):
        abstract = True

    ours, theirs = Amqtask("shop"), Celery("shop", task_cls=Theirs)

    @shared_task(name="shared")
    def shared(): ...

    @ours.task(base=Own)
    async def coroutine(): ...

    @theirs.task(bind=True)
    def bound(self): ...

    class OldWay(theirs.Task):
        name = "old"

        def run(self): ...

    tasks = [coroutine, bound, theirs.register_task(OldWay()), ours.tasks["shared"], theirs.tasks["shared"]]
    assert all(task.delay_on_commit and task.apply_async_on_commit for task in tasks)
    assert isinstance(coroutine, Own)
    assert coroutine.is_async
    assert isinstance(bound, Theirs)


def test_a_shared_task_is_sent_by_the_current_app():
    app = Amqtask("shop")

    @shared_task(name="shared too")
    def shared(text): ...

    transport = RecordingTransport()
    app.use_transport(transport)
    with transaction.atomic():
        result = shared.delay_on_commit("a")
    assert ids(transport) == [result.id]
