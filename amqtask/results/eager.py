"""EagerResult: what became of a task that ran in the caller's own process. Owns the value and how it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from amqtask import clock
from amqtask.errors import TaskRevoked
from amqtask.results.future import AsyncResult, R_co
from amqtask.results.meta import Meta
from amqtask.results.states import REVOKED

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

EagerState = Literal["SUCCESS", "FAILURE", "REJECTED", "IGNORED", "REVOKED"]


class EagerResult(AsyncResult[R_co]):
    """A task that has run here, by ``apply()`` or ``task_always_eager``; its end is known.

    Its state is ``SUCCESS``, or what a worker would have made of it: ``FAILURE`` and ``REJECTED`` (a dead letter),
    ``REVOKED`` (it had expired, and was not run) or ``IGNORED``. No backend is needed, and none is asked.
    """

    __slots__ = ("_error", "_trace", "_value_here")

    def __init__(
        self,
        task_id: str,
        name: str,
        state: EagerState,
        value: object = None,
        *,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
        traceback: str | None = None,
        retries: int = 0,
        runtime: float | None = None,
    ) -> None:
        super().__init__(task_id, name)
        self._value_here, self._error, self._trace = value, error, trace
        done = clock.utcnow().isoformat()
        self._meta = Meta(task_id, state, value, traceback, date_done=done, name=name, retries=retries, runtime=runtime)

    @property
    def result(self) -> Any:
        """What the task returned; of one that failed, the exception."""
        return self._value_here if self._error is None else self._error

    def get(self, timeout: float | None = None, propagate: bool = True, *_args: Any, **options: Any) -> R_co:  # noqa: ARG002 -- as the others'
        """What the task returned.

        Args:
            timeout: there is nothing to wait for; taken so that calls need not differ, as all others of
                :meth:`AsyncResult.get`.
            propagate: raise the exception of a task that failed; else it is returned.
            options: ``callback`` is called with id and value.
        """
        return self.maybe_throw(propagate, options.get("callback"))

    async def aget(self, timeout: float | None = None, propagate: bool = True, *_args: Any, **_options: Any) -> R_co:  # noqa: ARG002, ASYNC109 -- as the others'
        """:meth:`get`, for coroutines."""
        return self.maybe_throw(propagate)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> R_co:
        """What the task returned, or the exception that it raised; raises that with ``propagate``."""
        return self.told(self.meta, propagate, callback)

    def told(
        self,
        meta: Meta,  # noqa: ARG002 -- says less than is known here
        propagate: bool = True,
        callback: Callable[[str, Any], object] | None = None,
    ) -> R_co:
        """:meth:`maybe_throw`."""
        if self._error is not None and propagate:
            raise self._error.with_traceback(self._trace)
        value = self.result
        if callback is not None:
            callback(self.id, value)
        return cast("R_co", value)

    def ready(self) -> bool:
        """True: it has ended."""
        return True

    def forget(self) -> None:
        """Nothing: nothing is stored of it."""

    def revoke(self, *_args: Any, **_options: Any) -> None:
        """Count as revoked from now on, as in Celery: nothing is stopped, and nobody is told, for the task has run."""
        self._value_here, self._error, self._trace = None, TaskRevoked("revoked"), None
        self._meta = replace(self.meta, status=REVOKED, result=None, traceback=None)

    def unsettle(self) -> None:
        """Nothing: its end is part of it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.id, self.name, self.state, self._value_here, self._error, self.traceback, self.retries)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.name}[{self.id}] {self.state}>"


def _rebuilt(
    task_id: str,
    name: str,
    state: EagerState,
    value: object,
    error: BaseException | None,
    trace: str | None,
    tries: int,
) -> EagerResult[Any]:
    return EagerResult(task_id, name, state, value, error=error, traceback=trace, retries=tries)
