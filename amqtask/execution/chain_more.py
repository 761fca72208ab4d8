"""``amqtask.chain_more`` goes on with a long chain whose steps wait in the broker; others end it, and tidy up.

Owns these tasks. See :mod:`amqtask.canvas.parking`. The first takes no result of its own: the segment that it finds
takes its place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from amqtask.broker.interface import Reachable
from amqtask.canvas.after import context_of
from amqtask.canvas.parking import find
from amqtask.canvas.replacing import more, position, queue_of
from amqtask.canvas.skipping import skipped
from amqtask.errors import Ignore, PublishError, Reject, TopologyError
from amqtask.execution.hopeless import is_hopeless
from amqtask.execution.sendings import FollowupApp
from amqtask.tasks.context import current
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from amqtask.broker.admin import Admin
    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.tasks.context import Context
    from amqtask.wire.message import TaskMessage

logger = logging.getLogger(__name__)


class ChainApp(FollowupApp, Reachable, Protocol):
    """What is asked of an app to go on with a chain."""

    def plan_context(self) -> PlanContext: ...  # noqa: D102
    def send(self, plan: Plan) -> None: ...  # noqa: D102


class Skipped(Ignore):
    """Raised by ``amqtask.chain_skipped``: what follows it in its chain fails.

    Attributes:
        error: document of the failure.
        traceback: of it, as text.
    """

    def __init__(self, error: dict[str, Any], traceback: str | None) -> None:
        self.error, self.traceback = error, traceback
        super().__init__("the steps of a chain are skipped")


def go_on(app: ChainApp, *_result: Any, **_segment: Any) -> NoReturn:
    """Send the segment that the running message names, unless the chain has gone on already.

    Raises:
        Ignore: always, at last: the segment has the id of this task.
        Reject: its first step can't be sent, now or later. The segment stays in its queue for a replay.
        BrokerError: the queue can't be read; the chain fails, unless this is tried again.
        DecodeError: the segment can't be read.
    """
    context, message = _called()
    steps = _segment_of(app, message)
    planning = context_of(message, app.plan_context(), context.reply_to, purpose="replace")
    _send(app, more(message, steps, context.queue, planning))
    raise Ignore("replaced")


def skip(app: ChainApp, **_segment: Any) -> NoReturn:
    """Pass the failure that the running message names on to a segment, unless that is done already.

    Raises:
        Ignore: always, at last.
        Reject, BrokerError, DecodeError: as for :func:`go_on`.
    """
    context, message = _called()
    try:
        steps = _segment_of(app, message, keep=True)
    except TopologyError:  # deleted, or expired: a dead letter beside the one of the failure would help nobody
        queue, wanted = position(message)
        logger.warning("A chain has failed, and its steps from segment %d on can't be told: %s is gone", wanted, queue)
        raise Ignore("its steps are gone") from None
    planning = context_of(message, app.plan_context(), context.reply_to, purpose="skip")
    _send(app, skipped(message, steps, context.queue, planning))
    raise Ignore("passed on")


def _send(app: ChainApp, plan: Plan) -> None:
    try:
        app.send(plan)
    except PublishError as error:
        if is_hopeless(error):
            raise Reject(f"the next steps can't be sent: {error}") from error
        raise


def over(app: ChainApp, **_queue: Any) -> None:
    """Delete the queue that the running message names; harmless when it is gone.

    Raises:
        BrokerError: the queue can't be deleted; it may be tried again.
        DecodeError: it is no chain's.
    """
    _, message = _called()
    queue = queue_of(message)
    with _admin(app) as admin:
        admin.delete_queue(queue)


def _called() -> tuple[Context, TaskMessage]:
    context = current()
    if context is None or context.message is None:
        raise RuntimeError("amqtask.chain_more is sent by chains; it means nothing when it is called")
    return context, context.message


def _segment_of(app: ChainApp, message: TaskMessage, *, keep: bool = False) -> list[Shape]:
    queue, wanted = position(message)
    with _admin(app) as admin:
        steps = find(admin, queue, wanted, app.settings.accept_content, Signer(app.settings), keep=keep)
    if steps is None:
        raise Ignore(f"segment {wanted} of {queue} was sent before")
    return steps


def _admin(app: ChainApp) -> Admin:
    from amqtask.broker.admin import Admin  # noqa: PLC0415 -- another connection, for those who need it

    return Admin(app.broker_urls, app.connection_options)
