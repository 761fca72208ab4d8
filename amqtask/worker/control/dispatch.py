"""From a message in the mailbox to what is answered (sans I/O).

Owns what is answered to whom: requests for others, requests that came too late and garbage are not; a command that
fails answers ``{"error": ...}``, as Celery words it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask import clock as clocks
from amqtask.control.messages import read_request, reply_message
from amqtask.control.registry import commands
from amqtask.errors import AmqtaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.control.messages import Request
    from amqtask.control.registry import Panel
    from amqtask.wire.message import Outgoing, PropertiesLike

logger = logging.getLogger("amqtask.worker.control")

_SLACK = 10.0
"""Seconds that a request may be late: the clock it was timed by is another machine's."""


class Refused(AmqtaskError):
    """A command can't be done; its reply is ``{"error": text}``."""


class Dispatcher:
    """Answers requests. Lives on the I/O thread.

    Args:
        panel: for the commands.
        replies: exchange that answers go to; an address anywhere else is refused.
        accept: formats that requests may have.
    """

    def __init__(self, panel: Panel, replies: str, accept: Sequence[str]) -> None:
        self._panel, self._replies, self._accept = panel, replies, accept

    def take(self, properties: PropertiesLike, body: bytes) -> Outgoing | None:
        """Do what a message asks for; returns the answer, if one is wanted."""
        try:
            request = read_request(properties, body, self._accept)
        except AmqtaskError as error:
            logger.warning("A message in the mailbox of remote control is ignored: %s", error)
            return None
        self._panel.clock.adjust(request.clock)
        if not request.is_for(self._panel.hostname):
            return None
        if request.expires and request.expires + _SLACK < clocks.wall():
            logger.info("A request for %s came too late", request.method)
            return None
        if request.reply_to is not None and request.reply_to[0] != self._replies:
            logger.warning("A request for %s is ignored: its answer should go elsewhere", request.method)
            return None
        value = self._run(request)
        if request.reply_to is None:
            return None
        return reply_message(request, self._panel.hostname, value, self._panel.clock.tick())

    def _run(self, request: Request) -> Any:
        command = commands.get(request.method)
        if command is None:
            logger.warning("Remote control asks for the unknown command %.100r", request.method)
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
