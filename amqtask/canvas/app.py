"""What a signature needs of its app, as a protocol that the layers above fulfil. Owns the shape only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amqtask.canvas.plan import Plan, PlanContext
    from amqtask.canvas.shapes import Shape


class CanvasApp(Protocol):
    """Sends what the canvas plans. Thread-safe."""

    @property
    def tasks(self) -> Mapping[str, Callable[..., Any]]:
        """The tasks known here, by name; calling one runs its function."""

    @property
    def always_eager(self) -> bool:
        """``task_always_eager``: run here instead of sending."""

    @property
    def errbacks_on_headers(self) -> bool:
        """``task_allow_error_cb_on_chord_header``: an errback of a chord is one of its members', too."""

    def plan_context(self) -> PlanContext:
        """For one plan, made in this process: ids, queue for answers, the running task as parent."""

    def send(self, plan: Plan) -> None:
        """Send a plan: chords begun first, then every message confirmed.

        Raises:
            EncodeError, ConfigError: nothing was sent.
            PublishError, BackendError: some of it may have been.
        """

    async def asend(self, plan: Plan) -> None:
        """Like :meth:`send`, without blocking the running loop."""

    def apply(self, sig: Shape, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        """Run a signature of any kind here, step by step; an ``EagerResult``, or a group's result of such."""
