"""The contract between the worker and a pool. Owns the shape and the registry; each pool is a module beside it.

Threads: ``prepare`` and ``run_main`` run on the main thread, everything else on the I/O thread. A pool calls the
host's ``done`` and ``lost`` on the I/O thread only (``host.loop.call_soon_threadsafe`` gets it there).
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from amqtask.errors import ConfigError
from amqtask.plugins import Registry
from amqtask.worker.background import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Loop, PublishDone, Transport
    from amqtask.execution.job import Begin, Job, Outcome
    from amqtask.results.base import Record
    from amqtask.wire.message import Outgoing
    from amqtask.worker.background import Background
    from amqtask.worker.process.threads import NewThread


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


class Pool(ABC):
    """Runs jobs in user code's own place: children, threads, an event loop or the main thread.

    A kind of pool is a subclass, made with one argument; what has to be there is abstract. It is used in this order,
    :meth:`run_main` being called at about the same time as :meth:`start`, and before or after it::

        prepare ─► start ─► submit, flush and the rest ─► close, or terminate and close ─► release_main

    Jobs carry their limits (``Job.time_limit``, ``Job.soft_time_limit``). At the soft one ``SoftTimeLimitExceeded`` is
    raised in the task; at the hard one the task is stopped and its outcome is ``Kind.TIMED_OUT``, reported once.

    Args:
        host: what the worker offers; kept as ``_host``. Its loop is there from :meth:`start` on.

    Attributes:
        forks: jobs run in other processes, forked by :meth:`prepare`: it can't be embedded in another program.
        new_thread: makes the threads of the worker's own I/O; another class than ``threading.Thread`` where that one
            is patched for user code.
        background: where code of the worker's own runs that waits for other programs.
        ended_children: how often one has been ``retired`` (it had had its share, or was not needed), ``killed`` by the
            pool, or has ``died``; None where there are none.
    """

    forks: ClassVar[bool] = False
    new_thread: ClassVar[NewThread] = threading.Thread
    background: Background = THREADS
    ended_children: Mapping[str, int] | None = None

    def __init__(self, host: PoolHost) -> None:
        self._host = host

    def prepare(self) -> None:  # noqa: B027 -- most pools have nothing to do
        """Main thread, before any other thread or connection exists: fork what has to be forked."""

    @abstractmethod
    def start(self) -> None:
        """Start slots; jobs may come from now on."""

    @abstractmethod
    def free(self) -> int:
        """How many more jobs :meth:`submit` takes right now."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job; its outcome (or loss) is reported exactly once."""

    def flush(self) -> None:  # noqa: B027
        """End of a loop turn: write what :meth:`submit` has gathered."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Slots there are, those that are about to end left out."""

    @abstractmethod
    def grow(self, slots: int) -> None:
        """More slots."""

    @abstractmethod
    def shrink(self, slots: int) -> None:
        """Fewer slots, one at least; idle ones end at once, busy ones after their task."""

    @abstractmethod
    def running(self) -> Sequence[Running]:
        """Jobs that have been begun."""

    @abstractmethod
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
        kind = type(self)
        return {"implementation": f"{kind.__module__}:{kind.__qualname__}", "max-concurrency": self.size}

    def ping(self, done: Callable[[bool], None]) -> None:
        """Find out whether idle slots and what dispatches to them still answer.

        ``done`` is called once, with False at the latest after ``worker_proc_alive_timeout``; with True at once by a
        pool that can't tell.
        """
        done(True)

    @abstractmethod
    def close(self) -> None:
        """No more jobs will come; running ones go on. Idle slots end."""

    @abstractmethod
    def terminate(self) -> None:
        """End now, running jobs included (cold); nothing is reported after this returns."""

    @abstractmethod
    def run_main(self) -> None:
        """Main thread: run until :meth:`release_main`; solo and asyncio run user code here."""

    @abstractmethod
    def release_main(self) -> None:
        """I/O thread: let :meth:`run_main` return."""


class _Pools(Registry[type[Pool]]):
    """Kinds of pools, by name. What a package offers is checked here, before a worker relies on it."""

    def get(self, name: str) -> type[Pool]:
        """The class of this name.

        Raises:
            ConfigError: there is none, or it is no :class:`Pool` that can be made; says why.
        """
        kind: Any = super().get(name)
        if not (isinstance(kind, type) and issubclass(kind, Pool)):
            raise ConfigError(f"pool {name!r}: {kind!r} is not a subclass of {Pool.__module__}.Pool")
        if missing := sorted(kind.__abstractmethods__):
            raise ConfigError(f"pool {name!r}: {kind.__module__}.{kind.__qualname__} lacks {', '.join(missing)}")
        return kind


pools = _Pools("pool", "amqtask.worker.pools", "POOL", "amqtask.pools")
