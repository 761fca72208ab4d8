"""An ordinary Celery project: nothing in it knows of amqtask. BROKER_URL and QUEUE_TYPE say what it runs on."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from kombu import Exchange, Queue


def make_app(url: str | None, queue_type: str) -> Celery:
    """The app, of the worker as of a client."""
    made = Celery("celery_shop", broker=url, backend="rpc://")
    exchange = Exchange("work", "topic")
    made.conf.update(
        broker_connection_retry_on_startup=True,
        task_acks_late=True,
        worker_prefetch_multiplier=2,
        result_expires=60,
        task_default_queue="work",
        task_queues=[Queue("work", exchange, routing_key="work.#", queue_arguments={"x-queue-type": queue_type})],
        task_default_exchange="work",
        task_default_exchange_type="topic",
        task_default_routing_key="work",
    )
    if queue_type == "quorum":  # which makes Celery delay tasks on the broker
        made.conf.update(worker_detect_quorum_queues=True, broker_native_delayed_delivery_queue_type="classic")
    return made


app = make_app(os.environ.get("BROKER_URL"), os.environ.get("QUEUE_TYPE", "classic"))


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(bind=True, max_retries=3)
def succeed_at_third(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    retries: int = self.request.retries
    return retries


@app.task
def moment() -> float:
    return time.time()


@app.task
def fail() -> None:
    raise ValueError("as it should")


@app.task
def size(data: str) -> int:
    return len(data)
