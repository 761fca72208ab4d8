"""Producer: sends calls and waits until the broker has them. Implements what tasks ask of a Sender.

Owns the order of steps: build the message, see that a delayed one will find its queue, publish, and declare
on miss once. ``adelay`` and ``delay`` take the same steps.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amqtask.app.missing import Missing
from amqtask.app.recovery import Recoverable, Recovery
from amqtask.errors import AmqtaskError, PartialPublish, Unroutable
from amqtask.results.future import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from amqtask.app.eager import Eager
    from amqtask.app.messages import MessageBuilder
    from amqtask.broker.interface import Transport
    from amqtask.config.settings import Settings
    from amqtask.errors import QueueFull
    from amqtask.results.eager import EagerResult
    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.tasks.sender import Call
    from amqtask.topology.declarations import RetryPolicy
    from amqtask.topology.model import Topology
    from amqtask.topology.router import Router
    from amqtask.wire.message import Outgoing


class Producer:
    """The sending side of an app. Thread-safe.

    Args:
        settings: of the app.
        topology, router: what is declared, and where tasks go.
        messages: builds the messages.
        transport: gives the transport in use, which may change (inside a worker).
        eager: gives what runs calls here.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        router: Router,
        messages: MessageBuilder,
        transport: Callable[[], Transport],
        eager: Callable[[], Eager],
    ) -> None:
        self._eager = eager
        self._timeout = settings.broker_confirm_timeout
        self._topology, self._transport = topology, transport
        self._missing = Missing(settings, topology, router)
        self._messages = messages

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        """Send one call; see :meth:`amqtask.tasks.task.Task.delay` for what may be raised."""
        message = self._messages.build(task, defaults, call, options)
        transport = self._transport()
        if options and (need := self._missing.unprepared(message)):
            transport.declare(self._missing.layout(need))
            self._missing.prepared(need)
        try:
            transport.send(message, timeout=self._timeout)
        except Recoverable as error:
            self._send_again(transport, message, error)
        return AsyncResult(_id(message), task)

    def _send_again(self, transport: Transport, message: Outgoing, error: Unroutable | QueueFull) -> None:
        recovery = Recovery(self._missing)
        while True:
            step = recovery.after(message, error)
            if isinstance(step, float):
                time.sleep(step)
            else:
                transport.declare(self._missing.layout(step))
            try:
                transport.send(message, timeout=self._timeout)
            except Recoverable as again:
                error = again
            else:
                return

    async def asend(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None
    ) -> AsyncResult[Any]:
        """Like :meth:`send`, without blocking the running loop."""
        message = self._messages.build(task, defaults, call, options)
        transport = self._transport()
        if options and (need := self._missing.unprepared(message)):
            await transport.adeclare(self._missing.layout(need))
            self._missing.prepared(need)
        try:
            await transport.asend(message, timeout=self._timeout)
        except Recoverable as error:
            await self._asend_again(transport, message, error)
        return AsyncResult(_id(message), task)

    async def _asend_again(self, transport: Transport, message: Outgoing, error: Unroutable | QueueFull) -> None:
        from asyncio import sleep  # noqa: PLC0415 -- whoever awaits this has loaded it

        recovery = Recovery(self._missing)
        while True:
            step = recovery.after(message, error)
            if isinstance(step, float):
                await sleep(step)
            else:
                await transport.adeclare(self._missing.layout(step))
            try:
                await transport.asend(message, timeout=self._timeout)
            except Recoverable as again:
                error = again
            else:
                return

    def send_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> Sequence[AsyncResult[Any]]:
        """Send calls of one task with pipelined confirms; their results in order.

        Raises:
            PartialPublish: some were not taken; the others are confirmed.
        """
        build = self._messages.build
        messages = [build(task, defaults, call, None) for call in calls]
        ids = [_id(message) for message in messages]
        if errors := self._send_all(messages):
            raise PartialPublish(self._explained(messages, errors), len(messages), ids)
        return [AsyncResult(task_id, task) for task_id in ids]

    def apply(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None
    ) -> EagerResult[Any]:
        """Run one call here and now; see :meth:`amqtask.tasks.task.Task.apply`."""
        return self._eager().run(task, defaults, call, options, throw)

    async def aapply(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None
    ) -> EagerResult[Any]:
        """Like :meth:`apply`, on the running loop."""
        return await self._eager().arun(task, defaults, call, options, throw)

    def _send_all(self, messages: list[Outgoing]) -> dict[int, AmqtaskError]:
        """Send, declaring and repeating where that helps; index -> error of those that failed for good."""
        transport, recovery = self._transport(), Recovery(self._missing)
        errors: dict[int, AmqtaskError] = {}
        left = list(range(len(messages)))
        while left:
            try:
                failed = transport.send_many([messages[index] for index in left], timeout=self._timeout)
            except AmqtaskError as error:
                if len(left) == len(messages):
                    raise
                failed = dict.fromkeys(range(len(left)), error)  # the others are confirmed: the caller has to know
            for index in left:
                errors.pop(index, None)
            errors.update({left[place]: error for place, error in failed.items()})
            left = [index for index in left if isinstance(errors.get(index), Recoverable)]
            if not left:
                break
            first = errors[left[0]]
            assert isinstance(first, Recoverable)
            try:
                step = recovery.after(messages[left[0]], first)
            except Recoverable:
                break
            if isinstance(step, float):
                time.sleep(step)
                continue
            try:
                transport.declare(self._missing.layout(step))
            except AmqtaskError as error:
                if len(errors) == len(messages):
                    raise
                errors.update(dict.fromkeys(left, error))
                break
        return errors

    def retry_policy(self, queue: str) -> RetryPolicy | None:
        """The retry policy of a queue, if it is declared and has one."""
        declared = self._topology.queues.get(queue)
        return declared.retry if declared is not None else None

    def _explained(self, messages: list[Outgoing], errors: dict[int, AmqtaskError]) -> dict[int, AmqtaskError]:
        return {
            index: self._missing.explain(messages[index], error) if isinstance(error, Unroutable) else error
            for index, error in sorted(errors.items())
        }


class EagerProducer(Producer):
    """Sends nothing: every call runs here and now (``task_always_eager``)."""

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        """Run one call."""
        return self.apply(task, defaults, call, options, None)

    async def asend(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None
    ) -> AsyncResult[Any]:
        """Run one call on the running loop."""
        return await self.aapply(task, defaults, call, options, None)

    def send_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> Sequence[AsyncResult[Any]]:
        """Run one call after the other."""
        return [self.apply(task, defaults, call, None, None) for call in calls]


def _id(message: Outgoing) -> str:
    task_id = message.properties.correlation_id
    assert task_id is not None
    return task_id
