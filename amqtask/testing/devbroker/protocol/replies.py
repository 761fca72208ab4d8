"""Direct reply-to: answers go straight to the channel that asked, without a queue. Owns the pseudo queue's names."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine import headers

if TYPE_CHECKING:
    from collections.abc import Container

REPLY_TO = "amq.rabbitmq.reply-to"
"""What a client consumes from, and writes into ``reply_to``."""
REPLY_TO_FLAG = 0x0200
"""The property ``reply_to`` in the flags of a content header."""


def new_address() -> str:
    """A routing key of the default exchange that leads to one channel only, and can't be guessed."""
    return f"{REPLY_TO}.{secrets.token_urlsafe(24)}"


def reply_queue_exists(name: str, addresses: Container[str]) -> bool:
    """What a passive declare says about a pseudo queue."""
    return name == REPLY_TO or name in addresses


def asks_for_reply(header: bytes) -> bool:
    """Whether a message's ``reply_to`` is the pseudo queue.

    Raises:
        Malformed: the content header is broken.
    """
    start, end = headers.locate(header, REPLY_TO_FLAG)
    return header[start + 1 : end] == REPLY_TO.encode()  # in bytes, since it need not be UTF-8


def with_address(header: bytes, address: str) -> bytes:
    """The content header with the real address in the place of the pseudo queue's name."""
    start, end = headers.locate(header, REPLY_TO_FLAG)
    data = address.encode()
    return header[:start] + bytes((len(data),)) + data + header[end:]
