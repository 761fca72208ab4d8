"""Results that travel by message: the answer to a caller, in its reply queue (Celery's ``rpc://``).

Owns the shape of that message. It is published like any other, confirmed and mandatory; a queue that is gone means
that the caller is gone, and with it the only one who wanted the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.wire.message import PERSISTENT, TRANSIENT, Outgoing, Properties
from amqtask.wire.signing import SIGNATURE

if TYPE_CHECKING:
    from amqtask.results.base import Record


def answer(record: Record, *, persistent: bool) -> Outgoing | None:
    """The message for the caller; None when it wants no answer.

    Args:
        record: the state of a task.
        persistent: it survives a restart of the broker (setting ``result_persistent``).
    """
    if not record.reply_to:
        return None
    properties = Properties(
        content_type=record.content_type,
        content_encoding=record.content_encoding,
        headers=None if record.signature is None else {SIGNATURE: record.signature},
        delivery_mode=PERSISTENT if persistent else TRANSIENT,
        correlation_id=record.correlation_id or record.task_id,
    )
    return Outgoing(DEFAULT_EXCHANGE, record.reply_to, properties, record.document)
