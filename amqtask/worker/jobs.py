"""The job that a delivery is: what pools run, and what :mod:`amqtask.execution` is asked about. Owns nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.execution.job import Job
from amqtask.worker.crashes import deliveries

if TYPE_CHECKING:
    from amqtask.worker.delivery import Delivery


def job_of(delivery: Delivery) -> Job:
    """The job that a delivery is."""
    properties = delivery.properties
    return Job.of(
        delivery.key,
        delivery.queue,
        delivery,
        properties,
        properties.headers or {},
        redelivered=delivery.redelivered,
        deliveries=deliveries(delivery) or 0,
    )
