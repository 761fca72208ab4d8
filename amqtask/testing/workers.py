"""Workers of a test: the fixture ``amqtask_worker``. Owns starting them, their end, and the sum of what they did."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol, Self, Unpack

from amqtask.errors import ConfigError
from amqtask.testing.deeds import Deeds
from amqtask.testing.worker_process import WorkerProcess
from amqtask.worker.embedded import EmbeddedWorker
from amqtask.worker.options import Requested, WorkerOptions, resolve
from amqtask.worker.pools.base import pools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from amqtask.app.app import Amqtask
    from amqtask.testing.vhosts import Vhost
    from amqtask.topology.declarations import QueueOrder

    class MoreOptions(TypedDict, total=False):
        """What else a worker can be told; see :class:`~amqtask.worker.options.Requested`."""

        prefetch: int
        order: QueueOrder
        fair: bool
        pool_name: str


SHUTDOWN_TIMEOUT = 5.0
"""Seconds that tasks which still run at the end of a test may take."""

_ASYNC_CONCURRENCY = 10


class Running(Protocol):
    """What is asked of a worker, wherever it runs."""

    def stop(self) -> None:
        """End warm; raises what went wrong."""

    def kill(self) -> None:
        """End it at once, without a word to the broker."""

    def deeds(self) -> Deeds:
        """What it has done, and what it is doing."""

    @property
    def failure(self) -> Exception | None:
        """Why it ended by itself."""


class _Guest:
    """An :class:`EmbeddedWorker` as a :class:`Running`."""

    def __init__(self, worker: EmbeddedWorker) -> None:
        self._worker = worker

    def stop(self) -> None:
        """End warm."""
        self._worker.stop()

    def kill(self) -> None:
        """Impossible."""
        raise ConfigError(
            f"a worker with the {self._worker.options.pool} pool runs in the test's own process and can't be killed; "
            "use pool='prefork', or amqtask_broker.drop_connections()"
        )

    def deeds(self) -> Deeds:
        """Read while its I/O thread may change them: each number is right, of almost the same instant."""
        return Deeds.of(self._worker.counts, self._worker.busy)

    @property
    def failure(self) -> Exception | None:
        """Why it ended by itself."""
        return self._worker.failure


class RunningWorker:
    """A running worker. Stops at the end of the test, of a ``with`` block, or by :meth:`stop`.

    Attributes:
        options: what it was resolved to.
        pid: of its process; None when it runs in this one.
    """

    def __init__(self, running: Running, options: WorkerOptions, pid: int | None = None) -> None:
        self._running, self.options, self.pid = running, options, pid
        self._last: Deeds | None = None

    def stop(self) -> None:
        """End warm: running tasks finish, within 5 seconds unless said otherwise. Harmless when it has ended.

        Raises:
            AmqtaskError: it had failed, or a task went on beyond that.
        """
        if self._last is None:
            try:
                self._running.stop()
            finally:
                self._last = self._running.deeds()._replace(busy=0)

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out; what it held is delivered again. Needs ``prefork``."""
        if self._last is None:
            last = self._running.deeds()
            self._running.kill()
            self._last = last._replace(busy=0)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` or :meth:`kill` was called."""
        return self._last is not None

    @property
    def failure(self) -> Exception | None:
        """Why it can't go on, if it ended by itself."""
        return self._running.failure

    @property
    def deeds(self) -> Deeds:
        """What it has done so far."""
        return self._running.deeds() if self._last is None else self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


class Workers:
    """Starts workers of the test's app in the test's vhost. All are stopped by :meth:`close`.

    Args:
        app: of the test.
        vhost: of the test.
        app_path: where processes of their own find the app, as for ``-A``; None: they can't.
        overrides: settings of the test, for those processes.
    """

    def __init__(self, app: Amqtask, vhost: Vhost, app_path: str | None, overrides: dict[str, object]) -> None:
        self._app, self._vhost, self._app_path, self._overrides = app, vhost, app_path, overrides
        self._numbers = itertools.count(1)
        self._all: list[RunningWorker] = []

    def __call__(
        self,
        queues: str | Sequence[str] | None = None,
        *,
        pool: str = "threads",
        concurrency: int | None = None,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        **more: Unpack[MoreOptions],
    ) -> RunningWorker:
        """Start a worker; it consumes when this returns.

        The threads, asyncio and solo pools run in threads of the test's process, so tasks share its memory and its
        patches; prefork runs in processes of its own, which import the app anew.

        Args:
            queues: names; None: all that are declared.
            pool: kind of pool.
            concurrency: how many tasks run at once; None: 10 for asyncio, else one after the other.
            shutdown_timeout: seconds that running tasks have at the end.
            more: ``prefetch``, ``order``, ``fair``, ``pool_name``.

        Raises:
            TopologyError: an unknown queue, or it can't be declared.
            ConfigError: options that can't be; or prefork, and the app's path is not known.
        """
        if concurrency is None:
            concurrency = _ASYNC_CONCURRENCY if pool == "asyncio" else 1
        asked = Requested(
            queues=() if queues is None else (queues,) if isinstance(queues, str) else tuple(queues),
            pool=pool,
            concurrency=concurrency,
            hostname=f"test{next(self._numbers)}",
            shutdown_timeout=shutdown_timeout,
            quiet=True,
            **more,
        )
        options = resolve(asked, self._app.topology, self._app.settings)
        worker = self._start(options)
        self._all.append(worker)
        return worker

    def _start(self, options: WorkerOptions) -> RunningWorker:
        if pools.get(options.pool).forks:
            process = WorkerProcess(options, self._vhost, self._app_path, self._overrides)
            return RunningWorker(process, options, process.pid)
        return RunningWorker(_Guest(EmbeddedWorker(self._app, options).start()), options)

    @property
    def running(self) -> list[RunningWorker]:
        """Those that were not stopped."""
        return [worker for worker in self._all if not worker.stopped]

    def deeds(self) -> Deeds:
        """The sum of what all workers of this test have done, stopped ones included."""
        return Deeds.sum(worker.deeds for worker in self._all)

    def check(self) -> None:
        """Raise why a worker ended by itself, if one did."""
        for worker in self.running:
            if worker.failure is not None:
                raise worker.failure

    def close(self) -> None:
        """Stop all, the latest first.

        Raises:
            ExceptionGroup: several could not be stopped in an orderly way; of one its own error.
        """
        self._vhost.heal()  # a frozen broker would not answer
        errors: list[Exception] = []
        for worker in reversed(self.running):
            try:
                worker.stop()
            except Exception as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("workers of this test", errors)
