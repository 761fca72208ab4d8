"""How many messages wait in chords' queues, asked on a channel of its own. Owns that channel.

One question at a time: asking for a queue that is gone costs the channel, and the others their answers. So does asking
for one that is away with its node, and RabbitMQ may take a minute to say so. Such questions are asked again on another
channel, where they hold up nobody but each other.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.broker.faults import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Channel, Connection, Loop

    Looked = Callable[[int | None], None]
    """Told how many messages are ready; None: there is no such queue."""

logger = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds until the next attempt when there is no connection."""

_REFUSED_PAUSE = 2.0
"""The same when the broker has refused: the queue's node is away, or a permission is missing."""

_PATIENCE = 5.0
"""Seconds for an answer that others wait for too."""


class ChordLooks:
    """Asks the broker. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        connection: the worker's, when there is one.
        patience: seconds for an answer; None: as long as it takes.
    """

    def __init__(
        self, loop: Loop, connection: Callable[[], Connection | None], *, patience: float | None = _PATIENCE
    ) -> None:
        self._loop, self._connection, self._patience = loop, connection, patience
        self._questions: deque[tuple[str, Looked]] = deque()
        self._channel: Channel | None = None
        self._opened_times = 0
        self._timer: object = None
        self._busy = False
        """The channel is being opened, a question is on its way, or we pause."""
        self._slow = self if patience is None else ChordLooks(loop, connection, patience=None)

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
            self._ask(channel)
            return
        connection = self._connection()
        if connection is None:
            self._pause(PAUSE)
        else:
            self._opened_times += 1
            connection.open_channel(self._opened, partial(self._closed, self._opened_times))

    def _ask(self, channel: Channel) -> None:
        queue, _ = question = self._questions[0]

        def late() -> None:
            if channel is self._channel and self._questions and self._questions[0] is question:
                logger.warning("The broker does not say whether chord queue %s is there; will keep trying", queue)
                self._channel = None
                self._opened_times += 1  # how that one ends is of no interest any more
                if channel.is_open:
                    channel.close()
                self._put_aside()

        if self._patience is not None:
            self._timer = self._loop.call_later(self._patience, late)
        channel.queue_declare(queue, passive=True, callback=lambda frame: self._answered(channel, frame))

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
            self._loop.cancel(self._timer)
            self._answer(frame.method.message_count)

    def _answer(self, ready: int | None) -> None:
        _, looked = self._questions.popleft()
        self._resume()
        looked(ready)

    def _closed(self, opened_times: int, code: int, text: str) -> None:
        if opened_times != self._opened_times:
            return
        self._channel = None
        self._loop.cancel(self._timer)
        if not self._busy:  # nothing was asked: it is opened again for the next question
            return
        if not code:  # the connection has gone
            self._pause(PAUSE)
        elif is_gone(code, text):
            self._answer(None)
        else:
            logger.warning("A chord's queue can't be looked at (%s %s); will keep trying", code, text)
            self._put_aside()

    def _put_aside(self) -> None:
        queue, looked = self._questions.popleft()
        self._loop.call_later(_REFUSED_PAUSE, lambda: self._slow.look(queue, looked))
        self._resume()
