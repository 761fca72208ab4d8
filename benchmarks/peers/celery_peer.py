"""Celery: app, tasks, producer. SETTINGS has whatever differs from Celery's defaults."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import Queue

from harness import counter
from harness.client import settings

QUEUE = "bench.celery"
_chosen = settings()
_slots = _chosen.get("slots", 2)

SETTINGS = {
    "task_ignore_result": True,
    "task_acks_late": True,  # as the comparison demands: acknowledged after execution
    "task_default_queue": QUEUE,
    "task_default_routing_key": QUEUE,
    "task_queues": [Queue(QUEUE, routing_key=QUEUE, queue_arguments={"x-queue-type": _chosen["queue_type"]})],
    "worker_prefetch_multiplier": _chosen.get("prefetch", 4 * _slots) // _slots,
    "broker_transport_options": {"confirm_publish": _chosen.get("confirm", False)},
    "broker_connection_retry_on_startup": True,
    "worker_hijack_root_logger": False,
}

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(SETTINGS)


@app.task(name="bench.noop")
def noop(a: int, b: int) -> None:  # noqa: ARG001
    counter.done()


@app.task(name="bench.numbered")
def numbered(number: int) -> None:
    counter.moment(number)


class Client:
    def __init__(self, _settings: dict[str, Any]) -> None:
        self.close = app.close

    def send(self) -> None:
        noop.delay(1, 7)

    def send_many(self, count: int) -> int:
        for number in range(count):
            noop.delay(number, 7)
        return count

    def send_numbered(self, number: int) -> None:
        numbered.delay(number)

    def flush(self) -> None:
        """Nothing: Celery has no pipelined confirms to wait for."""
