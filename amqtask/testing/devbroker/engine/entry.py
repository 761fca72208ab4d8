"""A message's place in one queue. Owns what differs between queues that share a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.interface import Consumer
    from amqtask.testing.devbroker.engine.message import Message


class Entry:
    """A message in a queue, and the handle with which its delivery is settled.

    Attributes:
        message: what to send.
        number: its place in the order of arrival.
        redelivered: whether it was delivered before.
        priority: level that it waits on, higher first.
        due: when it expires on the scheduler's clock; None: never.
        size: bytes that the memory account holds for it; 0 when none.
        weight: bytes that count to the queue's limit.
        consumer: who has it, in queues that must know.
        original: the message without what the queue added for a redelivery; None when it added nothing.
        acquired: how often it came back to this queue.
        failures: how often its deliveries failed, in the queues before it too.
    """

    __slots__ = (
        "acquired",
        "consumer",
        "due",
        "failures",
        "message",
        "number",
        "original",
        "priority",
        "redelivered",
        "size",
        "weight",
    )

    def __init__(self, message: Message, number: int) -> None:
        self.message = message
        self.number = number
        self.redelivered = message.failures > 0
        self.priority = 0
        self.due: float | None = None
        self.size = self.weight = 0
        self.consumer: Consumer | None = None
        self.original: Message | None = None
        self.acquired = 0
        self.failures = message.failures
