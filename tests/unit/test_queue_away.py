"""A queue that is not there, and one that is away with its node for a while, when a worker starts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from amqtask.broker.pika_driver import new_loop
from amqtask.errors import TopologyError
from amqtask.worker.consumer import Consumers

MISSING = "NOT_FOUND - no queue 'q' in vhost '/'"
AWAY = "NOT_FOUND - home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible"


class Connection:
    """Declares whatever is wanted, and closes every channel that consumes; ``asked`` is how often that happened."""

    version = (3, 10, 0)

    def __init__(self, text):
        self.text, self.opened, self.asked = text, 0, 0

    def open_channel(self, on_open, on_closed):
        self.opened += 1
        if self.opened % 2:  # the one that declares goes before
            on_open(SimpleNamespace(close=lambda: None))
        else:
            self.asked += 1
            on_closed(404, self.text)


@pytest.fixture
def loop():
    made = new_loop()
    yield made
    made.close()


@pytest.mark.parametrize(("text", "ends"), [(MISSING, True), (AWAY, False)])
def test_a_worker_ends_for_a_missing_queue_and_waits_for_one_whose_node_is_away(loop, monkeypatch, text, ends):
    monkeypatch.setattr("amqtask.worker.consumer._PAUSE", 0.01)
    nothing, fatal = lambda *_: None, []
    consumers = Consumers(
        loop, "w@h", lambda _: [], verify_only=True, on_message=nothing, on_open=nothing, on_ready=nothing,
        on_lost=nothing, on_fatal=fatal.append,
    )  # fmt: skip
    consumers.add("q", 1, None)
    connection = Connection(text)
    consumers.connected(connection)
    while not fatal and connection.asked < 3:
        loop.turn(1)
    assert [type(error) for error in fatal] == ([TopologyError] if ends else [])
    assert consumers.lacking == ["q"]
