"""What a task needs of its app, as a protocol that the layer above fulfils. Owns the shape only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from amqtask.results.eager import EagerResult
    from amqtask.results.future import AsyncResult
    from amqtask.tasks.options import SendOptions, TaskOptions
    from amqtask.topology.declarations import RetryPolicy

Call = tuple["Sequence[Any]", "Mapping[str, Any]"]
"""Positional and keyword arguments of one call."""


class Sender(Protocol):
    """Sends task messages; the methods that send return once the broker has confirmed. Thread-safe.

    Arguments have been checked by the caller.
    """

    def send(self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None) -> AsyncResult[Any]:
        """Send one."""

    async def asend(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None
    ) -> AsyncResult[Any]:
        """Like :meth:`send`, without blocking the running loop."""

    def send_many(self, task: str, defaults: TaskOptions, calls: Iterable[Call]) -> Sequence[AsyncResult[Any]]:
        """Send many with pipelined confirms; their results in order."""

    def apply(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None
    ) -> EagerResult[Any]:
        """Run one here and now; ``throw``: raise what it raises, None: as the settings say."""

    async def aapply(
        self, task: str, defaults: TaskOptions, call: Call, options: SendOptions | None, throw: bool | None
    ) -> EagerResult[Any]:
        """Like :meth:`apply`, on the running loop."""

    def aware(self, eta: datetime) -> datetime:
        """The same moment, with the zone that one without has in a call."""

    def retry_policy(self, queue: str) -> RetryPolicy | None:
        """The retry policy of a queue, if it has one."""
