"""Turns of coroutines that publish at the same time: a bounded number is under way, the others wait. Owns that wait.

It has no time limit of its own while the broker takes messages: whoever gathers ten thousand calls waits for as long as
ten thousand messages take, and none of them is refused for that. Nor does time count in which the loop is busy, with
beginning all these calls for instance.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_QUIET = 3
"""Looks in a row, half of the patience apart, at which nothing has moved; one may be due to a loop that was busy."""


class Turns:
    """Of one event loop. Who came first is first.

    Args:
        most: how many have their turn at once.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        self.told = 0
        """Messages whose fate the broker has told."""

    @contextlib.asynccontextmanager
    async def turn(self, patience: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the end of the block.

        Args:
            patience: seconds for which nobody's message may have been confirmed or refused; up to twice as many may
                pass.

        Raises:
            TimeoutError: nothing has moved for so long.
        """
        if self._free.locked():
            await self._wait(patience)
        else:
            await self._free.acquire()
        try:
            await asyncio.sleep(0)  # those of one gather have all begun before a clock runs for any
            yield
        finally:
            self._free.release()

    async def _wait(self, patience: float) -> None:
        async with asyncio.timeout(None) as limit:
            watch = _Watch(self, patience / 2, limit)
            try:
                await self._free.acquire()
            finally:
                watch.timer.cancel()

    def moved(self) -> None:
        """The broker has told what became of a message."""
        self.told += 1


class _Watch:
    """Ends a wait when nothing has moved for some looks.

    The wait itself does not begin anew meanwhile: others would overtake it, perhaps for ever.

    Args:
        turns: of the loop that runs.
        pause: seconds between two looks.
        limit: ends the wait.
    """

    def __init__(self, turns: Turns, pause: float, limit: asyncio.Timeout) -> None:
        self._turns, self._pause, self._limit = turns, pause, limit
        self._loop, self._told, self._quiet = asyncio.get_running_loop(), turns.told, 0
        self.timer = self._loop.call_later(pause, self._look)

    def _look(self) -> None:
        self._quiet = self._quiet + 1 if self._told == self._turns.told else 0
        self._told = self._turns.told
        if self._quiet == _QUIET:
            self._limit.reschedule(self._loop.time())
        else:
            self.timer = self._loop.call_later(self._pause, self._look)
