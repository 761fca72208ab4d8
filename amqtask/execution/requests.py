"""The ``self.request`` of a task that a worker, or eager mode, runs. Owns what a message becomes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import KEY_WORD
from amqtask.wire.message import BROKER_HEADERS, strip_broker_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.execution.job import Job
    from amqtask.tasks.context import Context
    from amqtask.wire.message import TaskMessage

_LADDER_KEY = f"{KEY_WORD}."


def request_of(
    kind: type[Context],
    job: Job,
    message: TaskMessage,
    hostname: str,
    *,
    is_eager: bool,
    report: Callable[[str, Any], None] | None,
) -> Context:
    """The request of one attempt.

    Args:
        kind: class of the task's requests.
        job: its delivery.
        message: the same, decoded.
        hostname: node name of the worker.
        is_eager: it runs in the caller's process.
        report: stores a state of the task.
    """
    exchange, routing_key = job.exchange, job.routing_key
    if routing_key.startswith(_LADDER_KEY):  # it has waited in the broker: how is not the task's business
        exchange, routing_key = DEFAULT_EXCHANGE, job.queue
    headers = message.headers
    if not BROKER_HEADERS.isdisjoint(headers):
        headers = strip_broker_headers(headers)
    return kind(
        message.task,
        message.id,
        message.args,
        message.kwargs,
        message.retries,
        message.eta,
        message.expires,
        hostname,
        job.queue,
        {
            "exchange": exchange,
            "routing_key": routing_key,
            "priority": job.priority,
            "redelivered": job.redelivered,
        },
        job.priority,
        job.redelivered,
        job.deliveries,
        headers,
        message.root_id or message.id,
        message.parent_id,
        job.correlation_id,
        job.reply_to,
        message.ignore_result,
        is_eager=is_eager,
        message=message,
        received=job.headers,
        report=report,
    )
