"""Dramatiq: broker, actors, producer. Everything at its defaults but for confirms and the queue type."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from harness import counter
from harness.client import settings

QUEUE = "bench.dramatiq"


class _TypedBroker(RabbitmqBroker):
    """Dramatiq has no option for the queue type."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": settings()["queue_type"]}


dramatiq.set_broker(_TypedBroker(url=os.environ["BENCH_BROKER"], confirm_delivery=settings().get("confirm", False)))


@dramatiq.actor(queue_name=QUEUE)
def noop(a: int, b: int) -> None:  # noqa: ARG001
    counter.done()


@dramatiq.actor(queue_name=QUEUE)
def numbered(number: int) -> None:
    counter.moment(number)


class Client:
    def __init__(self, _settings: dict[str, Any]) -> None:
        self.close = dramatiq.get_broker().close

    def send(self) -> None:
        noop.send(1, 7)

    def send_many(self, count: int) -> int:
        for number in range(count):
            noop.send(number, 7)
        return count

    def send_numbered(self, number: int) -> None:
        numbered.send(number)

    def flush(self) -> None:
        """Nothing: Dramatiq has no pipelined confirms to wait for."""
