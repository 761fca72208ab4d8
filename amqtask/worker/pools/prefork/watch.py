"""When a child, or one of its jobs, takes too long: the rule, and the timers that apply it. Owns both.

A job's time runs from the moment its child begins it, which shared memory tells. A child has to come up, to take a job
that it was given, to end when it was told to, and not to stay stopped: each within ``worker_proc_alive_timeout``, or
it is killed and its jobs go elsewhere.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amqtask import clock

if TYPE_CHECKING:
    from amqtask.broker.interface import Loop
    from amqtask.execution.job import Job
    from amqtask.worker.pools.prefork.slot import Slot

LONG = 0.05
"""Seconds after which a running job is not to keep others waiting behind it."""

_SOON = 0.01
"""Seconds until the next look at a job to be stopped that waits behind others; these are short."""

_AGAIN = 0.5
"""Seconds until what was sent is sent again if it has had no effect."""

_GRACE = 5.0
"""Seconds that a job has which was stopped by another signal than SIGKILL."""

_FROZEN = 1.0
"""Seconds that a look may come late before it is this process that was frozen, not the child."""


class Finding(NamedTuple):
    """What was found.

    Attributes:
        action: ``"soften"``, ``"stop"`` (as :meth:`Pool.stop_job` was asked), ``"time out"``, ``"relieve"`` (take back
            what waits behind the job), ``"kill"``, or nothing.
        key: of the job that it is about.
        reason: to kill the child.
        again: when to look again, monotonic.
    """

    action: str
    again: float
    key: int = 0
    reason: str = ""


def look(slot: Slot, running: tuple[int, float] | None, now: float, patience: float) -> Finding | None:
    """What is to be done about a slot.

    Args:
        slot: to look at.
        running: key of the job that its child runs, and since when.
        now: monotonic.
        patience: seconds within which a child has to move.

    Returns:
        None when nothing has to be watched.
    """
    if not slot.connected:
        return None
    if slot.killed:
        return Finding("kill", now + _AGAIN, reason=slot.killed)
    child = _look_at_child(slot, now, patience, idle=running is None)
    if child is None or child.action or not slot.jobs:
        return child
    if running is not None and running[0] in slot.jobs:
        job = _look_at_job(slot, *running, now)
        if job.action:
            return job
    else:  # whichever begins next
        job = Finding("", now + (_SOON if slot.stops else min(map(_shortest, slot.jobs.values()))))
    return min(child, job, key=lambda one: one.again)


def _look_at_child(slot: Slot, now: float, patience: float, *, idle: bool) -> Finding | None:
    if slot.stopped is not None:
        return _within(slot.stopped + patience, now, f"it was stopped for {patience:g} s")
    if not slot.ready:  # the next one has more time: the machine may be slow
        longer = patience * (slot.early_deaths + 1)
        return _within(slot.progress + longer, now, f"it did not come up within {longer:g} s")
    if slot.closing and not slot.jobs:
        return _within(slot.progress + patience, now, f"it did not end within {patience:g} s")
    if not slot.jobs:
        return None
    if idle:
        return _within(slot.progress + patience, now, f"it did not take a job within {patience:g} s")
    return Finding("", now + patience)


def _shortest(job: Job) -> float:
    return min(job.time_limit or math.inf, job.soft_time_limit or math.inf)


def _within(end: float, now: float, reason: str) -> Finding:
    return Finding("", end) if now < end else Finding("kill", now + _AGAIN, reason=reason)


def _look_at_job(slot: Slot, key: int, since: float, now: float) -> Finding:
    if slot.stops:
        return _look_at_stops(slot, key, now)
    job = slot.jobs[key]
    hard = math.inf if job.time_limit is None else since + job.time_limit
    soft = math.inf if job.soft_time_limit is None else since + job.soft_time_limit
    if now >= hard:
        return Finding("time out", now + _AGAIN, key)
    if now >= soft:
        return Finding("soften", min(hard, now + _AGAIN), key)
    alone = len(slot.jobs) == 1
    if not alone and now >= since + LONG:
        return Finding("relieve", min(hard, soft, now + _AGAIN), key)
    return Finding("", min(hard, soft, math.inf if alone else since + LONG))


def _look_at_stops(slot: Slot, key: int, now: float) -> Finding:
    stop = slot.stops.get(key)
    if stop is None:
        return Finding("", now + _SOON)
    if stop.sent is None or now >= stop.sent + _GRACE:
        return Finding("stop", now + _AGAIN, key)
    return Finding("", stop.sent + _GRACE)


class Actions(Protocol):
    """What the watch has done by the pool."""

    def running(self, slot: Slot) -> tuple[int, float] | None:
        """What the slot's child runs, and since when."""

    def moved(self, slot: Slot) -> float:
        """When the slot's child last began or ended a job, monotonic; 0: not yet."""

    def soften(self, slot: Slot, key: int) -> None:
        """The soft limit of a job has passed."""

    def time_out(self, slot: Slot, key: int) -> None:
        """The hard limit of a job has passed."""

    def relieve(self, slot: Slot) -> None:
        """The running job takes long, and others wait behind it."""

    def stop(self, slot: Slot, key: int) -> None:
        """A job that has to be stopped runs, or has not obeyed."""

    def kill(self, slot: Slot, reason: str) -> None:
        """The child is no good."""


class Watch:
    """The timers, one per slot at most. Lives on the I/O thread.

    Args:
        loop: of the I/O thread.
        patience: seconds within which a child has to move.

    Attributes:
        actions: what it has done; to be set before anything is expected.
    """

    actions: Actions

    def __init__(self, loop: Loop, patience: float) -> None:
        self._loop, self._patience = loop, patience

    def expect(self, slot: Slot, seconds: float | None = None) -> None:
        """Something has begun that may take too long, after this many seconds at the earliest."""
        at = clock.monotonic() + (self._patience if seconds is None else min(seconds, self._patience))
        if slot.look_at is None or at < slot.look_at:
            self._set(slot, at)

    def forget(self, slot: Slot) -> None:
        """The slot has gone."""
        if slot.timer is not None:
            self._loop.cancel(slot.timer)
        slot.timer = slot.look_at = None

    def look(self, slot: Slot) -> None:
        """Look now, and act."""
        now = clock.monotonic()
        late = slot.look_at is not None and now - slot.look_at > _FROZEN
        self.forget(slot)
        if late:  # whatever froze us may have frozen the child as well
            slot.progress = now
            slot.stopped = slot.stopped and now
        running = self.actions.running(slot)
        # of one that has just ended, the outcome is on its way
        slot.progress = max(slot.progress, self.actions.moved(slot))
        found = look(slot, running, now, self._patience)
        if found is None:
            return
        self._set(slot, found.again)
        if found.action == "soften":
            self.actions.soften(slot, found.key)
        elif found.action == "time out":
            self.actions.time_out(slot, found.key)
        elif found.action == "relieve":
            self.actions.relieve(slot)
        elif found.action == "stop":
            self.actions.stop(slot, found.key)
        elif found.action == "kill":
            self.actions.kill(slot, found.reason)

    def _set(self, slot: Slot, at: float) -> None:
        self.forget(slot)
        slot.look_at = at
        slot.timer = self._loop.call_later(at - clock.monotonic(), partial(self.look, slot))
