"""Which requests are carried out where signatures are required: those of key holders, each once. Owns that decision.

What only looks is answered to anybody, so that tools which know nothing of our signatures can go on watching.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.control.registry import commands
from amqtask.errors import DecodeError
from amqtask.wire.signing import REQUEST, SIGNATURE

if TYPE_CHECKING:
    from amqtask.control.messages import Request
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer


_SLACK = 10.0
"""Seconds by which the sender's clock may be behind when this worker has just started."""

_SMALL = 64 * 1024
"""Bytes of a request that anybody may have read: what only looks says little."""


class Trust:
    """Lives on the I/O thread. Begins with the worker: no request to it can be older.

    Args:
        signer: of the app.
        longest: seconds that a request may be under way: an older one is a copy, kept by somebody.
    """

    def __init__(self, signer: Signer, longest: float) -> None:
        self._signer, self._longest = signer, longest
        self._done: OrderedDict[str, float] = OrderedDict()
        self._began = clock.monotonic()

    def check_size(self, properties: PropertiesLike, body: bytes) -> None:
        """Refuse to read a large request that has not the signature that it needs.

        Raises:
            DecodeError: it is large, and its signature is wrong; or it has none, but must have.
        """
        if len(body) > _SMALL:
            self._signer.verify(properties, body, REQUEST, any_age=True)

    def check(self, request: Request, properties: PropertiesLike, body: bytes) -> None:
        """Refuse a request that this worker must not do; each signed one passes once.

        Raises:
            DecodeError: its signature is wrong, too old or from the future, or was seen before; or it has none, but
                must have.
        """
        signature = (properties.headers or {}).get(SIGNATURE)
        command = commands.get(request.method)
        if signature is None and (command is None or command.kind == "inspect"):
            return
        sent = self._signer.verify(properties, body, REQUEST, within=self._longest)
        if sent is not None:
            self._check_age(clock.wall() - sent)
            self._remember(str(signature))

    def is_forged(self, properties: PropertiesLike, body: bytes) -> bool:
        """Whether a request that was refused has a signature that is not its own."""
        if SIGNATURE not in (properties.headers or {}):
            return False
        try:
            self._signer.verify(properties, body, REQUEST, any_age=True)
        except DecodeError:
            return True
        return False

    def _check_age(self, age: float) -> None:
        """An earlier process may have done it, or it could be copied for as long as the clocks differ."""
        if age > clock.monotonic() - self._began + _SLACK:
            raise DecodeError(
                f"it was signed {age:.0f} s ago, before this worker started: a copy, or the sender's clock is behind"
            )
        if age < -self._longest:
            raise DecodeError(f"it was signed {-age:.0f} s ahead of the clock of this worker: set the sender's clock")

    def _remember(self, signature: str) -> None:
        now, done = clock.monotonic(), self._done
        while done and next(iter(done.values())) < now:
            done.popitem(last=False)
        if signature in done:
            raise DecodeError("it is a copy of one that came before")
        done[signature] = now + 2 * self._longest  # the sender's clock may be ahead
