"""Tasks that are sent when the database transaction has committed, as Celery names it. Owns what is said before.

The id is chosen, and arguments and options are looked at, when the method is called: what can't be sent raises while
the transaction can still roll back. What the broker does comes after the commit, and nothing but the error tells of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from django.db import transaction

from amqtask.results.future import AsyncResult
from amqtask.wire.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.app.app import Amqtask
    from amqtask.canvas.signature import Signature
    from amqtask.tasks.hooks import BaseTask
    from amqtask.tasks.options import SendOptions
    from amqtask.tasks.task import Task

_OF_SIGNATURES = ("link", "link_error")
"""Options that are no part of the message itself."""

P = ParamSpec("P")
R = TypeVar("R")


class OnCommit(Generic[P, R]):
    """What tasks have in a Django project beside their other methods; to be put before a subclass of BaseTask."""

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Like ``delay``, once the transaction of the default database has committed; at once outside of one.

        After a rollback nothing is sent, and the result's id is known to nobody.

        Raises:
            TypeError, EncodeError, ConfigError: arguments or options that can't be sent; raised here.
            PublishError, BrokerUnavailable: the broker did not take it; raised by the end of the ``atomic`` block,
                when the data is committed.
        """
        return self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
        robust: bool = False,
        **options: Any,
    ) -> AsyncResult[R]:
        """Like ``apply_async``, once a transaction has committed; see :meth:`delay_on_commit`.

        Args:
            args: positional arguments; not to be changed before the commit.
            kwargs: keyword arguments; as ``args``.
            using: the database whose transaction it is.
            robust: as of Django's ``on_commit``: a broker that does not take it is logged, and what else waits for
                the commit goes on.
            options: of ``apply_async``; ``countdown`` begins at the commit.
        """
        task = cast("Task[..., Any]", self)
        call = tuple(args or ()), dict(kwargs or {})
        task_id = options.pop("task_id", None) or new_id()
        _check(task, call, options)
        send = partial(task.apply_async, *call, task_id=task_id, **options)
        return cast("AsyncResult[R]", _when_committed(send, _handle(task, task_id), using, robust))


def send_on_commit(sig: Signature, *, using: str | None = None, robust: bool = False) -> Any:
    """Send a signature of any kind (a chain, a group, a chord) once a transaction has committed.

    Args:
        sig: what to send; not changed.
        using: as of :meth:`OnCommit.apply_async_on_commit`.
        robust: as well.

    Returns:
        The handle of its result, whose ids are those that it will be sent with.
    """
    mine = sig.clone()
    return _when_committed(mine.apply_async, mine.freeze(), using, robust)


def with_on_commit(base: type[BaseTask]) -> type[BaseTask]:
    """A class of tasks with the methods above; ``base`` itself if it has them."""
    if issubclass(base, OnCommit):
        return base
    return cast("type[BaseTask]", type(base.__name__, (OnCommit, base), {"__module__": base.__module__}))


def _when_committed(send: Callable[[], Any], later: Any, using: str | None, robust: bool) -> Any:
    sent: list[Any] = []

    def committed() -> None:
        try:
            sent.append(send())
        except Exception as error:
            error.add_note(f"the transaction has committed, and {later!r} was to be sent after it")
            raise

    transaction.on_commit(committed, using=using, robust=robust)
    return sent[0] if sent else later


def _handle(task: Task[..., Any], task_id: str) -> AsyncResult[Any]:
    return AsyncResult(task_id, task.name, app=cast("Amqtask", task.app))


def _check(task: Task[..., Any], call: tuple[Sequence[Any], Mapping[str, Any]], options: dict[str, Any]) -> None:
    task._check_call(*call, cast("SendOptions", options))  # noqa: SLF001 -- as apply_async does
    of_one = {name: value for name, value in options.items() if name not in _OF_SIGNATURES}
    cast("Amqtask", task.app).producer.check(task.name, task.options, call, cast("SendOptions", of_one))
