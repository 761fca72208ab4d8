"""One readable line per method, for people who watch. Owns the wording; reads the same bytes as the connection does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pamqp.commands import Basic

from amqtask.testing.devbroker.engine.errors import ConnectionFault
from amqtask.testing.devbroker.protocol import frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from pamqp.base import Frame

_WITH_CONTENT = (Basic.Publish, Basic.Deliver, Basic.GetOk, Basic.Return)
_HIDDEN = frozenset(("ticket", "response", "server_properties", "client_properties", "new_secret", "cluster_id"))
_LONGEST = 200


class Tracer:
    """Narrates one connection.

    Args:
        number: the connection's.
        tell: called with each line.
    """

    __slots__ = ("_in", "_out")

    def __init__(self, number: int, tell: Callable[[str], None]) -> None:
        self._in = _Direction(f"→ conn {number}", tell)
        self._out = _Direction(f"← conn {number}", tell)

    def read(self, data: bytes) -> None:
        """Bytes came from the client, after the protocol header."""
        self._in.feed(data)

    def written(self, data: bytes) -> None:
        """Bytes go to the client."""
        self._out.feed(data)


class _Direction:
    """One way of a connection. Stops at the first thing that is no frame."""

    __slots__ = ("_parser", "_prefix", "_tell", "_waiting")

    def __init__(self, prefix: str, tell: Callable[[str], None]) -> None:
        self._prefix, self._tell = prefix, tell
        self._parser: frames.Parser | None = frames.Parser(0)
        self._waiting: dict[int, str] = {}  # channel -> method whose content has not come

    def feed(self, data: bytes) -> None:
        """Tell the methods in it."""
        if self._parser is None or data == frames.PROTOCOL_HEADER:
            return
        try:
            for kind, channel, payload in self._parser.feed(data):
                self._frame(kind, channel, payload)
        except ConnectionFault as fault:
            self._parser = None
            self._tell(f"{self._prefix} unreadable: {fault.text}")

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == frames.METHOD:
            method = frames.read_method(payload)
            line = f"{self._prefix} ch {channel} {describe(method)}"
            if isinstance(method, _WITH_CONTENT):
                self._waiting[channel] = line
            else:
                self._tell(line)
        elif kind == frames.HEADER and channel in self._waiting:
            self._tell(f"{self._waiting.pop(channel)} {frames.body_size(payload)} bytes")
        elif kind == frames.HEARTBEAT:
            self._tell(f"{self._prefix} heartbeat")


def describe(method: Frame) -> str:
    """A method with its arguments: flags by name, empty ones left out."""
    words = [method.name.lower()]
    for name, value in method:
        if name in _HIDDEN or value is None or value is False or value in ("", {}):
            continue
        words.append(name if value is True else f"{name}={_shown(value)}")
    return " ".join(words)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
