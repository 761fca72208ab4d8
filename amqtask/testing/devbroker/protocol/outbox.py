"""What a connection is about to send.

Owns batching into one write per turn of the loop, and the limit from which on consumers wait until the client has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LIMIT = 1 << 20
"""Bytes collected in one turn from which on consumers get nothing more until they are written."""


class Outbox:
    """Bytes on their way to one client.

    Attributes:
        writable: whether more deliveries may be sent now. What is not a delivery is always taken.
        written: bytes ever handed to the transport.
        on_relief: called when :attr:`writable` turns true again.
        on_write: called with everything that is written, for a trace.
    """

    __slots__ = (
        "_congested",
        "_endings",
        "_held",
        "_loop",
        "_parts",
        "_scheduled",
        "_size",
        "_transport",
        "on_relief",
        "on_write",
        "writable",
        "written",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_relief: Callable[[], None]) -> None:
        self._loop, self.on_relief = loop, on_relief
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._endings: list[Callable[[], None]] = []
        self._size = self.written = 0
        self._scheduled = self._congested = self._held = False
        self.writable = True
        self.on_write: Callable[[bytes], None] | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """The connection is there."""
        self._transport = transport

    def close(self) -> None:
        """The connection is gone: what is not written never will be."""
        self._transport = None
        self._parts.clear()
        self._endings.clear()
        self.writable = False

    def send(self, data: bytes) -> None:
        """Send it before this turn of the loop ends."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > LIMIT:
            self.writable = False
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def send_at_end(self, action: Callable[[], None]) -> None:
        """Let ``action`` send what can be said in one for the whole turn."""
        self._endings.append(action)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def gather(self) -> None:
        """A :meth:`flush` will be called at the end of this turn."""
        self._scheduled = True

    def flush(self) -> None:
        """Write what there is."""
        if self._endings:
            endings, self._endings = self._endings, []
            for action in endings:
                action()
        self._scheduled = False
        if self._parts and self._transport is not None and not self._held:
            data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self.written += len(data)
            if self.on_write is not None:
                self.on_write(data)
            self._transport.write(data)
        self._relieve()

    def congest(self, congested: bool) -> None:
        """The transport's buffer is full, or not any more."""
        self._congested = congested
        if congested:
            self.writable = False
        else:
            self._relieve()

    def hold(self, held: bool) -> None:
        """Write nothing, or go on."""
        self._held = held
        if held:
            self.writable = False
        else:
            self.flush()

    def stop(self) -> None:
        """Take no more deliveries: the connection is about to end."""
        self.writable = False
        self._congested = True

    def _relieve(self) -> None:
        free = not (self._congested or self._held or self._transport is None) and self._size <= LIMIT
        if free and not self.writable:
            self.writable = True
            self._loop.call_soon(self.on_relief)
