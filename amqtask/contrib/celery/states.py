"""``celery.states``: names of states. Beside Celery's there are those that only amqtask has."""

from __future__ import annotations

from amqtask.results.states import (
    ALL_STATES,
    DEAD,
    EXCEPTION_STATES,
    EXPIRED,
    FAILURE,
    PENDING,
    PROPAGATE_STATES,
    QUEUED,
    READY_STATES,
    RECEIVED,
    RETRY,
    REVOKED,
    SCHEDULED,
    STARTED,
    SUCCESS,
    UNKNOWN,
    UNREADY_STATES,
)

__all__ = [
    "ALL_STATES",
    "DEAD",
    "EXCEPTION_STATES",
    "EXPIRED",
    "FAILURE",
    "PENDING",
    "PROPAGATE_STATES",
    "QUEUED",
    "READY_STATES",
    "RECEIVED",
    "RETRY",
    "REVOKED",
    "SCHEDULED",
    "STARTED",
    "SUCCESS",
    "UNKNOWN",
    "UNREADY_STATES",
]
