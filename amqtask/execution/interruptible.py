"""A coroutine into which an exception can be thrown from outside. Owns that, and nothing of limits.

A cancelled task sees ``CancelledError`` where it waits; this one sees the exception that it was interrupted with
instead, and may catch it, clean up and return.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Generator


class Interruptible:
    """Awaits a coroutine; to be awaited once. Only for the thread of its loop.

    Args:
        coroutine: of a task.
    """

    def __init__(self, coroutine: Awaitable[Any]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise this in the coroutine, where it waits; nothing when it has ended.

        To be called between the steps of its task, as loops call their callbacks.
        """
        self._error = error
        if self._task is not None:
            self._task.cancel()

    def interrupt_from_signal(self, error: BaseException) -> bool:
        """The same from a signal handler on the loop's thread.

        Returns:
            False when the coroutine does not wait but runs: the handler has to raise.
        """
        import asyncio  # noqa: PLC0415 -- whoever made a coroutine run has it

        task = self._task
        if task is None:
            self._error = error  # it has not begun, or has ended
            return True
        loop = task.get_loop()
        if asyncio.current_task(loop) is task:
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self.interrupt, error)
        return True

    def __await__(self) -> Generator[Any, Any, Any]:
        import asyncio  # noqa: PLC0415 -- whoever awaits has it

        self._task = asyncio.current_task()
        inner = self._coroutine.__await__()
        step: Callable[[Any], Any] = inner.send
        throw: Callable[[Any], Any] = inner.throw
        send, value = step, None
        if self._error is not None:
            step, value = throw, self._error
        try:
            while True:
                try:
                    waited = step(value)
                except StopIteration as end:
                    return end.value
                try:
                    step, value = send, (yield waited)
                except asyncio.CancelledError as cancelled:
                    step, value = throw, self._take() or cancelled
                except BaseException as error:
                    step, value = throw, error
        finally:
            self._task = None

    def _take(self) -> BaseException | None:
        """The exception that a cancellation stands for, once; None: others have cancelled the task."""
        error, self._error = self._error, None
        if error is not None and self._task is not None:
            self._task.uncancel()
        return error
