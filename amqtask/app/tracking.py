"""What the result backend is told before tasks are sent: whom to expect, and that they are on their way.

Owns the states QUEUED and SCHEDULED, which the setting ``result_track_sent`` asks for.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from amqtask.errors import (
    AccessRefused,
    AmqtaskError,
    BrokerUnavailable,
    MessageTooLarge,
    QueueFull,
    TopologyError,
    Unroutable,
)
from amqtask.results.base import Record
from amqtask.results.meta import Meta, dump, load
from amqtask.results.states import QUEUED, SCHEDULED
from amqtask.wire.accept import checked_results
from amqtask.wire.codec import serializers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.config.settings import Settings
    from amqtask.results.backends.rpc import RpcBackend
    from amqtask.results.base import Backend
    from amqtask.wire.message import Outgoing, Table

_NOT_SENT = (AccessRefused, BrokerUnavailable, MessageTooLarge, QueueFull, TopologyError, Unroutable)
"""Errors after which no queue has the message; after others one may."""


class Tracking:
    """Tells the result backend what is sent. Thread-safe.

    Args:
        settings: of the app.
        backend: of the app.
    """

    def __init__(self, settings: Settings, backend: Backend) -> None:
        self._settings, self._backend = settings, backend
        self._stores = settings.result_track_sent and not backend.by_message
        self._serializer = serializers.get(settings.result_serializer)

    def about_to_send(self, messages: Sequence[Outgoing], later: Iterable[str] = ()) -> None:
        """Tell of messages before they are sent, so that no worker can be faster.

        Args:
            messages: of tasks.
            later: ids of tasks that follow from them, sent by workers.

        Raises:
            BackendError: the backend can't be reached; nothing was sent.
        """
        asked = [message for message in messages if _asks(message.properties.headers or {})]
        if self._stores:
            records = {str(message.properties.correlation_id): self._record(message) for message in asked}
            for task_id in later:
                records.setdefault(task_id, self._queued(Meta(task_id, QUEUED)))
            self._backend.store(list(records.values()))
        self._backend.expect([str(message.properties.correlation_id) for message in asked])

    async def aabout_to_send(self, messages: Sequence[Outgoing], later: Iterable[str] = ()) -> None:
        """Like :meth:`about_to_send`, without blocking the running loop."""
        if self._backend.by_message:
            backend = cast("RpcBackend", self._backend)
            await backend.aexpect([str(message.properties.correlation_id) for message in messages])
            return
        if not self._stores:
            self.about_to_send(messages, later)
            return
        import asyncio  # noqa: PLC0415 -- whoever awaits this has loaded it

        await asyncio.get_running_loop().run_in_executor(None, self.about_to_send, messages, later)

    def not_sent(self, messages: Sequence[Outgoing], errors: Mapping[int, AmqtaskError]) -> None:
        """Take back what was told of messages that could not be sent; what workers have stored stays.

        Args:
            messages: of tasks.
            errors: place in ``messages`` -> why it could not be sent.
        """
        if not self._stores:
            return
        ids = [str(messages[at].properties.correlation_id) for at, why in errors.items() if isinstance(why, _NOT_SENT)]
        with suppress(AmqtaskError):  # the caller is told why they were not sent
            accept = checked_results(self._settings)
            metas = [load(document, accept) for document in self._backend.fetch(ids).values()]
            self._backend.forget([meta.task_id for meta in metas if meta.status in (QUEUED, SCHEDULED)])

    async def anot_sent(self, message: Outgoing, error: AmqtaskError) -> None:
        """Like :meth:`not_sent`, of one message, without blocking the running loop."""
        if self._stores:
            import asyncio  # noqa: PLC0415 -- whoever awaits this has loaded it

            await asyncio.get_running_loop().run_in_executor(None, self.not_sent, [message], {0: error})

    def _record(self, message: Outgoing) -> Record:
        headers = message.properties.headers or {}
        task_id = str(message.properties.correlation_id)
        return self._queued(Meta(task_id, SCHEDULED if "eta" in headers else QUEUED, name=headers.get("task")))

    def _queued(self, meta: Meta) -> Record:
        document, content_type, encoding = dump(meta, self._serializer)
        return Record(meta.task_id, meta.status, document, content_type, encoding, final=False)


def _asks(headers: Table) -> bool:
    """Whether it is a task whose result somebody may ask for."""
    return "id" in headers and not headers.get("ignore_result")
