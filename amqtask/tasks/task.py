"""Task: a function that can be called here, or sent to run in a worker.

Owns the calling interface (``delay`` and its relatives) and ``self.retry()``. Routing, encoding and
publishing are the app's; running is the worker's.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property, update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, Unpack, cast

from amqtask.errors import Retry
from amqtask.tasks import in_place
from amqtask.tasks.composing import Composable
from amqtask.tasks.context import Context, current, running
from amqtask.tasks.option_values import refuse_unknown
from amqtask.tasks.options import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_RETRY_DELAY,
    SEND_OPTIONS,
    SendOptions,
    TaskOptions,
    Unset,
    check_retry_options,
)
from amqtask.tasks.params import compile_check
from amqtask.tasks.retry import Verdict, next_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.signature import Signature
    from amqtask.results.eager import EagerResult
    from amqtask.results.future import AsyncResult
    from amqtask.results.node import ResultBase
    from amqtask.tasks.sender import Call, Sender

P = ParamSpec("P")
R = TypeVar("R")


class Task(Composable, Generic[P, R]):
    """A task. Made by ``@app.task``; calling it calls the function, here and now.

    Immutable but for what the function does; thread-safe.

    Attributes:
        name: by which workers know it.
        run: the function itself, bound to this task when ``bind`` was given. What a worker calls.
        app: it belongs to, as signatures see it.
        is_async: ``run`` is a coroutine function.
        request_type: class of ``request`` when a message runs.
    """

    is_async = False
    request_type: type[Context] = Context
    _send_options = SEND_OPTIONS
    _check_retry = staticmethod(check_retry_options)

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        options: TaskOptions,
        sender: Callable[[], Sender],
        app: CanvasApp | None = None,
    ) -> None:
        self.name, self._sender, self.app = name, sender, app
        self.run: Callable[..., Any] = MethodType(function, self) if options.bind else function
        self.options = options
        update_wrapper(cast("Callable[..., Any]", self), function)
        self.__wrapped__ = self.run  # so that inspect.signature() shows what a caller has to give

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here, without a message; ``self.request`` says ``called_directly``."""
        with running(self.request_type(self.name, args=args, kwargs=kwargs, called_directly=True)):
            return cast("R", self.run(*args, **kwargs))

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task to run in a worker.

        Returns once the broker has confirmed the message and put it into a queue; it will run at least once.

        Raises:
            TypeError: the arguments don't fit the function; nothing was sent.
            EncodeError: an argument can't be serialized; nothing was sent.
            PublishError: the broker did not take it; see :mod:`amqtask.errors`.
            BrokerUnavailable: no broker could be reached.
        """
        self.check_arguments(*args, **kwargs)
        return self._sender().send(self.name, self.options, (args, kwargs), None)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Like :meth:`delay`, for coroutines: never blocks the running loop."""
        self.check_arguments(*args, **kwargs)
        return await self._sender().asend(self.name, self.options, (args, kwargs), None)

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]:
        """Send the task with options for this one call (see :class:`~amqtask.tasks.options.SendOptions`).

        Returns once the broker has confirmed the message, as :meth:`delay` does. With ``countdown`` or ``eta`` the
        message waits in the broker and arrives when it is due, never early.

        Raises:
            TypeError: arguments or option names that don't fit; nothing was sent.
            ConfigError: an option value that can't be used; nothing was sent.
            PublishError: as for :meth:`delay`.
        """
        link, link_error = options.pop("link", None), options.pop("link_error", None)
        call = self._check_call(args, kwargs, options)
        if link or link_error:
            sig = self.signature(*call, **options, link=link, link_error=link_error)
            return cast("AsyncResult[R]", sig.apply_async())
        return self._sender().send(self.name, self.options, call, options)

    async def aapply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[R]:
        """Like :meth:`apply_async`, for coroutines: never blocks the running loop."""
        link, link_error = options.pop("link", None), options.pop("link_error", None)
        call = self._check_call(args, kwargs, options)
        if link or link_error:
            sig = self.signature(*call, **options, link=link, link_error=link_error)
            return cast("AsyncResult[R]", await sig.aapply_async())
        return await self._sender().asend(self.name, self.options, call, options)

    def delay_many(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]]) -> list[AsyncResult[R]]:
        """Send one message per item, with pipelined confirms: many times faster than a loop of ``delay``.

        Args:
            calls: per call a tuple (or list) of positional arguments, or a dict of keyword arguments. All are
                checked and encoded, and held in memory, before the first is sent.

        Raises:
            TypeError, EncodeError: arguments that don't fit; nothing was sent.
            PartialPublish: some were not taken; says which. The others are confirmed.
        """
        return list(self._sender().send_many(self.name, self.options, self._check_calls(calls)))

    def apply(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool | None = None,
        **options: Unpack[SendOptions],
    ) -> EagerResult[R]:
        """Run the task here and now, as a worker would, without a broker.

        Arguments and headers are encoded and decoded as if they were sent; ``self.request`` is filled; retries
        follow at once. A message that would reach several queues runs once.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            throw: raise what the task raises, once no retry is left; None: as ``task_eager_propagates`` says.
            options: as for :meth:`apply_async`; ``countdown`` and ``eta`` are not waited for.

        Raises:
            TypeError, ConfigError, EncodeError, MessageTooLarge: as for :meth:`apply_async`.
        """
        call = self._check_call(args, kwargs, options)
        return self._sender().apply(self.name, self.options, call, options, throw)

    async def aapply(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        throw: bool | None = None,
        **options: Unpack[SendOptions],
    ) -> EagerResult[R]:
        """Like :meth:`apply`, for coroutines: an ``async def`` task runs on the running loop."""
        call = self._check_call(args, kwargs, options)
        return await self._sender().aapply(self.name, self.options, call, options, throw)

    def retry(
        self,
        args: Sequence[Any] | BaseException | None = None,
        kwargs: dict[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        *,
        countdown: float | None = None,
        eta: datetime | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """End this attempt and run the task again later; call it as ``raise self.retry(...)``.

        Args:
            args: other positional arguments for the next attempt; by default the same.
            kwargs: other keyword arguments.
            exc: the cause, reported when no retry is left.
            throw: False returns the :class:`~amqtask.errors.Retry` instead of raising it.
            countdown: seconds to wait; by default as the task's options or the queue's policy say.
            eta: when to run again, instead of ``countdown``; without a zone as in :meth:`apply_async`.
            max_retries: instead of the task's.
            options: of the next attempt, as of :meth:`apply_async`: ``queue``, ``priority``, ``expires`` and so on;
                those that are not given stay. In eager mode they say nothing.

        Raises:
            TypeError, ConfigError: an unknown option, or one that can't be used.
            Retry: another attempt follows.
            Exception: ``exc``, when no retry is left or the task was called directly, as a function.
            MaxRetriesExceeded: no retry is left and there is no ``exc``.
        """
        if isinstance(args, BaseException):
            warnings.warn(
                f"{self.name}: self.retry(error) was taken as self.retry(exc=error); write that instead",
                stacklevel=2,
            )
            args, exc = None, args
        self._check_retry(options)
        eta = eta and self._sender().aware(eta)
        request = self.request
        error = Retry(None, exc, countdown, eta=eta, args=args, kwargs=kwargs, max_retries=max_retries, options=options)
        if request.called_directly:
            _raise(exc or error, None)
        policy = self._sender().retry_policy(request.queue) if request.queue is not None else None
        decision = next_delay(self, policy, request.retries, error)
        if decision.verdict is Verdict.EXHAUSTED:
            request.exhausted = decision.error
            _raise(decision.error, exc)
        if throw:
            _raise(error, exc)
        return error

    def update_state(self, state: str, meta: Any = None) -> None:
        """Store a state of the running task, for whoever asks for its result: its progress, for instance.

        It is stored soon, in order and before the result; nothing waits for it, and a crash may lose it.

        Args:
            state: a word, for example ``"PROGRESS"``. A final one (``SUCCESS``, ``FAILURE``) is for a task that raises
                ``Ignore`` afterwards: whoever waits for the result gets it at once, and no later state replaces a
                success.
            meta: what ``result.info`` will be.

        Raises:
            RuntimeError: the task was called directly.
            ValueError: the state is empty, or can't be printed.
            EncodeError: ``meta`` can't be written by ``result_serializer``.
        """
        in_place.update_state(self.request, state, meta)

    def replace(self, sig: Signature) -> NoReturn:
        """End this task and let other work take its place: its caller, callbacks and chord get that result instead.

        Args:
            sig: any signature; of a group, the result is the list of its results.

        Raises:
            Ignore: always; let it pass.
            RuntimeError: the task was called directly.
            PublishError: the replacement was not taken by the broker; the task goes on.
        """
        in_place.replace(self.request, sig, self._canvas)

    def add_to_chord(self, sig: Signature) -> ResultBase:
        """Add a member to the chord that this task is a member of; its body waits for that one too.

        Raises:
            ConfigError: the task is a member of no chord.
            RuntimeError: the task was called directly.
        """
        return in_place.add_to_chord(self.request, sig, self._canvas)

    @property
    def _canvas(self) -> CanvasApp:
        if self.app is None:
            raise RuntimeError(f"{self.name} belongs to no app")
        return self.app

    @property
    def options(self) -> TaskOptions:
        """As given to ``@app.task``, checked; a limit by the name of an argument finds it in those of ``run``."""
        return self._options

    @options.setter
    def options(self, options: TaskOptions) -> None:
        limit = options.max_concurrency
        if limit is not None:
            options = replace(options, max_concurrency=limit.bound_to(self.run, self.name))
        self._options = options

    @property
    def request(self) -> Context:
        """What is known about the message this task is running for."""
        context = current()
        if context is None or context.task != self.name:
            return self.request_type(self.name, called_directly=True)
        return context

    @property
    def max_retries(self) -> int | None:
        """Retries after the first attempt, as far as the task itself says; None is no limit."""
        limit = self.options.max_retries
        return DEFAULT_MAX_RETRIES if isinstance(limit, Unset) else limit

    @property
    def default_retry_delay(self) -> float:
        """Seconds, as far as the task itself says."""
        delay = self.options.default_retry_delay
        return DEFAULT_RETRY_DELAY if delay is None else delay

    @cached_property
    def check_arguments(self) -> Callable[..., None]:
        """Raises TypeError for arguments that don't fit the function; does nothing else."""
        return compile_check(self.run, self.name)

    def _check_call(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: SendOptions) -> Call:
        refuse_unknown(options, self._send_options, "option")
        if isinstance(args, str | bytes):
            raise TypeError(f"args must be a list or tuple of arguments, not the text {args!r}")
        kwargs = {} if kwargs is None else kwargs
        self.check_arguments(*args, **kwargs)
        return args, kwargs

    def _check_calls(self, calls: Iterable[Sequence[Any] | Mapping[str, Any]]) -> Iterator[Call]:
        check = self.check_arguments
        for index, call in enumerate(calls):
            try:
                yield _check_item(check, call)
            except TypeError as error:
                raise TypeError(f"call {index}: {error}") from None

    def __repr__(self) -> str:
        return f"<Task: {self.name}>"


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function; ``R`` is what awaiting it gives."""

    is_async = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:  # type: ignore[override]
        """The coroutine of the function, to be awaited here."""
        return self._call(args, kwargs)

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        with running(self.request_type(self.name, args=args, kwargs=kwargs, called_directly=True)):
            return cast("R", await self.run(*args, **kwargs))


def _check_item(check: Callable[..., None], call: object) -> Call:
    if isinstance(call, tuple | list):
        check(*call)
        return call, {}
    if isinstance(call, dict):
        check(**call)
        return (), call
    raise TypeError(f"a tuple, list or dict of arguments is required, got {call!r:.100}")


def _raise(error: BaseException, cause: BaseException | None) -> NoReturn:
    """Raise without naming an exception as its own cause."""
    if cause is None or cause is error:
        raise error
    raise error from cause
