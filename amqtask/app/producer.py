"""Producer: sends calls and waits until the broker has them. Implements what tasks ask of a Sender.

Owns the order of steps: build the message, see that a delayed one will find its queue, publish, and declare
on miss once. ``adelay`` and ``delay`` take the same steps.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from amqtask.app.announcing import AfterPublish
from amqtask.app.batch import Batch
from amqtask.app.declaring import SharedDeclares
from amqtask.app.needs import Needs
from amqtask.app.recovery import Recoverable, Recovery
from amqtask.errors import AmqtaskError, PartialPublish, TopologyError
from amqtask.results.future import AsyncResult
from amqtask.tasks.context import current

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Any, TypeVar

    from amqtask.app.eager import Eager
    from amqtask.app.messages import MessageBuilder
    from amqtask.app.needs import Need
    from amqtask.app.tracking import Tracking
    from amqtask.broker.interface import Transport
    from amqtask.config.settings import Settings
    from amqtask.results.access import ResultAccess
    from amqtask.results.eager import EagerResult
    from amqtask.tasks.middleware import Middlewares
    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.tasks.sender import Call
    from amqtask.topology.declarations import RetryPolicy
    from amqtask.topology.model import Topology
    from amqtask.topology.router import Router
    from amqtask.wire.message import Outgoing

    T = TypeVar("T")


class Producer:
    """The sending side of an app. Thread-safe.

    Args:
        settings: of the app.
        topology, router: what is declared, and where tasks go.
        messages: builds the messages.
        transport: gives the transport in use, which may change (inside a worker).
        eager: gives what runs calls here.
        results: for handles.
        tracking: tells the result backend what is about to be sent; None when there is none.
        middleware: of the app; None: nothing is around sending.
    """

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        router: Router,
        messages: MessageBuilder,
        transport: Callable[[], Transport],
        eager: Callable[[], Eager],
        results: ResultAccess,
        tracking: Tracking | None,
        middleware: Middlewares | None = None,
    ) -> None:
        self._middleware = middleware
        self._eager, self._results, self._tracking = eager, results, tracking
        self._timeout = settings.broker_confirm_timeout
        self._topology, self._transport = topology, transport
        self._needs = Needs(settings, topology, router)
        self._declares = SharedDeclares(self._needs)
        self._messages = messages
        self._after_publish = AfterPublish(settings, transport)

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        """Send one call; see :meth:`amqtask.tasks.task.Task.delay` for what may be raised."""
        if not self._middleware:
            return self._call(task, defaults, call, options)
        with self._middleware.around_publish(1):
            return self._call(task, defaults, call, options)

    def _call(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        message = self._messages.build(task, defaults, call, options)
        result: AsyncResult[Any] = AsyncResult(_id(message), task, results=self._results)
        if self._tracking is not None:
            self._tracking.about_to_send([message])
        self._send(message, may_be_delayed=bool(options))
        if self._after_publish.wanted:
            self._after_publish.tell([message])
        _add_child(result)
        return result

    def around(self, count: int) -> AbstractContextManager[Any]:
        """What middleware puts around the making and sending of this many messages."""
        return self._middleware.around_publish(count) if self._middleware else nullcontext()

    def check(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions) -> None:
        """Raise what :meth:`send` would before it asks the broker; sends nothing, and tells nobody."""
        self._messages.check(task, defaults, call, options)

    def _send(self, message: Outgoing, *, may_be_delayed: bool) -> None:
        try:
            if may_be_delayed and (need := self._needs.to_prepare(message)):
                self._prepare(need)
            self._publish(message)
        except AmqtaskError as error:
            if self._tracking is not None:
                self._tracking.not_sent([message], {0: error})
            raise

    def _publish(self, message: Outgoing) -> None:
        """Send; and again, once what is missing is declared or a moment has passed."""
        transport, recovery = self._transport(), None
        while True:
            try:
                transport.send(message, timeout=self._timeout)
            except Recoverable as error:
                recovery = recovery or Recovery(self._needs)
                step = recovery.next_step(message, error)
            else:
                return
            if isinstance(step, float):
                time.sleep(step)
            else:
                transport.declare(self._needs.layout(step))

    def _prepare(self, need: Need) -> None:
        try:
            self._transport().declare(self._needs.layout(need))
        except TopologyError as error:
            raise self._needs.error_for(need, error) from None
        self._needs.note_declared(need)

    async def asend(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None
    ) -> AsyncResult[Any]:
        """Like :meth:`send`, without blocking the running loop."""
        if not self._middleware:
            return await self._acall(task, defaults, call, options)
        with self._middleware.around_publish(1):
            return await self._acall(task, defaults, call, options)

    async def _acall(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None
    ) -> AsyncResult[Any]:
        message = self._messages.build(task, defaults, call, options)
        result: AsyncResult[Any] = AsyncResult(_id(message), task, results=self._results)
        if self._tracking is not None:
            await self._tracking.aabout_to_send([message])
        await self._asend(message, may_be_delayed=bool(options))
        if self._after_publish.wanted:
            await self._after_publish.atell([message])
        _add_child(result)
        return result

    async def _asend(self, message: Outgoing, *, may_be_delayed: bool) -> None:
        try:
            if may_be_delayed and (need := self._needs.to_prepare(message)):
                await self._aprepare(need)
            await self._apublish(message)
        except AmqtaskError as error:
            if self._tracking is not None:
                await self._tracking.anot_sent(message, error)
            raise

    async def _apublish(self, message: Outgoing) -> None:
        """Like :meth:`_publish`, without blocking the running loop."""
        transport, recovery = self._transport(), None
        while True:
            try:
                await transport.asend(message, timeout=self._timeout)
            except Recoverable as error:
                recovery = recovery or Recovery(self._needs)
                step = recovery.next_step(message, error)
            else:
                return
            if isinstance(step, float):
                from asyncio import sleep  # noqa: PLC0415 -- whoever awaits this has loaded it

                await sleep(step)
            else:
                await self._declares.declare(transport, step)

    async def _aprepare(self, need: Need) -> None:
        try:
            await self._declares.declare(self._transport(), need)
        except TopologyError as error:
            raise self._needs.error_for(need, error) from None
        self._needs.note_declared(need)

    def send_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> Sequence[AsyncResult[Any]]:
        """Send calls of one task with pipelined confirms; their results in order.

        Raises:
            PartialPublish: some were not taken; the others are confirmed.
        """
        if not self._middleware:
            return self._call_many(task, defaults, calls)
        calls = list(calls)
        with self._middleware.around_publish(len(calls)):
            return self._call_many(task, defaults, calls)

    def _call_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> Sequence[AsyncResult[Any]]:
        build = self._messages.build
        messages = [build(task, defaults, call, None) for call in calls]
        if self._tracking is not None:
            self._tracking.about_to_send(messages)
        found: list[AsyncResult[Any]] = [AsyncResult(_id(one), task, results=self._results) for one in messages]
        try:
            self._deliver_many(messages, may_be_delayed=False)
        except PartialPublish as error:
            for result in _confirmed(found, error.errors):
                _add_child(result)
            raise
        for result in found:
            _add_child(result)
        return found

    def _deliver_many(self, messages: list[Outgoing], *, may_be_delayed: bool) -> None:
        try:
            for message in messages if may_be_delayed else ():
                if need := self._needs.to_prepare(message):
                    self._prepare(need)
            errors = Batch(messages, self._transport(), self._needs, self._timeout).send()
        except AmqtaskError as error:
            if self._tracking is not None:
                self._tracking.not_sent(messages, dict.fromkeys(range(len(messages)), error))
            raise
        if self._after_publish.wanted:
            self._after_publish.tell(_confirmed(messages, errors))
        if errors:
            if self._tracking is not None:
                self._tracking.not_sent(messages, errors)
            ids = [_id(message) for message in messages]
            raise PartialPublish(errors, len(messages), ids)

    def deliver(self, messages: list[Outgoing], later: Sequence[str] = ()) -> None:
        """Send messages that are made already, and wait until all are confirmed.

        Args:
            messages: in order.
            later: ids of tasks that follow from them, sent by workers.

        Raises:
            PublishError: one was not taken, or of several some (PartialPublish).
        """
        if self._tracking is not None:
            self._tracking.about_to_send(messages, later)
        if len(messages) == 1:
            self._send(messages[0], may_be_delayed=True)
            if self._after_publish.wanted:
                self._after_publish.tell(messages)
        elif messages:
            self._deliver_many(messages, may_be_delayed=True)

    async def adeliver(self, messages: list[Outgoing], later: Sequence[str] = ()) -> None:
        """Like :meth:`deliver`, without blocking the running loop."""
        from asyncio import gather  # noqa: PLC0415 -- whoever awaits this has loaded it

        if self._tracking is not None:
            await self._tracking.aabout_to_send(messages, later)
        if len(messages) == 1:
            await self._asend(messages[0], may_be_delayed=True)
            if self._after_publish.wanted:
                await self._after_publish.atell(messages)
            return
        fates = await gather(
            *(self._asend(message, may_be_delayed=True) for message in messages), return_exceptions=True
        )
        errors = {index: fate for index, fate in enumerate(fates) if isinstance(fate, AmqtaskError)}
        if self._after_publish.wanted:
            await self._after_publish.atell(
                [message for message, fate in zip(messages, fates, strict=True) if fate is None]
            )
        if errors:
            raise PartialPublish(errors, len(messages), [_id(message) for message in messages])
        for fate in fates:
            if fate is not None:
                raise fate

    @property
    def transport(self) -> Transport:
        """The transport in use here."""
        return self._transport()

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

    def aware(self, eta: datetime) -> datetime:
        """The same moment, with the zone that one without has in a call."""
        return self._messages.aware(eta)

    def retry_policy(self, queue: str) -> RetryPolicy | None:
        """The retry policy of a queue, if it is declared and has one."""
        declared = self._topology.queues.get(queue)
        return declared.retry if declared is not None else None


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


def _confirmed(all_of: Sequence[T], errors: Collection[int]) -> Sequence[T]:
    """Those of a batch that are confirmed."""
    return [one for index, one in enumerate(all_of) if index not in errors] if errors else all_of


def _add_child(result: AsyncResult[Any]) -> None:
    if (task := current()) is not None:
        task.add_child(result.as_tuple())


def _id(message: Outgoing) -> str:
    task_id = message.properties.correlation_id
    assert task_id is not None
    return task_id
