"""From a task's name to an exchange and a routing key, and from those to the queues they reach.

Owns the decision and its explanation. The queues are found by simulating the broker on the declared topology:
bindings between exchanges and alternate exchanges included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.topology.declarations import DEFAULT_EXCHANGE, Binding, Route
from amqtask.topology.matching import matching_bindings, name_matcher, pattern_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.topology.model import Topology

_CACHED_NAMES = 10_000

BUILTIN_EXCHANGES = {
    "amq.direct": "direct",
    "amq.topic": "topic",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
}
"""Exchanges that every vhost has; bindings may name them without a declaration."""


@dataclass(frozen=True, slots=True)
class Routing:
    """Where a task goes.

    Attributes:
        exchange, routing_key: to publish with.
        priority: for a task that sets none itself.
        queue: the queue's name when it is addressed directly, by the default exchange.
        route: the route that matched; None for the default queue.
        why: the decision in words, for people.
    """

    exchange: str
    routing_key: str
    priority: int | None
    queue: str | None
    route: Route | None
    why: str


class Router:
    """Decides where tasks go. Thread-safe: decisions are pure, and cached per task name."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._rules = [(name_matcher(route.task), route) for route in topology.routes]
        self._cache: dict[str, Routing] = {}
        self._to_queues: dict[str, list[tuple[str, Binding]]] = {}
        self._to_exchanges: dict[str, list[tuple[str, Binding]]] = {}
        for queue in topology.queues.values():
            for binding in queue.bindings:
                self._to_queues.setdefault(binding.exchange, []).append((queue.name, binding))
        for exchange in topology.exchanges.values():
            for binding in exchange.bindings:
                self._to_exchanges.setdefault(binding.exchange, []).append((exchange.name, binding))

    def route(self, task_name: str) -> Routing:
        """The first route that matches the name; without any, the default queue."""
        routing = self._cache.get(task_name)
        if routing is None:
            if len(self._cache) >= _CACHED_NAMES:
                self._cache.clear()
            routing = self._cache[task_name] = self._decide(task_name)
        return routing

    def queues_for(self, exchange: str, routing_key: str, headers: Mapping[str, Any] | None = None) -> list[str]:
        """Names of the declared queues that a message reaches, each once; empty when it would be unroutable.

        For an ``x-consistent-hash`` exchange it is one of the candidates, constant for each routing key.
        """
        if exchange == DEFAULT_EXCHANGE:
            return [routing_key] if routing_key in self._topology.queues else []
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [exchange]
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            queues, exchanges = self._destinations(name, routing_key, headers or {})
            found.update(dict.fromkeys(queues))
            waiting.extend(exchanges)
        return list(found)

    def exits_among(self, queues: Sequence[str]) -> list[str]:
        """Those of these queues that delayed messages reach by an exit of their own."""
        return [name for name in queues if self._topology.has_exit(name)]

    def _destinations(self, name: str, routing_key: str, headers: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Queues and exchanges one exchange sends the message to; its alternate only when there are none."""
        declared = self._topology.exchanges.get(name)
        kind = declared.type if declared is not None else BUILTIN_EXCHANGES.get(name)
        if kind is None:
            return [], []
        queues = matching_bindings(kind, self._to_queues.get(name, ()), routing_key, headers)
        exchanges = matching_bindings(kind, self._to_exchanges.get(name, ()), routing_key, headers)
        if not queues and not exchanges and declared is not None:
            alternate = declared.alternate or declared.arguments.get("alternate-exchange")
            exchanges = [alternate] if alternate else []
        return queues, exchanges

    def _decide(self, task_name: str) -> Routing:
        for number, (matches, route) in enumerate(self._rules, start=1):
            if matches(task_name):
                return _routing(route, f"route {number}{_at(route)}: {_how(route.task)}")
        default = self._topology.default_queue.name
        why = "no route matches" if self._rules else "there are no routes"
        return Routing(DEFAULT_EXCHANGE, default, None, default, None, f"{why}: default queue {default!r}")


def _routing(route: Route, why: str) -> Routing:
    if route.queue is not None:
        return Routing(DEFAULT_EXCHANGE, route.queue, route.priority, route.queue, route, why)
    return Routing(route.exchange or "", route.routing_key or "", route.priority, None, route, why)


def _at(route: Route) -> str:
    return f" ({route.where})" if route.where else ""


def _how(pattern: str) -> str:
    kind = pattern_kind(pattern)
    return f"the name is {pattern!r}" if kind == "exact" else f"the name matches the {kind} {pattern!r}"
