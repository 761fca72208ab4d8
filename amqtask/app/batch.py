"""Batch: messages sent together with pipelined confirms. Owns what is done when the broker takes some of them only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amqtask.app.recovery import Recoverable, Recovery
from amqtask.errors import AmqtaskError, BrokerUnavailable, Unroutable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.app.needs import Need, Needs
    from amqtask.broker.interface import Transport
    from amqtask.wire.message import Outgoing


class Batch:
    """Sends messages once, in rounds: each sends those again that what was done in between may have helped.

    Args:
        messages: to send.
        transport: the way to the broker.
        needs: what messages need on the broker.
        timeout: seconds that a round has to be confirmed.
    """

    def __init__(self, messages: Sequence[Outgoing], transport: Transport, needs: Needs, timeout: float) -> None:
        self._messages, self._transport, self._needs, self._timeout = messages, transport, needs, timeout
        self._recoveries: dict[Need | None, Recovery] = {}
        self._errors: dict[int, AmqtaskError] = {}

    def send(self) -> dict[int, AmqtaskError]:
        """Send all; returns when each is confirmed, or has failed for good.

        Returns:
            Index -> error of those that failed; the others are confirmed.

        Raises:
            AmqtaskError: nothing was confirmed, for one reason.
        """
        left = list(range(len(self._messages)))
        while left:
            left = self._recover(self._send_once(left))
        return {index: self._explain(index, error) for index, error in sorted(self._errors.items())}

    def _send_once(self, indices: list[int]) -> list[int]:
        """Send these; returns those that may be helped."""
        try:
            failed = self._transport.send_many([self._messages[index] for index in indices], timeout=self._timeout)
        except AmqtaskError as error:
            if len(indices) == len(self._messages):
                raise
            failed = dict.fromkeys(range(len(indices)), error)  # the others are confirmed: the caller has to know
        for index in indices:
            self._errors.pop(index, None)
        self._errors.update({indices[place]: error for place, error in failed.items()})
        return [index for index in indices if isinstance(self._errors.get(index), Recoverable)]

    def _recover(self, indices: list[int]) -> list[int]:
        """Declare what these lack, or wait a moment; returns those that this may have helped, in order."""
        by_need: dict[Need | None, list[int]] = {}
        for index in indices:
            by_need.setdefault(self._needs.need(self._messages[index]), []).append(index)
        helped, pause = [], 0.0
        for need, several in by_need.items():
            error = self._errors[several[0]]
            assert isinstance(error, Recoverable)
            recovery = self._recoveries.setdefault(need, Recovery(self._needs))
            try:
                step = recovery.next_step(self._messages[several[0]], error)
            except Recoverable:
                continue
            if isinstance(step, float):
                pause = max(pause, step)
            elif (refusal := self._declare(step)) is not None:
                if len(indices) == len(self._messages):
                    raise refusal
                is_gone = isinstance(refusal, BrokerUnavailable)  # and would be for the others, each after a while
                self._errors.update(dict.fromkeys(indices if is_gone else several, refusal))
                if is_gone:
                    return []
                continue
            helped += several
        if pause:
            time.sleep(pause)
        return sorted(helped)

    def _declare(self, need: Need) -> AmqtaskError | None:
        try:
            self._transport.declare(self._needs.layout(need))
        except AmqtaskError as refusal:
            return refusal
        return None

    def _explain(self, index: int, error: AmqtaskError) -> AmqtaskError:
        return self._needs.explain(self._messages[index], error) if isinstance(error, Unroutable) else error
