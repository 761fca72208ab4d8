"""``celery.result``: handles of results."""

from __future__ import annotations

from amqtask.results.eager import EagerResult
from amqtask.results.future import AsyncResult
from amqtask.results.group import GroupResult, ResultSet
from amqtask.results.joining import allow_join_result

__all__ = ["AsyncResult", "EagerResult", "GroupResult", "ResultSet", "allow_join_result"]
