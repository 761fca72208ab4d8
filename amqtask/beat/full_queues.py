"""Occurrences that a full queue has refused, sent again. Owns how often, and what is told of it.

The log has its copy of such an occurrence already, so only the task's queue gets it again.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.beat.log_channel import LogChannel
    from amqtask.broker.interface import Loop
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
    """

    def __init__(self, loop: Loop, channel: Callable[[], LogChannel | None]) -> None:
        self._loop, self._channel = loop, channel
        self._tries: dict[str, int] = {}

    def again(self, message: Outgoing) -> None:
        """Send a message again in a moment, unless that was tried often; without a channel when there is one again."""
        own = str(message.properties.message_id)
        tries = self._tries[own] = self._tries.pop(own, 0) + 1
        if len(self._tries) > _KEPT:
            del self._tries[next(iter(self._tries))]
        if tries > _TRIES:
            logger.error("Queue %s is full; a periodic task is given up after %d tries", message.routing_key, _TRIES)
            return
        logger.warning("Queue %s is full: it refuses a periodic task; trying again", message.routing_key)
        self._loop.call_later(_AGAIN, partial(self._send, message))

    def _send(self, message: Outgoing) -> None:
        channel = self._channel()
        if channel is None or not channel.is_open:
            self._loop.call_later(_AGAIN, partial(self._send, message))
        else:
            channel.publish(message)
