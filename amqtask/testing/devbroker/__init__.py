"""A development broker: AMQP 0-9-1 in memory, behaving as RabbitMQ 4.3 does. Nothing survives a restart.

Knows nothing of the rest of amqtask. Start one in this process with :class:`DevBroker`, or as a process with
``python -m amqtask.testing.devbroker``, and steer that through a :class:`ControlClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.testing.devbroker.control import ControlClient
    from amqtask.testing.devbroker.embedded import DevBroker

__all__ = ["ControlClient", "DevBroker"]


def __getattr__(name: str) -> Any:
    """Import lazily: the engine's modules can be used without asyncio."""
    if name == "DevBroker":
        from amqtask.testing.devbroker.embedded import DevBroker  # noqa: PLC0415

        return DevBroker
    if name == "ControlClient":
        from amqtask.testing.devbroker.control import ControlClient  # noqa: PLC0415

        return ControlClient
    raise AttributeError(name)
