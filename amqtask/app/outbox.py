"""Tasks that are sent if, and only if, a database transaction commits. Owns what is written when, and what is refused.

A call makes the message at once and inserts it, by the caller's own connection, into the table of the outbox. What the
transaction does, the row does. A relay (``amqtask outbox relay``) publishes the rows that are committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, cast, overload

from amqtask.app.needs import Needs
from amqtask.broker.content import seal
from amqtask.canvas.shapes import copied, ends_in_group
from amqtask.canvas.signature import Signature
from amqtask.canvas.starting import forget_ids, start_message
from amqtask.errors import (
    AmqtaskError,
    ConfigError,
    PartialPublish,
    Unroutable,
)
from amqtask.outbox.relay import is_away
from amqtask.outbox.rows import columns_of
from amqtask.plugins import did_you_mean
from amqtask.results.future import AsyncResult
from amqtask.results.joining import denied_join_result
from amqtask.tasks.task import Task
from amqtask.topology.declarations import DEFAULT_EXCHANGE
from amqtask.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amqtask.app.composing import ComposesWork
    from amqtask.app.producer import Producer
    from amqtask.outbox.writers import Writer
    from amqtask.tasks.options import SendOptions
    from amqtask.wire.message import Outgoing

P = ParamSpec("P")
R = TypeVar("R")


class Outbox:
    """Sends by one database connection, in whose thread it is used; made by ``app.outbox(connection)``.

    Every method returns with the row written, not committed. After the commit the task is sent at least once; after a
    rollback, of a savepoint too, it is not, and the id that was returned is nobody's. Nothing here asks the broker.

    Args:
        app: whose tasks, routes and settings hold.
        writer: of the connection.
    """

    def __init__(self, app: ComposesWork, writer: Writer) -> None:
        self._app, self._writer = app, writer

    def delay(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Like ``task.delay(*args, **kwargs)``, once the transaction has committed.

        Raises:
            TypeError, EncodeError, MessageTooLarge, ConfigError: the call can't be sent; no row was written.
            Unroutable: it would go to a queue that is not declared; no row was written.
            Exception: the database driver's, which concerns the caller's transaction.
        """
        return self.apply_async(task, args, kwargs)

    async def adelay(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Like :meth:`delay`, by a connection that is awaited."""
        return await self.aapply_async(task, args, kwargs)

    @overload
    def apply_async(
        self,
        task: Task[..., R],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]: ...
    @overload
    def apply_async(
        self,
        task: Signature,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> Any: ...
    def apply_async(
        self, task: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Like ``task.apply_async(...)``, once the transaction has committed; see :meth:`delay`.

        Args:
            task: or a signature of any kind; of a group the result is a ``GroupResult``.
            args: positional arguments.
            kwargs: keyword arguments.
            options: as of ``apply_async``; ``countdown`` and ``expires`` count from this call.
        """
        if self._app.settings.task_always_eager:
            return task.apply_async(args, kwargs, **options)
        self._refuse(awaited=False)
        messages, result = self._made(task, args, kwargs, cast("SendOptions", options))
        self._writer.write(self._rows(messages))
        return result

    @overload
    async def aapply_async(
        self,
        task: Task[..., R],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]: ...
    @overload
    async def aapply_async(
        self,
        task: Signature,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> Any: ...
    async def aapply_async(
        self, task: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Like :meth:`apply_async`, by a connection that is awaited."""
        if self._app.settings.task_always_eager:
            return await task.aapply_async(args, kwargs, **options)
        self._refuse(awaited=True)
        messages, result = self._made(task, args, kwargs, cast("SendOptions", options))
        await self._writer.write(self._rows(messages))
        return result

    def _refuse(self, *, awaited: bool) -> None:
        if self._writer.awaited and not awaited:
            raise TypeError("this connection has to be awaited: await adelay() or aapply_async()")
        if awaited and not self._writer.awaited:
            raise TypeError("this connection is not one that is awaited: call delay() or apply_async(), in its thread")

    # ---- messages

    def _made(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: SendOptions
    ) -> tuple[list[Outgoing], Any]:
        if not isinstance(task, Task | Signature):
            raise TypeError(f"a task or a signature is required, not {task!r:.100}")
        # the process that writes a row need not be there when it is sent, so no answer can come to it
        with denied_join_result():
            if isinstance(task, Signature):
                return self._of_signature(task, args, kwargs, options)
            links = {name: options.pop(name) for name in ("link", "link_error") if name in options}
            call = task._check_call(args, kwargs, options)  # noqa: SLF001 -- as its own apply_async does
            if any(links.values()):
                return self._of_signature(task.signature(*call, **options, **links), (), None, {})
            said = cast("SendOptions", {"reply_to": None, **options})
            message = self._app._wiring.messages.build(task.name, task.options, call, said)  # noqa: SLF001 -- its part
            task_id = str(message.properties.correlation_id)
            return [message], AsyncResult(task_id, task.name, results=self._app.results)

    def _of_signature(
        self, sig: Signature, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: SendOptions
    ) -> tuple[list[Outgoing], Any]:
        """A message for each task that can begin at once; else one that has a worker start the whole."""
        app = self._app
        plan = sig._plan(app, args, kwargs, options)  # noqa: SLF001 -- as its own apply_async does
        for sending in plan.sendings:
            if (known := app.tasks.get(sending.task)) is not None:
                known.check_arguments(*sending.args, **sending.kwargs)
        if not (plan.chords or plan.parked or plan.grows):
            return app.canvas.outgoing(plan), plan.result
        if ends_in_group(sig) or app.settings.interop == "celery":
            raise ConfigError(
                "the outbox can't send a group with chords in it, nor a chord to Celery's workers: something has to be "
                "made in the broker first. Send a task that sends it"
            )
        work = copied(sig.clone(args, kwargs, **options))
        task_id = work["options"].get("task_id") or new_id()
        forget_ids(work)
        given = {"task_id": task_id, "expires": work["options"].get("expires")}
        start, route = start_message(work, {name: said for name, said in given.items() if said is not None})
        message = app._wiring.messages.build_sending(start, app.tasks.options_of(route), route=route)  # noqa: SLF001
        return [message], AsyncResult(task_id, results=app.results)

    def _rows(self, messages: list[Outgoing]) -> list[dict[str, Any]]:
        needs = Needs(self._app.settings, self._app.topology, self._app.router)
        for message in messages:
            seal(message, self._app.connection_options)
            if not needs.is_declared(message):
                raise Unroutable(self._nowhere(message))
        return [{"app": self._app.main, **columns_of(message)} for message in messages]

    def _nowhere(self, message: Outgoing) -> str:
        known = self._app.topology.queues
        if message.exchange == DEFAULT_EXCHANGE:
            name = message.routing_key
            return (
                f"queue {name!r} is not declared{did_you_mean(name, known)}; the outbox sends to declared queues only"
            )
        return (
            f"no declared queue is bound to exchange {message.exchange!r} with key {message.routing_key!r}; "
            "the outbox sends to declared queues only"
        )


def deliver_each(producer: Producer, messages: Sequence[Outgoing]) -> Mapping[int, AmqtaskError]:
    """Publish messages that are made already, and wait for all their confirms; for the relay.

    Args:
        producer: of the app.
        messages: in order.

    Returns:
        Place -> error of those that were not taken; the others are confirmed.
    """
    try:
        producer.deliver(list(messages))
    except PartialPublish as error:
        return error.errors
    except AmqtaskError as error:
        if len(messages) == 1 or is_away(error):
            return dict.fromkeys(range(len(messages)), error)
    else:
        return {}
    errors: dict[int, AmqtaskError] = {}
    for at, message in enumerate(messages):  # one of them has failed before any was sent
        for error_of_one in deliver_each(producer, [message]).values():
            errors[at] = error_of_one
            if is_away(error_of_one):  # and would be for the others, each after a while
                return errors | dict.fromkeys(range(at, len(messages)), error_of_one)
    return errors
