"""How many messages wait in chords' queues, asked on a channel of its own. Owns that channel.

One question at a time: asking for a queue that is gone costs the channel, and the others their answers.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop

    Looked = Callable[[int | None], None]
    """Told how many messages are ready; None: there is no such queue."""

logger = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds until the next attempt when there is no connection."""

_REFUSED_PAUSE = 2.0
NOT_FOUND = 404


class Looks:
    """Asks the broker. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        connection: the worker's, when there is one.
    """

    def __init__(self, loop: Loop, connection: Callable[[], Connection | None]) -> None:
        self._loop, self._connection = loop, connection
        self._questions: deque[tuple[str, Looked]] = deque()
        self._channel: Channel | None = None
        self._busy = False
        """The channel is being opened, a question is on its way, or we pause."""

    def look(self, queue: str, looked: Looked) -> None:
        """Ask; the answer is of a time after this call. Tried until there is one."""
        self._questions.append((queue, looked))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._questions:
            return
        self._busy = True
        channel = self._channel
        if channel is not None and channel.is_open:
            queue, _ = self._questions[0]
            channel.queue_declare(queue, passive=True, callback=lambda frame: self._answered(channel, frame))
            return
        connection = self._connection()
        if connection is None:
            self._pause(PAUSE)
        else:
            connection.open_channel(self._opened, self._closed)

    def _pause(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._busy = False
        self._next()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        self._resume()

    def _answered(self, channel: Channel, frame: Any) -> None:
        if channel is self._channel:
            self._answer(frame.method.message_count)

    def _answer(self, ready: int | None) -> None:
        _, looked = self._questions.popleft()
        self._resume()
        looked(ready)

    def _closed(self, code: int, text: str) -> None:
        self._channel = None
        if not self._busy:  # nothing was asked: it is opened again for the next question
            return
        if code == NOT_FOUND:
            self._answer(None)
            return
        if code:
            logger.warning("A chord's queue can't be looked at (%s %s); trying on", code, text)
        self._pause(_REFUSED_PAUSE if code else PAUSE)
