"""Which priority a message has in a queue. Owns the levels of both queue types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine import headers

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.arguments import QueueOptions
    from amqtask.testing.devbroker.engine.message import Message

_QUORUM_HIGHEST, _QUORUM_DEFAULT = 31, 4
_PRIORITY = headers.PRIORITY >> 8


def priority_of(message: Message, options: QueueOptions) -> int:
    """The level that a message waits on: what its publisher asked for, as far as the queue goes."""
    default, highest = (_QUORUM_DEFAULT, _QUORUM_HIGHEST) if options.quorum else (0, options.max_priority)
    if not message.header[12] & _PRIORITY:
        return default
    try:
        priority = headers.octet(message.header, headers.PRIORITY)
    except headers.Malformed:
        priority = None
    return default if priority is None else min(priority, highest)
