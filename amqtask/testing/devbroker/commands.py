"""What can be asked of a running broker. Owns the one list; threads and control sockets pass on what is in it.

Arguments and results are JSON-able. Everything runs on the broker's loop, between two turns of it.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import inspect
from typing import TYPE_CHECKING, Any

from pamqp.header import ContentHeader

from amqtask.testing.devbroker.faults import EVERYWHERE

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.server import Server

_NAMES = {"message_type": "type"}  # pamqp's names that are not AMQP's


class CommandError(ValueError):
    """It can't be done: no such command, argument or vhost."""


class Commands:
    """The commands; a ``vhost`` of None means all of them.

    Args:
        server: the broker, on whose loop all methods are to be called.
    """

    def __init__(self, server: Server) -> None:
        self._server, self._state = server, server.state

    def run(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a command by its name.

        Raises:
            CommandError: no such command, or the arguments don't fit.
        """
        command = None if name.startswith("_") or name == "run" else getattr(self, name, None)
        if command is None:
            raise CommandError(f"no command {name!r}")
        try:
            inspect.signature(command).bind(**arguments)
        except TypeError as error:
            raise CommandError(f"{name}: {error}") from None
        return command(**arguments)

    # --- looking ---

    def add_vhost(self, name: str) -> None:
        """Make a vhost; nothing happens when it is there."""
        self._state.add_vhost(name)

    def delete_vhost(self, name: str) -> None:
        """Close a vhost's connections and drop everything in it."""
        self._known(name)
        self._server.delete_vhost(name)

    def vhosts(self) -> list[str]:
        """The vhosts' names."""
        return list(self._state.vhosts)

    def connections(self) -> list[dict[str, Any]]:
        """The clients that are connected; ``client`` is what one calls itself."""
        return [
            {
                "name": made.session.name,
                "peer": made.session.peer,
                "client": jsonable(made.session.client.get("connection_name")),
                "user": made.session.user,
                "vhost": made.session.vhost_name,
                "state": made.status,
                "channels": made.channel_count,
            }
            for made in self._server.connections
        ]

    def queues(self, vhost: str) -> list[dict[str, Any]]:
        """The queues of a vhost."""
        self._known(vhost)
        return [
            {
                "name": queue.name,
                "type": queue.kind,
                "arguments": jsonable(queue.arguments),
                "ready": queue.ready_count,
                "unacked": queue.unacked_count,
                "consumers": queue.consumer_count,
            }
            for queue in self._state.vhosts[vhost].queues.values()
        ]

    def memory(self) -> dict[str, int | None]:
        """Bytes of stored messages, and the limit."""
        return {"used": self._state.memory.used, "limit": self._state.memory.limit}

    def published(self, vhost: str) -> list[dict[str, Any]]:
        """The latest messages that were published to a vhost, oldest first; bodies in base64."""
        self._known(vhost)
        return [_published(message) for message in self._state.logs[vhost]]

    def forget_published(self, vhost: str) -> None:
        """Begin :meth:`published` anew."""
        self._known(vhost)
        self._state.logs[vhost].clear()

    # --- faults ---

    def drop_connections(self, vhost: str | None = EVERYWHERE) -> int:
        """Reset connections now; returns how many."""
        self._known(vhost)
        chosen = self._server.of_vhost(vhost)
        for connection in chosen:
            connection.reset()
        return len(chosen)

    def close_connections(self, vhost: str | None = EVERYWHERE, reason: str = "closed on demand") -> int:
        """Close connections as an operator does, with a 320 that clients are told; returns how many."""
        self._known(vhost)
        chosen = self._server.of_vhost(vhost)
        for connection in chosen:
            connection.force_close(reason)
        return len(chosen)

    def drop_confirms(self, count: int = 1, vhost: str | None = EVERYWHERE) -> None:
        """Keep the next messages but never confirm them."""
        self._arm("drop", count, vhost)

    def nack_publishes(self, count: int = 1, vhost: str | None = EVERYWHERE) -> None:
        """Refuse the next messages that are published with confirms."""
        self._arm("nack", count, vhost)

    def cut_after_deliveries(self, count: int, vhost: str | None = EVERYWHERE) -> None:
        """Reset the connection that gets the ``count``-th delivery from now on, right after it."""
        self._arm("cut", count, vhost)

    def delay_confirms(self, seconds: float, vhost: str | None = EVERYWHERE) -> None:
        """Confirm only that much later; 0 takes it back."""
        self._known(vhost)
        self._state.faults.delay("confirm", seconds, vhost)

    def delay_acks(self, seconds: float, vhost: str | None = EVERYWHERE) -> None:
        """Let an ack take effect only that much later; 0 takes it back."""
        self._known(vhost)
        self._state.faults.delay("ack", seconds, vhost)

    def redeliver_acked(self, times: int = 1, vhost: str | None = EVERYWHERE) -> None:
        """Deliver what was acked on its first delivery again, so often; 0 takes it back."""
        self._known(vhost)
        self._state.faults.redeliver(times, vhost)

    def block(self, reason: str = "blocked on demand") -> None:
        """Block every connection that publishes from now on, as a lack of memory does."""
        self._state.block_reason = reason

    def unblock(self) -> None:
        """Take :meth:`block` back."""
        self._state.block_reason = None
        self._server.review_blocking()

    def refuse_connections(self, on: bool = True) -> None:
        """Hang up on every new client, or stop doing so."""
        self._state.faults.refusing = on

    def freeze(self, vhost: str | None = EVERYWHERE) -> None:
        """Neither read from connections nor write to them."""
        self._known(vhost)
        self._state.faults.freeze(vhost)
        self._server.review_freezing()

    def thaw(self, vhost: str | None = EVERYWHERE) -> None:
        """Take :meth:`freeze` back; without a vhost, every one."""
        self._known(vhost)
        self._state.faults.thaw(vhost)
        self._server.review_freezing()

    def heal(self, vhost: str | None = EVERYWHERE) -> None:
        """Take back every fault that was ordered for this vhost; without a vhost, every one there is."""
        self._known(vhost)
        self._state.faults.heal(vhost)
        if vhost is EVERYWHERE:
            self.unblock()
        self._server.review_freezing()

    def advance(self, seconds: float) -> None:
        """Move the broker's clock forward: TTLs, expiry, and delays of faults. Heartbeats stay on real time."""
        if seconds < 0:
            raise CommandError("time can't go back")
        self._state.scheduler.advance(seconds)
        self._server.run_due()

    def _arm(self, what: str, count: int, vhost: str | None) -> None:
        self._known(vhost)
        self._state.faults.arm(what, count, vhost)

    def _known(self, vhost: str | None) -> None:
        if vhost is not None and vhost not in self._state.vhosts:
            raise CommandError(f"no vhost {vhost!r}")


def jsonable(value: Any) -> Any:
    """A field value in JSON's types: times as seconds since 1970, bytes in base64, decimals as text."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, dt.datetime):
        return int(value.timestamp())
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal):
        return str(value)
    return value


def _published(message: Message) -> dict[str, Any]:
    header = ContentHeader()
    try:
        header.unmarshal(message.header)
    except (ValueError, IndexError, OverflowError, OSError, RecursionError):
        properties = {}
    else:
        found = {
            name: jsonable(value) for name, value in header.properties if value is not None and name != "cluster_id"
        }
        properties = {_NAMES.get(name, name): value for name, value in found.items()}
    return {
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "properties": properties,
        "body": base64.b64encode(message.body).decode(),
    }
