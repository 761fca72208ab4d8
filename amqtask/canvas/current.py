"""The app that signatures without one use: the last that was made. Owns that one weak reference."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from amqtask.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.canvas.app import CanvasApp

_latest: Callable[[], CanvasApp | None] = lambda: None  # noqa: E731 -- a weak reference to nothing


def made(app: CanvasApp) -> None:
    """An app was made: signatures that are bound to none use it from now on, as long as it lives."""
    global _latest  # noqa: PLW0603 -- one per process is the point
    _latest = weakref.ref(app)


def current_app() -> CanvasApp:
    """The app that was made last.

    Raises:
        ConfigError: there is none; says what to do.
    """
    app = _latest()
    if app is None:
        raise ConfigError(
            "this signature belongs to no app, and none has been made: make one (app = Amqtask(...)) before sending, "
            "take signatures from its tasks (task.s(...)), or bind them: signature(..., app=app)"
        )
    return app
