"""Everything for tests and development: the dev broker, the pytest plugin, and what both stand on.

Owns the names that test suites may import, for annotations mostly; each is imported when it is first used. The
fixtures themselves are in :mod:`amqtask.testing.plugin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.testing.clock import TestClock
    from amqtask.testing.dead import Dead, DeadTask
    from amqtask.testing.devbroker import DevBroker
    from amqtask.testing.drain import Drain, Drained
    from amqtask.testing.published import Published, PublishedTask
    from amqtask.testing.vhosts import NeedsDevBroker, Vhost
    from amqtask.testing.workers import RunningWorker, Workers
    from amqtask.worker.embedded import EmbeddedWorker

__all__ = [
    "Dead",
    "DeadTask",
    "DevBroker",
    "Drain",
    "Drained",
    "EmbeddedWorker",
    "NeedsDevBroker",
    "Published",
    "PublishedTask",
    "RunningWorker",
    "TestClock",
    "Vhost",
    "Workers",
]

_HOMES = {
    **dict.fromkeys(("Dead", "DeadTask"), "amqtask.testing.dead"),
    **dict.fromkeys(("Drain", "Drained"), "amqtask.testing.drain"),
    **dict.fromkeys(("NeedsDevBroker", "Vhost"), "amqtask.testing.vhosts"),
    **dict.fromkeys(("Published", "PublishedTask"), "amqtask.testing.published"),
    **dict.fromkeys(("RunningWorker", "Workers"), "amqtask.testing.workers"),
    "DevBroker": "amqtask.testing.devbroker",
    "EmbeddedWorker": "amqtask.worker.embedded",
    "TestClock": "amqtask.testing.clock",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'amqtask.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
