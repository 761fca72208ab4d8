"""The vhost that each test has to itself: what a test may look at and break in it, whichever broker it is on.

Owns the interface, and what goes to the dev broker as it is. :mod:`.dev_vhosts` and :mod:`.rabbitmq` make them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from amqtask.errors import AmqtaskError
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amqtask.testing.devbroker import DevBroker


class NeedsDevBroker(AmqtaskError):
    """Raised when a test that runs on a real RabbitMQ asks for something only the dev broker can do."""


class QueueCounts(NamedTuple):
    """How full a queue is; ``unacked`` is None where the broker does not tell at once."""

    name: str
    ready: int
    unacked: int | None


class Vhost(ABC):
    """A vhost of one test, empty at first and deleted at its end. Thread-safe.

    Faults concern the connections of this vhost only and end with the test; blocking and refusing concern the whole
    broker. All of them need the dev broker, as do :meth:`published` and :meth:`advance`.

    Attributes:
        name: of the vhost.
        url: amqp:// URL of it, for apps and any other AMQP client.
        on_advance: called with the seconds before the broker's clock moves.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.on_advance: list[Callable[[float], None]] = []

    # -- looking ----------------------------------------------------------------------------------

    @abstractmethod
    def queues(self, names: Sequence[str]) -> list[QueueCounts]:
        """How full these queues are; those that do not exist are left out."""

    @abstractmethod
    def waiting(self, names: Sequence[str]) -> int:
        """Messages in queues of these names, and in the delay ladder."""

    def published(self) -> list[Outgoing]:
        """What was published here, oldest first: at most the latest 10,000 messages, and 4 MiB."""
        return [
            Outgoing(entry["exchange"], entry["routing_key"], _properties(entry["properties"]), entry["body"])
            for entry in self._dev("published()").published(self.name)
        ]

    def connections(self) -> int:
        """Open connections to this vhost."""
        return sum(one["vhost"] == self.name for one in self._dev("connections()").connections())

    # -- time -------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Move the broker's clock forward: delays, expiry and TTLs of all vhosts. See ``amqtask_clock``."""
        broker = self._dev("advance()")
        for listener in self.on_advance:
            listener(seconds)
        broker.advance(seconds)

    # -- faults -----------------------------------------------------------------------------------

    def drop_connections(self) -> int:
        """Reset every connection now; returns how many there were."""
        return self._dev("drop_connections()").drop_connections(self.name)

    def drop_confirms(self, count: int = 1) -> None:
        """Store the next publishes without ever confirming them."""
        self._dev("drop_confirms()").drop_confirms(count, self.name)

    def delay_confirms(self, seconds: float) -> None:
        """Confirm every publish only after this many seconds."""
        self._dev("delay_confirms()").delay_confirms(seconds, self.name)

    def nack_publishes(self, count: int = 1) -> None:
        """Refuse the next publishes, as a full queue does."""
        self._dev("nack_publishes()").nack_publishes(count, self.name)

    def cut_after_deliveries(self, count: int) -> None:
        """Reset the connection that gets the Nth delivery from now, right after it."""
        self._dev("cut_after_deliveries()").cut_after_deliveries(count, self.name)

    def delay_acks(self, seconds: float) -> None:
        """Let every ack take effect only after this many seconds."""
        self._dev("delay_acks()").delay_acks(seconds, self.name)

    def redeliver_acked(self, times: int = 1) -> None:
        """Deliver every message again, so often, although it was acked. See ``@pytest.mark.redelivered``."""
        self._dev("redeliver_acked()").redeliver_acked(times, self.name)

    def freeze(self) -> None:
        """Fall silent: nothing is read and nothing is answered until :meth:`thaw`."""
        self._dev("freeze()").freeze(self.name)

    def thaw(self) -> None:
        """End :meth:`freeze`."""
        self._dev("thaw()").thaw(self.name)

    def block(self, reason: str = "low on memory") -> None:
        """Block publishers, as a memory or disk alarm does, until :meth:`unblock`; the whole broker."""
        self._dev("block()").block(reason)

    def unblock(self) -> None:
        """End :meth:`block`."""
        self._dev("unblock()").unblock()

    def refuse_connections(self, on: bool = True) -> None:
        """Reset new connections; the whole broker."""
        self._dev("refuse_connections()").refuse_connections(on)

    def heal(self) -> None:  # noqa: B027 -- a RabbitMQ has no faults to take back
        """Take back every fault that lasts."""

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """:meth:`freeze` for a ``with`` block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @contextmanager
    def blocked(self, reason: str = "low on memory") -> Iterator[None]:
        """:meth:`block` for a ``with`` block."""
        self.block(reason)
        try:
            yield
        finally:
            self.unblock()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Reset all connections, and every new one for a ``with`` block: no broker to be seen."""
        self.refuse_connections()
        try:
            self.drop_connections()
            yield
        finally:
            self.refuse_connections(False)

    # -- the end ----------------------------------------------------------------------------------

    @abstractmethod
    def delete(self) -> None:
        """Take back all faults and delete the vhost with everything in it."""

    @abstractmethod
    def _dev(self, what: str) -> DevBroker:
        """The dev broker; raises NeedsDevBroker, naming what needs it, where there is none."""


class Server(Protocol):
    """A broker that makes vhosts, one per test."""

    def add_vhost(self) -> Vhost:
        """A new, empty vhost."""

    def close(self) -> None:
        """End what was started for it."""


def _properties(known: dict[str, Any]) -> Properties:
    """Only those that we have a name for."""
    return Properties(**{"delivery_mode": None, **{name: known[name] for name in Properties._fields if name in known}})
