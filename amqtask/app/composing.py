"""What an app does with composed work: makes signatures and handles, sends and runs plans. Owns these names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.app.core import AppCore
from amqtask.canvas.signature import signature
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.app.canvas_sender import CanvasSender
    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape
    from amqtask.canvas.signature import Signature
    from amqtask.results.node import ResultBase


class ComposesWork(AppCore):
    """``app.signature``, ``app.AsyncResult`` and ``app.GroupResult``.

    The others make an app a :class:`~amqtask.canvas.app.CanvasApp`.
    """

    def signature(self, task: Any, *args: Any, **options: Any) -> Signature:
        """A signature of this app; see :func:`amqtask.canvas.signature.signature`."""
        return signature(task, *args, app=self, **options)

    def AsyncResult(self, id: str, parent: ResultBase | None = None) -> AsyncResult[Any]:  # noqa: A002, N802 -- Celery's
        """The handle of a task by its id, wherever it was sent, after ``parent`` if that is given."""
        return AsyncResult(id, results=self.results, parent=parent)

    def GroupResult(  # noqa: N802
        self,
        id: str | None = None,  # noqa: A002
        results: Iterable[ResultBase] = (),
        parent: ResultBase | None = None,
    ) -> GroupResult[Any]:
        """A handle of tasks; of a group that was saved, use ``GroupResult.restore(id)``."""
        return GroupResult(id, results, parent, access=self.results)

    # ---- as signatures see it

    @property
    def canvas(self) -> CanvasSender:
        """Sends signatures."""
        return self._wiring.canvas

    @property
    def always_eager(self) -> bool:
        """``task_always_eager``."""
        return self.settings.task_always_eager

    @property
    def errbacks_on_headers(self) -> bool:
        """``task_allow_error_cb_on_chord_header``."""
        return self.settings.task_allow_error_cb_on_chord_header

    def plan_context(self) -> PlanContext:
        """For one plan, made in this process."""
        return self.canvas.plan_context()

    def send(self, plan: Plan) -> None:
        """Send a plan of a canvas; see :meth:`amqtask.canvas.app.CanvasApp.send`."""
        self.canvas.send(plan)

    async def asend(self, plan: Plan) -> None:
        """Like :meth:`send`, without blocking the running loop."""
        await self.canvas.asend(plan)

    def apply(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Run a signature here; see :meth:`amqtask.canvas.app.CanvasApp.apply`."""
        return self.canvas.apply(sig, args, kwargs, options)
