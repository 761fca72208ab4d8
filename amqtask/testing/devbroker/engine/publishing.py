"""What the broker reads of a message when it is published: expiration, CC and BCC.

Owns the checks with RabbitMQ's texts. Most messages have none of them, so callers look at the flags first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine import headers
from amqtask.testing.devbroker.engine.arguments import MAX_EXPIRY
from amqtask.testing.devbroker.engine.errors import SYNTAX_ERROR, ConnectionFault, precondition_failed
from amqtask.testing.devbroker.engine.notation import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.testing.devbroker.engine.message import Message

SPECIAL = (headers.HEADERS | headers.EXPIRATION) >> 8
"""Bits of the first flag byte with which :func:`read_special` may find something."""

_EXPIRATION = headers.EXPIRATION >> 8
_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
# Field names as they are in the bytes, with their length before them.
_COPIES, _BLIND_COPIES = b"\x02CC", b"\x03BCC"


def read_special(message: Message) -> None:
    """Note expiration and copies on a message that is being published; BCC is taken out of its headers.

    Raises:
        ChannelFault: 406, a value that RabbitMQ refuses.
        ConnectionFault: 502, the properties can't be read.
    """
    header = message.header
    try:
        if header[12] & _EXPIRATION:
            message.ttl = _ttl(headers.short_string(header, headers.EXPIRATION) or "")
        if _COPIES in header or _BLIND_COPIES in header:
            _read_copies(message)
    except headers.Malformed as error:
        raise ConnectionFault(SYNTAX_ERROR, f"SYNTAX_ERROR - {error}") from None


def _ttl(text: str) -> int:
    match = _NUMBER.match(text)
    if match is None:
        raise _bad_expiration(text, "no_integer")
    if match.end() < len(text):
        raise _bad_expiration(text, f'{{leftover_string,"{text[match.end() :]}"}}')
    ttl = int(text)
    if ttl < 0:
        raise _bad_expiration(text, f"{{value_negative,{ttl}}}")
    if ttl > MAX_EXPIRY:
        raise _bad_expiration(text, f"{{value_too_large,{ttl}}}")
    return ttl


def _bad_expiration(text: str, reason: str) -> Exception:
    return precondition_failed(f"invalid expiration '{text}': {reason}")


def _read_copies(message: Message) -> None:
    table = headers.table(message.header)
    message.copies = _keys(table, "CC")
    message.blind_copies = _keys(table, "BCC")
    if "BCC" in table:
        message.header = headers.with_fields(message.header, {b"BCC": None})


def _keys(table: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list):
        raise precondition_failed(f'invalid message: {{unacceptable_type_in_header,"{name}",{type_name(value)}}}')
    return tuple(key for key in value if isinstance(key, str))
