"""A pool and an engine put together. Owns what they tell each other, and the order in which both are made.

Whose threads drive them is up to the owner: :mod:`.worker` has a process for itself, :mod:`.embedded` is a guest in
another program. Order matters: the fork server is forked while there is one thread and no connection, and before what
only the parent needs is loaded, pika and the engine: it would be copied, page by page, as soon as the parent uses it.

    load tasks ─► pool.prepare ─► loop ─► engine
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, cast

from amqtask import signals
from amqtask.app.checking import check_settings, warn_of_schedule
from amqtask.errors import AmqtaskError, ConfigError
from amqtask.worker.pools.base import PoolHost, pools
from amqtask.worker.steps.base import every_step, in_order
from amqtask.worker.steps.signals import set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.broker.interface import Loop, PublishDone
    from amqtask.execution.job import Begin, Outcome
    from amqtask.results.base import Record
    from amqtask.wire.message import Outgoing
    from amqtask.worker.options import WorkerOptions

NO_LOOP = cast("Loop", None)
"""Stands in a :class:`PoolHost` until its loop exists."""


def load_tasks(app: Amqtask) -> None:
    """Import the app's tasks, and look at the settings that depend on them.

    Raises:
        ConfigError: a module can't be imported, there is no task at all, or a setting can't be.
    """
    app.load_tasks()
    if not app.tasks:
        raise ConfigError(f"app {app.main!r} has no tasks; name the modules that define them in 'include'")
    check_settings(app.settings)
    warn_of_schedule(app)


class Assembly:
    """Pool and engine of one worker. To be made on the thread that runs ``pool.run_main``.

    ``engine.run`` belongs on the I/O thread; when it returns, :meth:`close` releases the rest.

    Args:
        app: its tasks have been loaded.
        options: of the worker.
        shared: the process has other users of the app, see :class:`~amqtask.worker.pools.base.PoolHost`.
    """

    def __init__(self, app: Amqtask, options: WorkerOptions, *, shared: bool = False) -> None:
        host = PoolHost(
            app=app,
            hostname=options.hostname,
            concurrency=options.concurrency,
            loop=NO_LOOP,  # made after prepare(): a fork must not inherit it
            done=self._done,
            lost=self._lost,
            publish=self._publish,
            store=self._store,
            begin=self._begin,
            log_results=logging.getLogger("amqtask.task").isEnabledFor(logging.INFO)
            or app.settings.worker_send_task_events,
            fair=options.fair,
            failed=self._pool_failed,
            restart=self._restart,
            shared=shared,
        )
        set_up(app, options)
        app.trace()
        self.pool = pools.get(options.pool)(host)
        self.pool.prepare()
        from amqtask.broker.pika_driver import new_loop  # noqa: PLC0415 -- not before the fork: see above
        from amqtask.worker.engine import Engine  # noqa: PLC0415 -- as above

        if not self.pool.forks:  # each child tells it itself
            signals.worker_process_init.send(None)
            app.trace()
        self._loop = host.loop = new_loop(real=self.pool.new_thread is not threading.Thread)
        engine = self.engine = Engine(app, options, self._loop, self.pool)
        every = every_step((*app.steps["worker"], *app.steps["consumer"]))
        wanted = [step for step in every if step.wanted(engine)]
        engine.steps.extend(step(engine) for step in in_order(wanted))

    def close(self) -> None:
        """Release the loop; the engine has ended."""
        self._loop.close()

    # -- what the pool reports --------------------------------------------------------------------

    def _done(self, outcomes: Iterable[Outcome]) -> None:
        self.engine.custody.done(outcomes)

    def _lost(self, blamed: Sequence[int], innocent: Sequence[int], reason: str) -> None:
        self.engine.custody.lost(blamed, innocent, reason)

    def _publish(self, message: Outgoing, timeout: float, done: PublishDone) -> None:
        self.engine.outbox.publish(message, timeout, done)

    def _begin(self, chords: Sequence[Begin], key: str, done: Callable[[], None]) -> None:
        self.engine.begin(chords, key, done)

    def _store(self, records: Sequence[Record]) -> None:
        self.engine.report(records)

    def _restart(self, reason: str) -> None:
        self.engine.ask_restart(reason)

    def _pool_failed(self, reason: str) -> None:
        self.engine.fail(AmqtaskError(f"the pool can't go on: {reason}"))
