"""How many bytes all stored messages take, against a limit. Owns the count; the server acts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Memory:
    """A count of bytes with a limit; one for all vhosts of a broker.

    Args:
        limit: bytes from which on publishers are to be blocked; None: never.
        on_change: called with the new :attr:`over` whenever it flips.
    """

    __slots__ = ("limit", "on_change", "over", "used")

    def __init__(self, limit: int | None = None, on_change: Callable[[bool], None] = lambda _over: None) -> None:
        self.limit, self.on_change = limit, on_change
        self.used, self.over = 0, False

    def add(self, count: int) -> None:
        """A message of ``count`` bytes is kept from now on."""
        self.used += count
        if not self.over and self.limit is not None and self.used > self.limit:
            self.over = True
            self.on_change(True)

    def remove(self, count: int) -> None:
        """A message of ``count`` bytes is gone."""
        self.used -= count
        # Some way below the limit, so that publishers are not blocked and released by every message.
        if self.over and self.limit is not None and self.used < self.limit * 0.9:
            self.over = False
            self.on_change(False)
