"""The methods that consume, get and settle. Owns their checks and answers; deliveries are counted elsewhere."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pamqp.commands import Basic

from amqtask.testing.devbroker.engine.arguments import read_consumer
from amqtask.testing.devbroker.engine.errors import NOT_ALLOWED, ConnectionFault, not_implemented, precondition_failed
from amqtask.testing.devbroker.protocol import frames
from amqtask.testing.devbroker.protocol.channel_deliveries import Subscription
from amqtask.testing.devbroker.protocol.replies import REPLY_TO

if TYPE_CHECKING:
    from collections.abc import Callable

    from pamqp.base import Frame

    from amqtask.testing.devbroker.protocol.channel_declare import Declarations
    from amqtask.testing.devbroker.protocol.channel_deliveries import Deliveries
    from amqtask.testing.devbroker.protocol.session import Session


class Consuming:
    """Basic methods of one channel but publish; each returns its answer, None when it has sent it or has none.

    Attributes:
        handlers: by class of method.
    """

    __slots__ = ("_declarations", "_deliveries", "_session", "handlers")

    def __init__(self, session: Session, declarations: Declarations, deliveries: Deliveries) -> None:
        self._session, self._declarations, self._deliveries = session, declarations, deliveries
        self.handlers: dict[type[Frame], Callable[[Any], Frame | None]] = {
            Basic.Qos: self._qos,
            Basic.Consume: self._consume,
            Basic.Cancel: self._cancel,
            Basic.Get: self._get,
            Basic.Nack: self._nack,
            Basic.Reject: self._reject,
            Basic.Recover: self._recover,
            Basic.RecoverAsync: self._recover,
        }

    def _qos(self, method: Basic.Qos) -> Frame:
        if method.prefetch_size:
            raise not_implemented(f"prefetch_size!=0 ({method.prefetch_size})")
        # RabbitMQ 4.3 takes a limit of the whole channel as one of each consumer.
        self._deliveries.prefetch = method.prefetch_count
        return Basic.QosOk()

    def _consume(self, method: Basic.Consume) -> None:
        deliveries = self._deliveries
        tag = method.consumer_tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
        if deliveries.knows(tag):
            raise ConnectionFault(NOT_ALLOWED, f"NOT_ALLOWED - attempt to reuse consumer tag '{tag}'")

        def answer() -> None:
            if not method.nowait:
                deliveries.outbox.send(frames.method(deliveries.channel, Basic.ConsumeOk(tag)))

        if method.queue == REPLY_TO:
            self._consume_replies(tag, method.no_ack)
            answer()
            return
        queue = self._session.vhost.queue(self._declarations.queue_name(method.queue), self._session)
        options = read_consumer(queue.name, self._session.vhost.name, queue.kind, method.arguments or {})
        subscription = Subscription(
            deliveries, queue, tag, no_ack=method.no_ack, exclusive=method.exclusive, options=options
        )
        deliveries.subscribe(subscription, answer)

    def _consume_replies(self, tag: str, no_ack: bool) -> None:
        if not no_ack:
            raise precondition_failed("reply consumer cannot acknowledge")
        if self._deliveries.reply_address is not None:
            raise precondition_failed("reply consumer already set")
        self._deliveries.subscribe_to_replies(tag)

    def _cancel(self, method: Basic.Cancel) -> Frame:
        self._deliveries.cancel(method.consumer_tag or "")
        return Basic.CancelOk(method.consumer_tag)

    def _get(self, method: Basic.Get) -> Frame | None:
        queue = self._session.vhost.queue(self._declarations.queue_name(method.queue), self._session)
        return None if self._deliveries.get(queue, method.no_ack) else Basic.GetEmpty()

    def _nack(self, method: Basic.Nack) -> None:
        if method.requeue:
            # RabbitMQ 4.3 counts only reject as a failure.
            self._deliveries.requeue(method.delivery_tag or 0, method.multiple, failed=False)
        else:
            self._deliveries.reject(method.delivery_tag or 0, method.multiple, failed=False)

    def _reject(self, method: Basic.Reject) -> None:
        if method.requeue:
            self._deliveries.requeue(method.delivery_tag or 0, False, failed=True)
        else:
            self._deliveries.reject(method.delivery_tag or 0, False, failed=True)

    def _recover(self, method: Basic.Recover | Basic.RecoverAsync) -> None:
        if not method.requeue:
            raise not_implemented("requeue=false")
        deliveries = self._deliveries
        if isinstance(method, Basic.Recover):  # before what is delivered again
            deliveries.outbox.send(frames.method(deliveries.channel, Basic.RecoverOk()))
        deliveries.recover()
