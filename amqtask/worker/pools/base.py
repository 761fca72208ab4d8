"""The contract between the worker and a pool. Owns the shape and the registry; each pool is a module beside it.

Threads: ``prepare`` and ``run_main`` run on the main thread, everything else on the I/O thread. A pool calls the
host's ``done`` and ``lost`` on the I/O thread only (``host.loop.call_soon_threadsafe`` gets it there).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from amqtask.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Loop, PublishDone, Transport
    from amqtask.execution.job import Begin, Job, Outcome
    from amqtask.results.base import Record
    from amqtask.wire.message import Outgoing


def _log_failure(reason: str) -> None:
    logging.getLogger("amqtask.worker").critical("the pool can't go on: %s", reason)


def _begin_nothing(_chords: Sequence[Begin], _key: str, done: Callable[[], None]) -> None:
    """A host that counts no chords."""
    done()


def _keep_nothing(_: Sequence[Record]) -> None:
    """A host without results."""


@dataclass(slots=True)
class PoolHost:
    """What the worker offers its pool.

    Attributes:
        app: the application, its tasks imported.
        hostname: the worker's node name.
        concurrency: slots wanted.
        loop: the I/O thread's loop.
        done: hands over outcomes, in any number; they are settled before the turn ends. None at all tells that
            there is room again.
        lost: (blamed, innocent, reason): a child died; ``blamed`` keys were running, ``innocent`` ones
            were handed over but not started.
        store: keeps states of running tasks; nobody waits for it.
        begin: (chords, key, done): makes chords known that a running task begins.
        publish: confirmed publish through the worker's connection, for ``delay()`` inside tasks. It declares what is
            missing (declare on miss) and keeps the deadline; any exception may come back.
        log_results: whether successful outcomes carry the repr of their result.
        fair: no slot ever holds a second job, however short jobs are (``-O fair``).
        failed: the pool can't go on, with the reason; everything it held was reported by ``lost`` before.
        restart: the process should be replaced by a fresh one without a gap, for this reason; running jobs may end.
        shared: the process has other users of the app. What the pool lends is for its own threads only then.
    """

    app: Amqtask
    hostname: str
    concurrency: int
    loop: Loop
    done: Callable[[Iterable[Outcome]], None]
    lost: Callable[[Sequence[int], Sequence[int], str], None]
    publish: Callable[[Outgoing, float, PublishDone], None]
    store: Callable[[Sequence[Record]], None] = _keep_nothing
    begin: Callable[[Sequence[Begin], str, Callable[[], None]], None] = _begin_nothing
    log_results: bool = False
    fair: bool = False
    failed: Callable[[str], None] = _log_failure
    restart: Callable[[str], None] = _log_failure
    shared: bool = False
    _lent: Transport | None = field(default=None, init=False)

    def lend(self, transport: Transport) -> None:
        """I/O thread, before any job: ``delay()`` inside tasks sends through this. Callbacks inherit it."""
        self._lent = transport
        if self.shared:
            self.app.use_transport_here(transport)
        else:
            self.app.use_transport(transport)

    def enter(self) -> None:
        """Each thread of the pool's own, before it runs user code: use what was lent."""
        if self.shared and self._lent is not None:
            self.app.use_transport_here(self._lent)


class Running(NamedTuple):
    """A job that has been begun.

    Attributes:
        key: of the job.
        since: when, as epoch seconds.
        pid: process that runs it.
    """

    key: int
    since: float
    pid: int


class Pool(Protocol):
    """Runs jobs in user code's own place: children, threads, an event loop or the main thread.

    Jobs carry their limits (``Job.time_limit``, ``Job.soft_time_limit``). At the soft one ``SoftTimeLimitExceeded`` is
    raised in the task; at the hard one the task is stopped and its outcome is ``Kind.TIMED_OUT``, reported once.

    A class that forks has an attribute ``forks = True``: it can't be embedded in another program. One whose user code
    needs a patched ``threading`` has an attribute ``thread``, a class of real threads for the worker's I/O.
    """

    def prepare(self) -> None:
        """Main thread, before any other thread or connection exists: fork what has to be forked."""

    def start(self) -> None:
        """Start slots; jobs may come from now on."""

    def free(self) -> int:
        """How many more jobs :meth:`submit` takes right now."""

    def submit(self, job: Job) -> None:
        """Take a job; its outcome (or loss) is reported exactly once."""

    def flush(self) -> None:
        """End of a loop turn: write what :meth:`submit` has gathered."""

    @property
    def size(self) -> int:
        """Slots there are, those that are about to end left out."""

    def grow(self, slots: int) -> None:
        """More slots."""

    def shrink(self, slots: int) -> None:
        """Fewer slots, one at least; idle ones end at once, busy ones after their task."""

    def running(self) -> Sequence[Running]:
        """Jobs that have been begun."""

    def stop_job(self, key: int, signal: str, outcome: Outcome) -> bool:
        """Stop a job that was submitted; ``outcome`` is reported for it instead of its own.

        Args:
            key: of the job.
            signal: name (``SIGTERM``) sent to the child, where there are children.
            outcome: as if the job had ended like this.

        Returns:
            False when it can't be stopped, or has ended.
        """

    def info(self) -> dict[str, Any]:
        """Plain values for remote control, as Celery names them.

        ``implementation``, ``max-concurrency`` and what the pool has to tell; ``processes`` lists pids of children.
        """

    def ping(self, done: Callable[[bool], None]) -> None:
        """Find out whether idle slots and what dispatches to them still answer.

        ``done`` is called once, with False at the latest after ``worker_proc_alive_timeout``.
        """

    def close(self) -> None:
        """No more jobs will come; running ones go on. Idle slots end."""

    def terminate(self) -> None:
        """End now, running jobs included (cold); nothing is reported after this returns."""

    def run_main(self) -> None:
        """Main thread: run until :meth:`release_main`; solo and asyncio run user code here."""

    def release_main(self) -> None:
        """I/O thread: let :meth:`run_main` return."""


class PoolFactory(Protocol):
    """What a pool module exports as ``POOL``."""

    def __call__(self, host: PoolHost) -> Pool: ...  # noqa: D102


pools: Registry[PoolFactory] = Registry("pool", "amqtask.worker.pools", "POOL", "amqtask.pools")
