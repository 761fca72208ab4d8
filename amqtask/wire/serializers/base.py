"""The contract of a serializer. Owns the shape, no format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Serializer:
    """Turns ``[args, kwargs, embed]`` into bytes and back.

    Attributes:
        name: as in ``task_serializer`` and ``accept_content``.
        content_type: the AMQP content type; how a receiver finds the serializer.
        content_encoding: ``utf-8`` for text, ``binary`` otherwise.
        dumps: raises TypeError, ValueError or OverflowError for a value it can't write.
        loads: raises any Exception for bytes that it can't read.
    """

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
