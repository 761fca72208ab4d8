"""The worker process: start, signals, end.

Owns the order in which a worker comes up and the meaning of its signals; the main thread belongs to this module and,
in the solo and asyncio pools, to user code.

    load tasks ─► assembly ─► I/O thread (connections, consumers) ─► main thread: signals, pool.run_main
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import amqtask
from amqtask import clock
from amqtask.broker.url import mask
from amqtask.execution.job import Kind
from amqtask.worker.assembly import Assembly, load_tasks
from amqtask.worker.banner import banner

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from amqtask.app.app import Amqtask
    from amqtask.worker.engine import Engine
    from amqtask.worker.options import WorkerOptions

logger = logging.getLogger("amqtask.worker")

_SAME_REQUEST = 0.5
"""Seconds in which a second signal is the same request: ``timeout`` and terminals signal process and group."""

_MAIN_GRACE = 0.5
"""Seconds the main thread has to come back from user code once everything else has ended."""


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
        on_ready: called on the I/O thread when every queue is consumed, at the start and after each reconnect.

    Attributes:
        engine: of this worker, once :meth:`run` has made it.
    """

    def __init__(self, app: Amqtask, options: WorkerOptions, on_ready: Callable[[], None] | None = None) -> None:
        self._app, self._options, self._on_ready = app, options, on_ready
        self.engine: Engine | None = None
        self._first_signal: float | None = None

    def run(self) -> int:
        """Run until a signal or a fatal error ends the worker; to be called on the main thread.

        SIGTERM and SIGINT end it warm: running tasks finish within the grace time, everything else goes back to its
        queue. A second one, or SIGQUIT, ends it cold: running tasks are stopped and their messages go back.

        Returns:
            The exit code: 0, or what a part of the worker has ended it with (75: it wants to be started again).

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
        if engine.shutdown.stopped:
            _leave(engine.exit_status)  # a thread that still runs a stopped task would keep the process alive
        return engine.exit_status

    def _run(self) -> Engine:
        load_tasks(self._app)
        self._print_banner()
        assembly = Assembly(self._app, self._options)
        engine = self.engine = assembly.engine
        engine.on_ready = self._on_ready
        main_free = threading.Event()
        io_thread = threading.Thread(target=self._run_engine, args=(engine, main_free), name="amqtask-io")
        io_thread.start()
        try:
            assembly.pool.run_main()
        finally:
            main_free.set()
            io_thread.join()
        assembly.close()
        return engine

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
            results=None if (results := self._app.settings.result_backend) is None else mask(results),
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
            len(engine.shutdown.stopped),
        )

    # -- signals ----------------------------------------------------------------------------------

    def _install_signals(self) -> dict[signal.Signals, Any]:
        handled = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT]
        return {number: signal.signal(number, self._on_signal) for number in handled}

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only hands over to the I/O thread: the interrupted code may hold any lock, the logging one included."""
        engine = self.engine
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
