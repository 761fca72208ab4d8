"""EagerResult: what became of a task that ran in the caller's own process. Owns the value and how it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from amqtask.results.future import AsyncResult, R_co

if TYPE_CHECKING:
    from types import TracebackType

EagerState = Literal["SUCCESS", "FAILURE", "REJECTED", "IGNORED", "REVOKED"]


class EagerResult(AsyncResult[R_co]):
    """A task that has run here, by ``apply()`` or ``task_always_eager``; its end is known. Immutable.

    Attributes:
        state: ``SUCCESS``, or what a worker would have made of it: ``FAILURE`` and ``REJECTED`` (a dead letter),
            ``REVOKED`` (it had expired, and was not run) or ``IGNORED``.
        retries: how often it was tried again.
    """

    __slots__ = ("_error", "_trace", "_traceback", "_value", "retries", "state")

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
    ) -> None:
        super().__init__(task_id, name)
        self.state, self.retries = state, retries
        self._value, self._error, self._trace, self._traceback = value, error, trace, traceback

    @property
    def result(self) -> Any:
        """What the task returned; of one that failed, the exception."""
        return self._value if self._error is None else self._error

    @property
    def traceback(self) -> str | None:
        """Of the exception, as text; None without one."""
        return self._traceback

    def get(self, timeout: float | None = None, propagate: bool = True) -> R_co:  # noqa: ARG002 -- Celery's signature
        """What the task returned.

        Args:
            timeout: there is nothing to wait for; taken so that calls need not differ.
            propagate: raise the exception of a task that failed; else it is returned.
        """
        if self._error is None:
            return cast("R_co", self._value)
        if propagate:
            raise self._error.with_traceback(self._trace)
        return cast("R_co", self._error)

    def ready(self) -> bool:
        """True: it has ended."""
        return True

    def successful(self) -> bool:
        """Whether it returned."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Whether it raised, and was not retried any more."""
        return self.state == "FAILURE"

    def __repr__(self) -> str:
        return f"<EagerResult: {self.name}[{self.id}] {self.state}>"
