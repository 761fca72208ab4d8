"""Counts the members of chords: in the result backend where that can count, else in a queue per chord.

Owns both ways. Where RabbitMQ counts, each member that has ended leaves a message with its result in the chord's queue;
then the queue is looked at, and whoever sees that enough are there collects them and sends the body
(:mod:`.state`, :mod:`.join`). No store is needed for that, and no worker is special.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from amqtask.errors import Unroutable
from amqtask.results.states import SUCCESS
from amqtask.worker.chords.body import name_of
from amqtask.worker.chords.join import ChordJoin
from amqtask.worker.chords.looks import PAUSE, ChordLooks
from amqtask.worker.chords.place import ChordPlace, chord_place
from amqtask.worker.followups.patient import NO_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Connection, Loop, PublishDone
    from amqtask.errors import BrokerError, EncodeError
    from amqtask.results.base import Chords, Joined, Looked, Part
    from amqtask.wire.message import Outgoing
    from amqtask.worker.chords.body import BodySender
    from amqtask.worker.chords.messages import ChordMessages
    from amqtask.worker.followups.patient import Patient
    from amqtask.worker.followups.storing import Storing

logger = logging.getLogger(__name__)


class ChordCounter:
    """Lives on the I/O thread; see :class:`~amqtask.worker.followups.carrier.PartCounter`.

    Args:
        loop: of the I/O thread.
        connection: the worker's, when there is one.
        patient: publishes completions.
        storing: calls the backend.
        messages: makes and reads what lies in the queues.
        backend: counts in the result backend; None where that can't.
        polled: results are kept where others can look for them.
        bodies: sends bodies.
    """

    def __init__(
        self,
        loop: Loop,
        connection: Callable[[], Connection | None],
        *,
        patient: Patient,
        storing: Storing,
        messages: ChordMessages,
        backend: Chords | None,
        bodies: BodySender,
        polled: bool,
    ) -> None:
        self.loop, self.connection, self.messages = loop, connection, messages
        self.looks = ChordLooks(loop, connection)
        self._patient, self._storing, self._backend, self._bodies = patient, storing, backend, bodies
        self._polled = polled
        self._joins: dict[str, ChordJoin] = {}

    def count(self, part: Part, who: str, done: Callable[[], None]) -> None:
        """Count a member; ``done`` once that is stored, and the body is if this was the last one."""
        place = chord_place(part.chord)
        if place is not None:
            self._count_in_queue(place, part, who, done)
        elif self._backend is not None:
            self._count_in_backend(self._backend, part, who, done)
        else:
            # with a store that can't count, a task of Celery's client looks for the results now and then
            level = logging.DEBUG if self._polled else logging.ERROR
            logger.log(level, "%s: no result backend here counts its chord (%s)", who, name_of(part.chord))
            done()

    # ---- in the backend

    def _count_in_backend(self, chords: Chords, part: Part, who: str, done: Callable[[], None]) -> None:
        def counted(joined: Joined | None, error: Exception | None) -> None:
            if error is not None:
                logger.error("%s: can't be counted (%s): %r", who, name_of(part.chord), error)
            if joined is None:
                done()
            else:
                self._bodies.send(part.chord, part.group_id, joined.results, lambda: self._forget(chords, joined, done))

        self._storing.run(lambda: chords.complete(part), counted, backend=True)

    def look_in_backend(
        self, group_id: str, signature: dict[str, Any], done: Callable[[bool], None], *, expired: bool = False
    ) -> None:
        """Look at a chord in the backend, and go on from there; as :meth:`look`."""
        chords = self._backend
        if chords is None:
            logger.error("%s: nobody looks after it: no result backend here counts chords", name_of(signature))
            done(True)
            return

        def looked(found: Looked | None, error: Exception | None) -> None:
            if found is None:
                logger.error("%s: can't be looked after: %r", name_of(signature), error)
            joined = None if found is None else found.joined
            if found is None or joined is None:
                done(found is None or found.over)
            elif found.missing:
                text = f"{found.missing} of its members did not end in time"
                self._bodies.fail(signature, group_id, text, lambda: self._forget(chords, joined, over))
            else:
                self._bodies.send(signature, group_id, joined.results, lambda: self._forget(chords, joined, over))

        def over() -> None:
            done(True)

        self._storing.run(lambda: chords.look(group_id, expired=expired), looked, backend=True)

    def _forget(self, chords: Chords, joined: Joined, done: Callable[[], None]) -> None:
        self._storing.run(lambda: chords.dispatched(joined), lambda _, __: done(), backend=True)

    # ---- in a queue

    def leave(self, message: Outgoing, who: str, done: PublishDone) -> None:
        """Leave a message in a chord's queue; ``done`` is told None, or why it can never be: as the chord is over."""

        def published(error: BrokerError | EncodeError | None) -> None:
            if isinstance(error, Unroutable):
                self.looks.look(message.routing_key, lambda ready: looked(ready, error))
            else:
                done(error)

        def looked(ready: int | None, error: Unroutable) -> None:
            if ready is None:
                done(error)
            else:
                logger.warning("%s: chord queue %s was away with its node; trying again", who, message.routing_key)
                self.loop.call_later(PAUSE, lambda: self.leave(message, who, done))

        self._patient.publish(message, who, published, grace=NO_GRACE)

    def _count_in_queue(self, place: ChordPlace, part: Part, who: str, done: Callable[[], None]) -> None:
        def failed(instead: Part | None, error: Exception | None) -> None:
            if instead is None:
                logger.error("%s: can't be counted as failed (%s): %r", who, name_of(part.chord), error)
                done()
            else:
                self._count_in_queue(place, instead, who, done)

        def left(error: Exception | None) -> None:
            if error is None:
                self.look(place, part.chord, lambda _: done())
            elif isinstance(error, Unroutable):
                done()
            else:  # too large for the broker, mostly: a chord that has failed is better than one that stands
                logger.error("%s: can't be counted (%s): %s", who, name_of(part.chord), error)
                if part.state == SUCCESS:
                    self._bodies.unsendable(part, error, failed)
                else:
                    done()

        self.leave(self.messages.completion(place, part), who, left)

    def look(
        self, place: ChordPlace, signature: dict[str, Any], done: Callable[[bool], None], *, expired: bool = False
    ) -> None:
        """Look at a chord's queue, and go on from there; ``done`` is told whether the chord is over.

        Args:
            place: the queue.
            signature: of the body.
            done: called once.
            expired: the deadline has passed: the body fails unless all members are there.
        """
        join = self._joins.get(place.queue)
        if join is None or join.state.over:
            join = self._joins[place.queue] = ChordJoin(self, place, signature)

        def looked(over: bool) -> None:
            if join.idle and self._joins.get(place.queue) is join:
                del self._joins[place.queue]
            done(over)

        join.want(looked, expired=expired)

    def dispatch(self, join: ChordJoin, results: list[bytes] | None, done: Callable[[], None]) -> None:
        """Send the body of a chord, or fail it."""
        if results is None:
            text = f"{join.state.missing} of its members did not end in time"
            self._bodies.fail(join.signature, join.place.group_id, text, done)
        else:
            self._bodies.send(join.signature, join.place.group_id, results, done)
