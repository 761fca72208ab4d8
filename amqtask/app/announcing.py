"""Who is told of messages: middleware and signals before one is sent, a signal and an event once it is.

Owns when each is told, and with what.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from amqtask import signals
from amqtask.errors import AmqtaskError
from amqtask.events.event import make, message, shown
from amqtask.tasks.middleware import Publishing
from amqtask.topology.declarations import DEFAULT_EXCHANGE, ExchangeDeclare
from amqtask.wire.codec import serializer_for, serializers
from amqtask.wire.compression import decompress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.app.destination import Destination
    from amqtask.broker.interface import Transport
    from amqtask.config.settings import Settings
    from amqtask.tasks.middleware import Middlewares
    from amqtask.wire.message import Outgoing, Properties, TaskMessage

logger = logging.getLogger(__name__)

_EVENT_TIMEOUT = 1.0

_MAY_CHANGE = ("priority", "correlation_id", "reply_to", "expiration", "message_id", "app_id", "type")
"""Properties that receivers of ``before_task_publish`` may change in ``properties``."""


class BeforePublish:
    """Tells middleware, and the receivers of ``before_task_publish``, of a message. Thread-safe.

    Args:
        middleware: of the app.
    """

    def __init__(self, middleware: Middlewares | None) -> None:
        self._middleware = middleware

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(signals.before_task_publish.receivers or self._middleware)

    def tell(self, task: TaskMessage, destination: Destination, properties: Properties) -> Properties:
        """Tell of a message that is about to be sent.

        Args:
            task: what it says.
            destination: where it goes.
            properties: as they would be sent.

        Returns:
            The properties, with what was changed by those who were told.

        Raises:
            Exception: a middleware's; the message is not to be sent.
        """
        exchange, routing_key = destination
        headers = dict(properties.headers or {})
        if self._middleware:
            self._middleware.before_publish(
                Publishing(task.task, task.id, task.args, task.kwargs, exchange, routing_key, headers)
            )
        if not signals.before_task_publish.receivers:
            return properties._replace(headers=headers)
        others = {name: getattr(properties, name) for name in _MAY_CHANGE}
        signals.before_task_publish.send(
            task.task,
            body=(task.args, task.kwargs, task.embed),
            exchange=exchange,
            routing_key=routing_key,
            headers=headers,
            properties=others,
            declare=[],
            retry_policy={},
        )
        changed = {name: value for name, value in others.items() if name in _MAY_CHANGE}
        return properties._replace(headers=headers, **changed)


class AfterPublish:
    """Tells the receivers of ``after_task_publish`` of confirmed messages, and monitors by event. Thread-safe.

    Args:
        settings: of the app.
        transport: gives the transport in use.
    """

    def __init__(self, settings: Settings, transport: Callable[[], Transport]) -> None:
        self._settings, self._transport = settings, transport
        self._events = settings.task_send_sent_event
        self._hostname = f"gen{os.getpid()}@{socket.gethostname()}" if self._events else ""
        self._declared = False

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(signals.after_task_publish.receivers) or self._events

    def tell(self, messages: Sequence[Outgoing]) -> None:
        """Tell of messages that are in their queues. Raises nothing."""
        self._signal(messages)
        if self._events:
            transport, exchange = self._transport(), self._settings.event_exchange
            with contextlib.suppress(AmqtaskError):  # nobody listens, or the broker has other troubles: it is an event
                if not self._declared:
                    transport.declare(lambda _: [ExchangeDeclare(exchange, "topic", lenient=True)])
                    self._declared = True
                transport.send_many([self._event(one) for one in messages], timeout=_EVENT_TIMEOUT)

    async def atell(self, messages: Sequence[Outgoing]) -> None:
        """Like :meth:`tell`, without blocking the running loop."""
        self._signal(messages)
        if self._events:
            transport, exchange = self._transport(), self._settings.event_exchange
            with contextlib.suppress(AmqtaskError):
                if not self._declared:
                    await transport.adeclare(lambda _: [ExchangeDeclare(exchange, "topic", lenient=True)])
                    self._declared = True
                for one in messages:
                    await transport.asend(self._event(one), timeout=_EVENT_TIMEOUT)

    def _signal(self, messages: Sequence[Outgoing]) -> None:
        if signals.after_task_publish.receivers:
            for one in messages:
                headers = dict(one.properties.headers or {})
                signals.after_task_publish.send(
                    headers.get("task"),
                    body=self._body(one),
                    exchange=one.exchange,
                    routing_key=one.routing_key,
                    headers=headers,
                )

    def _event(self, sent: Outgoing) -> Outgoing:
        headers = sent.properties.headers or {}
        args, kwargs = headers.get("argsrepr"), headers.get("kwargsrepr")
        if args is None or kwargs is None:
            body = self._body(sent)
            args, kwargs = shown(tuple(body[0])), shown(body[1])
        fields = {
            "uuid": sent.properties.correlation_id,
            "name": headers.get("task"),
            "args": args,
            "kwargs": kwargs,
            "root_id": headers.get("root_id") or headers.get("id"),
            **{name: headers.get(name) for name in ("parent_id", "eta", "expires")},
            "retries": headers.get("retries") or 0,
            "queue": sent.routing_key if sent.exchange == DEFAULT_EXCHANGE else "",
            "exchange": sent.exchange,
            "routing_key": sent.routing_key,
        }
        event = make("task-sent", self._hostname, 0, fields)
        return message(self._settings.event_exchange, "task.sent", self._hostname, event)

    def _body(self, sent: Outgoing) -> Any:
        body, compression = sent.body, (sent.properties.headers or {}).get("compression")
        names = (self._settings.task_serializer, *serializers.names())
        try:
            serializer = serializer_for(sent.properties.content_type, names)
            args, kwargs, embed = serializer.loads(decompress(body, compression) if compression else body)
        except Exception:  # the message is sent all the same, and whoever has sent it must know that
            logger.warning("what was sent can't be shown: its body can't be read", exc_info=True)
            return (), {}, {}
        return args, kwargs, embed
