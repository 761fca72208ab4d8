"""What lies in the queue of a chord: the ends of its members, and the growth of its header. Owns their shape.

They are signed where messages are: what they say is sent on under this worker's signature, as arguments of the body.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.canvas.plan import CHORD_QUEUE_PREFIX
from amqtask.errors import DecodeError
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.wire.message import Outgoing, Properties
from amqtask.wire.refusals import Refusals
from amqtask.wire.signing import CHORD
from amqtask.worker.chords.state import Completion

if TYPE_CHECKING:
    from amqtask.execution.job import Begin
    from amqtask.results.base import Part
    from amqtask.wire.message import PropertiesLike
    from amqtask.wire.signing import Signer
    from amqtask.worker.chords.place import ChordPlace

logger = logging.getLogger(__name__)

_INDEX = "group_index"
"""Header of a completion: the member's place."""
_MORE = "x-amqtask-chord-more"
"""Header of a message that is no completion: the header has this many members more."""


class ChordMessages:
    """Lives on the I/O thread.

    Args:
        signer: of the app.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._refusals = Refusals(logger, "The end of a member of a chord")

    def completion(self, place: ChordPlace, part: Part) -> Outgoing:
        """The end of a member."""
        headers: dict[str, Any] = {"task": "amqtask.chord_part", "state": part.state}
        if part.group_index is not None:
            headers[_INDEX] = part.group_index
        properties = Properties("application/json", "utf-8", headers, message_id=part.task_id)
        return self._signed(Outgoing(DEFAULT_EXCHANGE, place.queue, properties, part.result))

    def growth(self, begin: Begin, key: str) -> Outgoing:
        """The header has more members.

        Args:
            begin: how many, and of which chord.
            key: for idempotency; equal when this is sent again, different otherwise.
        """
        properties = Properties(headers={"task": "amqtask.chord_more", _MORE: begin.size}, message_id=key)
        return self._signed(Outgoing(DEFAULT_EXCHANGE, CHORD_QUEUE_PREFIX + begin.group_id, properties, b""))

    def read(self, queue: str, properties: PropertiesLike, body: bytes) -> Completion:
        """A message of the queue, whoever has put it there; one that must not be believed counts for nothing."""
        try:
            self._signer.verify(properties, body, *_about(queue, properties), any_age=True)
        except DecodeError as error:
            self._refusals.tell(f"{queue}: {error}")
            return Completion(None)
        headers = properties.headers or {}
        key, index, more = properties.message_id, headers.get(_INDEX), headers.get(_MORE)
        if not isinstance(key, str):
            return Completion(None)
        if isinstance(more, int):
            return Completion(key, more=max(more, 0))
        return Completion(key, index if isinstance(index, int) else None, body)

    def _signed(self, message: Outgoing) -> Outgoing:
        return self._signer.signed(message, *_about(message.routing_key, message.properties), needed=False)


def _about(queue: str, properties: PropertiesLike) -> tuple[Any, ...]:
    headers = properties.headers or {}
    return CHORD, queue, properties.message_id, headers.get(_INDEX), headers.get(_MORE)
