"""What workers answer when they are asked. Owns the questions, and the reading of what came, which may be anything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amqtask.events.event import shown
from amqtask.monitor import views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amqtask.app.app import Amqtask

QUESTIONS = ("stats", "active_queues", "registered", "scheduled", "active", "reserved", "revoked", "conf")
"""What Flower asks."""

_OF_ONE = ("stats", "active_queues", "active", "reserved", "scheduled", "registered")


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers of one worker: question -> answer."""

    answers: Mapping[str, Any]

    def detail(self, worker: views.Worker) -> views.WorkerDetail:
        """What they say."""
        stats = _table(self.answers.get("stats"))
        pool = _table(stats.get("pool"))
        concurrency, prefetch = pool.get("max-concurrency"), stats.get("prefetch_count")
        kind = pool.get("implementation") or pool.get("name")
        return views.WorkerDetail(
            worker=worker,
            answered=True,
            pool=kind.partition(":")[0].rpartition(".")[2] if isinstance(kind, str) else None,
            concurrency=concurrency if isinstance(concurrency, int) else None,
            processes=tuple(one for one in _list(pool.get("processes")) if isinstance(one, int)),
            prefetch=prefetch if isinstance(prefetch, int) else None,
            queues=tuple(str(_table(one).get("name")) for one in _list(self.answers.get("active_queues"))),
            active=tuple(_tasks(self.answers.get("active"))),
            reserved=tuple(_tasks(self.answers.get("reserved"))),
            scheduled=tuple(_tasks(self.answers.get("scheduled"))),
            registered=tuple(map(str, _list(self.answers.get("registered")))),
            totals={str(name): total for name, total in _table(stats.get("total")).items() if isinstance(total, int)},
            stats=stats,
        )


def ask_worker(app: Amqtask, name: str) -> Asked | None:
    """Ask one; None when it does not answer within a second. Raises BrokerError."""
    answers: dict[str, Any] = {}
    for question in _OF_ONE:
        found = app.control.inspect([name]).ask(question)
        if found is None and not answers:
            return None
        answers[question] = (found or {}).get(name)
    return Asked(answers)


def ask_all(app: Amqtask, alive: int) -> dict[str, dict[str, Any]]:
    """Ask all workers everything that Flower asks. Raises BrokerError.

    Args:
        app: whose workers.
        alive: how many there should be: nobody waits for more answers.
    """
    found: dict[str, dict[str, Any]] = {}
    for question in QUESTIONS:
        answers = app.control.inspect(limit=alive or None).ask(question) or {}
        for name, answer in answers.items():
            found.setdefault(name, {})[question] = answer
        if not answers:
            break
    for worker in found.values():
        worker["timestamp"] = time.time()
    return found


def _tasks(answer: object) -> Iterator[views.WorkerTask]:
    for one in map(_table, _list(answer)):
        task = _table(one.get("request")) or one  # of "scheduled", which says when beside it
        queue, started, pid = _table(task.get("delivery_info")).get("routing_key"), task.get("time_start"), None
        if isinstance(task.get("worker_pid"), int):
            pid = task["worker_pid"]
        yield views.WorkerTask(
            id=str(task.get("id")),
            name=str(task.get("name")),
            args=_shown(task.get("args")),
            kwargs=_shown(task.get("kwargs")),
            queue=queue if isinstance(queue, str) else None,
            started=float(started) if isinstance(started, int | float) else None,
            eta=None if one.get("eta") is None else str(one["eta"]),
            pid=pid,
        )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
