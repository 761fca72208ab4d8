"""Deliveries, and the state machine that settles each exactly once (sans I/O).

Owns which delivery tags of the current channel are unsettled, and turns finished ones into as few acks as possible:

    finished 1 2 3 . 5        ack(3, multiple)   5 waits: 4 is still running
    finished 4                ack(5, multiple)

What waits behind a gap is acked one by one as soon as it would hold up new deliveries (``hold``), or at the latest
when the caller's timer says so. A tag of an earlier epoch (channel) settles into nothing: the broker has already
put that message back, and :mod:`amqtask.worker.deliveries.recent` recognises it when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

    from amqtask.wire.message import PropertiesLike


class Delivery:
    """A message in this worker's custody, from basic.deliver until it is settled.

    ``name``, ``id`` and ``retries`` are None where the headers hold something else: any client may have written them.

    Mutable on purpose: when the broker delivers a message again whose first copy still runs here, the running
    delivery adopts the new epoch and tag. Lives on the I/O thread.
    """

    __slots__ = (
        "body", "early", "epoch", "exchange", "excused", "id", "identity", "key", "name", "priority", "properties",
        "queue", "redelivered", "retries", "routing_key", "since", "tag",
    )  # fmt: skip

    def __init__(
        self,
        key: int,
        epoch: int,
        tag: int,
        queue: str,
        exchange: str,
        routing_key: str,
        redelivered: bool,
        properties: PropertiesLike,
        body: bytes,
    ) -> None:
        headers = properties.headers or {}
        self.key, self.epoch, self.tag, self.queue = key, epoch, tag, queue
        self.exchange, self.routing_key, self.redelivered = exchange, routing_key, redelivered
        self.properties, self.body = properties, body
        self.priority = properties.priority or 0
        name, task_id, retries = headers.get("task"), headers.get("id"), headers.get("retries", 0)
        self.name = name if isinstance(name, str) else None
        self.id = task_id if isinstance(task_id, str) else None
        self.retries = retries if isinstance(retries, int) else None
        self.identity: Hashable = (
            object()
            if not properties.message_id and (self.id is None or self.retries is None)
            else (queue, properties.message_id, self.id, self.retries)
        )
        """Equal for two deliveries of one message. Every publish of ours has a message id of its own, but a fanout
        puts it into several queues. A message of a sender that sets none, or always the same, is told by id and
        retries, and whatever we make of it gets a message id. What can't be read is equal to nothing."""
        self.early = False
        """Acknowledged before execution (acks_late=False)."""
        self.excused = False
        """It comes again, and is not to be suspected for that."""
        self.since = 0.0
        """Monotonic time at which it was handed to the pool; 0 while it waits."""

    def __repr__(self) -> str:
        return f"<Delivery {self.name}[{self.id}] of {self.queue}, tag {self.tag} of epoch {self.epoch}>"


class Ack(NamedTuple):
    """A basic.ack to write."""

    tag: int
    multiple: bool


class Settlements:
    """The unsettled tags of one channel at a time. Not thread-safe; lives on the I/O thread.

    Invariant: each tag is acked or returned at most once, and only in its own epoch.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.stale = 0
        """Settlements that came too late for their epoch; a counter for reports."""
        self._unsettled: dict[int, None] = {}
        """Delivered and not yet written off; dicts keep the order of delivery, which is the order of tags."""
        self._finished: set[int] = set()

    def open(self) -> int:
        """A new channel: whatever was unsettled belongs to the broker again. Returns the new epoch."""
        self.epoch += 1
        self._unsettled.clear()
        self._finished.clear()
        return self.epoch

    def delivered(self, tag: int) -> None:
        """The broker handed us this tag on the current channel."""
        self._unsettled[tag] = None

    def finish(self, epoch: int, tag: int) -> bool:
        """The message may be acked with the next :meth:`acks`; False when its epoch is over."""
        if epoch != self.epoch or tag not in self._unsettled:
            self.stale += 1
            return False
        self._finished.add(tag)
        return True

    def give_back(self, epoch: int, tag: int) -> bool:
        """Forget a tag because the caller returns it (basic.nack) now; False when there is nothing to return."""
        if epoch != self.epoch or tag not in self._unsettled or tag in self._finished:
            self.stale += 1
            return False
        del self._unsettled[tag]
        return True

    @property
    def waiting(self) -> int:
        """Finished tags that are not acked yet."""
        return len(self._finished)

    def __len__(self) -> int:
        return len(self._unsettled)

    def acks(self, hold: int = 0) -> list[Ack]:
        """Acks to write now.

        Args:
            hold: how many finished tags may go on waiting behind a gap; more than that, and all are acked.
        """
        finished = self._finished
        if not finished:
            return []
        acks: list[Ack] = []
        run = self._contiguous()
        if run:
            acks.append(Ack(run[-1], len(run) > 1))
            for tag in run:
                del self._unsettled[tag]
            finished.difference_update(run)
        if len(finished) > hold:
            for tag in sorted(finished):
                acks.append(Ack(tag, False))
                del self._unsettled[tag]
            finished.clear()
        return acks

    def _contiguous(self) -> list[int]:
        run = []
        for tag in self._unsettled:
            if tag not in self._finished:
                break
            run.append(tag)
        return run
