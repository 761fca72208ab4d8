"""``app.schedules``: periodic tasks added, changed, paused and run at run time. Owns these commands and the view.

Commands are messages in the scheduler's log: they are kept when no scheduler runs, and taken in the order in which they
were sent by whichever leads.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.errors import BrokerUnavailable, ConfigError, Unroutable
from amqtask.schedules.entry import read_entry, spec_of
from amqtask.schedules.reading import read_schedule
from amqtask.schedules.records import log_name, log_queue, read_record, record_message
from amqtask.schedules.state import State, replayed
from amqtask.schedules.zones import zone
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.ids import new_id
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from amqtask.broker.admin import Admin
    from amqtask.broker.interface import ConnectionOptions, Transport
    from amqtask.broker.url import BrokerURL
    from amqtask.config.settings import Settings
    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing

_ANSWER = 5.0
"""Seconds that a scheduler has to answer."""
_LOOK = 0.01


class SchedulesApp(Protocol):
    """What is asked of an app here."""

    main: str

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def transport(self) -> Transport: ...  # noqa: D102
    @property
    def broker_urls(self) -> tuple[BrokerURL, ...]: ...  # noqa: D102
    @property
    def connection_options(self) -> ConnectionOptions: ...  # noqa: D102
    def periodic_tasks(self) -> Mapping[str, Entry]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One periodic task as the scheduler sees it.

    Attributes:
        entry: with all changes.
        last: the last due time that is dealt with, or when it was first seen; None when no scheduler has seen it yet.
        next: when it is due next; None when it is paused, or never will be.
        runs: how often it was sent.
        added: at run time, rather than declared by the program.
    """

    entry: Entry
    last: datetime | None
    next: datetime | None
    runs: int
    added: bool

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.entry.name


class Schedules:
    """Periodic tasks at run time. Thread-safe. Each change returns when the broker has stored it.

    Args:
        app: its settings and connections.
    """

    def __init__(self, app: SchedulesApp) -> None:
        self._app = app

    def add(self, name: str, task: Any, schedule: Any, **entry: Any) -> None:
        """Add a periodic task, or replace one that was added.

        Args:
            name: of the entry.
            task: a task, its name, or a signature.
            schedule: as in ``beat_schedule``.
            entry: what else an entry may say: ``args``, ``kwargs``, ``queue``, ``catchup``, ``tz``, ...

        Raises:
            ConfigError: it is wrong, or the program declares one of this name.
        """
        if name in self._app.periodic_tasks():
            raise ConfigError(f"periodic task {name!r} is declared by the program; update() or pause() it")
        call: dict[str, Any] = {}
        if hasattr(task, "args"):  # a signature
            own = {key: value for key, value in (task.options or {}).items() if key != "task_id"}
            call = {"args": tuple(task.args or ()), "kwargs": dict(task.kwargs or {}), "options": own}
        given = {
            "task": task if isinstance(task, str) else getattr(task, "task", None) or task.name,
            "schedule": schedule,
            **call,
            **entry,
        }
        self._command("add", name, spec_of(self._read(name, given)))

    def update(self, name: str, **changes: Any) -> None:
        """Change some keys of a periodic task, added or declared; the others stay.

        Args:
            name: of the entry.
            changes: keys of an entry.

        Raises:
            ConfigError: a value is wrong.
        """
        base = self._app.periodic_tasks().get(name)
        known = {"task": "x", "schedule": 60} if base is None else spec_of(base)
        checked = spec_of(self._read(name, {**known, **changes}))
        among_options = {"expires", "queue", "priority"} & changes.keys()
        plain = {key: checked[key] for key in checked if key in changes or (key == "options" and among_options)}
        if "tz" in changes:
            plain["schedule"] = checked["schedule"]
        self._command("update", name, plain)

    def pause(self, name: str) -> None:
        """Send it no more, until :meth:`resume`."""
        self._command("pause", name)

    def resume(self, name: str) -> None:
        """Send it again; what was missed meanwhile is treated as its ``catchup`` says."""
        self._command("resume", name)

    def remove(self, name: str) -> None:
        """Remove one that was added, or the changes to one that is declared."""
        self._command("remove", name)

    def run_now(self, name: str) -> None:
        """Send it once, out of turn."""
        self._command("run_now", name)

    def list(self) -> list[Scheduled]:
        """Every periodic task with its last and its next due time, by the scheduler that leads.

        When none runs, what its log says is shown.

        Raises:
            BrokerUnavailable: no connection, or the scheduler does not answer.
        """
        declared, home = self._app.periodic_tasks(), zone(self._app.settings.timezone)
        state = self._state()
        now = clock.utcnow()
        found = []
        for name, entry in sorted(state.entries(declared, home).items()):
            mark = state.marks.get(name)
            after = now if mark is None else _dealt_with(entry, mark.last_due, now)
            found.append(
                Scheduled(
                    entry,
                    None if mark is None else mark.last_due,
                    entry.next(after) if entry.enabled else None,
                    0 if mark is None else mark.runs,
                    name in state.dynamic,
                )
            )
        return found

    # -- inside

    def _read(self, name: str, given: Mapping[str, Any]) -> Entry:
        tz = given.get("tz")
        entry = read_entry(name, given, zone(self._app.settings.timezone))
        if tz is None:
            return entry
        # what is kept says the zone with each schedule
        return replace(entry, schedules=tuple(read_schedule(one.spec()) for one in entry.schedules), tz=None)

    def _command(self, what: str, name: str, spec: Mapping[str, Any] | None = None) -> None:
        data: dict[str, Any] = {"do": what, "name": name}
        if spec is not None:
            data["spec"] = spec
        queue = log_name(self._app.settings.beat_queue, self._app.main)
        try:
            message = self._signed(record_message(queue, "command", data))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"periodic task {name!r} can't be kept: {error}") from None
        transport, timeout = self._app.transport, self._app.settings.broker_confirm_timeout
        try:
            transport.send(message, timeout=timeout)
        except Unroutable:
            transport.declare(lambda _: [log_queue(queue)])
            transport.send(message, timeout=timeout)

    def _signed(self, message: Outgoing) -> Outgoing:
        signer = Signer(self._app.settings)
        return message._replace(properties=signer.sign(message.properties, message.body))

    def _state(self) -> State:
        from amqtask.broker.admin import Admin  # noqa: PLC0415 -- loads pika's blocking connection

        app, queue = self._app, log_name(self._app.settings.beat_queue, self._app.main)
        with Admin(app.broker_urls, replace(app.connection_options, name=f"{app.main} (schedules)")) as admin:
            found = admin.queue_state(queue)
            if found is None:
                return State()
            return self._asked(admin, queue) if found.consumers else self._peeked(admin, queue)

    def _asked(self, admin: Admin, queue: str) -> State:
        reply_to = f"amqtask.beat.reply.{new_id()}"
        admin.declare(QueueDeclare(reply_to, durable=False, exclusive=True, auto_delete=True))
        admin.publish(self._signed(record_message(queue, "query", {}, reply_to)))
        deadline = clock.monotonic() + _ANSWER
        while (answer := admin.get(reply_to)) is None:
            if clock.monotonic() > deadline:
                raise BrokerUnavailable(f"the scheduler does not answer within {_ANSWER:g} s; is it frozen?")
            time.sleep(_LOOK)
        return State.of_plain(json.loads(answer.body)["state"])

    @staticmethod
    def _peeked(admin: Admin, queue: str) -> State:
        records = []
        while (message := admin.get(queue)) is not None:
            if (record := read_record(message.properties, message.body)) is not None:
                records.append(record)
        admin.nack_all()
        return replayed(records)


def _dealt_with(entry: Entry, last: datetime, now: datetime) -> datetime:
    """Where the next due time is counted from: an interval goes on from its last one, not from this moment."""
    if last < now and any(one.follows for one in entry.schedules):
        return entry.latest(last, now) or last
    return max(last, now)
