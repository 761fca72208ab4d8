"""Results, callbacks and chords of one worker: the parts that store, publish and count, wired together.

Owns the wiring, and the storing thread's life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.execution.chord_bodies import ChordBodies
from amqtask.execution.documents import Documents
from amqtask.execution.lost import Lost
from amqtask.wire.signing import Signer
from amqtask.worker.chords.beginnings import Beginnings
from amqtask.worker.chords.body import BodySender
from amqtask.worker.chords.counting import ChordCounter
from amqtask.worker.chords.messages import ChordMessages
from amqtask.worker.followups.carrier import Carrier
from amqtask.worker.followups.losses import Losses
from amqtask.worker.followups.patient import Patient
from amqtask.worker.followups.storing import Storing

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Connection
    from amqtask.broker.loop import SelectLoop
    from amqtask.broker.publisher import Publisher
    from amqtask.worker.background import Background
    from amqtask.worker.followups.outbox import Outbox


class Results:
    """Lives on the I/O thread.

    Args:
        app: its settings and backend.
        hostname: node name of the worker.
        loop: of the I/O thread.
        outbox, publisher: of the worker.
        connection: the consuming one, when there is one.
        background: makes the storing thread.

    Attributes:
        patient, carrier, losses: for the settler.
        chords: for the watch.

    Raises:
        ConfigError: the result backend can't be used.
    """

    def __init__(
        self,
        app: Amqtask,
        hostname: str,
        loop: SelectLoop,
        outbox: Outbox,
        publisher: Publisher,
        connection: Callable[[], Connection | None],
        background: Background,
    ) -> None:
        conf, backend = app.settings, app.results_backend
        by_message = backend is not None and backend.by_message
        counting = None if backend is None else backend.chords
        self._storing = storing = Storing(loop, None if by_message else backend, background)
        self.patient = patient = Patient(loop, outbox, conf.broker_confirm_timeout)
        self.carrier = Carrier(
            patient,
            storing,
            by_message=by_message,
            persistent=conf.result_persistent,
            instead=Documents(conf, backend, hostname).instead,
        )
        self.losses = Losses(storing, Lost(app, hostname))
        messages = ChordMessages(Signer(conf))
        bodies = BodySender(storing, self.carrier, ChordBodies(app, hostname))
        self.chords = ChordCounter(
            loop,
            connection,
            patient=patient,
            storing=storing,
            messages=messages,
            backend=counting,
            bodies=bodies,
            polled=backend is not None and not by_message,
        )
        self.carrier.counter = self.chords
        self.carrier.beginner = Beginnings(
            loop, publisher.declare, leave=self.chords.leave, storing=storing, messages=messages, backend=counting
        )

    def stop(self) -> None:
        """End the storing thread."""
        self._storing.stop()
