"""What was published to a vhost, for tests that look. Owns a bounded log; the oldest entries go first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.testing.devbroker.engine.message import Message

MOST_MESSAGES = 10_000
MOST_BYTES = 4 << 20


class PublishLog:
    """The latest messages published to one vhost: at most 10,000, and 4 MiB."""

    __slots__ = ("_bytes", "_messages")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def add(self, message: Message) -> None:
        """Note a message."""
        self._messages.append(message)
        self._bytes += message.size
        while self._bytes > MOST_BYTES or len(self._messages) > MOST_MESSAGES:
            self._bytes -= self._messages.popleft().size

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._bytes = 0
