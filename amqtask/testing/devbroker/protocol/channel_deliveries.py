"""Consuming on one channel. Owns delivery tags, what is not settled yet, and the limits on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pamqp.commands import Basic

from amqtask.testing.devbroker.engine.entry import Entry
from amqtask.testing.devbroker.engine.errors import precondition_failed
from amqtask.testing.devbroker.protocol import frames, replies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.testing.devbroker.engine import interface
    from amqtask.testing.devbroker.engine.arguments import ConsumerOptions
    from amqtask.testing.devbroker.engine.message import Message
    from amqtask.testing.devbroker.engine.queues import Queue
    from amqtask.testing.devbroker.protocol.session import Session


class Subscription:
    """A consumer of a channel.

    Attributes:
        limit: how many deliveries it may have unsettled; 0: any number.
        outstanding: how many it has.
    """

    __slots__ = (
        "_deliveries",
        "_exchange",
        "_place",
        "_prefix",
        "_routing_key",
        "exclusive",
        "limit",
        "no_ack",
        "outstanding",
        "priority",
        "queue",
        "tag",
        "timeout",
    )

    def __init__(
        self,
        deliveries: Deliveries,
        queue: Queue,
        tag: str,
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        options: ConsumerOptions,
    ) -> None:
        self._deliveries, self.queue, self.tag = deliveries, queue, tag
        self.no_ack, self.exclusive = no_ack, exclusive
        self.priority, self.timeout = options.priority, options.timeout
        self.limit = 0 if no_ack else deliveries.prefetch
        self.outstanding = 0
        self._prefix = frames.deliver_prefix(tag)
        self._exchange = self._routing_key = ""
        self._place = frames.address("", "")

    @property
    def ready(self) -> bool:
        """Whether it takes a message now."""
        deliveries = self._deliveries
        return (self.outstanding < self.limit or not self.limit) and deliveries.open and deliveries.outbox.writable

    def deliver(self, entry: interface.Entry) -> None:
        """Send a message."""
        assert isinstance(entry, Entry)
        deliveries, message = self._deliveries, entry.message
        tag = deliveries.next_tag()
        if not self.no_ack:
            self.outstanding += 1
            deliveries.hold(tag, Unsettled(entry, self.queue, self))
        if message.routing_key != self._routing_key or message.exchange != self._exchange:
            self._exchange, self._routing_key = message.exchange, message.routing_key
            self._place = frames.address(self._exchange, self._routing_key)
        channel, outbox = deliveries.channel, deliveries.outbox
        outbox.send(frames.deliver(channel, self._prefix, tag, entry.redelivered, self._place))
        outbox.send(frames.content(channel, message.header, message.body, deliveries.frame_max))
        if deliveries.faults.armed:
            deliveries.delivered()

    def cancelled(self) -> None:
        """The queue is gone."""
        self._deliveries.lose(self)


class Unsettled(NamedTuple):
    """A delivery that the client has not settled yet."""

    entry: Entry
    queue: Queue
    subscription: Subscription | None
    """None when it was got, not delivered."""


class Deliveries:
    """The consuming half of a channel.

    Args:
        channel: the channel's number.
        session: the connection.
        on_cut: resets the connection, for the fault that does so after a delivery.

    Attributes:
        open: False from when the channel closes.
        prefetch: the limit that new consumers get.
        reply_address: where direct replies come in; None without such a consumer.
    """

    __slots__ = (
        "_consumers",
        "_on_cut",
        "_reply_tag",
        "_session",
        "_tag",
        "_unsettled",
        "channel",
        "faults",
        "frame_max",
        "open",
        "outbox",
        "prefetch",
        "reply_address",
    )

    def __init__(self, channel: int, session: Session, on_cut: Callable[[], None]) -> None:
        self.channel, self._session, self._on_cut = channel, session, on_cut
        self.outbox, self.frame_max, self.faults = session.outbox, session.frame_max, session.state.faults
        self.open = True
        self.prefetch = self._tag = 0
        self._consumers: dict[str, Subscription] = {}
        self._unsettled: dict[int, Unsettled] = {}
        self.reply_address: str | None = None
        self._reply_tag: str | None = None

    # --- consumers ---

    def knows(self, tag: str) -> bool:
        """Whether there is a consumer of that name."""
        return tag in self._consumers or tag == self._reply_tag

    def subscribe(self, subscription: Subscription, answer: Callable[[], None]) -> None:
        """Add a consumer; ``answer`` is called before it gets its first message.

        Raises:
            ChannelFault: 403, somebody consumes exclusively.
        """
        outbox = self.outbox
        writable, outbox.writable = outbox.writable, False
        try:
            subscription.queue.add_consumer(subscription)
        finally:
            outbox.writable = writable
        self._consumers[subscription.tag] = subscription
        answer()
        subscription.queue.pump()

    def subscribe_to_replies(self, tag: str) -> None:
        """Add a consumer of direct replies."""
        self._reply_tag, self.reply_address = tag, replies.new_address()
        self._session.state.replies[self.reply_address] = self._reply

    def cancel(self, tag: str) -> None:
        """Take a consumer out; nothing happens when there is none."""
        if tag == self._reply_tag:
            self._drop_replies()
        elif (subscription := self._consumers.pop(tag, None)) is not None:
            subscription.queue.remove_consumer(subscription)

    def lose(self, subscription: Subscription) -> None:
        """A consumer's queue is gone: forget it and tell the client, if it wants to know."""
        if self._consumers.pop(subscription.tag, None) is not None and self._session.can("consumer_cancel_notify"):
            self.outbox.send(frames.method(self.channel, Basic.Cancel(subscription.tag, nowait=True)))

    def pump(self) -> None:
        """Let the consumers have what waits for them."""
        for queue in {subscription.queue: None for subscription in self._consumers.values()}:
            queue.pump()

    # --- deliveries ---

    def next_tag(self) -> int:
        """The tag of a delivery."""
        self._tag += 1
        return self._tag

    def hold(self, tag: int, delivery: Unsettled) -> None:
        """A delivery is to be settled by the client."""
        self._unsettled[tag] = delivery

    def delivered(self) -> None:
        """Commit the fault that waits for a number of deliveries."""
        if self.faults.last("cut", self._session.vhost.name):
            self.outbox.stop()
            self._on_cut()

    def get(self, queue: Queue, no_ack: bool) -> bool:
        """Send one message; False when there is none."""
        got = queue.get(no_ack)
        if got is None:
            return False
        entry, left = got
        message, tag = entry.message, self.next_tag()
        if not no_ack:
            self.hold(tag, Unsettled(entry, queue, None))
        place = frames.address(message.exchange, message.routing_key)
        self.outbox.send(frames.get_ok(self.channel, tag, entry.redelivered, place, left))
        self.outbox.send(frames.content(self.channel, message.header, message.body, self.frame_max))
        if self.faults.armed:
            self.delivered()
        return True

    def ack(self, tag: int, multiple: bool) -> None:
        """Settle as done.

        Raises:
            ChannelFault: 406, no such delivery is unsettled.
        """
        for delivery in self._take(tag, multiple):
            opened = _give_credit(delivery)
            queue = delivery.queue
            if self.faults.armed and self.faults.comes_back(delivery.entry, queue.name, self._session.vhost.name):
                queue.requeue([delivery.entry], failed=True)  # as if the connection had been lost before the ack
            else:
                queue.ack(delivery.entry)
            if opened:
                delivery.queue.pump()

    def reject(self, tag: int, multiple: bool, *, failed: bool) -> None:
        """Settle as refused for good; ``failed`` counts as a failed delivery.

        Raises:
            ChannelFault: 406, no such delivery is unsettled.
        """
        for delivery in self._take(tag, multiple):
            opened = _give_credit(delivery)
            delivery.queue.reject(delivery.entry, failed=failed)
            if opened:
                delivery.queue.pump()

    def requeue(self, tag: int, multiple: bool, *, failed: bool) -> None:
        """Give back to the queue; ``failed`` counts to its delivery limit.

        Raises:
            ChannelFault: 406, no such delivery is unsettled.
        """
        self._give_back(self._take(tag, multiple), failed=failed)

    def recover(self) -> None:
        """Give everything back that is unsettled."""
        everything = list(self._unsettled.values())
        self._unsettled.clear()
        self._give_back(everything, failed=False)

    # --- the end ---

    # In three steps, each of which is to be done on every channel that closes before the next: a message that goes
    # back must not come to another of them, and whoever takes over, as the next single active consumer, must find the
    # messages in their old places.

    def stop(self) -> None:
        """Take nothing more."""
        self.open = False

    def give_back(self) -> None:
        """Return what is unsettled to its queues."""
        everything = list(self._unsettled.values())
        self._unsettled.clear()
        for queue, entries in _by_queue(everything):
            queue.requeue(entries, failed=True)

    def leave(self) -> None:
        """Leave all queues."""
        consumers = list(self._consumers.values())
        self._consumers.clear()
        for subscription in consumers:
            subscription.queue.remove_consumer(subscription)
        self._drop_replies()

    def _take(self, tag: int, multiple: bool) -> Iterable[Unsettled]:
        unsettled = self._unsettled
        if not multiple:
            found = unsettled.pop(tag, None)
            if found is not None:
                return (found,)
        elif tag == 0:
            everything = list(unsettled.values())
            unsettled.clear()
            return everything
        elif tag in unsettled:
            tags = []
            for number in unsettled:
                if number > tag:
                    break
                tags.append(number)
            return [unsettled.pop(number) for number in tags]
        raise precondition_failed(f"unknown delivery tag {tag}")

    def _give_back(self, deliveries: Iterable[Unsettled], *, failed: bool) -> None:
        deliveries = list(deliveries)
        opened = [delivery for delivery in deliveries if _give_credit(delivery)]
        for queue, entries in _by_queue(deliveries):
            queue.requeue(entries, failed=failed)
        for delivery in opened:
            delivery.queue.pump()

    def _reply(self, message: Message) -> None:
        assert self._reply_tag is not None
        place = frames.address("", message.routing_key)
        prefix = frames.deliver_prefix(self._reply_tag)
        self.outbox.send(frames.deliver(self.channel, prefix, self.next_tag(), False, place))
        self.outbox.send(frames.content(self.channel, message.header, message.body, self.frame_max))

    def _drop_replies(self) -> None:
        if self.reply_address is not None:
            self._session.state.replies.pop(self.reply_address, None)
        self.reply_address = self._reply_tag = None


def _give_credit(delivery: Unsettled) -> bool:
    """Count a delivery as settled; True when its consumer may get more by that."""
    subscription = delivery.subscription
    if subscription is None:
        return False
    full = subscription.outstanding == subscription.limit
    subscription.outstanding -= 1
    return full


def _by_queue(deliveries: Iterable[Unsettled]) -> list[tuple[Queue, list[Entry]]]:
    sorted_: dict[Queue, list[Entry]] = {}
    for delivery in deliveries:
        sorted_.setdefault(delivery.queue, []).append(delivery.entry)
    return list(sorted_.items())
