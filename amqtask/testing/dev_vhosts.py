"""Vhosts on a dev broker that runs in a thread of this process, started once per test session. Owns both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from amqtask.testing.devbroker import DevBroker
from amqtask.testing.vhosts import QueueCounts, Vhost
from amqtask.topology.delays import LADDER_PREFIX
from amqtask.wire.message import Outgoing, Properties

if TYPE_CHECKING:
    from collections.abc import Sequence


class DevServer:
    """The dev broker of a test session; implements :class:`~amqtask.testing.vhosts.Server`."""

    def __init__(self) -> None:
        self.broker = DevBroker(vhosts=()).start()
        self._numbers = itertools.count(1)

    def add_vhost(self) -> DevVhost:
        """A new, empty vhost."""
        return DevVhost(self.broker, f"test-{next(self._numbers)}")

    def close(self) -> None:
        """Stop the broker."""
        self.broker.stop()


class DevVhost(Vhost):
    """See :class:`~amqtask.testing.vhosts.Vhost`."""

    def __init__(self, broker: DevBroker, name: str) -> None:
        broker.add_vhost(name)
        super().__init__(name, broker.vhost_url(name))
        self._broker = broker

    def queues(self, names: Sequence[str]) -> list[QueueCounts]:
        """Of the same instant, and exact."""
        found = {queue["name"]: queue for queue in self._broker.queues(self.name)}
        return [QueueCounts(name, found[name]["ready"], found[name]["unacked"]) for name in names if name in found]

    def waiting(self, names: Sequence[str]) -> int:
        """Of the same instant, and exact."""
        return sum(
            queue["ready"]
            for queue in self._broker.queues(self.name)
            if queue["name"] in names or queue["name"].startswith(LADDER_PREFIX)
        )

    def published(self) -> list[Outgoing]:
        """The log of the vhost."""
        return [
            Outgoing(entry["exchange"], entry["routing_key"], Properties(**entry["properties"]), entry["body"])
            for entry in self._broker.published(self.name)
        ]

    def connections(self) -> int:
        """Open connections to this vhost."""
        return sum(one["vhost"] == self.name for one in self._broker.connections())

    def advance(self, seconds: float) -> None:
        """Move the clock of whoever has one, then the broker's."""
        for listener in self.on_advance:
            listener(seconds)
        self._broker.advance(seconds)

    def drop_connections(self) -> int:
        """Reset them."""
        return self._broker.drop_connections(self.name)

    def drop_confirms(self, count: int = 1) -> None:
        """Of the next publishes."""
        self._broker.drop_confirms(count, self.name)

    def delay_confirms(self, seconds: float) -> None:
        """Of every publish."""
        self._broker.delay_confirms(seconds, self.name)

    def nack_publishes(self, count: int = 1) -> None:
        """The next ones."""
        self._broker.nack_publishes(count, self.name)

    def cut_after_deliveries(self, count: int) -> None:
        """Counted from now."""
        self._broker.cut_after_deliveries(count, self.name)

    def delay_acks(self, seconds: float) -> None:
        """Every ack."""
        self._broker.delay_acks(seconds, self.name)

    def redeliver_acked(self, times: int = 1) -> None:
        """Every message."""
        self._broker.redeliver_acked(times, self.name)

    def freeze(self) -> None:
        """This vhost only."""
        self._broker.freeze(self.name)

    def thaw(self) -> None:
        """This vhost only."""
        self._broker.thaw(self.name)

    def block(self, reason: str = "low on memory") -> None:
        """The whole broker."""
        self._broker.block(reason)

    def unblock(self) -> None:
        """The whole broker."""
        self._broker.unblock()

    def refuse_connections(self, on: bool = True) -> None:
        """The whole broker."""
        self._broker.refuse_connections(on)

    def heal(self) -> None:
        """Faults of this vhost, and those of the whole broker."""
        self._broker.heal(self.name)
        self._broker.unblock()
        self._broker.refuse_connections(False)

    def delete(self) -> None:
        """Heal, then delete."""
        self.heal()
        self._broker.delete_vhost(self.name)
