"""What a delivery has to pass before it starts, one thing per limit. Owns the contract; :mod:`.gate` uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.deliveries.delivery import Delivery

    Readmit = Callable[[Delivery], None]
    """Has a delivery asked about again as soon as there is a slot."""


class Station(Protocol):
    """One limit of one task. Lives on the I/O thread."""

    def passes(self, delivery: Delivery) -> bool:
        """May it start now? There is a slot for it. If not, it is parked here, and called forward in its turn."""

    def leave(self, key: int) -> None:
        """A delivery has ended, or will never start; harmless for those that were never here."""

    def clear(self) -> list[Delivery]:
        """Give up all that is parked, and what was taken for those that have not started."""

    def close(self) -> None:
        """The limit holds no longer, and nothing is parked any more."""

    def describe(self) -> dict[str, object]:
        """Plain values for remote control."""
