"""Whether the code that runs here may wait for results: not inside a task, which would hold its slot while it waits.

Owns the context variable, one per thread, asyncio task or greenlet.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

_denied: ContextVar[bool | None] = ContextVar("amqtask_join_denied", default=None)
_inside_task: Callable[[], bool] = lambda: False  # noqa: E731 -- replaced as a whole


def set_inside_task(inside_task: Callable[[], bool]) -> None:
    """Set how to tell whether a task runs here, which a layer above knows.

    Args:
        inside_task: called when someone is about to wait for a result.
    """
    global _inside_task  # noqa: PLW0603 -- one answer per process
    _inside_task = inside_task


class _Switch:
    """Sets the variable for a ``with`` block; one object per block."""

    __slots__ = ("_token",)
    _value: bool
    _token: Token[bool | None]

    def __enter__(self) -> None:
        self._token = _denied.set(self._value)

    def __exit__(self, *_exception: object) -> None:
        _denied.reset(self._token)


class denied_join_result(_Switch):  # noqa: N801 -- used as a function; a class costs a third of a generator
    """Waiting for a result in the block raises RuntimeError, as it does in a task."""

    __slots__ = ()
    _value = True


class allow_join_result(_Switch):  # noqa: N801
    """Let the block wait for results although it runs in a task.

    Workers that all wait for tasks that none of them is free to run wait for ever: prefer a chain or a chord.
    """

    __slots__ = ()
    _value = False


def is_wait_refused() -> bool:
    """Whether waiting for a result is refused to the code that runs here."""
    denied = _denied.get()
    return _inside_task() if denied is None else denied


def refuse_inside_task() -> None:
    """Raise RuntimeError inside a task.

    Raises:
        RuntimeError: this is one, and no ``allow_join_result()`` surrounds the call.
    """
    if is_wait_refused():
        raise RuntimeError(
            "never wait for a result inside a task: the worker's slot is held meanwhile, and once every slot waits, "
            "nothing runs any more. Use a chain or a chord, or allow_join_result() if you are sure"
        )
