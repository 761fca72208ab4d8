"""amqtask: the task framework for people who run RabbitMQ.

Owns the public names; each is imported when it is first used, so ``import amqtask`` itself loads next to
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.errors import (
        AccessRefused,
        AmqtaskError,
        BrokerBlocked,
        BrokerError,
        BrokerUnavailable,
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
        PartialPublish,
        PublishError,
        PublishTimeout,
        QueueFull,
        Reject,
        Retry,
        SerializationError,
        TaskControl,
        TopologyError,
        UnknownTask,
        Unroutable,
    )
    from amqtask.results.eager import EagerResult
    from amqtask.results.future import AsyncResult
    from amqtask.tasks.context import Context
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

    __version__: str

__all__ = [
    "AccessRefused",
    "Amqtask",
    "AmqtaskError",
    "AsyncResult",
    "AsyncTask",
    "Backoff",
    "Binding",
    "BrokerBlocked",
    "BrokerError",
    "BrokerUnavailable",
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
    "Ignore",
    "InequivalentArguments",
    "MaxRetriesExceeded",
    "MessageTooLarge",
    "PartialPublish",
    "Pool",
    "PublishError",
    "PublishTimeout",
    "Queue",
    "QueueFull",
    "Reject",
    "Retry",
    "RetryPolicy",
    "Route",
    "SerializationError",
    "Task",
    "TaskControl",
    "TopologyError",
    "UnknownTask",
    "Unroutable",
    "__version__",
]

_HOMES = {
    "Amqtask": "amqtask.app.app",
    "AsyncResult": "amqtask.results.future",
    "AsyncTask": "amqtask.tasks.task",
    "Context": "amqtask.tasks.context",
    "EagerResult": "amqtask.results.eager",
    "Task": "amqtask.tasks.task",
    **dict.fromkeys(
        ("Backoff", "Binding", "DeadLetter", "Exchange", "Pool", "Queue", "RetryPolicy", "Route"),
        "amqtask.topology.declarations",
    ),
}
"""Public name -> module; every other public name is an error."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 -- slow, and rarely asked for

        value: Any = version("amqtask")
    elif name in __all__:
        value = getattr(import_module(_HOMES.get(name, "amqtask.errors")), name)
    else:
        raise AttributeError(f"module 'amqtask' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
