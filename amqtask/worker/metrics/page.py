"""The page that Prometheus reads. Owns the names of metrics; the only place that knows prometheus-client.

Its own metric classes are not used: they take a lock at every count, which greenlets and real threads can't share.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from amqtask import clock
from amqtask.errors import ConfigError
from amqtask.worker.metrics.tasks import BUCKETS

try:
    from prometheus_client import ProcessCollector, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError:
    raise ConfigError("worker_metrics needs prometheus-client: pip install 'amqtask[metrics]'") from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from amqtask.beat.pulse import Pulse
    from amqtask.worker.metrics.state import State
    from amqtask.worker.metrics.tasks import Histogram, TaskMetrics, TaskSeries

    Scheduler = tuple[Pulse, int]
    """Its figures, and how many periodic tasks its app has."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OF_TASK = ("task", "queue")
_LIMITS = [str(limit) for limit in BUCKETS] + ["+Inf"]


def page(
    tasks: TaskMetrics, worker: Mapping[str, str], state: State | None, lag: float, scheduler: Scheduler | None = None
) -> bytes:
    """The whole text. May be called in any thread.

    Args:
        tasks: what was counted of tasks.
        worker: what describes this worker.
        state: of a moment ago; None when the I/O loop did not answer, or can't tell.
        lag: seconds until it did, or for which it was waited for.
        scheduler: inside of this worker, when there is one.
    """
    return generate_latest(_Page(tasks, worker, state, lag, scheduler))


def beat_page(pulse: Pulse, entries: int) -> bytes:
    """The whole text of a scheduler. May be called in any thread.

    Args:
        pulse: of the scheduler.
        entries: how many periodic tasks its app has.
    """
    return generate_latest(_BeatPage(pulse, entries))


class _BeatPage(Collector):
    def __init__(self, pulse: Pulse, entries: int) -> None:
        self._pulse, self._entries = pulse, entries

    def collect(self) -> Iterator[Metric]:
        yield from _of_scheduler(self._pulse, self._entries)
        yield from ProcessCollector(registry=None).collect()


class _Page(Collector):
    def __init__(
        self,
        tasks: TaskMetrics,
        worker: Mapping[str, str],
        state: State | None,
        lag: float,
        scheduler: Scheduler | None,
    ) -> None:
        self._tasks, self._worker, self._state, self._lag = tasks, worker, state, lag
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("amqtask_worker", "This worker.", dict(self._worker))
        yield _gauge("amqtask_io_loop_lag_seconds", "Time in which the I/O loop answered this question.", self._lag)
        yield from _of_tasks(self._tasks.series())
        if self._state is not None:
            yield from _of_state(self._state)
        if self._scheduler is not None:
            yield from _of_scheduler(*self._scheduler)
        yield from ProcessCollector(registry=None).collect()


def _of_tasks(every: Sequence[tuple[tuple[str | None, str], TaskSeries]]) -> Iterator[Metric]:
    received = CounterMetricFamily("amqtask_tasks_received", "Messages that were new.", labels=_OF_TASK)
    started = CounterMetricFamily("amqtask_tasks_started", "Tasks handed to the pool.", labels=_OF_TASK)
    ended = CounterMetricFamily("amqtask_tasks_ended", "Attempts that ended so.", labels=(*_OF_TASK, "outcome"))
    dead = CounterMetricFamily("amqtask_dead_letters", "Messages sent to the dead letters.", labels=_OF_TASK)
    waits = HistogramMetricFamily(
        "amqtask_task_latency_seconds", "Time from sending, or being due, to the start.", labels=_OF_TASK
    )
    runtime = HistogramMetricFamily("amqtask_task_runtime_seconds", "Time inside the task function.", labels=_OF_TASK)
    for (name, queue), series in every:
        labels = (str(name), queue)
        received.add_metric(labels, series.received)
        started.add_metric(labels, series.started)
        dead.add_metric(labels, series.dead)
        for outcome, count in list(series.ended.items()):
            ended.add_metric((*labels, outcome), count)
        _add_times(waits, labels, series.waits)
        _add_times(runtime, labels, series.runtime)
    return iter((received, started, ended, dead, waits, runtime))


def _add_times(family: HistogramMetricFamily, labels: Sequence[str], times: Histogram) -> None:
    counts = list(accumulate(list(times.counts)))
    if counts[-1]:  # else sixteen lines that say nothing
        family.add_metric(labels, list(zip(_LIMITS, counts, strict=True)), times.sum)


def _of_state(state: State) -> Iterable[Metric]:
    yield _gauge("amqtask_pool_slots", "Slots of the pool.", state.slots)
    yield _gauge("amqtask_pool_busy", "Slots that run a task.", state.busy)
    yield _gauge("amqtask_prefetch_messages", "Messages that may be held without an ack.", state.prefetch)
    yield _gauge("amqtask_unacked_messages", "Messages that are held without an ack.", state.unacked)
    yield _gauge("amqtask_unconfirmed_messages", "Messages that wait for the broker's confirm.", state.unconfirmed)
    yield _gauge("amqtask_publishers_blocked", "1 while the broker blocks publishers.", state.blocked)
    yield CounterMetricFamily("amqtask_duplicates", "Messages that had come before.", state.duplicates)
    up = GaugeMetricFamily("amqtask_broker_connected", "1 while the connection stands.", labels=("connection",))
    for name, stands in state.connected.items():
        up.add_metric((name,), stands)
    yield up
    again = CounterMetricFamily("amqtask_broker_reconnects", "Connections made again.", labels=("connection",))
    for name, times in state.reconnects.items():
        again.add_metric((name,), times)
    yield again
    if state.children is not None:
        ended = CounterMetricFamily("amqtask_children_ended", "Children of the pool that ended.", labels=("why",))
        for why, count in state.children.items():
            ended.add_metric((why,), count)
        yield ended


def _of_scheduler(pulse: Pulse, entries: int) -> Iterator[Metric]:
    lag = clock.monotonic() - pulse.last_tick if pulse.last_tick else 0.0
    late = pulse.lateness[-1] if pulse.lateness else 0.0
    yield _gauge("amqtask_beat_connected", "1 while the scheduler reads its log.", pulse.connected)
    yield _gauge("amqtask_beat_leading", "1 while this scheduler sends.", pulse.leading)
    yield _gauge("amqtask_beat_lag_seconds", "Time since its last look at the clock.", lag)
    yield _gauge("amqtask_beat_entries", "Periodic tasks of the app.", entries)
    yield CounterMetricFamily("amqtask_beat_sent", "Due times that were sent.", pulse.sent_count)
    yield _gauge("amqtask_beat_lateness_seconds", "How late the last of them was.", late)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, float(value))
