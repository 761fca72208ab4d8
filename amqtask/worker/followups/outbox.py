"""The worker's publishing: confirmed, and with what is missing on the broker declared on the way.

Owns declare-on-miss for everything the worker sends: next attempts, dead letters, and the ``delay()`` calls of its
tasks, which use the worker's connection instead of opening their own. Never blocks; the rules are those of
:mod:`amqtask.app.recovery`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.app.recovery import Recoverable, Recovery
from amqtask.errors import BrokerError, EncodeError

if TYPE_CHECKING:
    from amqtask.app.needs import Need, Needs
    from amqtask.broker.interface import Loop, PublishDone
    from amqtask.broker.publisher import Publisher
    from amqtask.wire.message import Outgoing


class Outbox:
    """Publishes for the worker. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        publisher: the publishing connection.
        needs: what messages need on the broker.
    """

    def __init__(self, loop: Loop, publisher: Publisher, needs: Needs) -> None:
        self._loop, self._publisher, self._needs = loop, publisher, needs

    def declared(self, message: Outgoing) -> bool:
        """Whether routing.yaml has a queue for a message."""
        return self._needs.is_declared(message)

    def publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        """Publish; ``done`` is told None once the message is stored and routed, else why not.

        Args:
            message: what to send.
            timeout: seconds for each attempt.
            done: called exactly once.
        """
        sending = _Sending(self._loop, self._publisher, self._needs, message, timeout, done)
        need = self._needs.to_prepare(message)
        if need is None:
            sending.publish()
        else:
            sending.declare(need)


class _Sending:
    """One message on its way, over several attempts."""

    def __init__(
        self,
        loop: Loop,
        publisher: Publisher,
        needs: Needs,
        message: Outgoing,
        timeout: float,
        done: PublishDone,
    ) -> None:
        self._loop, self._publisher, self._needs = loop, publisher, needs
        self._message, self._timeout, self._done = message, timeout, done
        self._recovery: Recovery | None = None

    def publish(self) -> None:
        try:
            self._publisher.publish(self._message, self._timeout, self._published)
        except (BrokerError, EncodeError) as error:  # of this message: too large, or nothing AMQP can carry
            refused = error
            self._loop.call_later(0, lambda: self._done(refused))

    def declare(self, need: Need) -> None:
        def declared(failure: Exception | None) -> None:
            if failure is None:
                self._needs.note_declared(need)
                self.publish()
            else:
                error = self._needs.error_for(need, failure)
                self._done(error if isinstance(error, BrokerError) else BrokerError(str(error)))

        self._publisher.declare(self._needs.layout(need), declared)

    def _published(self, error: BrokerError | EncodeError | None) -> None:
        if not isinstance(error, Recoverable):
            self._done(error)
            return
        self._recovery = self._recovery or Recovery(self._needs)
        try:
            step = self._recovery.next_step(self._message, error)
        except BrokerError as final:
            self._done(final)
            return
        if isinstance(step, float):
            self._loop.call_later(step, self.publish)
        else:
            self.declare(step)
