"""amqtask: app, tasks, producer."""

from __future__ import annotations

import os
from typing import Any

from amqtask import Amqtask, Queue

from harness import counter
from harness.client import settings

QUEUE = "bench.amqtask"

app = Amqtask(
    "bench",
    broker=os.environ["BENCH_BROKER"],
    task_default_queue=QUEUE,
    task_queues=[Queue(QUEUE, type=settings()["queue_type"])],
    task_ignore_result=True,
)


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
        noop.delay_many([(number, 7) for number in range(count)])
        return count

    def send_numbered(self, number: int) -> None:
        numbered.delay(number)

    def flush(self) -> None:
        """Nothing: a call returns when its messages are confirmed."""
