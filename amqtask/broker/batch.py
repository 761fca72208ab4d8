"""One message, or a batch of messages, on its way to the broker: who waits for it, and until when.

Owns the bookkeeping of :class:`amqtask.broker.publisher.Publisher`; performs no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.broker.content import seal
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import ConnectionOptions, PublishDone
    from amqtask.errors import BrokerError
    from amqtask.wire.message import Outgoing, PropertiesLike

    BatchDone = Callable[[dict[int, AmqtaskError]], None]
    """Told the end of a batch: index -> error of those that failed."""


class Pending:
    """One message whose fate is open.

    Attributes:
        since: monotonic time at which it was given to the publisher.
        deadline: monotonic time after which nobody waits any more; for one of a batch the batch's counts.
        written: it was written to a channel at least once, so the broker may have it.
        suspect: it was in flight when the broker closed a channel for a message it did not name.
    """

    __slots__ = ("_done", "batch", "deadline", "header", "index", "message", "since", "suspect", "written")

    def __init__(
        self,
        message: Outgoing,
        header: bytes,
        since: float,
        deadline: float,
        done: PublishDone | None,
        batch: Batch | None = None,
        index: int = 0,
    ) -> None:
        self.message = message
        self.header = header
        self.since = since
        self.deadline = deadline
        self.batch = batch
        self.index = index
        self.written = False
        self.suspect = False
        self._done = done

    def settle(self, error: BrokerError | None) -> None:
        """Tell whoever waits; called once."""
        if self.batch is not None:
            self.batch.settled(self.index, error)
        elif self._done is not None:
            self._done(error)

    def limit(self) -> float:
        """Monotonic time after which it has failed."""
        return self.deadline if self.batch is None else self.batch.deadline

    def looks_like(self, exchange: str, routing_key: str, properties: PropertiesLike, body: bytes) -> bool:
        """Could this be the message that the broker returned?"""
        mine = self.message
        return (
            mine.exchange == exchange
            and mine.routing_key == routing_key
            and mine.body == body
            and mine.properties.message_id == properties.message_id
            and mine.properties.correlation_id == properties.correlation_id
        )


class Batch:
    """Many messages with one waiter. Its deadline moves on with every confirm.

    Attributes:
        deadline: monotonic time; ``timeout`` seconds after the last progress.
    """

    def __init__(self, messages: Sequence[Outgoing], timeout: float, done: BatchDone) -> None:
        self.since = clock.monotonic()
        self.timeout = timeout
        self.deadline = self.since + timeout
        self._messages = messages
        self._done = done
        self._errors: dict[int, AmqtaskError] = {}
        self._next = 0
        self._settled = 0

    @property
    def left(self) -> int:
        """Messages that were not taken yet."""
        return len(self._messages) - self._next

    def take(self, options: ConnectionOptions, frame_max: int) -> Pending | None:
        """The next message that can be sent; None at the end. One that can't be encoded has failed by that."""
        while self._next < len(self._messages):
            index, self._next = self._next, self._next + 1
            message = self._messages[index]
            try:
                header = seal(message, options, frame_max)
            except AmqtaskError as error:
                self.settled(index, error)
            else:
                return Pending(message, header, clock.monotonic(), 0.0, None, self, index)
        return None

    def settled(self, index: int, error: AmqtaskError | None) -> None:
        """One message has reached its end; the last one ends the batch."""
        self._settled += 1
        if error is None:
            self.deadline = clock.monotonic() + self.timeout
        else:
            self._errors[index] = error
        if self._settled == len(self._messages):
            self._done(self._errors)

    def fail(self, make: Callable[[], BrokerError]) -> None:
        """Give up on every message that was not taken yet."""
        while self._next < len(self._messages):
            index, self._next = self._next, self._next + 1
            self.settled(index, make())
