"""A queue: takes messages, hands them to consumers, and settles them.

Owns the life of a message in a queue. Order, choice of consumers, limits, expiry and dead letters each have their own
module.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from amqtask.testing.devbroker.engine.burial import Burial
from amqtask.testing.devbroker.engine.consumers import Consumers, SingleActive
from amqtask.testing.devbroker.engine.counts import with_counts
from amqtask.testing.devbroker.engine.deaths import DELIVERY_LIMIT, EXPIRED, MAXLEN, REJECTED
from amqtask.testing.devbroker.engine.entry import Entry
from amqtask.testing.devbroker.engine.errors import RESOURCE_LOCKED, ChannelFault, access_refused
from amqtask.testing.devbroker.engine.expiry import Expiry, Idle
from amqtask.testing.devbroker.engine.limits import Limits
from amqtask.testing.devbroker.engine.priorities import priority_of
from amqtask.testing.devbroker.engine.ready import QuorumReady, Ready
from amqtask.testing.devbroker.engine.retries import DelayedRetries
from amqtask.testing.devbroker.engine.timeouts import Timeouts

if TYPE_CHECKING:
    from amqtask.testing.devbroker.engine.arguments import QueueOptions
    from amqtask.testing.devbroker.engine.interface import Consumer
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.surroundings import Surroundings


class Queue:
    """A classic or quorum queue.

    Whenever a consumer is ready nothing waits, apart from the moment between credit coming back and :meth:`pump`.

    Attributes:
        owner: the connection that an exclusive queue belongs to; None: not exclusive.
        arguments: as declared.
        options: what they mean.
    """

    __slots__ = (
        "_arrivals",
        "_burial",
        "_consumers",
        "_expiry",
        "_gone",
        "_idle",
        "_limits",
        "_memory",
        "_prioritised",
        "_ready",
        "_retries",
        "_surroundings",
        "_timeouts",
        "_tracks",
        "_ttl",
        "_unacked",
        "arguments",
        "auto_delete",
        "durable",
        "name",
        "options",
        "owner",
    )

    def __init__(
        self,
        name: str,
        options: QueueOptions,
        surroundings: Surroundings,
        *,
        durable: bool,
        auto_delete: bool,
        owner: object | None,
        arguments: dict[str, Any],
    ) -> None:
        self.name, self.options, self._surroundings = name, options, surroundings
        self.durable, self.auto_delete, self.owner, self.arguments = durable, auto_delete, owner, arguments
        scheduler, self._memory = surroundings.scheduler, surroundings.memory
        self._burial = Burial(name, options, surroundings)
        self._arrivals = 0
        self._gone = False
        self._ready: Ready = QuorumReady() if options.quorum else Ready()
        self._unacked: set[Entry] = set()
        quorum = options.quorum
        self._consumers = SingleActive(overtaking=quorum) if options.single_active else Consumers(prompt=quorum)
        self._timeouts: Timeouts | None = None
        # Only where a consumer can be overtaken or be too slow does it matter whose a message is.
        self._tracks = options.single_active and options.quorum
        if options.consumer_timeout is not None:
            self._limit_time()
        self._prioritised = options.quorum or options.max_priority > 0
        self._ttl = options.ttl
        self._expiry = Expiry(scheduler, self._ready, self._expired)
        limited = options.max_length is not None or options.max_bytes is not None
        self._limits = Limits(options, self._ready) if limited else None
        shortest, longest = options.retry_min / 1000, options.retry_max / 1000
        delays = options.quorum and options.retry_kinds
        self._retries = DelayedRetries(scheduler, delays, shortest, longest, self._put_back) if delays else None
        self._idle = None if options.expires is None else Idle(scheduler, options.expires / 1000, self._end)

    @property
    def ready_count(self) -> int:
        """Messages that wait."""
        return self._ready.count

    @property
    def unacked_count(self) -> int:
        """Messages that consumers have and did not settle."""
        return len(self._unacked)

    @property
    def consumer_count(self) -> int:
        """Subscribed consumers."""
        return len(self._consumers)

    @property
    def kind(self) -> str:
        """``classic`` or ``quorum``."""
        return "quorum" if self.options.quorum else "classic"

    def enqueue(self, message: Message) -> bool:
        """Take a message; False when the queue is full and refuses it."""
        if self._gone:  # while a message went to the queues before this one
            return True
        limits = self._limits
        self._arrivals += 1
        entry = Entry(message, self._arrivals)
        if self._prioritised:
            entry.priority = priority_of(message, self.options)
        if limits is not None and self._refuses(limits, entry):
            return False
        if message.failures and self.options.quorum:
            self._show_counts(entry)
        timed = self._ttl is not None or message.ttl is not None
        if timed:
            entry.due = self._due(message)
        if not self._ready.count and (consumer := self._consumers.choose()) is not None:
            if not consumer.no_ack:
                self._keep(entry)
            self._hand(entry, consumer)
            return True
        self._keep(entry)
        self._ready.push(entry)
        if timed:
            self._expiry.timed = True
            self._expiry.run()
        if limits is not None and limits.drops:
            self._shrink(limits)
        return True

    def get(self, no_ack: bool) -> tuple[Entry, int] | None:
        """Take the next message without a subscription.

        Args:
            no_ack: the queue forgets it at once.

        Returns:
            The message and how many still wait; None when the queue is empty.

        Raises:
            ChannelFault: 405, a quorum queue with a single active consumer.
        """
        if self.options.single_active and self.options.quorum:
            raise ChannelFault(
                RESOURCE_LOCKED,
                f"RESOURCE_LOCKED - cannot obtain access to locked {self._subject}. basic.get operations are not "
                'supported by <<"quorum">> queues with single active consumer',
            )
        self.used()
        if not self._head_lives():
            return None
        entry = self._ready.pop()
        if no_ack:
            self._burial.forget(entry)
        else:
            self._unacked.add(entry)
            if self._timeouts is not None:
                self._timeouts.start(entry, None)
        self._expiry.run()
        return entry, self._ready.count

    def add_consumer(self, consumer: Consumer) -> None:
        """Subscribe a consumer and give it what waits. Quorum queues take no notice of exclusive consumers.

        Raises:
            ChannelFault: 403, another consumer is exclusive, or this one wants to be and is not alone.
        """
        clash = self._consumers and (consumer.exclusive or self._consumers.exclusive)
        if not self.options.quorum and (clash or (consumer.exclusive and self.options.single_active)):
            raise access_refused(f"{self._subject} in exclusive use")
        self._consumers.add(consumer)
        if consumer.timeout is not None and self._timeouts is None:
            self._limit_time()
        if self._idle is not None:
            self._idle.close()
        if self._tracks:
            self._hand_over()
        self.pump()

    def remove_consumer(self, consumer: Consumer) -> None:
        """End a subscription; what the consumer has stays with it. The queue may end by this (auto-delete)."""
        if not self._consumers.remove(consumer):
            return
        if self._consumers:
            self.pump()  # another may be the active one now
        elif self.auto_delete:
            self._end()
        elif self._idle is not None:
            self._idle.used()

    def ack(self, entry: Entry) -> None:
        """A consumer is done with a message; nothing happens when it is settled already."""
        if self._take_back(entry):
            self._burial.forget(entry)
            if self._tracks:
                self._hand_over()

    def reject(self, entry: Entry, *, failed: bool) -> None:
        """A consumer refused a message for good: it becomes a dead letter.

        Args:
            entry: the message.
            failed: whether the delivery counts as failed (for a reject it does, for a nack it doesn't).
        """
        if self._take_back(entry):
            entry.failures += failed
            self._burial.bury(entry, REJECTED)
            if self._tracks:
                self._hand_over()

    def requeue(self, entries: list[Entry], *, failed: bool) -> None:
        """Messages come back: a classic queue puts them where they were, a quorum queue behind earlier returns.

        Args:
            entries: in the order in which they come back.
            failed: whether the deliveries count as failed (for a reject or a lost channel they do, for a nack or a
                recover they don't); that counts to the delivery limit of a quorum queue.
        """
        back = []
        for entry in entries:
            if not self._take_back(entry):
                continue
            entry.redelivered = True
            entry.failures += failed
            entry.acquired += 1
            limit = self.options.delivery_limit
            if limit is not None and entry.failures > limit:
                self._burial.bury(entry, DELIVERY_LIMIT)
                continue
            if self.options.quorum:
                self._show_counts(entry)
            if self._retries is None or not self._retries.keep(entry, failed=failed):
                back.append(entry)
        self._put_back(back)

    def pump(self) -> None:
        """Hand out what waits to whoever is ready."""
        ready = self._ready
        self._consumers.wake()
        while ready.count and self._head_lives() and (consumer := self._consumers.choose()) is not None:
            entry = ready.pop()
            if consumer.no_ack:
                self._burial.forget(entry)
            self._hand(entry, consumer)
        self._expiry.run()

    def purge(self) -> int:
        """Drop everything that waits; how much it was."""
        dropped = self._ready.clear()
        if self._retries is not None:
            dropped += self._retries.clear()
        for entry in dropped:
            self._burial.forget(entry)
        return len(dropped)

    def used(self) -> None:
        """It was declared again, which counts as use for ``x-expires``."""
        if self._idle is not None and not self._consumers:
            self._idle.used()

    def close(self) -> None:
        """The queue is gone: tell the consumers, stop the timers, give the memory back."""
        self._gone = True
        self._expiry.close()
        if self._idle is not None:
            self._idle.close()
        if self._timeouts is not None:
            self._timeouts.close()
        self.purge()
        for entry in self._unacked:
            self._burial.forget(entry)
        self._unacked.clear()
        self._burial.close()
        for consumer in self._consumers.clear():
            consumer.cancelled()

    @property
    def _subject(self) -> str:
        return f"queue '{self.name}' in vhost '{self._surroundings.vhost}'"

    def _end(self) -> None:
        self._surroundings.gone(self.name)

    def _hand(self, entry: Entry, consumer: Consumer) -> None:
        if not consumer.no_ack:
            self._unacked.add(entry)
            if self._tracks:
                entry.consumer = consumer
            if self._timeouts is not None:
                self._timeouts.start(entry, consumer.timeout)
        consumer.deliver(entry)
        self._consumers.delivered(consumer)

    def _keep(self, entry: Entry) -> None:
        entry.size = entry.message.size
        self._memory.add(entry.size)

    def _put_back(self, entries: list[Entry]) -> None:
        self._ready.restore(entries)
        self._expiry.timed = self._expiry.timed or any(entry.due is not None for entry in entries)
        if self._limits is not None and self._limits.drops:
            self._shrink(self._limits)
        if self._tracks:
            self._hand_over()
        self.pump()

    def _take_back(self, entry: Entry) -> bool:
        if entry not in self._unacked:
            return False
        self._unacked.remove(entry)
        entry.consumer = None
        if self._timeouts is not None:
            self._timeouts.stop(entry)
        return True

    def _limit_time(self) -> None:
        self._timeouts = Timeouts(self._surroundings.scheduler, self.options.consumer_timeout, self._timed_out)
        self._tracks = True

    def _timed_out(self, entry: Entry) -> None:
        consumer = entry.consumer
        if consumer is not None and consumer in self._consumers:
            self.remove_consumer(consumer)
            consumer.cancelled()
        # The consumer still holds the entry; whatever it says of it later must not settle the next delivery.
        twin = copy(entry)
        self._unacked.remove(entry)
        self._unacked.add(twin)
        self.requeue([twin], failed=False)

    def _head_lives(self) -> bool:
        """Whether a message waits that has not expired; drops those before it that have."""
        head = self._ready.peek()
        if head is not None and head.due is not None and head.due <= self._surroundings.scheduler.now():
            self._expiry.run()
            head = self._ready.peek()
        return head is not None

    def _expired(self, entry: Entry) -> None:
        self._burial.bury(entry, EXPIRED)

    def _refuses(self, limits: Limits, entry: Entry) -> bool:
        message = entry.message
        # A quorum queue counts the properties too.
        entry.weight = len(message.body) + (len(message.header) - 12 if self.options.quorum else 0)
        count, weight = self._burial.held
        if self._retries is not None:
            count, weight = count + len(self._retries), weight + self._retries.bytes
        if not limits.refuses(entry.weight, count, weight):
            return False
        if limits.to_dead_letters:
            self._burial.bury_refused(message)
        return True

    def _shrink(self, limits: Limits) -> None:
        while limits.exceeded and self._ready.count:
            self._burial.bury(self._ready.pop(), MAXLEN)

    def _show_counts(self, entry: Entry) -> None:
        if entry.original is None:
            entry.original = entry.message
        entry.message = with_counts(entry.original, entry.acquired, entry.failures)

    def _hand_over(self) -> None:
        consumers = self._consumers
        if (
            isinstance(consumers, SingleActive)
            and consumers.handing_over
            and all(entry.consumer is not consumers.active for entry in self._unacked)
        ):
            consumers.hand_over()
            self.pump()

    def _due(self, message: Message) -> float:
        limits = [ttl for ttl in (self._ttl, message.ttl) if ttl is not None]
        return self._surroundings.scheduler.now() + min(limits) / 1000
