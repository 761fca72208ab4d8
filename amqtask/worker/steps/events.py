"""The worker's events as a step: when it says hello and goodbye. Owns ``engine.events``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.signals import heartbeat_sent
from amqtask.worker.events.sender import WorkerEvents
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.worker.engine import Engine


class EventsStep(Step):
    """Sends the worker's events on its publishing connection; task events when they are enabled."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        publisher = worker.publisher
        self._events = worker.events = WorkerEvents(
            worker.loop,
            worker.app.settings,
            worker.options.hostname,
            worker.clock,
            worker.custody,
            lambda: publisher.blocked,
            worker.pool.new_thread,
        )
        self._events.on_heartbeat = lambda: heartbeat_sent.send(self._events)
        self._consuming = False
        self._events.dispatcher.on_ready = self._hello

    def start(self) -> None:
        """Share the publishing connection."""
        self.worker.publisher.ride(self._events.dispatcher)

    def disconnected(self) -> None:
        """A worker that can't consume is not online."""
        self._consuming = False
        self._events.pause()

    def ready(self) -> None:
        """Say hello."""
        self._consuming = True
        self._hello()

    def stop(self, done: Callable[[], None]) -> None:
        """Say goodbye."""
        self._events.offline(done)

    def _hello(self) -> None:
        """Once the worker consumes, and events can be sent; either may come first."""
        if self._consuming:
            self._events.online()


STEP = EventsStep
