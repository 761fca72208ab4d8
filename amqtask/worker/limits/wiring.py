"""What limits need of the worker, in one place. Owns the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.worker.limits.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Connection
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.publisher import Publisher
    from amqtask.worker.limits.layout import TokenLayout
    from amqtask.worker.limits.station import Readmit
    from amqtask.worker.limits.turnstile import Turnstile


@dataclass(frozen=True, slots=True)
class LimitHost:
    """The worker as limits see it.

    Attributes:
        loop: of the I/O thread.
        connection: the one that consumes, while it stands.
        publisher: of the worker.
        readmit: has a delivery asked about again as soon as there is a slot.
        slots: of the pool, now.
        reserve: has a slot left free, this many seconds at most, for the delivery of this key.
    """

    loop: SelectLoop
    connection: Callable[[], Connection | None]
    publisher: Publisher
    readmit: Readmit
    slots: Callable[[], int]
    reserve: Callable[[int, float], None]

    def provide(self, stile: Turnstile, layout: TokenLayout) -> None:
        """Give a turnstile the tokens of its limit."""
        stile.reserve = self.reserve
        stile.tokens = Tokens(self.loop, self.connection, self.publisher, layout, stile)
