"""The methods that declare, bind and delete. Owns the meaning of an empty queue name: the last one declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pamqp.commands import Exchange, Queue

from amqtask.testing.devbroker.engine.errors import NOT_FOUND, ChannelFault, not_found
from amqtask.testing.devbroker.protocol.frames import DeclareOk
from amqtask.testing.devbroker.protocol.replies import REPLY_TO, reply_queue_exists

if TYPE_CHECKING:
    from collections.abc import Callable

    from pamqp.base import Frame

    from amqtask.testing.devbroker.protocol.session import Session


class Declarations:
    """Exchange and queue methods of one channel; each returns its answer.

    Attributes:
        handlers: by class of method.
    """

    __slots__ = ("_last", "_session", "handlers")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last = ""
        self.handlers: dict[type[Frame], Callable[[Any], Frame]] = {
            Exchange.Declare: self._declare_exchange,
            Exchange.Delete: self._delete_exchange,
            Exchange.Bind: self._bind_exchange,
            Exchange.Unbind: self._unbind_exchange,
            Queue.Declare: self._declare_queue,
            Queue.Bind: self._bind_queue,
            Queue.Unbind: self._unbind_queue,
            Queue.Purge: self._purge_queue,
            Queue.Delete: self._delete_queue,
        }

    def queue_name(self, name: str) -> str:
        """The queue that is meant.

        Raises:
            ChannelFault: 404, the name is empty and no queue was declared on this channel.
        """
        if name:
            return name
        if not self._last:
            raise ChannelFault(NOT_FOUND, "NOT_FOUND - no previously declared queue")
        return self._last

    def _declare_exchange(self, method: Exchange.Declare) -> Frame:
        self._session.vhost.exchange_declare(
            _clean(method.exchange),
            method.exchange_type,
            passive=method.passive,
            durable=method.durable,
            auto_delete=method.auto_delete,
            internal=method.internal,
            arguments=method.arguments or {},
        )
        return Exchange.DeclareOk()

    def _delete_exchange(self, method: Exchange.Delete) -> Frame:
        self._session.vhost.exchange_delete(_clean(method.exchange), if_unused=method.if_unused)
        return Exchange.DeleteOk()

    def _bind_exchange(self, method: Exchange.Bind) -> Frame:
        self._session.vhost.exchange_bind(
            _clean(method.destination), _clean(method.source), method.routing_key, method.arguments or {}
        )
        return Exchange.BindOk()

    def _unbind_exchange(self, method: Exchange.Unbind) -> Frame:
        self._session.vhost.exchange_unbind(
            _clean(method.destination), _clean(method.source), method.routing_key, method.arguments or {}
        )
        return Exchange.UnbindOk()

    def _declare_queue(self, method: Queue.Declare) -> Frame:
        session, name = self._session, _clean(method.queue)
        if name.startswith(REPLY_TO):
            if not reply_queue_exists(name, session.state.replies):
                raise not_found("queue", name, session.vhost.name)
            return DeclareOk(name, 0, 1)
        queue = session.vhost.queue_declare(
            name,
            session,
            passive=method.passive,
            durable=method.durable,
            exclusive=method.exclusive,
            auto_delete=method.auto_delete,
            arguments=method.arguments or {},
        )
        self._last = queue.name
        return DeclareOk(queue.name, queue.ready_count, queue.consumer_count)

    def _bind_queue(self, method: Queue.Bind) -> Frame:
        queue, key = self._shortcut(method.queue, method.routing_key)
        session = self._session
        session.vhost.queue_bind(queue, _clean(method.exchange), key, method.arguments or {}, session)
        return Queue.BindOk()

    def _unbind_queue(self, method: Queue.Unbind) -> Frame:
        queue, key = self._shortcut(method.queue, method.routing_key)
        session = self._session
        session.vhost.queue_unbind(queue, _clean(method.exchange), key, method.arguments or {}, session)
        return Queue.UnbindOk()

    def _purge_queue(self, method: Queue.Purge) -> Frame:
        session = self._session
        return Queue.PurgeOk(session.vhost.queue_purge(self.queue_name(_clean(method.queue)), session))

    def _delete_queue(self, method: Queue.Delete) -> Frame:
        session, name = self._session, self.queue_name(_clean(method.queue))
        if name.startswith(REPLY_TO):
            return Queue.DeleteOk(0)
        return Queue.DeleteOk(
            session.vhost.queue_delete(name, session, if_unused=method.if_unused, if_empty=method.if_empty)
        )

    def _shortcut(self, queue: str, routing_key: str) -> tuple[str, str]:
        """AMQP's rule: with neither queue nor key, both are the last queue's name."""
        name = self.queue_name(_clean(queue))
        return name, routing_key or (name if not queue else "")


def _clean(name: str) -> str:
    """RabbitMQ drops line ends from names."""
    return name.replace("\r", "").replace("\n", "")
