"""An occurrence that a full queue has refused: it is sent again, also by a channel that was opened meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

from amqtask.beat.full_queues import FullQueues
from amqtask.wire.message import Outgoing, Properties

MESSAGE = Outgoing("", "work", Properties(message_id="one"), b"")


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


def test_what_was_refused_is_sent_once_there_is_a_channel_again():
    loop, sent, channels = Loop(), [], []
    full = FullQueues(loop, lambda: channels[-1] if channels else None)
    full.again(MESSAGE)
    loop.turn()
    channels.append(SimpleNamespace(is_open=False, publish=sent.append))
    loop.turn()
    assert sent == []
    channels.append(SimpleNamespace(is_open=True, publish=sent.append))
    loop.turn()
    assert sent == [MESSAGE]
    assert loop.calls == []


def test_it_is_given_up_after_half_a_minute(caplog):
    loop, sent = Loop(), []
    full = FullQueues(loop, lambda: SimpleNamespace(is_open=True, publish=sent.append))
    for _ in range(31):
        full.again(MESSAGE)
        loop.turn()
    assert len(sent) == 30
    assert "Queue work is full; a periodic task is given up after 30 tries" in caplog.text
