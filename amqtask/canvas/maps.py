"""map, starmap and chunks: one task, many arguments. Owns their classes; workers know them by Celery's task names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.group import group
from amqtask.canvas.normal import chunk_group
from amqtask.canvas.signature import Signature, bound_app, maybe_signature, restored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.handles import Handle


class _Map(Signature):
    _task_name = ""

    def __init__(self, task: Any, it: Iterable[Any], *, app: CanvasApp | None = None, **options: Any) -> None:
        kwargs = {"task": maybe_signature(task), "it": list(it)}
        super().__init__(self._task_name, (), kwargs, options, immutable=True, app=app)


class xmap(_Map):  # noqa: N801 -- Celery's name
    """One message that calls a task for each item, one after the other; the result is the list of theirs.

    Args:
        task: signature of the task; its own arguments are not used, as in Celery.
        it: items, read at once.
        app: that sends it.
        **options: of the message.
    """

    _task_name = "celery.map"


class xstarmap(_Map):  # noqa: N801 -- Celery's name
    """Like :class:`xmap`, with each item as all the positional arguments."""

    _task_name = "celery.starmap"


class chunks(Signature):  # noqa: N801 -- Celery's name
    """Items in parts of ``n``, each part one message that calls the task for each of its items: a group of starmaps.

    Args:
        task: signature of the task.
        it: tuples of positional arguments, read at once.
        n: items of a part, the last may be smaller.
        app: that sends it.
        **options: of every message.
    """

    def __init__(self, task: Any, it: Iterable[Any], n: int, *, app: CanvasApp | None = None, **options: Any) -> None:
        kwargs = {"task": maybe_signature(task), "it": list(it), "n": n}
        super().__init__("celery.chunks", (), kwargs, options, immutable=True, app=app)

    def group(self) -> group:
        """The parts as a group."""
        found = restored(chunk_group(self), bound_app(self, self.kwargs["task"]))
        assert isinstance(found, group)
        return found

    def __call__(self, **options: Any) -> Handle:
        """Send every part."""
        return self.apply_async(**options)
