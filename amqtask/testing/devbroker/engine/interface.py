"""What the two halves of the dev broker ask of each other.

The engine (vhosts, exchanges, queues; knows no frames and no sockets) calls a :class:`Consumer`; the protocol side
(connections, channels) implements it and calls :class:`~.vhost.VHost` and :class:`~.queues.Queue`. Everything runs
on one thread and without waiting, so every call is atomic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.message import Message


class Entry(Protocol):
    """A message in a queue; the handle with which a delivery is settled."""

    @property
    def message(self) -> Message:
        """What to send; for a redelivery on a quorum queue it has the count headers."""

    @property
    def redelivered(self) -> bool:
        """Whether it was delivered before."""


class Consumer(Protocol):
    """A subscriber of a queue, made by a channel."""

    tag: str
    priority: int
    exclusive: bool
    no_ack: bool
    timeout: int | None
    """Milliseconds within which it has to settle a delivery of a quorum queue; None: what the queue says."""

    @property
    def ready(self) -> bool:
        """Whether it takes a message now: prefetch not used up, channel flowing."""

    def deliver(self, entry: Entry) -> None:
        """Take a message. With ``no_ack`` the queue has forgotten it already."""

    def cancelled(self) -> None:
        """The queue is gone: tell the client (consumer cancel notify) and forget the subscription."""


class Routed(NamedTuple):
    """What became of a published message."""

    queues: int
    """How many queues it was routed to; 0: unroutable."""
    accepted: bool
    """False: a queue refused it (reject-publish), which a confirming publisher is told by a nack."""
