"""An exception as three short texts: type, message and traceback. Owns the triple.

The texts come from :mod:`amqtask.results.trimming`. User code may raise anything: nothing in here raises, and nothing
it returns is too long or fails to be encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqtask.results.trimming import MESSAGE_LIMIT, TRACEBACK_LIMIT, clip, message, traceback, type_path

if TYPE_CHECKING:
    from amqtask.execution.job import Error

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "clip", "describe", "message", "traceback", "type_path"]


def describe(error: BaseException) -> Error:
    """Type path, message and traceback of an exception."""
    try:
        return type_path(error), message(error), traceback(error)
    except BaseException:  # out of memory or stack, again
        return "Exception", "an exception that can't be described", ""
