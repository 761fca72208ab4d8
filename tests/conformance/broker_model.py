"""Random work on a broker, and what a client sees of it: for running the same steps on two brokers.

Owns the steps and their observation; knows no broker. A step is a tuple, its first item the name of a method here.
"""

from __future__ import annotations

from typing import Any

import pika
from hypothesis import strategies as st
from pika.exceptions import NackError, UnroutableError

QUEUES = ("plain", "short", "ranked", "quorum", "dead")

ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
    "short": {"x-max-length": 2, "x-dead-letter-exchange": "dead-letters"},
    "ranked": {"x-max-priority": 5, "x-max-length": 4, "x-overflow": "reject-publish"},
    "quorum": {"x-queue-type": "quorum", "x-dead-letter-exchange": "dead-letters", "x-delivery-limit": 2},
    "dead": {},
}

BINDINGS = (
    ("topics", "plain", "a.*"),
    ("topics", "short", "#.b"),
    ("topics", "ranked", "a.#"),
    ("directs", "quorum", "a.b"),
    ("directs", "short", "c"),
    ("fans", "plain", ""),
    ("fans", "ranked", ""),
    ("dead-letters", "dead", "#"),
)

_keys = st.sampled_from(["a", "a.b", "a.b.c", "b", "c", "", "plain", "short", "ranked", "quorum"])
_queues = st.sampled_from(QUEUES)

STEPS = st.one_of(
    st.tuples(
        st.just("publish"),
        st.sampled_from(["", "", "topics", "directs", "fans"]),
        _keys,
        st.sampled_from([None, 0, 1, 3, 9]),
    ),
    st.tuples(st.just("get"), _queues),
    st.tuples(st.just("get"), _queues),
    st.tuples(st.just("ack"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("reject"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("nack"), st.integers(0, 3), st.booleans(), st.booleans()),
    st.tuples(st.just("purge"), _queues),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("recover")),
)


class Client:
    """One client of one broker, doing steps in a vhost of its own.

    Args:
        url: of that vhost.
    """

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._open()
        self._unacked: list[int] = []
        self._published = 0
        for name, kind in (("topics", "topic"), ("directs", "direct"), ("fans", "fanout"), ("dead-letters", "topic")):
            self._channel.exchange_declare(name, kind)
        for queue in QUEUES:
            self._channel.queue_declare(queue, durable=True, arguments=ARGUMENTS[queue])
        for exchange, queue, key in BINDINGS:
            self._channel.queue_bind(queue, exchange, key)

    def _open(self) -> Any:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    def close(self) -> None:
        self._connection.close()

    def counts(self) -> dict[str, int]:
        """Messages that are ready, by queue."""
        return {name: self._channel.queue_declare(name, passive=True).method.message_count for name in QUEUES}

    def do(self, step: tuple[Any, ...]) -> Any:
        """Do one step and return what the client saw."""
        return getattr(self, step[0])(*step[1:])

    def publish(self, exchange: str, key: str, priority: int | None) -> str:
        self._published += 1
        properties = pika.BasicProperties(
            priority=priority, delivery_mode=2, headers={"number": self._published}, message_id=str(self._published)
        )
        try:
            self._channel.basic_publish(exchange, key, f"body {self._published}".encode(), properties, mandatory=True)
        except UnroutableError as error:
            return f"returned {error.messages[0].body!r}"
        except NackError:
            return "refused"
        return "confirmed"

    def get(self, queue: str) -> Any:
        method, properties, body = self._channel.basic_get(queue)
        if method is None:
            return None
        self._unacked.append(method.delivery_tag)
        return (
            method.exchange,
            method.routing_key,
            method.redelivered,
            method.message_count,
            body,
            properties.priority,
            plain(properties.headers),
        )

    def _take(self, index: int, multiple: bool = False) -> int | None:
        if index >= len(self._unacked):
            return None
        tag = self._unacked[index]
        self._unacked = [other for other in self._unacked if (other > tag if multiple else other != tag)]
        return tag

    def ack(self, index: int, multiple: bool) -> None:
        if (tag := self._take(index, multiple)) is not None:
            self._channel.basic_ack(tag, multiple)

    def reject(self, index: int, requeue: bool) -> None:
        if (tag := self._take(index)) is not None:
            self._channel.basic_reject(tag, requeue)

    def nack(self, index: int, multiple: bool, requeue: bool) -> None:
        if (tag := self._take(index, multiple)) is not None:
            self._channel.basic_nack(tag, multiple, requeue)

    def purge(self, queue: str) -> int:
        count: int = self._channel.queue_purge(queue).method.message_count
        return count

    def recover(self) -> None:
        self._unacked.clear()
        self._channel.basic_recover(requeue=True)

    def reopen(self) -> None:
        """Close the channel: what is unacked goes back."""
        self._unacked.clear()
        self._channel.close()
        self._channel = self._open()


def plain(value: Any) -> Any:
    """Headers without what differs between two runs: times."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "time"}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
