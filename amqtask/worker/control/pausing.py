"""Paused queues: what of them has not started goes back, and nothing more is taken. Owns the gate for that.

When a connection is made, the broker is asked which of the consumed queues are paused; until it has answered, nothing
of them starts. A paused queue is asked about now and then, for whoever resumes it may not reach this worker.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from amqtask.control.pauses import question, steps
from amqtask.errors import BrokerError, BrokerUnavailable, EncodeError, PublishError, Unroutable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.broker.interface import Connection
    from amqtask.errors import AmqtaskError
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker.control")

PAUSED = "paused"
"""Why a queue is not consumed; see :meth:`amqtask.worker.consumer.Consumers.stop`."""

_ASKING = 5.0
"""Seconds that an answer may take; then a queue stays as it is, and one of which nothing is known is not paused."""

_AGAIN = 30.0
"""Seconds between two looks at what is paused, or may be."""


class Pausing:
    """Implements :class:`amqtask.worker.custody.gates.Gate`. Lives on the I/O thread.

    Args:
        worker: whose queues they are.
    """

    def __init__(self, worker: Engine) -> None:
        self._worker = worker
        self.paused: set[str] = set()
        self._unknown: dict[str, object] = {}
        """Queue -> the question about it."""
        self._kept: list[Delivery] = []
        self._stopped: set[str] = set()
        """Those of the paused from which nothing can come any more."""
        self._lasting: set[str] = set()
        """Those of the paused that are so by the broker's word; the others until a request or a reconnect."""
        self._doubtful: set[str] = set()
        """Those of which the broker has not said anything."""
        self._timer: object = None

    # -- the gate -------------------------------------------------------------------------------------------------

    def admit(self, delivery: Delivery) -> bool:
        """May it start, as far as its queue goes?"""
        queue = delivery.queue
        if queue not in self._unknown and queue not in self.paused:
            return True
        self._kept.append(delivery)
        if queue in self._stopped and queue not in self._unknown:  # it has waited for a limit when the others went
            self._worker.loop.call_later(0, lambda: self._hand_back(queue))
        return False

    def clear(self) -> list[Delivery]:
        """Give up what waits for the broker's answer, or to be handed back."""
        kept, self._kept = self._kept, []
        return kept

    # -- the broker's word ----------------------------------------------------------------------------------------

    def connected(self, _connection: Connection) -> None:
        """Ask about every queue."""
        self._unknown.clear()
        self.ask(self._worker.consumers.names)

    def ask(self, queues: Iterable[str]) -> None:
        """Ask about queues; nothing of them starts until there is an answer."""
        asked = {queue: object() for queue in queues}
        self._unknown |= asked

        def told(queue: str, error: AmqtaskError | None) -> None:
            if self._unknown.get(queue) is asked[queue]:  # else by another connection, or a request has come
                self._answered(queue, error)

        self._question(asked, told)

    def _question(self, queues: Iterable[str], told: Callable[[str, AmqtaskError | None], None]) -> None:
        """Ask the broker; ``told`` gets each queue with None where it is paused, and Unroutable where it is not."""
        publisher = self._worker.publisher

        def declared(error: AmqtaskError | None) -> None:
            if error is not None:
                logger.warning("Can't ask the broker which queues are paused: %s", error)
            for queue in queues:
                if error is not None:
                    told(queue, error)
                    continue
                try:
                    publisher.publish(question(queue), _ASKING, partial(told, queue))
                except (BrokerError, EncodeError) as refused:
                    told(queue, refused)

        publisher.declare(lambda _version: steps(), declared, _ASKING)

    def _answered(self, queue: str, error: AmqtaskError | None) -> None:
        self._lasting.discard(queue)
        self._doubtful.discard(queue)
        if error is None:
            self._lasting.add(queue)
            self._pause(queue)
        elif isinstance(error, Unroutable):
            self.resume(queue)
        else:
            self._not_answered(queue, error)
        self._look_later()

    def _not_answered(self, queue: str, error: AmqtaskError) -> None:
        """A broker in need is asked again, and until then it stays as it was; one that won't tell is not."""
        asked_again = isinstance(error, BrokerUnavailable | PublishError)
        if asked_again:
            self._doubtful.add(queue)
        if asked_again and queue in self.paused:
            self._pause(queue)
        else:
            self._go_on(queue)

    def _look_later(self) -> None:
        if self._timer is None and (self._lasting or self._doubtful):
            self._timer = self._worker.loop.call_later(_AGAIN, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._worker.custody.draining:
            if self._worker.connection is not None:
                self._check(self._lasting | self._doubtful)
            self._look_later()

    def _check(self, queues: Iterable[str]) -> None:
        """Ask, and leave everything as it is until there is an answer."""
        self._question(queues, self._checked)

    def _checked(self, queue: str, error: AmqtaskError | None) -> None:
        open_question = queue in self._doubtful
        if queue in self._unknown:
            return
        if error is None and (open_question or queue in self.paused):
            self._answered(queue, None)
        elif isinstance(error, Unroutable) and (open_question or queue in self._lasting):
            self._answered(queue, error)

    # -- requests -------------------------------------------------------------------------------------------------

    def pause(self, queue: str) -> None:
        """Start nothing more of a queue; what runs goes on."""
        self._pause(queue)
        self._check([queue])

    def _pause(self, queue: str) -> None:
        self._unknown.pop(queue, None)
        if queue not in self.paused:
            logger.warning("Queue %s is paused", queue)
        self.paused.add(queue)
        self._kept += self._worker.custody.take_waiting(lambda delivery: delivery.queue == queue)
        # only then: what goes back while the consumer is there comes again at once
        self._worker.consumers.stop(queue, PAUSED, lambda: self._hand_back(queue))

    def resume(self, queue: str) -> None:
        """Go on with a queue; harmless when it is not paused."""
        self._lasting.discard(queue)
        self._doubtful.discard(queue)
        self._go_on(queue)

    def _go_on(self, queue: str) -> None:
        self._stopped.discard(queue)
        self._unknown.pop(queue, None)
        if queue in self.paused:
            self.paused.discard(queue)
            logger.warning("Queue %s is no longer paused", queue)
            self._worker.consumers.go_on(queue, PAUSED)
        for delivery in self._taken(queue):
            self._worker.custody.readmit(delivery)

    def _hand_back(self, queue: str) -> None:
        if queue in self.paused:
            self._stopped.add(queue)
            for delivery in self._taken(queue):
                self._worker.custody.hand_back(delivery)
            self._worker.custody.schedule_turn()

    def _taken(self, queue: str) -> list[Delivery]:
        taken = [delivery for delivery in self._kept if delivery.queue == queue]
        self._kept = [delivery for delivery in self._kept if delivery.queue != queue]
        return taken
