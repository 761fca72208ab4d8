"""A consumer in the test's own process, without a worker around it."""

from __future__ import annotations

from typing import Any

from publishing import OPTIONS

from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.pika_driver import new_loop, open_connection
from amqtask.broker.url import BrokerURL, parse_urls


class Consumer:
    """Consumes the queue ``q`` on a loop of its own."""

    def __init__(self, url: BrokerURL | str, options: ConnectionOptions = OPTIONS) -> None:
        self.loop = new_loop()
        self.got: list[tuple[Any, bytes]] = []
        self.failures: list[object] = []
        self.connection = open_connection(
            self.loop,
            parse_urls(url)[0] if isinstance(url, str) else url,
            options,
            on_open=lambda connection: connection.open_channel(self.opened, lambda code, text: None),
            on_error=self.failures.append,
            on_closed=self.closed,
            on_blocked=self.failures.append,
        )

    def opened(self, channel: Any) -> None:
        channel.basic_consume("q", self.deliver)

    def deliver(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        self.got.append((properties, body))

    def closed(self, error: object) -> None:
        self.failures.append(error)
        self.loop.stop()

    def next(self) -> tuple[Any, bytes]:
        """The next delivery; fails when it takes longer than some seconds."""
        timer = self.loop.call_later(10, lambda: self.failures.append("nothing has come"))
        while not self.got:
            self.loop.turn(1)
            assert self.failures == []
        self.loop.cancel(timer)
        return self.got.pop()

    def close(self) -> None:
        self.connection.close()
        self.loop.run()
        self.loop.close()
