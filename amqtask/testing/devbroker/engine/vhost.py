"""A virtual host: its exchanges, queues and bindings, and what clients may do with them.

Owns the tables and the rules of declaring, binding and deleting; routing, matching and queues have their own modules.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine.arguments import read_queue, wrong_name_type
from amqtask.testing.devbroker.engine.dead_letters import DeadLetters
from amqtask.testing.devbroker.engine.declaring import (
    refuse_default,
    refuse_for_quorum,
    refuse_reserved,
    require_same_exchange,
    require_same_queue,
)
from amqtask.testing.devbroker.engine.errors import (
    access_refused,
    locked,
    not_found,
    not_implemented,
    precondition_failed,
)
from amqtask.testing.devbroker.engine.exchanges import Exchange
from amqtask.testing.devbroker.engine.interface import Routed
from amqtask.testing.devbroker.engine.matching import MATCHERS
from amqtask.testing.devbroker.engine.publishing import SPECIAL, read_special
from amqtask.testing.devbroker.engine.queues import Queue
from amqtask.testing.devbroker.engine.routing import Router
from amqtask.testing.devbroker.engine.surroundings import Surroundings

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.memory import Memory
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.scheduler import Scheduler

_PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
    "amq.topic": "topic",
}
_INTERNAL = "amq.rabbitmq.trace"
_NOWHERE, _ONE_TOOK, _ONE_REFUSED = Routed(0, True), Routed(1, True), Routed(1, False)


class VHost:
    """A virtual host.

    Every method is atomic and raises only :class:`~.errors.Fault`.

    Args:
        name: for error texts.
        scheduler: the broker's time.
        memory: where stored messages are counted.

    Attributes:
        queues: by name; read only for others.
        exchanges: by name; read only for others.
    """

    def __init__(self, name: str, scheduler: Scheduler, memory: Memory) -> None:
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.exchanges = {
            name: Exchange(name, kind, durable=True, internal=name == _INTERNAL) for name, kind in _PREDECLARED.items()
        }
        self._router = Router(self.exchanges, self.queues)
        dead_letters = DeadLetters(scheduler, self._router.route)
        self._surroundings = Surroundings(name, scheduler, memory, dead_letters, self._remove_queue)
        self._owned: dict[object, dict[str, None]] = {}

    # -- publishing

    def publish(self, message: Message) -> Routed:
        """Route a message and put it into its queues.

        Raises:
            ChannelFault: 404 no such exchange; 403 it is internal; 406 a bad expiration or CC header.
            ConnectionFault: 502, the properties can't be read.
        """
        if message.header[12] & SPECIAL:
            read_special(message)
        if message.exchange:
            exchange = self.exchanges.get(message.exchange)
            if exchange is None:
                raise not_found("exchange", message.exchange, self.name)
            if exchange.internal:
                raise access_refused(f"cannot publish to internal exchange '{exchange.name}' in vhost '{self.name}'")
        queues = self._router.route(message)
        if len(queues) == 1:
            return _ONE_TOOK if queues[0].enqueue(message) else _ONE_REFUSED
        if not queues:
            return _NOWHERE
        accepted = [queue.enqueue(message) for queue in queues]
        return Routed(len(queues), all(accepted))

    # -- exchanges

    def exchange_declare(
        self,
        name: str,
        kind: str,
        *,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Make an exchange, or check that it is there (``passive``) or the same.

        Raises:
            ChannelFault: 404 passive and not there; 403 a reserved name; 406 it is there and differs, or no such type.
        """
        refuse_default(name)
        if passive:
            self._exchange(name)
            return
        if kind not in MATCHERS:
            raise precondition_failed(f"unknown exchange type '{kind}'")
        wanted = Exchange(name, kind, durable, auto_delete, internal, arguments or {})
        existing = self.exchanges.get(name)
        if existing is not None:
            require_same_exchange(existing, self.name, wanted)
            return
        refuse_reserved("exchange", name)
        if not isinstance(wanted.arguments.get("alternate-exchange", ""), str):
            subject = f"exchange '{name}' in vhost '{self.name}'"
            raise wrong_name_type("alternate-exchange", wanted.alternate, subject)
        self.exchanges[name] = wanted
        self._router.changed()

    def exchange_delete(self, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange with all its bindings; nothing happens when there is none.

        Raises:
            ChannelFault: 403 a predeclared one; 406 it has bindings and must be unused.
        """
        refuse_default(name)
        if name.startswith("amq."):
            raise access_refused(f"deletion of system exchange '{name}' in vhost '{self.name}' not allowed")
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bound:
            raise precondition_failed(f"exchange '{name}' in vhost '{self.name}' in use")
        self._remove_exchange(exchange)

    def exchange_bind(
        self, destination: str, source: str, routing_key: str, arguments: dict[str, Any] | None = None
    ) -> None:
        """Let an exchange get what another one routes to it.

        Raises:
            ChannelFault: 404 one is not there; 403 one is the default exchange; 406 bad arguments.
        """
        refuse_default(source)
        refuse_default(destination)
        self._exchange(source).bind(self._exchange(destination), routing_key, arguments or {})
        self._router.changed()

    def exchange_unbind(
        self, destination: str, source: str, routing_key: str, arguments: dict[str, Any] | None = None
    ) -> None:
        """Take back a binding between exchanges; nothing happens when there is none.

        Raises:
            ChannelFault: 403, one is the default exchange.
        """
        refuse_default(source)
        refuse_default(destination)
        target = self.exchanges.get(destination)
        if target is not None:
            self._unbind(target, source, routing_key, arguments or {})

    # -- queues

    def queue_declare(
        self,
        name: str,
        owner: object,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> Queue:
        """Make a queue, or check that it is there (``passive``) or the same.

        Args:
            name: its name; "" lets the broker choose one.
            owner: the connection that asks; hashable.
            passive: only look.
            durable: whether it says that it survives a restart, which nothing here does.
            exclusive: whether it belongs to this owner alone and ends with it.
            auto_delete: whether it ends when its last consumer goes.
            arguments: the x-arguments.

        Raises:
            ChannelFault: 404 passive and not there; 403 a reserved name; 405 another connection's exclusive queue;
                406 it is there and differs, or arguments are wrong.
            ConnectionFault: 540, a stream.
        """
        if passive:
            queue = self.queue(name, owner)
            queue.used()
            return queue
        arguments = arguments or {}
        existing = self.queues.get(name)
        if existing is not None:
            wanted_by = owner if exclusive else None
            require_same_queue(
                existing, self.name, wanted_by, durable=durable, auto_delete=auto_delete, arguments=arguments
            )
            existing.used()
            return existing
        if name:
            refuse_reserved("queue", name)
        else:
            name = f"amq.gen-{base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip('=')}"
        options = read_queue(name, self.name, arguments)
        if options.quorum:
            refuse_for_quorum(name, self.name, auto_delete=auto_delete, exclusive=exclusive, durable=durable)
        queue = self.queues[name] = Queue(
            name,
            options,
            self._surroundings,
            durable=durable,
            auto_delete=auto_delete,
            owner=owner if exclusive else None,
            arguments=arguments,
        )
        if exclusive:
            self._owned.setdefault(owner, {})[name] = None
        self._router.changed()
        return queue

    def queue(self, name: str, owner: object) -> Queue:
        """A queue by its name.

        Raises:
            ChannelFault: 404 not there; 405 another connection's exclusive queue.
        """
        queue = self.queues.get(name)
        if queue is None:
            raise not_found("queue", name, self.name)
        if queue.owner is not None and queue.owner is not owner:
            raise locked(name, self.name)
        return queue

    def queue_delete(self, name: str, owner: object, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """Delete a queue; how many messages waited, 0 also when there is none.

        Raises:
            ChannelFault: 405 another connection's exclusive queue; 406 it is in use or not empty.
            ConnectionFault: 540, a condition on a quorum queue.
        """
        if name not in self.queues:
            return 0
        queue = self.queue(name, owner)
        subject = f"queue '{name}' in vhost '{self.name}'"
        if queue.options.quorum and (if_unused or if_empty):
            flag = "if-unused" if if_unused else "if-empty"
            raise not_implemented(
                f"cannot delete {subject}. queue.delete operations with {flag} flag set are not supported by quorum "
                "queues"
            )
        if if_unused and queue.consumer_count:
            raise precondition_failed(f"{subject} in use")
        if if_empty and queue.ready_count:
            raise precondition_failed(f"{subject} not empty")
        count = queue.ready_count
        self._remove_queue(name)
        return count

    def queue_purge(self, name: str, owner: object) -> int:
        """Drop what waits in a queue; how much it was.

        Raises:
            ChannelFault: 404 not there; 405 another connection's exclusive queue.
        """
        return self.queue(name, owner).purge()

    def queue_bind(
        self, queue: str, exchange: str, routing_key: str, arguments: dict[str, Any] | None, owner: object
    ) -> None:
        """Let a queue get what an exchange routes to it.

        Raises:
            ChannelFault: 404 one is not there; 403 the default exchange; 405 another connection's exclusive queue;
                406 bad arguments.
        """
        refuse_default(exchange)
        source = self._exchange(exchange)
        source.bind(self.queue(queue, owner), routing_key, arguments or {})
        self._router.changed()

    def queue_unbind(
        self, queue: str, exchange: str, routing_key: str, arguments: dict[str, Any] | None, owner: object
    ) -> None:
        """Take back a binding of a queue; nothing happens when there is none.

        Raises:
            ChannelFault: 403 the default exchange; 405 another connection's exclusive queue.
        """
        refuse_default(exchange)
        target = self.queues.get(queue)
        if target is None or exchange not in self.exchanges:
            return
        if self.exchanges[exchange].find(target, routing_key, arguments or {}) is not None:
            self.queue(queue, owner)
            self._unbind(target, exchange, routing_key, arguments or {})

    def owner_gone(self, owner: object) -> None:
        """A connection has ended: its exclusive queues go."""
        for name in self._owned.pop(owner, {}):
            self._remove_queue(name)

    def close(self) -> None:
        """The vhost is deleted: consumers are cancelled, timers stopped, memory is given back."""
        queues = list(self.queues.values())
        self.queues.clear()
        self.exchanges.clear()
        self._owned.clear()
        self._router.changed()
        for queue in queues:
            queue.close()

    # -- rules

    def _exchange(self, name: str) -> Exchange:
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise not_found("exchange", name, self.name)
        return exchange

    # -- endings

    def _unbind(self, target: Queue | Exchange, source: str, routing_key: str, arguments: dict[str, Any]) -> None:
        exchange = self.exchanges.get(source)
        binding = None if exchange is None else exchange.find(target, routing_key, arguments)
        if exchange is not None and binding is not None:
            exchange.unbind(binding)
            self._router.changed()
            self._remove_if_unused(exchange)

    def _remove_queue(self, name: str) -> None:
        queue = self.queues.pop(name, None)
        if queue is None:
            return
        if queue.owner is not None:
            self._owned.get(queue.owner, {}).pop(queue.name, None)
        self._remove_bindings_to(queue)
        queue.close()

    def _remove_exchange(self, exchange: Exchange) -> None:
        if self.exchanges.pop(exchange.name, None) is not None:
            self._remove_bindings_to(exchange)

    def _remove_bindings_to(self, target: Queue | Exchange) -> None:
        self._router.changed()
        for exchange in list(self.exchanges.values()):
            if exchange.forget(target):
                self._remove_if_unused(exchange)

    def _remove_if_unused(self, exchange: Exchange) -> None:
        if exchange.auto_delete and not exchange.bound:
            self._remove_exchange(exchange)
