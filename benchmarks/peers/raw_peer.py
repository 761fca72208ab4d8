"""pika without any task layer: the limit that the frameworks are compared with.

Publishing: BlockingConnection with a confirm each, or SelectConnection with a window of unconfirmed messages.
Consuming (``python -m peers.raw_peer``): SelectConnection, an ack each.
"""

from __future__ import annotations

import os
from typing import Any

import pika

from harness import counter
from harness.client import settings

QUEUE = "bench.raw"
BODY = b"x" * 96
WINDOW = 500
PREFETCH = 300
PROPERTIES = pika.BasicProperties(content_type="application/octet-stream", delivery_mode=2)


def _parameters() -> pika.URLParameters:
    return pika.URLParameters(os.environ["BENCH_BROKER"])


def _arguments() -> dict[str, str]:
    return {"x-queue-type": settings()["queue_type"]}


class Pipeline:
    """A SelectConnection driven by the caller, with at most WINDOW messages unconfirmed."""

    def __init__(self) -> None:
        self._unconfirmed, self._last, self._ready = 0, 0, False
        self._connection = pika.SelectConnection(
            _parameters(),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
        )
        self._loop = self._connection.ioloop
        self._loop.activate_poller()
        self._turn_until(lambda: self._ready)

    def publish(self, body: bytes) -> None:
        self._channel.basic_publish("", QUEUE, body, PROPERTIES)
        self._unconfirmed += 1
        if self._unconfirmed >= WINDOW:
            self._turn_until(lambda: self._unconfirmed < WINDOW)

    def flush(self) -> None:
        self._turn_until(lambda: not self._unconfirmed)

    def _turn_until(self, condition: Any) -> None:
        while not condition():
            self._loop.poll()
            self._loop.process_timeouts()

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.queue_declare(QUEUE, durable=True, arguments=_arguments())
        channel.confirm_delivery(self._on_confirm, lambda _: setattr(self, "_ready", True))

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self._unconfirmed -= tag - self._last
            self._last = tag
        else:
            self._unconfirmed -= 1
            self._last += 1


class Client:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._pipeline = Pipeline() if settings.get("pipelined", True) else None
        self._connection = pika.BlockingConnection(_parameters())
        self._channel = self._connection.channel()
        self._channel.queue_declare(QUEUE, durable=True, arguments=_arguments())
        self._channel.confirm_delivery()
        self.close = self._connection.close

    def send(self) -> None:
        self._publish(BODY)

    def send_many(self, count: int) -> int:
        publish = self._pipeline.publish if self._pipeline else self._publish
        for _ in range(count):
            publish(BODY)
        return count

    def send_numbered(self, number: int) -> None:
        self._publish(b"%d" % number)

    def flush(self) -> None:
        if self._pipeline is not None:
            self._pipeline.flush()

    def _publish(self, body: bytes) -> None:
        self._channel.basic_publish("", QUEUE, body, PROPERTIES)


def consume() -> None:
    """Count each message, ack each message, for ever."""

    def on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        if len(body) < len(BODY):
            counter.moment(int(body))
        else:
            counter.done()
        channel.basic_ack(method.delivery_tag)

    def on_channel(channel: Any) -> None:
        channel.queue_declare(QUEUE, durable=True, arguments=_arguments())
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(QUEUE, on_message)

    connection = pika.SelectConnection(
        _parameters(), on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel)
    )
    connection.ioloop.start()


if __name__ == "__main__":
    consume()
