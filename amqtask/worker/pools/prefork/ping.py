"""Whether the fork server and the idle children still answer. Owns one question at a time for each who asks."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.interface import Loop
    from amqtask.worker.pools.prefork.server import ForkServer
    from amqtask.worker.pools.prefork.slot import Slot


class Pings:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        patience: seconds until no answer is an answer.
        silent: told of a child that has not answered, though it had nothing else to do.
    """

    def __init__(self, loop: Loop, patience: float, silent: Callable[[Slot], None]) -> None:
        self._loop, self._patience, self._silent = loop, patience, silent
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[set[Slot | None], Callable[[bool], None], object]] = {}

    def ask(self, server: ForkServer, slots: Iterable[Slot], done: Callable[[bool], None]) -> None:
        """Ask the server and those children; ``done`` is told once whether all have answered."""
        number = next(self._numbers)
        timer = self._loop.call_later(self._patience, lambda: self._late(number))
        asked: set[Slot | None] = {None, *slots}
        self._asked[number] = (asked, done, timer)
        server.ping(number)
        for slot in slots:
            slot.ping(number)

    def answered(self, number: int, slot: Slot | None) -> None:
        """An answer has come; None: from the server."""
        if number in self._asked:
            asked, done, timer = self._asked[number]
            asked.discard(slot)
            if not asked:
                del self._asked[number]
                self._loop.cancel(timer)
                done(True)

    def gone(self, slot: Slot) -> None:
        """This child is dead: its answer is not needed any more."""
        for number in list(self._asked):
            self.answered(number, slot)

    def _late(self, number: int) -> None:
        asked, done, _ = self._asked.pop(number)
        for slot in asked:
            if slot is not None:
                self._silent(slot)
        done(False)
