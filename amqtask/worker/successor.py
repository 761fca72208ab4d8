"""A fresh process that takes a worker's place without a gap. Owns the handover, seen from the process that goes.

    start the same command ─► it consumes, and says so on a pipe ─► end warm
                              it ends before that ─► go on as if nothing had been

Both have one node name for a while: who needs it for itself alone looks at ``Engine.predecessor`` and waits for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtask import unpatched
from amqtask.worker.process.spawn import exit_code, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.broker.interface import Loop

logger = logging.getLogger("amqtask.worker")

PREDECESSOR = "_AMQTASK_PREDECESSOR"
"""Environment: takes the place of this process, which has set up user, folder and files."""

READY = "_AMQTASK_READY_FD"
"""Environment: descriptor on which the process in that place is told that it may go."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the program of this process is started once more.

    Attributes:
        command: its command line.
        folder: where it is started.
        predecessor: process whose place this one takes, or None.
        descriptors: it inherits.
        environment: for it, beside ours.
    """

    command: Sequence[str]
    folder: str
    predecessor: int | None = None
    descriptors: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Successor:
    """Starts the process that takes over. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        launch: what to start.
        give_way: called with its process id once it does the work.
    """

    def __init__(self, loop: Loop, launch: Launch, give_way: Callable[[int], None]) -> None:
        self._loop, self._launch, self._give_way = loop, launch, give_way
        self._process: int | None = None
        self._reader = -1

    def start(self, reason: str) -> None:
        """Start it; harmless while one is on its way."""
        if self._process is not None:
            logger.warning("Restart (%s): process %d is starting already", reason, self._process)
            return
        reader, writer = os.pipe()
        launch = self._launch
        environment = {**os.environ, **launch.environment, PREDECESSOR: str(os.getpid()), READY: str(writer)}
        environment.pop("WATCHDOG_PID", None)  # systemd will listen to the new process
        os.set_inheritable(writer, True)
        for descriptor in launch.descriptors:
            os.set_inheritable(descriptor, True)
        try:
            self._process = spawn(launch.command, environment, launch.folder)
        except OSError as error:
            unpatched.close(reader)
            logger.error("Restart (%s): no process can be started: %s", reason, error)  # noqa: TRY400
            return
        finally:
            unpatched.close(writer)
            for descriptor in launch.descriptors:
                os.set_inheritable(descriptor, False)
        self._reader = reader
        self._loop.watch(reader, self._heard)
        logger.warning("Restart (%s): process %d is starting", reason, self._process)

    def cancel(self) -> None:
        """This process ends for another reason: what has not taken over must not."""
        if self._process is not None and self._reader >= 0:
            self._forget()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)

    def _heard(self) -> None:
        process = self._process
        assert process is not None
        said = os.read(self._reader, 64)
        self._forget()
        if said:
            logger.warning("Process %d has taken over", process)
            self._give_way(process)
            return
        self._process = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)  # whoever closes the pipe without a word is ending
        logger.error("Process %d ended with %s before it could take over; going on", process, exit_code(process))

    def _forget(self) -> None:
        self._loop.unwatch(self._reader)
        unpatched.close(self._reader)
        self._reader = -1
