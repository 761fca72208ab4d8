"""Faults on demand, for tests of what a client does about them.

Owns what is to go wrong, for one vhost or for all; channels and connections ask at the place where it would. Nothing is
random: a fault hits the next occasion, or every one until it is taken back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine import headers

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYWHERE = None
"""Instead of a vhost's name: in all of them."""


class Faults:
    """What is to go wrong.

    Attributes:
        armed: whether there is anything at all; asked before every other question since most of the time there is not.
        refusing: whether new connections are reset.
    """

    __slots__ = ("_again", "_counts", "_delays", "_frozen", "_times", "armed", "refusing")

    def __init__(self) -> None:
        self.armed = self.refusing = False
        self._counts: dict[str, Counter[str | None]] = {}
        self._delays: dict[str, dict[str | None, float]] = {"confirm": {}, "ack": {}}
        self._times: dict[str | None, int] = {}
        self._again: dict[tuple[str, str, int | str], tuple[Any, int]] = {}
        self._frozen: set[str | None] = set()

    def arm(self, what: str, count: int, vhost: str | None) -> None:
        """Let the next ``count`` occasions fail: ``drop``, ``nack`` or ``cut``."""
        self._counts.setdefault(what, Counter())[vhost] = count
        self._review()

    def take(self, what: str, vhost: str) -> bool:
        """Whether this occasion fails; it is counted."""
        counts = self._counts.get(what)
        if not counts:
            return False
        for scope in (vhost, EVERYWHERE):
            if counts[scope] > 0:
                counts[scope] -= 1
                self._review()
                return True
        return False

    def last(self, what: str, vhost: str) -> bool:
        """Whether this is the last of the armed occasions; it is counted."""
        return self.take(what, vhost) and not any(self._counts[what][scope] for scope in (vhost, EVERYWHERE))

    def delay(self, what: str, seconds: float, vhost: str | None) -> None:
        """Let every ``confirm`` or ``ack`` take effect only that much later."""
        self._delays[what][vhost] = seconds
        self._review()

    def delayed(self, what: str, vhost: str) -> float:
        """Seconds by which it is to be delayed."""
        delays = self._delays[what]
        return delays.get(vhost, delays.get(EVERYWHERE, 0.0))

    def redeliver(self, times: int, vhost: str | None) -> None:
        """Let every message that is acked on its first delivery come back ``times`` times.

        Messages of one queue that share a correlation id count as one: a client that answers a redelivery by
        publishing a copy must not be kept busy for ever.
        """
        self._times[vhost] = times
        self._review()

    def comes_back(self, entry: Any, queue: str, vhost: str) -> bool:
        """Whether this acked message is to be delivered again; it is counted."""
        times = self._times.get(vhost, self._times.get(EVERYWHERE, 0))
        correlation_id = headers.short_string(entry.message.header, headers.CORRELATION_ID)
        key = (vhost, queue, id(entry) if correlation_id is None else correlation_id)
        _, done = self._again.get(key, (entry, 0))
        if done >= times or (entry.redelivered and not done):
            return False
        # The entry is kept, so that its id stays its own.
        self._again[key] = (entry, done + 1)
        return True

    def freeze(self, vhost: str | None) -> None:
        """Let connections be silent: nothing is read and nothing written."""
        self._frozen.add(vhost)
        self._review()

    def thaw(self, vhost: str | None) -> None:
        """Let them go on; None for all."""
        self._frozen = set() if vhost is EVERYWHERE else self._frozen - {vhost}
        self._review()

    def frozen(self, vhost: str | None) -> bool:
        """Whether connections to this vhost, or those that have none yet, are silent."""
        return EVERYWHERE in self._frozen or vhost in self._frozen

    def heal(self, vhost: str | None) -> None:
        """Take back everything for this vhost, or everything there is."""
        if vhost is EVERYWHERE:
            self.refusing = False
        self._again = {key: again for key, again in self._again.items() if vhost not in (EVERYWHERE, key[0])}
        for table in self._tables():
            if vhost is EVERYWHERE:
                table.clear()
            else:
                table.pop(vhost, None)
        self.thaw(vhost)

    def _tables(self) -> Iterator[dict[str | None, Any]]:
        yield from self._counts.values()
        yield from self._delays.values()
        yield self._times

    def _review(self) -> None:
        self.armed = bool(self._frozen) or any(any(table.values()) for table in self._tables())
