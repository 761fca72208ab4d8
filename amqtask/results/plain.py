"""Any value as one that every serializer can write: what exceptions hold is user code's, and may be anything.

Owns the reduction and its limits. Nothing in here raises or calls more of a value's own code than ``repr()``.
"""

from __future__ import annotations

import json
import math
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from amqtask.results.trimming import clip
from amqtask.wire.serializers.json import SERIALIZER

_TEXT_LIMIT = 8192
_REPR_LIMIT = 512
"""Bytes of UTF-8."""

_TOTAL = 32_768
"""Bytes of all values of one call, counted roughly."""

_ITEMS = 100
_DEPTH = 5
_BITS = 256
_RICH = frozenset({bytes, datetime, date, time, Decimal, uuid.UUID})
"""Types that JSON writes as ``{"__type__": ..., "__value__": ...}``; only they themselves, no subclasses."""


def plain_values(values: tuple[Any, ...]) -> list[Any]:
    """Values made of nothing but None, bool, int, float, str, list and dict; small, and equal where that is possible.

    Long texts are cut, rich types written as in JSON messages, and everything else is replaced by its ``repr()``.
    """
    return _Reduction().items(values, 0)


def rich_value(value: Any) -> Any:
    """Undo the writing of rich types; what can't be read stays as it is."""
    try:
        return SERIALIZER.loads(json.dumps(value).encode())
    except Exception:
        return value


def safe_repr(value: object) -> str:
    """``repr()``, cut; a remark when it fails."""
    try:
        return clip(str.__str__(repr(value)), _REPR_LIMIT)
    except BaseException as problem:
        return f"<{_name(value)}: repr() raised {type(problem).__name__}>"


class _Reduction:
    """One call's way through its values; counts what it has room for."""

    def __init__(self) -> None:
        self._room = _TOTAL

    def items(self, values: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        return [self.value(value, depth) for value in values[:_ITEMS]]

    def value(self, value: Any, depth: int) -> Any:
        self._room -= 8
        if value is None or value is True or value is False:
            return value
        if self._room <= 0:
            return "..."
        try:
            found = self._known(value, depth)
        except BaseException:  # a subclass of a plain type that is not plain at all
            found = None
        return self._text(safe_repr(value)) if found is None else found

    def _known(self, value: Any, depth: int) -> Any:
        """The value if it is plain, None if it is not. Subclasses are read by the methods of their plain base."""
        kind = type(value)
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, int | float):
            return _number(value)
        if depth < _DEPTH and kind in (list, tuple):
            return self.items(value, depth + 1)
        if depth < _DEPTH and kind is dict and all(type(key) is str for key in value):
            return {self._text(key): self.value(value[key], depth + 1) for key in list(value)[:_ITEMS]}
        if kind in _RICH and (kind is not bytes or len(value) <= _TEXT_LIMIT):
            return self._rich(value)
        return None

    def _rich(self, value: Any) -> Any:
        text = SERIALIZER.dumps(value)
        self._room -= len(text)
        return json.loads(text)

    def _text(self, text: str) -> str:
        kept = clip(text, max(min(_TEXT_LIMIT, self._room), 16))
        self._room -= len(kept)
        return kept


def _number(value: int | float) -> int | float | None:  # noqa: PYI041 -- they are treated differently
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= _BITS else None
    number = float.__float__(value)
    return number if math.isfinite(number) else None


def _name(value: object) -> str:
    return clip(type.__getattribute__(type(value), "__name__"), 100)
