"""From an entry and a due time to the task message, with a blind copy for the log. Owns that message.

It goes to the task's queues by their names, for one message can only be published to one exchange, and the copy has to
be made of the very same: a process that dies in between would lose or double it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from amqtask.errors import ConfigError
from amqtask.plugins import did_you_mean
from amqtask.results.joining import denied_join_result
from amqtask.schedules.records import HEADER, REPORT
from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import SEND_OPTIONS
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.wire.message import PERSISTENT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from amqtask.app.app import Amqtask
    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing

logger = logging.getLogger("amqtask.beat")

_CANVAS = frozenset({"celery.chain", "celery.group", "celery.chord"})
"""Only Celery's workers have tasks of these names."""

_NAMESPACE = UUID("6e2f7e0e-5d0b-5c43-9b5d-8a3f1f6f3c11")


def occurrence_id(app: str, entry: str, due: datetime, asked: str | None = None) -> str:
    """The task id of an occurrence: the same whoever sends it, however often.

    Args:
        app: name of the application.
        entry: name of the periodic task.
        due: when it is due.
        asked: id of the command that asked for it, of one that is out of turn.
    """
    return str(uuid5(_NAMESPACE, f"{app}/{entry}@{asked or due.isoformat()}"))


class Occurrences:
    """Makes the messages of an app's periodic tasks.

    Args:
        app: its tasks, routes and settings.
        queue: of the log.
    """

    def __init__(self, app: Amqtask, queue: str) -> None:
        self._app, self._queue = app, queue

    def message(self, entry: Entry, due: datetime, *, report: bool = False, asked: str | None = None) -> Outgoing:
        """The message of one occurrence.

        Args:
            entry: whose.
            due: when it is due.
            report: the worker is to tell the log when it has ended.
            asked: id of the command that asked for it, of one that is out of turn.

        Raises:
            ConfigError, TypeError, EncodeError: the entry's call can't be made, or goes nowhere.
        """
        mark: dict[str, Any] = {"entry": entry.name, "due": due.isoformat()}
        if report:
            mark[REPORT] = self._queue
        if asked is not None:
            mark["asked"] = asked
        given = {key: value for key, value in entry.options.items() if value is not None}
        refuse_unknown(given, SEND_OPTIONS, "option")
        expires = given.get("expires")
        options = {
            **given,
            **({"expires": expires.total_seconds()} if isinstance(expires, timedelta) else {}),
            "headers": {**(given.get("headers") or {}), HEADER: mark},
            "task_id": occurrence_id(self._app.main, entry.name, due, asked),
        }
        with denied_join_result():  # nobody here waits for results
            made = self._app.message_of(entry.task, entry.args, entry.kwargs, options)
        first, *others = self.queues(made, entry)
        # the copy must not expire before it is read; workers look at the header, which stays. And it must be there
        # after a restart of the broker, or what was sent would be sent again
        properties = made.properties._replace(
            headers={**(made.properties.headers or {}), "BCC": [*others, self._queue]},
            expiration=None,
            delivery_mode=PERSISTENT,
        )
        return made._replace(exchange=DEFAULT_EXCHANGE, routing_key=first, properties=properties)

    def queues(self, made: Outgoing, entry: Entry) -> list[str]:
        """The queues that a message would reach.

        Raises:
            ConfigError: there is none that is declared.
        """
        found = self._app.router.queues_for(made.exchange, made.routing_key, made.properties.headers or {})
        if not found and made.exchange == DEFAULT_EXCHANGE and self._app.topology.open:
            found = [made.routing_key]
        if not found:
            known = self._app.topology.queues
            where = (
                f"queue {made.routing_key!r} is not declared{did_you_mean(made.routing_key, known)}"
                if made.exchange == DEFAULT_EXCHANGE
                else f"no declared queue is bound to exchange {made.exchange!r} with key {made.routing_key!r}"
            )
            raise ConfigError(f"periodic task {entry.name!r}: {where}")
        return list(found)

    def check(self, entries: Iterable[Entry], now: datetime) -> list[str]:
        """See that each can be sent; returns the queues they go to.

        Raises:
            ConfigError: one can't.
        """
        found: dict[str, None] = {}
        unknown: set[str] = set()
        for entry in entries:
            place = f"{entry.where}: " if entry.where else ""
            task = self._app.tasks.get(entry.task)
            try:
                if task is not None:
                    task.check_arguments(*entry.args, **entry.kwargs)
                made = self.message(entry, now)
            except TypeError as error:
                raise ConfigError(f"{place}periodic task {entry.name!r}: {error}") from None
            if task is None and entry.task in _CANVAS and self._app.settings.interop != "celery":
                raise ConfigError(
                    f"{place}periodic task {entry.name!r}: {entry.task} is several tasks; declare one that sends them, "
                    "and let that be the periodic one"
                )
            if task is None and entry.task not in unknown:
                unknown.add(entry.task)
                hint = did_you_mean(entry.task, self._app.tasks)
                logger.warning("Periodic task %s: no task %s is known here%s", entry.name, entry.task, hint)
            if entry.next(now) is None:
                logger.warning("Periodic task %s will never be due again", entry.name)
            found.update(dict.fromkeys(targets(made)))
        return list(found)


def targets(made: Outgoing) -> list[str]:
    """The task's queues that the message of an occurrence goes to."""
    return [made.routing_key, *(made.properties.headers or {})["BCC"][:-1]]
