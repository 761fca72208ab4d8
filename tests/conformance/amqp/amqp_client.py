"""What the conformance tests say to a broker through pika: publish, consume, expect a refusal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import pika
import pytest
from amqp_wire import PATIENCE
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from waiting import wait_for

QUORUM = {"x-queue-type": "quorum"}


class Server(NamedTuple):
    """The broker under test, as it describes itself."""

    product: str
    version: tuple[int, ...]

    @property
    def is_dev(self) -> bool:
        """Whether it is amqtask's dev broker, which says it is the RabbitMQ that it emulates."""
        return self.product != "RabbitMQ"


class Delivery(NamedTuple):
    """A message that was received."""

    method: Any
    properties: pika.BasicProperties
    body: bytes

    @property
    def tag(self) -> int:
        return self.method.delivery_tag

    @property
    def redelivered(self) -> bool:
        return self.method.redelivered

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


class Client:
    """A connection; closed by ``close`` however it ended."""

    def __init__(self, url: str, **parameters: Any) -> None:
        self.url = url
        given = pika.URLParameters(url)
        for name, value in parameters.items():
            setattr(given, name, value)
        self.connection: BlockingConnection = pika.BlockingConnection(given)

    def channel(self, *, confirm: bool = False, prefetch: int = 0) -> BlockingChannel:
        """A new channel."""
        channel = self.connection.channel()
        if confirm:
            channel.confirm_delivery()
        if prefetch:
            channel.basic_qos(prefetch_count=prefetch)
        return channel

    def process(self, seconds: float = 0.0) -> None:
        """Read what has arrived."""
        self.connection.process_data_events(seconds)

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Inbox:
    """A consumer that keeps what it gets.

    Attributes:
        got: the deliveries so far.
        cancelled: whether the broker has cancelled it.
    """

    def __init__(
        self,
        channel: BlockingChannel,
        queue: str,
        *,
        auto_ack: bool = False,
        ack: bool = False,
        exclusive: bool = False,
        tag: str | None = None,
        priority: int | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self.channel, self.queue = channel, queue
        self.got: list[Delivery] = []
        self.cancelled = False
        self._ack = ack
        given = {**(arguments or {}), **({} if priority is None else {"x-priority": priority})}
        channel.add_on_cancel_callback(self._on_cancel)
        self.tag: str = channel.basic_consume(
            queue, self._on_message, auto_ack=auto_ack, exclusive=exclusive, consumer_tag=tag, arguments=given or None
        )

    def _on_message(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self.got.append(Delivery(method, properties, body))
        if self._ack:
            self.channel.basic_ack(method.delivery_tag)

    def _on_cancel(self, method: Any) -> None:
        self.cancelled = self.cancelled or method.method.consumer_tag == self.tag

    @property
    def bodies(self) -> list[bytes]:
        return [one.body for one in self.got]

    def wait(self, count: int, timeout: float = PATIENCE) -> list[Delivery]:
        """Wait for so many deliveries in all and return them; fails when there are more."""
        deadline = time.monotonic() + timeout
        while len(self.got) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(self.got)} of {count} deliveries: {self.bodies}"
            self.channel.connection.process_data_events(min(left, 0.05))
        assert len(self.got) == count, self.bodies
        return self.got

    def settled(self) -> list[bytes]:
        """Bodies of everything delivered up to now: the queue has been asked twice meanwhile."""
        for _ in range(2):
            size(self.channel, self.queue)
            self.channel.connection.process_data_events(0.02)
        return self.bodies

    def cancel(self) -> None:
        self.channel.basic_cancel(self.tag)


@contextmanager
def refused(code: int, *parts: str) -> Iterator[None]:
    """The broker closes the channel with this code, and a text with these parts in it."""
    with pytest.raises(ChannelClosedByBroker) as caught:
        yield
    assert caught.value.reply_code == code, caught.value.reply_text
    for part in parts:
        assert part in caught.value.reply_text


@contextmanager
def disconnected(code: int, *parts: str) -> Iterator[None]:
    """The broker closes the connection with this code, and a text with these parts in it."""
    with pytest.raises(ConnectionClosedByBroker) as caught:
        yield
    assert caught.value.reply_code == code, caught.value.reply_text
    for part in parts:
        assert part in caught.value.reply_text


def put(channel: BlockingChannel, queue: str, *bodies: bytes | str, exchange: str = "", **properties: Any) -> None:
    """Publish messages; on a confirming channel each is confirmed before the next."""
    for body in bodies:
        content = body.encode() if isinstance(body, str) else body
        channel.basic_publish(exchange, queue, content, pika.BasicProperties(**properties))


def get(channel: BlockingChannel, queue: str, *, ack: bool = True) -> Delivery | None:
    """One message of the queue, if there is one."""
    method, properties, body = channel.basic_get(queue, auto_ack=ack)
    return None if method is None else Delivery(method, properties, body)


def take(channel: BlockingChannel, queue: str, *, ack: bool = True, timeout: float = PATIENCE) -> Delivery:
    """Wait for one message of the queue."""
    return wait_for(lambda: get(channel, queue, ack=ack), timeout)


def take_all(channel: BlockingChannel, queue: str) -> list[bytes]:
    """Bodies of all messages that are in the queue now."""
    bodies = []
    while one := get(channel, queue):
        bodies.append(one.body)
    return bodies


def size(channel: BlockingChannel, queue: str) -> int:
    """Messages that are ready."""
    return channel.queue_declare(queue, passive=True).method.message_count


def consumers(channel: BlockingChannel, queue: str) -> int:
    """Consumers of the queue."""
    return channel.queue_declare(queue, passive=True).method.consumer_count


def wait_size(channel: BlockingChannel, queue: str, count: int, timeout: float = PATIENCE) -> None:
    """Wait until so many messages are ready."""
    wait_for(lambda: size(channel, queue) == count, timeout)


def exists(client: Client, queue: str) -> bool:
    """Whether there is such a queue (that this connection may see)."""
    return found(client, lambda channel: channel.queue_declare(queue, passive=True))


def exchange_exists(client: Client, exchange: str) -> bool:
    """Whether there is such an exchange."""
    return found(client, lambda channel: channel.exchange_declare(exchange, passive=True))


def found(client: Client, ask: Callable[[BlockingChannel], Any]) -> bool:
    """Whether a question to the broker, on a channel of its own, is not answered by 404."""
    channel = client.channel()
    try:
        ask(channel)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return False
    channel.close()
    return True
