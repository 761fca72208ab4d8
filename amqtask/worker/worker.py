"""The worker process: start, signals, end.

Owns the order in which a worker comes up and the meaning of its signals; the main thread belongs to this module and,
in the solo and asyncio pools, to user code.

    load tasks ─► assembly ─► I/O thread (connections, consumers) ─► main thread: signals, pool.run_main
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import amqtask
from amqtask import clock, unpatched
from amqtask.broker.url import mask
from amqtask.execution.job import Kind
from amqtask.worker.assembly import Assembly, load_tasks
from amqtask.worker.banner import banner
from amqtask.worker.process.stacks import stacks
from amqtask.worker.process.titles import set_title, title
from amqtask.worker.process.wakeup import SignalWakeup
from amqtask.worker.successor import Successor

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from amqtask.app.app import Amqtask
    from amqtask.worker.engine import Engine
    from amqtask.worker.options import WorkerOptions
    from amqtask.worker.successor import Launch

logger = logging.getLogger("amqtask.worker")

_SAME_REQUEST = 0.5
"""Seconds in which a second signal is the same request: ``timeout`` and terminals signal process and group."""

_MAIN_GRACE = 0.5
"""Seconds the main thread has to come back from user code once everything else has ended."""


def _nothing() -> None:
    """Nobody wants to know."""


class Worker:
    """One worker process.

    Args:
        app: the application; its tasks are imported by :meth:`run`.
        options: see :class:`~amqtask.worker.options.WorkerOptions`.
        on_ready: called on the I/O thread when every queue is consumed, at the start and after each reconnect.
        launch: how to start this program once more; None: it can't be replaced without a gap.

    Attributes:
        engine: of this worker, once :meth:`run` has made it.
        on_start: called once on the main thread: its tasks are loaded, its children are there.
        on_leave: called, in any thread, where the process ends at once although a thread is in user code.
        on_replaced: called on the I/O thread with the process id of the one that has taken over.
        on_stop: called in the handler of each signal that asks for an end; once replaced, of each for a restart too.
    """

    def __init__(
        self,
        app: Amqtask,
        options: WorkerOptions,
        on_ready: Callable[[], None] | None = None,
        launch: Launch | None = None,
    ) -> None:
        self._app, self._options, self._on_ready, self._launch = app, options, on_ready, launch
        self.engine: Engine | None = None
        self.on_start: Callable[[], None] = _nothing
        self.on_leave: Callable[[], None] = _nothing
        self.on_replaced: Callable[[int], None] = lambda _: None
        self.on_stop: Callable[[int], None] = lambda _: None
        self._replaced = False
        self._first_signal: float | None = None
        self._asked_to_stop: int | None = None

    def run(self) -> int:
        """Run until a signal or a fatal error ends the worker; to be called on the main thread.

        SIGTERM and SIGINT end it warm: running tasks finish within the grace time, everything else goes back to its
        queue. A second one, or SIGQUIT, ends it cold: running tasks are stopped and their messages go back. SIGHUP has
        a fresh process take over, unless it was ignored when this one was started (nohup); where stdout is a terminal,
        that hangs up and the worker ends warm. SIGUSR1 writes the stacks of this process and its children to the log.

        Returns:
            The exit code: 0, or what a part of the worker has ended it with (75: it wants to be started again).

        Raises:
            ConfigError, TopologyError, AccessRefused, BrokerError: why the worker can't consume.
        """
        previous = self._install_signals()
        try:
            engine = self._run()
        finally:
            if not self._replaced:  # else they are for the process that has taken over
                for number, handler in previous.items():
                    signal.signal(number, handler)
        self._report(engine)
        if engine.failure is not None:
            raise engine.failure
        if engine.shutdown.stopped:
            self._leave(engine.exit_status)  # a thread that still runs a stopped task would keep the process alive
        return engine.exit_status

    def _run(self) -> Engine:
        load_tasks(self._app)
        if self._options.beat:
            from amqtask.beat.embedded import check_beat  # noqa: PLC0415 -- workers without -B do without

            check_beat(self._app)
        self._print_banner()
        assembly = Assembly(self._app, self._options)
        engine = self.engine = assembly.engine
        engine.on_ready, engine.on_exit = self._on_ready, self.on_leave
        self._prepare_restart(engine)
        if self._asked_to_stop is not None:  # Python drops a SystemExit at a fork and in a finaliser
            self._on_stop(self._asked_to_stop, None)
        set_title(title(self._options.hostname, f"worker, {self._options.pool}"))
        self.on_start()
        wakeup = SignalWakeup(engine.loop)
        wakeup.install()
        main_free = unpatched.Bell()
        io_thread = assembly.pool.new_thread(target=self._run_engine, args=(engine, main_free), name="amqtask-io")
        io_thread.start()
        try:
            assembly.pool.run_main()
        finally:
            main_free.ring()
            io_thread.join()
            wakeup.remove()
        assembly.close()
        return engine

    def _run_engine(self, engine: Engine, main_free: unpatched.Bell) -> None:
        engine.run()
        if not main_free.wait(_MAIN_GRACE):
            self._report(engine)
            # the main thread is in user code that does not return
            self._leave(engine.exit_status if engine.failure is None else 1)

    def _leave(self, status: int) -> NoReturn:
        """End the process without waiting for threads in user code; their messages went back to the broker."""
        self.on_leave()
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)

    def _prepare_restart(self, engine: Engine) -> None:
        if self._launch is None:
            return
        engine.predecessor = self._launch.predecessor

        def give_way(pid: int) -> None:
            engine.successor = pid
            self._replaced = True
            self.on_replaced(pid)
            if self._asked_to_stop is not None:  # it came a moment ago, when there was nobody to hand it on to
                self.on_stop(self._asked_to_stop)
            engine.shutdown.warm()

        successor = Successor(engine.loop, self._launch, give_way)
        engine.restart = successor.start
        engine.shutdown.on_begin = _both(successor.cancel, engine.shutdown.on_begin)

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
            counts.handed_back,
        )

    # -- signals ----------------------------------------------------------------------------------

    def _install_signals(self) -> dict[signal.Signals, Any]:
        stops = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        handled: dict[signal.Signals, Callable[[int, FrameType | None], None]] = dict.fromkeys(stops, self._on_stop)
        handled[signal.SIGUSR1] = self._on_usr1
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # a terminal that is closed must not leave a worker behind
            handled[signal.SIGHUP] = self._on_stop if sys.stdout.isatty() else self._on_hup
        return {number: signal.signal(number, handler) for number, handler in handled.items()}

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        """Only hands over to the I/O thread: the interrupted code may hold any lock, the logging one included."""
        engine = self.engine
        self._asked_to_stop = number
        if engine is None:
            raise SystemExit(0)  # nothing has been received yet
        self.on_stop(number)
        now = clock.monotonic()
        if self._first_signal is None:
            self._first_signal = now
        again = now - self._first_signal > _SAME_REQUEST
        cold = number == signal.SIGQUIT or again or (number == signal.SIGTERM and _term_is_cold())
        name = signal.Signals(number).name

        def stop() -> None:
            logger.warning("%s: %s shutdown", name, "cold" if cold else "warm")
            engine.shutdown.cause = name
            if cold:
                engine.shutdown.cold()
            else:
                engine.shutdown.warm()

        engine.call_soon(stop)

    def _on_hup(self, number: int, _frame: FrameType | None) -> None:
        engine = self.engine
        if self._replaced:
            self.on_stop(number)  # it is for the process that has taken over
        elif engine is not None:
            engine.call_soon(lambda: engine.ask_restart("SIGHUP"))

    def _on_usr1(self, _number: int, _frame: FrameType | None) -> None:
        """In a thread of its own: the I/O thread may be what hangs."""
        new_thread = threading.Thread if self.engine is None else self.engine.pool.new_thread
        new_thread(target=self._write_stacks, name="amqtask-stacks", daemon=True).start()

    def _write_stacks(self) -> None:
        logger.warning("SIGUSR1: stacks\n%s", stacks())
        engine = self.engine
        children = () if engine is None else engine.pool.info().get("processes", ())
        for pid in children:
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)


def _term_is_cold() -> bool:
    """Celery's way to ask for a cold shutdown at SIGTERM."""
    return os.environ.get("REMAP_SIGTERM") == "SIGQUIT"


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        first()
        second()

    return call
