"""What the pages and the JSON API ask: of the state that events make, of the broker, of the workers. Owns the caching.

Answers of the broker and of workers serve for a few seconds and are asked for once at a time, so that ten browsers cost
as much as one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from heapq import nlargest
from threading import Lock
from typing import TYPE_CHECKING, Any

from amqtask.app.queues import look
from amqtask.broker.admin import Admin
from amqtask.monitor import views
from amqtask.monitor.picture import FAILED, Picture, last_told
from amqtask.monitor.single import Single
from amqtask.monitor.workers import ask_all, ask_worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.app.queues import Fill
    from amqtask.app.schedules import Scheduled
    from amqtask.events import nodes
    from amqtask.monitor.collector import Collector
    from amqtask.monitor.dead import DeadDesk
    from amqtask.monitor.single import Answer
    from amqtask.monitor.workers import Asked

_RECENT = 20
_SOON, _LATER = 2.0, 5.0
"""Seconds that an answer serves: a cheap one, and one that is not."""

_ROUND = 15.0
"""Seconds for all questions to all workers: each may take a second."""

_BLOCKED = 1.0
"""Seconds to wait for a broker that blocks publishers; only what is paused is asked by publishing."""


class Source:
    """Everything that is shown. Thread-safe; what is not said to be from memory may block for a few seconds.

    No method raises for a broker that is away or refuses: the answer says so in its ``error``.

    Args:
        app: whose queues and schedules.
        collector: of its events.
        desk: of its dead letters.
    """

    def __init__(self, app: Amqtask, collector: Collector, desk: DeadDesk) -> None:
        self._app, self._collector, self._desk = app, collector, desk
        self._picture = Picture(collector)
        self._lock = Lock()
        self._queues: Single[Fill] = Single(self._ask_queues, _SOON)
        self._schedules: Single[Sequence[Scheduled]] = Single(app.schedules.list, _SOON)
        self._fleet: Single[dict[str, dict[str, Any]]] = Single(lambda: ask_all(app, self._alive()), _LATER, _ROUND)
        self._workers: dict[str, Single[Asked | None]] = {}
        self._dead: dict[str, Single[tuple[tuple[views.DeadLetter, ...], int]]] = {}

    # -- from memory --------------------------------------------------------------------------------------------------

    def health(self) -> views.Health:
        """How much of what is shown can be believed. From memory."""
        return self._collector.health

    def version(self) -> int:
        """A number that changes with every event taken in, and with changes of health. From memory; never waits."""
        health = self._collector.health
        return hash((health.events, health.connected, health.error, health.history, health.catching_up))

    def overview(self) -> views.Overview:
        """The cluster at a glance. From memory."""
        tasks = self._picture.tasks()
        failures = nlargest(_RECENT, (task for task in tasks if task.state in FAILED), key=last_told)
        return views.Overview(
            health=self.health(),
            workers=self.workers(),
            states=dict(self._picture.states),
            recent=self._picture.rows(tasks[:_RECENT]),
            failures=self._picture.rows(failures),
            minutes=self._collector.minutes(),
            app=self._app.main or "amqtask",
            broker=", ".join(str(url) for url in self._app.broker_urls),
        )

    def workers(self) -> tuple[views.Worker, ...]:
        """All workers that were heard of and have not said goodbye, by name. From memory."""
        return self._picture.workers()

    def tasks(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        worker: str | None = None,
        search: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> views.TaskPage:
        """Tasks, the newest first. From memory.

        Args:
            state: only those in this state.
            name: only those of this name.
            worker: only those of this node.
            search: only those whose id, name, arguments, result or error contain this, whatever the case.
            limit: at most this many.
            before: ``more`` of the page before this one.

        Raises:
            UnknownPage: ``before`` is none.
        """
        return self._picture.page(state=state, name=name, worker=worker, search=search, limit=limit, before=before)

    def task(self, task_id: str) -> views.TaskDetail | None:
        """All that is known of a task; None when nothing is (any more). From memory."""
        return self._picture.detail(task_id)

    def task_names(self) -> list[str]:
        """Every name of a task that was seen, sorted. From memory."""
        return self._picture.names()

    def raw_tasks(self) -> Sequence[nodes.Task]:
        """The tasks as events tell them, the newest first, for the API. From memory."""
        return self._picture.tasks()

    # -- of the broker ------------------------------------------------------------------------------------------------

    def queues(self) -> views.Queues:
        """All queues, as the broker tells within a few seconds."""
        answer = self._queues.get()
        fill = answer.value
        if fill is None:
            return views.Queues((), None, answer.error, answer.asked)
        rows = tuple(
            views.Queue(
                name=one.queue,
                exists=one.ready is not None,
                ready=one.ready,
                consumers=one.consumers,
                retrying=one.retrying,
                dead=one.dead,
                paused=None if fill.paused is None else one.queue in fill.paused,
            )
            for one in fill.queues
        )
        return views.Queues(rows, fill.delayed, answer.error, answer.asked)

    def dead_letters(self, queue: str, limit: int = 100) -> views.DeadLetters:
        """The oldest dead letters of a queue, as the broker tells within a few seconds.

        Raises:
            TopologyError: there is no queue of this name in the topology.
        """
        self._app.topology.queue(queue)
        with self._lock:
            asked = self._dead.setdefault(queue, Single(partial(self._desk.look, queue), _LATER))
        answer = asked.get()
        rows, total = answer.value or ((), 0)
        return views.DeadLetters(queue, rows[:limit], total, answer.error, answer.asked)

    def schedules(self) -> views.Schedules:
        """All periodic tasks, as the scheduler or its log tells within a few seconds."""
        answer = self._schedules.get()
        return views.Schedules(tuple(map(schedule_of, answer.value or ())), answer.error, answer.asked)

    # -- of the workers -----------------------------------------------------------------------------------------------

    def worker(self, name: str) -> views.WorkerDetail | None:
        """A worker as it answers itself, for which it has a second; None when none of this name was heard of."""
        known = next((one for one in self.workers() if one.name == name), None)
        if known is None:
            return None
        with self._lock:  # names are few: only workers that were heard of
            self._workers = {kept: one for kept, one in self._workers.items() if kept in self._collector.state.workers}
            asked = self._workers.setdefault(name, Single(partial(ask_worker, self._app, name), _SOON))
        answer = asked.get()
        return views.WorkerDetail(known, False) if answer.value is None else answer.value.detail(known)

    def fleet(self, *, refresh: bool = False) -> Answer[dict[str, dict[str, Any]]]:
        """All that workers say of themselves, for the API: node name -> question -> answer."""
        return self._fleet.get(anew=refresh)

    def forget(self) -> None:
        """Ask anew the next time: something was changed."""
        with self._lock:
            asked: list[Single[Any]] = [self._queues, self._schedules, self._fleet]
            asked += [*self._workers.values(), *self._dead.values()]
        for one in asked:
            one.forget()

    # -- inside

    def _ask_queues(self) -> Fill:
        options = replace(self._app.connection_options, name="amqtask monitor", blocked_timeout=_BLOCKED)
        with Admin(self._app.broker_urls, options) as admin:
            return look(admin, self._app.topology)

    def _alive(self) -> int:
        return sum(worker.alive for worker in self.workers())


def _due(one: Scheduled) -> datetime | None:
    """The first due time that is not dealt with; one that waits for the end of a run is not meant."""
    if one.next is None or one.last is None or one.running_since is not None:
        return one.next
    return one.entry.next(one.last) or one.next


def schedule_of(one: Scheduled) -> views.Schedule:
    """A periodic task as a row."""
    return views.Schedule(
        name=one.name,
        task=one.entry.task,
        when=one.entry.words,
        last=None if one.last is None else one.last.timestamp(),
        next=None if (due := _due(one)) is None else due.timestamp(),
        runs=one.runs,
        paused=not one.entry.enabled,
        added=one.added,
        pending=one.pending,
        running_since=None if one.running_since is None else one.running_since.timestamp(),
    )
