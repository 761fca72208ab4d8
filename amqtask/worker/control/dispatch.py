"""From a message in the mailbox to what is answered (sans I/O).

Owns what is answered to whom: requests for others, those that came too late and what can't be read are not; a command
that fails answers ``{"error": ...}``, as Celery words it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask import clock as clocks
from amqtask.control.messages import read_request, reply_message
from amqtask.control.registry import commands
from amqtask.errors import AmqtaskError, DecodeError
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import REPLY, SIGNATURE
from amqtask.worker.control.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.control.messages import Names, Request
    from amqtask.control.registry import Panel
    from amqtask.wire.message import Outgoing, PropertiesLike
    from amqtask.wire.signing import Signer

logger = logging.getLogger("amqtask.worker.control")

_SLACK = 10.0
"""Seconds that a request may be late: the clock it was timed by is another machine's."""


class Refused(AmqtaskError):
    """A command can't be done; its reply is ``{"error": text}``."""


class Dispatcher:
    """Answers requests. Lives on the I/O thread.

    Args:
        panel: for the commands.
        names: of remote control; an address that is not among its replies is refused.
        accept: formats that requests may have.
        signer: of the app.
    """

    def __init__(self, panel: Panel, names: Names, accept: Sequence[str], signer: Signer) -> None:
        self._panel, self._replies, self._accept, self._signer = panel, names.replies, accept, signer
        self._trust = Trust(signer, names.ttl + _SLACK)
        self._refusals = Refusals(logger, "A request of remote control")

    def take(self, properties: PropertiesLike, body: bytes) -> Outgoing | None:
        """Do what a message asks for; returns the answer, if one is wanted."""
        try:
            self._trust.check_size(properties, body)
            request = read_request(properties, body, self._accept)
        except AmqtaskError as error:
            self._refusals.tell(error)
            return None
        self._panel.clock.adjust(request.clock)
        if not request.is_for(self._panel.hostname):
            return None
        if request.expires and request.expires + _SLACK < clocks.wall():
            logger.info("A request for %s came too late", request.method)
            return None
        if request.reply_to is not None and request.reply_to[0] != self._replies:
            self._refusals.tell(f"{request.method[:50]!r}: its answer should go elsewhere")
            return None
        forged = False
        try:
            self._trust.check(request, properties, body)
        except DecodeError as error:
            forged = self._trust.is_forged(properties, body)
            self._refusals.tell(f"{request.method[:50]!r}: {error}")
            value: Any = {"error": str(error)}
        else:
            value = self._run(request)
        if request.reply_to is None:
            return None
        answer = reply_message(request, self._panel.hostname, value, self._panel.clock.tick())
        # else one could have it signed that the request of somebody else is refused
        return answer if forged else self._signed(answer, request, properties)

    def _signed(self, answer: Outgoing, request: Request, properties: PropertiesLike) -> Outgoing:
        asked = (properties.headers or {}).get(SIGNATURE)
        return self._signer.signed(answer, REPLY, request.ticket, asked, needed=False)

    def _run(self, request: Request) -> Any:
        command = commands.get(request.method)
        if command is None:
            self._refusals.tell(f"{request.method[:50]!r}: there is no such command")
            return {"error": f"KeyError({request.method!r})"}
        if command.kind == "control":
            logger.info("Remote control: %s", command.name)
        try:
            return command.function(self._panel, **request.arguments)
        except AmqtaskError as error:
            logger.warning("Remote control asks for %s: %s", command.name, error)
            return {"error": str(error)}
        except Exception as error:
            trace = error.__traceback__
            if isinstance(error, TypeError) and trace is not None and trace.tb_next is None:  # it was not even begun
                logger.warning("Remote control asks for %s with wrong arguments: %s", command.name, error)
            else:
                logger.exception("The command %s of remote control failed", command.name)
            return {"error": repr(error)}
