"""The worker's publishing: confirmed, and with what is missing on the broker declared once on the way.

Owns declare-on-miss for everything the worker sends: next attempts, dead letters, and the ``delay()`` calls of its
tasks, which use the worker's connection instead of opening their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.errors import BrokerError, Unroutable

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Layout, PublishDone
    from amqtask.broker.publisher import Publisher
    from amqtask.wire.message import Outgoing

    LayoutFor = Callable[[Outgoing], Layout | None]
    """What has to be declared so that a message finds a queue; None when nothing can be."""


class Outbox:
    """Publishes for the worker. Lives on the I/O thread.

    Args:
        publisher: the publishing connection.
        layout_for: asked when a message found no queue.
    """

    def __init__(self, publisher: Publisher, layout_for: LayoutFor) -> None:
        self._publisher, self._layout_for = publisher, layout_for

    def publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        """Publish; ``done`` is told None once the message is stored and routed, or the error after ``timeout`` s."""

        def published(error: BrokerError | None) -> None:
            layout = self._layout_for(message) if isinstance(error, Unroutable) else None
            if layout is None:
                done(error)
            else:
                self._publisher.declare(layout, declared)

        def declared(failure: Exception | None) -> None:
            if failure is None:
                self._publisher.publish(message, timeout, done)
            else:
                done(Unroutable(f"no queue for the message, and declaring failed: {failure}"))

        self._publisher.publish(message, timeout, published)
