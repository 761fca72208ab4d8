"""The scheduler's log as clients use it: commands are put into it, and its state is asked for. Owns both.

Commands are messages in the scheduler's log: they are kept when no scheduler runs, and taken in the order in which they
were sent by whichever leads.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from amqtask import clock
from amqtask.errors import BrokerUnavailable, ConfigError, Unroutable
from amqtask.schedules.records import log_name, log_queue, read_record, record_message
from amqtask.schedules.state import State, replayed
from amqtask.schedules.trust import LogTrust
from amqtask.topology.declarations import QueueDeclare
from amqtask.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amqtask.app.core import AppCore
    from amqtask.broker.admin import Admin

_ANSWER = 5.0
"""Seconds that a scheduler has to answer."""
_LOOK = 0.01
"""Seconds between looks for the answer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the log says.

    Attributes:
        state: of the scheduler.
        names: of periodic tasks that it has met; those of other programs are among them.
        led: a scheduler that leads has said so; ``names`` are all that it sends.
    """

    state: State
    names: frozenset[str]
    led: bool = False


class ScheduleLog:
    """Puts commands into the scheduler's log, and asks what it says. Thread-safe.

    Args:
        app: its settings and connections.
    """

    def __init__(self, app: AppCore) -> None:
        self._app = app

    def command(self, what: str, name: str, spec: Mapping[str, Any] | None = None, *, run: str | None = None) -> None:
        """Put a command into the log; returns when the broker has stored it.

        Args:
            what: ``add``, ``update``, ``pause``, ``resume``, ``remove``, ``run_now``, ``release``.
            name: of the entry.
            spec: what it says.
            run: id of the run that is released.

        Raises:
            ConfigError: JSON can't carry a value.
            BrokerError: it is not stored.
        """
        data: dict[str, Any] = {"do": what, "name": name}
        if spec is not None:
            data["spec"] = spec
        if run is not None:
            data["run"] = run
        queue = log_name(self._app.settings.beat_queue, self._app.main)
        try:
            message = self._trust.signed(record_message(queue, "command", data))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"periodic task {name!r} can't be kept: {error}") from None
        transport, timeout = self._app.transport, self._app.settings.broker_confirm_timeout
        try:
            transport.send(message, timeout=timeout)
        except Unroutable:
            transport.declare(lambda _: [log_queue(queue)])
            transport.send(message, timeout=timeout)

    def look(self) -> Found:
        """Ask the scheduler that leads; when none runs, read the log.

        Raises:
            BrokerError: no connection, or the scheduler does not answer.
        """
        from amqtask.broker.admin import Admin  # noqa: PLC0415 -- loads pika's blocking connection

        app, queue = self._app, log_name(self._app.settings.beat_queue, self._app.main)
        with Admin(app.broker_urls, replace(app.connection_options, name=f"{app.main} (schedules)")) as admin:
            found = admin.queue_state(queue)
            if found is None:
                return Found(State(), frozenset())
            return self._ask(admin, queue) if found.consumers else self._peek(admin, queue)

    @property
    def _trust(self) -> LogTrust:
        return LogTrust(self._app.settings)

    def _ask(self, admin: Admin, queue: str) -> Found:
        reply_to = f"amqtask.beat.reply.{new_id()}"
        admin.declare(QueueDeclare(reply_to, durable=False, exclusive=True, auto_delete=True))
        trust = self._trust
        admin.publish(trust.signed(record_message(queue, "query", {}, reply_to)))
        deadline = clock.monotonic() + _ANSWER
        while (answer := admin.get(reply_to)) is None or not trust.passes(reply_to, answer.properties, answer.body):
            if clock.monotonic() > deadline:
                raise BrokerUnavailable(f"the scheduler does not answer within {_ANSWER:g} s; is it frozen?")
            time.sleep(_LOOK)
        data = json.loads(answer.body)
        return Found(State.of_plain(data["state"]), frozenset(data["next"]), led=True)

    def _peek(self, admin: Admin, queue: str) -> Found:
        records, trust = [], self._trust
        while (message := admin.get(queue)) is not None:
            record = read_record(message.properties, message.body)
            if record is not None and trust.passes(queue, message.properties, message.body):
                records.append(record)
        admin.requeue()
        state = replayed(records)
        return Found(state, frozenset((*state.marks, *state.dynamic, *state.rows)))
