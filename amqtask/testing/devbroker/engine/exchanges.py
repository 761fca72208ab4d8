"""Exchanges and their bindings. Owns which destinations a message goes to from one exchange; knows no vhost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine.matching import MATCHERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.testing.devbroker.engine.matching import Matcher
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.queues import Queue


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """A way from an exchange to a queue or another exchange."""

    destination: Queue | Exchange
    routing_key: str
    arguments: dict[str, Any]


@dataclass(slots=True, eq=False)
class Exchange:
    """An exchange with the bindings that lead from it.

    Attributes:
        kind: direct, topic, fanout or headers.
        alternate: name of the exchange that gets what this one has no destination for.
    """

    name: str
    kind: str
    durable: bool = False
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    _bindings: dict[tuple[object, str, str], Binding] = field(default_factory=dict, init=False, repr=False)
    _matcher: Matcher = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._matcher = MATCHERS[self.kind]()

    @property
    def alternate(self) -> Any:
        """Where messages go that this exchange has no destination for."""
        return self.arguments.get("alternate-exchange")

    @property
    def by_key(self) -> bool:
        """Whether the routing key alone decides."""
        return self.kind != "headers"

    @property
    def bound(self) -> bool:
        """Whether a binding leads from it."""
        return bool(self._bindings)

    @property
    def bindings(self) -> Iterable[Binding]:
        """The bindings that lead from it."""
        return self._bindings.values()

    def bind(self, destination: Queue | Exchange, routing_key: str, arguments: dict[str, Any]) -> None:
        """Add a binding; the same a second time changes nothing.

        Raises:
            ChannelFault: 406, a headers exchange does not understand the arguments.
        """
        key = destination, routing_key, _identity(arguments)
        if key not in self._bindings:
            binding = Binding(destination, routing_key, arguments)
            self._matcher.add(binding)
            self._bindings[key] = binding

    def find(self, destination: Queue | Exchange, routing_key: str, arguments: dict[str, Any]) -> Binding | None:
        """The binding with exactly this."""
        return self._bindings.get((destination, routing_key, _identity(arguments)))

    def unbind(self, binding: Binding) -> None:
        """Take out a binding of this exchange."""
        del self._bindings[binding.destination, binding.routing_key, _identity(binding.arguments)]
        self._matcher.remove(binding)

    def forget(self, destination: Queue | Exchange) -> bool:
        """Take out all bindings to a destination that goes; False when there was none."""
        leading = [binding for binding in self._bindings.values() if binding.destination is destination]
        for binding in leading:
            self.unbind(binding)
        return bool(leading)

    def match(self, message: Message, routing_key: str) -> Iterable[Queue | Exchange]:
        """The destinations of a message by its bindings, perhaps some twice."""
        return self._matcher.match(message, routing_key)


def _identity(arguments: dict[str, Any]) -> str:
    return repr(sorted(arguments.items())) if arguments else ""
