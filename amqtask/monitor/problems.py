"""What is wrong right now, the worst first, with what to do about it. Owns these judgements."""

from __future__ import annotations

import shlex
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqtask import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amqtask.monitor.views import Overview, Queue, Queues, Schedule, Schedules

LATE = 60.0
"""Seconds after which a periodic task that was not sent is late."""

_GROWING = 600.0
_SAMPLE = 15.0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severe: does work stand still, or get lost from sight?
        what: in a few words.
        advice: what to do.
        command: that does it, or shows more; empty: none.
        path: of the page about it, without prefix; empty: none.
        name: of the object on that page.
    """

    severe: bool
    what: str
    advice: str
    command: str = ""
    path: str = ""
    name: str = ""


class Growth:
    """How the dead letters of each queue have grown in the last ten minutes in which somebody looked. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def add(self, queues: Queues) -> dict[str, int]:
        """Take in a look at the queues; returns queue -> how many more there are than at the oldest look."""
        now, dead = clock.monotonic(), {row.name: row.dead or 0 for row in queues.rows}
        with self._lock:
            while self._seen and self._seen[0][0] < now - _GROWING:
                self._seen.popleft()
            first = self._seen[0][1] if self._seen else dead
            if not self._seen or now - self._seen[-1][0] >= _SAMPLE:
                self._seen.append((now, dead))
        return {name: count - first.get(name, 0) for name, count in dead.items()}


def find_problems(overview: Overview, queues: Queues, schedules: Schedules, growth: dict[str, int]) -> list[Problem]:
    """All that is wrong.

    Args:
        overview: of the cluster.
        queues: of the topology.
        schedules: periodic tasks.
        growth: queue -> more dead letters than ten minutes ago.
    """
    found = [*_of_broker(overview, queues), *_of_workers(overview)]
    if queues.error is None:
        found += [problem for queue in queues.rows for problem in _of_queue(queue)]
        found += [problem for queue in queues.rows for problem in _of_dead(queue, growth.get(queue.name, 0))]
    if schedules.error is None:
        found += _of_schedules(schedules)
    return sorted(found, key=lambda problem: not problem.severe)


def _of_broker(overview: Overview, queues: Queues) -> Iterator[Problem]:
    error = overview.health.error or queues.error
    if not overview.health.connected and (error is not None or not overview.health.catching_up):
        yield Problem(
            True,
            f"No events from {overview.broker}",
            f"{error or 'not connected yet'}. What is shown is the last that was known; the monitor goes on trying.",
        )
    elif queues.error is not None:
        yield Problem(True, "The broker does not tell about its queues", queues.error)


def _of_workers(overview: Overview) -> Iterator[Problem]:
    if not overview.health.current:
        return  # nobody can be heard
    for worker in overview.workers:
        if not worker.alive:
            yield Problem(
                True,
                f"Worker {worker.name} is gone",
                "It has not said goodbye, and is not heard of any more: killed, cut off, or hanging. What it had in"
                " hand goes back to its queues.",
                path="worker",
                name=worker.name,
            )


def _of_queue(queue: Queue) -> Iterator[Problem]:
    if queue.exists and queue.ready and not queue.consumers and not queue.paused:
        yield Problem(
            True,
            f"Nobody consumes {queue.name}",
            f"{queue.ready:,} message{'s wait' if queue.ready > 1 else ' waits'} and no worker takes any.",
            f"amqtask worker -Q {shlex.quote(queue.name)}",
            "queue",
            queue.name,
        )
    if queue.paused:
        yield Problem(
            False,
            f"{queue.name} is paused",
            f"No worker starts anything of it until it is resumed; {queue.ready or 0:,} wait.",
            path="queue",
            name=queue.name,
        )


def _of_dead(queue: Queue, more: int) -> Iterator[Problem]:
    if queue.dead:
        grown = f"{more:,} more than some minutes ago. " if more > 0 else ""
        noun = "dead letter" if queue.dead == 1 else "dead letters"
        yield Problem(
            more > 0,
            f"{queue.dead:,} {noun} of {queue.name}{', growing' if more > 0 else ''}",
            f"{grown}What has failed for good waits for you: look at the error, retry or delete it.",
            path="dead",
            name=queue.name,
        )


def is_late(row: Schedule) -> bool:
    """Should it have been sent, or does no scheduler know of it?"""
    if row.paused or row.next is None:
        return False
    return row.last is None or row.next < clock.wall() - LATE


def _of_schedules(schedules: Schedules) -> Iterator[Problem]:
    late = [row for row in schedules.rows if is_late(row)]
    if late:
        noun = "periodic task is" if len(late) == 1 else "periodic tasks are"
        yield Problem(
            True,
            f"{len(late):,} {noun} not sent",
            "It is due, or no scheduler knows of it. Is one running?",
            "amqtask beat",
            "schedules",
        )
