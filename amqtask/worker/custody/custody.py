"""The worker's custody of messages: from delivery, through a pool slot and what follows, to the ack.

Owns every delivery of this worker that is not settled, and the end of each turn of the I/O loop, where jobs are
handed out, batches written and acks coalesced. Everything here runs on the I/O thread.

    arrive ──► Ready ──► pool.submit ──► done ──► Settler ──► Settlements ──► basic.ack
       │ known already (Recent): ack          └─► lost: again, or dead letter
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.worker.custody import narrate
from amqtask.worker.custody.counts import Counting
from amqtask.worker.custody.gates import Observers
from amqtask.worker.custody.suspects import Suspects
from amqtask.worker.deliveries.acks import Acks
from amqtask.worker.deliveries.delivery import Delivery
from amqtask.worker.deliveries.jobs import job_of
from amqtask.worker.deliveries.republish import lost_count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from amqtask.broker.interface import Channel, Loop, Method
    from amqtask.execution.job import Outcome
    from amqtask.wire.message import PropertiesLike
    from amqtask.worker.custody.gates import Gate
    from amqtask.worker.custody.settle import Settler
    from amqtask.worker.deliveries.outcome import Effect, Effects
    from amqtask.worker.deliveries.ready import Ready
    from amqtask.worker.deliveries.recent import Recent
    from amqtask.worker.pools.base import Pool

logger = logging.getLogger(__name__)


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
        self._acks_early, self._observe = acks_early, observe
        self.suspects = Suspects(loop, effects, lost_max, self)
        self.acks, self.ends = Acks(loop), narrate.Ends(loop)
        self._settlements = self.acks.settlements
        self._running: dict[int, Delivery] = {}
        self._keys = itertools.count(1)
        self._turn_scheduled = False
        self.settler: Settler
        self.draining = False
        self.own: dict[str, Callable[[Delivery], None]] = {}
        """Name of a task -> what does it, without the pool; it calls :meth:`settle_own` in the end."""
        self.gates: list[Gate] = []
        """Asked in this order before a delivery is handed to the pool."""
        counting = Counting()
        self.counts = counting.counts
        self.observers = Observers()
        self.observers.append(counting)
        self.limits_of: Callable[[Delivery], tuple[float | None, float | None]] = lambda _: (None, None)
        """Hard and soft time limit of a delivery, in seconds."""
        self.paused = False
        """Nothing is started while it is set; call :meth:`schedule_turn` after clearing it."""
        self.on_idle: Callable[[], None] | None = None
        """Called at the end of a turn in which nothing is running or unconfirmed any more, while draining."""

    # -- arrival ----------------------------------------------------------------------------------

    def open(self, channel: Channel) -> None:
        """A new consume channel: the broker has everything back that was not settled on the last one."""
        self.acks.channel = channel
        self._forget_waiting()

    def closed(self) -> None:
        """The consume channel is gone. What runs goes on; what waits comes again."""
        self.acks.channel = None
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._settlements.open()
        self.suspects.clear()
        kept = [delivery for gate in self.gates for delivery in gate.clear()]
        for delivery in (*self._ready.clear(), *kept):
            if delivery.early:  # acked already: nobody but us has it
                self._ready.push(delivery)
            else:
                self.suspects.lose(delivery)

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
        self.schedule_turn()
        arrival = self._recent.arrive(delivery)
        if arrival == "new":
            delivery.excused = delivery.redelivered and self.suspects.excuses(delivery)
            narrate.received(delivery)
            for received in self.observers.received:
                received(delivery)
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
        if not self.draining and not self.paused:
            self._hand_out()
        self._pool.flush()
        self.acks.write(all_now=self.draining)
        if self.draining and self.on_idle is not None and not self._running and not len(self.settler):
            self.on_idle()

    def _hand_out(self) -> None:
        ready, pool, suspects, early = self._ready, self._pool, self.suspects, []
        while pool.free() > ready.reserved and (delivery := ready.pop()) is not None:
            if suspects.copies and suspects.is_early_copy(delivery):
                early.append(delivery)
            elif (not delivery.redelivered or delivery.excused or suspects.fit(delivery)) and self._admitted(delivery):
                self._start(delivery)
        for delivery in early:
            ready.push(delivery)

    def _admitted(self, delivery: Delivery) -> bool:
        if delivery.name not in self.own:
            for gate in self.gates:  # all() and a generator cost more than the gates
                if not gate.admit(delivery):
                    return False
        return True

    def readmit(self, delivery: Delivery) -> None:
        """A gate lets go of a delivery that may start now, or when it is asked again."""
        if self.draining:
            self.hand_back(delivery)
        elif delivery.early or delivery.epoch == self._settlements.epoch:
            self._ready.push(delivery)
        self.schedule_turn()

    def reserve(self, key: int, seconds: float) -> None:
        """Leave a slot free for a delivery that a gate lets go of within this time: :meth:`readmit` gives it that."""
        self._ready.reserve(key)
        self._loop.call_later(seconds, lambda: self._ready.release(key))
        self._loop.call_later(seconds, self.schedule_turn)

    def finish(self, delivery: Delivery, outcome: Outcome) -> None:
        """A delivery that is not in the pool ends like this; a gate has decided so."""
        self._recent.start(delivery)
        self._end(delivery, outcome)
        self.schedule_turn()

    @property
    def running(self) -> Collection[Delivery]:
        """What was handed to the pool and has not ended."""
        return self._running.values()

    @property
    def waiting(self) -> Collection[Delivery]:
        """What has arrived and was not handed to the pool; without what gates keep."""
        return list(self._ready)

    def take_waiting(self, wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Take some of :attr:`waiting`, for a gate: to be readmitted, finished or handed back."""
        return self._ready.take(wanted)

    def add_queue(self, name: str) -> None:
        """Deliveries of another queue may come."""
        self._ready.add(name)

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
            self.acks.write_all()  # before it can start, and without waiting for others
        hard, soft = self.limits_of(delivery)
        self._pool.submit(job_of(delivery, hard, soft))
        for started in self.observers.started:
            started(delivery)

    # -- results ----------------------------------------------------------------------------------

    def done(self, outcomes: Iterable[Outcome]) -> None:
        """The pool reports ended jobs."""
        for outcome in outcomes:
            delivery = self._running.pop(outcome.key, None)
            if delivery is None:
                continue  # given up at a shutdown
            if outcome.runtime > 0:  # refused ones say nothing about how long tasks run
                self._observe(outcome.runtime)
            self._end(delivery, outcome)
        self.schedule_turn()

    def _end(self, delivery: Delivery, outcome: Outcome) -> None:
        effect = self._effects.of(delivery, outcome)
        self.ends.add(delivery, outcome, effect)
        for ended in self.observers.ended:
            ended(delivery, outcome, effect)
        self.settler.settle(delivery, effect, outcome.kind)

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
            self._abandon(delivery)
            if self.draining:
                self.hand_back(delivery)
            elif delivery.epoch == self._settlements.epoch:
                self._ready.push(delivery)
            else:  # the broker delivers it again
                self.suspects.lose(delivery)
        for key in (*blamed, *ended):
            delivery = self._running.pop(key, None)
            if delivery is None:
                continue
            self._lose(delivery, self._effects.of_loss(delivery, reason), reason)
        self.schedule_turn()

    def _lose(self, delivery: Delivery, effect: Effect, reason: str) -> None:
        narrate.lost(delivery, effect, reason)
        for observer in self.observers:
            observer.lost(delivery, effect, reason)
        self.settler.settle(delivery, effect)

    def _abandon(self, delivery: Delivery) -> None:
        """It was handed to the pool, has not ended and is not run there any more."""
        self._recent.abandon(delivery)
        for observer in self.observers:
            observer.gone(delivery)

    def settled(self, delivery: Delivery) -> None:
        """Everything that follows from a delivery is stored: it may be acked."""
        self._recent.finish(delivery)
        for settled in self.observers.settled:
            settled(delivery)
        self.suspects.settled(delivery)
        if not delivery.early:
            self._settlements.finish(delivery.epoch, delivery.tag)
        self.schedule_turn()

    def settle_unstarted(self, delivery: Delivery, effect: Effect) -> None:
        """A delivery ends without having been started here: it is acked when its effect is stored."""
        self._recent.start(delivery)
        self.settler.settle(delivery, effect)

    def lose_unstarted(self, delivery: Delivery, effect: Effect, reason: str) -> None:
        """The same, for one that has killed the workers it ran on."""
        self._recent.start(delivery)
        self._lose(delivery, effect, reason)

    def retry(self, deliveries: Sequence[Delivery]) -> None:
        """Suspects that waited for another one may be judged again."""
        for delivery in deliveries:
            self._ready.push(delivery)
        self.schedule_turn()

    # -- shutdown ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Start no more jobs; hand back what has not started."""
        self.draining = True
        kept = [delivery for gate in self.gates for delivery in gate.clear()]
        for delivery in (*self._ready.clear(), *self.suspects.clear(), *kept):
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
            self._abandon(delivery)
            if not delivery.early:
                self.hand_back(delivery)
        return left

    def hand_back(self, delivery: Delivery) -> None:
        """Return a message to its queue.

        Once per message by nack, which keeps its place. A message that was returned before, or is suspected of
        killing workers, is published again instead: a return counts against it, and shutdowns must never add up to
        a crash loop.
        """
        self.counts.handed_back += 1
        for observer in self.observers:
            observer.gone(delivery)
        suspect = delivery.redelivered or lost_count(delivery) > 0
        if delivery.early or (suspect and delivery.epoch == self._settlements.epoch):
            self.settle_unstarted(delivery, self._effects.marked(delivery, lost_count(delivery)))
        else:
            self.acks.give_back(delivery)

    @property
    def busy(self) -> int:
        """Jobs in the pool plus deliveries that wait for a confirm."""
        return len(self._running) + len(self.settler)
