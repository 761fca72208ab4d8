"""Revoked tasks: refused before they start, stopped when they run. Owns the gate, and what is known of revocations.

    journal (all that the broker keeps) ──► Revoked ◄── requests of remote control
                                              │
    waiting delivery ──► admit ──► pool       └──► running delivery: stopped
                           └─► REVOKED

After each connection nothing starts until the journal has been read, or can't be.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.control.tombstones import KEPT_MAX, Revoked, Tombstone, message, tombstones
from amqtask.errors import BrokerError, EncodeError
from amqtask.execution.job import Kind, Outcome
from amqtask.wire.signing import TOMBSTONE, Signer
from amqtask.worker.control.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.broker.interface import Connection
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker.control")

REVOKED, TERMINATED = "revoked", "terminated"
"""Texts of the outcomes: it never ran, or it was stopped."""

_SPREAD = 1.0
"""Seconds in which one worker of many notes a revocation that its sender has not; the others see that and need not."""

_LATELY = 10_000
"""Revocations of which it is remembered that the broker keeps them: none is noted later than a moment after."""

_SENDING = 30.0


class Revokes:
    """Implements :class:`amqtask.worker.custody.gates.Gate`. Lives on the I/O thread.

    Args:
        worker: whose deliveries are looked at.
    """

    def __init__(self, worker: Engine) -> None:
        self._worker = worker
        self._expires = worker.app.settings.revoke_expires
        self.revoked = Revoked(KEPT_MAX)
        self._durable = Revoked(_LATELY)
        """Those of which the broker keeps an entry."""
        self._unkept: list[Tombstone] = []
        """Those of which it may keep none: they came by remote control."""
        self._kept: list[Delivery] = []
        """What waits for the journal."""
        self._known = False
        """Whether the journal has been read since the last connection, or can't be."""
        self._signer = Signer(worker.app.settings)
        self._journal = Journal(
            worker.loop, self._expires, self._add_entry, self._caught_up, worker.publisher, self._signer
        )

    # -- the gate -------------------------------------------------------------------------------------------------

    def admit(self, delivery: Delivery) -> bool:
        """May it start, as far as revocations go?"""
        if not self._known:
            self._kept.append(delivery)
            return False
        if not self.is_revoked(delivery):
            return True
        self._worker.custody.finish(delivery, Outcome(delivery.key, Kind.REVOKED, text=REVOKED))
        return False

    def clear(self) -> list[Delivery]:
        """Give up what waits for the journal."""
        kept, self._kept = self._kept, []
        return kept

    def is_revoked(self, delivery: Delivery) -> bool:
        """Whether a revocation is known that means this one."""
        return self.revoked.says(delivery.id, (delivery.properties.headers or {}).get("stamps"))

    # -- the journal ----------------------------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """Read what the broker keeps; nothing starts meanwhile."""
        self._known = False
        self._journal.connected(connection)

    def disconnected(self) -> None:
        """The connection is gone."""
        self._journal.disconnected()

    def _add_entry(self, tombstone: Tombstone) -> None:
        self._durable.add(tombstone)
        self.revoked.add(tombstone)
        if self._known:
            self._refuse_waiting()

    def _caught_up(self) -> None:
        self._known = True
        for delivery in self.clear():
            self._worker.custody.readmit(delivery)

    # -- requests -------------------------------------------------------------------------------------------------

    def revoke(self, ids: Sequence[str], *, kept: bool) -> list[str]:
        """Have tasks not run.

        Args:
            ids: of the tasks.
            kept: the broker keeps it already; else one of the workers that are asked stores it there.

        Returns:
            Ids of those that were waiting here.
        """
        return [found for tombstone in tombstones(ids, self._expires) for found in self._revoke(tombstone, kept=kept)]

    def revoke_stamped(self, stamps: Mapping[str, tuple[str, ...]], *, kept: bool) -> list[str]:
        """The same for tasks with one of these stamps: name -> values."""
        return self._revoke(Tombstone(clock.wall() + self._expires, stamps=stamps), kept=kept)

    def learn(self, ids: Sequence[str]) -> None:
        """Take over what another node says is revoked; it is not kept."""
        for tombstone in tombstones(ids, self._expires):
            self.revoked.add(tombstone)

    def stop_running(self, wanted: Callable[[Delivery], bool], signal: str) -> list[str]:
        """Stop the running tasks that are wanted; returns their ids."""
        custody, pool = self._worker.custody, self._worker.pool
        stopped = []
        for delivery in [one for one in custody.running if one.id is not None and wanted(one)]:
            outcome = Outcome(delivery.key, Kind.REVOKED, clock.monotonic() - delivery.since, text=TERMINATED)
            if delivery.id is not None and pool.stop_job(delivery.key, signal, outcome):
                stopped.append(delivery.id)
        return stopped

    def _revoke(self, tombstone: Tombstone, *, kept: bool) -> list[str]:
        self.revoked.add(tombstone)
        refused = self._refuse_waiting()
        if not kept:
            self._unkept.append(tombstone)
            # whoever follows the journal sees that another one was faster
            self._worker.loop.call_later(random.uniform(0, _SPREAD), self.keep)  # noqa: S311
        return refused

    def _refuse_waiting(self) -> list[str]:
        custody = self._worker.custody
        refused = custody.take_waiting(self.is_revoked)
        for delivery in refused:
            custody.finish(delivery, Outcome(delivery.key, Kind.REVOKED, text=REVOKED))
        return [delivery.id for delivery in refused if delivery.id is not None]

    def keep(self) -> None:
        """Store in the journal what was asked for by remote control only, unless another worker has done so."""
        unkept, self._unkept = self._unkept, []
        for tombstone in unkept:
            if self._is_kept(tombstone):
                continue
            self._durable.add(tombstone)
            try:
                entry = self._signer.signed(message(tombstone), TOMBSTONE, needed=False)
                self._worker.publisher.publish(entry, _SENDING, _noted)
            except (BrokerError, EncodeError) as error:  # too large
                _noted(error)

    def _is_kept(self, tombstone: Tombstone) -> bool:
        pairs = [{name: [value]} for name, values in tombstone.stamps.items() for value in values]
        return all(self._durable.says(task_id) for task_id in tombstone.ids) and all(
            self._durable.says(None, pair) for pair in pairs
        )


def _noted(error: BrokerError | EncodeError | None) -> None:
    if error is not None:
        logger.warning("A revocation holds for the workers that run now only; it could not be kept: %s", error)
