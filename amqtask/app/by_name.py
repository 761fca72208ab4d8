"""Sending tasks by name: what an app does for names that it may not know. Owns ``send_task``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from amqtask.app.composing import ComposesWork
from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import SEND_OPTIONS, SendOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.results.future import AsyncResult
    from amqtask.tasks.options import TaskOptions
    from amqtask.tasks.sender import Call

_LINKS = frozenset({"link", "link_error"})


class SendsByName(ComposesWork):
    """``app.send_task`` and ``app.asend_task``."""

    _send_options = SEND_OPTIONS

    def send_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[Any]:
        """Send a task by name, known here or not; returns once the broker has confirmed the message.

        Args:
            name: of the task.
            args: positional arguments; checked when the task is declared here.
            kwargs: keyword arguments.
            options: as for :meth:`Task.apply_async`.

        Raises:
            TypeError, ConfigError, EncodeError: nothing was sent.
            PublishError, BrokerUnavailable: as for :meth:`Task.delay`.
        """
        task, defaults, call = self._named(name, args, kwargs, options)
        if _LINKS & options.keys():
            return cast("AsyncResult[Any]", self.signature(task, *call, options).apply_async())
        return self.producer.send(task, defaults, call, options)

    async def asend_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[Any]:
        """Like :meth:`send_task`, for coroutines: never blocks the running loop."""
        task, defaults, call = self._named(name, args, kwargs, options)
        if _LINKS & options.keys():
            return cast("AsyncResult[Any]", await self.signature(task, *call, options).aapply_async())
        return await self.producer.asend(task, defaults, call, options)

    def _named(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: SendOptions
    ) -> tuple[str, TaskOptions, Call]:
        refuse_unknown(options, self._send_options, "option")
        if not name:
            raise TypeError("a task's name must not be empty")
        task = self.tasks.get(name)
        call = (args, {} if kwargs is None else kwargs)
        if task is not None:
            task.check_arguments(*call[0], **call[1])
        return name, self.tasks.options_of(name), call
