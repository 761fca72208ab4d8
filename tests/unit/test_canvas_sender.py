"""What an app refuses to send of a canvas."""

from __future__ import annotations

import pytest
from kept import Kept, keep_in
from recording import RecordingTransport

from amqtask import Amqtask, chain, chord, group
from amqtask.topology.chords import WATCH_TASK


@pytest.fixture
def shop():
    app = Amqtask("shop")
    app.use_transport(RecordingTransport())

    @app.task(name="add")
    def add(x, y):
        return x + y

    yield app, add
    app.use_transport(None)


def test_a_signature_with_arguments_that_do_not_fit_is_refused_before_anything_is_sent(shop):
    app, add = shop
    with pytest.raises(TypeError, match="add"):
        add.s(1).delay()
    with pytest.raises(TypeError, match="add"):
        group(add.s(1, 2), add.s(1, 2, 3)).delay()
    assert app.transport.sent == []


def test_later_steps_may_miss_what_the_steps_before_will_give_them(shop):
    app, add = shop
    chain(add.s(1, 2), add.s(3)).delay()
    assert len(app.transport.sent) == 1


def test_the_arguments_of_tasks_that_are_not_known_here_are_not_checked(shop):
    app, _ = shop
    app.signature("elsewhere", args=(1, 2, 3)).delay()
    assert len(app.transport.sent) == 1


@pytest.mark.parametrize(("counts", "interop", "watched"), [(True, None, 1), (True, "celery", 0), (False, "celery", 1)])
def test_a_chord_is_watched_wherever_it_is_counted_but_by_celerys_workers(counts, interop, watched):
    app = Amqtask("shop", backend="file:///nowhere", interop=interop, chord_expires=60.0)
    keep_in(app, Kept(chords=counts))
    app.use_transport(RecordingTransport())
    chord([app.signature("add")], app.signature("total")).delay()
    names = [message.properties.headers["task"] for message in app.transport.sent]
    assert names == [WATCH_TASK] * watched + ["add"]
    app.use_transport(None)
