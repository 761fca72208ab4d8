"""Plans of a canvas as messages for a worker to publish. Owns that step, and what is asked of an app for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from amqtask.canvas.planned import Plan, Sending, derived_ids
from amqtask.canvas.shapes import ERRBACK
from amqtask.execution.job import After, Begin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.canvas.after import Errback
    from amqtask.canvas.planned import PlanContext
    from amqtask.config.settings import Settings
    from amqtask.results.base import Backend
    from amqtask.tasks.task import Task
    from amqtask.wire.message import Outgoing


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

    def after(self, plans: Iterable[Plan]) -> After:
        """Chords to begin and messages to send for some plans; answers go to the callers that they name.

        Raises:
            EncodeError, ConfigError: a message that can't be sent.
        """
        messages: list[Outgoing] = []
        chords: list[Begin] = []
        for plan in plans:
            canvas = self._app.canvas
            messages += canvas.outgoing(plan, own_reply=False)
            chords += canvas.begins(plan)
        return After(tuple(messages), chords=tuple(chords))

    def errbacks(
        self, calls: Sequence[Errback], name: str, document: Mapping[str, Any], traceback: str | None
    ) -> tuple[Outgoing, ...]:
        """Messages that have errbacks called elsewhere: no code of users runs where this is asked.

        Args:
            calls: errbacks that take the exception itself.
            name: of the task that failed.
            document: of the exception.
            traceback: as text.

        Raises:
            EncodeError: an argument of an errback that can't be written.
        """
        if not calls:
            return ()
        sendings = []
        for call in calls:
            given = {"task": dict(call.signature), "failed": call.task_id, "name": name}
            options = {"task_id": derived_ids(call.task_id, purpose="errback")(), "ignore_result": True}
            kwargs = {**given, "error": dict(document), "traceback": traceback}
            sendings.append(Sending(ERRBACK, (), kwargs, options, {}, call.task_id, call.task_id))
        return tuple(self._app.canvas.outgoing(Plan(sendings=sendings), own_reply=False))
