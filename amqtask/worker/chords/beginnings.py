"""Chords that a task begins, or adds members to: known to whoever counts them before any member is sent.

Owns telling the result backend, or the broker where that counts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.app.canvas_sender import chord_queue
from amqtask.errors import BrokerError
from amqtask.worker.followups.backlog import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.declare import DeclareDone
    from amqtask.broker.interface import Layout, Loop, PublishDone
    from amqtask.execution.job import Begin
    from amqtask.results.base import Chords
    from amqtask.wire.message import Outgoing
    from amqtask.worker.chords.messages import ChordMessages
    from amqtask.worker.followups.storing import Storing

logger = logging.getLogger(__name__)


class Beginnings:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        declare: makes the broker have something.
        leave: puts a message into a chord's queue, see :meth:`amqtask.worker.chords.counting.ChordCounter.leave`.
        storing: calls the backend.
        messages: makes what lies in the queues.
        backend: counts chords; None where it can't.
    """

    def __init__(
        self,
        loop: Loop,
        declare: Callable[[Layout, DeclareDone], None],
        *,
        leave: Callable[[Outgoing, str, PublishDone], None],
        storing: Storing,
        messages: ChordMessages,
        backend: Chords | None,
    ) -> None:
        self._loop, self._declare_now = loop, declare
        self._leave, self._storing, self._messages, self._backend = leave, storing, messages, backend

    def begin(self, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        """Make a chord known, or its new members; ``done`` once it is.

        Args:
            begin: the chord.
            key: for idempotency; equal for repetitions of the same message, different otherwise.
            who: begins it, for the log.
            done: called once, never from within this call.
        """
        if begin.queue is not None:
            self._declare(begin, who, done, 1)
        elif self._backend is not None:
            self._tell_backend(self._backend, begin, key, who, done)
        elif begin.more:
            self._grow(begin, key, who, done)
        else:
            logger.error("%s: no result backend here counts the chord of group %s", who, begin.group_id)
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

    def _tell_backend(self, chords: Chords, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        def told(_: object, error: Exception | None) -> None:
            if error is not None:
                logger.error("%s: the chord of group %s can't be begun: %r", who, begin.group_id, error)
            done()

        def tell() -> None:
            if begin.more:
                chords.grow(begin.group_id, begin.size, key)
            else:
                chords.begin(begin.group_id, begin.size)

        self._storing.run(tell, told, backend=True)

    def _grow(self, begin: Begin, key: str, who: str, done: Callable[[], None]) -> None:
        self._leave(self._messages.growth(begin, key), who, lambda _: done())
