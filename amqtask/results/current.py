"""Where handles that were made without an app find their results: those of the app made last. Owns that reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.errors import NoResultBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from amqtask.results.source import Results

_find: Callable[[], Results | None] = lambda: None  # noqa: E731 -- replaced as a whole


def set_default_results(find: Callable[[], Results | None]) -> None:
    """Handles that were made without an app ask here from now on.

    Args:
        find: the results of an app; None once it is gone. It should not keep the app alive.
    """
    global _find  # noqa: PLW0603 -- "the app of this process" is one by nature
    _find = find


def current_results() -> Results:
    """The results of the app made last.

    Raises:
        NoResultBackend: no app was made in this process.
    """
    results = _find()
    if results is None:
        raise NoResultBackend(
            "this result belongs to no app, and none was made in this process: import the module that makes the app, "
            "or use app.AsyncResult(id)"
        )
    return results
