"""What all connections share: users, vhosts, memory, faults, logs of publishes. Owns the broker's state, no socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.testing.devbroker.engine.memory import Memory
from amqtask.testing.devbroker.engine.scheduler import Scheduler
from amqtask.testing.devbroker.engine.vhost import VHost
from amqtask.testing.devbroker.faults import Faults
from amqtask.testing.devbroker.published import PublishLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amqtask.testing.devbroker.engine.message import Message

MEMORY_LIMIT = 256 << 20
"""Default: bytes of stored messages from which on publishers are blocked."""
MAX_MESSAGE_SIZE = 16 << 20
"""Bytes that the body of a message may have, as in RabbitMQ 4."""


class State:
    """The broker's state.

    Args:
        memory_limit: bytes of stored messages from which on publishers are blocked; None: no limit.
        vhosts: names of the vhosts to begin with.
        users: names and passwords; everybody may do everything in every vhost.

    Attributes:
        replies: who gets what is sent to a direct reply-to address.
    """

    def __init__(self, memory_limit: int | None, vhosts: Iterable[str], users: Mapping[str, str]) -> None:
        self.users = dict(users)
        self.scheduler = Scheduler()
        self.memory = Memory(memory_limit)
        self.faults = Faults()
        self.vhosts: dict[str, VHost] = {}
        self.logs: dict[str, PublishLog] = {}
        self.replies: dict[str, Callable[[Message], None]] = {}
        self.block_reason: str | None = None
        for name in vhosts:
            self.add_vhost(name)

    @property
    def blocked(self) -> str | None:
        """Why publishers are blocked; None when they are not."""
        return self.block_reason or ("low on memory" if self.memory.over else None)

    def add_vhost(self, name: str) -> None:
        """Make a vhost; nothing happens when there is one of that name."""
        if name not in self.vhosts:
            self.vhosts[name] = VHost(name, self.scheduler, self.memory)
            self.logs[name] = PublishLog()

    def delete_vhost(self, name: str) -> None:
        """Drop a vhost with everything in it; its connections must be gone.

        Raises:
            KeyError: there is none.
        """
        self.vhosts.pop(name).close()
        del self.logs[name]
