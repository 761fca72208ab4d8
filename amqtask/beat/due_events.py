"""Events of the scheduler: ``beat-due`` for each occurrence, with its lateness. Owns their sending.

On a connection of their own, made when the first one is sent: nothing may come between the scheduler and its log.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from amqtask.broker.publisher import Publisher
from amqtask.events.event import make, message, routing_key
from amqtask.topology.declarations import ExchangeDeclare

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.loop import SelectLoop
    from amqtask.errors import AmqtaskError
    from amqtask.schedules.entry import Entry

DUE = "beat-due"
_PATIENCE = 2.0
_WAITING_MAX = 1000
"""Events that may wait for the broker; more of them are not sent."""


class DueEvents:
    """Sends events if ``task_send_sent_event`` is set. Lives on the scheduler's loop.

    Args:
        app: its settings and brokers.
        loop: of the scheduler.
        options: of the connection.
    """

    def __init__(self, app: Amqtask, loop: SelectLoop, options: ConnectionOptions) -> None:
        self._wanted, self._exchange = app.settings.task_send_sent_event, app.settings.event_exchange
        self._publisher = Publisher(
            loop, app.broker_urls, options, strategy=app.settings.broker_failover_strategy, lazy=True
        )
        self._hostname = f"beat{os.getpid()}@{socket.gethostname()}"
        self._declared = False
        self._clock = 0

    def due(self, entry: Entry, due: datetime, task_id: str, late: float) -> None:
        """An occurrence was sent.

        Args:
            entry: whose.
            due: when it was due.
            task_id: of the task.
            late: seconds.
        """
        if not self._wanted or self._publisher.pending > _WAITING_MAX:
            return
        if not self._declared:
            self._declared = True
            self._publisher.declare(lambda _: [ExchangeDeclare(self._exchange, "topic", lenient=True)], _ignored)
        self._clock += 1
        fields = {"entry": entry.name, "name": entry.task, "uuid": task_id, "due": due.timestamp(), "lateness": late}
        event = make(DUE, self._hostname, self._clock, fields)
        self._publisher.publish(message(self._exchange, routing_key(DUE), self._hostname, event), _PATIENCE, _ignored)

    def release(self) -> None:
        """Close the connection at once; for a loop that does not run any more."""
        self._publisher.release()

    def stop(self, done: Callable[[], None]) -> None:
        """Close the connection, then call back."""
        self._publisher.stop(done)


def _ignored(_error: AmqtaskError | None) -> None:
    """Nobody listens, or the broker has other troubles: it is an event."""
