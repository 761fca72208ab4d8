"""Raises an alarm when work waits and nothing gets done (``no_progress_after``). Owns the looks and the command."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from amqtask.worker.custody.gates import Observer
from amqtask.worker.health.progress import Progress
from amqtask.worker.looks import Look, QueueLooks
from amqtask.worker.process.spawn import running, spawn
from amqtask.worker.steps.base import Step

if TYPE_CHECKING:
    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect
    from amqtask.worker.engine import Engine

logger = logging.getLogger("amqtask.worker")

VARIABLE = "AMQTASK_ALARM"
"""Environment of the command: the alarm's text."""

_LOOKS = 4
"""Looks per period."""


class _Ends(Observer):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: ARG002
        self._progress.made()


class ProgressAlarm(Step):
    """Looks at the queues some times per ``no_progress_after``; an alarm is a log line, and ``no_progress_command``."""

    def __init__(self, worker: Engine) -> None:
        super().__init__(worker)
        after = worker.app.settings.no_progress_after
        assert after is not None  # else it is not wanted
        self._interval = after / _LOOKS
        self._progress = Progress(after)
        self._looks = QueueLooks(lambda: worker.connection)
        self._commands: list[int] = []

    @classmethod
    def wanted(cls, worker: Engine) -> bool:  # noqa: D102 -- as Step says
        return worker.app.settings.no_progress_after is not None

    def start(self) -> None:  # noqa: D102
        self.worker.custody.observers.append(_Ends(self._progress))
        self._later()

    def _later(self) -> None:
        self.worker.loop.call_later(self._interval, self._look)

    def _look(self) -> None:
        self._later()
        self._looks.look(list(self.worker.consumers.consumed), self._seen)

    def _seen(self, found: dict[str, Look], problem: str) -> None:  # noqa: ARG002 -- what was found counts
        custody = self.worker.custody
        text = self._progress.alarm(
            {name: look.messages for name, look in found.items()}, custody.busy + len(custody.waiting)
        )
        if text is not None:
            logger.critical("%s: %s", self.worker.options.hostname, text)
            self._run_command(text)

    def _run_command(self, text: str) -> None:
        command = self.worker.app.settings.no_progress_command
        if command is None:
            return
        self._commands = [pid for pid in self._commands if running(pid)]
        try:
            self._commands.append(spawn(("sh", "-c", command), {**os.environ, VARIABLE: text}))
        except OSError as error:
            logger.error("no_progress_command: %s", error)  # noqa: TRY400 -- the text says it all


STEP = ProgressAlarm
