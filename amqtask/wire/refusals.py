"""Telling of messages that were left out for their signature. Owns how often: whoever forges must not fill the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask import clock

if TYPE_CHECKING:
    import logging

_PAUSE = 60.0
"""Seconds between two lines."""


class Refusals:
    """Writes the first refusal to the log, and in each minute one line for all others. For one thread.

    Args:
        logger: where to.
        what: was refused, for the log: ``"A request of remote control"``.
    """

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger, self._what = logger, what
        self._more = 0
        self._next = float("-inf")

    def tell(self, reason: object) -> None:
        """One was refused, for this reason."""
        now = clock.monotonic()
        if now < self._next:
            self._more += 1
            return
        more = f" (and {self._more} more since the last line)" if self._more else ""
        self._logger.error("%s is left out: %s%s", self._what, reason, more)
        self._more, self._next = 0, now + _PAUSE
