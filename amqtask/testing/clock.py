"""A clock that tests move forward: the fixture ``amqtask_clock``. Owns the wall clock's offset.

Time goes on by itself; :meth:`MovableClock.advance` only makes it jump. Timeouts are not concerned: they are measured
on the monotonic clock.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from amqtask import clock

if TYPE_CHECKING:
    from datetime import datetime

    from amqtask.testing.vhosts import Vhost

_offset = struct.Struct("d")


class MovableClock:
    """Replaces amqtask's wall clock between :meth:`install` and :meth:`restore`; for one user at a time.

    Children that are forked meanwhile share it, in both directions.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._memory = mmap.mmap(-1, _offset.size)
        self._former = clock.wall
        self.set(offset)

    def install(self) -> None:
        """Let everything in amqtask ask this clock."""
        self._former = clock.wall
        clock.wall = self.now

    def restore(self) -> None:
        """Let it ask the former one."""
        clock.wall = self._former

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset

    @property
    def offset(self) -> float:
        """Seconds by which it is ahead."""
        seconds: float = _offset.unpack_from(self._memory)[0]
        return seconds

    def set(self, offset: float) -> None:
        """Be this many seconds ahead."""
        _offset.pack_into(self._memory, 0, offset)

    def advance(self, seconds: float) -> None:
        """Jump forward."""
        self.set(self.offset + seconds)


class TestClock:
    """The clock of a test: everything that waits for its time hears of it, the broker included.

    Args:
        vhost: of the test; its broker keeps delays, expiry and TTLs.
    """

    __test__ = False  # pytest takes every class named Test... for tests

    def __init__(self, vhost: Vhost) -> None:
        self._vhost, self._clock = vhost, MovableClock()

    def advance(self, seconds: float | timedelta) -> None:
        """Jump forward, as if so much time had passed. Delayed messages that are due then are in their queues.

        Raises:
            ValueError: that would be back.
            NeedsDevBroker: a RabbitMQ's clock can't be moved.
        """
        length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if length < 0:
            raise ValueError(f"time only goes forward, not by {length:g} s")
        self._vhost.advance(length)

    def now(self) -> datetime:
        """The time that tasks see, aware, in UTC."""
        return clock.utcnow()

    def install(self) -> None:
        """Let everything in amqtask ask this clock."""
        self._clock.install()
        self._vhost.on_advance.insert(0, self._clock.advance)

    def restore(self) -> None:
        """The time is what it is."""
        self._vhost.on_advance.remove(self._clock.advance)
        self._clock.restore()
