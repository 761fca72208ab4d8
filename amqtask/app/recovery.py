"""What to do after the broker did not take a message: declare what is missing, wait a moment, or give up.

Owns the decision, without any I/O, so that blocking and awaiting sends share it. Both errors it deals with
mean that nothing was stored, so sending again makes no duplicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.errors import QueueFull, Unroutable

if TYPE_CHECKING:
    from amqtask.app.needs import Need, Needs
    from amqtask.wire.message import Outgoing

Recoverable = (Unroutable, QueueFull)
"""Errors to ask :class:`Recovery` about."""

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds. A quorum queue that is just being declared, or is electing a leader, refuses what is sent to
it."""


class Recovery:
    """The fate of one message, or of messages for one destination, over several attempts."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self._declared = False
        self._pauses = list(_PAUSES)

    def next_step(self, message: Outgoing, error: Unroutable | QueueFull) -> Need | float:
        """What to do before the next attempt: declare something, or wait this many seconds.

        Raises:
            Unroutable: there is nothing to declare, or it did not help.
            QueueFull: the queue has a length limit, or refuses messages for longer than a new one would.
        """
        need = self._needs.need(message)
        if isinstance(error, QueueFull):
            if not self._pauses or self._needs.may_be_full(need):
                raise error
            return self._pauses.pop(0)
        if need is None or self._declared or not self._needs.may_declare:
            raise self._needs.explain(message, error) from None
        self._declared = True
        return need
