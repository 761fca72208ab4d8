"""``amqtask.start`` starts work that one message brings; ``amqtask.run_ended`` tells the scheduler when it has ended.

Owns these two tasks. See :mod:`amqtask.canvas.starting`. The first takes no result of its own: the work takes
its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from amqtask.canvas.after import context_of
from amqtask.canvas.shapes import shape
from amqtask.canvas.starting import started
from amqtask.errors import Ignore, PublishError, Reject, Unroutable
from amqtask.execution.hopeless import is_hopeless
from amqtask.schedules.records import HEADER, REPORT, record_message
from amqtask.schedules.trust import LogTrust
from amqtask.tasks.context import current

if TYPE_CHECKING:
    from amqtask.broker.interface import Transport
    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.config.settings import Settings
    from amqtask.tasks.context import Context

RUN_ENDED: Final = "amqtask.run_ended"


class StartApp(Protocol):
    """What is asked of an app here."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def transport(self) -> Transport: ...  # noqa: D102
    def plan_context(self) -> PlanContext: ...  # noqa: D102
    def send(self, plan: Plan) -> None: ...  # noqa: D102


def start(app: StartApp, work: Shape) -> NoReturn:
    """Send the parts of some work in the place of the running task.

    Raises:
        Ignore: always, at last: the work has the id of this task.
        Reject: a part can't be sent, now or later: it has no queue to go to, is too large, or may not be written.
        BrokerError: nothing is sent, or some of it; it may be tried again.
    """
    context = current()
    if context is None or context.message is None:
        raise RuntimeError("amqtask.start is sent by schedulers; it means nothing when it is called")
    planning = context_of(context.message, app.plan_context(), context.reply_to, purpose="replace")
    try:
        app.send(started(context.message, work, planning, _ended_signature(context)))
    except PublishError as error:
        if is_hopeless(error):  # tried again for ever, each time the other parts would run once more
            raise Reject(f"not all of its parts can be sent: {error}") from error
        raise
    raise Ignore("replaced")


def _ended_signature(context: Context) -> Shape | None:
    """The task that tells the scheduler, if it wants to know; it goes to the queue of the running one."""
    mark = context.headers.get(HEADER)
    if not isinstance(mark, dict) or not isinstance(mark.get(REPORT), str):
        return None
    told = {"log": mark[REPORT], "entry": mark.get("entry"), "run": context.id}
    where = {"ignore_result": True, **({} if context.queue is None else {"queue": context.queue})}
    return shape(RUN_ENDED, (), told, where, immutable=True)


def run_ended(app: StartApp, log: str, entry: str, run: str) -> None:
    """Write the end of a run into the scheduler's log; without the log nobody wants to know.

    Raises:
        BrokerError: it is not written; it may be tried again.
    """
    message = record_message(log, "ended", {"entry": entry, "id": run})
    message = LogTrust(app.settings).signed(message)
    try:
        app.transport.send(message, timeout=app.settings.broker_confirm_timeout)
    except Unroutable:
        raise Ignore(f"there is no queue {log}") from None
