"""Names of exceptions at Celery's for those of amqtask, both ways. Owns the table; Celery itself is not needed.

Celery's clients catch Celery's classes: they get them when this app is a member of a Celery deployment. What Celery's
workers send is always read as amqtask's.
"""

from __future__ import annotations

from amqtask import errors

OURS = "amqtask.errors"

_CELERY = {
    "UnknownTask": ("celery.exceptions", "NotRegistered"),
    "MaxRetriesExceeded": ("celery.exceptions", "MaxRetriesExceededError"),
    "TaskRevoked": ("celery.exceptions", "TaskRevokedError"),
    "ChordError": ("celery.exceptions", "ChordError"),
    "Retry": ("celery.exceptions", "Retry"),
    "Reject": ("celery.exceptions", "Reject"),
    "Ignore": ("celery.exceptions", "Ignore"),
    "ResultTimeout": ("celery.exceptions", "TimeoutError"),
    "ConfigError": ("celery.exceptions", "ImproperlyConfigured"),
    "BackendError": ("celery.exceptions", "BackendError"),
    "EncodeError": ("kombu.exceptions", "EncodeError"),
    "DecodeError": ("kombu.exceptions", "DecodeError"),
    "ContentRefused": ("kombu.exceptions", "ContentDisallowed"),
    "SoftTimeLimitExceeded": ("billiard.exceptions", "SoftTimeLimitExceeded"),
    "TimeLimitExceeded": ("billiard.exceptions", "TimeLimitExceeded"),
    "WorkerLost": ("billiard.exceptions", "WorkerLostError"),
    "Terminated": ("billiard.exceptions", "Terminated"),
}
"""Class in ``amqtask.errors`` -> module and name at Celery's."""

_AMQTASK = {theirs: ours for ours, theirs in _CELERY.items()}


def to_celery(module: str, name: str) -> tuple[str, str]:
    """Module and name as Celery knows them; those given when it has none."""
    return _CELERY.get(name, (module, name)) if module == OURS else (module, name)


def to_amqtask(module: str, name: str) -> tuple[str, str]:
    """Module and name of the class of amqtask that says the same; those given when there is none."""
    ours = _AMQTASK.get((module, name))
    return (OURS, ours) if ours is not None and hasattr(errors, ours) else (module, name)
