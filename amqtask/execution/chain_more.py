"""``amqtask.chain_more`` goes on with a long chain whose steps wait in the broker; others end it. Owns these tasks.

See :mod:`amqtask.canvas.parking`. The first takes no result of its own: the segment that it finds takes its place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from amqtask.canvas.after import context_of
from amqtask.canvas.parking import find
from amqtask.canvas.replacing import more, position
from amqtask.canvas.skipping import skipped
from amqtask.errors import Ignore, TopologyError
from amqtask.execution.sendings import FollowupApp
from amqtask.tasks.context import current
from amqtask.wire.codec import serializers
from amqtask.wire.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.canvas.planned import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.tasks.context import Context
    from amqtask.wire.message import TaskMessage

logger = logging.getLogger(__name__)


class ChainApp(FollowupApp, Protocol):
    """What is asked of an app to go on with a chain."""

    @property
    def broker_urls(self) -> Sequence[BrokerURL]: ...  # noqa: D102
    @property
    def connection_options(self) -> ConnectionOptions: ...  # noqa: D102
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
        BrokerError: the queue can't be read; the chain fails, unless this is tried again.
        DecodeError: the segment can't be read.
    """
    context, message = _called()
    steps = _segment_of(app, message)
    planning = context_of(message, app.plan_context(), context.reply_to, purpose="replace")
    app.send(more(message, steps, planning))
    raise Ignore("replaced")


def skip(app: ChainApp, **_segment: Any) -> NoReturn:
    """Pass the failure that the running message names on to a segment, unless that is done already.

    Raises:
        Ignore: always, at last.
        BrokerError, DecodeError: as for :func:`go_on`.
    """
    context, message = _called()
    try:
        steps = _segment_of(app, message)
    except TopologyError:  # deleted, or expired: a dead letter beside the one of the failure would help nobody
        queue, wanted = position(message)
        logger.warning("A chain has failed, and its steps from segment %d on can't be told: %s is gone", wanted, queue)
        raise Ignore("its steps are gone") from None
    planning = context_of(message, app.plan_context(), context.reply_to, purpose="skip")
    app.send(skipped(message, steps, context.queue, planning))
    raise Ignore("passed on")


def _called() -> tuple[Context, TaskMessage]:
    context = current()
    if context is None or context.message is None:
        raise RuntimeError("amqtask.chain_more is sent by chains; it means nothing when it is called")
    return context, context.message


def _segment_of(app: ChainApp, message: TaskMessage) -> list[Shape]:
    from amqtask.broker.admin import Admin  # noqa: PLC0415 -- another connection, for those who need it

    queue, wanted = position(message)
    serializer = serializers.get(app.settings.task_serializer)
    with Admin(app.broker_urls, app.connection_options) as admin:
        steps = find(admin, queue, wanted, serializer, Signer(app.settings))
    if steps is None:
        raise Ignore(f"segment {wanted} of {queue} was sent before")
    return steps
