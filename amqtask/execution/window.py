"""The stretch of a job in which user code runs: the only place where a limit may interrupt it. Owns the contract.

An exception that comes from outside (a soft limit, a revocation) may hit any line. Outside of this stretch it would hit
the worker's own code, or the next job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from amqtask.execution.job import Job


class Window(Protocol):
    """Of one job; entered around its task's function, by the thread that runs it."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """What to await instead of the coroutine of an ``async def`` task."""


class NoWindow:
    """Of jobs that nothing interrupts."""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return

    def awaiting(self, coroutine: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        """Just the coroutine."""
        return coroutine


_NONE = NoWindow()


def no_window(_job: Job) -> Window:
    """For executors whose jobs nothing interrupts."""
    return _NONE
