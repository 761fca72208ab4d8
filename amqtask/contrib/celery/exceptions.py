"""``celery.exceptions``: Celery's names for the errors of amqtask. Both are the same classes."""

from __future__ import annotations

from amqtask.errors import (
    AmqtaskError,
    BackendError,
    BrokerError,
    ChordError,
    ConfigError,
    Ignore,
    MaxRetriesExceeded,
    Reject,
    ResultTimeout,
    Retry,
    SerializationError,
    SoftTimeLimitExceeded,
    TaskControl,
    TaskRevoked,
    TimeLimitExceeded,
    UnknownTask,
    WorkerLost,
)

CeleryError = AmqtaskError
ImproperlyConfigured = ConfigError
MaxRetriesExceededError = MaxRetriesExceeded
NotRegistered = UnknownTask
OperationalError = BrokerError
TaskError = AmqtaskError
TaskPredicate = TaskControl
TaskRevokedError = TaskRevoked
TimeoutError = ResultTimeout  # noqa: A001 -- Celery's name
WorkerLostError = WorkerLost

__all__ = [
    "BackendError",
    "CeleryError",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "Reject",
    "Retry",
    "SerializationError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
]
