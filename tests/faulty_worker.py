"""The app of :mod:`crew` with a worker that breaks in a way that FAULT names. Imported by workers only."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from crew import app

from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app"]


@app.steps["worker"].add
class Fault(Step):
    """Breaks the worker half a second after it is ready."""

    def ready(self) -> None:
        fault: Callable[[], None] = getattr(self, os.environ["FAULT"])
        self.worker.loop.call_later(0.5, fault)

    def freeze(self) -> None:
        """The I/O loop hangs."""
        time.sleep(60)

    def deaf(self) -> None:
        """The consumer goes, and nobody has told those who look after it."""
        consumers = self.worker.consumers
        assert consumers.channel is not None
        (tag,) = list(consumers._live)
        consumers.channel.basic_cancel(tag, lambda _: None)
