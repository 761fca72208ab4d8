"""Publishing that does not give up: what must be stored before an ack is tried again until the broker has it.

Owns the pauses between attempts, and what makes trying again pointless.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.errors import EncodeError, MessageTooLarge, Unroutable
from amqtask.worker.backlog import backoff

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop, PublishDone
    from amqtask.errors import BrokerError
    from amqtask.wire.message import Outgoing
    from amqtask.worker.outbox import Outbox

logger = logging.getLogger(__name__)

_UNSENDABLE = (MessageTooLarge, EncodeError)
"""Errors of the message itself: trying again would not help."""


class Patient:
    """Publishes until it is confirmed. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        outbox: publishes for the worker.
        timeout: seconds to wait for one confirm.
    """

    def __init__(self, loop: Loop, outbox: Outbox, timeout: float) -> None:
        self._loop, self._outbox, self._timeout = loop, outbox, timeout

    def publish(
        self, message: Outgoing, who: str, done: PublishDone, *, unroutable: int | None = None, last: bool = False
    ) -> None:
        """Publish a message.

        Args:
            message: what to send.
            who: it follows from, for the log.
            done: told None once it is stored, or why it can never be.
            unroutable: after so many attempts without a queue for it, there will never be one; None: try on.
            last: there is nothing to send instead; try on whatever the reason is.
        """
        hopeless = () if last else _UNSENDABLE
        _Attempts(self._loop, message, who, done, unroutable, hopeless).begin(self._outbox, self._timeout)


class _Attempts:
    """One message on its way."""

    def __init__(
        self,
        loop: Loop,
        message: Outgoing,
        who: str,
        done: PublishDone,
        unroutable: int | None,
        unsendable: tuple[type[Exception], ...],
    ) -> None:
        self._loop, self._message, self._who = loop, message, who
        self._done, self._unroutable, self._unsendable = done, unroutable, unsendable
        self._count = 0

    def begin(self, outbox: Outbox, timeout: float) -> None:
        def published(error: BrokerError | EncodeError | None) -> None:
            if error is None or self._hopeless(error):
                self._done(error)
                return
            pause = backoff(self._count)
            text = "%s: what follows from it can't be stored (%s); the message is kept, next attempt in %.1fs"
            logger.error(text, self._who, error, pause)
            self._loop.call_later(pause, publish)

        def publish() -> None:
            self._count += 1
            outbox.publish(self._message, timeout, published)

        publish()

    def _hopeless(self, error: BrokerError | EncodeError) -> bool:
        if isinstance(error, Unroutable):
            return self._unroutable is not None and self._count >= self._unroutable
        return isinstance(error, self._unsendable)
