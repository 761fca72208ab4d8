"""Vhosts on a dev broker that runs in a thread of this process, started once per test session. Owns both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from amqtask.testing.devbroker import DevBroker
from amqtask.testing.vhosts import QueueCounts, Vhost
from amqtask.topology.delays import LADDER_PREFIX

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

    def heal(self) -> None:
        """Faults of this vhost, and those of the whole broker."""
        self._broker.heal(self.name)
        self._broker.unblock()
        self._broker.refuse_connections(False)

    def delete(self) -> None:
        """Heal, then delete."""
        self.heal()
        self._broker.delete_vhost(self.name)

    def _dev(self, what: str) -> DevBroker:  # noqa: ARG002 -- there is nothing it can't do
        return self._broker
