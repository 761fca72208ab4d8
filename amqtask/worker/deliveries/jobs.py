"""The job that a delivery is: what pools run, and what :mod:`amqtask.execution` is asked about. Owns nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.execution.job import Job
from amqtask.worker.deliveries.crashes import deliveries

if TYPE_CHECKING:
    from amqtask.worker.deliveries.delivery import Delivery


def job_of(delivery: Delivery, time_limit: float | None = None, soft_time_limit: float | None = None) -> Job:
    """The job that a delivery is, with its limits in seconds."""
    properties = delivery.properties
    job = Job.of(
        delivery.key,
        delivery.queue,
        delivery,
        properties,
        properties.headers or {},
        redelivered=delivery.redelivered,
        deliveries=deliveries(delivery) or 0,
    )
    if time_limit is None and soft_time_limit is None:
        return job
    return job._replace(time_limit=time_limit, soft_time_limit=soft_time_limit)
