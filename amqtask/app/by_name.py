"""Sending tasks by name: what an app does for names that it may not know. Owns ``send_task``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import SEND_OPTIONS, SendOptions, TaskOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.app.producer import Producer
    from amqtask.results.future import AsyncResult
    from amqtask.tasks.registry import TaskRegistry
    from amqtask.tasks.sender import Call

_NO_OPTIONS = TaskOptions()
_LINKS = frozenset({"link", "link_error"})


class SendsByName:
    """A part of :class:`amqtask.app.app.Amqtask`."""

    tasks: TaskRegistry
    _send_options = SEND_OPTIONS

    if TYPE_CHECKING:

        @property
        def producer(self) -> Producer: ...  # noqa: D102 -- the app's
        def signature(self, task: Any, *args: Any) -> Any: ...  # noqa: D102

    def send_task(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[Any]:
        """Send a task by name, known here or not; options as for :meth:`Task.apply_async`.

        The arguments of a task that is declared here are checked first.
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
        if task is None:
            return name, _NO_OPTIONS, call
        task.check_arguments(*call[0], **call[1])
        return name, task.options, call
