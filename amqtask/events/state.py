"""The workers and tasks of a cluster, as events tell of them; kept in memory, up to a limit. Owns that picture.

state = app.events.State()
app.events.Receiver(connection, handlers={"*": state.event}).capture()
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from amqtask.events.nodes import Task, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from amqtask.events.event import Event

_HEAP_MULTIPLIER = 4
"""Events remembered for the order of tasks, per task that is kept: received, started, ended and one more."""

Moment = tuple[int, float, str, str]


class _Index(defaultdict[str, set[Task]]):
    """Tasks by a name; called with one, they come in the order of time."""

    def __init__(self, in_order: Callable[..., Iterator[tuple[str, Task]]]) -> None:
        super().__init__(set)
        self._in_order = in_order

    def __call__(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Task]]:
        """(uuid, task) of those with this name, the newest first."""
        return self._in_order(name, limit, reverse)


class State:
    """The picture. :meth:`event` may be called in one thread and the rest read in another, within ``freeze_while``.

    Args:
        callback: called with this state and each event, before it is taken in.
        max_workers_in_memory: beyond, the one known longest is forgotten.
        max_tasks_in_memory: the same for tasks.
        on_node_join: called with a worker that is new, or back.
        on_node_leave: called with one that has said goodbye.

    Attributes:
        workers: node name -> worker.
        tasks: id -> task.
        event_count: events so far.
        task_count: tasks that were received so far.
    """

    def __init__(
        self,
        callback: Callable[[State, Event], object] | None = None,
        *,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10_000,
        on_node_join: Callable[[Worker], object] | None = None,
        on_node_leave: Callable[[Worker], object] | None = None,
    ) -> None:
        self.event_callback = callback
        self.max_workers_in_memory, self.max_tasks_in_memory = max_workers_in_memory, max_tasks_in_memory
        self.on_node_join, self.on_node_leave = on_node_join, on_node_leave
        self.workers: dict[str, Worker] = {}
        self.tasks: dict[str, Task] = {}
        self.event_count = self.task_count = 0
        self.handlers: dict[str, Callable[[str, Event], Any]] = {}
        self.tasks_by_type = _Index(lambda name, *more: self._some(lambda task: task.name == name, *more))
        self.tasks_by_worker = _Index(
            lambda name, *more: self._some(lambda task: task.worker is not None and task.worker.hostname == name, *more)
        )
        self._moments: list[Moment] = []
        self._types: set[str] = set()
        self._families: dict[str, set[Task]] = {}
        self._mutex = threading.RLock()

    def event(self, event: Event) -> None:
        """Take in one event; what is none of a worker or task, or lacks what every one has, only counts."""
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            group, _, subject = str(event.get("type")).partition("-")
            if group in self.handlers:
                self.handlers[group](subject, event)
            elif group == "worker" and isinstance(event.get("hostname"), str):
                self._worker_event(subject, event)
            elif group == "task" and isinstance(event.get("uuid"), str) and isinstance(event.get("hostname"), str):
                self._task_event(subject, event)

    def _worker_event(self, subject: str, event: Event) -> None:
        hostname = event["hostname"]
        known = hostname in self.workers
        worker = self.workers.get(hostname) or Worker(hostname)
        worker.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if subject == "offline":
            self.workers.pop(hostname, None)
            if self.on_node_leave is not None:
                self.on_node_leave(worker)
            return
        _keep(self.workers, hostname, worker, self.max_workers_in_memory)
        if self.on_node_join is not None and (not known or subject == "online"):
            self.on_node_join(worker)

    def _task_event(self, subject: str, event: Event) -> None:
        uuid, hostname = event["uuid"], event["hostname"]
        task, _ = self.get_or_create_task(uuid)
        before = self._places(task)
        if subject == "sent":
            task.client = hostname
        else:
            worker, _ = self.get_or_create_worker(hostname)
            worker.event(None, event.get("timestamp"), event.get("local_received"))
            task.worker = worker
        self._note_moment(event, task)
        self.task_count += subject == "received"
        task.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if isinstance(task.name, str) and len(self._types) < self.max_tasks_in_memory:
            self._types.add(task.name)
        after = self._places(task)
        if after != before:
            self._leave(task, before)
            for index, name in after:
                index.setdefault(name, set()).add(task)

    def _places(self, task: Task) -> list[tuple[dict[str, set[Task]], str]]:
        """Where a task is found under a name: (index, name)."""
        names = (
            (self._families, task.parent_id),
            (self.tasks_by_type, task.name),
            (self.tasks_by_worker, (task.worker and task.worker.hostname) or task.client),
        )
        return [(index, name) for index, name in names if isinstance(name, str)]

    def _note_moment(self, event: Event, task: Task) -> None:
        tick, when = event.get("clock"), event.get("timestamp")
        moment = (
            tick if isinstance(tick, int) else 0,
            when if isinstance(when, int | float) else 0.0,
            task.origin or "",
            task.uuid,
        )
        kept = self.max_tasks_in_memory * _HEAP_MULTIPLIER
        if len(self._moments) >= kept + kept // 10:  # some at a time, for it takes as long for one
            del self._moments[: kept // 10 + 1]
        if self._moments and moment < self._moments[-1]:
            insort(self._moments, moment)
        else:
            self._moments.append(moment)

    def get_or_create_worker(self, hostname: str, **fields: Any) -> tuple[Worker, bool]:
        """The worker of this name, and whether it is new."""
        if hostname in self.workers:
            worker = self.workers[hostname]
            worker.__dict__.update(fields)
            return worker, False
        worker = Worker(hostname, **fields)
        _keep(self.workers, hostname, worker, self.max_workers_in_memory)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[Task, bool]:
        """The task of this id, and whether it is new."""
        if uuid in self.tasks:
            return self.tasks[uuid], False
        task = Task(uuid, self.tasks, self._families)
        if (oldest := _keep(self.tasks, uuid, task, self.max_tasks_in_memory)) is not None:
            self._leave(oldest, self._places(oldest))
        return task, True

    def _leave(self, task: Task, places: Iterable[tuple[dict[str, set[Task]], str]]) -> None:
        for index, name in places:
            if (tasks := index.get(name)) is not None:
                tasks.discard(task)
                if not tasks:
                    del index[name]

    # -- looking at it ------------------------------------------------------------------------------------------------

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, Task]]:
        """(uuid, task) in the order of their last events, by logical clock; the newest first, if ``reverse``."""
        seen: set[str] = set()
        for *_, uuid in list(reversed(self._moments) if reverse else self._moments):
            if uuid in seen or uuid not in self.tasks:
                continue
            if limit is not None and len(seen) >= limit:
                return
            seen.add(uuid)
            yield uuid, self.tasks[uuid]

    tasks_by_timestamp = tasks_by_time

    def _some(
        self, wanted: Callable[[Task], bool], limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        found = 0
        for uuid, task in self.tasks_by_time(reverse=reverse):
            if limit is not None and found >= limit:
                return
            if wanted(task):
                found += 1
                yield uuid, task

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, Task]]:
        """(uuid, task), the one known longest first."""
        yield from list(self.tasks.items())[:limit]

    def task_types(self) -> list[str]:
        """Names of the tasks seen so far, sorted; at most as many as tasks are kept."""
        return sorted(self._types)

    def alive_workers(self) -> Iterator[Worker]:
        """The workers that were heard of lately."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    def freeze_while(self, function: Callable[..., Any], *args: Any, clear_after: bool = False, **kwargs: Any) -> Any:
        """Call ``function`` while no event is taken in; forget what has ended afterwards, if ``clear_after``."""
        with self._mutex:
            try:
                return function(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks: all of them, or with ``ready`` those that have ended."""
        with self._mutex:
            for uuid, task in list(self.tasks.items()):
                if task.ready or not ready:
                    del self.tasks[uuid]
                    self._leave(task, self._places(task))
            self._moments = [moment for moment in self._moments if moment[3] in self.tasks]

    def clear(self, ready: bool = True) -> None:
        """Forget workers, counts, and tasks as :meth:`clear_tasks` does."""
        with self._mutex:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = self.task_count = 0

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"


def _keep(kept: dict[str, Any], name: str, value: Any, limit: int) -> Any:
    """Put a value in; returns the one that had to go."""
    kept[name] = value
    return kept.pop(next(iter(kept))) if len(kept) > limit else None
