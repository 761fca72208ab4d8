"""The worker's side of events, without a broker: the rhythm of its heart, bounded waiting, arguments."""

from __future__ import annotations

import json

import pytest
from waiting import wait_for

from amqtask.broker.loop import SelectLoop
from amqtask.wire.lamport import LamportClock
from amqtask.worker.events import dispatcher as module
from amqtask.worker.events.dispatcher import WAITING_MAX, EventDispatcher
from amqtask.worker.events.encoding import Body, arguments
from amqtask.worker.events.heart import IDLE, Heart


class Clock:
    """A loop whose time passes when it is told to."""

    def __init__(self):
        self.now, self._timers = 0.0, []

    def call_later(self, delay, callback):
        timer = [self.now + delay, callback]
        self._timers.append(timer)
        return timer

    def cancel(self, timer):
        if timer in self._timers:
            self._timers.remove(timer)

    def pass_by(self, seconds):
        end = self.now + seconds
        while due := [timer for timer in self._timers if timer[0] <= end]:
            timer = min(due, key=lambda one: one[0])
            self._timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = end


def test_a_heart_that_is_heard_beats_at_its_interval():
    clock, beats = Clock(), []
    heart = Heart(clock, lambda: beats.append(clock.now), 2.0)
    heart.start()
    heart.start()
    clock.pass_by(9)
    assert beats == [0, 2, 4, 6, 8]
    heart.stop()
    clock.pass_by(100)
    assert len(beats) == 5


def test_a_heart_that_nobody_hears_rests_until_it_is_asked_or_heard():
    clock, beats, listening = Clock(), [], False

    def beat():
        beats.append(clock.now)
        if not listening:
            heart.returned()

    heart = Heart(clock, beat, 2.0)
    heart.start()
    clock.pass_by(10 * IDLE - 1)
    assert len(beats) == 10
    listening = True
    heart.beat_now()
    clock.pass_by(10)
    assert beats[10:] == [299, 301, 303, 305, 307, 309]
    listening = False
    clock.pass_by(3 * IDLE)
    assert beats[16:] == [311, 341, 371]


def test_two_hundred_idle_workers_cost_less_than_twenty_messages_a_second():
    assert 200 / IDLE * 2 < 20  # each heartbeat comes back


@pytest.fixture
def loop():
    loop = SelectLoop()
    yield loop
    loop.close()


class Channel:
    """Stands for a channel whose socket takes nothing, or everything."""

    is_open = True

    def __init__(self):
        self.congested, self.sent = True, []

    def publish(self, message, *, mandatory=False):
        self.sent.append(message)


def ready(dispatcher):
    dispatcher._channel, dispatcher._ready = Channel(), True
    return dispatcher._channel


def test_a_broker_that_takes_nothing_costs_a_bounded_number_of_events(loop, caplog):
    dispatcher = EventDispatcher(loop, "celeryev", "w@h", LamportClock(), lambda: False)
    channel = ready(dispatcher)
    for number in range(WAITING_MAX + 500):
        dispatcher.put("task-started", {"uuid": str(number)})
    assert (dispatcher.waiting_events, dispatcher.dropped) == (WAITING_MAX, 500)
    assert caplog.text.count("the broker takes no events") == 1
    dispatcher.flush()
    channel.congested = False

    def all_sent():
        loop.turn(0.01)
        return dispatcher.waiting_events == 0

    wait_for(all_sent)
    dispatcher.stop()
    events = [event for message in channel.sent for event in json.loads(message.body)]
    assert [event["uuid"] for event in events] == [str(number) for number in range(WAITING_MAX)]
    assert [event["clock"] for event in events] == list(range(1, WAITING_MAX + 1))
    assert {message.routing_key for message in channel.sent} == {"task.multi"}
    assert {message.properties.delivery_mode for message in channel.sent} == {1}


def test_task_events_are_gathered_for_a_moment_and_drained_before_the_goodbye(loop):
    dispatcher = EventDispatcher(loop, "celeryev", "w@h", LamportClock(), lambda: False)
    channel = ready(dispatcher)
    channel.congested = False
    done = []
    for number in range(3):
        dispatcher.put("task-started", {"uuid": str(number)})
    dispatcher.drain(lambda: done.append(len(channel.sent)))

    def drained():
        loop.turn(0.01)
        return done

    wait_for(drained)
    dispatcher.stop()
    assert done == [1]


def test_events_wait_while_the_broker_blocks_publishers(loop, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    blocked = True
    dispatcher = EventDispatcher(loop, "celeryev", "w@h", LamportClock(), lambda: blocked)
    channel = ready(dispatcher)
    channel.congested = False
    dispatcher.put("task-started", {"uuid": "a"})
    dispatcher.send("worker-heartbeat", {})

    def encoded():
        loop.turn(0.01)
        return dispatcher._outgoing

    wait_for(encoded)
    assert not channel.sent
    blocked = False

    def sent():
        loop.turn(0.01)
        return channel.sent

    wait_for(sent)
    dispatcher.stop()


@pytest.mark.parametrize(
    ("content_type", "body", "shown"),
    [
        ("application/json", b'[[1, "a"], {"b": 2}, {}]', ("(1, 'a')", "{'b': 2}")),
        ("application/json", b"[[1], {}", (None, None)),
        ("application/json", b"7", (None, None)),
        ("application/json", b'[5, "x", {}]', (None, None)),
        ("application/x-python-serialize", b"cos\nsystem\n(S'x'\ntR.", (None, None)),
        (None, b"[[], {}, {}]", (None, None)),
        ("application/json", b'[[{"__type__": "decimal", "__value__": "x"}], {}, {}]', (None, None)),
        ("application/json", b'[[{"__type__": "bytes", "__value__": 1}], {}, {}]', (None, None)),
        ("application/json", b'[["' + b"x" * 40_000 + b'"], {}, {}]', (None, None)),
    ],
)
def test_what_is_shown_of_arguments_is_read_safely_or_not_at_all(content_type, body, shown):
    assert arguments(Body(content_type, body)) == shown


def test_long_arguments_are_cut():
    args, _ = arguments(Body("application/json", b'[["' + b"x" * 5000 + b'"], {}, {}]'))
    assert len(args) == 1024
