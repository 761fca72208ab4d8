"""The history of events: a stream in the broker that receives all of them. Owns the stream, and where a reader begins.

The first reader makes it; from then on the broker keeps what workers tell, whether anybody reads or not, and any number
of readers get the same. Nobody else knows of it: to a worker it is one more that listens.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from amqtask.errors import BrokerError, ConfigError
from amqtask.topology.declarations import ExchangeDeclare, QueueBind, QueueDeclare

if TYPE_CHECKING:
    from amqtask.config.settings import Settings
    from amqtask.topology.declarations import Step
    from amqtask.wire.message import PropertiesLike

Offset = str | int | datetime
"""Where to begin: ``first``, ``last`` (the last few), ``next`` (nothing that is there), the number of a message, a
time, or an age such as ``1h``."""

PREFETCH = 500
"""Messages that a reader holds."""

OFFSET = "x-stream-offset"
"""Argument of a consumer and header of a delivery: where it is in the stream."""

_SEGMENTS = 20
_SEGMENT_MIN = 500_000
"""A stream forgets whole files; with these it forgets a twentieth at a time, and a small one less often."""

_WORDS = frozenset({"first", "last", "next"})
_AGE = re.compile(r"[1-9][0-9]*[YMDhms]")


class NoHistory(BrokerError):
    """The broker has no streams."""


def name_of(settings: Settings) -> str:
    """Name of the stream."""
    return f"{settings.event_queue_prefix}.history"


def steps(settings: Settings) -> tuple[Step, ...]:
    """The exchange of events, the stream, and the binding of one to the other.

    A stream that exists with other limits is used as it is: the broker can't change them.
    """
    name, size = name_of(settings), settings.event_history_size
    arguments = {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, int(settings.event_history_age))}s",
        "x-max-length-bytes": size,
        "x-stream-max-segment-size-bytes": max(_SEGMENT_MIN, size // _SEGMENTS),
    }
    return (
        ExchangeDeclare(settings.event_exchange, "topic", lenient=True),
        QueueDeclare(name, arguments=arguments, lenient=True),
        QueueBind(name, settings.event_exchange, "#"),
    )


class Place:
    """Where a reader is in the stream, over all its connections. Not thread-safe.

    Args:
        begin: where it starts.

    Raises:
        ConfigError: that is no place.

    Attributes:
        last: number of the last message that was read; None before the first.
        behind: may there be events that were in the stream before :meth:`start` and were not read yet?
        heard: has anything come since :meth:`start`?
    """

    def __init__(self, begin: Offset) -> None:
        if isinstance(begin, str) and begin not in _WORDS and not _AGE.fullmatch(begin):
            # RabbitMQ 3.10 would close the connection for it, each time
            raise ConfigError(
                f"from_offset {begin!r}: write first, last, next, a number, a datetime, or an age like 1h"
            )
        self._begin = begin
        self.last: int | None = None
        self._end: int | None = None
        self._from = 0.0
        self.behind, self.heard = True, False

    def start(self, now: float) -> Offset:
        """Where to begin on a new connection: with the last message again, for it tells that the stream is the same.

        Args:
            now: epoch seconds.
        """
        self._end, self._from, self.behind, self.heard = None, now, True, False
        return self._begin if self.last is None else self.last

    def again(self) -> None:
        """Begin anew: the stream is another one than before, so numbers mean nothing."""
        self.last = None

    def take(self, properties: PropertiesLike) -> bool:
        """Note a delivery; False for one that is no news."""
        self.heard = True
        offset = _offset(properties)
        if offset is None:
            return True
        if self.last is not None and offset <= self.last:
            return False
        self.last = offset
        return True

    def taken(self) -> None:
        """The delivery has been read."""
        if self._end is not None and self.last is not None and self.last >= self._end:
            self.behind = False

    def see_end(self, properties: PropertiesLike) -> None:
        """Note a message of the stream's end."""
        self._end = max(self._end or 0, _offset(properties) or 0)
        self.taken()

    def end_seen(self) -> None:
        """All of the end was noted; an empty stream has none."""
        if self._end is None:
            self.behind = False

    def received(self, sent: object, now: float) -> float:
        """When an event counts as received: what is read from the past, when it was sent.

        Args:
            sent: its timestamp, whatever it is.
            now: epoch seconds.
        """
        if not self.behind or not isinstance(sent, int | float):
            return now
        if sent >= self._from:  # whatever was told of the end
            self.behind = False
        return float(sent) if 0 < sent < now else now  # NaN is neither


def _offset(properties: PropertiesLike) -> int | None:
    found = (properties.headers or {}).get(OFFSET)
    return found if isinstance(found, int) else None
