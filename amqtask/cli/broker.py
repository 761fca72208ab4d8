"""The command line's own connection to the broker. Owns opening it, and the names a command may use on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amqtask.errors import TopologyError
from amqtask.plugins import did_you_mean

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.broker.admin import Admin
    from amqtask.topology.model import Topology


def open_admin(app: Amqtask, blocked_timeout: float | None = None) -> Admin:
    """A blocking connection to the app's broker, as a context manager.

    Args:
        app: whose broker.
        blocked_timeout: seconds that the broker may block publishers, instead of the setting's.
    """
    from amqtask.broker.admin import Admin  # noqa: PLC0415 -- loads pika

    options = replace(app.connection_options, name=f"{app.main} (command line)")
    return Admin(
        app.broker_urls, options if blocked_timeout is None else replace(options, blocked_timeout=blocked_timeout)
    )


def queue_names(topology: Topology) -> list[str]:
    """Every queue a command may name: those declared, and the retry and dead-letter queues around them."""
    from amqtask.topology.delays import dead_name, exact_delays, retry_name  # noqa: PLC0415

    names = []
    for queue in topology.queues.values():
        names += [
            queue.name,
            dead_name(queue.name),
            *(retry_name(queue.name, at) for at in exact_delays(queue)),
        ]
    return names


def check_queue_name(topology: Topology, name: str) -> None:
    """Refuse a queue that is none of ours.

    Raises:
        TopologyError: names the nearest.
    """
    known = queue_names(topology)
    if name not in known and not topology.open:
        hint = did_you_mean(name, known) or f"; there are {', '.join(topology.queues)}"
        raise TopologyError(f"unknown queue {name!r}{hint}")
