"""Listens to events, and makes the picture of the cluster from them. Owns the thread, and what is said of its health.

Where the broker has streams the events are read from the history, so every monitor has the same picture, and has it
again after a restart. Where it has none, the picture begins with the monitor.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.durations import format_duration
from amqtask.errors import AmqtaskError
from amqtask.events.history import NoHistory, name_of
from amqtask.monitor.intake import tamed
from amqtask.monitor.views import READ_FROM_HISTORY, READ_SINCE_START, Health, Minute

if TYPE_CHECKING:
    from amqtask.app.app import Amqtask
    from amqtask.broker.driven import DrivenConnection
    from amqtask.events.event import Event
    from amqtask.events.nodes import Worker
    from amqtask.events.receiver import Receiver
    from amqtask.monitor.options import Options

logger = logging.getLogger("amqtask.monitor")

_AGAIN = 5.0
"""Seconds before what was refused is tried again, and a worker is asked again."""
_LOOK = 0.05
_MINUTES = 60
_MINUTE = 60.0
_ENDS = {"task-succeeded": 0, "task-failed": 1, "task-retried": 2}
_MAX_WORKERS = 2_000


class Collector:
    """The picture, and a thread that keeps it up to date between :meth:`start` and :meth:`stop`.

    Args:
        app: whose events.
        options: of the monitor.

    Attributes:
        state: the picture; read it within its ``freeze_while``.
        age: seconds that the history is kept; None when there is none.
    """

    def __init__(self, app: Amqtask, options: Options) -> None:
        self._app, self._options = app, options
        self.state = app.events.State(
            max_tasks_in_memory=options.max_tasks, max_workers_in_memory=_MAX_WORKERS, on_node_join=self._joined
        )
        self.age: float | None = None
        self._note: str | None = None
        self._failure: str | None = None
        self._connection: DrivenConnection | None = None
        self._receiver: Receiver | None = None
        self._since: float | None = None
        self._heard: float | None = None
        self._ended: dict[int, list[int]] = {}
        self._newcomers: deque[str] = deque(maxlen=_MAX_WORKERS)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("amqtask-collector", self._run), ("amqtask-greeting", self._greet))
        ]

    def start(self) -> None:
        """Begin to listen."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End listening; returns within some seconds, whatever the broker does."""
        self._stopping.set()
        deadline = clock.monotonic() + _AGAIN
        while any(thread.is_alive() for thread in self._threads) and clock.monotonic() < deadline:
            if (receiver := self._receiver) is not None:
                receiver.should_stop = True  # again and again: it may be only about to begin, which resets that
            for thread in self._threads:
                thread.join(_LOOK)

    @property
    def health(self) -> Health:
        """How much can be believed."""
        receiver, state = self._receiver, self.state
        connected = receiver is not None and receiver.consuming
        return Health(
            connected=connected,
            error=None if connected else self._error(),
            history=READ_SINCE_START if self.age is None else READ_FROM_HISTORY,
            history_note=self._note,
            catching_up=receiver is not None and receiver.behind,
            since=self._since,
            heard=self._heard,
            events=state.event_count,
            kept_tasks=len(state.tasks),
            max_tasks=self._options.max_tasks,
        )

    def minutes(self) -> tuple[Minute, ...]:
        """What ended in each minute of the last hour, the oldest first."""
        last = int(clock.wall() // _MINUTE)
        return tuple(
            Minute(at * _MINUTE, *self._ended.get(at, (0, 0, 0))) for at in range(last - _MINUTES + 1, last + 1)
        )

    def away(self) -> str | None:
        """Why the broker can't be reached, in one line; None while it can, or nobody knows yet."""
        error = None if self._connection is None else self._connection.error
        return None if error is None else " ".join(str(error).split())

    def _error(self) -> str:
        if self._failure is not None or self._connection is None:
            return self._failure or "it is only starting"
        return self.away() or "connecting"

    # -- the thread that listens --------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._app.connection() as connection:
            self._connection = connection
            self._receiver = self._begin(connection, history=self._options.history)
            while not self._stopping.is_set():
                try:
                    self._receiver.capture(wakeup=False)  # see _greet
                except NoHistory as error:
                    self._note = f"{error}: tasks are shown since this monitor was started"
                    logger.warning("%s", self._note)
                    self._receiver = self._begin(connection, history=False)
                except AmqtaskError as error:
                    self._fail(str(error))
                except Exception as error:
                    logger.exception("Listening to events has failed")
                    self._fail(repr(error))

    def _begin(self, connection: DrivenConnection, *, history: bool) -> Receiver:
        settings = self._app.settings
        handlers = {"*": self._take}
        if not history:
            self.age = None
            self._note = self._note or "without history: tasks are shown since this monitor was started"
            return self._app.events.Receiver(connection, handlers)
        self.age = settings.event_history_age
        kept, size = timedelta(seconds=self.age), settings.event_history_size / 1e6
        self._note = f"{name_of(settings)} keeps events for {format_duration(kept)}, up to {size:,.0f} MB"
        return self._app.events.Receiver(connection, handlers, from_offset=datetime.now(UTC) - kept)

    def _fail(self, text: str) -> None:
        text = " ".join(text.split())
        if text != self._failure:
            logger.error("No events: %s", text)
        self._failure = text
        self._stopping.wait(_AGAIN)

    def _take(self, event: Event) -> None:
        self._failure = None
        self._heard = clock.wall()
        if (plain := tamed(event)) is None:
            return
        sent = plain.get("timestamp")
        if isinstance(sent, int | float) and 0 < sent <= self._heard:
            self._since = sent if self._since is None else min(self._since, sent)
            self._count(plain["type"], int(sent // _MINUTE))
        self.state.event(plain)

    def _count(self, kind: str, at: int) -> None:
        place = _ENDS.get(kind)
        if place is None:
            return
        if at not in self._ended:
            oldest = int(clock.wall() // _MINUTE) - _MINUTES
            if at < oldest:
                return
            self._ended = {kept: found for kept, found in self._ended.items() if kept >= oldest} | {at: [0, 0, 0]}
        self._ended[at][place] += 1

    # -- workers that are silent --------------------------------------------------------------------------------------

    def _joined(self, worker: Worker) -> None:
        receiver = self._receiver
        if receiver is not None and not receiver.behind:
            self._newcomers.append(worker.hostname)

    def _greet(self) -> None:
        """Ask workers for a sign of life and for task events: those that are there, and each that comes later."""
        asked_all = False
        while not self._stopping.wait(0.5 if asked_all else 0.1):
            receiver = self._receiver
            if receiver is None or not receiver.consuming:
                asked_all = False
                continue
            names = {self._newcomers.popleft() for _ in range(len(self._newcomers))}
            if asked_all and not names:
                continue
            try:
                if not asked_all:
                    self._app.control.heartbeat()
                if self._options.enable_events:
                    self._app.control.enable_events(sorted(names) if asked_all else None)
                asked_all = True
            except AmqtaskError as error:
                self._newcomers.extend(names)
                logger.warning("Workers can't be asked for events: %s", error)
                self._stopping.wait(_AGAIN)
