"""Whose cancellation it is that arrives in a coroutine, and one that does not arrive. Owns telling them apart.

A task that awaits a future gets a CancelledError when it is cancelled itself, and when the future is. It gets none when
it is cancelled as what it waits for ends: before Python 3.12 ``asyncio.wait_for`` drops that, and a deadline with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


def cancels() -> int:
    """How often this task has been cancelled so far, whether anybody raised that here or not."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def check_cancelled(before: int) -> None:
    """Raise a cancellation that was dropped.

    Args:
        before: of :func:`cancels`, when the work began.

    Raises:
        CancelledError: the task has been cancelled since.
    """
    if cancels() > before:
        raise asyncio.CancelledError


def withdrawn() -> bool:
    """On a CancelledError: is it not this task that is cancelled, but an answer whose connection is gone?"""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


async def quietly(awaitable: Any) -> None:
    """Wait for the end, whatever it is; only a cancellation of the waiting task itself is raised."""
    before = cancels()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await awaitable
    check_cancelled(before)
