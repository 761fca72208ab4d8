"""Following the revocations that the broker keeps, without a broker."""

from __future__ import annotations

import pytest
from signing_settings import PLAIN
from waiting import wait_for

from amqtask.broker.pika_driver import new_loop
from amqtask.control.tombstones import QUEUE
from amqtask.topology.declarations import Version
from amqtask.worker.control import journal as module
from amqtask.worker.control.journal import Journal


class Connection:
    """Gives channels, all the same, that grant whatever is asked of them; ``asked`` is that, in order."""

    version = Version(4, 1)
    is_open = True

    def __init__(self):
        self.asked, self.cancel = [], None

    def open_channel(self, on_open, _on_closed):
        on_open(self)

    def queue_declare(self, name, *, callback, **_):
        self.asked.append(f"declare {name}")
        callback(None)

    def basic_consume(self, name, _deliver, **_):
        self.asked.append(f"consume {name}")

    def add_on_cancel_callback(self, told):
        self.cancel = told

    def basic_qos(self, prefetch_count):
        pass

    def close(self):
        pass


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    made = new_loop()
    yield made
    made.close()


def test_a_stream_whose_reading_the_broker_has_cancelled_is_followed_again(loop):
    connection = Connection()
    journal = Journal(loop, 60.0, lambda _: None, lambda: None, None, PLAIN)
    journal.connected(connection)
    first = [f"declare {QUEUE}", f"consume {QUEUE}"]
    assert connection.asked == first
    connection.cancel(None)
    wait_for(lambda: loop.turn(0.01) or len(connection.asked) == 4)
    assert connection.asked == 2 * first
    connection.cancel(None)
    journal.disconnected()
    loop.turn(0.05)
    assert len(connection.asked) == 4
