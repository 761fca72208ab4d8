"""An exception as three short texts: type, message and traceback. Owns the triple.

The texts come from :mod:`amqtask.results.trimming`. User code may raise anything: nothing in here raises, and nothing
it returns is too long or fails to be encoded.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amqtask.results.trimming import MESSAGE_LIMIT, TRACEBACK_LIMIT, clip, message, traceback, type_path

if TYPE_CHECKING:
    from amqtask.execution.job import Error

__all__ = ["MESSAGE_LIMIT", "TRACEBACK_LIMIT", "clip", "describe", "message", "traceback", "type_path"]


def describe(error: BaseException) -> Error:
    """Type path, message and traceback of an exception."""
    kind, text, trace = "Exception", "an exception that can't be described", ""
    with contextlib.suppress(BaseException):  # out of memory or stack, again; what is known by then is told
        kind = type_path(error)
        text = message(error)
        trace = traceback(error)
    return kind, text, trace
