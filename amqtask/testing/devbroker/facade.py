"""The commands as methods, for those who are not on the broker's loop. Owns the signatures that users see."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from typing import Any, cast


class Facade(ABC):
    """Everything that can be asked of a running broker.

    Methods block until it is done and may be called from any thread. A ``vhost`` of None means all
    vhosts. Faults last until they hit, or until :meth:`heal`.
    """

    @abstractmethod
    def _do(self, name: str, /, **arguments: Any) -> Any:
        """Run a command (see ``commands``) and return its result."""

    def add_vhost(self, name: str) -> None:
        """Make a vhost; nothing happens when it is there."""
        self._do("add_vhost", name=name)

    def delete_vhost(self, name: str) -> None:
        """Close a vhost's connections and drop everything in it."""
        self._do("delete_vhost", name=name)

    def vhosts(self) -> list[str]:
        """The vhosts' names."""
        return cast("list[str]", self._do("vhosts"))

    def connections(self) -> list[dict[str, Any]]:
        """The clients that are connected: ``name``, ``peer``, ``user``, ``vhost``, ``state``, ``channels``.

        The name is what the client calls itself (``connection_name``), else its address; the vhost is None, and the
        state ``handshake``, until it is open. Other states are ``running``, ``blocked``, ``frozen`` and ``closing``.
        """
        return cast("list[dict[str, Any]]", self._do("connections"))

    def queues(self, vhost: str) -> list[dict[str, Any]]:
        """The queues of a vhost: ``name``, ``type``, ``arguments``, ``ready``, ``unacked``, ``consumers``."""
        return cast("list[dict[str, Any]]", self._do("queues", vhost=vhost))

    def memory(self) -> dict[str, int | None]:
        """Bytes of stored messages ``used``, and their ``limit``."""
        return cast("dict[str, int | None]", self._do("memory"))

    def published(self, vhost: str) -> list[dict[str, Any]]:
        """The latest messages that were published to a vhost and neither returned nor refused, oldest first.

        At most 10,000, and 4 MiB. Each has ``exchange``, ``routing_key``, ``properties`` (a dict of what was set; times
        as seconds since 1970) and ``body`` (bytes).
        """
        found = cast("list[dict[str, Any]]", self._do("published", vhost=vhost))
        return [{**message, "body": base64.b64decode(message["body"])} for message in found]

    def forget_published(self, vhost: str) -> None:
        """Begin :meth:`published` anew."""
        self._do("forget_published", vhost=vhost)

    def drop_connections(self, vhost: str | None = None) -> int:
        """Reset connections now; returns how many."""
        return cast("int", self._do("drop_connections", vhost=vhost))

    def close_connections(self, vhost: str | None = None, reason: str = "closed on demand") -> int:
        """Close connections as an operator does, with a 320 that clients are told; returns how many."""
        return cast("int", self._do("close_connections", vhost=vhost, reason=reason))

    def drop_confirms(self, count: int = 1, vhost: str | None = None) -> None:
        """Keep the next messages but never confirm them."""
        self._do("drop_confirms", count=count, vhost=vhost)

    def nack_publishes(self, count: int = 1, vhost: str | None = None) -> None:
        """Refuse the next messages that are published with confirms."""
        self._do("nack_publishes", count=count, vhost=vhost)

    def cut_after_deliveries(self, count: int, vhost: str | None = None) -> None:
        """Reset the connection that gets the ``count``-th delivery from now on, right after it."""
        self._do("cut_after_deliveries", count=count, vhost=vhost)

    def delay_confirms(self, seconds: float, vhost: str | None = None) -> None:
        """Confirm only that much later; 0 takes it back."""
        self._do("delay_confirms", seconds=seconds, vhost=vhost)

    def delay_acks(self, seconds: float, vhost: str | None = None) -> None:
        """Let an ack take effect only that much later; 0 takes it back."""
        self._do("delay_acks", seconds=seconds, vhost=vhost)

    def redeliver_acked(self, times: int = 1, vhost: str | None = None) -> None:
        """Deliver what was acked on its first delivery again, so often: finds work that is not idempotent."""
        self._do("redeliver_acked", times=times, vhost=vhost)

    def block(self, reason: str = "blocked on demand") -> None:
        """Block every connection that publishes from now on, as a lack of memory does."""
        self._do("block", reason=reason)

    def unblock(self) -> None:
        """Take :meth:`block` back."""
        self._do("unblock")

    def refuse_connections(self, on: bool = True) -> None:
        """Hang up on every new client, or stop doing so."""
        self._do("refuse_connections", on=on)

    def freeze(self, vhost: str | None = None) -> None:
        """Neither read from connections nor write to them."""
        self._do("freeze", vhost=vhost)

    def thaw(self, vhost: str | None = None) -> None:
        """Take :meth:`freeze` back; without a vhost, every one."""
        self._do("thaw", vhost=vhost)

    def heal(self, vhost: str | None = None) -> None:
        """Take back every fault that was ordered for this vhost; without a vhost, every one there is."""
        self._do("heal", vhost=vhost)

    def advance(self, seconds: float) -> None:
        """Move the broker's clock forward: TTLs, expiry, and delays of faults. Heartbeats stay on real time."""
        self._do("advance", seconds=seconds)
