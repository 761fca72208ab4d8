"""Values as RabbitMQ prints them in its reply texts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

# Longer integers than this arrive as 64 bits; shorter ones have several widths that no rule tells apart.
_SIGNED = 2**31


def type_name(value: Any) -> str:
    """The field-table type that a decoded value has, as most clients send it."""
    match value:
        case None:
            return "void"
        case bool():
            return "bool"
        case int():
            return "signedint" if -_SIGNED <= value < _SIGNED else "long"
        case str() | bytes():
            return "longstr"
        case bytearray():
            return "binary"
        case float():
            return "double"
        case Decimal():
            return "decimal"
        case datetime():
            return "timestamp"
        case dict():
            return "table"
    return "array"


def printed(value: Any) -> str:
    """A value without its type: ``'5'``, ``'true'``."""
    if isinstance(value, bool):
        return f"'{str(value).lower()}'"
    if isinstance(value, bytes | bytearray):
        return f"'{value.decode(errors='replace')}'"
    return f"'{value}'"


def printed_with_type(value: Any) -> str:
    """A value with its type: ``the value '5' of type 'signedint'``."""
    return f"the value {printed(value)} of type '{type_name(value)}'"
