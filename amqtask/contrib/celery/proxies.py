"""``current_app`` and ``current_task``: values that are looked up each time they are used. Owns the looking up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from amqtask.canvas import current as latest
from amqtask.tasks.context import current

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.app.app import Amqtask


class Proxy:
    """Whatever ``find`` gives, each time anew.

    Args:
        find: gives the object; None where there is none.
    """

    __slots__ = ("_find",)
    _find: Callable[[], Any]

    def __init__(self, find: Callable[[], Any]) -> None:
        object.__setattr__(self, "_find", find)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._find(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self._find()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._find())

    def __eq__(self, other: object) -> bool:
        return bool(self._find() == (other._find() if isinstance(other, Proxy) else other))

    def __hash__(self) -> int:
        return hash(self._find())

    def __repr__(self) -> str:
        return repr(self._find())


def _running_task() -> Any:
    context = current()
    if context is None:
        return None
    app = cast("Amqtask", latest.current_app())
    return app.tasks.get(context.task)


current_app = Proxy(latest.current_app)
"""The app that was made, or chosen by ``set_current()``, last."""

current_task = Proxy(_running_task)
"""The task that runs here and now; false, and without attributes, outside of any."""
