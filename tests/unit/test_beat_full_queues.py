"""An occurrence that a full queue has refused: the broker keeps it; else it is sent again, for half a minute."""

from __future__ import annotations

from types import SimpleNamespace

from amqtask import Amqtask
from amqtask.beat.full_queues import FullQueues
from amqtask.beat.log_channel import LogChannel
from amqtask.errors import BrokerUnavailable, TopologyError
from amqtask.schedules.records import HEADER
from amqtask.wire.message import Outgoing, Properties

PLAIN = Outgoing("", "work", Properties(message_id="one", headers={"task": "t"}), b"")
MESSAGE = PLAIN._replace(properties=PLAIN.properties._replace(headers={"task": "t", "BCC": ["log"]}))
EXIT = PLAIN._replace(routing_key="amqtask.delay.to.work")


class Loop:
    """Calls back when the test says so."""

    def __init__(self) -> None:
        self.calls = []

    def call_later(self, delay, callback):
        self.calls.append(callback)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def no_exit(queue, done):
    done(TopologyError(f"there is no exit for {queue}"))


def test_what_was_refused_is_in_the_brokers_hands_at_once():
    loop, sent = Loop(), []
    channel = SimpleNamespace(is_open=True, publish=sent.append)
    FullQueues(loop, lambda: channel, lambda _queue, done: done(None)).refused(MESSAGE)
    assert sent == [EXIT]
    assert loop.calls == []


def test_what_was_refused_is_sent_once_there_is_a_channel_again():
    loop, sent, channels = Loop(), [], []
    full = FullQueues(loop, lambda: channels[-1] if channels else None, lambda _queue, done: done(None))
    full.refused(MESSAGE)
    loop.turn()
    channels.append(SimpleNamespace(is_open=False, publish=sent.append))
    loop.turn()
    assert sent == []
    channels.append(SimpleNamespace(is_open=True, publish=sent.append))
    loop.turn()
    assert sent == [EXIT]
    assert loop.calls == []


def test_what_nobody_keeps_is_sent_to_its_own_queue_again():
    loop, sent = Loop(), []
    full = FullQueues(loop, lambda: SimpleNamespace(is_open=True, publish=sent.append), lambda _queue, done: done(None))
    full.refused(MESSAGE)
    full.refused(sent.pop())  # somebody has deleted that queue
    loop.turn()
    assert sent == [PLAIN]


def test_the_exit_is_asked_for_again_when_it_could_not_be_seen_to_for_a_moment():
    loop, sent, answers = Loop(), [], [BrokerUnavailable("there is no connection"), None]
    channel = SimpleNamespace(is_open=True, publish=sent.append)
    full = FullQueues(loop, lambda: channel, lambda _queue, done: done(answers.pop(0)))
    full.refused(MESSAGE)
    loop.turn()
    full.refused(sent.pop())
    assert sent == [EXIT]


def test_what_a_lost_channel_has_not_confirmed_is_sent_again_if_nobody_else_sends_it():
    refused = []
    owner = SimpleNamespace(channel_refused=refused.append, channel_closed=lambda *_: None)
    channel = LogChannel(owner, "log", Amqtask("beats").connection_options)
    consuming = SimpleNamespace(add_on_cancel_callback=lambda _: None, basic_consume=lambda *_, **__: None)
    wire = SimpleNamespace(is_open=True, publish=lambda *_: None, flush=lambda: None, consuming=consuming)
    channel.open(SimpleNamespace(frame_max=131_072, open_confirm_channel=lambda _: None))
    channel.on_ready(wire)
    mark = {HEADER: {"entry": "tick"}}
    handed_on = EXIT._replace(properties=EXIT.properties._replace(headers=mark))
    for message in (
        EXIT,
        handed_on,
        MESSAGE._replace(properties=MESSAGE.properties._replace(headers={**mark, "BCC": ["log"]})),
    ):
        channel.publish(message)
    channel.on_closed(320, "gone")
    assert refused == [handed_on]
    assert channel.unconfirmed == 0


def test_what_nobody_may_keep_is_given_up_after_half_a_minute(caplog):
    loop, sent = Loop(), []
    full = FullQueues(loop, lambda: SimpleNamespace(is_open=True, publish=sent.append), no_exit)
    for _ in range(31):
        full.refused(MESSAGE)
        loop.turn()
    assert sent == [PLAIN] * 30
    assert "Queue work is full; a periodic task is given up after 30 tries" in caplog.text
