"""Tells systemd how the worker is doing, when it runs there with ``Type=notify``. Owns what is told, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.worker.process.notify import notify, watchdog_interval
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.worker.engine import Engine


class Systemd(Step):
    """Started as soon as the I/O loop turns: a broker that is away must not make systemd start it again and again."""

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: ARG003, D102 -- as Step says
        return notify("STATUS=Starting")

    def start(self) -> None:  # noqa: D102
        notify("READY=1\nSTATUS=Connecting to the broker")
        self._ping()

    def ready(self) -> None:  # noqa: D102
        notify(f"STATUS=Consuming {', '.join(self.worker.consumers.consumed)}")

    def disconnected(self) -> None:  # noqa: D102
        notify("STATUS=No connection to the broker")

    def stopping(self) -> None:  # noqa: D102
        notify("STOPPING=1\nSTATUS=Ending: running tasks may finish")

    def _ping(self) -> None:
        """From the I/O loop: systemd ends a worker whose loop is frozen."""
        interval = watchdog_interval()
        if interval is not None:
            if not self.worker.restart_reason:
                notify("WATCHDOG=1")
            self.worker.loop.call_later(interval / 2, self._ping)


STEP = Systemd
