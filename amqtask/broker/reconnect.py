"""Which broker to try next, and when: failover order and backoff with jitter, without any I/O.

Owns the policy only; :mod:`amqtask.broker.link` and :mod:`amqtask.broker.aio` act on it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.url import BrokerURL

FailoverStrategy = Literal["round-robin", "shuffle", "priority"]

CALLER_WAIT = 1.0
"""Longest wait in seconds while a caller is waiting: a send of a few seconds must get its attempts."""

STRATEGIES: tuple[FailoverStrategy, ...] = ("round-robin", "shuffle", "priority")


class ReconnectPolicy:
    """Answers :meth:`next` after every failure; told of success by :meth:`succeeded`. Not thread-safe.

    Every URL is tried once before any waiting. Then each further round waits longer, up to ``maximum``, spread at
    random over the upper half so that many clients do not come back in step. A connection that held for ``stable``
    seconds starts the count anew; one that broke sooner does not, so a flapping broker is not hammered.

    Args:
        urls: the brokers, at least one.
        strategy: ``round-robin`` goes on from the last one used, ``priority`` starts at the first after every loss,
            ``shuffle`` takes a new random order each round.
        initial, maximum: first and longest wait, in seconds.
        stable: seconds.
        spread: random number 0..1.
    """

    def __init__(
        self,
        urls: Sequence[BrokerURL],
        strategy: FailoverStrategy = "round-robin",
        *,
        initial: float = 0.2,
        maximum: float = 10.0,
        stable: float = 5.0,
        spread: Callable[[], float] = random.random,
    ) -> None:
        if not urls:
            raise ConfigError("no broker URL")
        if strategy not in STRATEGIES:
            raise ConfigError(f"failover strategy {strategy!r} is none of {', '.join(STRATEGIES)}")
        self.urls = tuple(urls)
        self._strategy = strategy
        self._initial, self._maximum, self._stable = initial, maximum, stable
        self._spread = spread
        self._order = list(self.urls)
        self._position = 0  # of the next URL in the order
        self._failures = 0  # attempts since the last stable connection
        self._since: float | None = None

    def next(self, now: float) -> tuple[BrokerURL, float]:
        """The URL to try, and how many seconds to wait before.

        Args:
            now: a monotonic time in seconds.
        """
        self._note_loss(now)
        rounds = self._failures // len(self.urls)
        if self._position % len(self.urls) == 0 and self._strategy == "shuffle":
            self._order.sort(key=lambda _: self._spread())
        url = self._order[self._position % len(self.urls)]
        self._position += 1
        self._failures += 1
        if rounds == 0:
            return url, 0.0
        wait = min(self._initial * 2.0 ** min(rounds - 1, 32), self._maximum)
        return url, wait * (0.5 + 0.5 * self._spread())

    def succeeded(self, now: float) -> None:
        """The URL given last is connected since ``now``."""
        self._since = now

    def _note_loss(self, now: float) -> None:
        if self._since is None:
            return
        if now - self._since >= self._stable:
            self._failures = 0
        self._since = None
        if self._strategy == "priority":
            self._position = 0
        elif self._position:
            self._position -= 1  # the broker that served us last is the first to be tried again
