"""What the channels of a connection must know of it. Owns the facts that the handshake found out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.vhost import VHost
    from amqtask.testing.devbroker.protocol.outbox import Outbox
    from amqtask.testing.devbroker.published import PublishLog
    from amqtask.testing.devbroker.state import State


@dataclass(slots=True, eq=False)
class Session:
    """A client's connection as its channels see it; the owner of its exclusive queues.

    Attributes:
        number: counts the broker's connections from 1.
        peer: address and port of the client.
        client: properties that the client sent.
        published: whether it ever published, in which case a lack of memory blocks it.
    """

    number: int
    peer: str
    state: State
    outbox: Outbox
    user: str = ""
    client: dict[str, Any] = field(default_factory=dict)
    channel_max: int = 2047
    frame_max: int = 131_072
    heartbeat: int = 60
    _vhost: VHost | None = None
    _log: PublishLog | None = None
    vhost_name: str | None = None
    published: bool = False

    @property
    def name(self) -> str:
        """What the client calls itself, else where it comes from."""
        name = self.client.get("connection_name")
        return name if isinstance(name, str) else self.peer

    @property
    def vhost(self) -> VHost:
        """The vhost that was opened."""
        assert self._vhost is not None
        return self._vhost

    @property
    def log(self) -> PublishLog:
        """The log of what is published there."""
        assert self._log is not None
        return self._log

    def enter(self, vhost: str) -> None:
        """Open a vhost.

        Raises:
            KeyError: there is none of that name.
        """
        self._vhost, self._log = self.state.vhosts[vhost], self.state.logs[vhost]
        self.vhost_name = vhost

    def can(self, capability: str) -> bool:
        """Whether the client said that it understands an extension."""
        capabilities = self.client.get("capabilities")
        return isinstance(capabilities, dict) and bool(capabilities.get(capability))
