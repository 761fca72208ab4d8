"""Where a chord is counted that no result backend counts: what the signature of its body says. Owns reading that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amqtask.canvas.planned import CHORD_OPTION, CHORD_QUEUE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE_MAX = 2**31


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
    queue, size, deadline = said.get("queue"), said.get("size"), said.get("deadline")
    if not isinstance(queue, str) or not queue.startswith(CHORD_QUEUE_PREFIX) or not isinstance(size, int):
        return None
    if not isinstance(deadline, int | float) or not 0 < size <= _SIZE_MAX:
        return None
    return ChordPlace(queue, size, float(deadline))
