"""Event loops for coroutine tasks on threads that have none: each thread keeps one. Owns those loops.

asyncio is imported with the first coroutine: workers without any save its megabytes.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable


class ThreadLoops:
    """Thread-safe; every thread sees its own loop only."""

    def __init__(self) -> None:
        self._local = threading.local()

    def run(self, coroutine: Awaitable[Any]) -> Any:
        """Run a coroutine on the loop of this thread and return its result, or raise what it raises."""
        runner: asyncio.Runner | None = getattr(self._local, "runner", None)
        if runner is None:
            import asyncio  # noqa: PLC0415 -- see above

            runner = self._local.runner = asyncio.Runner()
        try:
            result, error = runner.run(_caught(coroutine), context=copy_context())
        except (KeyboardInterrupt, SystemExit):
            self.leave()  # raised in a task of the loop, which stops in mid-air: a new one next time
            raise
        if error is not None:
            raise error
        return result

    def leave(self) -> None:
        """Close the loop of this thread, if any; at its end."""
        runner: asyncio.Runner | None = getattr(self._local, "runner", None)
        if runner is not None:
            self._local.runner = None
            _close_quietly(runner)


async def _caught(coroutine: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Result or exception: asyncio itself does not survive every exception that user code may raise."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


def _close_quietly(runner: asyncio.Runner) -> None:
    try:
        runner.close()
    except BaseException:
        return  # its loop is in pieces already
