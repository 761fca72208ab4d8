"""chain: tasks one after the other. Owns its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.canvas.algebra import fold
from amqtask.canvas.signature import Signature, bound_app, restored, shapes_of, types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amqtask.canvas.app import CanvasApp
    from amqtask.canvas.handles import Handle


class chain(Signature):  # noqa: N801 -- Celery's name
    """Tasks of which each gets what the one before returned; the result is that of the last.

    ``chain(a, b, c)`` is ``a | b | c``, which need not be a chain: with a group first it is a chord.

    Args:
        *tasks: signatures, or one iterable of them.
        app: that sends it.
        **options: for the first; with any, no step is joined to another before it is sent.
    """

    def __new__(cls, *tasks: Any, app: CanvasApp | None = None, **options: Any) -> Any:
        """As ``|`` would have it."""
        if options or not tasks:
            return super().__new__(cls)
        steps = shapes_of(tasks)
        return restored(fold(steps), app or bound_app(*steps))

    def __init__(self, *tasks: Any, app: CanvasApp | None = None, **options: Any) -> None:
        if self:  # made by __new__
            return
        steps = shapes_of(tasks) if tasks else []
        super().__init__("celery.chain", (), {"tasks": steps}, options, subtask_type="chain", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """Its steps."""
        found: list[Signature] = self["kwargs"]["tasks"]
        return found

    @tasks.setter
    def tasks(self, value: Sequence[Signature]) -> None:
        self["kwargs"]["tasks"] = list(value)

    def __call__(self, *args: Any, **kwargs: Any) -> Handle:
        """Send it, with these arguments for the first step."""
        return self.apply_async(args, kwargs)

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its steps, with its callbacks at the last and its errbacks at each."""
        steps = [task.clone() for task in self.tasks]
        for link in self.options.get("link") or []:
            steps[-1].link(link)
        for errback in self.options.get("link_error") or []:
            for step in steps:
                step.link_error(errback)
        return steps


types["chain"] = chain
