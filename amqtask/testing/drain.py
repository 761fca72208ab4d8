"""Waiting until everything that was sent has run: the fixture ``drain``.

Owns the condition, and what is said when it does not come true.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask.testing.deeds import Deeds
from amqtask.topology.delays import exact_delays, retry_name

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.testing.vhosts import QueueCounts, Vhost
    from amqtask.testing.workers import Workers

_PAUSE_FIRST, _PAUSE_MAX = 0.001, 0.02
_UNSURE_LOOKS = 3
_UNSURE_PAUSE = 0.05
"""A broker that does not tell what is delivered and unacknowledged is asked so often, so far apart."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What workers have done since the test began, or since the last ``drain()``.

    Attributes:
        succeeded: attempts that returned.
        retried: attempts after which another one follows.
        ignored: attempts that ended with ``Ignore``.
        put_back: attempts that ended with ``Reject(requeue=True)``.
        dead: messages that went to the dead letters; ``dead()`` lists them.
        delayed: messages that still wait for their time (countdown, eta, retries); ``amqtask_clock`` moves it.
    """

    succeeded: int = 0
    retried: int = 0
    ignored: int = 0
    put_back: int = 0
    dead: int = 0
    delayed: int = 0


class Drain:
    """Waits until all queues of the app are empty and nothing runs.

    Args:
        app, vhost, workers: of the test.
    """

    def __init__(self, app: Amqtask, vhost: Vhost, workers: Workers) -> None:
        self._app, self._vhost, self._workers = app, vhost, workers
        self._before = Deeds()

    def __call__(self, timeout: float = 10.0) -> Drained:
        """Wait; when no worker of the test runs, one is started first, for all queues.

        Messages that wait for their time are not waited for.

        Args:
            timeout: seconds.

        Raises:
            AssertionError: it was not empty in time; says what is left.
            AmqtaskError: a worker ended by itself; says why.
        """
        __tracebackhide__ = True
        if not self._workers.running:
            self._workers()
        deadline, pause, calm = time.monotonic() + timeout, _PAUSE_FIRST, 0
        while True:
            quiet, sure = self._look()
            calm = calm + 1 if quiet else 0
            if calm and (sure or calm >= _UNSURE_LOOKS):
                return self._report()
            self._workers.check()
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained after {timeout:g} s: {self._left()}")
            time.sleep(_UNSURE_PAUSE if calm else pause)
            pause = min(2 * pause, _PAUSE_MAX)

    def _look(self) -> tuple[bool, bool]:
        """Whether everything is done, and whether that is certain.

        Nothing ran, then nothing was in a queue or on its way, and nothing had arrived in between: the order of
        these looks makes up for their not being one.
        """
        before = self._workers.deeds()
        if before.busy:
            return False, True
        queues = self._queues()
        quiet = not any(queue.ready or queue.unacked for queue in queues)
        quiet = quiet and self._workers.deeds().received == before.received
        return quiet, all(queue.unacked is not None for queue in queues)

    def _queues(self) -> list[QueueCounts]:
        return self._vhost.queues(list(self._app.topology.queues))

    def _report(self) -> Drained:
        now, before = self._workers.deeds(), self._before
        self._before = now
        return Drained(
            now.succeeded - before.succeeded,
            now.retried - before.retried,
            now.ignored - before.ignored,
            now.put_back - before.put_back,
            now.dead - before.dead,
            self._vhost.waiting(self._retry_queues()),
        )

    def _retry_queues(self) -> list[str]:
        queues = self._app.topology.queues.values()
        return [retry_name(queue.name, delay) for queue in queues for delay in exact_delays(queue)]

    def _left(self) -> str:
        parts = []
        consumed = {name for worker in self._workers.running for name, _ in worker.options.queues}
        for queue in self._queues():
            if queue.ready or queue.unacked:
                held = "" if queue.unacked is None else f" and {queue.unacked} in workers"
                nobody = "" if queue.name in consumed else " (no worker of this test consumes it)"
                parts.append(f"{queue.name} has {queue.ready} waiting{held}{nobody}")
        busy = self._workers.deeds().busy
        parts.append(f"{busy} tasks run")
        return "; ".join(parts)
