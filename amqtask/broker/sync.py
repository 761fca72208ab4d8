"""Blocking, confirmed publishing from any number of threads over one connection per process.

Owns the connection's life in a producer's process: made when first needed, driven by the threads that wait
(:mod:`amqtask.broker.shared_loop`), kept alive by a small thread while nobody does, given up in the child of a fork,
closed at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from amqtask.broker.content import FRAME_MAX, seal
from amqtask.broker.pika_driver import new_loop
from amqtask.broker.publisher import Publisher
from amqtask.broker.shared_loop import LoopBrokenError, SharedLoop
from amqtask.errors import AccessRefused, AmqtaskError, BrokerUnavailable, PublishTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.broker.interface import ConnectionOptions, Layout
    from amqtask.broker.reconnect import FailoverStrategy
    from amqtask.broker.url import BrokerURL
    from amqtask.errors import BrokerError, EncodeError
    from amqtask.wire.message import Outgoing

T = TypeVar("T")

log = logging.getLogger(__name__)

_DEFAULT_KEEPING = 20.0
"""Seconds between the keeper's looks when heartbeats are off: still notices a broker that hung up."""


class _Engine:
    """A loop with its publisher; thrown away as a whole when it breaks, closes, or is inherited by a fork.

    ``closing`` belongs to the loop, as the publisher does: work that comes later needs another engine.
    """

    def __init__(self, urls: Sequence[BrokerURL], options: ConnectionOptions, strategy: FailoverStrategy) -> None:
        loop = new_loop()
        self.shared = SharedLoop(loop)
        self.publisher = Publisher(loop, urls, options, strategy=strategy, lazy=True)
        self.closing = False


class _Work(Generic[T]):
    """Something for an engine's publisher to do, unless the engine is closing by then."""

    def __init__(self, engine: _Engine, begin: Callable[[Publisher, Callable[[T], None]], None]) -> None:
        self._engine, self._begin = engine, begin
        self.begun = False

    def begin(self, finish: Callable[[Any], None]) -> None:
        """See :meth:`SharedLoop.run`."""
        if self._engine.closing:
            finish(None)
        else:
            self.begun = True
            self._begin(self._engine.publisher, finish)


class SyncTransport:
    """The blocking half of :class:`amqtask.broker.interface.Transport`. Thread-safe and fork-safe.

    Connects on first use. After a fork the child has a connection of its own, and the parent's is not disturbed.

    Args:
        urls: brokers, for failover.
        options: of the connection.
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
        self._mutex = threading.RLock()
        self._engine: _Engine | None = None
        self._keeper: threading.Event | None = None
        self.before_sending: Callable[[], None] | None = None
        """Called before each :meth:`send` and :meth:`send_many`, in the caller's thread."""
        self.before_exit: Callable[[], None] | None = None
        """Called when the process ends, before the connection is closed."""
        _transports.add(self)

    def send(self, message: Outgoing, *, timeout: float) -> None:
        """Publish one message and wait for its confirm.

        Returning means that the broker has stored it and that at least one queue has it. A lost connection is made
        again and the message sent again, within ``timeout`` seconds: it may then exist twice, under one id.

        Raises:
            PublishError: Unroutable, PublishTimeout, BrokerBlocked, QueueFull or MessageTooLarge.
            EncodeError: a header or property that AMQP can't carry; nothing was sent.
            BrokerUnavailable: no connection in ``timeout`` seconds; the message was never sent.
            AccessRefused: the broker does not let us in.
        """
        header = seal(message, self._options, FRAME_MAX)
        if self.before_sending is not None:
            self.before_sending()

        def begin(publisher: Publisher, finish: Callable[[BrokerError | EncodeError | None], None]) -> None:
            publisher.publish_sealed(message, header, timeout, finish)

        error = self.run(begin)
        if error is not None:
            raise error

    def send_many(self, messages: Sequence[Outgoing], *, timeout: float) -> dict[int, AmqtaskError]:
        """Publish with pipelined confirms; returns index -> error of those that failed, in order.

        Args:
            messages: in the order in which they are to be sent.
            timeout: seconds without any progress after which the rest has failed; not for the whole batch.

        Raises:
            BrokerUnavailable, AccessRefused: no message was sent at all.
        """
        if not messages:
            return {}
        if self.before_sending is not None:
            self.before_sending()

        def begin(publisher: Publisher, finish: Callable[[dict[int, AmqtaskError]], None]) -> None:
            publisher.publish_many(messages, timeout, finish)

        errors = self.run(begin)
        if len(errors) == len(messages):
            first = errors[0]
            if isinstance(first, BrokerUnavailable | AccessRefused) and all(
                isinstance(error, type(first)) for error in errors.values()
            ):
                raise first
        return dict(sorted(errors.items()))

    def declare(self, layout: Layout) -> None:
        """Make the broker have what ``layout(version)`` lists, in order.

        Raises:
            InequivalentArguments: an object exists with other arguments.
            TopologyError: the broker refuses a step.
            BrokerError: no connection in time, or no permission.
        """

        def begin(publisher: Publisher, finish: Callable[[AmqtaskError | None], None]) -> None:
            publisher.declare(layout, finish)

        error = self.run(begin)
        if error is not None:
            raise error

    def close(self) -> None:
        """Close the connection after what others are sending is done; idempotent. A later send opens a new one."""
        with self._mutex:
            engine, self._engine = self._engine, None
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.set()
        if engine is None:
            return

        def begin(finish: Callable[[None], None]) -> None:
            engine.closing = True
            engine.publisher.stop(lambda: finish(None))

        try:
            with contextlib.suppress(LoopBrokenError):
                engine.shared.run(begin)
                engine.shared.close()
        finally:
            self._discard(engine)

    @property
    def publisher(self) -> Publisher | None:
        """The publisher in use, if any; only its thread-safe parts may be touched."""
        engine = self._engine
        return None if engine is None else engine.publisher

    def run(self, begin: Callable[[Publisher, Callable[[T], None]], None], *, repeatable: bool = False) -> T:
        """Have the publisher do something, and wait for its answer; on another engine when this one has just ended.

        Args:
            begin: called with the publisher and what is to be called with the answer, by whoever drives the loop.
            repeatable: begin again when the thread that drove the connection was interrupted in the middle.

        Raises:
            PublishTimeout: it was interrupted, and not ``repeatable``.
        """
        while True:
            engine = self._running()
            work = _Work(engine, begin)
            try:
                result: T = engine.shared.run(work.begin)
            except LoopBrokenError:
                self._discard(engine)
                if work.begun and not repeatable:
                    raise PublishTimeout(
                        "the thread that drove the connection was interrupted; the message may or may not be stored"
                    ) from None
            except BaseException:
                self._discard(engine)
                raise
            else:
                if work.begun:
                    return result

    # -- inside ---------------------------------------------------------------------------------------------------

    def _running(self) -> _Engine:
        engine = self._engine
        if engine is not None:
            return engine
        with self._mutex:
            if self._engine is None:
                self._engine = _Engine(self._urls, self._options, self._strategy)
                self._start_keeper()
            return self._engine

    def _discard(self, engine: _Engine) -> None:
        if not engine.shared.broken:
            return
        with self._mutex:
            if self._engine is engine:
                self._engine = None
        engine.publisher.release()

    def _start_keeper(self) -> None:
        if self._keeper is not None:
            return
        self._keeper = threading.Event()
        interval = self._options.heartbeat / 3 or _DEFAULT_KEEPING
        threading.Thread(
            target=_keep, args=(weakref.ref(self), self._keeper, interval), name="amqtask-keeper", daemon=True
        ).start()

    def keep(self) -> None:
        """Let the connection do what is due; what the keeper calls. Costs nothing while somebody sends."""
        engine = self._engine
        if engine is not None:
            try:
                engine.shared.keep()
            except Exception:
                log.exception("the connection broke while idle; the next message makes a new one")
                self._discard(engine)

    def forked(self) -> None:
        """In the child of a fork: forget everything that belongs to the parent."""
        engine, self._engine, self._keeper = self._engine, None, None
        self._mutex = threading.RLock()
        if engine is not None:
            engine.shared.loop.abandon()
            _inherited.append(engine)


def _keep(reference: weakref.ref[SyncTransport], stopped: threading.Event, interval: float) -> None:
    """The keeper thread: while nobody sends, answers heartbeats and notices a lost connection."""
    while not stopped.wait(interval):
        transport = reference()
        if transport is None:
            return
        transport.keep()
        del transport


_transports: weakref.WeakSet[SyncTransport] = weakref.WeakSet()

_inherited: list[_Engine] = []
"""Kept for ever: collecting them would run the finalizers of sockets that are the parent's."""


def _after_fork_in_child() -> None:
    for transport in list(_transports):
        transport.forked()


def _close_all() -> None:
    for transport in list(_transports):
        # at exit there is nobody left to tell
        with contextlib.suppress(Exception):
            if transport.before_exit is not None:
                transport.before_exit()
            transport.close()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_close_all)
