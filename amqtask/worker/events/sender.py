"""The events of one worker, put together: what remote control and other parts of the worker use of them.

Owns what the worker says of itself, and turning task events on and off.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from amqtask.events.event import software
from amqtask.worker.events.dispatcher import EventDispatcher
from amqtask.worker.events.heart import Heart
from amqtask.worker.events.tasks import TaskEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.broker.interface import Loop
    from amqtask.config.settings import Settings
    from amqtask.events.event import Event
    from amqtask.wire.lamport import LamportClock
    from amqtask.worker.custody.custody import Custody
    from amqtask.worker.process.threads import NewThread


class WorkerEvents:
    """Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        settings: of the app.
        hostname: node name of the worker.
        ticks: the logical clock.
        custody: is observed.
        blocked: whether the broker takes no publishes just now.
        new_thread: makes a real thread where gevent has made greenlets of them.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        hostname: str,
        ticks: LamportClock,
        custody: Custody,
        blocked: Callable[[], bool],
        new_thread: NewThread = threading.Thread,
    ) -> None:
        self._custody, self._interval = custody, settings.worker_heartbeat_interval
        self.dispatcher = dispatcher = EventDispatcher(
            loop, settings.event_exchange, hostname, ticks, blocked, new_thread
        )
        self._heart = Heart(loop, self._beat, self._interval)
        dispatcher.on_return = lambda _key: self._heart.returned()
        self._tasks = TaskEvents(dispatcher)
        self._tasks.enabled = settings.worker_send_task_events
        custody.observers.append(self._tasks)
        self.on_heartbeat: Callable[[], object] = lambda: None
        """Called with each heartbeat."""

    @property
    def enabled(self) -> bool:
        """Are task events sent?"""
        return self._tasks.enabled

    def enable(self) -> bool:
        """Send task events from now on; False when that was so already."""
        changed, self._tasks.enabled = not self._tasks.enabled, True
        return changed

    def disable(self) -> bool:
        """Send no more task events; False when that was so already."""
        changed, self._tasks.enabled = self._tasks.enabled, False
        return changed

    def heartbeat(self) -> None:
        """Send a heartbeat now: somebody has begun to listen."""
        self._heart.beat_now()

    def send(self, kind: str, **fields: object) -> None:
        """Send an event of any other type, now; see :meth:`EventDispatcher.send`."""
        self.dispatcher.send(kind, fields)

    def put(self, kind: str, **fields: object) -> None:
        """Send a task event, in its order among the others, while they are enabled."""
        if self.enabled:
            self.dispatcher.put(kind, fields)

    def online(self) -> None:
        """The worker consumes."""
        self.dispatcher.send("worker-online", self._state())
        self._heart.start()

    def pause(self) -> None:
        """There is no connection."""
        self._heart.stop()

    def offline(self, done: Callable[[], None]) -> None:
        """The worker ends: what waits is sent, then its goodbye."""
        self._heart.stop()

        def last() -> None:
            self.dispatcher.send("worker-offline", self._state())
            self.dispatcher.stop()
            done()

        self.dispatcher.drain(last)

    def _beat(self) -> None:
        self.dispatcher.send("worker-heartbeat", self._state(), mandatory=True)
        self.on_heartbeat()

    def _state(self) -> Event:
        active = len(self._custody.running)
        return {
            "freq": self._interval,
            "active": active,
            "processed": sum(self._custody.counts.ended.values()) + active,
            "loadavg": [round(load, 2) for load in os.getloadavg()],
            **software(),
        }
