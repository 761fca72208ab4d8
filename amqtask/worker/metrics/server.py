"""Answers Prometheus: counts from now on, and asks the I/O loop at each question. Owns the asking."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.app.destination import task_destination
from amqtask.version import __version__
from amqtask.worker.http_server import Answer
from amqtask.worker.metrics.endpoint import new_endpoint
from amqtask.worker.metrics.page import CONTENT_TYPE, page
from amqtask.worker.metrics.state import State
from amqtask.worker.metrics.tasks import UNKNOWN, TaskMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine
    from amqtask.worker.http_server import Reply
    from amqtask.worker.metrics.page import Scheduler

logger = logging.getLogger("amqtask.worker")


class MetricsServer:
    """Counts the tasks of a worker, and tells of them. To be made on the I/O thread, before the first delivery.

    Args:
        worker: of which it tells.
        where: ``[HOST]:PORT``.
        scheduler: gives what is told of the one inside this worker; None while there is none.

    Raises:
        ConfigError: ``where`` is not an address, or not one to listen on.
    """

    def __init__(self, worker: Engine, where: str, scheduler: Callable[[], Scheduler | None] = lambda: None) -> None:
        self._worker, self._scheduler = worker, scheduler
        self._tasks = TaskMetrics(worker.app.tasks.__contains__, worker.custody.own)
        _expect_usual(self._tasks, worker)
        options = worker.options
        self._about = {"worker": options.hostname, "pool": options.pool, "version": __version__}
        self._server = new_endpoint(
            where, self._tell, shared=worker.predecessor is not None, new_thread=worker.pool.new_thread
        )
        worker.custody.observers.append(self._tasks)

    @property
    def port(self) -> int:
        """Where it answers."""
        return self._server.port

    def start(self) -> None:
        """Answer from now on."""
        self._server.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()

    def _tell(self, reply: Reply) -> None:
        asked = clock.monotonic()

        def told(state: State | None) -> None:
            lag = clock.monotonic() - asked
            reply(lambda: Answer(200, page(self._tasks, self._about, state, lag, self._scheduler()), CONTENT_TYPE))

        self._server.ask(self._ask, told, None)

    def _ask(self, answer: Callable[[State | None], None]) -> None:
        def look() -> None:
            state = None
            try:
                state = State.of(self._worker)
            except Exception:  # of somebody's own pool: the worker must not end for it
                logger.exception("The state of %s can't be told", self._worker.options.hostname)
            answer(state)

        self._worker.call_soon(look)


def _expect_usual(tasks: TaskMetrics, worker: Engine) -> None:
    """Every task in its usual queue is told of from the start: what begins with 1 is no increase."""
    app, consumed = worker.app, set(worker.consumers.names)
    for queue in consumed:
        tasks.expect(UNKNOWN, queue)
    for name, task in app.tasks.items():
        usual = task_destination(app.router.route(name), task.options)
        for queue in consumed.intersection(app.router.queues_for(*usual)):
            tasks.expect(name, queue)
