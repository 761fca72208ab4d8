"""From an entry and a due time to the task message, with a blind copy for the log. Owns that message.

It goes to the task's queues by their names, for one message can only be published to one exchange, and the copy has to
be made of the very same: a process that dies in between would lose or double it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from amqtask import clock
from amqtask.canvas.plan import Sending, derived_ids
from amqtask.canvas.planning import plan
from amqtask.canvas.starting import STARTS, composition, single_message, start_message
from amqtask.errors import AmqtaskError, ConfigError
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
    from amqtask.canvas.plan import PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.schedules.entry import Entry
    from amqtask.wire.message import Outgoing

logger = logging.getLogger("amqtask.beat")

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
            mark |= {REPORT: self._queue, "at": clock.utcnow().isoformat()}
        if asked is not None:
            mark["asked"] = asked
        given = {key: value for key, value in entry.options.items() if value is not None}
        refuse_unknown(given, SEND_OPTIONS, "option")
        if isinstance(expires := given.get("expires"), timedelta):
            given["expires"] = expires.total_seconds()
        own = {
            "headers": {**(given.get("headers") or {}), HEADER: mark},
            "task_id": occurrence_id(self._app.main, entry.name, due, asked),
        }
        with denied_join_result():  # nobody here waits for results
            made = self._made(entry, given, own, report=report)
        first, *others = self.queues(made, entry)
        if (made.properties.headers or {}).get("task") in STARTS:
            others = []  # each worker that gets it would send all the parts
        # the copy must not expire before it is read; workers look at the header, which stays. And it must be there
        # after a restart of the broker, or what was sent would be sent again
        properties = made.properties._replace(
            headers={**(made.properties.headers or {}), "BCC": [*others, self._queue]},
            expiration=None,
            delivery_mode=PERSISTENT,
        )
        return made._replace(exchange=DEFAULT_EXCHANGE, routing_key=first, properties=properties)

    def _made(self, entry: Entry, given: dict[str, Any], own: dict[str, Any], *, report: bool) -> Outgoing:
        """A composition is one message, too: its first step with the others in it, or one that starts it."""
        app, task_id = self._app, str(own["task_id"])
        work = _composition(entry, given)
        if work is not None and not report:  # a first step does not tell the end of the last
            only = single_message(work, task_id, self._context(task_id))
            if only is not None:
                headers = {**(only.options.get("headers") or {}), **own["headers"]}
                return app.message_of(only._replace(options={**only.options, "headers": headers}))
        if work is None or app.settings.interop == "celery":  # whose workers know no task but their own
            kwargs = dict(entry.kwargs) if work is None else work["kwargs"]
            return app.message_of(Sending(entry.task, entry.args, kwargs, {**given, **own}, {}, task_id))
        expires = {} if given.get("expires") is None else {"expires": given["expires"]}
        return app.message_of(*start_message(work, {**expires, **own}))

    def _context(self, task_id: str) -> PlanContext:
        with denied_join_result():
            context = self._app.canvas.plan_context()
        return replace(context, new_id=derived_ids(task_id, purpose="start"))

    def _calls(self, entry: Entry) -> list[Sending]:
        """What a worker runs first."""
        work = _composition(entry, {})
        if work is None:
            return [Sending(entry.task, entry.args, dict(entry.kwargs), {}, {}, "")]
        return plan(work, context=self._context("")).sendings

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
            ConfigError: some can't; a line for each.
        """
        found: dict[str, None] = {}
        wrong: list[str] = []
        unknown: set[str] = set()
        for entry in entries:
            try:
                for call in self._calls(entry):
                    if (task := self._app.tasks.get(call.task)) is not None:
                        task.check_arguments(*call.args, **call.kwargs)
                    name = call.route_name
                    if name not in self._app.tasks and name not in unknown:
                        unknown.add(name)
                        hint = did_you_mean(name, self._app.tasks)
                        logger.warning("Periodic task %s: no task %s is known here%s", entry.name, name, hint)
                made = self.message(entry, now)
            except (AmqtaskError, TypeError) as error:
                wrong.append(_problem(entry, error))
                continue
            if entry.next(now) is None:
                logger.warning("Periodic task %s will never be due again", entry.name)
            found.update(dict.fromkeys(targets(made)))
        if wrong:
            raise ConfigError("\n".join(wrong))
        return list(found)

    def unsendable(self, entries: Iterable[Entry], now: datetime) -> list[str]:
        """What is wrong with entries apart from their tasks, which need not be known: their options and queues."""
        wrong = []
        for entry in entries:
            try:
                self.message(entry, now)
            except (AmqtaskError, TypeError) as error:
                wrong.append(_problem(entry, error))
        return wrong


def _problem(entry: Entry, error: Exception) -> str:
    """What is wrong, with the place and the name of the entry."""
    name = f"periodic task {entry.name!r}: "
    return f"{f'{entry.where}: ' if entry.where else ''}{name}{str(error).removeprefix(name)}"


def _composition(entry: Entry, given: dict[str, Any]) -> Shape | None:
    try:
        work = composition(entry.task, entry.args, entry.kwargs, given)
    except ConfigError as error:
        raise ConfigError(f"periodic task {entry.name!r}: {error}") from None
    if work is not None and entry.overlap == "cancel_previous":
        raise ConfigError(
            f"periodic task {entry.name!r}: overlap 'cancel_previous' can't cancel {entry.task}, for it is several "
            "tasks; choose 'skip' or 'buffer_one', or declare a task that sends it"
        )
    return work


def targets(made: Outgoing) -> list[str]:
    """The task's queues that the message of an occurrence goes to."""
    return [made.routing_key, *(made.properties.headers or {})["BCC"][:-1]]
