"""Looks after chords now and then: a member may have been acked early, or the worker that looked may have died.

Owns the watch messages. The client sends the first one with the chord; it waits in the delay ladder, comes to any
worker of the queue, which looks and sends it on its way again, until the chord is over. After the deadline the body
fails. No pool is asked: a watch takes no slot.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from amqtask import clock
from amqtask.errors import AmqtaskError, DecodeError
from amqtask.execution.job import Kind, Outcome
from amqtask.topology.chords import watch_pause
from amqtask.wire.codec import decode
from amqtask.worker.chords.place import chord_place, stored_place
from amqtask.worker.deliveries.jobs import job_of
from amqtask.worker.deliveries.outcome import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.wire.signing import Signer
    from amqtask.worker.chords.counting import ChordCounter
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect, Effects

LOOKS = "x-amqtask-looks"
"""Header: how often a watch message has been looked at."""
_LOOKS_MAX = 1_000_000
"""More are not counted: a message may say anything, and its header has to be written again."""


class _Watched(NamedTuple):
    deadline: float
    look: Callable[..., None]


class ChordWatch:
    """Lives on the I/O thread.

    Args:
        chords: looks.
        effects: for messages that can't be read.
        settle: carries out an effect for a delivery.
        accept: serializers that are read.
        signer: checks that a watch comes from one of us: what it leads to is signed by this worker.
    """

    def __init__(
        self,
        chords: ChordCounter,
        effects: Effects,
        settle: Callable[[Delivery, Effect], None],
        accept: Sequence[str],
        signer: Signer,
    ) -> None:
        self._chords, self._effects, self._settle = chords, effects, settle
        self._accept, self._signer = accept, signer

    def take(self, delivery: Delivery) -> None:
        """Do what a watch message asks for, then settle it."""
        try:
            watched = self._read(delivery)
        except AmqtaskError as error:
            self._settle(delivery, self._effects.of(delivery, Outcome(delivery.key, Kind.UNDECODABLE, text=str(error))))
            return
        left = watched.deadline - clock.utcnow().timestamp()

        def looked(over: bool) -> None:
            self._settle(delivery, NOTHING if over else self._next(delivery, left))

        watched.look(looked, expired=left <= 0)

    def _read(self, delivery: Delivery) -> _Watched:
        job = job_of(delivery)
        self._signer.verify(job, delivery.body, any_age=True)
        message = decode(job, delivery.body, self._accept)
        signature = message.args[0] if message.args else None
        if isinstance(signature, dict):
            if (place := chord_place(signature)) is not None:
                return _Watched(place.deadline, partial(self._chords.look, place, signature))
            if (stored := stored_place(message.kwargs)) is not None:
                return _Watched(stored.deadline, partial(self._chords.look_in_backend, stored.group_id, signature))
        raise DecodeError("a watch message without the signature of a chord's body")

    def _next(self, delivery: Delivery, left: float) -> Effect:
        """The same watch again, after a pause, but not long after the deadline."""
        looks = (delivery.properties.headers or {}).get(LOOKS, 0)
        looks = min(looks, _LOOKS_MAX) + 1 if isinstance(looks, int) else 1
        pause = min(watch_pause(looks), timedelta(seconds=max(left, 0.0) + 1.0))
        return self._effects.later(delivery, pause, {LOOKS: looks})
