"""amqtask: the task framework for people who run RabbitMQ.

Owns the public names; each is imported when it is first used, so ``import amqtask`` itself loads next to
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from amqtask.version import __version__

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.canvas.chain import chain
    from amqtask.canvas.chord import chord
    from amqtask.canvas.group import group
    from amqtask.canvas.maps import chunks, xmap, xstarmap
    from amqtask.canvas.signature import Signature, maybe_signature, signature
    from amqtask.canvas.stamps import StampingVisitor
    from amqtask.errors import (
        AccessRefused,
        AmqtaskError,
        BackendError,
        BrokerBlocked,
        BrokerError,
        BrokerUnavailable,
        ChordError,
        ConfigError,
        ContentRefused,
        DecodeError,
        DevBrokerGone,
        DocumentError,
        EncodeError,
        Ignore,
        InequivalentArguments,
        MaxRetriesExceeded,
        MessageTooLarge,
        NoResultBackend,
        PartialPublish,
        PublishError,
        PublishTimeout,
        QueueFull,
        Reject,
        RemoteError,
        ResultGone,
        ResultTimeout,
        ResultTooLarge,
        Retry,
        SerializationError,
        SoftTimeLimitExceeded,
        TaskControl,
        TaskRevoked,
        TimeLimitExceeded,
        TopologyError,
        UnknownEntry,
        UnknownTask,
        Unroutable,
        WorkerLost,
    )
    from amqtask.results.eager import EagerResult
    from amqtask.results.future import AsyncResult
    from amqtask.results.group import GroupResult, ResultSet
    from amqtask.results.joining import allow_join_result
    from amqtask.schedules.cron import crontab
    from amqtask.schedules.solar import solar
    from amqtask.tasks.context import Context
    from amqtask.tasks.hooks import BaseTask
    from amqtask.tasks.limits import Limit
    from amqtask.tasks.middleware import Middleware
    from amqtask.tasks.task import AsyncTask, Task
    from amqtask.topology.declarations import (
        Backoff,
        Binding,
        DeadLetter,
        Exchange,
        Pool,
        Queue,
        RetryPolicy,
        Route,
    )

__all__ = [
    "AccessRefused",
    "Amqtask",
    "AmqtaskError",
    "AsyncResult",
    "AsyncTask",
    "BackendError",
    "Backoff",
    "BaseTask",
    "Binding",
    "BrokerBlocked",
    "BrokerError",
    "BrokerUnavailable",
    "ChordError",
    "ConfigError",
    "ContentRefused",
    "Context",
    "DeadLetter",
    "DecodeError",
    "DevBrokerGone",
    "DocumentError",
    "EagerResult",
    "EncodeError",
    "Exchange",
    "GroupResult",
    "Ignore",
    "InequivalentArguments",
    "Limit",
    "MaxRetriesExceeded",
    "MessageTooLarge",
    "Middleware",
    "NoResultBackend",
    "PartialPublish",
    "Pool",
    "PublishError",
    "PublishTimeout",
    "Queue",
    "QueueFull",
    "Reject",
    "RemoteError",
    "ResultGone",
    "ResultSet",
    "ResultTimeout",
    "ResultTooLarge",
    "Retry",
    "RetryPolicy",
    "Route",
    "SerializationError",
    "Signature",
    "SoftTimeLimitExceeded",
    "StampingVisitor",
    "Task",
    "TaskControl",
    "TaskRevoked",
    "TimeLimitExceeded",
    "TopologyError",
    "UnknownEntry",
    "UnknownTask",
    "Unroutable",
    "WorkerLost",
    "__version__",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "crontab",
    "group",
    "maybe_signature",
    "signature",
    "solar",
    "xmap",
    "xstarmap",
]

_HOMES = {
    "StampingVisitor": "amqtask.canvas.stamps",
    "maybe_signature": "amqtask.canvas.signature",
    "xstarmap": "amqtask.canvas.maps",
    "xmap": "amqtask.canvas.maps",
    "chunks": "amqtask.canvas.maps",
    "chord": "amqtask.canvas.chord",
    "group": "amqtask.canvas.group",
    "chain": "amqtask.canvas.chain",
    "signature": "amqtask.canvas.signature",
    "Signature": "amqtask.canvas.signature",
    "allow_join_result": "amqtask.results.joining",
    "ResultSet": "amqtask.results.group",
    "GroupResult": "amqtask.results.group",
    "Amqtask": "amqtask.app.app",
    "AsyncResult": "amqtask.results.future",
    "AsyncTask": "amqtask.tasks.task",
    "BaseTask": "amqtask.tasks.hooks",
    "Context": "amqtask.tasks.context",
    "EagerResult": "amqtask.results.eager",
    "Limit": "amqtask.tasks.limits",
    "Middleware": "amqtask.tasks.middleware",
    "Task": "amqtask.tasks.task",
    "crontab": "amqtask.schedules.cron",
    "solar": "amqtask.schedules.solar",
    **dict.fromkeys(
        ("Backoff", "Binding", "DeadLetter", "Exchange", "Pool", "Queue", "RetryPolicy", "Route"),
        "amqtask.topology.declarations",
    ),
}
"""Public name -> module; every other public name is an error."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        value: Any = getattr(import_module(_HOMES.get(name, "amqtask.errors")), name)
    else:
        raise AttributeError(f"module 'amqtask' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
