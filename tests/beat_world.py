"""Schedulers against a broker made of lists: each step of each of them can be the last one. For property tests.

The broker has a log with a single active consumer and a queue of tasks. What a process publishes or acknowledges goes
through its channel in order, and arrives when the world takes the next step of that channel, or never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from amqtask.beat.leader import Leader
from amqtask.beat.occurrences import occurrence_id
from amqtask.schedules.entry import Entry, read_entry
from amqtask.schedules.records import HEADER, Kind, record_message
from amqtask.wire.ids import new_id
from amqtask.wire.message import Outgoing, Properties

LOG = "log"


class Process:
    """One scheduler: its protocol, and what its channel has not brought to the broker yet."""

    def __init__(self, world: World, name: str, entries: Mapping[str, Entry]) -> None:
        self.world, self.name = world, name
        self.outbox: deque[tuple[str, Any]] = deque()
        self.frozen = self.gone = False
        self.tag = 0
        self.read_since: float | None = None
        self.cancelled: list[str] = []
        self.leader = Leader(LOG, "app", entries, UTC, self, lambda: world.now)
        self.leader.opened()

    # -- Effects

    def publish(self, message: Outgoing) -> None:
        self.outbox.append(("publish", message))

    def acknowledge(self, tag: int) -> None:
        self.outbox.append(("ack", tag))

    def send(self, entry: Entry, due: datetime, *, report: bool, asked: str | None) -> str:
        task_id = occurrence_id("app", entry.name, due, asked)
        mark: dict[str, Any] = {"entry": entry.name, "due": due.isoformat()}
        if report:
            mark |= {"report": LOG, "at": datetime.fromtimestamp(self.world.now, tz=UTC).isoformat()}
        if asked is not None:
            mark["asked"] = asked
        headers = {"id": task_id, "task": entry.task, HEADER: mark, "BCC": [LOG]}
        properties = Properties(headers=headers, correlation_id=task_id, message_id=new_id())
        self.publish(Outgoing("", "tasks", properties, b""))
        return task_id

    def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)

    def answer(self, reply_to: str, data: Mapping[str, object]) -> None:
        raise NotImplementedError

    def leading(self) -> None:
        pass

    def written(self, data: Mapping[str, object]) -> None:
        pass


class World:
    """The broker and its clients."""

    def __init__(self, entries: Mapping[str, Entry], now: float = 1_800_000_000.0) -> None:
        self.entries, self.now = entries, now
        self.log: list[Outgoing] = []
        self.unacked: list[tuple[int, Outgoing]] = []
        self.active: Process | None = None
        self.waiting: list[Process] = []
        self.tasks: list[Outgoing] = []
        self.count = 0
        self.table: dict[str, dict[str, Any]] = {}

    def look(self) -> None:
        """The active process compares the table with the log."""
        if self.active is not None:
            names = {*self.table, *self.active.leader.state.rows}
            self.active.leader.rows({name: self.table.get(name) for name in names})

    def start(self, entries: Mapping[str, Entry] | None = None) -> Process:
        """A process of the world's program, or of one with other entries."""
        self.count += 1
        process = Process(self, f"beat{self.count}", self.entries if entries is None else entries)
        self.waiting.append(process)
        self._choose()
        return process

    def _choose(self) -> None:
        if self.active is None and self.waiting:
            self.active = self.waiting.pop(0)

    def put(self, message: Outgoing) -> None:
        """A message arrives at the broker."""
        for queue in [message.routing_key, *((message.properties.headers or {}).get("BCC") or ())]:
            (self.log if queue == LOG else self.tasks).append(message)

    def flush(self, process: Process, most: int = 10**6) -> None:
        """So many steps of a channel arrive."""
        while process.outbox and most and not process.gone:
            what, value = process.outbox.popleft()
            most -= 1
            if what == "publish":
                self.put(value)
            else:
                assert process is self.active
                self.unacked = [one for one in self.unacked if one[0] > value]

    def deliver(self, most: int = 10**6) -> None:
        """The active consumer gets so many messages of the log, and handles them."""
        while self.log and most and self.active is not None and not self.active.frozen:
            process = self.active
            most -= 1
            message = self.log.pop(0)
            process.tag += 1
            process.read_since = process.read_since or self.now
            self.unacked.append((process.tag, message))
            process.leader.delivered(process.tag, message.properties, message.body)

    def cut(self, process: Process) -> None:
        """Its connection is gone: what has not arrived never will; the log goes to the next one."""
        process.gone = True
        process.outbox.clear()
        if process is self.active:
            self.log = [message for _, message in self.unacked] + self.log
            self.unacked, self.active = [], None
            self._choose()
        elif process in self.waiting:
            self.waiting.remove(process)

    def settle(self) -> None:
        """Everything arrives, and everybody who is not frozen does what there is to do."""
        for _ in range(50):
            present = [process for process in (self.active, *self.waiting) if process is not None]
            for process in present:
                self.flush(process)
            self.deliver()
            if self.active is not None and not self.active.frozen:
                self.active.leader.tick()
            if (not self.log or self.active is None) and not any(process.outbox for process in present):
                return
        raise AssertionError("it does not come to rest")

    def sent(self, entry: str) -> list[float]:
        """Due times whose messages are in the task's queue."""
        marks = [message.properties.headers[HEADER] for message in self.tasks]
        return [datetime.fromisoformat(mark["due"]).timestamp() for mark in marks if mark["entry"] == entry]


def world(**given: Mapping[str, Any]) -> World:
    """A world with one scheduler that leads, and these entries."""
    read = {name: read_entry(name, {"task": "t", **one}, UTC) for name, one in given.items()}
    made = World(read)
    made.start()
    made.settle()
    return made


def tell(made: World, kind: Kind, **data: Any) -> None:
    """Somebody puts a record into the log."""
    made.put(record_message(LOG, kind, data))
    made.settle()


def after(made: World, seconds: float) -> None:
    """Time passes, and everybody does what there is to do."""
    made.now += seconds
    made.settle()


def last_id(made: World) -> str:
    """Task id of what was sent last."""
    return made.tasks[-1].properties.headers["id"]


def warnings_of(caplog: Any) -> list[str]:
    """What was logged as a warning."""
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
