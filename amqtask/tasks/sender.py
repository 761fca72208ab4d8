"""What a task needs of its app, as a protocol that the layer above fulfils. Owns the shape only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.topology.declarations import RetryPolicy

Call = tuple["Sequence[Any]", "Mapping[str, Any]"]
"""Positional and keyword arguments of one call."""


class Sender(Protocol):
    """Sends task messages; every method returns once the broker has confirmed. Thread-safe.

    Arguments have been checked by the caller.
    """

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> str:
        """Send one; returns the task id."""

    async def asend(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> str:
        """Like :meth:`send`, without blocking the running loop."""

    def send_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> list[str]:
        """Send many with pipelined confirms; returns their ids in order."""

    def retry_policy(self, queue: str) -> RetryPolicy | None:
        """The retry policy of a queue, if it has one."""
