"""Sends the body of a chord once all members are there, or what says that it failed.

Owns the order of attempts: the body; its failure, when the body can't be made or is too large to be sent; and if even
that can't be made, a line in the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from amqtask.errors import ChordError
from amqtask.execution.job import After

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.results.base import Part
    from amqtask.worker.followups.carrier import Carrier
    from amqtask.worker.followups.storing import Storing

    Chord = dict[str, Any]

logger = logging.getLogger(__name__)


class Bodies(Protocol):
    """What is asked of execution. Called on the storing thread; the same ids whenever it is asked."""

    def of(self, chord: Chord, group_id: str, results: Sequence[bytes]) -> After:
        """What follows when all members have ended: the body, or its failure when one of them failed."""

    def failed(self, chord: Chord, group_id: str, error: ChordError) -> After:
        """What follows when the body can never run."""

    def unsendable(self, part: Part, error: Exception) -> Part:
        """The end of a member whose result can't be sent."""


class BodySender:
    """Lives on the I/O thread.

    Args:
        storing: its thread makes the messages.
        carrier: carries them out.
        bodies: knows what to send.
    """

    def __init__(self, storing: Storing, carrier: Carrier, bodies: Bodies) -> None:
        self._storing, self._carrier, self._bodies = storing, carrier, bodies

    def send(self, chord: Chord, group_id: str, results: Sequence[bytes], done: Callable[[], None]) -> None:
        """Send the body.

        Args:
            chord: its signature.
            group_id: of the header.
            results: encoded, in the order of the header.
            done: called once everything that follows is stored.
        """

        def made(after: After | None, error: Exception | None) -> None:
            if after is None:
                self.fail(chord, group_id, f"its body can't be made: {error}", done)
            else:
                self._carrier.carry(after, name_of(chord), carried)

        def carried(error: Exception | None) -> None:
            if error is None:
                done()
            else:
                self.fail(chord, group_id, f"its body can't be sent: {error}", done)

        self._storing.run(lambda: self._bodies.of(chord, group_id, results), made)

    def unsendable(self, part: Part, error: Exception, made: Callable[[Part | None, Exception | None], None]) -> None:
        """Have the failure made that is counted instead of a result which can't be sent."""
        self._storing.run(lambda: self._bodies.unsendable(part, error), made)

    def fail(self, chord: Chord, group_id: str, text: str, done: Callable[[], None]) -> None:
        """Say that the body failed; ``done`` once that is stored."""
        logger.error("%s failed: %s", name_of(chord), text)

        def made(after: After | None, error: Exception | None) -> None:
            if after is None:
                logger.error("%s: its failure can't be told: %r", name_of(chord), error)
            self._carrier.carry_rest(after or After(), name_of(chord), done)

        self._storing.run(lambda: self._bodies.failed(chord, group_id, ChordError(text)), made)


def name_of(chord: Chord) -> str:
    """A chord in words, whatever the signature of its body holds."""
    options = chord.get("options")
    task_id = options.get("task_id") if isinstance(options, dict) else None
    return f"Chord with body {chord.get('task')}[{task_id}]"[:200]
