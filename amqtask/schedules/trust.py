"""Records of the scheduler's log, signed where messages are. Owns what a signature of theirs is bound to.

Sent occurrences are in the log as they were sent: they have the signature of a task message.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.errors import DecodeError
from amqtask.schedules.records import HEADER
from amqtask.wire.message import Properties
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import BEAT, Signer

if TYPE_CHECKING:
    from amqtask.wire.message import Outgoing, PropertiesLike
    from amqtask.wire.signing import About, SigningSettings

logger = logging.getLogger("amqtask.beat")


class LogTrust:
    """For one thread.

    Args:
        settings: of the app.
    """

    def __init__(self, settings: SigningSettings) -> None:
        self._signer = Signer(settings)
        self._refusals = Refusals(logger, "A message for the scheduler")

    @property
    def lacks_key(self) -> bool:
        """Signatures are required, and this process can make none."""
        return self._signer.lacks_key

    def signed(self, message: Outgoing, *, needed: bool = True) -> Outgoing:
        """A record, ready to be published.

        Args:
            message: of :func:`amqtask.schedules.records.record_message`.
            needed: see :meth:`amqtask.wire.signing.Signer.signed`.

        Raises:
            ConfigError: signatures are required, and there is no key to sign with.
        """
        return self._signer.signed(message, *_about(message.routing_key, message.properties), needed=needed)

    def passes(self, queue: str, properties: PropertiesLike, body: bytes) -> bool:
        """Whether a message of this queue is to be believed; one that is not is told of in the log."""
        try:
            self._signer.verify(properties, body, *_about(queue, properties), any_age=True)
        except DecodeError as error:
            self._refusals.tell(error)
            return False
        return True


def left_out() -> tuple[Properties, bytes]:
    """Stands for a message that is not to be believed: a claim of nobody."""
    return Properties(type="amqtask.beat.claim"), b"{}"


def _about(queue: str, properties: PropertiesLike) -> About:
    if isinstance((properties.headers or {}).get(HEADER), dict):
        return ()
    return BEAT, queue, getattr(properties, "type", None), properties.message_id
