"""Confirm before ack: publishes what follows from an outcome, and releases the delivery only then.

Owns deliveries between the end of their task and their ack. A publish that fails is tried again, with the delivery
kept unacknowledged meanwhile: should this process die, the broker still has the message.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amqtask.errors import BrokerError, EncodeError, MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.wire.message import Outgoing
    from amqtask.worker.delivery import Delivery
    from amqtask.worker.outbox import Outbox
    from amqtask.worker.outcome import Effect

logger = logging.getLogger(__name__)

_RETRY_FIRST = 0.5
_RETRY_MAX = 30.0
"""Seconds between attempts to publish what must be stored before an ack."""

_UNSENDABLE = (MessageTooLarge, EncodeError)
"""Errors of the message itself: trying again would not help."""


@dataclass(slots=True)
class _Pending:
    """A delivery whose effect is not confirmed yet, and what was tried."""

    delivery: Delivery
    effect: Effect
    message: Outgoing
    attempts: int = 0


class Settler:
    """Carries out effects. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        outbox: publishes for the worker.
        timeout: seconds to wait for one confirm.
        settled: called once per delivery, when everything that follows from it is stored.
    """

    def __init__(
        self,
        loop: Loop,
        outbox: Outbox,
        timeout: float,
        settled: Callable[[Delivery], None],
    ) -> None:
        self._loop, self._outbox = loop, outbox
        self._timeout, self._settled = timeout, settled
        self._pending: dict[int, _Pending] = {}

    def __len__(self) -> int:
        """How many deliveries wait for a confirm."""
        return len(self._pending)

    def settle(self, delivery: Delivery, effect: Effect) -> None:
        """Carry out an effect, then release the delivery."""
        if effect.message is None:
            self._settled(delivery)
            return
        pending = self._pending[delivery.key] = _Pending(delivery, effect, effect.message)
        self._publish(pending)

    def _publish(self, pending: _Pending) -> None:
        pending.attempts += 1
        self._outbox.publish(pending.message, self._timeout, lambda error: self._published(pending, error))

    def _published(self, pending: _Pending, error: BrokerError | EncodeError | None) -> None:
        if error is None:
            del self._pending[pending.delivery.key]
            self._settled(pending.delivery)
        elif isinstance(error, _UNSENDABLE) and pending.effect.slim is not None:
            pending.message = pending.effect.slim(str(error))
            pending.effect = replace(pending.effect, slim=None)
            self._publish(pending)
        else:
            self._later(pending, error)

    def _later(self, pending: _Pending, error: Exception) -> None:
        pause = min(_RETRY_MAX, _RETRY_FIRST * 2 ** (pending.attempts - 1))
        logger.error(
            "Task %s[%s]: what follows from it can't be stored (%s); the message is kept, next attempt in %.1fs",
            pending.delivery.name,
            pending.delivery.id,
            error,
            pause,
        )
        self._loop.call_later(pause, lambda: self._publish(pending))
