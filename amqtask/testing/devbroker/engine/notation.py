"""Values as RabbitMQ prints them in its reply texts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

# Longer integers than this arrive as 64 bits; shorter ones have several widths that no rule tells apart.
_SIGNED = 2**31
_TYPE_NAMES = {
    type(None): "void",
    bool: "bool",
    bytearray: "binary",
    float: "double",
    Decimal: "decimal",
    datetime: "timestamp",
    dict: "table",
    list: "array",
}


def type_name(value: Any) -> str:
    """The field-table type that a decoded value has, as most clients send it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "signedint" if -_SIGNED <= value < _SIGNED else "long"
    return _TYPE_NAMES.get(type(value), "longstr")


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
