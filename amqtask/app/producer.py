"""Producer: sends calls and waits until the broker has them. Implements what tasks ask of a Sender.

Owns the order of steps: build the message, see that a delayed one will find its queue, publish, and declare
on miss once. ``adelay`` and ``delay`` take the same steps.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amqtask.app.announcing import Sent
from amqtask.app.missing import Missing
from amqtask.app.recovery import Recoverable, Recovery
from amqtask.errors import AmqtaskError, PartialPublish, TopologyError, Unroutable
from amqtask.results.future import AsyncResult
from amqtask.tasks.context import current

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime
    from typing import Any, TypeVar

    from amqtask.app.eager import Eager
    from amqtask.app.messages import MessageBuilder
    from amqtask.app.missing import Need
    from amqtask.app.tracking import Tracking
    from amqtask.broker.interface import Transport
    from amqtask.config.settings import Settings
    from amqtask.errors import QueueFull
    from amqtask.results.access import ResultAccess
    from amqtask.results.eager import EagerResult
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
        watched: told what is about to be sent; None when nobody has to be.
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
        watched: Tracking | None,
    ) -> None:
        self._eager, self._results, self._watched = eager, results, watched
        self._timeout = settings.broker_confirm_timeout
        self._topology, self._transport = topology, transport
        self._missing = Missing(settings, topology, router)
        self._messages = messages
        self._sent = Sent(settings, transport)

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        """Send one call; see :meth:`amqtask.tasks.task.Task.delay` for what may be raised."""
        message = self._messages.build(task, defaults, call, options)
        result: AsyncResult[Any] = AsyncResult(_id(message), task, results=self._results)
        if self._watched is not None:
            self._watched.about_to_send([message])
        self._send(message, delayed=bool(options))
        if self._sent.wanted:
            self._sent.tell([message])
        _count_as_child(result)
        return result

    def _send(self, message: Outgoing, *, delayed: bool) -> None:
        try:
            self._send_once(message, delayed=delayed)
        except AmqtaskError as error:
            if self._watched is not None:
                self._watched.not_sent([message], {0: error})
            raise

    def _send_once(self, message: Outgoing, *, delayed: bool) -> None:
        transport = self._transport()
        if delayed and (need := self._missing.unprepared(message)):
            self._prepare(need)
        try:
            transport.send(message, timeout=self._timeout)
        except Recoverable as error:
            self._send_again(transport, message, error)

    def _prepare(self, need: Need) -> None:
        try:
            self._transport().declare(self._missing.layout(need))
        except TopologyError as error:
            raise self._missing.refused(need, error) from None
        self._missing.prepared(need)

    async def _aprepare(self, need: Need) -> None:
        try:
            await self._transport().adeclare(self._missing.layout(need))
        except TopologyError as error:
            raise self._missing.refused(need, error) from None
        self._missing.prepared(need)

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
        result: AsyncResult[Any] = AsyncResult(_id(message), task, results=self._results)
        if self._watched is not None:
            await self._watched.aabout_to_send([message])
        await self._asend(message, delayed=bool(options))
        if self._sent.wanted:
            await self._sent.atell([message])
        _count_as_child(result)
        return result

    async def _asend(self, message: Outgoing, *, delayed: bool) -> None:
        try:
            await self._asend_once(message, delayed=delayed)
        except AmqtaskError as error:
            if self._watched is not None:
                await self._watched.anot_sent(message, error)
            raise

    async def _asend_once(self, message: Outgoing, *, delayed: bool) -> None:
        transport = self._transport()
        if delayed and (need := self._missing.unprepared(message)):
            await self._aprepare(need)
        try:
            await transport.asend(message, timeout=self._timeout)
        except Recoverable as error:
            await self._asend_again(transport, message, error)

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
        if self._watched is not None:
            self._watched.about_to_send(messages)
        found: list[AsyncResult[Any]] = [AsyncResult(_id(one), task, results=self._results) for one in messages]
        try:
            self._deliver_many(messages)
        except PartialPublish as error:
            for result in _without(found, error.errors):
                _count_as_child(result)
            raise
        for result in found:
            _count_as_child(result)
        return found

    def _deliver_many(self, messages: list[Outgoing]) -> None:
        errors = self._send_all(messages)
        if self._sent.wanted:
            self._sent.tell(_without(messages, errors))
        if errors:
            if self._watched is not None:
                self._watched.not_sent(messages, errors)
            ids = [_id(message) for message in messages]
            raise PartialPublish(self._explained(messages, errors), len(messages), ids)

    def deliver(self, messages: list[Outgoing], later: Sequence[str] = ()) -> None:
        """Send messages that are made already, and wait until all are confirmed.

        Args:
            messages: in order.
            later: ids of tasks that follow from them, sent by workers.

        Raises:
            PublishError: one was not taken, or of several some (PartialPublish).
        """
        if self._watched is not None:
            self._watched.about_to_send(messages, later)
        for message in messages:
            if need := self._missing.unprepared(message):
                self._prepare(need)
        if len(messages) == 1:
            self._send(messages[0], delayed=False)
            if self._sent.wanted:
                self._sent.tell(messages)
        elif messages:
            self._deliver_many(messages)

    async def adeliver(self, messages: list[Outgoing], later: Sequence[str] = ()) -> None:
        """Like :meth:`deliver`, without blocking the running loop."""
        from asyncio import gather  # noqa: PLC0415 -- whoever awaits this has loaded it

        if self._watched is not None:
            await self._watched.aabout_to_send(messages, later)
        if len(messages) == 1:
            await self._asend(messages[0], delayed=True)
            if self._sent.wanted:
                await self._sent.atell(messages)
            return
        fates = await gather(*(self._asend(message, delayed=True) for message in messages), return_exceptions=True)
        errors = {index: fate for index, fate in enumerate(fates) if isinstance(fate, AmqtaskError)}
        if self._sent.wanted:
            await self._sent.atell([message for message, fate in zip(messages, fates, strict=True) if fate is None])
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

    def aware(self, eta: datetime) -> datetime:
        """The same moment, with the zone that one without has in a call."""
        return self._messages.aware(eta)

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


def _without(all_of: Sequence[T], errors: Collection[int]) -> Sequence[T]:
    """Those of a batch that are confirmed."""
    return [one for index, one in enumerate(all_of) if index not in errors] if errors else all_of


def _count_as_child(result: AsyncResult[Any]) -> None:
    if (task := current()) is not None:
        task.has_sent(result.as_tuple())


def _id(message: Outgoing) -> str:
    task_id = message.properties.correlation_id
    assert task_id is not None
    return task_id
