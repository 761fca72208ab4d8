"""group: tasks side by side. Owns its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from amqtask.canvas.signature import Signature, shapes_of, types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.handles import Handle


class group(Signature):  # noqa: N801 -- Celery's name
    """Tasks that run side by side; the result is the list of theirs, in order.

    Args:
        *tasks: signatures, or one iterable of them, which is read at once; groups among them count as their members.
        app: that sends it.
        **options: for every member.
    """

    def __init__(self, *tasks: Any, app: CanvasApp | None = None, **options: Any) -> None:
        if len(tasks) == 1 and isinstance(tasks[0], group):
            tasks = tuple(tasks[0].tasks)
        members = shapes_of(tasks)
        super().__init__("celery.group", (), {"tasks": members}, options, subtask_type="group", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """Its members."""
        found: list[Signature] = self["kwargs"]["tasks"]
        return found

    @tasks.setter
    def tasks(self, value: Sequence[Signature]) -> None:
        self["kwargs"]["tasks"] = list(value)

    def __call__(self, *args: Any, **options: Any) -> Handle:
        """Send every member, with these arguments in front of its own."""
        return self.apply_async(args, **options)

    def apply_async(self, args: Any = (), kwargs: Any = None, **options: Any) -> Handle:
        """Send every member; options hold for each, over its own.

        Raises:
            TypeError: a callback or an errback: link them to members, or use a chord.
        """
        for name in ("link", "link_error"):
            if options.get(name) is not None:
                raise TypeError(f"a group takes no {name}: link it to its members, or use a chord")
        return super().apply_async(args, kwargs, **options)

    def set_immutable(self, immutable: bool) -> None:
        """For every member."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Link a callback to the first member, immutable; as Celery has it. Use a chord to have all results."""
        return self.tasks[0].link(callback.clone().set(immutable=True)) if self.tasks else callback

    def link_error(self, errback: Any) -> Any:
        """Link an errback to every member."""
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Spread the members over time: ``countdown`` of ``start`` seconds for the first, ``step`` more for each next.

        Args:
            start: seconds.
            stop: none is longer than this; those that would be have the longest that is not.
            step: seconds.
        """
        delay = start
        for task in self.tasks:
            task.set(countdown=delay)
            delay += step if stop is None or delay + step <= stop else 0
        return self

    def __len__(self) -> int:
        return len(self.tasks) if "kwargs" in self else dict.__len__(self)

    def __bool__(self) -> bool:
        return True


types["group"] = group
