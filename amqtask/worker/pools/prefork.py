"""Runs jobs in child processes; the parent owns every delivery. Owns the children's supervision and the windows.

``prepare()`` forks a fork server while the process is young; it makes the children. Each child has a socket pair with
the parent (:mod:`._prefork_frames`): batches of jobs in, batches of outcomes out, and the publishes of ``delay()``
calls and the states of tasks that still run. A child gets one job at a time, several only of tasks known to be short
(:mod:`._prefork_pace`); should one of those turn out long, the child hands back those behind it. Which job a child was
running when it died is read from shared memory (:mod:`._prefork_cells`). A crashed child is replaced at once; children
that keep dying before they are up are replaced with growing pauses.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind, Outcome
from amqtask.worker.pools._inner_transport import States
from amqtask.worker.pools._prefork_cells import Cells
from amqtask.worker.pools._prefork_child import child_main
from amqtask.worker.pools._prefork_frames import Frame, ProtocolError
from amqtask.worker.pools._prefork_pace import SHORT, WINDOW, Pace
from amqtask.worker.pools._prefork_server import BORN, ForkServer
from amqtask.worker.pools._prefork_slot import Slot
from amqtask.worker.pools._prefork_values import begins_of, message_of, outcome_of, records_of

if TYPE_CHECKING:
    from amqtask.execution.job import Job
    from amqtask.worker.pools.base import PoolHost

logger = logging.getLogger("amqtask.worker")

_PAUSE_FIRST = 0.2
_PAUSE_MAX = 10.0
"""Seconds between children that die before they are up."""


class PreforkPool:
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    forks = True

    def __init__(self, host: PoolHost) -> None:
        self._host = host
        self._pace = Pace(host.fair)
        self._slots: list[Slot] = []
        self._pending: deque[Job] = deque()
        self._gathering: set[Slot] = set()
        self._room = 0
        self._calm = False
        self._closing = self._terminated = False
        self._release = threading.Event()
        self._fork_server: ForkServer | None = None

    def prepare(self) -> None:
        """Fork the fork server; the process must be single-threaded still."""
        if threading.active_count() > 1:
            others = ", ".join(thread.name for thread in threading.enumerate()[1:])
            logger.warning("threads started by the app (%s) do not exist in the children", others)
        if any(task.is_async for task in self._host.app.tasks.values()):
            import asyncio  # noqa: F401, PLC0415 -- once here instead of once in each child
        host = self._host
        host.app.producer  # noqa: B018 -- made before the fork, to be shared by the children
        states = States()
        executor = Executor(host.app, host.hostname, host.log_results, report=states)
        self._cells = Cells(host.concurrency)
        start = partial(child_main, host.app, executor, states, self._cells)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()  # what exists now is never touched by a collection, so its pages stay shared
        self._fork_server = ForkServer(start)

    def start(self) -> None:
        """Have the children made; jobs wait in their sockets until they are up."""
        self._host.loop.watch(self._server.control.fileno(), self._on_server)
        for number in range(self._host.concurrency):
            slot = Slot(number, self._host.loop)
            self._slots.append(slot)
            self._spawn(slot)

    def free(self) -> int:
        """Room for jobs; for short ones more than one per child."""
        return 0 if self._pending or self._closing else self._room

    def submit(self, job: Job) -> None:
        """Hand the job to a child, or keep it until one is idle when it is not known to be short."""
        if self._pending or not self._place(job):
            self._pending.append(job)

    def flush(self) -> None:
        """Write the gathered jobs, one frame per child."""
        if not self._gathering:
            return
        gathering, self._gathering = self._gathering, set()
        for slot in gathering:
            for key, reason in slot.flush():
                slot.take(key)
                self._host.done([Outcome(key, Kind.UNDECODABLE, text=reason)])
                self._recount(slot)

    def close(self) -> None:
        """Idle children end now, the others after their jobs."""
        self._closing = True
        self._close_idle()

    def terminate(self) -> None:
        """Kill every child and the fork server."""
        if self._terminated:
            return
        self._closing = self._terminated = True
        for slot in self._slots:
            slot.disconnect()
        self._stop_server()

    def run_main(self) -> None:
        """Wait; the main thread has nothing to do but signals."""
        self._release.wait()

    def release_main(self) -> None:
        """Let :meth:`run_main` return."""
        self._release.set()

    # ---- jobs

    def _place(self, job: Job) -> bool:
        short = self._pace.is_short(_name(job))
        best: Slot | None = None
        most = 0
        for slot in self._slots:
            if not slot.jobs:
                if slot.open:
                    best = slot
                    break
            elif short and (room := slot.room(1)) > most:
                best, most = slot, room
        if best is None:
            return False
        best.give(job, short=short)
        self._gathering.add(best)
        self._recount(best)
        return True

    def _place_pending(self) -> None:
        if not self._pending and not self._closing:
            return
        while self._pending and self._place(self._pending[0]):
            self._pending.popleft()
        self.flush()
        if self._closing:
            self._close_idle()

    def _recount(self, slot: Slot) -> None:
        room = slot.room(WINDOW if self._calm else 1)
        self._room += room - slot.counted
        slot.counted = room

    def _close_idle(self) -> None:
        if self._pending:
            return
        for slot in self._slots:
            if slot.open and not slot.jobs:
                slot.close()

    # ---- what children say

    def _on_child(self, slot: Slot) -> None:
        try:
            frames = slot.receive()
        except ProtocolError as error:
            logger.error("child %d broke the protocol: %s", slot.pid, error)  # noqa: TRY400 -- our stack says nothing
            frames = None
        for frame in frames or ():
            self._handle(slot, frame)
        if frames is None and slot.connected and self._fork_server is not None:
            # Its end is closed or unusable. Mostly it is dead; if not, it can never report anything again.
            slot.disconnect()
            self._recount(slot)
            self._fork_server.kill(slot.number)

    def _handle(self, slot: Slot, frame: list[Any]) -> None:
        kind = frame[0]
        if kind == Frame.DONE:
            self._on_done(slot, [outcome_of(fields) for fields in frame[1]])
        elif kind == Frame.PUBLISH:
            for number, message, timeout in frame[1]:
                self._host.publish(message_of(message), timeout, slot.replier(number))
        elif kind == Frame.BEGIN:
            number, chords, key = frame[1:]
            replier = slot.replier(number)
            self._host.begin(begins_of(chords), key, lambda: replier(None))
        elif kind == Frame.STORE:
            self._host.store(records_of(frame[1]))
        elif kind == Frame.BACK:
            self._on_back(slot, frame[1])
        elif kind == Frame.READY:
            slot.ready, slot.early_deaths = True, 0

    def _on_done(self, slot: Slot, outcomes: list[Outcome]) -> None:
        taken = []
        for outcome in outcomes:
            job = slot.take(outcome.key)
            if job is None:
                continue
            taken.append(outcome)
            if outcome.runtime > 0:
                self._pace.observe(_name(job), outcome.runtime)
        if self._calm is not self._pace.calm:
            self._calm = self._pace.calm
            for other in self._slots:
                self._recount(other)
        self._recount(slot)
        self._place_pending()
        self._host.done(taken)

    def _on_back(self, slot: Slot, keys: list[int]) -> None:
        jobs = [job for key in keys if (job := slot.take(key)) is not None]
        for job in slot.jobs.values():
            self._pace.observe(_name(job), SHORT)
            break
        slot.slow_down()
        self._recount(slot)
        self._pending.extendleft(reversed(jobs))
        self._place_pending()

    # ---- births and deaths

    def _spawn(self, slot: Slot) -> None:
        if self._fork_server is None or (self._closing and not self._pending):
            return
        theirs = slot.connect(partial(self._on_child, slot))
        try:
            self._fork_server.spawn(slot.number, theirs)
        except OSError as error:
            logger.warning("the fork server takes no order (%s); trying again", error)
            slot.disconnect()
            self._host.loop.call_later(_PAUSE_FIRST, partial(self._respawn, slot))
        finally:
            theirs.close()
        self._recount(slot)

    def _respawn(self, slot: Slot) -> None:
        if self._terminated:
            return
        self._spawn(slot)
        self._place_pending()
        self._host.done(())  # nothing is done, but there is room again

    def _on_server(self) -> None:
        events = self._server.events()
        if events is None:
            self._on_server_gone()
            return
        for kind, number, pid, *status in events:
            slot = self._slots[number]
            if kind == BORN:
                slot.pid = pid
            else:
                self._on_death(slot, status[0])

    def _on_death(self, slot: Slot, status: int) -> None:
        for frame in slot.drain():
            if frame[0] in (Frame.DONE, Frame.READY, Frame.STORE):
                self._handle(slot, frame)
        reason, ready, pid = _describe(status), slot.ready, slot.pid
        blamed, innocent = self._bury(slot)
        if ready or self._closing:
            self._spawn(slot)
            logger.log(logging.ERROR if status else logging.INFO, "child %d ended: %s", pid, reason)
        else:
            self._pause(slot, reason)
        self._place_pending()
        if blamed or innocent:
            self._host.lost(blamed, innocent, reason)
        if self._closing and not any(other.connected for other in self._slots):
            self._stop_server()

    def _bury(self, slot: Slot) -> tuple[list[int], list[int]]:
        running = self._cells.running(slot.number)
        self._cells.end(slot.number)
        keys = slot.bury()
        self._recount(slot)
        return [key for key in keys if key == running], [key for key in keys if key != running]

    def _pause(self, slot: Slot, reason: str) -> None:
        pause = min(_PAUSE_FIRST * 2**slot.early_deaths, _PAUSE_MAX)
        slot.early_deaths += 1
        logger.error("child %d died before it was up (%s); next one in %.1f s", slot.pid, reason, pause)
        self._host.loop.call_later(pause, partial(self._respawn, slot))

    def _on_server_gone(self) -> None:
        self._closing = True
        lost = [self._bury(slot) for slot in self._slots]
        lost.append(([], [job.key for job in self._pending]))
        self._pending.clear()
        self._stop_server()
        reason = "the fork server died, and its children with it"
        for blamed, innocent in lost:
            if blamed or innocent:
                self._host.lost(blamed, innocent, reason)
        self._host.failed(reason)

    @property
    def _server(self) -> ForkServer:
        assert self._fork_server is not None
        return self._fork_server

    def _stop_server(self) -> None:
        server, self._fork_server = self._fork_server, None
        if server is not None:
            if self._slots:
                self._host.loop.unwatch(server.control.fileno())
            server.stop()


def _describe(status: int) -> str:
    """A wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "unknown"
        return f"signal {number} ({name})"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def _name(job: Job) -> str:
    """Of the task; empty for strangers' messages that say it elsewhere, or not at all."""
    name = job.headers.get("task")
    return name if isinstance(name, str) else ""


POOL = PreforkPool
