"""Where a chord is counted, and until when: what the signature of its body says, or its watch. Owns reading that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.broker.content import check_short
from amqtask.canvas.plan import CHORD_OPTION, CHORD_QUEUE_PREFIX
from amqtask.errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE_MAX = 2**31
_LAST_DEADLINE = 253_402_300_799
"""The end of the year 9999: a message may say anything, and time can't be reckoned with beyond."""


class ChordPlace(NamedTuple):
    """The queue of one chord.

    Attributes:
        queue: its name.
        size: of the header.
        deadline: seconds since the epoch; afterwards the body fails with ``ChordError``.
    """

    queue: str
    size: int
    deadline: float

    @property
    def group_id(self) -> str:
        """Of the header."""
        return self.queue.removeprefix(CHORD_QUEUE_PREFIX)


def chord_place(signature: Mapping[str, Any]) -> ChordPlace | None:
    """What a body's signature says; None when its chord is counted elsewhere, or this is no such signature."""
    options = signature.get("options")
    said = options.get(CHORD_OPTION) if isinstance(options, dict) else None
    if not isinstance(said, dict):
        return None
    queue, size, deadline = said.get("queue"), said.get("size"), _deadline(said)
    if not isinstance(queue, str) or not queue.startswith(CHORD_QUEUE_PREFIX) or not isinstance(size, int):
        return None
    if deadline is None or not 0 < size <= _SIZE_MAX:
        return None
    try:
        check_short("queue", queue)  # asking for a name that AMQP has no room for would cost the connection
    except EncodeError:
        return None
    return ChordPlace(queue, size, deadline)


def _deadline(said: Mapping[str, Any]) -> float | None:
    deadline = said.get("deadline")
    return float(deadline) if isinstance(deadline, int | float) and 0 <= deadline <= _LAST_DEADLINE else None


class StoredPlace(NamedTuple):
    """A chord that the result backend counts, as its watch names it.

    Attributes:
        group_id: of the header.
        deadline: as of :class:`ChordPlace`.
    """

    group_id: str
    deadline: float


def stored_place(said: Mapping[str, Any]) -> StoredPlace | None:
    """What a watch says; None when it names no such chord."""
    group_id, deadline = said.get("group_id"), _deadline(said)
    return StoredPlace(group_id, deadline) if isinstance(group_id, str) and deadline is not None else None
