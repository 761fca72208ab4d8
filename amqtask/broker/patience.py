"""How long messages may wait: deadlines, the limit while the broker blocks publishers, and the error afterwards.

Owns one timer for all messages; performs no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.errors import BrokerBlocked, BrokerUnavailable, PublishTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.batch import Batch, Pending
    from amqtask.broker.interface import Loop
    from amqtask.errors import BrokerError


_NO_CONNECTION = "no connection to RabbitMQ yet"


class Patience:
    """Calls ``expire(now)`` when the earliest limit passes; it answers with the next one.

    Deadlines are only looked at then, so a message that is confirmed in time costs one comparison.

    Args:
        loop: for the timer.
        blocked_timeout: seconds that messages wait for a broker that blocks publishers.
        expire: fails what is late; returns the earliest limit of what is left.
    """

    def __init__(self, loop: Loop, blocked_timeout: float, expire: Callable[[float], float | None]) -> None:
        self._loop = loop
        self._blocked_timeout = blocked_timeout
        self._expire = expire
        self._timer: object = None
        self._at: float | None = None
        self._blocked_since: float | None = None
        self._reason = ""

    @property
    def blocked_for(self) -> float | None:
        """Seconds since the broker began to block publishers, or None."""
        return None if self._blocked_since is None else clock.monotonic() - self._blocked_since

    def watch(self, item: Pending) -> None:
        """A message waits from now on."""
        self._by(self.limit(item))

    def watch_batch(self, batch: Batch) -> None:
        """A batch waits from now on."""
        self._by(self.batch_limit(batch))

    def limit(self, item: Pending) -> float:
        """Monotonic time after which a message has failed."""
        return self._bounded(item.limit(), item.since)

    def batch_limit(self, batch: Batch) -> float:
        """Monotonic time after which the rest of a batch has failed."""
        return self._bounded(batch.deadline, batch.since)

    def blocked(self, reason: str, items: Iterable[Pending], batches: Iterable[Batch]) -> None:
        """The broker blocks publishers: everything that waits has less time now."""
        if self._blocked_since is None:
            self._blocked_since = clock.monotonic()
        self._reason = reason
        for item in items:
            self.watch(item)
        for batch in batches:
            self.watch_batch(batch)

    def unblocked(self) -> None:
        """The broker takes messages again, or the connection is gone."""
        self._blocked_since = None

    def error(self, item: Pending, cause: BrokerError | None, *, connected: bool) -> BrokerError:
        """What to tell who waits for a late message.

        Args:
            item: the message.
            cause: why there is no connection, if there is none.
            connected: is there one?
        """
        waited = clock.monotonic() - item.since
        stored = "it may be stored all the same" if item.written else "it was not sent"
        if self._blocked_since is not None:
            return BrokerBlocked(
                f"the broker has blocked publishers for {self.blocked_for:.1f} s ({self._reason}); {stored}"
            )
        if item.written:
            return PublishTimeout(
                f"no confirm from the broker within {waited:.1f} s; the message may or may not be stored"
            )
        if connected:
            return PublishTimeout(
                f"the message was not sent within {waited:.1f} s: the broker does not confirm those before it"
            )
        return BrokerUnavailable(f"{_NO_CONNECTION if cause is None else cause}; gave up after {waited:.1f} s")

    def batch_error(self, cause: BrokerError | None, *, connected: bool) -> BrokerError:
        """What to tell who waits for messages of a batch that were never sent."""
        if self._blocked_since is not None:
            return BrokerBlocked(f"the broker has blocked publishers for {self.blocked_for:.1f} s ({self._reason})")
        if connected:
            return PublishTimeout("the message was not sent in time: the broker does not confirm those before it")
        return BrokerUnavailable(str(cause) if cause is not None else _NO_CONNECTION)

    def close(self) -> None:
        """Forget the timer."""
        self._loop.cancel(self._timer)
        self._timer = self._at = None

    def _bounded(self, deadline: float, since: float) -> float:
        if self._blocked_since is None:
            return deadline
        return min(deadline, max(self._blocked_since, since) + self._blocked_timeout)

    def _by(self, at: float) -> None:
        """Look again at that time at the latest."""
        if self._at is not None and self._at <= at:
            return
        self._loop.cancel(self._timer)
        self._at = at
        self._timer = self._loop.call_later(max(0.0, at - clock.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = self._at = None
        upcoming = self._expire(clock.monotonic())
        if upcoming is not None:
            self._by(upcoming)
