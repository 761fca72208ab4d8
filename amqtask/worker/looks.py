"""Looks at queues from the worker's own connection: how many messages and consumers. Owns one channel for them.

Passive declares, which change nothing. Lives on the I/O thread.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import Channel, Connection


class Look(NamedTuple):
    """What the broker says of a queue."""

    messages: int
    consumers: int


class QueueLooks:
    """A channel on which queues are looked at, one series of looks at a time.

    Args:
        connection: gives the connection while there is one.
    """

    def __init__(self, connection: Callable[[], Connection | None]) -> None:
        self._connection = connection
        self._channel: Channel | None = None
        self._found: dict[str, Look] = {}
        self._left: list[str] = []
        self._done: Callable[[dict[str, Look], str], None] | None = None

    def look(self, names: Sequence[str], done: Callable[[dict[str, Look], str], None]) -> None:
        """Look at queues; a series that has not ended is given up.

        Args:
            names: of the queues.
            done: told what was found, and why that is not all; an empty text when it is. Not called as long as the
                broker does not answer.
        """
        self._found, self._left, self._done = {}, list(names), done
        connection = self._connection()
        if connection is None:
            self._end("there is no connection to the broker")
        elif self._channel is None or not self._channel.is_open:
            connection.open_channel(self._opened, partial(self._closed, done))
        else:
            self._next(done)

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        if self._done is not None:
            self._next(self._done)

    def _closed(self, done: Callable[[dict[str, Look], str], None], code: int, text: str) -> None:
        self._channel = None
        if done is self._done or code:
            self._end(f"the broker closed the channel: {code} {text}" if code else "the connection was lost")

    def _next(self, done: Callable[[dict[str, Look], str], None]) -> None:
        if not self._left:
            self._end("")
            return
        assert self._channel is not None
        name = self._left[0]

        def answered(frame: Any) -> None:
            if done is self._done:
                self._found[name] = Look(frame.method.message_count, frame.method.consumer_count)
                del self._left[0]
                self._next(done)

        self._channel.queue_declare(name, passive=True, callback=answered)

    def _end(self, problem: str) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self._found, problem)
