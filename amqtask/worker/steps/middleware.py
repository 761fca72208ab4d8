"""Middleware that wants to know of retries and dead letters: told in a thread of its own. Owns that thread.

It may take its time there, and wait for other programs; when it falls far behind, what it would have been told is
dropped, with a line in the log.
"""

from __future__ import annotations

import logging
import threading
from _queue import SimpleQueue  # gevent makes another one of queue.SimpleQueue, which is for greenlets
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from amqtask.execution.job import Kind, Outcome
from amqtask.tasks.middleware import Ended, Middleware
from amqtask.worker.custody.gates import Observer
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.engine import Engine
    from amqtask.worker.process.threads import NewThread

logger = logging.getLogger("amqtask.worker")

_WAITING_MAX = 1000
_LOOK = 0.05


class MiddlewareStep(Step):
    """Tells the app's middleware of attempts that have failed."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        self._teller = Teller(worker.app.middleware, worker.pool.new_thread)
        worker.custody.observers.append(self._teller)

    @classmethod
    def wanted(cls, worker: Engine) -> bool:
        """Where there is middleware that has something to do here."""
        return any(
            type(one).on_retry is not Middleware.on_retry or type(one).on_dead is not Middleware.on_dead
            for one in worker.app.middleware
        )

    def start(self) -> None:
        """Start the thread."""
        self._teller.start()

    def stop(self, done: Callable[[], None]) -> None:
        """Let it be told what waits, as long as the end waits for that."""
        self._teller.finish()

        def look() -> None:
            if self._teller.alive:
                self.worker.loop.call_later(_LOOK, look)
            else:
                done()

        look()


class Teller(Observer):
    """Observes on the I/O thread, tells in a thread of its own.

    Args:
        middleware: to be told.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    def __init__(self, middleware: Iterable[Middleware], new_thread: NewThread = threading.Thread) -> None:
        self._middleware = middleware
        self._waiting: SimpleQueue[Ended | None] = SimpleQueue()
        self._thread = new_thread(target=self._work, name="amqtask-middleware", daemon=True)
        self._ended = False
        self._unstored: dict[int, Ended] = {}
        """Key of a delivery -> what is told of it once what follows from it is stored."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """End the thread once it has told what waits."""
        self._waiting.put(None)

    @property
    def alive(self) -> bool:
        """Has it something to do?"""
        return not self._ended

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: D102 -- as Observer says
        if effect.dead or (outcome.kind == Kind.RETRY and effect.delay is not None):
            self._keep(delivery, outcome, effect)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: D102
        if effect.dead:
            self._keep(delivery, Outcome(delivery.key, Kind.FAILED, text=reason), effect)

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:  # noqa: ARG002, D102
        if effect.lost is not None:
            self._keep(delivery, effect.lost, effect)

    def _keep(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:
        kind, text, trace = outcome.error or ("", outcome.text, "")
        exception = f"{kind}: {text}" if kind else text
        delay = None if effect.dead else effect.delay
        self._unstored[delivery.key] = Ended(
            delivery.name, delivery.id, delivery.queue, delivery.retries or 0, effect.dead, exception, trace, delay
        )

    def settled(self, delivery: Delivery) -> None:  # noqa: D102
        ended = self._unstored.pop(delivery.key, None)
        if ended is None:
            return
        if self._waiting.qsize() < _WAITING_MAX:
            self._waiting.put(ended)
        else:
            logger.warning("middleware is slow: it is not told of %s[%s]", delivery.name, delivery.id)

    def _work(self) -> None:
        while (ended := self._waiting.get()) is not None:
            for one in self._middleware:
                self._tell(one.on_dead if ended.delay is None else one.on_retry, ended)
        self._ended = True

    def _tell(self, hook: Callable[[Ended], Any], ended: Ended) -> None:
        try:
            answer = hook(ended)
            if isawaitable(answer):
                import asyncio  # noqa: PLC0415 -- megabytes that others do without

                asyncio.run(_awaited(answer))
        except BaseException:  # SystemExit would end the thread, and nobody would be told of anything any more
            logger.exception("middleware failed: %r", hook)


async def _awaited(answer: Any) -> None:
    await answer


STEP = MiddlewareStep
