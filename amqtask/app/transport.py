"""The app's own way to the broker: pika for blocking calls, aio-pika for coroutines.

Owns the choice between the two; each is imported and connected when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.broker.fork_lock import ForkLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.broker.aio import AioTransport
    from amqtask.broker.interface import ConnectionOptions, Layout
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.reply_queue import ReplyQueue
    from amqtask.broker.reply_sync import SyncReplies
    from amqtask.broker.sync import SyncTransport
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import AmqtaskError
    from amqtask.wire.message import Outgoing


class BrokerTransport:
    """Implements :class:`~amqtask.broker.interface.Transport`; thread-safe.

    Args:
        urls: of the broker.
        options: of the connections.
        strategy: order of failover.
    """

    def __init__(self, urls: Sequence[BrokerURL], options: ConnectionOptions, strategy: FailoverStrategy) -> None:
        self._urls, self._options, self._strategy = tuple(urls), options, strategy
        self._lock = ForkLock()
        self._blocking: SyncTransport | None = None
        self._awaiting: AioTransport | None = None
        self._reply_queue: ReplyQueue | None = None
        self._replies: SyncReplies | None = None

    def receive_on(self, queue: ReplyQueue) -> None:
        """Answers come to this queue, once; from now on whatever is sent declares it first."""
        with self._lock:
            self._reply_queue = queue
            if self._blocking is not None:
                self._replies = _make_replies(self._blocking, queue)
            if self._awaiting is not None:
                self._awaiting.reply_queue = queue

    @property
    def replies(self) -> SyncReplies:
        """The reply queue for blocking callers; there has to be one."""
        assert self._sync is not None
        assert self._replies is not None
        return self._replies

    @property
    def receiving(self) -> bool:
        """Do answers come to the connection of blocking callers?"""
        return self._replies is not None and self._replies.receiving

    def send(self, message: Outgoing, *, timeout: float) -> None:
        """See :meth:`Transport.send <amqtask.broker.interface.Transport.send>`."""
        self._sync.send(message, timeout=timeout)

    def send_many(self, messages: Sequence[Outgoing], *, timeout: float) -> dict[int, AmqtaskError]:
        """See :meth:`Transport.send_many <amqtask.broker.interface.Transport.send_many>`."""
        return self._sync.send_many(messages, timeout=timeout)

    async def asend(self, message: Outgoing, *, timeout: float) -> None:  # noqa: ASYNC109 -- one deadline spans reconnects
        """See :meth:`Transport.asend <amqtask.broker.interface.Transport.asend>`."""
        await self.aio.asend(message, timeout=timeout)

    def declare(self, layout: Layout) -> None:
        """See :meth:`Transport.declare <amqtask.broker.interface.Transport.declare>`."""
        self._sync.declare(layout)

    async def adeclare(self, layout: Layout) -> None:
        """See :meth:`Transport.adeclare <amqtask.broker.interface.Transport.adeclare>`."""
        await self.aio.adeclare(layout)

    def close(self) -> None:
        """Close what was opened for blocking calls; a later send opens it again. See also :meth:`aclose`."""
        if self._blocking is not None:
            self._blocking.close()

    async def aclose(self) -> None:
        """Close what was opened for coroutines; to be awaited in their loop."""
        if self._awaiting is not None:
            await self._awaiting.aclose()

    @property
    def _sync(self) -> SyncTransport:
        if self._blocking is None:
            from amqtask.broker.sync import SyncTransport  # noqa: PLC0415 -- loads pika

            with self._lock:
                if self._blocking is None:
                    made = SyncTransport(self._urls, self._options, strategy=self._strategy)
                    if self._reply_queue is not None:
                        self._replies = _make_replies(made, self._reply_queue)
                    self._blocking = made
        return self._blocking

    @property
    def aio(self) -> AioTransport:
        """What serves coroutines."""
        if self._awaiting is None:
            from amqtask.broker.aio import AioTransport  # noqa: PLC0415 -- loads aio-pika

            with self._lock:
                if self._awaiting is None:
                    made = AioTransport(self._urls, self._options, strategy=self._strategy)
                    made.reply_queue = self._reply_queue
                    self._awaiting = made
        return self._awaiting


def _make_replies(transport: SyncTransport, queue: ReplyQueue) -> SyncReplies:
    from amqtask.broker.reply_sync import SyncReplies  # noqa: PLC0415 -- only for apps whose answers are messages

    return SyncReplies(transport, queue)
