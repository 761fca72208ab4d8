"""The app that signatures without one use: the last that was made, or chosen. Owns that one weak reference."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.canvas.app import CanvasApp

_current: Callable[[], CanvasApp | None] = lambda: None  # noqa: E731 -- a weak reference to nothing


def set_current_app(app: CanvasApp) -> None:
    """Signatures that are bound to no app use this one from now on, as long as it lives."""
    global _current  # noqa: PLW0603 -- one per process is the point
    _current = weakref.ref(app)


def is_current_app(app: CanvasApp) -> bool:
    """Whether signatures that are bound to no app use this one."""
    return _current() is app


def current_app() -> CanvasApp:
    """The app that was made, or chosen, last.

    Raises:
        ConfigError: there is none; says what to do.
    """
    app = _current()
    if app is None:
        raise ConfigError(
            "this signature belongs to no app, and none has been made: make one (app = Amqtask(...)) before sending, "
            "take signatures from its tasks (task.s(...)), or bind them: signature(..., app=app)"
        )
    return app
