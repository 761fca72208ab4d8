"""What ends by time: messages at the head of a queue, and queues that nobody uses. Owns the timers for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.testing.devbroker.engine.entry import Entry
    from amqtask.testing.devbroker.engine.ready import Ready
    from amqtask.testing.devbroker.engine.scheduler import Scheduler, Timer


class Expiry:
    """Drops expired messages of one queue once they are at its head.

    Args:
        expired: called with each, after it was taken out.

    Attributes:
        timed: whether a message may be there that expires; set by whoever puts one in.
    """

    __slots__ = ("_expired", "_ready", "_scheduler", "_timer", "timed")

    def __init__(self, scheduler: Scheduler, ready: Ready, expired: Callable[[Entry], None]) -> None:
        self._scheduler, self._ready, self._expired = scheduler, ready, expired
        self._timer: Timer | None = None
        self.timed = False

    def run(self) -> None:
        """Drop what has expired, and set the clock for what comes next; to be called when the head has changed."""
        if not self.timed:
            return
        now, pending = self._scheduler.now(), True
        while pending:
            pending = False
            for head in self._ready.heads():
                if head.due is not None and head.due <= now:
                    self._ready.drop_head(head)
                    self._expired(head)
                    pending = True
                    break  # the queue may have changed by this
        self._watch(min((head.due for head in self._ready.heads() if head.due is not None), default=None))
        self.timed = self._ready.count > 0

    def close(self) -> None:
        """Never call back any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, due: float | None) -> None:
        if due is None or (self._timer is not None and self._timer.due <= due):
            return
        self.close()
        self._timer = self._scheduler.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.run()


class Idle:
    """Ends a queue that was not used for some time (``x-expires``).

    Args:
        seconds: the time.
        end: called when it has passed.
    """

    __slots__ = ("_end", "_scheduler", "_seconds", "_since", "_timer")

    def __init__(self, scheduler: Scheduler, seconds: float, end: Callable[[], None]) -> None:
        self._scheduler, self._seconds, self._end = scheduler, seconds, end
        self._since = scheduler.now()
        self._timer: Timer | None = scheduler.call_later(seconds, self._fire)

    def used(self) -> None:
        """The queue was used; the time starts again."""
        self._since = self._scheduler.now()
        if self._timer is None:
            self._timer = self._scheduler.call_later(self._seconds, self._fire)

    def close(self) -> None:
        """Never end it; until :meth:`used` is called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        due = self._since + self._seconds
        if self._scheduler.now() < due:
            self._timer = self._scheduler.call_at(due, self._fire)
            return
        self._timer = None
        self._end()
