"""The worker's custody of messages: from delivery, through a pool slot and what follows, to the ack.

Owns every delivery of this worker that is not settled, and the end of each turn of the I/O loop, where jobs are
handed out, batches written and acks coalesced. Everything here runs on the I/O thread.

    arrive ──► Ready ──► pool.submit ──► done ──► Settler ──► Settlements ──► basic.ack
       │ known already (Recent): ack          └─► lost: again, or dead letter
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.worker import narrate
from amqtask.worker.crashes import Held, Trials, judge
from amqtask.worker.delivery import Delivery, Settlements
from amqtask.worker.jobs import job_of
from amqtask.worker.republish import lost_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from amqtask.broker.interface import Channel, Loop, Method
    from amqtask.execution.job import Outcome
    from amqtask.wire.message import PropertiesLike
    from amqtask.worker.outcome import Effect, Effects
    from amqtask.worker.pools.base import Pool
    from amqtask.worker.ready import Ready
    from amqtask.worker.recent import Recent
    from amqtask.worker.settle import Settler

logger = logging.getLogger(__name__)

_ACK_DELAY = 0.005
"""Seconds a finished tag may wait behind a gap for its neighbours."""

_HOLD_FRACTION = 8
"""At most one in this many unsettled tags waits behind a gap; with few messages held, none does."""


_TRIAL = 1.0
"""Seconds that suspects of killing their worker wait for one that was sent again before them."""


@dataclass(slots=True)
class Counts:
    """What this worker has done since it started; for the last log line and for reports."""

    received: int = 0
    duplicates: int = 0
    ended: dict[int, int] = field(default_factory=dict)
    dead: int = 0
    lost: int = 0


class Custody:
    """Moves deliveries through the worker. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        pool: where jobs run.
        ready, recent, effects: the policies.
        acks_early: names of tasks whose messages are acked when they start.
        observe: told the run time of each task.
        lost_max: deliveries without a settlement after which a message counts as a crash loop.
    """

    def __init__(
        self,
        loop: Loop,
        pool: Pool,
        *,
        ready: Ready,
        recent: Recent,
        effects: Effects,
        acks_early: Collection[str],
        observe: Callable[[float], None],
        lost_max: int,
    ) -> None:
        self._loop, self._pool = loop, pool
        self._ready, self._recent, self._effects = ready, recent, effects
        self._acks_early, self._observe, self._lost_max = acks_early, observe, lost_max
        self._trials, self._held = Trials(), Held()
        self._copies: dict[int, str | None] = {}
        """Key of a marked message -> message id of its copy, until the former is acked: both must not exist when
        the copy starts, and kills."""
        self._settlements = Settlements()
        self._channel: Channel | None = None
        self._running: dict[int, Delivery] = {}
        self._keys = itertools.count(1)
        self._turn_scheduled = False
        self._ack_timer: object | None = None
        self.settler: Settler
        self.counts = Counts()
        self.draining = False
        self.own: dict[str, Callable[[Delivery], None]] = {}
        """Name of a task -> what does it, without the pool; it calls :meth:`settle_own` in the end."""
        self.on_idle: Callable[[], None] | None = None
        """Called at the end of a turn in which nothing is running or unconfirmed any more, while draining."""

    # -- arrival ----------------------------------------------------------------------------------

    def open(self, channel: Channel) -> None:
        """A new consume channel: the broker has everything back that was not settled on the last one."""
        self._channel = channel
        self._forget_waiting()

    def closed(self) -> None:
        """The consume channel is gone. What runs goes on; what waits comes again."""
        self._channel = None
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._settlements.open()
        self._trials.clear()
        for delivery in self._ready.clear():
            if delivery.early:  # acked already: nobody but us has it
                self._ready.push(delivery)
            else:
                self._held.lose(delivery)

    def arrive(self, queue: str, method: Method, properties: PropertiesLike, body: bytes) -> None:
        """Take a delivery into custody."""
        settlements = self._settlements
        delivery = Delivery(
            next(self._keys),
            settlements.epoch,
            method.delivery_tag,
            queue,
            method.exchange,
            method.routing_key,
            method.redelivered,
            properties,
            body,
        )
        settlements.delivered(delivery.tag)
        self.counts.received += 1
        self.schedule_turn()
        arrival = self._recent.arrive(delivery)
        if arrival == "new":
            delivery.excused = self._held.excuses(delivery)
            narrate.received(delivery)
            if self.draining:
                self.hand_back(delivery)
            else:
                self._ready.push(delivery)
            return
        self.counts.duplicates += 1
        narrate.duplicate(delivery, arrival)
        if arrival == "finished":
            settlements.finish(delivery.epoch, delivery.tag)

    # -- the end of a turn ------------------------------------------------------------------------

    def schedule_turn(self) -> None:
        """Have :meth:`_end_turn` run once, after everything else of this turn."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_later(0, self._end_turn)

    def _end_turn(self) -> None:
        self._turn_scheduled = False
        if not self.draining:
            self._hand_out()
        self._pool.flush()
        self._write_acks()
        if self.draining and self.on_idle is not None and not self._running and not len(self.settler):
            self.on_idle()

    def _hand_out(self) -> None:
        ready, pool, early = self._ready, self._pool, []
        while pool.free() > 0 and (delivery := ready.pop()) is not None:
            if self._copies and delivery.properties.message_id in self._copies.values():
                early.append(delivery)
            elif not delivery.redelivered or delivery.excused or self._fit(delivery):
                self._start(delivery)
        for delivery in early:
            ready.push(delivery)

    def _fit(self, delivery: Delivery) -> bool:
        """May a redelivered message run, or is it a suspect or a proven killer of workers?"""
        verdict = judge(delivery, self._lost_max)
        if verdict.action == "run":
            return True
        if verdict.action == "mark":
            last = verdict.lost >= self._lost_max - 1
            if not last:
                self._mark(delivery, verdict.lost)
            elif not self._trials.wait(delivery):
                self._begin_trial(self._mark(delivery, verdict.lost))
            return False
        reason = "the worker that ran it went away"
        effect = self._effects.crash_loop(delivery, verdict.lost, reason)
        narrate.lost(delivery, effect, reason)
        self.counts.dead += 1
        self._recent.start(delivery)
        self.settler.settle(delivery, effect)
        return False

    def _mark(self, delivery: Delivery, lost: int) -> str | None:
        """Send a suspect again with this count of deaths; returns the message id of the copy."""
        effect = self._effects.marked(delivery, lost)
        assert effect.message is not None
        self._copies[delivery.key] = effect.message.properties.message_id
        self._recent.start(delivery)
        self.settler.settle(delivery, effect)
        return effect.message.properties.message_id

    def _begin_trial(self, message_id: str | None) -> None:
        self._trials.begin(message_id)
        self._loop.call_later(_TRIAL, lambda: self._trial_takes_long(message_id))

    def _trial_takes_long(self, message_id: str | None) -> None:
        """It waits behind others, runs elsewhere or runs well: the next suspect may have its trial."""
        for delivery in self._trials.end(message_id):
            self._ready.push(delivery)
        self.schedule_turn()

    def _start(self, delivery: Delivery) -> None:
        delivery.since = clock.monotonic()
        self._recent.start(delivery)
        self._running[delivery.key] = delivery
        if delivery.name in self.own:
            self.own[delivery.name](delivery)
            return
        if delivery.name in self._acks_early and not delivery.early:
            delivery.early = True
            self._settlements.finish(delivery.epoch, delivery.tag)
            self._ack_all()  # before it can start, and without waiting for others
        self._pool.submit(job_of(delivery))

    # -- results ----------------------------------------------------------------------------------

    def done(self, outcomes: Iterable[Outcome]) -> None:
        """The pool reports ended jobs."""
        counts = self.counts.ended
        for outcome in outcomes:
            delivery = self._running.pop(outcome.key, None)
            if delivery is None:
                continue  # given up at a shutdown
            if outcome.runtime > 0:  # refused ones say nothing about how long tasks run
                self._observe(outcome.runtime)
            effect = self._effects.of(delivery, outcome)
            narrate.ended(delivery, outcome, effect)
            counts[outcome.kind] = counts.get(outcome.kind, 0) + 1
            if effect.dead:
                self.counts.dead += 1
            self.settler.settle(delivery, effect)
        self.schedule_turn()

    def settle_own(self, delivery: Delivery, effect: Effect) -> None:
        """The worker has done what a message asked of it."""
        if self._running.pop(delivery.key, None) is not None:  # else given up at a shutdown
            self.settler.settle(delivery, effect)
            self.schedule_turn()

    def lost(self, blamed: Sequence[int], innocent: Sequence[int], reason: str) -> None:
        """A child died: what it ran is tried again up to a limit, what it only held runs elsewhere.

        Held is also what had ended and was not reported yet. So of what is acked already, which must never run
        twice, nothing runs again.
        """
        ended = []
        for key in innocent:
            delivery = self._running.get(key)
            if delivery is None:
                continue
            if delivery.early:
                ended.append(key)
                continue
            del self._running[key]
            self._recent.abandon(delivery)
            if self.draining:
                self.hand_back(delivery)
            elif delivery.epoch == self._settlements.epoch:
                self._ready.push(delivery)
            else:  # the broker delivers it again
                self._held.lose(delivery)
        for key in (*blamed, *ended):
            delivery = self._running.pop(key, None)
            if delivery is None:
                continue
            self.counts.lost += 1
            effect = self._effects.of_loss(delivery, reason)
            narrate.lost(delivery, effect, reason)
            if effect.dead:
                self.counts.dead += 1
            self.settler.settle(delivery, effect)
        self.schedule_turn()

    def settled(self, delivery: Delivery) -> None:
        """Everything that follows from a delivery is stored: it may be acked."""
        self._recent.finish(delivery)
        for suspect in self._trials.end(delivery.properties.message_id):
            self._ready.push(suspect)
        if not delivery.early:
            self._settlements.finish(delivery.epoch, delivery.tag)
        if delivery.key in self._copies:
            self._loop.call_later(2 * _ACK_DELAY, lambda: self._release(delivery.key))
        self.schedule_turn()

    def _release(self, key: int) -> None:
        """The ack of a marked message is on its way: its copy may start."""
        self._copies.pop(key, None)
        self.schedule_turn()

    def _write_acks(self) -> None:
        channel = self._channel
        if channel is None or not channel.is_open or not self._settlements.waiting:
            return
        hold = 0 if self.draining else len(self._settlements) // _HOLD_FRACTION
        if self._settlements.waiting < hold:  # plenty of messages are here: the broker can wait for a fuller ack
            if self._ack_timer is None:
                self._ack_timer = self._loop.call_later(_ACK_DELAY, self._ack_rest)
            return
        for ack in self._settlements.acks(hold):
            channel.basic_ack(ack.tag, ack.multiple)
        if self._settlements.waiting and self._ack_timer is None:
            self._ack_timer = self._loop.call_later(_ACK_DELAY, self._ack_rest)

    def _ack_rest(self) -> None:
        self._ack_timer = None
        self._ack_all()

    def _ack_all(self) -> None:
        channel = self._channel
        if channel is not None and channel.is_open:
            for ack in self._settlements.acks():
                channel.basic_ack(ack.tag, ack.multiple)

    # -- shutdown ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Start no more jobs; hand back what has not started."""
        self.draining = True
        for delivery in (*self._ready.clear(), *self._trials.clear()):
            self.hand_back(delivery)
        self.schedule_turn()

    def give_up(self) -> list[Delivery]:
        """Hand back what runs; its outcome is ignored from now on. Returns those deliveries.

        What waits for a confirm goes on waiting: handed back too, its next attempt would exist twice. Should the
        confirm not come in time, the end of the channel returns it.
        """
        left = list(self._running.values())
        self._running.clear()
        for delivery in left:
            self._recent.abandon(delivery)
            if not delivery.early:
                self.hand_back(delivery)
        return left

    def hand_back(self, delivery: Delivery) -> None:
        """Return a message to its queue.

        Once per message by nack, which keeps its place. A message that was returned before, or is suspected of
        killing workers, is published again instead: a return counts against it, and shutdowns must never add up to
        a crash loop.
        """
        suspect = delivery.redelivered or lost_count(delivery) > 0
        if delivery.early or (suspect and delivery.epoch == self._settlements.epoch):
            self._recent.start(delivery)
            self.settler.settle(delivery, self._effects.marked(delivery, lost_count(delivery)))
        elif self._settlements.give_back(delivery.epoch, delivery.tag):
            channel = self._channel
            if channel is not None and channel.is_open:  # else its end returns the message
                channel.basic_nack(delivery.tag, requeue=True)

    @property
    def busy(self) -> int:
        """Jobs in the pool plus deliveries that wait for a confirm."""
        return len(self._running) + len(self.settler)
