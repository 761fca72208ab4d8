"""Confirmed publishing from coroutines, in the caller's own event loop.

The only module that imports aio-pika; :mod:`amqtask.broker.aio_faults` reads its exceptions. Owns one connection per
event loop, made when first needed and closed when the loop ends. Failover, size checks and error texts are those of
the blocking side.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aio_pika
from aiormq import exceptions, spec

from amqtask import clock
from amqtask.broker import faults
from amqtask.broker.aio_faults import (
    CONNECT_ERRORS,
    LOST,
    check_culprit,
    check_fate,
    code_and_text,
    connect_error,
)
from amqtask.broker.aio_steps import declare_step, plain
from amqtask.broker.aio_turns import Turns
from amqtask.broker.cancelling import cancels, check_cancelled, quietly, withdrawn
from amqtask.broker.content import FRAME_MAX, seal
from amqtask.broker.declare import DECLARE_TIMEOUT, is_tolerable, subject
from amqtask.broker.fork_lock import ForkLock
from amqtask.broker.reconnect import CALLER_WAIT, ReconnectPolicy
from amqtask.broker.reply_aio import AioReplies
from amqtask.broker.tls import tls_context
from amqtask.broker.version import read_version
from amqtask.errors import (
    AccessRefused,
    BrokerBlocked,
    BrokerError,
    BrokerUnavailable,
    DevBrokerGone,
    PublishTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import ConnectionOptions, Layout
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.reply_box import ReplyWatch
    from amqtask.broker.reply_queue import ReplyQueue
    from amqtask.broker.url import BrokerURL
    from amqtask.topology.declarations import Step
    from amqtask.wire.message import Outgoing, Properties

_IN_FLIGHT = 500
"""Most messages on their way at once per loop; further ones wait their turn."""

for _name in ("aiormq", "aio_pika"):
    # they log every lost connection with a traceback, although the loss is handled here
    if (_log := logging.getLogger(_name)).level == logging.NOTSET:
        _log.setLevel(logging.CRITICAL)


class AioTransport:
    """The awaiting half of :class:`amqtask.broker.interface.Transport`.

    May be used from several event loops, each in its thread; each gets a connection of its own. A child of a fork
    runs another loop, so it never touches its parent's.

    Args:
        urls: brokers, for failover.
        options: of the connections.
        strategy: order of failover.
    """

    def __init__(
        self,
        urls: Sequence[BrokerURL],
        options: ConnectionOptions,
        *,
        strategy: FailoverStrategy = "round-robin",
    ) -> None:
        self._urls, self._options, self._strategy = tuple(urls), options, strategy
        self._lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = weakref.WeakKeyDictionary()
        self._mutex = ForkLock()
        self.reply_queue: ReplyQueue | None = None
        """Where answers come to; to be set before anybody waits for one."""

    async def asend(self, message: Outgoing, *, timeout: float) -> None:  # noqa: ASYNC109 -- one deadline spans reconnects
        """Publish one message and await its confirm, without ever blocking the loop.

        Concurrent calls are pipelined, and wait for their turn for as long as the broker takes messages: the timeout
        counts from then on. For the guarantee and the errors see
        :meth:`amqtask.broker.sync.SyncTransport.send`. When cancelled, the message may or may not be sent.
        """
        seal(message, self._options, FRAME_MAX)  # only the checks: aio-pika encodes by itself
        await self._line().send(message, timeout)

    async def adeclare(self, layout: Layout) -> None:
        """Make the broker have what ``layout(version)`` lists, in order, without ever blocking the loop.

        Raises:
            InequivalentArguments: an object exists with other arguments.
            TopologyError: the broker refuses a step.
            BrokerError: no connection in time, or no permission.
        """
        await self._line().declare(layout)

    async def aprepare(self) -> None:
        """See :meth:`amqtask.broker.reply_aio.AioReplies.declare`; every send does so by itself."""
        line = self._line()
        if line.replies is not None:
            await line.replies.declare(line.ready_channel)

    async def receive(self, watch: ReplyWatch, timeout: float | None) -> None:  # noqa: ASYNC109 -- as the blocking one
        """See :meth:`amqtask.broker.reply_aio.AioReplies.receive`."""
        line = self._line()
        if line.replies is not None:
            await line.replies.receive(watch, timeout, line.ready_channel)

    async def look(self, enough: Callable[[], bool], timeout: float) -> None:  # noqa: ASYNC109 -- as the blocking one
        """See :meth:`amqtask.broker.reply_aio.AioReplies.look`."""
        line = self._line()
        if line.replies is not None:
            await line.replies.look(enough, timeout, line.ready_channel)

    async def aclose(self) -> None:
        """Close the connection of the running loop; a later send opens a new one."""
        with self._mutex:
            line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.close()

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        with self._mutex:
            line = self._lines.get(loop)
            if line is None:
                for other in [other for other in self._lines if other.is_closed()]:
                    del self._lines[other]  # its line refers to it, and would keep it for ever
                line = self._lines[loop] = _Line(self._urls, self._options, self._strategy)
            if line.replies is None and self.reply_queue is not None:
                line.replies = AioReplies(self.reply_queue)
            return line


class _Line:
    """The connection of one event loop, with one channel that everybody publishes on."""

    def __init__(self, urls: tuple[BrokerURL, ...], options: ConnectionOptions, strategy: FailoverStrategy) -> None:
        self._options = options
        self._policy = ReconnectPolicy(urls, strategy, maximum=CALLER_WAIT)
        self._connecting = asyncio.Lock()
        self._turns = Turns(_IN_FLIGHT)
        self._connection: Any = None
        self._channel: Any = None
        self._guard: asyncio.Task[None] | None = None
        self.replies: AioReplies | None = None

    # -- publishing -----------------------------------------------------------------------------------------------

    async def send(self, message: Outgoing, timeout: float) -> None:  # noqa: ASYNC109 -- see AioTransport.asend
        begun = written = alone = False
        try:
            async with self._turns.turn(timeout), asyncio.timeout(timeout):
                begun, deadline = True, clock.monotonic() + timeout
                while True:
                    channel = await self.ready_channel(alone)
                    written = True
                    try:
                        return await self._publish(channel, message, deadline)
                    except exceptions.ChannelClosed as error:
                        # whom it was closed for: named, or found by trying again with nobody else on the channel
                        alone = check_culprit(error, message, alone=alone)
                    except LOST:
                        await self._lost(channel)
                    finally:
                        if alone and channel is not self._channel:
                            await quietly(channel.close())
        except TimeoutError:
            raise self._late(timeout, begun=begun, written=written) from None

    async def _publish(self, channel: Any, message: Outgoing, deadline: float) -> None:
        await self._unblocked(deadline, written=False)
        task = asyncio.ensure_future(
            channel.basic_publish(
                message.body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                properties=_properties(message.properties),
                mandatory=True,
                wait=False,
            )
        )
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=self._options.blocked_timeout)
                if not task.done():
                    await self._unblocked(deadline, written=True)
        finally:
            task.cancel()
        if task.cancelled():
            raise exceptions.ChannelInvalidStateError  # the channel went, and took the confirm with it
        self._turns.moved()
        check_fate(task, message)

    async def _unblocked(self, deadline: float, *, written: bool) -> None:
        """Wait until the broker takes messages, at most ``blocked_timeout``."""
        if self._connection is None or self._connection.is_closed:
            return
        patience = 0.05 if written else min(self._options.blocked_timeout, deadline - clock.monotonic())
        try:
            async with asyncio.timeout(max(patience, 0.001)):
                await _underneath(self._connection).ready()
        except TimeoutError:
            stored = "it may be stored all the same" if written else "the message was not sent"
            raise BrokerBlocked(f"the broker blocks publishers (memory or disk alarm); {stored}") from None

    def _late(self, timeout: float, *, begun: bool, written: bool) -> BrokerError:
        if written:
            return PublishTimeout(
                f"no confirm from the broker within {timeout:g} s; the message may or may not be stored"
            )
        cause = self._error or "no connection to RabbitMQ yet"
        if not begun and self._error is None:
            cause = "not sent: the broker has confirmed none of the messages before it"
        return BrokerUnavailable(f"{cause}; gave up after {timeout:g} s")

    # -- declaring ------------------------------------------------------------------------------------------------

    async def declare(self, layout: Layout) -> None:
        step: Step | None = None
        try:
            async with asyncio.timeout(DECLARE_TIMEOUT):
                channel = await self.ready_channel(alone=True)
                version = read_version(_underneath(self._connection).server_properties)
                for step in layout(version):
                    try:
                        await declare_step(channel, step)
                    except exceptions.AMQPError as error:
                        if not is_tolerable(step, code_and_text(error)[0]):
                            raise
                        channel = await self.ready_channel(alone=True)
                await channel.close()
        except TimeoutError:
            raise self._late(DECLARE_TIMEOUT, begun=True, written=False) from None
        except exceptions.AMQPError as error:
            what = subject(step) if step is not None else "the topology"
            raise faults.declare_refused(*code_and_text(error), what) from None

    # -- the connection -------------------------------------------------------------------------------------------

    _error: BrokerError | None = None

    async def ready_channel(self, alone: bool = False) -> Any:
        """The common channel, or one for this caller alone; connects, by the policy, for as long as it takes."""
        async with self._connecting:
            while True:
                if self._connection is None or self._connection.is_closed:
                    await self._connect()
                try:
                    if self.replies is not None and self.replies.due(self._connection):
                        await self.replies.prepare(self._connection, self._open_reply_channel)
                    if alone:
                        return await self._open_channel()
                    if self._channel is None or self._channel.is_closed:
                        self._channel = await self._open_channel()
                    return self._channel
                except LOST as error:
                    self._error = BrokerUnavailable(f"no channel on the connection to RabbitMQ: {error!r}")
                    await self._drop()
                except asyncio.CancelledError:
                    if not withdrawn():
                        raise
                    await self._drop()

    async def _open_channel(self) -> Any:
        # aiormq's own channel: aio-pika's wraps every message in objects that nobody here needs
        return await _underneath(self._connection).channel(publisher_confirms=True, on_return_raises=True)

    async def _open_reply_channel(self) -> Any:
        return await _underneath(self._connection).channel(publisher_confirms=False)

    async def _connect(self) -> None:
        refused, before = 0, cancels()
        while True:
            check_cancelled(before)
            url, delay = self._policy.next(clock.monotonic())
            await asyncio.sleep(delay)
            try:
                self._connection = await _connect(url, self._options)
            except (AccessRefused, DevBrokerGone) as error:
                self._error = error
                refused += 1
                if refused >= len(self._policy.urls):
                    raise
            except BrokerError as error:
                self._error = error
            else:
                self._policy.succeeded(clock.monotonic())
                self._error = None
                self._channel = None
                self._guard = asyncio.create_task(_close_at_the_end(self._connection), name="amqtask-connection")
                check_cancelled(before)
                return

    async def _lost(self, channel: Any) -> None:
        if channel is self._channel:
            self._channel = None
        connection = self._connection
        if connection is not None and connection.is_closed:
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.cancel()  # closes the connection on its way out
            await quietly(guard)
        elif connection is not None:
            await quietly(connection.close())

    async def close(self) -> None:
        async with self._connecting:
            await self._drop()


def _underneath(connection: Any) -> Any:
    """Aiormq's connection below aio-pika's."""
    return connection.transport.connection


async def _close_at_the_end(connection: Any) -> None:
    """Wait to be cancelled, as every task is when its loop ends, then close in an orderly way."""
    # aiormq complains of an exception that nobody fetched when its connection is lost; this one fetches it
    _underneath(connection).closing.add_done_callback(lambda closing: closing.cancelled() or closing.exception())
    try:
        await connection.closed()
    finally:
        with contextlib.suppress(Exception):
            await connection.close()


class _Connection(aio_pika.Connection):
    """Aio-pika's without its destructor.

    Of an attempt that has failed, that would begin to close what was never open, in whatever thread the collector runs,
    and Python would complain of a coroutine that was never awaited.
    """

    def __del__(self) -> None:
        pass


async def _connect(url: BrokerURL, options: ConnectionOptions) -> Any:
    heartbeat = options.heartbeat if url.heartbeat is None else url.heartbeat
    timeout = url.connect_timeout or options.connect_timeout
    address = aio_pika.connection.make_url(
        host=url.host,
        port=url.port,
        login=url.user,
        password=url.password,
        virtualhost=url.vhost,
        ssl=url.tls,
    ).update_query(heartbeat=str(heartbeat), **({"auth": "EXTERNAL"} if url.external else {}))
    try:
        return await aio_pika.connect(
            address,
            ssl_context=tls_context(url, options),
            timeout=timeout,
            client_properties={"product": "amqtask", "connection_name": options.name},
            connection_class=_Connection,
        )
    except CONNECT_ERRORS as error:
        raise connect_error(url, error) from None


# -- translation ------------------------------------------------------------------------------------------------------


def _properties(properties: Properties) -> spec.Basic.Properties:
    fields: dict[str, Any] = {
        name: value for name, value in zip(properties._fields, properties, strict=True) if value is not None
    }
    if properties.headers is not None:
        fields["headers"] = plain(properties.headers)
    if properties.timestamp is not None:
        fields["timestamp"] = datetime.fromtimestamp(properties.timestamp, tz=UTC)
    fields["message_type"] = fields.pop("type", None)
    return spec.Basic.Properties(**fields)
