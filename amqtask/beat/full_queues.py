"""Occurrences that a full queue has refused. Owns what becomes of them.

The log has its copy of such an occurrence already, so only the task's queue gets it again. The broker keeps it for that
queue, in the one by which delayed messages leave the ladder for it: whatever happens to the scheduler, it arrives when
there is room. Where there is no such queue, and none may be declared, it is sent again from here for a while.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from amqtask.topology.delays import EXIT_PREFIX, exit_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.beat.log_channel import LogChannel
    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Loop
    from amqtask.errors import AmqtaskError
    from amqtask.wire.message import Outgoing

logger = logging.getLogger("amqtask.beat")

_AGAIN, _TRIES = 1.0, 30
"""Seconds before a message is sent again, and how often it is."""
_KEPT = 10_000
"""Messages whose tries are counted."""


class FullQueues:
    """Of one scheduler; lives on its loop.

    Args:
        loop: of the scheduler.
        channel: the channel that is open now, or None.
        see_exit: see that the exit of a queue is there.
    """

    def __init__(
        self,
        loop: Loop,
        channel: Callable[[], LogChannel | None],
        see_exit: Callable[[str, DeclareDone], None],
    ) -> None:
        self._loop, self._channel, self._see_exit = loop, channel, see_exit
        self._tries: dict[str, int] = {}

    def refused(self, message: Outgoing) -> None:
        """Have the broker keep a message until its queue has room; else send it again in a moment, for some time."""
        properties = message.properties
        headers = {key: one for key, one in (properties.headers or {}).items() if key != "BCC"}
        queue = message.routing_key.removeprefix(EXIT_PREFIX)
        plain = message._replace(routing_key=queue, properties=properties._replace(headers=headers))
        own = str(properties.message_id)
        tries = self._tries[own] = self._tries.pop(own, 0) + 1
        if len(self._tries) > _KEPT:
            del self._tries[next(iter(self._tries))]
        if tries > _TRIES:
            logger.error("Queue %s is full; a periodic task is given up after %d tries", queue, _TRIES)
        elif queue == message.routing_key:
            self._see_exit(queue, partial(self._seen, plain))
        else:  # somebody has deleted the exit
            self._loop.call_later(_AGAIN, partial(self._send, plain))

    def _seen(self, message: Outgoing, error: AmqtaskError | None) -> None:
        queue = message.routing_key
        if error is None:
            logger.warning("Queue %s is full: it gets a periodic task when it has room", queue)
            self._send(message._replace(routing_key=exit_name(queue)))
        else:
            logger.warning("Queue %s is full: it refuses a periodic task; trying again (%s)", queue, error)
            self._loop.call_later(_AGAIN, partial(self._send, message))

    def _send(self, message: Outgoing) -> None:
        channel = self._channel()
        if channel is None or not channel.is_open:
            self._loop.call_later(_AGAIN, partial(self._send, message))
        else:
            channel.publish(message)
