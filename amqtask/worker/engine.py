"""The I/O side of a worker: both connections, custody and shutdown wired together on one loop.

Owns the wiring and the I/O thread's life; each part owns its own rules. Two connections whatever the pool size: one
to consume, one to publish.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from amqtask import clock
from amqtask.app.needs import Needs
from amqtask.broker.link import Link
from amqtask.broker.publisher import Publisher
from amqtask.errors import AccessRefused, BrokerError, ConfigError
from amqtask.topology.chords import WATCH_TASK
from amqtask.topology.declarations import QueueDeclare
from amqtask.topology.layout import queue_type, topology_steps
from amqtask.wire.accept import without_pickle
from amqtask.wire.lamport import LamportClock
from amqtask.wire.signing import Signer
from amqtask.wire.upgrade import upgraded
from amqtask.worker.chords.watch import ChordWatch
from amqtask.worker.consumer import Consumers
from amqtask.worker.custody.custody import Custody
from amqtask.worker.custody.settle import Settler
from amqtask.worker.deliveries.outcome import Effects, dropped_kinds
from amqtask.worker.deliveries.ready import Ready
from amqtask.worker.deliveries.recent import Recent
from amqtask.worker.followups.outbox import Outbox
from amqtask.worker.prefetch import AutoPrefetch
from amqtask.worker.results import Results
from amqtask.worker.shutdown import Shutdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Connection, Method
    from amqtask.broker.loop import SelectLoop
    from amqtask.execution.job import Begin
    from amqtask.topology.declarations import Step, Version
    from amqtask.wire.message import PropertiesLike
    from amqtask.worker.options import WorkerOptions
    from amqtask.worker.pools.base import Pool

logger = logging.getLogger("amqtask.worker")

_PREFETCH_CHECK = 1.0
"""Seconds between looks at whether the automatic prefetch should change."""

_PREFETCH_FIRST = 16
"""Tasks after which the automatic prefetch is looked at for the first time: a start under load need not wait."""


class EngineStep(Protocol):
    """What is asked of a step; see :class:`amqtask.worker.steps.base.Step`."""

    def start(self) -> None: ...  # noqa: D102
    def connected(self, connection: Connection) -> None: ...  # noqa: D102
    def disconnected(self) -> None: ...  # noqa: D102
    def ready(self) -> None: ...  # noqa: D102
    def problem(self) -> str: ...  # noqa: D102
    def stopping(self) -> None: ...  # noqa: D102
    def stop(self, done: Callable[[], None]) -> None: ...  # noqa: D102


S = TypeVar("S", bound=EngineStep)


class EventSender(Protocol):
    """What is asked of the worker's events; see :class:`amqtask.worker.events.sender.WorkerEvents`."""

    @property
    def enabled(self) -> bool: ...  # noqa: D102
    def enable(self) -> bool: ...  # noqa: D102
    def disable(self) -> bool: ...  # noqa: D102
    def heartbeat(self) -> None: ...  # noqa: D102
    def send(self, kind: str, **fields: object) -> None: ...  # noqa: D102
    def put(self, kind: str, **fields: object) -> None: ...  # noqa: D102


class Engine:
    """Everything that lives on the I/O thread, from start to the end of its loop.

    Args:
        app: tasks, topology and settings.
        options: of this worker.
        loop: driven by :meth:`run`.
        pool: prepared, not started.

    Attributes:
        app, options, loop, pool: as given.
        custody: of all messages that are not settled.
        consumers, link: what is consumed, and the connection that does.
        publisher, outbox: the connection that publishes, and the same declaring what is missing.
        shutdown: ends all of this.
        predecessor: process whose place this one takes: until it ends, it has the same node name.
        restart_reason: why this process should be started again, found by the watchdog; empty when all is well.
        on_exit: called, in any thread, when the process ends at once without more ado.
    """

    predecessor: int | None = None
    restart_reason = ""
    on_exit: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, app: Amqtask, options: WorkerOptions, loop: SelectLoop, pool: Pool) -> None:
        self.app, self.options, self.loop, self.pool = app, options, loop, pool
        conf = app.settings
        connection = replace(app.connection_options, name=options.hostname)
        strategy = conf.broker_failover_strategy
        self._auto = AutoPrefetch(options.concurrency)
        self.publisher = Publisher(loop, app.broker_urls, connection, strategy=strategy)
        self.outbox = Outbox(loop, self.publisher, Needs(conf, app.topology, app.router))
        self._results = Results(
            app, options.hostname, loop, self.outbox, self.publisher, lambda: self.connection, pool.background
        )
        self.report = self._results.carrier.report
        """Hands records to the result backend, where there is one; nobody waits for it."""
        self.custody = self._new_custody()
        self.consumers = self._new_consumers()
        self._automatic = [name for name, _ in options.queues if self._add_queue(name)]
        self.link = Link(loop, app.read_urls, connection, on_up=self._up, on_down=self._down, strategy=strategy)
        self.shutdown = Shutdown(
            loop,
            consumers=self.consumers,
            custody=self.custody,
            pool=pool,
            link=self.link,
            publisher=self.publisher,
            grace=options.shutdown_timeout,
        )
        self.shutdown.on_begin, self.shutdown.on_end = self._stopping, self._stop_steps
        self.clock = LamportClock()
        """Of this node, for events and remote control."""
        self.events: EventSender | None = None
        """Set by the step of that name."""
        self.steps: list[EngineStep] = []
        """In the order of their start."""
        self.restart: Callable[[str], None] | None = None
        """Replaces this process by a fresh one, without a gap; None where nobody can."""
        self.successor: int | None = None
        """Process that has taken this one's place, and needs its node name."""
        self.exit_status = 0
        """Of the process, when it ends by itself and without a failure."""
        self.started = clock.monotonic()
        self.failure: Exception | None = None
        """Why the worker can't go on, when it ended by itself."""
        self.on_ready: Callable[[], None] | None = None
        """Called on the I/O thread when every queue is consumed, at the start and after each reconnect."""

    def _new_custody(self) -> Custody:
        app, conf, options = self.app, self.app.settings, self.options
        parked = conf.unknown_task_delays if conf.unknown_task_policy == "retry" else ()
        effects = Effects(
            app.topology.queue,
            options.hostname,
            [delay.total_seconds() for delay in parked],
            conf.worker_lost_max_deliveries,
            dropped_kinds(conf),
        )
        custody = Custody(
            self.loop,
            self.pool,
            ready=Ready(dict(options.queues), options.order),
            recent=Recent(conf.worker_dedupe_window),
            effects=effects,
            acks_early=frozenset(_acked_early(app)),
            observe=self._observe,
            # a message that only came back may not have started: it takes a mark to tell, so one loss is no proof
            lost_max=max(2, conf.worker_lost_max_deliveries),
        )
        custody.acks.window = lambda: self.consumers.window
        results = self._results
        custody.settler = Settler(results.patient, results.carrier, results.losses, custody.settled, custody.observers)
        watch = ChordWatch(
            results.chords, effects, custody.settle_own, without_pickle(app.accept_content), Signer(conf)
        )
        custody.own[WATCH_TASK] = watch.take
        return custody

    def _new_consumers(self) -> Consumers:
        app, mode = self.app, self.app.settings.topology_mode

        def layout(version: Version) -> Sequence[Step]:
            names = self.consumers.names
            types = {name: queue_type(app.topology.queue(name), version) for name in names}
            self.custody.suspects.counting = {name for name, kind in types.items() if kind == "quorum"}
            if mode == "none":
                return [QueueDeclare(name) for name in names]
            return topology_steps(app.topology, version, names)

        return Consumers(
            self.loop,
            self.options.hostname,
            layout,
            verify_only=mode != "declare",
            on_message=self._arrive,
            on_open=self.custody.open,
            on_ready=self._ready,
            on_lost=self.custody.closed,
            on_fatal=self.fail,
        )

    def _arrive(self, queue: str, method: Method, properties: PropertiesLike, body: bytes) -> None:
        """Take a message in, in the one protocol that the rest of the worker knows."""
        if "task" not in (properties.headers or ()) and not self.app.settings.message_signing_required:  # else unread
            made = upgraded(properties, body, self.app.settings.accept_content)
            properties, body = made or (properties, body)
        self.custody.arrive(queue, method, properties, body)

    def run(self) -> None:
        """Run the I/O thread until the shutdown is complete. Never returns before."""
        try:
            self.pool.start()
            for step in self.steps:
                step.start()
            self.publisher.start()
            self.link.start()
            if self._automatic:
                self.loop.call_later(_PREFETCH_CHECK, self._check_prefetch)
            self.loop.run()
        except ConfigError as error:  # TLS files that can't be used
            self.failure = error
            self.pool.terminate()
        except BaseException as error:
            logger.critical("The I/O thread failed", exc_info=True)
            self.failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self.pool.terminate()
        finally:
            self._results.stop()
            self.pool.release_main()
            self.custody.ends.write()  # last: whatever a log handler raises, the main thread goes on

    def fail(self, error: Exception) -> None:
        """End the worker because of an error; warm, so that what runs may finish."""
        if self.failure is None:
            self.failure = error
        self.shutdown.warm()

    def begin(self, chords: Sequence[Begin], key: str, done: Callable[[], None]) -> None:
        """Begin chords of a running task; see :class:`~amqtask.worker.pools.base.PoolHost`."""
        self._results.carrier.begin(chords, key, "A running task", done)

    @property
    def connection(self) -> Connection | None:
        """The one that consumes, while it stands; for channels of a step's own."""
        return self.link.connection

    def ask_restart(self, reason: str) -> None:
        """Replace this process by a fresh one as soon as that can be done without a gap; see :attr:`restart`."""
        if self.restart is None:
            logger.error("This worker can't restart itself (%s)", reason)
        else:
            self.restart(reason)

    def leave(self, status: int) -> None:
        """End warm, by itself, with this exit status."""
        self.exit_status = status
        self.shutdown.warm()

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back on the I/O thread; from any thread and from signal handlers."""
        self.loop.call_soon_threadsafe(callback)

    # -- what steps ask ---------------------------------------------------------------------------

    def step(self, kind: type[S]) -> S | None:
        """The step of this class; None when this worker has none, or it has not been made yet."""
        return next((step for step in self.steps if isinstance(step, kind)), None)

    def _add_queue(self, name: str) -> bool:
        """Consume a queue; True when its prefetch is automatic."""
        queue = self.app.topology.queue(name)
        prefetch = self.options.prefetch or queue.prefetch
        self.consumers.add(name, prefetch or self._auto.value, queue.consumer_priority)
        return prefetch is None

    def add_queue(self, name: str) -> None:
        """Consume another queue from now on; it exists on the broker, or is declared with the next connection.

        Raises:
            TopologyError: the topology has no such queue.
        """
        if name in self.consumers.names:
            return
        self.app.topology.queue(name)
        self.custody.add_queue(name)
        if self._add_queue(name):
            self._automatic.append(name)

    def resized(self) -> None:
        """The pool has another number of slots: the prefetch follows."""
        self._auto.resize(self.pool.size)
        self.custody.schedule_turn()

    def problem(self) -> str:
        """What is wrong with parts of this worker that prove themselves; empty when nothing is."""
        return "; ".join(text for step in self.steps if (text := step.problem()))

    def _up(self, connection: Connection) -> None:
        for step in self.steps:
            step.connected(connection)
        self.consumers.connected(connection)

    def _down(self, error: BrokerError) -> None:
        for step in reversed(self.steps):
            step.disconnected()
        self.consumers.disconnected(error)
        if not self.app.settings.broker_connection_retry_on_startup and not isinstance(error, AccessRefused):
            self.consumers.fail_unless_ready(error)

    def _ready(self) -> None:
        names = ", ".join(name for name, _ in self.options.queues)
        logger.info("%s ready, consuming %s", self.options.hostname, names)
        for step in self.steps:
            step.ready()
        if self.on_ready is not None:
            self.on_ready()

    def _stopping(self) -> None:
        for step in reversed(self.steps):
            step.stopping()

    def _stop_steps(self, done: Callable[[], None]) -> None:
        """Let every step say goodbye, the last one first."""
        left = list(self.steps)

        def next_one() -> None:
            if left:
                left.pop().stop(next_one)
            else:
                done()

        next_one()

    def _observe(self, runtime: float) -> None:
        self._auto.observe(runtime)
        if self._auto.observed == _PREFETCH_FIRST:
            self._adapt_prefetch()

    def _check_prefetch(self) -> None:
        self._adapt_prefetch()
        self.loop.call_later(_PREFETCH_CHECK, self._check_prefetch)

    def _adapt_prefetch(self) -> None:
        prefetch = self._auto.next_value()
        if prefetch is not None:
            for name in self._automatic:
                self.consumers.set_prefetch(name, prefetch)


def _acked_early(app: Amqtask) -> Iterator[str]:
    """Names of the tasks whose messages are acked when they start."""
    for name, task in app.tasks.items():
        late = task.options.acks_late
        if not (app.settings.task_acks_late if late is None else late):
            yield name
