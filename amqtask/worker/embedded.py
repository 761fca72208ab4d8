"""A worker inside another program: the same pool, engine and shutdown as a worker process, in threads of its own.

Owns those threads. No signal is handled and the process never ends for it; errors are raised where the worker was
started or is stopped. For tests and notebooks; production runs ``amqtask worker``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from amqtask.errors import AmqtaskError, ConfigError
from amqtask.worker.assembly import Assembly, load_tasks
from amqtask.worker.pools.base import pools

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.worker.custody.counts import Counts
    from amqtask.worker.options import WorkerOptions

START_TIMEOUT = 10.0
"""Seconds until it consumes: connecting and declaring take milliseconds."""

_MARGIN = 15.0
"""Seconds beyond the grace time that the broker may need for its last answers."""

_MAIN_GRACE = 0.5
"""Seconds in which the pool's thread comes back once everything else has ended, unless it is in user code."""


class EmbeddedWorker:
    """A worker in threads of this process; a context manager that consumes while it is open.

    ``delay()`` inside its tasks goes through the worker's connection, everywhere else through the app's own.

    Args:
        app: the application; its tasks are imported by :meth:`start`.
        options: see :class:`~amqtask.worker.options.WorkerOptions`; any pool that does not fork.

    Raises:
        ConfigError: the pool forks, which a process with threads must not do.
    """

    def __init__(self, app: Amqtask, options: WorkerOptions) -> None:
        if pools.get(options.pool).forks:
            raise ConfigError(
                f"the {options.pool} pool can't be embedded: it forks, and this process may have threads; "
                "choose threads, asyncio or solo, or start 'amqtask worker'"
            )
        self._app, self.options = app, options
        self._assembly: Assembly | None = None
        self._changed = threading.Event()
        """Set once it consumes, or has ended before."""
        self._failure: Exception | None = None
        self._ended = False
        self._main = threading.Thread(target=self._run_main, name="amqtask-main", daemon=True)
        self._io = threading.Thread(target=self._run_io, name="amqtask-io", daemon=True)

    def start(self, timeout: float = START_TIMEOUT) -> Self:
        """Return once every queue is consumed.

        Args:
            timeout: seconds to wait for that.

        Raises:
            ConfigError, TopologyError, BrokerError: why it can't consume; everything is released.
        """
        load_tasks(self._app)
        self._main.start()
        ready = self._changed.wait(timeout)
        if self.failure is None and ready:
            return self
        if self.failure is None:
            self._failure = AmqtaskError(f"{self.options.hostname} does not consume after {timeout:g} s; see its log")
        self.stop()
        raise AssertionError  # pragma: no cover -- stop() has raised the failure

    def stop(self) -> None:
        """End warm: running tasks finish within the grace time of the options. Harmless when it has ended.

        Raises:
            AmqtaskError: it had failed, or tasks went on beyond the grace time; their messages were handed back, but
                a thread can't be stopped.
        """
        assembly = self._assembly
        if assembly is not None and self._main.is_alive():
            assembly.engine.call_soon(assembly.engine.shutdown.warm)
            self._io.join(self.options.shutdown_timeout + _MARGIN)
        self._main.join(_MAIN_GRACE)
        if self._ended:
            return
        self._ended = True
        if assembly is not None and not self._io.is_alive():
            assembly.close()
        self._raise_problem()

    def _raise_problem(self) -> None:
        name, assembly = self.options.hostname, self._assembly
        if self.failure is not None:
            raise self.failure
        if self._io.is_alive():
            raise AmqtaskError(f"{name} does not end; see its log")
        if assembly is not None and (left := assembly.engine.shutdown.stopped):
            raise AmqtaskError(
                f"{name}: still running {self.options.shutdown_timeout:g} s after the end was asked for: "
                f"{', '.join(left)}"
            )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def failure(self) -> Exception | None:
        """Why it can't go on, if it ended by itself."""
        if self._failure is None and self._assembly is not None:
            return self._assembly.engine.failure
        return self._failure

    @property
    def busy(self) -> int:
        """Tasks that run, or whose end is being stored."""
        return 0 if self._assembly is None else self._assembly.engine.custody.busy

    @property
    def counts(self) -> Counts:
        """What it has done so far; changed by its I/O thread while it runs."""
        assert self._assembly is not None, "not started"
        return self._assembly.engine.custody.counts

    # -- its threads ------------------------------------------------------------------------------

    def _run_main(self) -> None:
        try:
            assembly = self._assembly = Assembly(self._app, self.options, shared=True)
        except Exception as error:
            self._failure = error
            self._changed.set()
            return
        assembly.engine.on_ready = self._changed.set
        self._io.start()
        assembly.pool.run_main()

    def _run_io(self) -> None:
        assert self._assembly is not None
        self._assembly.engine.run()
        self._changed.set()
