"""Shared by the tests of rpc://: a sender with its reply queue, and answers as a worker would publish them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pika
from publishing import OPTIONS

from amqtask.app.transport import BrokerTransport
from amqtask.broker.interface import ConnectionOptions
from amqtask.broker.url import parse_urls
from amqtask.config.settings import Settings
from amqtask.results.backends.rpc import RpcBackend
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, Properties


class Desk:
    """Sends tasks that nobody runs, and gets answers."""

    def __init__(self, url: str, options: ConnectionOptions = OPTIONS, *, bind: bool = True, **settings: Any) -> None:
        self.url = url
        self.transport = BrokerTransport(parse_urls(url), options, "round-robin")
        self.backend = RpcBackend("rpc://", replace(Settings(), **settings))
        if bind:
            self.backend.bind(self.transport)

    def send(self, queue: str = "q", timeout: float = 60) -> str:
        """Send a task; its id."""
        message = self._message(queue)
        self.transport.send(message, timeout=timeout)
        return str(message.properties.correlation_id)

    async def asend(self, queue: str = "q") -> str:
        message = self._message(queue)
        await self.transport.asend(message, timeout=60)
        return str(message.properties.correlation_id)

    def _message(self, queue: str) -> Outgoing:
        return Outgoing("", queue, Properties(correlation_id=new_id(), reply_to=self.backend.reply_to), b"[]")

    def get(self, *ids: str, timeout: float | None = 60) -> dict[str, Any]:
        """The documents of all of them; fails when they don't come in time."""
        found: dict[str, bytes] = {}
        watch = self.backend.watch(ids)
        try:
            while len(found) < len(ids):
                news = watch.wait(timeout)
                assert news, f"{len(ids) - len(found)} answers have not come within {timeout} s"
                found.update(news)
        finally:
            watch.close()
        return {task_id: json.loads(document) for task_id, document in found.items()}

    async def aget(self, *ids: str, timeout: float | None = 60) -> dict[str, Any]:  # noqa: ASYNC109 -- as get()
        found: dict[str, bytes] = {}
        watch = self.backend.watch(ids)
        try:
            while len(found) < len(ids):
                news = await watch.await_(timeout)
                assert news, f"{len(ids) - len(found)} answers have not come within {timeout} s"
                found.update(news)
        finally:
            watch.close()
        return {task_id: json.loads(document) for task_id, document in found.items()}

    def close(self) -> None:
        self.transport.close()


def document(task_id: str, result: object = 1, status: str = "SUCCESS") -> bytes:
    """As Celery writes it."""
    meta = {"status": status, "result": result, "traceback": None, "children": [], "task_id": task_id}
    return json.dumps(meta).encode()


class Answerer:
    """Publishes answers to a reply queue; returns are collected, as nobody is there to read them."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()

    def answer(self, reply_to: str, task_id: str, result: object = 1, status: str = "SUCCESS") -> None:
        self.publish(reply_to, task_id, document(task_id, result, status))

    def publish(self, reply_to: str, task_id: str | None, body: bytes) -> None:
        properties = pika.BasicProperties(
            correlation_id=task_id, content_type="application/json", content_encoding="utf-8", delivery_mode=2
        )
        self.channel.basic_publish("", reply_to, body, properties, mandatory=True)

    def count(self, queue: str) -> int:
        """Messages that wait in a queue."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def consumers(self, queue: str) -> int:
        return int(self.channel.queue_declare(queue, passive=True).method.consumer_count)

    def delete(self, queue: str) -> None:
        self.channel.queue_delete(queue)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def answering(url: str) -> Iterator[Answerer]:
    answerer = Answerer(url)
    try:
        yield answerer
    finally:
        answerer.close()
