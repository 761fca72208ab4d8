"""``celery.result``: handles of results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqtask.results import group
from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult, ResultSet
from amqtask.results.joining import allow_join_result
from amqtask.results.node import ResultBase

if TYPE_CHECKING:
    from amqtask.results.source import ResultsOwner

__all__ = ["AsyncResult", "EagerResult", "GroupResult", "ResultSet", "allow_join_result", "result_from_tuple"]


def result_from_tuple(r: Any, app: ResultsOwner | None = None) -> ResultBase:
    """The handle that ``as_tuple()`` of another one describes; a handle is returned as it is.

    Args:
        r: the tuple, or the lists that JSON makes of it.
        app: whose task it is; without it, the app made last.

    Raises:
        DecodeError: it is none.
    """
    return r if isinstance(r, ResultBase) else group.result_from_tuple(r, results=None if app is None else app.results)
