"""Where a message goes in a vhost: through exchanges, exchange-to-exchange bindings and alternate exchanges.

Owns the walk and a memory of its results, which any change of exchanges, queues or bindings empties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine.exchanges import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.queues import Queue

_REMEMBERED = 4096  # routing keys per exchange; some programs use a new key for every message


class Router:
    """Finds the queues of messages.

    Args:
        exchanges: the vhost's exchanges by name, of which ``""`` leads to every queue by its name.
        queues: the vhost's queues by name.
    """

    def __init__(self, exchanges: Mapping[str, Exchange], queues: Mapping[str, Queue]) -> None:
        self._exchanges, self._queues = exchanges, queues
        self._known: dict[str, dict[str, tuple[Queue, ...]]] = {}

    def changed(self) -> None:
        """Exchanges, queues or bindings changed."""
        self._known.clear()

    def route(self, message: Message) -> tuple[Queue, ...]:
        """The queues a message goes to, each once; none when its exchange does not exist."""
        if message.copies or message.blind_copies:
            return self._walk(message, message.routing_keys)[0]
        key = message.routing_key
        if not message.exchange:
            queue = self._queues.get(key)
            return () if queue is None else (queue,)
        known = self._known.get(message.exchange)
        if known is not None and (found := known.get(key)) is not None:
            return found
        found, by_key = self._walk(message, (key,))
        if by_key:
            if known is None or len(known) >= _REMEMBERED:
                known = self._known[message.exchange] = {}
            known[key] = found
        return found

    def _walk(self, message: Message, keys: tuple[str, ...]) -> tuple[tuple[Queue, ...], bool]:
        """The queues, and whether nothing but the keys decided."""
        queues: dict[Queue, None] = {}
        todo, seen, by_key = [message.exchange], {message.exchange}, True
        while todo:
            exchange = self._exchanges.get(todo.pop())
            if exchange is None:
                continue
            by_key = by_key and exchange.by_key
            leads = self._destinations(exchange, message, keys)
            further = [lead.name for lead in leads if isinstance(lead, Exchange)]
            queues.update((lead, None) for lead in leads if not isinstance(lead, Exchange))
            if not leads and exchange.alternate is not None:
                further = [exchange.alternate]
            todo.extend(name for name in further if name not in seen)
            seen.update(further)
        return tuple(queues), by_key

    def _destinations(self, exchange: Exchange, message: Message, keys: tuple[str, ...]) -> list[Queue | Exchange]:
        if not exchange.name:
            return [self._queues[key] for key in keys if key in self._queues]
        return [lead for key in keys for lead in exchange.match(message, key)]
