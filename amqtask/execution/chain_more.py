"""``amqtask.chain_more``: goes on with a long chain whose steps wait in the broker. Owns that one task.

See :mod:`amqtask.canvas.parking`. It takes no result of its own: the segment that it finds takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from amqtask.canvas.after import context_of
from amqtask.canvas.parking import find
from amqtask.canvas.replacing import more, position
from amqtask.errors import Ignore
from amqtask.execution.sendings import FollowupApp
from amqtask.tasks.context import current
from amqtask.wire.codec import serializers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.broker.interface import ConnectionOptions
    from amqtask.broker.url import BrokerURL
    from amqtask.canvas.planned import Plan, PlanContext


class ChainApp(FollowupApp, Protocol):
    """What is asked of an app to go on with a chain."""

    @property
    def broker_urls(self) -> Sequence[BrokerURL]: ...  # noqa: D102
    @property
    def connection_options(self) -> ConnectionOptions: ...  # noqa: D102
    def plan_context(self) -> PlanContext: ...  # noqa: D102
    def send(self, plan: Plan) -> None: ...  # noqa: D102


def go_on(app: ChainApp, *_result: Any, **_segment: Any) -> NoReturn:
    """Send the segment that the running message names, unless the chain has gone on already.

    Raises:
        Ignore: always, at last: the segment has the id of this task.
        BrokerError: the queue can't be read; the chain fails, unless this is tried again.
        DecodeError: the segment can't be read.
    """
    from amqtask.broker.admin import Admin  # noqa: PLC0415 -- another connection, for those who need it

    context = current()
    if context is None or context.message is None:
        raise RuntimeError("amqtask.chain_more is sent by chains; it means nothing when it is called")
    queue, wanted = position(context.message)
    serializer = serializers.get(app.settings.task_serializer)
    with Admin(app.broker_urls, app.connection_options) as admin:
        steps = find(admin, queue, wanted, serializer)
    if steps is None:
        raise Ignore(f"segment {wanted} of {queue} was sent before")
    planning = context_of(context.message, app.plan_context(), context.reply_to, purpose="replace")
    app.send(more(context.message, steps, planning))
    raise Ignore("replaced")
