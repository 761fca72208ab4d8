"""A receiver of events in a thread, for tests."""

from __future__ import annotations

import threading
from typing import Any, Self

from waiting import wait_for

from amqtask import Amqtask
from amqtask.events.receiver import Receiver
from amqtask.events.state import State


class Watch:
    """A context manager that receives as long as it is open.

    Attributes:
        events: everything it has received.
    """

    def __init__(self, app: Amqtask, routing_key: str = "#", state: State | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.state = state
        self.receiver: Receiver | None = None
        self._app, self._key = app, routing_key
        self._thread = threading.Thread(target=self._run, daemon=True)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == kind]

    def wait(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of one type, once there are so many."""
        wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def _take(self, event: dict[str, Any]) -> None:
        if self.state is not None:
            self.state.event(event)
        self.events.append(event)

    def _run(self) -> None:
        with self._app.connection() as connection:
            self.receiver = self._app.events.Receiver(connection, {"*": self._take}, self._key)
            self.receiver.capture()

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self.receiver is not None and self.receiver.consuming)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.receiver is not None
        self.receiver.should_stop = True
        self._thread.join(60)
