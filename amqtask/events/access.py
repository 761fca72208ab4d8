"""``app.events``: what programs use to watch workers. Owns the names, which are Celery's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.events.receiver import Receiver
from amqtask.events.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amqtask.broker.driven import DrivenConnection
    from amqtask.config.settings import Settings
    from amqtask.events.history import Offset
    from amqtask.events.receiver import Handler


class Events:
    """Receivers and states of one app.

    Args:
        settings: of the app.
        connect: makes a connection for a receiver that is given none.
    """

    State = State

    def __init__(self, settings: Callable[[], Settings], connect: Callable[[], DrivenConnection]) -> None:
        self._settings, self._connect = settings, connect

    def Receiver(  # noqa: N802 -- Celery's name
        self,
        connection: DrivenConnection | None = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        from_offset: Offset | None = None,
    ) -> Receiver:
        """A receiver of this app; see :class:`~amqtask.events.receiver.Receiver`."""
        link = self._connect() if connection is None else connection
        settings = self._settings()
        return Receiver(link, handlers, routing_key, node_id, settings=settings, from_offset=from_offset)
