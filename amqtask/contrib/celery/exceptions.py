"""``celery.exceptions``: Celery's names for the errors of amqtask. Both are the same classes."""

from __future__ import annotations

from amqtask.errors import (
    AmqtaskError,
    BackendError,
    BrokerError,
    ChordError,
    ConfigError,
    ContentRefused,
    DecodeError,
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
    Unroutable,
    WorkerLost,
)


class AlreadyRegistered(AmqtaskError):
    """Celery's; raised by neither."""


class Terminated(AmqtaskError):
    """Celery's; here a task that was stopped by ``terminate`` is told as TaskRevokedError."""


class WorkerShutdown(SystemExit):
    """Celery's; here a task can't end its worker."""


CeleryError = AmqtaskError
ImproperlyConfigured = ConfigError
MaxRetriesExceededError = MaxRetriesExceeded
InvalidTaskError = DecodeError
NotRegistered = UnknownTask
OperationalError = BrokerError
QueueNotFound = Unroutable
SecurityError = ContentRefused
TaskError = AmqtaskError
TaskPredicate = TaskControl
TaskRevokedError = TaskRevoked
TimeoutError = ResultTimeout  # noqa: A001 -- Celery's name
WorkerLostError = WorkerLost

__all__ = [
    "AlreadyRegistered",
    "BackendError",
    "CeleryError",
    "ChordError",
    "Ignore",
    "ImproperlyConfigured",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SecurityError",
    "SerializationError",
    "SoftTimeLimitExceeded",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
]
