"""What an app refuses to send of a canvas."""

from __future__ import annotations

import asyncio

import pytest
from kept import Kept, keep_in
from recording import RecordingTransport

from amqtask import Amqtask, chain, chord, group
from amqtask.canvas.planning import plan
from amqtask.tasks.context import Context, running
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


def test_how_long_parked_steps_are_kept_is_no_matter_of_chords():
    app = Amqtask("shop", chord_expires=60.0)
    work = chain(app.signature("add") for _ in range(70))
    (begun,) = app.canvas.begins(plan(work, context=app.canvas.plan_context()))
    assert begun.lifetime > 40 * 86_400, "a chain may stand still for weeks"
    assert begun.lifetime * 1000 < 2**32, "RabbitMQ takes no longer time"


WRONG = {
    "of itself": lambda add: add.s(1, 2).set(qeue="x"),
    "of a step": lambda add: chain(add.s(1, 2), add.s(3).set(qeue="x")),
    "of a member": lambda add: add.s(1, 2) | group(add.s(1), add.s(2).set(qeue="x")),
    "of a group": lambda add: group(add.s(1, 2), add.s(2, 2), qeue="x"),
    "of a body": lambda add: chord([add.s(1, 2)], add.s(1).set(qeue="x")),
    "of a callback": lambda add: add.s(1, 2).set(link=[add.s(1), add.s(2).set(qeue="x")]),
    "of an errback of a callback": lambda add: add.s(1, 2).set(link=add.s(1).on_error(add.s(2).set(qeue="x"))),
}


@pytest.mark.parametrize("work", WRONG.values(), ids=WRONG.keys())
def test_an_unknown_option_of_a_signature_is_an_error_as_that_of_a_call_is(shop, work):
    app, add = shop
    for sends in (work(add).delay, work(add).apply, lambda: asyncio.run(work(add).adelay())):
        with pytest.raises(TypeError, match="unknown option 'qeue' in the signature of .*did you mean 'queue'"):
            sends()
    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        add.s(1, 2).apply_async(countdwon=3)
    with pytest.raises(TypeError, match="did you mean 'queue'"):
        add.apply_async((1, 2), link=add.s(1).set(qeue="x"))
    assert app.transport.sent == []


def test_stamps_and_what_planning_and_celery_write_are_no_unknown_options(shop):
    app, add = shop
    work = chord([add.s(1, 2), add.s(1, 3) | add.s(1)], app.signature("total")).stamp(tenant="a")
    work.freeze()
    work.set(add_to_parent=True, route_name="x", use_link=True)
    work.delay()
    add.s(1, 2).stamp(tenant="a").apply()
    assert app.transport.sent


def test_inside_of_a_task_and_for_celery_an_unknown_option_is_no_error(shop, caplog):
    app, add = shop
    with running(Context("outer", "t1")):
        add.s(1, 2).set(qeue="x").delay()
    assert "Unknown option 'qeue' in the signature of add ignored; did you mean 'queue'?" in caplog.text
    other = Amqtask("shop", interop="celery")
    other.use_transport(RecordingTransport())
    other.signature("add").set(qeue="x").delay()
    assert len(app.transport.sent) == len(other.transport.sent) == 1
    other.use_transport(None)


def test_what_a_chord_does_when_a_member_fails_can_not_be_chosen():
    with pytest.raises(TypeError, match="on_error of a chord is an errback, such as task.s.., not 'collect'"):
        chord([], on_error="collect")
