"""What has happened to tasks, by name and queue. Owns the counting, without a lock: one thread writes, others read.

Other clients send what they like, so only tasks of this app have series of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.execution.job import Kind
from amqtask.worker.custody.gates import Observer
from amqtask.worker.deliveries.outcome import DEAD_REASONS, UNSENDABLE, WORKER_LOST
from amqtask.worker.metrics.waits import waited

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from amqtask.execution.job import Outcome
    from amqtask.worker.deliveries.delivery import Delivery
    from amqtask.worker.deliveries.outcome import Effect

BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds in seconds, from tasks of milliseconds to those of hours."""

UNKNOWN = "(unknown)"
"""Stands for every name that is no task of this app."""

OUTCOMES = {
    Kind.SUCCESS: "succeeded",
    Kind.RETRY: "retried",
    Kind.IGNORED: "ignored",
    Kind.REQUEUE: "requeued",
    Kind.EARLY: "early",
    Kind.REVOKED: "revoked",
    **DEAD_REASONS,
}
"""Kind of an outcome -> its word: for those that are dead-lettered the reason, for the others that of the log."""

_WORDS = [OUTCOMES[kind] for kind in Kind]
"""The same by number: this is looked up for every task."""

_FROM_THE_START = ("succeeded", "retried", "failed")
"""Their counts are told as 0 too: else the first failure of a task is no increase."""


class Histogram:
    """Times in buckets.

    Attributes:
        counts: per bucket, not cumulative; the last one is of everything above.
        sum: of all times, in seconds.
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts, self.sum = [0] * (len(BUCKETS) + 1), 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds


class TaskSeries:
    """The counts of one task in one queue."""

    __slots__ = ("dead", "ended", "received", "runtime", "started", "waits")

    def __init__(self) -> None:
        self.received = self.started = self.dead = 0
        self.ended = dict.fromkeys(_FROM_THE_START, 0)
        self.waits, self.runtime = Histogram(), Histogram()

    def end(self, outcome: str) -> None:
        """Count one end."""
        self.ended[outcome] = self.ended.get(outcome, 0) + 1


class TaskMetrics(Observer):
    """Counts on the I/O thread.

    Args:
        is_known: whether the app has a task of this name.
        own: names of the worker's own tasks, which are not counted.
    """

    def __init__(self, is_known: Callable[[str], bool], own: Container[str]) -> None:
        self._is_known, self._own = is_known, own
        self._series: dict[tuple[str | None, str], TaskSeries] = {}

    def series(self) -> list[tuple[tuple[str | None, str], TaskSeries]]:
        """Name and queue, and their counts; from any thread, while it goes on counting."""
        return list(self._series.items())

    def expect(self, name: str, queue: str) -> None:
        """Tell of this task in this queue, although it has not come yet."""
        self._series.setdefault((name, queue), TaskSeries())

    def _of(self, delivery: Delivery) -> TaskSeries:
        return self._series.get((delivery.name, delivery.queue)) or self._first(delivery)

    def _first(self, delivery: Delivery) -> TaskSeries:
        name = delivery.name
        if name in self._own:
            return TaskSeries()
        if name is None or not self._is_known(name):
            name = UNKNOWN
        return self._series.setdefault((name, delivery.queue), TaskSeries())

    def received(self, delivery: Delivery) -> None:  # noqa: D102 -- as Observer says; so for the others
        self._of(delivery).received += 1

    def started(self, delivery: Delivery) -> None:  # noqa: D102
        series = self._of(delivery)
        series.started += 1
        seconds = waited(delivery.properties, clock.wall())
        if seconds is not None:
            series.waits.add(seconds)

    def ended(self, delivery: Delivery, outcome: Outcome, effect: Effect) -> None:  # noqa: D102
        series = self._of(delivery)
        series.end(effect.dead or _WORDS[outcome.kind])
        if effect.dead:
            series.dead += 1
        if outcome.runtime > 0:
            series.runtime.add(outcome.runtime)

    def lost(self, delivery: Delivery, effect: Effect, reason: str) -> None:  # noqa: ARG002, D102
        series = self._of(delivery)
        series.end(WORKER_LOST)
        if effect.dead:
            series.dead += 1

    def unsendable(self, delivery: Delivery, kind: int | None, effect: Effect) -> None:  # noqa: ARG002, D102
        series = self._of(delivery)  # what was counted at its end stays: a counter never goes back
        series.end(UNSENDABLE)
        series.dead += 1
