"""What the pages and the JSON API show: plain values, each a picture of one moment. Owns their fields.

Everything in them that is text was sent by somebody: names, arguments and errors are to be escaped where they are
shown. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_FROM_HISTORY, READ_SINCE_START = "stream", "memory"
"""Where the list of tasks comes from: the broker's stream of events, or what was heard since the monitor started."""


@dataclass(frozen=True, slots=True)
class Health:
    """How much of what is shown can be believed.

    Attributes:
        connected: do events come just now?
        error: why they don't, in one line; None while they do.
        history: READ_FROM_HISTORY or READ_SINCE_START.
        history_note: why there is no more history, or how much is kept, in one line; None: nothing to say.
        catching_up: is history still being read? The lists are not complete then.
        since: when the oldest event was sent that was taken in; None before the first.
        heard: when an event last came; None before the first.
        events: taken in so far.
        kept_tasks: in memory.
        max_tasks: kept at most; beyond, the oldest is forgotten.
    """

    connected: bool
    error: str | None
    history: str
    history_note: str | None
    catching_up: bool
    since: float | None
    heard: float | None
    events: int
    kept_tasks: int
    max_tasks: int

    @property
    def current(self) -> bool:
        """Is what is known of workers that of this moment?"""
        return self.connected and not self.catching_up


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker, as its events tell.

    Attributes:
        name: node name.
        alive: was it heard of within two of its heartbeat intervals?
        active: tasks that it runs; None when it did not say.
        processed: tasks that it has run.
        load: average load of its machine over 1, 5 and 15 minutes; empty when unknown.
        software: what it is, for example ``amqtask 0.9.1``.
        pid: its process.
        heard: when it was last heard of.
        freq: seconds between its heartbeats.
        succeeded, failed, retried: of the tasks that are in memory, those that were last seen at it in that state.
    """

    name: str
    alive: bool
    active: int | None
    processed: int | None
    load: tuple[float, ...]
    software: str
    pid: int | None
    heard: float | None
    freq: float
    succeeded: int = 0
    failed: int = 0
    retried: int = 0


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """A task that a worker has in hand, as it answers itself.

    Attributes:
        id, name: of the task.
        args, kwargs: as texts.
        queue: routing key it came with; None when the worker did not say.
        started: when it was started; None when it waits.
        eta: when it is to be started, ISO 8601; None when at once.
        pid: of the process that runs it.
    """

    id: str
    name: str
    args: str
    kwargs: str
    queue: str | None
    started: float | None
    eta: str | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class WorkerDetail:
    """A worker, as it answers itself.

    Attributes:
        worker: what its events tell.
        answered: did it answer? What follows is empty otherwise.
        pool, concurrency: kind and slots of its pool, None when unknown.
        processes: of its children.
        prefetch: messages it may hold.
        queues: names of those it consumes.
        active: tasks that run.
        reserved: tasks that wait in the worker.
        scheduled: tasks that wait for their time in the worker.
        registered: names of the tasks it knows.
        totals: task name -> how often it was run there.
        stats: all that it says of itself, as ``amqtask inspect stats`` shows it.
    """

    worker: Worker
    answered: bool
    pool: str | None = None
    concurrency: int | None = None
    processes: tuple[int, ...] = ()
    prefetch: int | None = None
    queues: tuple[str, ...] = ()
    active: tuple[WorkerTask, ...] = ()
    reserved: tuple[WorkerTask, ...] = ()
    scheduled: tuple[WorkerTask, ...] = ()
    registered: tuple[str, ...] = ()
    totals: Mapping[str, int] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task in a list.

    Attributes:
        id: of the task.
        name: None when no event has told it.
        state: Celery's, or DEAD of one whose message is a dead letter.
        worker: node name; None before one has received it.
        queue: that it was taken from; None when unknown.
        args, kwargs: as texts, at most 1,024 characters.
        sent, received, started, ended: when; None for what has not been, or was not told.
        timestamp: of its last event.
        runtime: seconds.
        retries: so far.
        error: the exception in one line.
        result: as text.
        clock: of its last event; it counts for the order.
    """

    id: str
    name: str | None
    state: str
    worker: str | None
    queue: str | None
    args: str | None
    kwargs: str | None
    sent: float | None
    received: float | None
    started: float | None
    ended: float | None
    timestamp: float | None
    runtime: float | None
    retries: int | None
    error: str | None
    result: str | None
    clock: int


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A part of the list of tasks, the newest first.

    Attributes:
        rows: the tasks.
        total: of those that match, in memory.
        more: ``before`` of the next part; None when this is the last.
        names: every task name seen, sorted, to choose from.
        workers: every node name seen, sorted.
        states: state -> how many tasks in memory have it, whatever was asked for.
    """

    rows: tuple[TaskRow, ...]
    total: int
    more: str | None
    names: tuple[str, ...]
    workers: tuple[str, ...]
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """All that events tell of a task.

    Attributes:
        row: what a list shows.
        traceback: of its exception.
        eta, expires: ISO 8601.
        exchange, routing_key: it was sent to.
        client: who sent it.
        times: what happened and when, in order: the words of the events' types, such as ``received``.
        root: the first task of its tree; None when it is the first, or unknown.
        parent: that sent it.
        children: that it has sent, as far as they are known here.
        ended: has it ended, so that there is nothing to revoke?
    """

    row: TaskRow
    traceback: str | None
    eta: str | None
    expires: str | None
    exchange: str | None
    routing_key: str | None
    client: str | None
    times: tuple[tuple[str, float], ...]
    root: str | None
    parent: str | None
    children: tuple[TaskRow, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the topology, as the broker tells; None for what it does not.

    Attributes:
        name: of the queue.
        exists: False when the broker has none of this name yet.
        ready: messages that wait.
        consumers: of it.
        retrying: messages that wait for their next attempt.
        dead: dead letters.
        paused: does no worker start anything of it? None when the broker can't be asked.
    """

    name: str
    exists: bool
    ready: int | None
    consumers: int | None
    retrying: int
    dead: int | None
    paused: bool | None


@dataclass(frozen=True, slots=True)
class Queues:
    """All queues.

    Attributes:
        rows: those of the topology, in its order.
        delayed: messages in the delay ladder; None when it was never used.
        error: why the broker could not be asked, in one line; the rows are then the last known ones, or none.
        asked: when they were looked at; None when never.
    """

    rows: tuple[Queue, ...]
    delayed: int | None
    error: str | None
    asked: float | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter.

    Attributes:
        id: of the task, or ``body-`` and the start of a hash: what the actions take.
        task, reason, exception, message, traceback, worker, attempts, first_time, last_time: times are ISO 8601 texts.
        args, kwargs: as texts; None when the body can't be read.
        unreadable: why the body can't be read; None when it can.
        headers: all of them, as texts.
    """

    id: str
    task: str | None
    reason: str | None
    exception: str | None
    message: str | None
    traceback: str | None
    worker: str | None
    attempts: int | None
    first_time: str | None
    last_time: str | None
    args: str | None
    kwargs: str | None
    unreadable: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one queue, the oldest first.

    Attributes:
        queue: in which they failed.
        rows, total: the oldest ones, and how many there are.
        error: why they could not be read, in one line; the rows are then the last known ones, or none.
        asked: when they were looked at; None when never.
    """

    queue: str
    rows: tuple[DeadLetter, ...]
    total: int
    error: str | None
    asked: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A periodic task.

    Attributes:
        name: of the entry.
        task: that it sends.
        when: its schedule in words.
        last: due time that is dealt with, or when a scheduler first saw it; None when none ever has.
        next: the first one that is not dealt with, so in the past while nobody sends it; None when there is none.
        runs: how often it was sent.
        paused: is it sent no more until it is resumed?
        added: at run time, rather than declared by the program.
        pending: the scheduler has not taken in what was last said of it.
        running_since: of the run that holds up the next one.
    """

    name: str
    task: str
    when: str
    last: float | None
    next: float | None
    runs: int
    paused: bool
    added: bool
    pending: bool
    running_since: float | None


@dataclass(frozen=True, slots=True)
class Schedules:
    """All periodic tasks.

    Attributes:
        rows: by name.
        error: why they could not be asked for, in one line; the rows are then the last known ones, or none.
        asked: when they were looked at; None when never.
    """

    rows: tuple[Schedule, ...]
    error: str | None
    asked: float | None


@dataclass(frozen=True, slots=True)
class Minute:
    """Tasks that ended in one minute, by their events.

    Attributes:
        start: of the minute.
        succeeded, failed, retried: how many attempts ended so.
    """

    start: float
    succeeded: int
    failed: int
    retried: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A cluster at a glance. Made from events alone, so it answers at once, whatever the broker does.

    Attributes:
        health: of what is shown.
        workers: by name.
        states: state -> tasks in memory that have it.
        recent: the newest tasks.
        failures: those that have failed, or whose message is a dead letter; the latest failure first.
        minutes: of the last hour, the oldest first, without a gap.
        app: name of the program.
        broker: its address, without user and password.
    """

    health: Health
    workers: tuple[Worker, ...]
    states: Mapping[str, int]
    recent: tuple[TaskRow, ...]
    failures: tuple[TaskRow, ...]
    minutes: tuple[Minute, ...]
    app: str
    broker: str
