"""``delay()`` and states inside a running task: through the worker's own connection, and its own way to the backend.

Owns what all pools share: waiting for confirms and windows. How a message reaches the I/O thread is up to the
subclass: :class:`HopTransport` for user code in the worker's process, the prefork child's for a pipe.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from amqtask.errors import AmqtaskError
from amqtask.worker.pools._inbox import Inbox

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import Layout, PublishDone
    from amqtask.execution.job import Begin
    from amqtask.results.base import Record
    from amqtask.wire.message import Outgoing
    from amqtask.worker.pools.base import PoolHost

    Post = tuple[Outgoing, float, PublishDone]

_WINDOW = 500
"""Unconfirmed messages of one send_many()."""


class InnerTransport(ABC):
    """The :class:`~amqtask.broker.interface.Transport` that user code gets inside a worker.

    Thread-safe, but not for the I/O thread itself, which would wait for its own work. The worker's publisher keeps
    every deadline and declares what is missing, so nothing is declared here.
    """

    @abstractmethod
    def store(self, records: Sequence[Record]) -> None:
        """Store states of the task that calls this: soon, in order, and before its result. Does not wait."""

    @abstractmethod
    def begin(self, chords: Sequence[Begin], key: str) -> None:
        """Have the worker begin chords, and wait until whoever counts knows them.

        Args:
            chords: to begin.
            key: the same when a task does this again because its message came again.
        """

    def flush_states(self) -> None:  # noqa: B027 -- nothing, where states and outcomes take one way
        """On the I/O thread: hand over the states that have come from other threads."""

    @abstractmethod
    def _exchange(self, messages: Sequence[Outgoing], timeout: float) -> list[Exception | None]:
        """Publish all and wait; the fate of each."""

    def send(self, message: Outgoing, *, timeout: float) -> None:
        """Publish one message and wait for its confirm; raises as a Transport does."""
        error = self._exchange([message], timeout)[0]
        if error is not None:
            raise error

    def send_many(self, messages: Sequence[Outgoing], *, timeout: float) -> dict[int, AmqtaskError]:
        """Publish in windows of 500; returns index -> error of those that failed."""
        failed: dict[int, AmqtaskError] = {}
        for start in range(0, len(messages), _WINDOW):
            fates = self._exchange(messages[start : start + _WINDOW], timeout)
            for index, error in enumerate(fates, start):
                if isinstance(error, AmqtaskError):
                    failed[index] = error
                elif error is not None:
                    raise error
        return failed

    async def asend(self, message: Outgoing, *, timeout: float) -> None:  # noqa: ASYNC109 -- one deadline spans reconnects
        """Like :meth:`send`, awaiting; the wait itself sits in a thread."""
        await _running_loop().run_in_executor(None, lambda: self.send(message, timeout=timeout))

    def declare(self, layout: Layout) -> None:  # noqa: B027 -- nothing, in every subclass
        """Nothing: the worker declares what a publish finds missing."""

    async def adeclare(self, layout: Layout) -> None:  # noqa: B027
        """Nothing, see :meth:`declare`."""

    def close(self) -> None:  # noqa: B027
        """Nothing: the connection is the worker's."""


class States:
    """What an executor reports the states of running tasks to. The transport comes later than the executor."""

    def __init__(self) -> None:
        self._transport: InnerTransport | None = None

    def go_through(self, transport: InnerTransport) -> None:
        """Use this transport, from the first task on."""
        self._transport = transport

    def __call__(self, records: Sequence[Record]) -> None:
        """Store states soon; see :meth:`InnerTransport.store`."""
        if self._transport is not None:
            self._transport.store(records)

    def flush(self) -> None:
        """On the I/O thread, when outcomes have come: their states go first."""
        if self._transport is not None:
            self._transport.flush_states()


class HopTransport(InnerTransport):
    """Hands messages to the I/O thread of this very process.

    Args:
        host: of the pool.
        tell: calls what ends the wait of user code, where that may be done.
    """

    def __init__(self, host: PoolHost, tell: Callable[[Callable[[], object]], None]) -> None:
        self._host, self._tell = host, tell
        self._posts: Inbox[Post] = Inbox(host.loop, self._publish)
        self._records: Inbox[Record] = Inbox(host.loop, host.store)

    def store(self, records: Sequence[Record]) -> None:
        """Hand states to the I/O thread, before the outcome of the task."""
        self._records.put_all(records)

    def begin(self, chords: Sequence[Begin], key: str) -> None:
        """Ask the I/O thread, and wait."""
        begun = threading.Event()
        self._host.loop.call_soon_threadsafe(lambda: self._host.begin(chords, key, lambda: self._tell(begun.set)))
        begun.wait()

    def flush_states(self) -> None:
        """Hand over the states that have come from other threads."""
        self._records.flush()

    def _exchange(self, messages: Sequence[Outgoing], timeout: float) -> list[Exception | None]:
        fates: list[Exception | None] = [None] * len(messages)
        left = len(messages)
        finished = threading.Event()

        def settle(index: int) -> PublishDone:
            def done(error: Exception | None) -> None:
                nonlocal left
                fates[index] = error
                left -= 1  # on the I/O thread only
                if not left:
                    self._tell(finished.set)

            return done

        self._posts.put_all((message, timeout, settle(index)) for index, message in enumerate(messages))
        if messages:
            finished.wait()
        return fates

    async def asend(self, message: Outgoing, *, timeout: float) -> None:  # noqa: ASYNC109 -- one deadline spans reconnects
        """Like :meth:`send`, awaiting a future of the running loop."""
        loop = _running_loop()
        confirmed: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if not confirmed.done():
                confirmed.set_result(None) if error is None else confirmed.set_exception(error)

        self._posts.put((message, timeout, lambda error: _call_on(loop, lambda: settle(error))))
        await confirmed

    def _publish(self, posts: list[Post]) -> None:
        for message, timeout, done in posts:
            self._host.publish(message, timeout, done)


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 -- megabytes that a worker without async tasks does without

    return asyncio.get_running_loop()


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        return  # the loop of a task that was cancelled is closed; nobody waits any more
