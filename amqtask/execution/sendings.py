"""Plans of a canvas as messages for a worker to publish. Owns that step, and what is asked of an app for it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from amqtask import clock
from amqtask.broker.content import check_short, encode_properties
from amqtask.canvas.plan import Plan, Sending, derived_ids
from amqtask.canvas.shapes import ERRBACK
from amqtask.errors import AmqtaskError, ConfigError, EncodeError
from amqtask.execution.job import After, Begin
from amqtask.results.trimming import clip, type_path
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.topology.delays import dead_name
from amqtask.wire import dead_headers
from amqtask.wire.message import Outgoing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.canvas.after import Errback
    from amqtask.canvas.plan import PlanContext
    from amqtask.config.settings import Settings
    from amqtask.results.base import Backend
    from amqtask.tasks.task import Task

logger = logging.getLogger(__name__)

_TEXT = 512
"""Bytes of a reason in a header."""

_ON_THE_WAY = ("queue", "exchange", "routing_key", "priority")
"""Options of an errback that hold for the message that has it called."""

Unsent = tuple[Sending, Exception]
"""A message that can't be sent, and why."""


class Canvas(Protocol):
    """The part of an app that turns plans into messages."""

    def plan_context(self) -> PlanContext:
        """What plans made here have in common."""

    def outgoing(self, plan: Plan, *, own_reply: bool = True) -> Sequence[Outgoing]:
        """The messages of a plan."""

    def begins(self, plan: Plan) -> Iterable[Begin]:
        """The chords of a plan."""


class FollowupApp(Protocol):
    """What is asked of an app by those who work out what follows from a task."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]: ...  # noqa: D102
    @property
    def results_backend(self) -> Backend | None: ...  # noqa: D102
    @property
    def canvas(self) -> Canvas: ...  # noqa: D102


class Sendings:
    """Makes messages of plans. Thread-safe.

    Args:
        app: its canvas; asked for when first needed.
    """

    def __init__(self, app: FollowupApp) -> None:
        self._app = app

    def context(self) -> PlanContext:
        """What plans made here have in common."""
        return self._app.canvas.plan_context()

    def after(self, plans: Iterable[Plan], failed: str | None = None) -> After:
        """Chords to begin and messages to send for some plans; answers go to the callers that they name.

        Args:
            plans: to send.
            failed: name of the task whose errbacks these are. Of one that can't be sent the log tells, for the
                failure has to be known all the same.

        Raises:
            EncodeError, ConfigError: a message that can't be sent.
        """
        messages: list[Outgoing] = []
        chords: list[Begin] = []
        for plan in plans:
            canvas = self._app.canvas
            try:
                made = canvas.outgoing(plan, own_reply=False)
                _check(made)
            except (AmqtaskError, TypeError) as error:
                if failed is None:
                    raise
                _left_out(failed, error)
                continue
            messages += made
            chords += canvas.begins(plan)
        return After(tuple(messages), chords=tuple(chords))

    def sendable(self, plans: Iterable[Plan], *, strict: bool = False) -> tuple[After, list[Unsent]]:
        """Like :meth:`after`, of a task that has run well: what can't be sent is left out, and told with the reason.

        Args:
            plans: to send; of one that can't be sent as a whole, every message that can.
            strict: nothing is left out: it is this process that can't send, and another may.

        Raises:
            EncodeError: a message with the task's result that can't be written.
            ConfigError: with ``strict``, a message that can't be sent.
        """
        made, unsent = After(), list[Unsent]()
        for plan in plans:
            try:
                made = joined(made, self.after([plan]))
            except (AmqtaskError, TypeError) as error:
                if strict or isinstance(error, EncodeError):
                    raise
                part, left = self._one_by_one(plan, error)
                made, unsent = joined(made, part), [*unsent, *left]
        return made, unsent

    def _one_by_one(self, plan: Plan, error: Exception) -> tuple[After, list[Unsent]]:
        try:
            made = self.after([replace(plan, sendings=[])])
        except (AmqtaskError, TypeError):  # the chords are begun all the same, for the failures count there
            return After(chords=tuple(self._app.canvas.begins(plan))), [(one, error) for one in plan.sendings]
        unsent: list[Unsent] = []
        for one in plan.sendings:
            try:
                made = joined(made, self.after([Plan(sendings=[one])]))
            except (AmqtaskError, TypeError) as reason:
                unsent.append((one, reason))
        return made, unsent

    def dead(self, unsent: Unsent, queue: str, worker: str) -> tuple[Outgoing, ...]:
        """The dead letter of a message that can't be sent as its options say; none if nothing can be made of it.

        Args:
            unsent: the message, and why.
            queue: whose dead letters are meant: that of the task before.
            worker: node name.
        """
        sending, error = unsent
        kept = {name: sending.options.get(name) for name in ("task_id", "reply_to", "ignore_result")}
        plan = Plan(sendings=[sending._replace(options=kept)])
        try:
            (message,) = made = self._app.canvas.outgoing(plan, own_reply=False)
            _check(made)
        except (AmqtaskError, TypeError):  # told already
            return ()
        now = clock.utcnow().isoformat(timespec="milliseconds")
        headers = {
            **(message.properties.headers or {}),
            dead_headers.REASON: "unsendable",
            dead_headers.EXCEPTION: type_path(error),
            dead_headers.MESSAGE: clip(str(error), _TEXT),
            dead_headers.WORKER: worker,
            dead_headers.ATTEMPTS: 0,
            dead_headers.FIRST_TIME: now,
            dead_headers.LAST_TIME: now,
            dead_headers.QUEUE: queue,
        }
        properties = message.properties._replace(headers=headers, expiration=None)
        return (Outgoing(DEFAULT_EXCHANGE, dead_name(queue), properties, message.body),)

    def errbacks(
        self, calls: Sequence[Errback], name: str, document: Mapping[str, Any], traceback: str | None
    ) -> tuple[Outgoing, ...]:
        """Messages that have errbacks called elsewhere: no code of users runs where this is asked.

        Of some that can't be sent the log tells.

        Args:
            calls: errbacks that take the exception itself.
            name: of the task that failed.
            document: of the exception.
            traceback: as text.
        """
        made: list[Outgoing] = []
        ids = {call.task_id: derived_ids(call.task_id, purpose="errback") for call in calls}
        for call in calls:
            own = call.signature.get("options") or {}
            where = {name: own[name] for name in _ON_THE_WAY if own.get(name) is not None}
            given = {"task": dict(call.signature), "failed": call.task_id, "name": name}
            options = {**where, "task_id": ids[call.task_id](), "ignore_result": True}
            kwargs = {**given, "error": dict(document), "traceback": traceback}
            one = Sending(ERRBACK, (), kwargs, options, {}, call.task_id, call.task_id)
            made += self.after([Plan(sendings=[one])], failed=name).messages
        return tuple(made)


def _check(messages: Iterable[Outgoing]) -> None:
    """Refuse what no client of AMQP could write: found when it is published, it would fail the task before it.

    Raises:
        ConfigError: which property or header, and why.
    """
    for message in messages:
        try:
            check_short("exchange", message.exchange)
            check_short("routing key", message.routing_key)
            encode_properties(message.properties)
        except EncodeError as error:  # of options, and so no matter of the task's result
            raise ConfigError(str(error)) from None


def joined(one: After, other: After) -> After:
    """What follows from both."""
    return After(
        one.messages + other.messages,
        one.records + other.records,
        one.parts + other.parts,
        one.chords + other.chords,
    )


def _left_out(name: str, error: Exception) -> None:
    logger.error("Task %s has failed, and its errbacks can't be sent: %s", name, error)
