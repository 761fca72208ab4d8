"""Has the worker prove that it works: its part of :mod:`amqtask.worker.health.watchdog`. Owns when, and what then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from amqtask.worker.health.watchdog import EXIT, LoopGuard, Patience, missing_consumers
from amqtask.worker.looks import Look, QueueLooks
from amqtask.worker.process.stacks import stacks
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker")

_PATIENCE = 10.0
"""Most seconds that broker and pool have for their answers."""

_LOOKS = 3
"""Looks at the loop per timeout."""

_MARGIN = 15.0
"""Seconds beyond the grace time that an orderly end may take."""


class Watchdog(Step):
    """Has broker and pool prove every ``worker_watchdog_interval`` that they work.

    Once they have not for ``worker_watchdog_timeout``, it ends the worker with 75; the same when the I/O loop hangs.
    """

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        conf = worker.app.settings
        timeout = conf.worker_watchdog_timeout
        self._interval = min(conf.worker_watchdog_interval, timeout / _LOOKS)
        self._patience = Patience(timeout)
        self._looks = QueueLooks(lambda: worker.connection)
        self._guard = LoopGuard(
            worker.call_soon,
            timeout / _LOOKS,
            _LOOKS,
            lambda: worker.on_exit(),  # noqa: PLW0108 -- it is set later
            worker.pool.new_thread,
        )
        self._ending = False
        self._answered: list[str] = []

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.app.settings.worker_watchdog_timeout > 0

    def start(self) -> None:  # noqa: D102
        self._guard.start()
        self._later()

    def stopping(self) -> None:  # noqa: D102
        self._ending = True

    def stop(self, done: Callable[[], None]) -> None:  # noqa: D102
        self._guard.stop()
        done()

    def _later(self) -> None:
        self.worker.loop.call_later(self._interval, self._check)

    def _check(self) -> None:
        """Ask broker, pool and steps; all have the same time to answer."""
        if self._ending:
            return
        worker = self.worker
        worker.problem()  # who proves itself by a turn of a loop needs to be asked before
        answers: dict[str, str] = {}
        awaited = {"pool": "the pool does not answer"}

        def seen(found: dict[str, Look], problem: str) -> None:
            # consumers that are known to be missing are being looked after, and so is a lost connection
            lost = problem or worker.consumers.lacking
            answers["broker"] = "" if lost else missing_consumers(found)

        if worker.connection is not None and not worker.consumers.lacking:
            awaited["broker"] = "the broker does not answer"
            self._looks.look(list(worker.consumers.consumed), seen)
        worker.pool.ping(lambda well: answers.update(pool="" if well else awaited["pool"]))

        def conclude() -> None:
            problems = [answers.get(part, unanswered) for part, unanswered in awaited.items()]
            self._conclude("; ".join(text for text in (*problems, worker.problem()) if text))

        worker.loop.call_later(min(_PATIENCE, self._interval / 2), conclude)

    def _conclude(self, problem: str) -> None:
        if self._ending:
            return
        self._later()
        if not problem:
            if self._patience.passed():
                logger.warning("Watchdog: all is well again")
            return
        logger.error("Watchdog: %s", problem)
        if self._patience.failed():
            self._give_up(problem)

    def _give_up(self, problem: str) -> None:
        worker = self.worker
        logger.critical("Watchdog: %s; ending with %d, to be started again\n%s", problem, EXIT, stacks())
        worker.restart_reason = problem
        self._guard.expect_end(worker.options.shutdown_timeout + _MARGIN)
        worker.leave(EXIT)


STEP = Watchdog
