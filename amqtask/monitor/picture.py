"""The tasks and workers that events have told of, as rows to show. Owns their order, and what is read of each.

Tasks are shown in the order in which they were sent, or else last received: so a list can be read page by page while it
grows, and is the same for every monitor.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import AmqtaskError
from amqtask.monitor.views import TaskDetail, TaskPage, TaskRow, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from amqtask.events import nodes
    from amqtask.monitor.collector import Collector

_LIFE = 1.0
"""Seconds that an order serves."""

_TIMES = ("sent", "received", "started", "retried", "succeeded", "failed", "revoked", "rejected")
_LEAST_RECENT = -1.0
FAILED = frozenset({"FAILURE", "DEAD"})


class UnknownPage(AmqtaskError):
    """That is not where a page ends."""


class Picture:
    """Reads the collector's state. Thread-safe.

    Args:
        collector: that makes it.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector, self._state = collector, collector.state
        self._lock = threading.Lock()
        self._order: list[nodes.Task] = []
        self._made, self._events = 0.0, -1
        self.states: Counter[str] = Counter()
        """State -> how many tasks."""
        self._ends: Counter[tuple[str, str]] = Counter()

    def tasks(self) -> Sequence[nodes.Task]:
        """All tasks, the newest first; their attributes may change while they are looked at."""
        with self._lock:
            now = clock.monotonic()
            if now - self._made >= _LIFE or self._collector.health.catching_up:
                if self._state.event_count != self._events or self._collector.age is not None:
                    self._state.freeze_while(self._make)
                self._made = now
            return self._order

    def rows(self, wanted: Iterable[nodes.Task]) -> tuple[TaskRow, ...]:
        """These tasks as they are now."""
        found: tuple[TaskRow, ...] = self._state.freeze_while(lambda: tuple(row_of(task) for task in wanted))
        return found

    def page(
        self,
        *,
        state: str | None,
        name: str | None,
        worker: str | None,
        search: str | None,
        limit: int,
        before: str | None,
    ) -> TaskPage:
        """See :meth:`amqtask.monitor.source.Source.tasks`."""
        tasks = self.tasks()
        sought = search.lower() if search else None
        found = [task for task in tasks if _matches(task, state, name, worker, sought)]
        place = None if before is None else read_place(before)
        rest = found if place is None else [task for task in found if _place(task) < place]
        shown = rest[: max(0, limit)]
        return TaskPage(
            rows=self.rows(shown),
            total=len(found),
            more=write_place(_place(shown[-1])) if shown and len(rest) > len(shown) else None,
            names=tuple(self.names()),
            workers=tuple(sorted({found for found, _ in self._ends} | set(self._state.workers))),
            states=dict(self.states),
        )

    def names(self) -> list[str]:
        """Every name of a task that was seen, sorted."""
        names: list[str] = self._state.freeze_while(self._state.task_types)
        return names

    def detail(self, task_id: str) -> TaskDetail | None:
        """All of one task."""
        detail: TaskDetail | None = self._state.freeze_while(lambda: _detail(self._state.tasks.get(task_id)))
        return detail

    def workers(self) -> tuple[Worker, ...]:
        """All workers, by name."""
        self.tasks()
        found: tuple[Worker, ...] = self._state.freeze_while(
            lambda: tuple(self._worker(worker) for _, worker in sorted(self._state.workers.items()))
        )
        return found

    def _make(self) -> None:
        oldest = _LEAST_RECENT if self._collector.age is None else clock.wall() - self._collector.age
        kept = [task for task in self._state.tasks.values() if last_told(task) >= oldest]
        self._order = sorted(kept, key=_place, reverse=True)
        self._events = self._state.event_count
        self.states = Counter(task.state for task in kept)
        self._ends = Counter((task.worker.hostname, task.state) for task in kept if task.worker is not None)

    def _worker(self, worker: nodes.Worker) -> Worker:
        name, load = worker.hostname, worker.loadavg
        ends = {state: self._ends[name, state] for state in ("SUCCESS", "RETRY", *FAILED)}
        return Worker(
            name=name,
            alive=worker.alive,
            active=whole(worker.active),
            processed=whole(worker.processed),
            load=tuple(float(one) for one in load) if isinstance(load, list) else (),
            software=" ".join(part for part in (text(worker.sw_ident), text(worker.sw_ver)) if part),
            pid=whole(worker.pid),
            heard=worker.heartbeats[-1] if worker.heartbeats else None,
            freq=number(worker.freq) or type(worker).freq,
            succeeded=ends["SUCCESS"],
            failed=sum(ends[state] for state in FAILED),
            retried=ends["RETRY"],
        )


def row_of(task: nodes.Task) -> TaskRow:
    """A task as a row."""
    ends = [moment for key in ("succeeded", "failed", "revoked", "rejected") if (moment := number(getattr(task, key)))]
    return TaskRow(
        id=task.uuid,
        name=text(task.name),
        state=task.state,
        worker=None if task.worker is None else task.worker.hostname,
        queue=text(task.queue),
        args=text(task.args),
        kwargs=text(task.kwargs),
        sent=number(task.sent),
        received=number(task.received),
        started=number(task.started),
        ended=max(ends) if ends and task.state not in {"STARTED", "RETRY", "RECEIVED"} else None,
        timestamp=number(task.timestamp),
        runtime=number(task.runtime),
        retries=whole(task.retries),
        error=text(task.exception),
        result=text(task.result),
        clock=whole(task.clock) or 0,
    )


def _detail(task: nodes.Task | None) -> TaskDetail | None:
    if task is None:
        return None
    times = [(moment, key) for key in _TIMES if (moment := number(getattr(task, key))) is not None]
    return TaskDetail(
        row=row_of(task),
        traceback=text(task.traceback),
        eta=text(task.eta),
        expires=text(task.expires),
        exchange=text(task.exchange),
        routing_key=text(task.routing_key),
        client=text(task.client),
        times=tuple((key, moment) for moment, key in sorted(times, key=lambda one: (one[0], _TIMES.index(one[1])))),
        root=text(task.root_id) if task.root_id != task.uuid else None,
        parent=text(task.parent_id) if task.parent_id != task.uuid else None,  # a retry has itself as its parent
        children=tuple(row_of(child) for child in sorted(task.children - {task}, key=_place)),
        ended=task.ready or task.state in FAILED | {"REJECTED"},
    )


def _matches(task: nodes.Task, state: str | None, name: str | None, worker: str | None, search: str | None) -> bool:
    return (
        (not state or task.state == state)
        and (not name or task.name == name)
        and (not worker or (task.worker is not None and task.worker.hostname == worker))
        and (not search or any(search in part for part in _texts(task)))
    )


def _texts(task: nodes.Task) -> Iterator[str]:
    for part in (task.uuid, task.name, task.args, task.kwargs, task.result, task.exception):
        if isinstance(part, str):
            yield part.lower()


def _place(task: nodes.Task) -> tuple[float, str]:
    for moment in (task.sent, task.received, task.timestamp):
        if (found := number(moment)) is not None:
            return found, task.uuid
    return 0.0, task.uuid


def last_told(task: nodes.Task) -> float:
    """When the last event of a task was sent."""
    return number(task.timestamp) or 0.0


def write_place(place: tuple[float, str]) -> str:
    """A place in the order, as text."""
    return f"{place[0]!r}:{place[1]}"


def read_place(text: str) -> tuple[float, str]:
    """The place that a text says.

    Raises:
        UnknownPage: it says none.
    """
    moment, colon, task_id = text.partition(":")
    try:
        return float(moment), task_id
    except ValueError:
        raise UnknownPage(f"there is no page before {text[:100]!r}{colon and ''}") from None


def text(value: object) -> str | None:
    """What anybody may have sent, where a text belongs."""
    return None if value is None else value if isinstance(value, str) else repr(value)


def number(value: object) -> float | None:
    """The same for a number."""
    return float(value) if isinstance(value, int | float) and value == value else None  # noqa: PLR0124 -- not NaN


def whole(value: object) -> int | None:
    """The same for a whole number."""
    return value if isinstance(value, int) else None


def as_flower(task: nodes.Task) -> dict[str, Any]:
    """A task as Flower's API has it."""
    values = task.as_dict() | {"root": task.root_id, "parent": task.parent_id}
    return {
        key: value if value is None or isinstance(value, str | int | list) else _safe(value)
        for key, value in values.items()
    }


def _safe(value: object) -> float | str | None:
    """A number that JSON has, or a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return repr(value)
