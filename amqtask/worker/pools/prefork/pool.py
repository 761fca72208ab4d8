"""Runs jobs in child processes; the parent owns every delivery. Owns what is done about what children say.

``prepare()`` forks a fork server while the process is young; it makes the children. Each child has a socket pair with
the parent (:mod:`.frames`): batches of jobs in, batches of outcomes out, and the publishes of ``delay()``
calls and the states of tasks that still run. A child gets one job at a time, several only of tasks known to be short
(:mod:`.dispatch`); should one of those turn out long, the child hands back those behind it. Which job a child
was running when it died is read from shared memory (:mod:`.cells`). Who replaces whom is the crew's business
(:mod:`.crew`); when a job or a child takes too long, the watch's (:mod:`.watch`).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.execution.executor import Executor
from amqtask.execution.job import Kind, Outcome
from amqtask.worker.pools._inner_transport import States
from amqtask.worker.pools.base import Pool, Running
from amqtask.worker.pools.prefork.cells import Cells
from amqtask.worker.pools.prefork.child import Heritage, child_main
from amqtask.worker.pools.prefork.crew import Crew
from amqtask.worker.pools.prefork.dispatch import Dispatch
from amqtask.worker.pools.prefork.frames import Frame, ProtocolError
from amqtask.worker.pools.prefork.info import info
from amqtask.worker.pools.prefork.ping import Pings
from amqtask.worker.pools.prefork.server import BORN, DEAD, PONG, STOPPED, UNBORN, ForkServer
from amqtask.worker.pools.prefork.stops import Stops, signal_number
from amqtask.worker.pools.prefork.values import begins_of, message_of, outcome_of, records_of
from amqtask.worker.pools.prefork.watch import Watch
from amqtask.worker.pools.prefork.window import TaskWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amqtask.execution.job import Job
    from amqtask.worker.pools.base import PoolHost
    from amqtask.worker.pools.prefork.slot import Slot

logger = logging.getLogger("amqtask.worker")

_CAPACITY = 1024
"""Least number of slots that can be had; one that is never used costs nothing."""

_LEAVE = 2.0
"""Seconds that children have for their own end (``worker_process_shutdown``) when the worker has ended."""


class PreforkPool(Pool):
    """See :class:`~amqtask.worker.pools.base.Pool`."""

    forks = True

    def __init__(self, host: PoolHost) -> None:
        super().__init__(host)
        self._closing = self._terminated = False
        self._release = threading.Event()
        self._fork_server: ForkServer | None = None
        self._slots: list[Slot] = []

    def prepare(self) -> None:
        """Fork the fork server; the process must be single-threaded still."""
        if threading.active_count() > 1:
            others = ", ".join(thread.name for thread in threading.enumerate()[1:])
            logger.warning("threads started by the app (%s) do not exist in the children", others)
        if any(task.is_async for task in self._host.app.tasks.values()):
            import asyncio  # noqa: F401, PLC0415 -- once here instead of once in each child
        host = self._host
        host.app.producer  # noqa: B018 -- made before the fork, to be shared by the children
        states, window = States(), TaskWindow()
        executor = Executor(host.app, host.hostname, host.log_results, report=states, window=window.of)
        self._most = max(_CAPACITY, 4 * host.concurrency)
        self._cells = Cells(self._most)
        memory_max = host.app.settings.worker_max_memory_per_child
        heritage = Heritage(host.app, host.hostname, executor, window, states, self._cells, memory_max)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()  # what exists now is never touched by a collection, so its pages stay shared
        self._fork_server = ForkServer(partial(child_main, heritage))

    def start(self) -> None:
        """Have the children made; jobs wait in their sockets until they are up."""
        loop, settings = self._host.loop, self._host.app.settings
        patience = settings.worker_proc_alive_timeout
        loop.watch(self._server.control.fileno(), self._on_server)
        self._watch = Watch(loop, patience)
        self._crew = Crew(
            loop,
            self,
            self._server,
            self._watch,
            most=self._most,
            tasks_max=settings.worker_max_tasks_per_child,
            jitter=settings.worker_max_tasks_per_child_jitter,
        )
        self._slots, self.ended_children = self._crew.slots, self._crew.ended
        self._dispatch = Dispatch(self._crew, self._watch, self._refuse, fair=self._host.fair)
        self._stops = self._watch.actions = Stops(self._cells, self._server, self._crew, self._on_stopped)
        self._pings = Pings(loop, patience, self._on_silence)
        self._crew.grow(self._host.concurrency)

    def free(self) -> int:
        """Room for jobs; for short ones more than one per child."""
        dispatch = self._dispatch
        return 0 if dispatch.pending or self._closing else dispatch.room

    def submit(self, job: Job) -> None:
        """Hand the job to a child, or keep it until one is idle when it is not known to be short."""
        self._dispatch.submit(job)

    def flush(self) -> None:
        """Write the gathered jobs, one frame per child."""
        self._dispatch.flush()

    @property
    def size(self) -> int:
        """Children there are to be."""
        return self._crew.size if self._slots else self._host.concurrency

    def grow(self, slots: int) -> None:
        """More children."""
        self._crew.grow(slots)
        self.has_room()

    def shrink(self, slots: int) -> None:
        """Fewer children, one at least."""
        self._crew.shrink(slots)

    def running(self) -> Sequence[Running]:
        """What the children run, as they say themselves."""
        found = ((slot, self._cells.started(slot.number)) for slot in self._slots)
        ago = clock.wall() - clock.monotonic()
        return [Running(cell[0], cell[1] + ago, slot.pid) for slot, cell in found if cell and cell[0] in slot.jobs]

    def stop_job(self, key: int, signal: str, outcome: Outcome) -> bool:
        """Signal the child that runs it; a job that has not begun does not."""
        number = signal_number(signal)
        if number is None or self._fork_server is None:
            return False
        if self._dispatch.withdraw(key):
            self._host.loop.call_later(0, lambda: self._host.done([outcome]))
            return True
        for slot in self._slots:
            if key in slot.jobs:
                self._stops.ask(slot, number, outcome._replace(key=key))
                self._watch.expect(slot, 0.0)
                return True
        return False

    def info(self) -> dict[str, Any]:
        """As Celery's prefork pool tells it."""
        return info(self._host.app.settings, self.size, self._slots, fair=self._host.fair)

    def ping(self, done: Callable[[bool], None]) -> None:
        """Ask the fork server and the idle children."""
        if self._fork_server is None:
            done(False)
            return
        idle = [slot for slot in self._slots if slot.ready and not slot.jobs and not slot.closing and not slot.killed]
        self._pings.ask(self._fork_server, idle, done)

    def _on_silence(self, slot: Slot) -> None:
        if not slot.jobs:  # else the watch sees to it
            self._crew.kill(slot, "it did not answer")

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
            self._watch.forget(slot)
        self._stop_server()

    def run_main(self) -> None:
        """Wait; the main thread has nothing to do but signals."""
        self._release.wait()

    def release_main(self) -> None:
        """Let :meth:`run_main` return; children that are ending may do so first: the kernel kills them with us."""
        if self._closing and self._fork_server is not None:
            self._fork_server.leave(_LEAVE)
        self._release.set()

    def _place_pending(self) -> None:
        if self._dispatch.pending:
            self._dispatch.place_pending()
        if self._closing:
            self._close_idle()

    def _close_idle(self) -> None:
        if self._dispatch.pending:
            return
        for slot in self._slots:
            if slot.connected and not slot.closing and not slot.jobs:
                slot.close()
                self._watch.expect(slot)

    # ---- what the crew asks

    def wants_children(self) -> bool:
        """Whether dead children are to be replaced."""
        return self._fork_server is not None and (not self._closing or bool(self._dispatch.pending))

    def recount(self, slot: Slot) -> None:
        """Whether this slot takes jobs may have changed."""
        self._dispatch.recount(slot)

    def has_room(self) -> None:
        """Waiting jobs may find a place now."""
        if not self._terminated:
            self._place_pending()
            self._host.done(())  # nothing is done, but there is room again

    # ---- what children say

    def read(self, slot: Slot) -> None:
        """The child of this slot has written something, or is gone."""
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
            self._dispatch.recount(slot)
            self._fork_server.signal(slot.number, signal.SIGKILL)

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
            self._crew.ready(slot)
        elif kind == Frame.PONG:
            self._pings.answered(frame[1], slot)
        elif kind == Frame.FULL:
            self._crew.retire(slot, f"it holds {frame[1]} KiB")

    def _on_done(self, slot: Slot, outcomes: list[Outcome]) -> None:
        taken, runs = [], []
        for outcome in outcomes:
            job = slot.take(outcome.key)
            if job is None:
                continue
            taken.append(self._stops.instead(slot, outcome) if slot.stops else outcome)
            runs.append((job, outcome.runtime))
        slot.progress = clock.monotonic()
        self._dispatch.observe(runs)
        self._dispatch.freed(slot)
        self._place_pending()
        self._host.done(taken)

    def _on_back(self, slot: Slot, keys: list[int]) -> None:
        stopped, jobs = [], []
        for key in keys:
            job = slot.take(key)
            if job is None:
                continue
            if key in slot.stops:
                stopped.append(slot.stops.pop(key).outcome)
            else:
                jobs.append(job)
        self._dispatch.takes_long(slot)
        self._dispatch.submit_first(jobs)
        self._dispatch.freed(slot)
        self._place_pending()
        self._host.done(stopped)

    def _refuse(self, key: int, reason: str) -> None:
        self._host.done([Outcome(key, Kind.UNDECODABLE, text=reason)])

    def _on_stopped(self, slot: Slot, outcome: Outcome) -> None:
        """A job was stopped and its child is being killed; there is room for the next one when that is dead."""
        self._dispatch.recount(slot)
        self._host.done([outcome])

    # ---- deaths

    def _on_server(self) -> None:
        events = self._server.events()
        if events is None:
            self._on_server_gone()
            return
        for kind, number, *more in events:
            slot = None if kind == PONG else self._crew.at(number)
            if kind == PONG:
                self._pings.answered(number, None)
            elif slot is None:
                continue
            elif kind == BORN:
                slot.pid = more[0]
            elif kind == UNBORN:
                slot.killed = f"no process can be made: {more[0]}"
                self._on_death(slot, 0)
            elif kind == DEAD:
                if slot.pid == more[0]:  # else it is the last child of a slot that had this number
                    self._on_death(slot, more[1])
            else:
                slot.stopped = clock.monotonic() if kind == STOPPED else None
                self._watch.expect(slot)

    def _on_death(self, slot: Slot, status: int) -> None:
        for frame in slot.drain():
            if frame[0] in (Frame.DONE, Frame.READY, Frame.STORE):
                self._handle(slot, frame)
        reason = slot.killed or _describe(status)
        ready, expected = slot.ready, slot.leaving or bool(slot.killed or slot.stops)
        stopped, blamed, innocent = self._clear(slot)
        if ready or self._closing:
            level = logging.DEBUG if slot.leaving else logging.INFO if expected or not status else logging.ERROR
            logger.log(level, "child %d ended: %s", slot.pid, reason)
        self._pings.gone(slot)
        self._crew.died(slot, ready or self._closing, reason)
        self._place_pending()
        self._host.done(stopped)  # even without any: there is room again
        if blamed or innocent:
            self._host.lost(blamed, innocent, reason)
        if self._closing and not any(other.connected for other in self._slots):
            self._stop_server()

    def _clear(self, slot: Slot) -> tuple[list[Outcome], list[int], list[int]]:
        """Outcomes of jobs that were to be stopped, keys of the others: to blame and innocent."""
        running = self._cells.running(slot.number)
        self._cells.clear(slot.number)
        stops = dict(slot.stops)
        keys = slot.clear()
        self._dispatch.recount(slot)
        stopped = [stops[key].outcome for key in keys if key in stops]
        left = [key for key in keys if key not in stops]
        return stopped, [key for key in left if key == running], [key for key in left if key != running]

    def _on_server_gone(self) -> None:
        self._closing = True
        cleared = [self._clear(slot) for slot in self._slots]
        cleared.append(([], [], [job.key for job in self._dispatch.pending]))
        self._dispatch.pending.clear()
        self._stop_server()
        reason = "the fork server died, and its children with it"
        for stopped, blamed, innocent in cleared:
            self._host.done(stopped)
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


POOL = PreforkPool
