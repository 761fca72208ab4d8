"""What this process is doing right now, as text: stacks of threads, asyncio tasks and greenlets. Owns the finding."""

from __future__ import annotations

import gc
import io
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_DEEPEST = 100
"""Frames of one stack that are told."""


def stacks() -> str:
    """Stacks of all threads, of all asyncio tasks that have not ended, and of all greenlets that wait.

    From any thread, at any time; it takes no lock and runs no user code.
    """
    return "\n".join(line for part in (_threads(), _coroutines(), _greenlets()) for line in part)


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 -- documented for debuggers
        yield f"--- thread {names.get(ident, '?')} ({ident})"
        yield _stack(frame)


def _coroutines() -> Iterator[str]:
    module = sys.modules.get("asyncio")
    if module is None:
        return
    for task in _objects(module.Task):
        if not task.done():
            text = io.StringIO()
            task.print_stack(limit=_DEEPEST, file=text)
            yield f"--- asyncio task {task.get_name()}"
            yield text.getvalue().rstrip()


def _greenlets() -> Iterator[str]:
    module = sys.modules.get("greenlet")
    if module is None:
        return
    for one in _objects(module.greenlet):
        frame = getattr(one, "gr_frame", None)  # None for the running one, whose stack is its thread's
        if frame is not None:
            yield f"--- greenlet {one!r}"
            yield _stack(frame)


def _objects(kind: type[Any]) -> list[Any]:
    """Living instances; neither asyncio nor greenlet lists those of other threads."""
    # not isinstance(): that asks objects for their __class__, and a lazy one would do its work now
    return [found for found in gc.get_objects() if issubclass(type(found), kind)]


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame, _DEEPEST)).rstrip()
