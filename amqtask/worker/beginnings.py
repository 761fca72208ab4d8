"""Chords that a task begins, or adds members to: known to whoever counts them before any member is sent.

Owns telling the result backend, or the broker where that counts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.app.canvas import chord_queue
from amqtask.errors import BrokerError
from amqtask.worker.backlog import backoff
from amqtask.worker.patient import NO_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Layout, Loop
    from amqtask.execution.job import Begin
    from amqtask.results.base import Chords
    from amqtask.worker.chord_messages import ChordMessages
    from amqtask.worker.patient import Patient
    from amqtask.worker.storing import Storing

logger = logging.getLogger(__name__)


class Beginnings:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        declare: makes the broker have something.
        patient: publishes.
        storing: calls the backend.
        messages: makes what lies in the queues.
        backend: counts chords; None where it can't.
    """

    def __init__(
        self,
        loop: Loop,
        declare: Callable[[Layout, DeclareDone], None],
        *,
        patient: Patient,
        storing: Storing,
        messages: ChordMessages,
        backend: Chords | None,
    ) -> None:
        self._loop, self._declare_now = loop, declare
        self._patient, self._storing, self._messages, self._backend = patient, storing, messages, backend

    def begin(self, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        """Make a chord known, or its new members; ``done`` once it is.

        Args:
            begin: the chord.
            key: the same when this is done again for a message that comes again, and only then.
            who: begins it, for the log.
            done: called once, never from within this call.
        """
        if begin.queue is not None:
            self._declare(begin, who, done, 1)
        elif self._backend is not None:
            self._tell_backend(self._backend, begin, who, done)
        elif begin.more:
            self._grow(begin, key, who, done)
        else:
            logger.error("%s: nothing counts the chord of group %s", who, begin.group_id)
            self._loop.call_later(0, done)

    def _declare(self, begin: Begin, who: str, done: Callable[[], None], attempt: int) -> None:
        def declared(error: Exception | None) -> None:
            if not isinstance(error, BrokerError):  # a queue with other arguments will do
                done()
                return
            pause = backoff(attempt)
            logger.error("%s: %s can't be declared (%s); next attempt in %.1fs", who, begin.queue, error, pause)
            self._loop.call_later(pause, lambda: self._declare(begin, who, done, attempt + 1))

        self._declare_now(chord_queue(begin), declared)

    def _tell_backend(self, chords: Chords, begin: Begin, who: str, done: Callable[[], None]) -> None:
        def told(_: object, error: Exception | None) -> None:
            if error is not None:
                logger.error("%s: the chord of group %s can't be begun: %r", who, begin.group_id, error)
            done()

        tell = chords.grow if begin.more else chords.begin
        self._storing.run(lambda: tell(begin.group_id, begin.size), told, backend=True)

    def _grow(self, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        self._patient.publish(self._messages.growth(begin, key), who, lambda _: done(), grace=NO_GRACE)
