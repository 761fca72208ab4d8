"""The worker process: start, signals, end.

Owns the order in which a worker comes up and the meaning of its signals; the main thread belongs to this module and,
in the solo and asyncio pools, to user code. Start order matters: the fork server is forked while there is one thread
and no connection.

    load tasks ─► pool.prepare ─► I/O thread (connections, consumers) ─► main thread: signals, pool.run_main
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn, cast

import amqtask
from amqtask import clock
from amqtask.broker.pika_driver import new_loop
from amqtask.errors import AmqtaskError, ConfigError
from amqtask.worker.banner import banner
from amqtask.worker.engine import Engine
from amqtask.worker.job import Kind
from amqtask.worker.pools.base import PoolHost, pools

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import FrameType

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Loop, PublishDone
    from amqtask.wire.message import Outgoing
    from amqtask.worker.job import Outcome
    from amqtask.worker.options import WorkerOptions

logger = logging.getLogger("amqtask.worker")

_SAME_REQUEST = 0.5
"""Seconds in which a second signal is the same request: ``timeout`` and terminals signal process and group."""

_MAIN_GRACE = 0.5
"""Seconds the main thread has to come back from user code once everything else has ended."""

NO_LOOP = cast("Loop", None)
"""Stands in a :class:`PoolHost` until its loop exists."""


def _leave(status: int = 0) -> NoReturn:
    """End the process without waiting for threads in user code; their messages went back to the broker."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


class Worker:
    """One worker process.

    Args:
        app: the application; its tasks are imported by :meth:`run`.
        options: see :class:`~amqtask.worker.options.WorkerOptions`.
    """

    def __init__(self, app: Amqtask, options: WorkerOptions) -> None:
        self._app, self._options = app, options
        self._engine: Engine | None = None
        self._first_signal: float | None = None

    def run(self) -> int:
        """Run until a signal or a fatal error ends the worker; to be called on the main thread.

        SIGTERM and SIGINT end it warm: running tasks finish within the grace time, everything else goes back to its
        queue. A second one, or SIGQUIT, ends it cold: running tasks are stopped and their messages go back.

        Returns:
            The exit code: 0.

        Raises:
            ConfigError, TopologyError, AccessRefused, BrokerError: why the worker can't consume.
        """
        previous = self._install_signals()
        try:
            engine = self._run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        self._report(engine)
        if engine.failure is not None:
            raise engine.failure
        if engine.shutdown.returned:
            _leave()  # a thread that still runs a stopped task would keep the process alive
        return 0

    def _run(self) -> Engine:
        self._app.load_tasks()
        if not self._app.tasks:
            raise ConfigError(f"app {self._app.main!r} has no tasks; name the modules that define them in 'include'")
        self._print_banner()
        host = self._new_host()
        pool = pools.get(self._options.pool)(host)
        pool.prepare()
        loop = host.loop = new_loop()
        engine = self._engine = Engine(self._app, self._options, loop, pool)
        main_free = threading.Event()
        io_thread = threading.Thread(target=self._run_engine, args=(engine, main_free), name="amqtask-io")
        io_thread.start()
        try:
            pool.run_main()
        finally:
            main_free.set()
            io_thread.join()
        loop.close()
        return engine

    def _new_host(self) -> PoolHost:
        return PoolHost(
            app=self._app,
            hostname=self._options.hostname,
            concurrency=self._options.concurrency,
            loop=NO_LOOP,  # made after prepare(): a fork must not inherit it
            done=self._done,
            lost=self._lost,
            publish=self._publish,
            log_results=logging.getLogger("amqtask.task").isEnabledFor(logging.INFO),
            fair=self._options.fair,
            failed=self._pool_failed,
        )

    def _run_engine(self, engine: Engine, main_free: threading.Event) -> None:
        engine.run()
        if not main_free.wait(_MAIN_GRACE):
            self._report(engine)
            _leave(0 if engine.failure is None else 1)  # the main thread is in user code that does not return

    def _print_banner(self) -> None:
        if self._options.quiet or self._options.logformat == "json":
            return
        text = banner(
            self._options,
            app=self._app.main,
            version=amqtask.__version__,
            broker=[str(url) for url in self._app.broker_urls],
            tasks=self._app.tasks,
        )
        print(text, flush=True)  # noqa: T201 -- the banner is this command's output

    def _report(self, engine: Engine) -> None:
        counts = engine.custody.counts
        logger.info(
            "%s stopped: %d received, %d succeeded, %d retried, %d dead-lettered, %d handed back",
            self._options.hostname,
            counts.received,
            counts.ended.get(Kind.SUCCESS, 0),
            counts.ended.get(Kind.RETRY, 0),
            counts.dead,
            engine.shutdown.returned,
        )

    # -- signals ----------------------------------------------------------------------------------

    def _install_signals(self) -> dict[signal.Signals, Any]:
        handled = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
        return {number: signal.signal(number, self._on_signal) for number in handled}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only hands over to the I/O thread: the interrupted code may hold any lock, the logging one included."""
        engine = self._engine
        if engine is None:
            raise SystemExit(0)  # nothing has been received yet
        now = clock.monotonic()
        if self._first_signal is None:
            self._first_signal = now
        cold = number == signal.SIGQUIT or now - self._first_signal > _SAME_REQUEST
        name = signal.Signals(number).name

        def stop() -> None:
            logger.warning("%s: %s shutdown", name, "cold" if cold else "warm")
            if cold:
                engine.shutdown.cold()
            else:
                engine.shutdown.warm()

        engine.call_soon(stop)

    # -- what the pool reports --------------------------------------------------------------------

    def _done(self, outcomes: Iterable[Outcome]) -> None:
        if self._engine is not None:
            self._engine.custody.done(outcomes)

    def _lost(self, blamed: Sequence[int], innocent: Sequence[int], reason: str) -> None:
        if self._engine is not None:
            self._engine.custody.lost(blamed, innocent, reason)

    def _publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        if self._engine is not None:
            self._engine.outbox.publish(message, timeout, done)

    def _pool_failed(self, reason: str) -> None:
        if self._engine is not None:
            self._engine.fail(AmqtaskError(f"the pool can't go on: {reason}"))
