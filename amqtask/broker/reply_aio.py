"""The reply queue on the connection of one event loop: declared before anything is published, consumed while needed.

Owns the channel for it and the waiting of coroutines. The line of :mod:`amqtask.broker.aio` owns the connection, and
asks here before it hands out a channel for publishing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.broker import codes, faults
from amqtask.broker.aio_faults import LOST, refusal
from amqtask.broker.cancelling import withdrawn
from amqtask.broker.declare import subject
from amqtask.broker.reply_queue import ACK_PAUSE, PREFETCH, PREPARING
from amqtask.errors import BrokerError, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from amqtask.broker.reply_box import ReplyWatch
    from amqtask.broker.reply_queue import ReplyQueue
    from amqtask.errors import AmqtaskError

    Connect = Callable[[], Awaitable[Any]]

log = logging.getLogger(__name__)

_PAUSE = 0.1
"""Seconds before a queue that was deleted, or a channel that was closed, is made again."""


class AioReplies:
    """See the module. Lives on its loop.

    Args:
        queue: the reply queue; its box gets the answers.
    """

    def __init__(self, queue: ReplyQueue) -> None:
        self._queue = queue
        self._channel: Any = None
        self._declared_until = 0.0
        self._receiving = self._wants_answers = self._ack_due = False
        self._taken = self._acked = 0
        self._acking = asyncio.Lock()
        self._error: AmqtaskError | None = None
        self._refused_on: object = None
        self._wakers: set[Callable[[], None]] = set()

    def due(self, connection: object) -> bool:
        """Is there anything to do on this connection before it is used?"""
        if not self._queue.wanted or self._refused_on is connection:
            return False
        if self._channel is None or self._channel.is_closed:
            return True
        if self._receiving:
            return False
        return self._wants_answers or clock.monotonic() >= self._declared_until

    async def prepare(self, connection: object, open_channel: Callable[[], Awaitable[Any]]) -> None:
        """Do it; the caller keeps others from doing the same. What the broker refuses is kept for who waits.

        Raises:
            LOST: the connection is gone.
        """
        try:
            if self._channel is None or self._channel.is_closed:
                await self._open(open_channel)
            step = self._queue.step
            await self._channel.queue_declare(step.name, durable=True, arguments=dict(step.arguments))
            self._declared_until = clock.monotonic() + self._queue.renew_after
            if self._wants_answers and not self._receiving:
                await self._channel.basic_qos(prefetch_count=PREFETCH)
                self._receiving = True  # answers may come before the broker's word that they do
                try:
                    await self._channel.basic_consume(step.name, self._deliver)
                except BaseException:  # who waits was cancelled, maybe before anything was sent
                    self._receiving = False
                    raise
            self._error = None
        except LOST as error:
            refused = refusal(error)
            if refused is None:
                raise
            code, text = refused
            if code == codes.NOT_FOUND:  # deleted between declaration and consumption
                return
            self._error = faults.declare_refused(code, text, f"the reply {subject(self._queue.step)}")
            self._refused_on = connection
            if not self._wakers:
                log.warning("No answers can come: %s", self._error)

    async def declare(self, connect: Connect) -> None:
        """Have the queue declared, connecting for that if need be; see :meth:`receive`.

        A broker that refuses or can't be reached is reported in the log: the task can run all the same, and whoever
        waits for its result is told then.
        """
        try:
            async with asyncio.timeout(PREPARING):
                await connect()
        except TimeoutError:
            log.warning("No answers can come: the reply queue could not be declared in %.0f s", PREPARING)
        except BrokerError as error:
            log.warning("No answers can come: %s", error)

    async def receive(self, watch: ReplyWatch, timeout: float | None, connect: Connect) -> None:  # noqa: ASYNC109 -- as the blocking one
        """Wait until the watch has news, or ``timeout`` seconds have passed.

        Args:
            watch: whose news.
            timeout: seconds; None waits for ever.
            connect: sees to it that there is a connection on which :meth:`prepare` was called.

        Raises:
            BrokerError, TopologyError: the broker refuses the connection, the queue or the consumer.
        """
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits in it any more
                loop.call_soon_threadsafe(woken.set)

        self._wants_answers = True
        self._refused_on = None  # try again, for who waits
        self._wakers.add(wake)
        watch.arm(wake)
        try:
            async with asyncio.timeout(timeout):
                while not watch.news:
                    await self._connected(connect)
                    await woken.wait()
                    woken.clear()
                    if not watch.news:
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            return
        finally:
            self._wakers.discard(wake)
            watch.disarm()
            await self._ack_at_once()

    async def look(self, enough: Callable[[], bool], timeout: float, connect: Connect) -> None:  # noqa: ASYNC109 -- see receive
        """Take in what is in the queue, until nothing is left there or ``enough`` says so.

        Raises:
            BrokerUnavailable: no answer from a broker in ``timeout`` seconds.
            BrokerError, TopologyError: the broker refuses the connection, the queue or the consumer.
        """
        self._wants_answers = True
        self._refused_on = None
        left: int | None = None
        try:
            async with asyncio.timeout(timeout):
                while left != 0 and not enough():
                    await self._connected(connect)
                    left = await self._count()
        except TimeoutError:
            message = f"RabbitMQ has not told within {timeout:g} s what answers there are"
            raise BrokerUnavailable(message) from None
        finally:
            await self._ack_at_once()

    async def _count(self) -> int | None:
        """Answers that are left in the queue; None when the channel is gone."""
        try:
            reply = await self._channel.queue_declare(self._queue.name, passive=True)
        except LOST:
            return None
        except asyncio.CancelledError:
            if not withdrawn():
                raise
            return None
        count: int = reply.message_count
        return count

    async def _connected(self, connect: Connect) -> None:
        while not self._receiving:
            await connect()
            if self._error is not None:
                raise self._error
            if not self._receiving:
                await asyncio.sleep(_PAUSE)

    async def _open(self, open_channel: Callable[[], Awaitable[Any]]) -> None:
        self._receiving, self._declared_until = False, 0.0
        self._channel = channel = await open_channel()
        self._taken = self._acked = 0
        channel.closing.add_done_callback(lambda _: self._gone(channel))
        channel.on_consumer_cancel_callbacks.add(lambda _frame: self._cancelled(channel))

    def _cancelled(self, channel: Any) -> None:
        log.warning(
            "The queue %s was deleted; it is made again. Answers that were in it or come meanwhile are lost",
            self._queue.name,
        )
        self._gone(channel)

    def _gone(self, channel: Any) -> None:
        if channel is self._channel:
            self._receiving, self._declared_until = False, 0.0
            for wake in list(self._wakers):
                wake()

    async def _deliver(self, message: Any) -> None:
        self._queue.take(message.header.properties, message.body)
        if message.channel is not self._channel:
            return
        self._taken = message.delivery.delivery_tag
        if (self._taken - self._acked) * 2 < PREFETCH:
            if self._ack_due:
                return
            self._ack_due = True
            try:
                await asyncio.sleep(ACK_PAUSE)
            finally:
                self._ack_due = False
        await self._ack()

    async def _ack(self) -> None:
        async with self._acking:  # two of them in the wrong order cost the channel
            channel, tag = self._channel, self._taken
            if tag > self._acked and not channel.is_closed:
                with contextlib.suppress(*LOST):
                    await channel.basic_ack(tag, multiple=True, wait=False)
                    if channel is self._channel:
                        self._acked = tag

    async def _ack_at_once(self) -> None:
        """Nobody waits any more, and the loop may end: what is not acknowledged would come again to the next one."""
        if not self._wakers and self._taken > self._acked:
            with contextlib.suppress(TimeoutError):  # the broker takes nothing just now
                async with asyncio.timeout(0):
                    await self._ack()
