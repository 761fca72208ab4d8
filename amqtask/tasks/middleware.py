"""Middleware: code of the user's around sending and running tasks. Owns the contract, and the order of several.

The one that was added first is the outermost around tasks, and the first to see a message.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from amqtask.tasks.context import Context

    Around = AbstractContextManager[Any] | AbstractAsyncContextManager[Any] | None

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Publishing:
    """A message that is about to be sent; ``headers`` may be changed, the rest is to be read.

    Attributes:
        task, task_id: name and id.
        args, kwargs: of the call.
        exchange, routing_key: where it goes.
        headers: of the message; a task reads its own ones in ``self.request.headers``.
    """

    task: str
    task_id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    exchange: str
    routing_key: str
    headers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has failed, as the worker's main process knows it: texts, for the exception stayed elsewhere.

    Attributes:
        task, task_id: name and id; None where the message had none.
        queue: that delivered it.
        retries: how often it had been retried.
        reason: of a dead letter: ``failed``, ``time_limit``, ``worker_lost``, ...; empty for a retry.
        exception: type and message, when there was one.
        traceback: of it, or an empty text.
        delay: seconds until the next attempt, for a retry.
    """

    task: str | None
    task_id: str | None
    queue: str
    retries: int
    reason: str
    exception: str
    traceback: str
    delay: float | None = None


class Middleware:
    """To be subclassed; add an instance with ``app.middleware.add(...)``. Its methods have to be thread-safe."""

    def before_publish(self, message: Publishing) -> None:
        """A message is about to be encoded for sending, in whatever process sends it. Raising stops that."""

    def around_task(self, request: Context) -> Around:  # noqa: ARG002 -- for overriding
        """A context manager to run the task in, or None.

        Entered in the place that runs the task, with ``request`` as ``self.request``; it sees what the task raises, and
        may raise something else. Around ``async def`` tasks it may be an asynchronous one.
        """
        return None

    def around_publish(self, count: int) -> AbstractContextManager[Any] | None:  # noqa: ARG002 -- for overriding
        """A context manager around a call of this program that sends, or None.

        It is entered before the messages are made, so :meth:`before_publish` is called inside of it, and left when the
        broker has confirmed them; it sees what the call raises. Coroutines enter it too. What workers send because of
        the end of a task has none around it.

        Args:
            count: how many messages there will be, at least.
        """
        return None

    def before_chord(self, headers: dict[str, Any]) -> None:
        """A chord is about to be sent; it carries its body, which a worker sends when all members have ended.

        Args:
            headers: to be filled: the body has them beside its own, when :meth:`before_publish` is called for it.
        """

    def before_retry(self, request: Context, headers: dict[str, Any]) -> None:
        """An attempt has failed and another one follows, which is made now, where the task has run.

        Args:
            request: of this attempt.
            headers: to be filled: the next attempt has them beside, or instead of, those of this one. Not those of the
                protocol. What is raised is logged, and changes nothing.
        """

    def on_retry(self, attempt: Ended) -> Awaitable[None] | None:  # noqa: ARG002
        """Called when an attempt has failed and another one follows, whose message is stored; may be ``async def``.

        It runs in the worker's main process, in a thread of its own; what it raises is logged. It may be called twice
        of one attempt, when the connection ends just then and the attempt is made once more; not at all, when the
        worker dies just then.
        """
        return None

    def on_dead(self, attempt: Ended) -> Awaitable[None] | None:  # noqa: ARG002
        """Called when a message is stored among the dead letters; as :meth:`on_retry` otherwise.

        Not called for those of the broker: messages that expired in a queue, or were delivered too often.
        """
        return None


class Middlewares:
    """Those of an app, in the order in which they were added. To be filled before tasks are sent or run."""

    def __init__(self) -> None:
        self._all: list[Middleware] = []

    def add(self, middleware: Middleware) -> Middleware:
        """Add one; returns it.

        Raises:
            TypeError: it is no instance of a subclass of :class:`Middleware`.
        """
        if not isinstance(middleware, Middleware):
            raise TypeError(f"an instance of a subclass of Middleware is required, got {middleware!r}")
        self._all.append(middleware)
        return middleware

    def __iter__(self) -> Iterator[Middleware]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def before_publish(self, message: Publishing) -> None:
        """Show a message to each of them, in order. What one raises goes to the caller."""
        for one in self._all:
            one.before_publish(message)

    @contextmanager
    def around_publish(self, count: int) -> Iterator[None]:
        """What they put around the sending of some messages."""
        with ExitStack() as stack:
            for one in self._all:
                manager = one.around_publish(count)
                if manager is not None:
                    stack.enter_context(manager)
            yield

    def before_chord(self) -> dict[str, Any]:
        """The headers that they add to the body of a chord. What one raises goes to the caller."""
        headers: dict[str, Any] = {}
        for one in self._all:
            one.before_chord(headers)
        return headers

    def before_retry(self, request: Context) -> dict[str, Any]:
        """The headers that they add to the next attempt. Raises nothing."""
        headers: dict[str, Any] = {}
        for one in self._all:
            try:
                one.before_retry(request, headers)
            except Exception:
                logger.exception("middleware failed: %r", one.before_retry)
        return headers

    def around(self, function: Callable[..., Any], request: Context) -> Callable[..., Any]:
        """A plain function, run inside of what they put around the task."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with ExitStack() as stack:
                for one in self._all:
                    manager = one.around_task(request)
                    if manager is not None:
                        stack.enter_context(_plain(one, manager))
                return function(*args, **kwargs)

        return call

    def aaround(self, function: Callable[..., Any], request: Context) -> Callable[..., Any]:
        """The same for a coroutine function."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            async with AsyncExitStack() as stack:
                for one in self._all:
                    manager: Any = one.around_task(request)
                    if hasattr(manager, "__aenter__"):
                        await stack.enter_async_context(manager)
                    elif manager is not None:
                        stack.enter_context(manager)
                return await function(*args, **kwargs)

        return call


def _plain(owner: Middleware, manager: Any) -> AbstractContextManager[Any]:
    if not hasattr(manager, "__enter__"):
        raise TypeError(
            f"{type(owner).__name__}.around_task gave an asynchronous context manager for a task that is a plain "
            "function; look at request.task, or return one that is both"
        )
    found: AbstractContextManager[Any] = manager
    return found
